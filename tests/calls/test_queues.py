"""Random busy hours against the log of the PBX that played them (issue of calls: 99 %)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from play_runner import Outcome, config_of, run
from playbook import Play
from queue_pbx import Shape, SimulatedPbx

from sipwatch.calls.types import Attempt


@dataclass
class Tally:
    """How often the verdicts were the log's."""

    calls: int = 0
    legs: int = 0
    wrong: list[str] = field(default_factory=list)
    #: Not the log's, but said to be ambiguous.
    unsure: list[str] = field(default_factory=list)
    wrong_legs: list[str] = field(default_factory=list)

    def report(self) -> str:
        return "\n".join(
            [f"{self.calls} calls, {len(self.unsure)} unsure, {len(self.wrong)} wrong", *self.wrong,
             f"{self.legs} legs, {len(self.wrong_legs)} wrong", *self.wrong_legs[:20]]
        )  # fmt: skip


def compare(shape: Shape, tally: Tally, keep: str = "") -> Outcome:
    """Play the hour, look at it, and count how often we say what its log says."""
    pbx = SimulatedPbx(shape)
    play = Play("hour", agents={"pbx": shape.pbx})
    items = [one.item for one in play.run(pbx.play)]
    outcome = run(items, config_of(), quiet=60.0, batch=50)
    by_label = {}
    for attempt in outcome.attempts:
        (label,) = (n for n, leg in play.legs.items() if leg.call_id.encode() == attempt.call_id)
        assert label not in by_label, "one record an attempt"
        by_label[label] = attempt
    assert set(by_label) == set(play.legs)
    legs = [leg for caller in pbx.callers for leg in caller.legs]
    for leg in legs:
        tally.legs += 1
        verdict = by_label[leg.label].verdict
        assert verdict is not None
        said = "abandoned" if verdict.outcome == "briefly_abandoned" else verdict.outcome
        if said != (leg.outcome or "in_progress"):
            tally.wrong_legs.append(f"{shape} {leg.label}: {leg.outcome} was {verdict}")
    for caller in pbx.callers:
        if not caller.outcome:
            continue
        tally.calls += 1
        attempt = by_label[caller.label]
        verdict = outcome.call_of(attempt).verdict
        assert verdict is not None
        if verdict.outcome not in (caller.outcome, caller.also):
            mine = [by_label[leg.label] for leg in caller.legs]
            line = f"{shape} {caller.label}: {caller.outcome} was {verdict}"
            (tally.unsure if said_unsure(mine) else tally.wrong).append(line)
    return outcome


def said_unsure(legs: list[Attempt]) -> bool:
    return any("ambiguous" in line for a in legs if a.verdict for line in a.verdict.evidence)


SHAPES = st.builds(
    Shape,
    seed=st.integers(0, 10**6),
    pbx=st.sampled_from(["asterisk", "freeswitch", ""]),
    callers=st.integers(1, 10),
    agents=st.integers(1, 6),
    strategy=st.sampled_from(["ringall", "linear"]),
    queue=st.booleans(),
    ring_seconds=st.sampled_from([8, 12, 15, 20]),
    spread_seconds=st.sampled_from([2.0, 8.0, 20.0]),
    patience_seconds=st.sampled_from([10.0, 60.0, 120.0]),
    hidden_share=st.sampled_from([0.0, 0.0, 0.1]),
    numbers=st.just(100_000),
    talk_seconds=st.sampled_from([5.0, 20.0, 90.0]),
    habits=st.just(Shape(0).habits),
)


def test_random_queues_are_judged_as_their_log_says() -> None:
    tally = Tally()

    @settings(max_examples=100, deadline=None, database=None)
    @given(SHAPES)
    def each(shape: Shape) -> None:
        compare(shape, tally)

    each()
    assert tally.calls > 200
    assert len(tally.wrong) + len(tally.unsure) <= 0.01 * tally.calls, tally.report()
    assert not tally.wrong, tally.report()


@pytest.mark.parametrize("pbx", ["asterisk", "freeswitch"])
def test_fifty_wait_while_twenty_ring_in_turn(pbx: str) -> None:
    shape = Shape(
        seed=7, pbx=pbx, callers=50, agents=20, strategy="linear", spread_seconds=0.4,
        patience_seconds=300.0, ring_seconds=15, talk_seconds=60.0, numbers=10**6,
    )  # fmt: skip
    tally = Tally()
    compare(shape, tally)
    assert tally.calls == 50
    assert len(tally.wrong) + len(tally.unsure) <= 0.01 * tally.calls, tally.report()


@pytest.mark.parametrize("pbx", ["asterisk", "freeswitch", ""])
def test_two_callers_of_one_number(pbx: str) -> None:
    tally = Tally()
    for seed in range(60):
        shape = Shape(
            seed=seed, pbx=pbx, numbers=1, callers=2, spread_seconds=12.0, queue=seed % 2 == 0
        )
        compare(shape, tally)
    # Where two wait in one queue under one number nobody can always tell; then it is said.
    assert len(tally.wrong) <= 0.01 * tally.calls, tally.report()
    assert len(tally.unsure) <= 0.1 * tally.calls, tally.report()


def test_eight_wait_under_three_numbers() -> None:
    tally = Tally()
    for seed in range(72):
        shape = Shape(
            seed=seed,
            pbx=["asterisk", "freeswitch", ""][seed % 3],
            strategy=["ringall", "linear"][seed % 2],
            numbers=3,
            spread_seconds=[2.0, 8.0, 20.0][seed % 5 % 3],
            patience_seconds=[10.0, 60.0, 120.0][seed % 4 % 3],
            agents=1 + seed % 6,
        )
        compare(shape, tally)
    # No program can always tell these apart, but it can say so.
    assert len(tally.wrong) <= 0.02 * tally.calls, tally.report()
    assert len(tally.unsure) <= 0.15 * tally.calls, tally.report()
    assert len(tally.wrong_legs) <= 0.01 * tally.legs, tally.report()


@pytest.mark.parametrize("pbx", ["asterisk", "freeswitch", ""])
def test_a_group_is_called_by_one_number_at_once(pbx: str) -> None:
    tally = Tally()
    for seed in range(20):
        compare(Shape(seed=seed, pbx=pbx, numbers=1, queue=False, spread_seconds=1.0), tally)
    assert len(tally.wrong) + len(tally.unsure) <= 0.02 * tally.calls, tally.report()


@pytest.mark.parametrize("pbx", ["asterisk", "freeswitch", ""])
def test_the_simulator_itself_reaches_every_outcome(pbx: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(30):
        shape = Shape(seed=seed, pbx=pbx, queue=seed % 3 != 0, patience_seconds=40.0)
        for caller in SimulatedPbx(shape).callers:
            seen[caller.outcome] += 1
    assert {"answered", "abandoned", "briefly_abandoned"} <= set(seen)
    assert {"declined", "no_answer"} & set(seen)
