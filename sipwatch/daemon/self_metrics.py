"""The daemon's numbers about itself: records, reloads, the run before, what is running."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sipwatch import __version__
from sipwatch.daemon.outlet import Outlet
from sipwatch.daemon.state import State
from sipwatch.sinks.metrics import families as f
from sipwatch.sinks.metrics.readings import Reading
from sipwatch.sinks.metrics.texts import Labels


@dataclass(slots=True)
class SelfReport:
    """What is told of the daemon itself; the parts set what concerns them."""

    reloaded_at: float
    reloaded: bool = True
    #: Exceptions that should not have been.
    faults: int = 0
    previous: State = field(default_factory=State)
    web_is_current: Callable[[], bool] = lambda: True
    suppressed: Callable[[], int] = lambda: 0
    version: str = __version__
    python: str = field(default_factory=platform.python_version)


def self_readings(report: SelfReport, outlets: Sequence[Outlet]) -> Iterator[Reading]:
    """All of it."""
    yield from _records(outlets)
    previous = report.previous
    left: dict[Labels, float] = {
        ("attempts",): previous.attempts,
        ("dialogs",): previous.dialogs,
    }
    yield Reading(f.PREVIOUS_RUN, left)
    yield Reading(f.PREVIOUS_RUN_END, {(): round(previous.saved_at, 3)})
    yield Reading(f.RELOAD_SUCCESS, {(): int(report.reloaded)})
    yield Reading(f.RELOAD_TIME, {(): round(report.reloaded_at, 3)})
    yield Reading(f.WEB_RELOAD_SUCCESS, {(): int(report.web_is_current())})
    yield Reading(f.FAULTS, {(): report.faults})
    yield Reading(f.LOG_SUPPRESSED, {(): report.suppressed()})
    yield Reading(f.BUILD_INFO, {(report.version, report.python): 1})


def _records(outlets: Sequence[Outlet]) -> Iterator[Reading]:
    for family, attribute in (
        (f.RECORDS_WRITTEN, "written"),
        (f.RECORDS_DROPPED, "lost"),
        (f.RECORDS_ERRORS, "errors"),
        (f.RECORDS_EXPIRED, "expired"),
        (f.RECORDS_QUEUE, "waiting"),
        (f.RECORDS_BYTES, "stored_bytes"),
        (f.RECORDS_WRITABLE, "is_writable"),
    ):
        values: dict[Labels, float] = {
            (outlet.name,): int(getattr(outlet, attribute)) for outlet in outlets
        }
        yield Reading(family, values)
