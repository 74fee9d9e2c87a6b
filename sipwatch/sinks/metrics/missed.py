"""Reads how many calls were missed, and how many of them were called back."""

from __future__ import annotations

from collections.abc import Iterator

from sipwatch.outcomes.missed import MissedCalls
from sipwatch.sinks.metrics import families
from sipwatch.sinks.metrics.readings import Reading


def missed_readings(missed: MissedCalls, now: float) -> Iterator[Reading]:
    """What became of missed calls, as far as was seen at the packet time `now`."""
    pending = missed.pending(now)
    yield Reading(families.MISSED_CALLS, {(): missed.missed})
    yield Reading(families.MISSED_CALLS_HIDDEN, {(): missed.hidden})
    yield Reading(families.MISSED_CALLS_RETURNED, {(): missed.returned})
    yield Reading(families.MISSED_CALLS_NEVER_RETURNED, {(): missed.never_returned})
    yield Reading(families.MISSED_CALLS_PENDING, {(): pending})
    yield Reading(families.CALLBACK_REQUESTS, {(): missed.callbacks_requested})
