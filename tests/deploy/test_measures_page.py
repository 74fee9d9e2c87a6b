"""docs/measures.md names series that exist, and states the code sets that the rules use."""

from __future__ import annotations

import re

import yaml
from places import DEPLOY, REPOSITORY

from sipwatch.outcomes.missed import MISSED
from sipwatch.outcomes.taxonomy import OUTCOMES

PAGE = (REPOSITORY / "docs" / "measures.md").read_text()
RULES_FILE = DEPLOY / "prometheus" / "rules" / "sipwatch-measures.yml"
RULES = {
    rule["record"]: rule["expr"]
    for group in yaml.safe_load(RULES_FILE.read_text())["groups"]
    for rule in group["rules"]
}


def test_every_series_of_the_page_is_recorded() -> None:
    named = set(re.findall(r"\b(?:job\w*):sipwatch_\w+:\w+", PAGE))
    assert len(named) > 10
    assert named <= set(RULES)


def test_every_recorded_measure_is_on_the_page() -> None:
    for name in RULES:
        what = name.split(":")[1].removeprefix("sipwatch_")
        assert re.search(rf"[`_]{what}[`:]", PAGE), name


def test_code_sets_are_those_of_the_rules() -> None:
    parts = {
        "sessions_established": "2..",
        "sessions_effective": "2..|480|486|600|603",
        "sessions_ineffective": "408|500|503|504",
    }
    for part, codes in parts.items():
        expr = RULES[f"job_direction_peer:sipwatch_{part}:rate5m"]
        assert f'code=~"{codes}"' in expr
        word = part.removeprefix("sessions_")
        stated = codes.replace("2..", "2xx").replace("|", ", ")
        assert f"{word}: {stated}" in PAGE


def test_each_outcome_is_delivered_or_not() -> None:
    expr = RULES["job_direction_peer:sipwatch_delivered:rate5m"]
    delivered = set(re.search(r'outcome=~"([^"]+)"', expr)[1].split("|"))
    against = set(
        re.findall(r"`(\w+)`", PAGE.split("against the network:")[1].split("By status")[0])
    )
    every = {outcome.name for outcome in OUTCOMES if outcome.level != "call"}
    assert delivered | against == every - {"incomplete", "in_progress"}
    assert not delivered & against


def test_missed_calls_are_those_that_the_daemon_counts() -> None:
    [row] = re.findall(r"^\| missed \|.*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == MISSED
    comment = RULES_FILE.read_text().split("that reached nobody: ")[1].split(".\n")[0]
    assert set(re.findall(r"\w+", comment)) == MISSED


def test_outcomes_of_the_abandonment_are_those_of_the_page() -> None:
    for what in ("abandoned", "briefly_abandoned"):
        expr = RULES[f"job:sipwatch_inbound_calls_{what}:rate5m"]
        assert re.search(r'outcome="(\w+)"', expr)[1] == what
