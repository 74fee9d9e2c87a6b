"""Reads the pipeline's own numbers: messages, the tracker, and what could not be decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sipwatch.net.counts import NetCounts
from sipwatch.pipeline import Pipeline
from sipwatch.sinks.metrics import families
from sipwatch.sinks.metrics.labels import METHOD_LABELS, OTHER, code_label, method_label
from sipwatch.sinks.metrics.readings import Reading, by_label
from sipwatch.sinks.metrics.tables import CounterTable, Histogram
from sipwatch.sinks.metrics.texts import Labels

#: Layers and reasons are our own words; more than so many would be a fault of ours.
_MOST_REASONS = 200
#: Methods that strangers may have invented between two scrapes.
_MOST_METHODS = 64
_MOST_RESPONSES = 2048
#: The tracker's counts of what was sent once more, to method and kind.
_RETRANSMISSIONS: dict[str, Labels] = {
    "retransmissions_INVITE": ("INVITE", "request"),
    "retransmissions_final": ("INVITE", "response"),
}
_USUAL_RESPONSES = (
    ("INVITE", "100"),
    ("INVITE", "180"),
    ("INVITE", "183"),
    ("INVITE", "200"),
    ("INVITE", "486"),
    ("INVITE", "487"),
    ("BYE", "200"),
    ("CANCEL", "200"),
    ("OPTIONS", "200"),
    ("REGISTER", "200"),
    ("REGISTER", "401"),
)


def sip_readings(pipeline: Pipeline) -> Iterator[Reading]:
    """Messages by method and status, and what became of REGISTERs."""
    yield from _registration_readings(pipeline)
    sip = pipeline.sip
    requests = CounterTable(families.SIP_REQUESTS, [(method,) for method in METHOD_LABELS])
    for method, number in sip.requests.items():
        requests.add((method_label(method),), number)
    yield Reading(requests.family, requests.values)
    responses = CounterTable(families.SIP_RESPONSES, _USUAL_RESPONSES, limit=_MOST_RESPONSES)
    for (method, status), number in sip.responses.items():
        responses.add((method_label(method), code_label(status)), number)
    yield Reading(responses.family, responses.values)
    counts = pipeline.tracker.counts
    again: dict[Labels, int] = {key: counts[name] for name, key in _RETRANSMISSIONS.items()}
    yield Reading(families.SIP_RETRANSMISSIONS, again)
    yield Reading(families.DUPLICATES, {(): counts["duplicates"]})


def _registration_readings(pipeline: Pipeline) -> Iterator[Reading]:
    counts = pipeline.registrations.counts
    results: dict[Labels, int] = {
        ("success",): counts.successful,
        ("refused",): counts.ineffective - counts.timeouts,
        ("timeout",): counts.timeouts,
    }
    yield Reading(families.REGISTRATION_ATTEMPTS, results)
    delays = Histogram(families.REGISTRATION_REQUEST_DELAY.buckets)
    delays.counts = counts.delay_buckets.copy()
    delays.sum = counts.delay_seconds
    yield Reading(families.REGISTRATION_REQUEST_DELAY, {(): delays})
    yield Reading(families.REGISTRATION_MOVES, {(): counts.moves})


def bound_messages(pipeline: Pipeline) -> None:
    """Adds up what strangers invent, so that it takes no memory; to be called now and then."""
    sip = pipeline.sip
    if len(sip.requests) > _MOST_METHODS:
        for method in [m for m in sip.requests if method_label(m) == OTHER]:
            sip.requests[OTHER] += sip.requests.pop(method)
    if len(sip.responses) > _MOST_RESPONSES:
        for method, status in list(sip.responses):
            if method != OTHER and method_label(method) == OTHER:
                sip.responses[OTHER, status] += sip.responses.pop((method, status))


def progress_readings(pipeline: Pipeline, now: float) -> Iterator[Reading]:
    """What goes on at the packet time `now`, and what is remembered."""
    tracker = pipeline.tracker
    yield Reading(families.IN_PROGRESS, {(): tracker.in_progress})
    yield Reading(families.DIALOGS_ACTIVE, {(): tracker.dialogs_active})
    yield Reading(families.REGISTRATIONS_ACTIVE, {(): _active_registrations(pipeline, now)})
    yield Reading(families.TRACKER_ENTRIES, by_label(tracker.entries()))
    settings = tracker.settings
    limits = {"attempts": settings.max_attempts, "recent": settings.max_recent}
    yield Reading(families.TRACKER_LIMIT, by_label(limits))
    evictions = {"attempts": tracker.counts["evictions"]}
    yield Reading(families.TRACKER_EVICTIONS, by_label(evictions))


def _active_registrations(pipeline: Pipeline, now: float) -> int:
    return pipeline.registrations.active(now)


def decode_reading(net: NetCounts, malformed: Mapping[str, int]) -> Reading:
    """What made no sense or could not be looked into, `malformed` being the SIP messages."""
    table = CounterTable(families.DECODE_ERRORS, [("sip", OTHER)], limit=_MOST_REASONS)
    for counts in (net.malformed, net.not_decoded):
        for (layer, reason), number in counts.items():
            table.add((_word(layer), _word(reason)), number)
    for reason, number in malformed.items():
        table.add(("sip", _word(reason)), number)
    return Reading(table.family, table.values)


def _word(text: str) -> str:
    return text if text.isascii() and text.isprintable() and len(text) <= 64 else OTHER


def limit_readings(tables: tuple[CounterTable, ...]) -> Iterator[Reading]:
    """How many series the metrics with varying labels have, may have, and could not have."""
    named: dict[Labels, CounterTable] = {
        (table.family.name,): table for table in tables if table.family.labels
    }
    yield Reading(families.METRIC_SERIES, {key: len(t.values) for key, t in named.items()})
    yield Reading(families.METRIC_SERIES_LIMIT, {key: t.limit for key, t in named.items()})
    yield Reading(families.METRIC_OVERFLOW, {key: t.overflow for key, t in named.items()})
