"""Reads the numbers of the HEP mirror."""

from __future__ import annotations

from collections.abc import Iterator

from sipwatch.sinks.hep import MirrorStats
from sipwatch.sinks.metrics import families
from sipwatch.sinks.metrics.readings import Reading
from sipwatch.sinks.metrics.texts import Labels


def mirror_readings(stats: MirrorStats) -> Iterator[Reading]:
    """Packets sent by kind, and packets dropped by reason."""
    sent: dict[Labels, float] = {("message",): stats.messages, ("record",): stats.records}
    yield Reading(families.HEP_MIRRORED, sent)
    dropped: dict[Labels, float] = {
        ("too_long",): stats.too_long,
        ("not_sent",): stats.not_sent,
        ("no_room",): stats.no_room,
    }
    yield Reading(families.HEP_MIRROR_DROPPED, dropped)
