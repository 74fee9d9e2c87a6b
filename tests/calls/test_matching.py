"""The shortcut for the plain pair against the whole scoring."""

from __future__ import annotations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from playbook import Play

from sipwatch.calls.matching import CERTAIN, Matcher, is_plain
from sipwatch.calls.settings import CORRELATION_RULES
from sipwatch.calls.types import Attempt
from sipwatch.net.types import Datagram
from sipwatch.sip.message import parse

TIMES = st.one_of(st.none(), st.floats(0, 20))
KEYS = st.sampled_from([(), ("a",), ("b",), ("a", "b")])


def leg(serial: int, started_at: float, identity: tuple[str, ...]) -> Attempt:
    (seen,) = Play().run("0 pbx>101 INVITE a")
    packet = seen.item
    assert isinstance(packet, Datagram)
    message = parse(packet.payload)
    attempt = Attempt(serial, packet, message, message)
    attempt.started_at = started_at
    attempt.transmissions = [started_at]
    attempt.identity = identity
    return attempt


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Attempt, Attempt]:
    caller = leg(1, draw(st.floats(0, 12)), draw(KEYS))
    for name in ("answered_at", "cancel_at", "final_at", "bye_at", "refer_at"):
        setattr(caller, name, draw(TIMES))
    for serial in range(2, 2 + draw(st.integers(0, 2))):
        child = leg(serial, draw(st.floats(0, 12)), caller.identity)
        for name in ("answered_at", "cancel_at", "final_at", "bye_at", "refer_at"):
            setattr(child, name, draw(TIMES))
        caller.children = (*caller.children, child)
    return leg(9, draw(st.floats(0, 12)), draw(KEYS)), caller


# Plain pairs are few among those that are drawn.
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(pairs(), st.sets(st.sampled_from(CORRELATION_RULES)), st.booleans())
def test_a_plain_pair_would_be_certain_by_its_score(
    pair: tuple[Attempt, Attempt], without: set[str], linked: bool
) -> None:
    attempt, caller = pair
    assume(is_plain(attempt, caller))
    if linked:
        attempt.linked = (caller,)
    matcher = Matcher(frozenset(CORRELATION_RULES) - without)
    assert matcher.score(attempt, caller, final=False, alone=True) >= CERTAIN
