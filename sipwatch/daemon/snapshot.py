"""All metrics at one moment, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sipwatch.capture.live import LiveStats
from sipwatch.daemon.outlet import Outlet
from sipwatch.daemon.self_metrics import SelfReport, self_readings
from sipwatch.net.counts import NetCounts
from sipwatch.pipeline import Pipeline
from sipwatch.sinks.hep import MirrorStats
from sipwatch.sinks.metrics import CallMetrics, Reading
from sipwatch.sinks.metrics import families as f
from sipwatch.sinks.metrics.capturing import capture_readings
from sipwatch.sinks.metrics.messages import (
    decode_reading,
    limit_readings,
    progress_readings,
    sip_readings,
)
from sipwatch.sinks.metrics.mirroring import mirror_readings
from sipwatch.sinks.metrics.missed import missed_readings


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are; whoever counts in them takes the snapshot."""

    calls: CallMetrics
    pipeline: Pipeline
    #: Of the capture: by interface, what was decoded, and what happened to interfaces.
    stats: LiveStats
    net: NetCounts
    events: Mapping[str, int]
    #: Packet time, and how late packets are judged, in seconds.
    now: float
    lag: float
    problems: Mapping[str, bool]
    report: SelfReport
    outlets: Sequence[Outlet] = ()
    #: Of the HEP mirror, where there is one.
    mirror: MirrorStats | None = None


def snapshot(sources: Sources) -> list[Reading]:
    """Copies of everything."""
    return list(_readings(sources))


def _readings(sources: Sources) -> Iterator[Reading]:
    yield from sources.calls.readings()
    yield from missed_readings(sources.pipeline.missed, sources.now)
    yield from sip_readings(sources.pipeline)
    yield from progress_readings(sources.pipeline, sources.now)
    yield from capture_readings(sources.stats, sources.net, sources.events)
    yield decode_reading(sources.net, sources.pipeline.sip.malformed)
    yield Reading(f.LAG, {(): round(sources.lag, 6)})
    yield Reading(f.PROBLEM, {(kind,): int(on) for kind, on in sources.problems.items()})
    yield from limit_readings(sources.calls.tables)
    if sources.mirror is not None:
        yield from mirror_readings(sources.mirror)
    yield from self_readings(sources.report, sources.outlets)
