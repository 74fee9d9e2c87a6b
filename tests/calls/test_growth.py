"""What is held follows the calls that are open at once, and not the calls that were seen."""

from __future__ import annotations

import sys
from collections import Counter
from functools import cache
from pathlib import Path
from socket import inet_aton

import pytest

from sipwatch.calls.types import CallEnded
from sipwatch.config import parse_toml
from sipwatch.net.types import Datagram
from sipwatch.outcomes.missed import MOST_RETURNING
from sipwatch.pipeline import Pipeline

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import pbx_calls

#: Calls that came. The first 120 s are not looked at: what is held for a while fills up.
FEW, MANY = 1_000, 10_000
RATE = 5.0
FULL_AFTER_SECONDS = 120.0
#: Kinds of what is held that follow the open calls.
KINDS = ("attempts", "recent", "timers", "calls", "callers", "ended")


class Held:
    """The most that was held of each kind, looked at every half second, and of calls in truth."""

    def __init__(self, calls: int, rate: float) -> None:
        self.made = pbx_calls.Made(calls)
        self.most: Counter[str] = Counter()
        self.ended = 0
        self._play(rate)

    def _play(self, rate: float) -> None:
        pipeline = Pipeline(parse_toml(f'local_addresses = ["{pbx_calls.PBX}"]'))
        end = self.made.calls / rate
        look, at = FULL_AFTER_SECONDS, 0.0
        played = pbx_calls.messages(self.made, rate, pbx_calls.ANSWERED)
        for number, (at, step) in enumerate(played, 1):
            source, destination = (
                (inet_aton(place.ip), place.port) for place in (step.source, step.destination)
            )
            payload = step.text().encode()
            time = pbx_calls.EPOCH + at
            events = pipeline.feed(
                [Datagram(time, source, destination, "UDP", payload, "play", number)]
            )
            self.ended += sum(isinstance(event, CallEnded) for event in events)
            if look <= at <= end:
                look = at + 0.5
                self._look(pipeline)
        events = pipeline.finish(pbx_calls.EPOCH + at + 60.0, "end_of_capture")
        self.ended += sum(isinstance(event, CallEnded) for event in events)
        self.to_return = pipeline.missed.entries()
        self.ambiguous = pipeline.tracker.correlator.counts["ambiguous"]
        self.left = {**pipeline.tracker.entries(), **pipeline.devices.entries()}

    def _look(self, pipeline: Pipeline) -> None:
        held = {
            **pipeline.tracker.entries(),
            **pipeline.devices.entries(),
            "ended": len(pipeline._ended),
        }
        for kind, number in held.items():
            self.most[kind] = max(self.most[kind], number)


@cache
def held(calls: int, rate: float) -> Held:
    return Held(calls, rate)


def test_ten_times_the_calls_hold_no_more() -> None:
    few, many = held(FEW, RATE), held(MANY, RATE)
    for one in few, many:
        # A leg that two callers fit, by chance, is a call of its own.
        assert one.ended == one.made.calls + one.ambiguous
        assert one.ambiguous <= one.made.calls / 1000
    # The longer it goes on the rarer moments it meets: some more may be open in one of them.
    more = many.made.open_at_once / few.made.open_at_once
    assert more < 1.25
    assert few.most.keys() == many.most.keys()
    for kind, number in few.most.items():
        assert many.most[kind] <= max(number * 1.25 * more, number + 8), kind


@pytest.mark.parametrize("kind", KINDS)
def test_it_grows_in_a_line_with_the_calls_that_are_open(kind: str) -> None:
    """Per open call it is as much at twice and at four times the rate."""
    of_rates = [held(round(FEW * times), RATE * times) for times in (1, 2, 4)]
    base, *others = [one.most[kind] / one.made.open_at_once for one in of_rates]
    assert base > 0
    for each in others:
        assert each == pytest.approx(base, rel=0.25)


def test_what_waits_for_a_call_back_has_bounds_of_its_own() -> None:
    """It is kept for a day, so it follows the calls seen; these nobody missed."""
    many = held(MANY, RATE)
    to_return = many.to_return
    assert 0 < to_return["returning"] <= MOST_RETURNING
    # The caller whose agent's leg stands alone may seem to have been missed.
    assert max(to_return["missed"], to_return["callers"]) <= many.ambiguous
    assert to_return["asking"] == 0


def test_nothing_of_a_call_is_left_when_all_are_over() -> None:
    left = held(FEW, RATE).left
    assert {kind: left[kind] for kind in ("attempts", "calls", "callers", "timers")} == {
        "attempts": 0, "calls": 0, "callers": 0, "timers": 0}  # fmt: skip
