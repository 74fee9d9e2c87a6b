"""A whole capture: calls at a constant rate, and what passes beside them, in order of time.

The number of calls and of everything else follows from the number of packets asked for, so that
a capture ten times as large lasts ten times as long and holds as many calls at any moment. Some
calls began before the capture or go on after it. Same kind and size, same bytes.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from traffic.background import Pings, Registrations, Streams
from traffic.flows import FLOWS, Call, Talk, answered
from traffic.frames import Endpoint, PcapWriter, Wire
from traffic.leg import Step
from traffic.sites import MediaPorts, edge_site, sites

#: 2026-01-01 08:00:00 UTC.
_EPOCH = 1767254400.0
_SEED = 3261
#: Calls under way when the capture begins and when it ends: in conversation, and ringing.
_TALKING, _RINGING = 8, 4
#: Seconds that the capture goes on after the last whole call.
_TAIL = 5.0


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of all packets; the rest is RTP."""

    calls_per_second: float
    dialogs: float
    pings: float
    registrations: float


MIXES = {
    "mixed": Mix(8.0, dialogs=0.45, pings=0.16, registrations=0.12),
    "rtp": Mix(1.0, dialogs=0.048, pings=0.014, registrations=0.008),
}


@dataclass(slots=True)
class Truth:
    """What a capture holds, counted while it is made."""

    kind: str
    packets: int
    seconds: float = 0.0
    calls: int = 0
    #: Messages that belong to INVITE dialogs, retransmissions included.
    dialog_messages: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    responses: Counter[str] = field(default_factory=Counter)
    #: Retransmitted requests; `requests` counts them too.
    resent: Counter[str] = field(default_factory=Counter)
    rtp: int = 0
    #: Records that are to be expected, by outcome.
    outcomes: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {
            "attempts": sum(self.outcomes.values()),
            "sip_messages": sum(self.requests.values()) + sum(self.responses.values()),
        }


class Packet(NamedTuple):
    time: float
    source: Endpoint
    destination: Endpoint
    payload: bytes


class _Timed(NamedTuple):
    """An entry of a queue; ``order`` keeps entries of the same time in their order."""

    time: float
    order: int
    what: Step | Talk


def write_capture(kind: str, packets: int, path: Path) -> Truth:
    """Write a pcap file of exactly ``packets`` packets and say what is in it."""
    truth = Truth(kind, packets)
    wire = Wire()
    with PcapWriter(path) as pcap:
        for time, source, destination, payload in traffic(truth):
            pcap.write(_EPOCH + time, wire.frame(source, destination, payload))
    return truth


def traffic(truth: Truth) -> Iterator[Packet]:
    """The packets of ``truth.kind`` and ``truth.packets`` in order; fills ``truth`` in."""
    mix = MIXES[truth.kind]
    calls, end, messages = _measure(mix, truth.packets)
    truth.seconds, truth.calls = end, calls
    streams = Streams(Random(_SEED))
    landscape, rng = sites(), Random(_SEED + 1)
    pings, registrations = Pings(landscape, rng), Registrations(landscape, rng)
    number_of_pings = round(mix.pings * truth.packets / pings.PACKETS)
    number_of_registrations = round(mix.registrations * truth.packets / registrations.PACKETS)
    truth.rtp = (
        truth.packets
        - messages
        - number_of_pings * pings.PACKETS
        - number_of_registrations * registrations.PACKETS
    )
    truth.dialog_messages = messages
    merged = heapq.merge(
        _in_order(_packets_of(_calls(mix, calls, end), truth)),
        _in_order(_exchanges(pings, number_of_pings, end)),
        _in_order(_exchanges(registrations, number_of_registrations, end)),
        (_Timed(at, 0, _NEXT_RTP) for at in _evenly(truth.rtp, end)),
        key=attrgetter("time"),
    )
    for timed in merged:
        what = timed.what
        if isinstance(what, Step):
            yield Packet(timed.time, what.source, what.destination, what.text().encode())
            _count(what, truth)
        elif what is _NEXT_RTP:
            stream = streams.next()
            yield Packet(timed.time, stream.source, stream.destination, stream.packet())
        elif what.start == timed.time:
            streams.start(what.ends)
        else:
            streams.stop(what.ends)


_NOWHERE = Endpoint("0.0.0.0", 0)
_NEXT_RTP = Talk(0, 0, (_NOWHERE, _NOWHERE))


def _count(step: Step, truth: Truth) -> None:
    if step.label.isdigit():
        truth.responses[step.label] += 1
    else:
        truth.requests[step.label] += 1
        if step.resent:
            truth.resent[step.label] += 1


