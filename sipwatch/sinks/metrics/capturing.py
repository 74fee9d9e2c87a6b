"""Reads the live capture's own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sipwatch.capture.live import InterfaceStats, LiveStats
from sipwatch.net.counts import NetCounts
from sipwatch.sinks.metrics import families
from sipwatch.sinks.metrics.readings import Reading
from sipwatch.sinks.metrics.texts import Labels

#: Kinds of `CaptureEvent`.
EVENT_KINDS = (
    "down",
    "up",
    "gone",
    "reopened",
    "renamed",
    "failed",
    "smaller-ring",
    "clock-step",
    "refused",
)


def capture_readings(
    stats: LiveStats, net: NetCounts, events: Mapping[str, int]
) -> Iterator[Reading]:
    """Packets and losses by configured interface, and what happened to the interfaces."""
    interfaces = stats.interfaces
    yield Reading(families.CAPTURE_PACKETS, _each(interfaces, "packets"))
    drops: dict[Labels, float] = {}
    for each in interfaces:
        drops[each.name, "ring"] = each.kernel_drops
        drops[each.name, "interface"] = each.interface_drops
    yield Reading(families.CAPTURE_DROPS, drops)
    yield Reading(families.CAPTURE_SNAPPED, _each(interfaces, "snapped"))
    yield Reading(families.CAPTURE_INFLATED, _each(interfaces, "inflated"))
    yield Reading(families.CAPTURE_RING_BYTES, _each(interfaces, "ring_bytes"))
    up: dict[Labels, float] = {(i.name,): int(i.state == "listening") for i in interfaces}
    yield Reading(families.INTERFACE_UP, up)
    happened: dict[Labels, float] = {(kind,): events.get(kind, 0) for kind in EVENT_KINDS}
    yield Reading(families.INTERFACE_EVENTS, happened)
    yield Reading(families.TLS_PACKETS, {(): sum(net.tls.values())})
    yield Reading(families.LAST_PACKET, {(): stats.last_time})
    yield Reading(families.CLOCK_SHIFT, {(): stats.clock_shift})


def _each(interfaces: Iterable[InterfaceStats], field: str) -> dict[Labels, float]:
    return {(each.name,): getattr(each, field) for each in interfaces}
