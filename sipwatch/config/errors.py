"""What can be wrong with a configuration: always one line that says where and what to write."""

from __future__ import annotations

from collections.abc import Iterable

#: How much of a wrong value is shown.
_SHOWN_CHARACTERS = 60


class ConfigError(ValueError):
    """A configuration that cannot be used; `str()` is one line with place, key and expectation."""


class WrongValue(ValueError):
    """A value that its key cannot take; `path` leads to it from the key that was being read."""

    def __init__(self, expected: str, got: object, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(f"expected {expected}, got {shown(got)}")
        self.expected = expected
        self.got = got
        self.path = path

    def under(self, step: str | int) -> WrongValue:
        """The same error seen from one level further out."""
        return WrongValue(self.expected, self.got, (step, *self.path))


class UnknownKey(ValueError):
    """A key that does not exist; the message names the nearest one that does."""

    def __init__(self, path: tuple[str | int, ...], known: Iterable[str]) -> None:
        self.path = path
        self.known = tuple(known)
        super().__init__(f"unknown key {dotted(path)!r}{self._hint()}")

    def under(self, step: str | int) -> UnknownKey:
        """The same error seen from one level further out."""
        return UnknownKey((step, *self.path), (_joined(step, name) for name in self.known))

    def _hint(self) -> str:
        from difflib import get_close_matches

        nearest = get_close_matches(dotted(self.path), self.known, n=1, cutoff=0.0)
        return f"; the nearest key is {nearest[0]!r}" if nearest else ""


def dotted(path: Iterable[str | int]) -> str:
    """A path as people write it: `hours.rule[0].called`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def _joined(step: str | int, name: str) -> str:
    prefix = dotted((step,))
    return prefix + name if name.startswith("[") else f"{prefix}.{name}"


def shown(value: object) -> str:
    """A value as it might have been written, on one line and short."""
    import json

    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError):
        text = ascii(str(value))
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
