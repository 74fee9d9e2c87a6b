"""Any order, loss and duplication of valid exchanges, several calls mixed (hypothesis).

Whatever the capture did to it: an attempt of which an INVITE, a response to it or its CANCEL was
seen has exactly one record, others have none; each is of one call; nothing stays behind.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from play_runner import config_of, run
from playbook import EPOCH, Item, Play, Seen

from sipwatch.calls.types import Attempt
from sipwatch.net.types import Datagram

#: Exchanges of some seconds; {n} tells them apart. Legs that are tried again: "challenged".
EXCHANGES = {
    "answered": """
        0.000 trunk>pbx INVITE a{n} sdp
        0.001 pbx>trunk 100 a{n}
        0.005 pbx>101 INVITE b{n} again=0.5
        0.600 101>pbx 180 b{n}
        0.602 pbx>trunk 180 a{n}
        2.000 101>pbx 200 b{n} sdp ack
        2.003 pbx>trunk 200 a{n} sdp ack
        4.000 trunk>pbx INVITE a{n} re
        4.010 pbx>trunk 200 a{n} re ack
        6.000 trunk>pbx BYE a{n} done
        6.003 pbx>101 BYE b{n} done""",
    "left": """
        0.000 trunk>pbx INVITE a{n}
        0.001 pbx>trunk 100 a{n}
        0.005 pbx>101 INVITE b{n}
        0.006 pbx>102 INVITE c{n}
        0.100 101>pbx 180 b{n}
        0.110 102>pbx 180 c{n}
        0.112 pbx>trunk 180 a{n}
        3.000 trunk>pbx CANCEL a{n} done
        3.003 pbx>101 CANCEL b{n} done
        3.004 pbx>102 CANCEL c{n} done""",
    "challenged": """
        0.000 105>pbx INVITE a{n}
        0.002 pbx>105 401 a{n} ack
        0.020 105>pbx INVITE a{n} auth
        0.022 pbx>105 100 a{n}
        0.030 pbx>trunk INVITE b{n}
        0.500 trunk>pbx 183 b{n} sdp
        0.502 pbx>105 183 a{n} sdp
        3.000 trunk>pbx 486 b{n} ack
        3.002 pbx>105 486 a{n} ack""",
    "forked": """
        0.000 trunk>pbx INVITE a{n}
        0.004 pbx>101 INVITE b{n} call=a{n}
        0.005 pbx>102 INVITE c{n} call=a{n}
        0.050 101>pbx 486 b{n} ack
        0.100 102>pbx 180 c{n}
        0.101 pbx>trunk 180 a{n}
        2.000 102>pbx 200 c{n}
        2.001 pbx>trunk 200 a{n} ack
        2.004 pbx>102 ACK c{n}
        5.000 102>pbx BYE c{n} done""",
    "crossed": """
        0.000 pbx>101 INVITE b{n}
        0.100 101>pbx 180 b{n}
        2.000 pbx>101 CANCEL b{n}
        2.001 101>pbx 200 b{n} sdp
        2.002 101>pbx 200 b{n} for=CANCEL
        2.003 pbx>101 ACK b{n}
        2.004 pbx>101 BYE b{n} done""",
    "dead": """
        0.000 pbx>101 INVITE b{n} again=0.5,1.5,3.5,7.5
        0.001 101>pbx icmp b{n}""",
    "transferred": """
        0.000 pbx>101 INVITE b{n}
        1.000 101>pbx 200 b{n} ack
        2.000 101>pbx REFER b{n}
        2.010 pbx>101 202 b{n} for=REFER
        3.000 101>pbx BYE b{n} done""",
}
TRIED_AGAIN = frozenset(("challenged",))
#: A response to a re-INVITE that is seen before all else looks like one to an INVITE.
HAS_REINVITE = frozenset(("answered",))


class Mixed(NamedTuple):
    """What the capture holds, and which legs must and may have records."""

    items: list[Item]
    must: frozenset[str]
    #: Legs of which no INVITE was seen, but a response after the end of another of its Call-ID.
    may: frozenset[str]
    #: Legs tried again, whose tries may stand apart when the challenge or its order was lost.
    loose: frozenset[str]
    play: Play
    seen: list[Seen]

    def __repr__(self) -> str:
        return "\n" + "\n".join(f"{one.item.time - EPOCH:.4f} {what_is(one)}" for one in self.seen)


def what_is(one: Seen) -> str:
    item = one.item
    if not isinstance(item, Datagram):
        return f"icmp {one.label}"
    first, _, rest = item.payload.decode().partition("\r\n")
    (cseq,) = (line for line in rest.split("\r\n") if line.startswith("CSeq"))
    return f"{item.source[0][-1]}>{item.destination[0][-1]} {first[:20]} {cseq} {one.label}"


@st.composite
def mixed(draw: st.DrawFn, shuffled: bool) -> Mixed:
    play = Play("mixed")
    seen: list[Seen] = []
    loose: set[str] = set()
    for number in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(EXCHANGES)))
        start = draw(st.floats(0, 2))
        text = EXCHANGES[name].replace("{n}", str(number))
        play.run("\n".join(f"{start:.6f}+{line.strip()}" for line in text.split("\n")[1:]))
        if name in TRIED_AGAIN or (shuffled and name in HAS_REINVITE):
            loose.add(f"a{number}")
    for one in play.in_order():
        fate = draw(st.sampled_from(["keep"] * 6 + ["lose", "copy", "again", "late"]))
        if fate == "lose":
            continue
        seen.append(one)
        if fate in ("copy", "again", "late"):
            delay = {"copy": 0.0002, "again": 0.6, "late": 4.0}[fate]
            seen.append(one._replace(item=one.item._replace(time=one.item.time + delay)))
    if shuffled:
        order = draw(st.permutations(seen))
        times = sorted(one.item.time for one in seen)
        seen = [
            one._replace(item=one.item._replace(time=time))
            for one, time in zip(order, times, strict=True)
        ]
    else:
        jitter = [draw(st.floats(0, 0.01)) for _ in seen]
        seen = [
            one._replace(item=one.item._replace(time=one.item.time + more))
            for one, more in zip(seen, jitter, strict=True)
        ]
        seen.sort(key=lambda one: one.item.time)
    opened = frozenset(one.label for one in seen if one.opens)
    may = frozenset(
        label
        for label in opened
        if shuffled
        and len([1 for leg in play.legs.values() if leg.call_id == play.legs[label].call_id]) > 1
    ) - frozenset(one.label for one in seen if one.opens and is_invite(one))
    return Mixed([one.item for one in seen], opened - may, may, frozenset(loose), play, seen)


def is_invite(one: Seen) -> bool:
    return isinstance(one.item, Datagram) and one.item.payload.startswith(b"INVITE")


def label_of(play: Play, attempt: Attempt) -> str:
    (label,) = (
        label
        for label, leg in play.legs.items()
        if leg.call_id.encode() == attempt.call_id
        and any(t.branch.encode() == attempt.branch for t in leg.sent)
    )
    return label


def check(what: Mixed, batch: int, idle: float) -> None:
    outcome = run(what.items, config_of(), quiet=60.0, batch=batch, idle=idle)
    records = Counter(label_of(what.play, attempt) for attempt in outcome.attempts)
    assert what.must <= set(records) <= what.must | what.may
    for label, number in records.items():
        assert number == 1 or (label in what.loose and number == 2), (label, number)
    told = Counter(id(a) for call in outcome.calls for a in call.attempts)
    assert told == Counter(id(a) for a in outcome.attempts)
    tracker = outcome.pipeline.tracker
    assert {kind: n for kind, n in tracker.entries().items() if kind != "recent"} == dict.fromkeys(
        (kind for kind in tracker.entries() if kind != "recent"), 0
    )
    for attempt in outcome.attempts:
        assert attempt.verdict is not None
        assert attempt.verdict.evidence
        if attempt.verdict.confidence is None:
            assert attempt.verdict.outcome in ("in_progress", "incomplete")
        for seconds in (attempt.ring_duration, attempt.talk_duration, attempt.post_dial_delay):
            assert seconds is None or seconds >= 0


@settings(max_examples=80, deadline=None)
@given(mixed(shuffled=False))
def test_loss_and_duplication(what: Mixed) -> None:
    check(what, 1, 0.0)


@settings(max_examples=80, deadline=None)
@given(mixed(shuffled=True), st.sampled_from([1, 7]), st.sampled_from([0.0, 0.25]))
def test_any_order(what: Mixed, batch: int, idle: float) -> None:
    check(what, batch, idle)
