"""How a field of a configuration section says which kind of value it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from sipwatch.config.kinds import Kind

_KIND = "kind"
_SECRET = "secret"


class Setting(NamedTuple):
    """One key of the configuration."""

    #: Dotted: `timers.no_answer_seconds`.
    key: str
    kind: Kind
    default: Any
    #: Never shown.
    secret: bool

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "SIPWATCH_" + self.key.upper().replace(".", "_")


def takes(kind: Kind, *, secret: bool = False) -> dict[str, Any]:
    """The metadata of a dataclass field that is a key of the configuration."""
    return {_KIND: kind, _SECRET: secret}


def settings_of(section: Any, prefix: str = "") -> Iterator[Setting]:
    """The keys of a section that holds the defaults, its subsections included, in order."""
    for member in fields(section):
        value = getattr(section, member.name)
        if _KIND in member.metadata:
            yield Setting(
                prefix + member.name, member.metadata[_KIND], value, member.metadata[_SECRET]
            )
        elif is_dataclass(value):
            yield from settings_of(value, f"{prefix}{member.name}.")
