"""The timer structure against the plainest one: a list that is searched."""

from __future__ import annotations

import gc

from hypothesis import given, settings
from hypothesis import strategies as st
from playbook import Play

from sipwatch.calls.types import Attempt
from sipwatch.calls.wheel import Wheel
from sipwatch.net.types import Datagram
from sipwatch.sip.message import parse

NEVER = float("inf")


def attempts(number: int) -> list[Attempt]:
    play = Play("wheel")
    (seen,) = play.run("0 pbx>101 INVITE a")
    packet = seen.item
    assert isinstance(packet, Datagram)
    message = parse(packet.payload)
    return [Attempt(serial, packet, message, message) for serial in range(number)]


STEP = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 7), st.floats(0, 100)),
    st.tuples(st.just("clear"), st.integers(0, 7), st.just(0.0)),
    st.tuples(st.just("pop"), st.just(0), st.floats(0, 100)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=60))
def test_against_a_list(steps: list[tuple[str, int, float]]) -> None:
    wheel, waiting = Wheel(), dict.fromkeys(range(8), NEVER)
    known = attempts(8)
    for what, who, at in steps:
        if what == "set":
            wheel.set(known[who], at)
            waiting[who] = at
        elif what == "clear":
            wheel.clear(known[who])
            waiting[who] = NEVER
        else:
            assert wheel.next_due <= min(waiting.values())
            popped = []
            while (due := wheel.pop(at)) is not None:
                popped.append((due.deadline, due.serial))
                waiting[due.serial] = NEVER
            assert popped == sorted(popped)
            assert all(deadline <= at for deadline, _ in popped)
            assert all(deadline > at for deadline in waiting.values())
        assert len(wheel) == sum(deadline != NEVER for deadline in waiting.values())


def test_deadlines_that_move_do_not_pile_up() -> None:
    wheel = Wheel()
    (attempt,) = attempts(1)
    for number in range(10_000):
        wheel.set(attempt, 20_000.0 - number)
    assert len(wheel) == 1
    for number in range(10_000):
        wheel.set(attempt, 20_000.0 + number)
    assert len(wheel) == 1
    wheel.clear(attempt)
    assert len(wheel) == 0
    assert wheel.pop(1e9) is None
    assert wheel.next_due == NEVER


def test_what_was_cleared_is_let_go() -> None:
    wheel = Wheel()
    for attempt in attempts(10_000):
        wheel.set(attempt, 14_400.0 + attempt.serial)
        wheel.clear(attempt)
    del attempt
    everybody = [one for one in gc.get_referrers(Attempt) if isinstance(one, Attempt)]
    held = [one for one in everybody if b"-wheel@" in one.call_id]
    assert len(held) <= 2000
