"""Calls for the live benchmark as ready-made frames in which only an eight-digit mark differs.

A call is cut into stages, each a run of frames that are sent together some time after the call's
beginning. The mark stands in Call-ID, tags and branches, so that patching a stage with another
mark makes the same moment of another call, without any lengths or IP checksums changing. UDP
checksums are left out, as RFC 768 allows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from traffic.frames import Wire, without_udp_checksum
from traffic.leg import Leg, Step
from traffic.sites import MediaPorts, sites

MARK = b"@@@@@@@@"
_IDENTIFIERS = re.compile(
    rb"((?:;branch=|;tag=|Call-ID: )[^;@\r>]*?)[^;@\r>]{%d}(?=[;@\r>])" % len(MARK)
)
#: Steps of a script that follow each other faster than this go out together.
_TOGETHER = 0.02


class Stage(NamedTuple):
    """Frames one after the other in ``frames``, of ``lengths`` bytes, sent together."""

    delay: float
    frames: bytes
    lengths: tuple[int, ...]


class Flow(NamedTuple):
    outcome: str
    stages: tuple[Stage, ...]
    #: Messages of one call by method or status.
    messages: Counter[str]


def full_call(*, rings: float = 0.5, talks: float = 2.0) -> Flow:
    """INVITE 100 180 200 ACK BYE 200, with seconds of ringing and of conversation."""

    def write(leg: Leg) -> None:
        leg.invite(0)
        leg.reply(0.001, 100)
        leg.reply(0.1, 180)
        leg.answer(0.1 + rings)
        leg.transact(0.1 + rings + talks, "BYE")

    return _flow("answered", write)


def busy() -> Flow:
    def write(leg: Leg) -> None:
        leg.invite(0)
        leg.reply(0.001, 100)
        leg.refuse(0.1, 486, "Reason: Q.850;cause=17\r\n")

    return _flow("agent_busy", write)


def not_found() -> Flow:
    def write(leg: Leg) -> None:
        leg.invite(0)
        leg.refuse(0.001, 404)

    return _flow("not_found", write)


def left_soon() -> Flow:
    def write(leg: Leg) -> None:
        leg.invite(0)
        leg.reply(0.001, 100)
        leg.reply(0.1, 180)
        leg.cancel(2.1)

    return _flow("briefly_abandoned", write)


#: Flows by name of a mix, with the share of calls that each gets.
MIXES: dict[str, tuple[tuple[float, Callable[[], Flow]], ...]] = {
    "full": ((1.0, full_call),),
    "outcomes": ((0.7, full_call), (0.1, busy), (0.1, not_found), (0.1, left_soon)),
}


def _flow(outcome: str, write: Callable[[Leg], None]) -> Flow:
    """The frames of a script between a carrier and an Asterisk."""
    site, rng, ports = sites()[0], Random(outcome), MediaPorts()
    script: list[Step] = []
    media = ports.take(site.trunk), ports.take(site.pbx)
    numbers = {"from_user": "+4930111000", "to_user": "+49302220100"}
    write(Leg(script, rng, site.trunk, site.pbx, display="Anna Berg", media=media, **numbers))
    script.sort(key=lambda step: step.time)
    wire = Wire()
    stages: list[Stage] = []
    for step in script:
        payload = _IDENTIFIERS.sub(rb"\g<1>" + MARK, step.text().encode())
        frame = without_udp_checksum(wire.frame(step.source, step.destination, payload))
        if stages and step.time - stages[-1].delay < _TOGETHER:
            delay, frames, lengths = stages.pop()
            stages.append(Stage(delay, frames + frame, (*lengths, len(frame))))
        else:
            stages.append(Stage(step.time, frame, (len(frame),)))
    return Flow(outcome, tuple(stages), Counter(step.label for step in script))
