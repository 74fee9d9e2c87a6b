"""The same verdict for the same call, whatever carried it, live: each family in real time.

From every family those scenarios are taken that last some six seconds at most; all of them play
side by side, each through a pair of veth of its own, into `LiveCapture` and a pipeline that is fed
as the daemon does it. What is said must be what is said of the same datagrams as a file, which is
held against the table of scenarios elsewhere. A play that the host was too busy to send in time is
no play of its scenario: it is sent again. Longer scenarios go through HEP
(``test_hep_matrix``), where packets bring their time along.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TypeAlias

import pytest
from live_stage import Part, Played, Stage
from play_runner import Outcome, run
from playbook import Loss
from scenario_table import Scenario, scenarios

from sipwatch.calls.types import Attempt
from sipwatch.net.types import Datagram

#: Those of a row play side by side.
LIVE_CARRIERS = (
    ("UDP", "TCP", "IPv4 fragments", "VLAN in VLAN"),
    ("TCP in disorder", "WebSocket", "VXLAN", "HEP version 3"),
)
#: Seconds that a play may take.
LONGEST = 6.6
#: Scenarios of each family.
EACH = 2
#: Seconds by which packets may be sent late: far below what divides one outcome from another.
MOST_LATE = 0.02
TRIES = 6

Word: TypeAlias = "tuple[str | None, ...]"


def datagrams_of(scenario: Scenario) -> list[Datagram] | None:
    """What is on the wire; None where it is not datagrams alone."""
    items = [one.item for one in scenario.seen()]
    found = [one for one in items if isinstance(one, Datagram)]
    return found if found and len(found) == len(items) else None


@cache
def parts(carrier: str) -> tuple[Part, ...]:
    """From each family the longest scenarios that expect something new."""
    by_family: dict[str, list[Part]] = defaultdict(list)
    for scenario in scenarios():
        datagrams = datagrams_of(scenario)
        if datagrams and datagrams[-1].time - datagrams[0].time <= LONGEST:
            by_family[scenario.family].append(Part(carrier, scenario, datagrams))
    return tuple(part for family in by_family.values() for part in _chosen(family))


def _chosen(family: list[Part]) -> Iterator[Part]:
    told: set[str] = set()
    count = 0
    for part in sorted(family, key=lambda p: p.datagrams[0].time - p.datagrams[-1].time):
        outcomes = {f"{one.outcome}/{one.detail}" for one in part.scenario.expected}
        if count < EACH and outcomes - told:
            told |= outcomes
            count += 1
            yield part


def said(scenario: Scenario, outcome: Outcome) -> list[Word]:
    """Outcome, detail, confidence and rule of each attempt and call, whatever its times."""
    found = [_word(scenario.label_of(one), one) for one in outcome.attempts]
    for call in outcome.calls:
        legs = "+".join(sorted(scenario.label_of(one) for one in call.attempts))
        verdict = call.verdict
        assert verdict is not None
        found.append((f"call {legs}", verdict.outcome, verdict.detail, verdict.rule))
    return sorted(found, key=repr)


def _word(label: str, attempt: Attempt) -> Word:
    verdict = attempt.verdict
    assert verdict is not None
    end = (attempt.end, attempt.closed_by, str(attempt.legs), str(attempt.retransmissions))
    return (label, verdict.outcome, verdict.detail, verdict.confidence, verdict.rule, *end)


def as_a_file(part: Part) -> list[Word]:
    numbered = [one._replace(number=n) for n, one in enumerate(part.datagrams, 1)]
    return said(part.scenario, run(numbered, part.scenario.config, part.scenario.quiet))


@pytest.mark.parametrize("names", LIVE_CARRIERS, ids=", ".join)
def test_every_family_live(names: Sequence[str]) -> None:
    left: Sequence[Part] = [part for name in names for part in parts(name)]
    stage = Stage(len(left))
    wrong: list[str] = []
    try:
        for _ in range(TRIES):
            late: list[Part] = []
            for one in stage.play(left):
                assert contents(one.captured) == contents(one.part.datagrams), one.part.id
                if one.lateness > MOST_LATE:
                    late.append(one.part)
                else:
                    wrong += differences(one)
            left = late
            if not left:
                break
    finally:
        stage.close()
    assert not wrong, "\n".join(wrong)
    assert not left, "this host is too busy to play in time"


def contents(batch: Sequence[Datagram]) -> list[tuple[object, ...]]:
    return [(one.source, one.destination, one.payload) for one in batch]


def differences(one: Played) -> list[str]:
    live, file = said(one.part.scenario, one.outcome), as_a_file(one.part)
    if live == file:
        return []
    return [f"{one.part.id}:", f"  live {live}", f"  file {file}"]


def test_every_family_is_played() -> None:
    families = {
        s.family for s in scenarios() if any(not isinstance(o.item, Loss) for o in s.seen())
    }
    assert {part.scenario.family for part in parts("UDP")} == families
    outcomes = {one.outcome for part in parts("UDP") for one in part.scenario.expected}
    assert len(outcomes) >= 10
