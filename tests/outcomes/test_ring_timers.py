"""Learning of ring timers: outcomes.md 5.1 rule 5."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.outcomes.ring_timers import RingTimers


def told(gaps: list[float], sender: object = "pbx") -> RingTimers:
    timers = RingTimers()
    for gap in gaps:
        timers.add(sender, gap)
    return timers


@pytest.mark.parametrize(
    ("gaps", "gap", "agreeing"),
    [
        ([12.0] * 4, 12.0, 0),  # at least 5
        ([12.0] * 5, 12.0, 5),
        ([12.0] * 5, 12.24, 5),  # within 0.25 s of the same value
        ([12.0] * 5, 12.26, 0),
        ([11.76, 12.0, 12.0, 12.0, 12.24], 12.24, 5),
        ([11.7, 11.8, 12.0, 12.2, 12.3], 12.0, 0),  # too wide apart for one value
        ([7.9] * 9, 7.9, 0),  # 8 s or more
        ([8.0] * 5, 8.0, 5),
        ([12.0] * 5 + [100.0 + 3 * i for i in range(20)], 12.0, 5),  # 20 %
        ([12.0] * 5 + [100.0 + 3 * i for i in range(21)], 12.0, 0),
        ([12.0] * 5 + [20.0] * 7, 20.0, 7),  # two timers of one sender
        ([12.0] * 5 + [20.0] * 7, 12.0, 5),
    ],
)
def test_learned(gaps: list[float], gap: float, agreeing: int) -> None:
    learned = told(gaps).match("pbx", gap)
    assert (learned.agreeing if learned else 0) == agreeing
    if learned:
        assert learned.of == min(len(gaps), 50)
        assert abs(learned.seconds - gap) <= 0.25


@pytest.mark.parametrize(
    ("gaps", "gap", "agreeing", "seconds"),
    [
        ([11.1, 11.3, 11.5, 11.7, 11.9], 11.5, 5, 12.0),
        ([11.1, 11.3, 11.5, 11.7, 12.05], 12.05, 5, 12.0),  # to 0.1 s above
        ([11.1, 11.3, 11.5, 11.7, 12.2], 12.2, 0, 0.0),
        ([10.9, 11.3, 11.5, 11.7, 11.9], 11.5, 0, 0.0),
        ([7.2] * 5, 7.2, 5, 8.0),  # a timer of 8 s ends from 7 s on
        ([6.9] * 5, 6.9, 0, 0.0),
    ],
)
def test_learned_in_whole_seconds_of_the_wall_clock(
    gaps: list[float], gap: float, agreeing: int, seconds: float
) -> None:
    learned = told(gaps).match("pbx", gap, whole_seconds=True)
    assert (learned.agreeing, learned.seconds) == (agreeing, seconds) if learned else not agreeing


def test_only_the_last_fifty_count() -> None:
    timers = told([12.0] * 10 + [100.0 + 3 * i for i in range(41)])
    assert timers.match("pbx", 12.0) is None  # 9 of 50 are left: 18 %
    timers = told([12.0] * 10 + [100.0 + 3 * i for i in range(40)])
    learned = timers.match("pbx", 12.0)
    assert learned is not None
    assert (learned.agreeing, learned.of) == (10, 50)


def test_senders_are_apart_and_the_unknown_know_nothing() -> None:
    timers = told([12.0] * 5)
    assert timers.match("other", 12.0) is None
    timers.add("other", 12.0)
    assert timers.match("other", 12.0) is None


def test_the_number_of_senders_is_bounded_and_the_idle_go_first() -> None:
    timers = told([12.0] * 5, "kept")
    for number in range(20_000):
        timers.add(number, 9.0)
        if number % 1000 == 0:
            timers.add("kept", 12.0)
    assert len(timers.state()) <= 10_000
    assert timers.match("kept", 12.0) is not None


def test_what_was_learned_outlives_a_restart() -> None:
    timers = told([12.0] * 5 + [30.0] * 60)
    again = RingTimers()
    again.restore(timers.state())
    assert again.state() == timers.state()
    assert again.match("pbx", 30.1) == timers.match("pbx", 30.1) is not None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 200), max_size=60), st.booleans())
def test_a_match_is_always_backed_by_enough_ends(gaps: list[float], whole: bool) -> None:
    timers = told(gaps)
    for gap in gaps[-50:]:
        learned = timers.match("pbx", gap, whole)
        if learned is not None:
            low, high = (1.0, 0.1) if whole else (0.2500001, 0.2500001)
            near = [g for g in gaps[-50:] if learned.seconds - low <= g <= learned.seconds + high]
            assert 5 <= learned.agreeing <= len(near)
            assert learned.agreeing >= 0.2 * learned.of
            assert gap >= (7.0 if whole else 8.0)
