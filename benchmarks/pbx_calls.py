"""Calls through one B2BUA: a caller's leg, and one to three agents' legs of their own Call-IDs.

The flows are those of `traffic/flows.py`; here nothing passes beside them, and how many calls are
open at once is chosen with their rate, apart from how many there are.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from traffic.flows import Call, abandoned, answered, busy, no_answer, ring_all, second_agent_answers
from traffic.flows import Flow as _Flow
from traffic.frames import Endpoint, PcapWriter, Wire
from traffic.leg import Party, Step
from traffic.sites import MediaPorts, Site, sites
from traffic.styles import PHONE

#: 2026-01-01 08:00:00 UTC.
EPOCH = 1767254400.0
PBX = "10.9.0.1"
_SEED = 5853
#: At most 32 s of ringing and 30 s of talk, and a queue's two rounds.
_LONGEST_CALL = 70.0
_B2BUA = ("asterisk",)
#: One to three agents' legs a call; some are missed.
BUSY_HOUR = (
    _Flow(ring_all, 8, _B2BUA),
    _Flow(second_agent_answers, 4, _B2BUA),
    _Flow(answered, 4, _B2BUA),
    _Flow(no_answer, 2, _B2BUA),
    _Flow(busy, 1, _B2BUA),
    _Flow(abandoned, 1, _B2BUA),
)
#: The same without missed calls, which are remembered for a day, to be called back.
ANSWERED = BUSY_HOUR[:3]


@dataclass(slots=True)
class Made:
    """What was made."""

    calls: int
    packets: int = 0
    seconds: float = 0.0
    #: The most calls that were open at once, from INVITE to the last message.
    open_at_once: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def attempts(self) -> int:
        return self.outcomes.total()


def write(path: Path, calls: int, per_second: float, flows: Sequence[_Flow] = BUSY_HOUR) -> Made:
    """Write a pcap file of so many calls that come at this rate."""
    made = Made(calls)
    wire = Wire()
    with PcapWriter(path) as pcap:
        for time, step in messages(made, per_second, flows):
            payload = step.text().encode()
            pcap.write(EPOCH + time, wire.frame(step.source, step.destination, payload))
    return made


def messages(
    made: Made, per_second: float, flows: Sequence[_Flow] = BUSY_HOUR
) -> Iterator[tuple[float, Step]]:
    """The messages in order of time, seconds from the first call; fills `made` in."""
    queue: list[tuple[float, int, Step]] = []
    ends: list[float] = []
    order = 0
    for call in _calls(made.calls, per_second, flows):
        made.outcomes += call.outcomes
        while queue and queue[0][0] <= call.start:
            yield _next(queue, made)
        while ends and ends[0] <= call.start:
            heapq.heappop(ends)
        heapq.heappush(ends, call.start + max(step.time for step in call.steps))
        made.open_at_once = max(made.open_at_once, len(ends))
        for step in call.steps:
            order += 1
            heapq.heappush(queue, (call.start + step.time, order, step))
    while queue:
        yield _next(queue, made)


def _next(queue: list[tuple[float, int, Step]], made: Made) -> tuple[float, Step]:
    time, _, step = heapq.heappop(queue)
    made.packets += 1
    made.seconds = time
    return time, step


def _calls(number: int, per_second: float, flows: Sequence[_Flow]) -> Iterator[Call]:
    rng, ports = Random(_SEED), MediaPorts()
    site = _site(round(3 * per_second * _LONGEST_CALL) + 10)
    deck = [flow for flow in flows for _ in range(flow.share)]
    for place in range(number):
        if place % len(deck) == 0:
            rng.shuffle(deck)
        call = Call(place, (place + rng.random()) / per_second, site, rng, ports)
        deck[place % len(deck)].write(call)
        call.finish()
        yield call


def _site(phones: int) -> Site:
    """The Asterisk of the other captures with so many phones that nobody waits for one."""
    asterisk = sites()[0]
    found = [
        Party(
            Endpoint(f"10.9.{1 + place // 250}.{place % 250 + 1}", 5060),
            PHONE,
            asterisk.phones[place % len(asterisk.phones)].agent,
            user=str(1000 + place),
        )
        for place in range(phones)
    ]
    return Site(asterisk.name, asterisk.pbx, asterisk.trunk, found, asterisk.dead)
