"""Finds the attempts that a person named by Call-ID or record id, whole or by its beginning."""

from __future__ import annotations

from sipwatch.calls.types import Attempt, Call
from sipwatch.sinks.identity import attempt_id

#: Attempts kept of those that only begin alike; more are ambiguous anyway.
_MAX_FOUND = 200
_SHOWN = 5


class NotFound(LookupError):
    """No attempt has that name."""


class NotUnique(LookupError):
    """Several Call-IDs begin so; `names` are the first of them, `count` is how many there are."""

    def __init__(self, names: list[str], count: int) -> None:
        super().__init__(", ".join(names))
        self.names = names
        self.count = count


class Search:
    """Takes finished attempts and keeps those that fit."""

    def __init__(self, name: str) -> None:
        self._text = name.strip()
        self._bytes = self._text.encode("utf-8", "surrogateescape")
        self._exact: list[Attempt] = []
        self._alike: list[Attempt] = []

    def take(self, attempt: Attempt) -> None:
        """Looks at one attempt."""
        identity = attempt_id(attempt)
        if attempt.call_id == self._bytes or identity == self._text:
            if len(self._exact) < _MAX_FOUND:
                self._exact.append(attempt)
        elif (attempt.call_id.startswith(self._bytes) or identity.startswith(self._text)) and len(
            self._alike
        ) < _MAX_FOUND:
            self._alike.append(attempt)

    def found(self) -> list[Attempt]:
        """The attempts that fit, in order of time. Raises NotFound, NotUnique."""
        if not self._text:
            raise NotFound
        fitting = self._exact or self._alike
        names = list(dict.fromkeys(attempt.call_id for attempt in fitting))
        if not names:
            raise NotFound
        if len(names) > 1:
            shown = [name.decode("utf-8", "replace") for name in names[:_SHOWN]]
            raise NotUnique(shown, len(names))
        return sorted(fitting, key=lambda attempt: attempt.started_at)


def legs_of(attempts: list[Attempt]) -> list[Attempt]:
    """Every leg of the call that the attempts belong to, in order of time."""
    calls: list[Call] = []
    for attempt in attempts:
        if attempt.call is not None and attempt.call not in calls:
            calls.append(attempt.call)
    legs = {id(leg): leg for call in calls for leg in call.attempts}
    legs |= {id(attempt): attempt for attempt in attempts}
    return sorted(legs.values(), key=lambda leg: (leg.started_at, leg.serial))
