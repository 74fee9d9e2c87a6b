"""What an examination finds, and what it was asked to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from sipwatch.capture.filters import FilterSettings
from sipwatch.capture.ring import Geometry
from sipwatch.daemon.privileges import Account


class Level(Enum):
    """How bad a finding is."""

    OK = "OK"
    #: Works, but not as well as it might, or not in every case.
    WARN = "WARN"
    #: Does not work.
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    #: What was looked at: ``capabilities``, ``ring eth0``...
    check: str
    level: Level
    text: str
    #: What to do about it; empty when there is nothing to do.
    remedy: str = ""
    #: More lines, such as the instructions of the filter.
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The capture that is going to run."""

    interfaces: tuple[str, ...]
    filter: FilterSettings
    geometry: Geometry = field(default_factory=Geometry)
    promiscuous: bool = False
    #: Where the daemon is going to listen and to keep its records, if it is to run here.
    listen: tuple[str, int] | None = None
    records: str | None = None
    #: The user that it is going to be; None is whoever looks.
    account: Account | None = None


def ok(check: str, text: str, details: tuple[str, ...] = ()) -> Finding:
    """A thing that is as it should be."""
    return Finding(check, Level.OK, text, "", details)


def warn(check: str, text: str, remedy: str) -> Finding:
    """A thing that may disappoint."""
    return Finding(check, Level.WARN, text, remedy)


def fail(check: str, text: str, remedy: str) -> Finding:
    """A thing that does not work."""
    return Finding(check, Level.FAIL, text, remedy)
