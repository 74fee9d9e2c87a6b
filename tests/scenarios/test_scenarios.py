"""Every scenario of the table, and that the table speaks of every rule there is."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from play_runner import Outcome, run
from scenario_table import Scenario, differences, scenarios

from sipwatch.config import CORRELATION_RULES
from sipwatch.outcomes.calls import CALL_RULES
from sipwatch.outcomes.cancel import CANCEL_RULES
from sipwatch.outcomes.dialect import load_dialects
from sipwatch.outcomes.rules import RULES
from sipwatch.outcomes.taxonomy import DETAILS, OUTCOMES

ALL = scenarios()


@cache
def outcome_of(number: int) -> Outcome:
    return ALL[number].run()


@pytest.mark.parametrize("number", range(len(ALL)), ids=[s.id for s in ALL])
def test_scenario(number: int) -> None:
    found = differences(ALL[number], outcome_of(number))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("number", range(len(ALL)), ids=[s.id for s in ALL])
def test_every_record_once_and_nothing_is_left(number: int) -> None:
    outcome = outcome_of(number)
    assert max(Counter(id(a) for a in outcome.attempts).values(), default=1) == 1
    assert max(Counter(id(a) for a in outcome.dialogs).values(), default=1) == 1
    told = Counter(id(a) for call in outcome.calls for a in call.attempts)
    assert told == Counter(id(a) for a in outcome.attempts), "each attempt is of one call"
    tracker = outcome.pipeline.tracker
    assert tracker.in_progress == 0
    held = {kind: n for kind, n in tracker.entries().items() if kind != "recent"}
    assert not any(held.values()), held


def test_there_are_enough_and_their_names_differ() -> None:
    assert len(ALL) >= 120
    assert max(Counter(s.id for s in ALL).values()) == 1


# --- the table speaks of everything that can be said ----------------------------------------------


def expected_rules() -> set[str]:
    """The rules that the table expects to speak; that they do is tested above."""
    return {
        f"call/{e.rule}" if e.call else e.rule
        for s in ALL
        for e in s.expected
        if e.rule is not None
    }


RULE_NUMBERS = [
    *[rule.number for rule in RULES if rule.number != "13"],
    *[f"5.1/{rule.number}" for rule in CANCEL_RULES],
    *[f"call/{rule.number}" for rule in CALL_RULES],
]


@pytest.mark.parametrize("number", RULE_NUMBERS)
def test_rule_has_its_scenario(number: str) -> None:
    assert number in expected_rules()


LINES = [
    f"{dialect.name}: {line.line}"
    for dialect in load_dialects().values()
    for line in (*dialect.finals, *dialect.cancels)
]


@pytest.mark.parametrize("line", LINES)
def test_line_of_a_dialect_has_its_scenario(line: str) -> None:
    assert any(
        a.verdict is not None and line in a.verdict.evidence
        for number in range(len(ALL))
        for a in outcome_of(number).attempts
    )


WORDS = [o.name for o in OUTCOMES] + [f"{o}/{d}" for o, details in DETAILS.items() for d in details]


@pytest.mark.parametrize("word", WORDS)
def test_outcome_has_its_scenario(word: str) -> None:
    outcome, _, detail = word.partition("/")
    assert any(
        e.outcome == outcome and (not detail or e.detail == detail) for s in ALL for e in s.expected
    )


# --- correlation, rule by rule --------------------------------------------------------------------

CORRELATED = [n for n, s in enumerate(ALL) if s.family in ("calls", "cancels", "traps", "views")]


def calls_of(outcome: Outcome) -> list[list[tuple[bytes, bytes]]]:
    return sorted(sorted((a.call_id, a.branch) for a in call.attempts) for call in outcome.calls)


@pytest.mark.parametrize("rule", CORRELATION_RULES)
def test_rule_of_correlation_matters_and_can_be_switched_off(rule: str) -> None:
    for number in CORRELATED:
        scenario = ALL[number]
        config = scenario.data.get("config", "")
        if "correlation.disabled" in config:
            continue
        less = {**scenario.data, "config": f'{config}\ncorrelation.disabled = ["{rule}"]\n'}
        without = Scenario(scenario.family, scenario.name, less)
        outcome = run([one.item for one in without.seen()], without.config, without.quiet)
        if calls_of(outcome) != calls_of(outcome_of(number)):
            return
    raise AssertionError(f"no scenario needs {rule}")