# Calls


def _measure(mix: Mix, packets: int) -> tuple[int, float, int]:
    """How many whole calls fill their share, when the capture ends, and their messages."""
    wanted = round(mix.dialogs * packets)
    end, calls = 0.0, 0
    # The calls that the edges cut, too: they are as many in every capture.
    messages = sum(len(call.steps) for call in _cut_calls(0.0))
    for call in _whole_calls(mix):
        if messages + len(call.steps) > wanted and calls:
            break
        messages += len(call.steps)
        calls += 1
        end = max(end, call.start + max(step.time for step in call.steps))
    return calls, end + _TAIL, messages


def _calls(mix: Mix, number: int, end: float) -> Iterator[Call]:
    """Every call of a capture, in order of its start."""
    whole = islice(_whole_calls(mix), number)
    return heapq.merge(_cut_calls(end), whole, key=attrgetter("start"))


def _whole_calls(mix: Mix) -> Iterator[Call]:
    rng = Random(_SEED + 2)
    landscape, ports = {site.name: site for site in sites()}, MediaPorts()
    deck = [flow for flow in FLOWS for _ in range(flow.share)]
    number = 0
    while True:
        # Every hundred calls hold each flow as often as its share says.
        rng.shuffle(deck)
        for flow in deck:
            start = (number + rng.random()) / mix.calls_per_second
            site = landscape[rng.choice(flow.sites)]
            call = Call(number, start, site, rng, ports)
            flow.write(call)
            call.finish()
            yield call
            number += 1


def _cut_calls(end: float) -> Iterator[Call]:
    """Calls that began before the capture or go on after it, in order of their start."""
    rng, ports, site = Random(_SEED + 3), MediaPorts(), edge_site()
    begun_before = []
    going_on = []
    for number in range(_TALKING + _RINGING):
        talking = number < _TALKING
        call = Call(number, 0.0, site, rng, ports)
        answered(call)
        moment = _between(call, "ACK", "BYE") if talking else _between(call, "180", "200")
        begun_before.append(_without_begin(call, moment, talking))
        call = Call(number, 0.0, site, rng, ports)
        answered(call)
        moment = _between(call, "ACK", "BYE") if talking else _between(call, "180", "200")
        going_on.append(_without_end(call, moment, talking, end))
    yield from begun_before
    yield from sorted(going_on, key=attrgetter("start"))


def _between(call: Call, before: str, after: str) -> float:
    """A moment after the last ``before`` and before the first ``after``."""
    last = max(step.time for step in call.steps if step.label == before)
    return (last + min(step.time for step in call.steps if step.label == after)) / 2


def _without_begin(call: Call, moment: float, talking: bool) -> Call:
    # A response without its INVITE makes a record, a BYE and its 200 make none.
    call.outcomes = Counter() if talking else Counter(incomplete=2)
    call.steps = [s._replace(time=s.time - moment) for s in call.steps if s.time > moment]
    call.talks = []
    return call


def _without_end(call: Call, moment: float, talking: bool, end: float) -> Call:
    call.outcomes = Counter(answered=2) if talking else Counter(in_progress=2)
    call.steps = [s for s in call.steps if s.time < moment]
    call.talks = []
    call.start = end - moment
    return call


# Order


def _in_order(groups: Iterable[tuple[float, Sequence[Step | Talk]]]) -> Iterator[_Timed]:
    """Merge overlapping groups, given in order of their start; times count from it."""
    queue: list[_Timed] = []
    order = count()
    for start, members in groups:
        while queue and queue[0].time <= start:
            yield heapq.heappop(queue)
        for what in members:
            if isinstance(what, Step):
                heapq.heappush(queue, _Timed(start + what.time, next(order), what))
            else:
                talk = what._replace(start=start + what.start, end=start + what.end)
                heapq.heappush(queue, _Timed(talk.start, next(order), talk))
                heapq.heappush(queue, _Timed(talk.end, next(order), talk))
    while queue:
        yield heapq.heappop(queue)


def _packets_of(calls: Iterator[Call], truth: Truth) -> Iterator[tuple[float, list[Step | Talk]]]:
    for call in calls:
        truth.outcomes += call.outcomes
        yield call.start, [*call.steps, *call.talks]


def _exchanges(
    source: Pings | Registrations, number: int, end: float
) -> Iterator[tuple[float, list[Step]]]:
    for place, at in enumerate(_evenly(number, end)):
        yield at, source.exchange(place)


def _evenly(number: int, end: float) -> Iterator[float]:
    return ((place + 0.5) * end / number for place in range(number))
