"""Alerts with promtool: for each what makes it fire, and what only just does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from alert_cases import Case, all_cases
from places import DEPLOY, REPOSITORY, run

RULES = DEPLOY / "prometheus" / "rules"
ALERTS = RULES / "sipwatch-alerts.yml"

CASES: dict[tuple[str, str], list[Case]] = defaultdict(list)
for _case in all_cases():
    CASES[_case.alert, _case.measure].append(_case)


def rules() -> list[dict[str, object]]:
    data = yaml.safe_load(ALERTS.read_text())
    return [rule for group in data["groups"] for rule in group["rules"]]


def test_every_alert_has_a_case_on_each_side_of_its_threshold() -> None:
    there = {(rule["alert"], rule["labels"].get("measure", "")) for rule in rules()}
    assert there == set(CASES)
    one_sided = [key for key, cases in CASES.items() if {c.fires for c in cases} != {True, False}]
    assert not one_sided


@pytest.mark.parametrize("key", list(CASES), ids="-".join)
def test_fires_above_its_threshold_and_not_below(key: tuple[str, str], tmp_path: Path) -> None:
    cases = CASES[key]
    alone = tmp_path / "rules.yml"
    alone.write_text(json.dumps({"groups": _groups_with(key[0])}))
    file = tmp_path / "cases.yml"
    file.write_text(
        json.dumps(
            {
                "rule_files": [str(alone)],
                "evaluation_interval": f"{cases[0].interval}m",
                "tests": [_promtool_test(case) for case in cases],
            }
        )
    )
    run("promtool", "test", "rules", str(file))


def _groups_with(alert: str) -> list[dict[str, object]]:
    """The rule file as it is, less the other alerts: eight days of all of them take minutes."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] == alert]
    return [group for group in groups if group["rules"]]


def _promtool_test(case: Case) -> dict[str, object]:
    measure = f',measure="{case.measure}"' if case.measure else ""
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"{measure}}}'
    return {
        "name": f"{case.alert}: {case.why}",
        "interval": f"{case.interval}m",
        "input_series": [{"series": name, "values": v} for name, v in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f"count({firing}) or vector(0)",
                "eval_time": f"{case.at}m",
                "exp_samples": [{"labels": "{}", "value": case.count if case.fires else 0}],
            }
        ],
    }


def test_the_file_is_what_its_script_writes() -> None:
    script = DEPLOY / "prometheus" / "make_alerts.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr


def test_people_are_nobodys_pager() -> None:
    """What people do is never more than a trend."""
    trends = [rule for rule in rules() if rule["labels"]["severity"] == "trend"]
    people = {"agent_busy", "no_answer", "declined", "abandoned", "briefly_abandoned"}
    assert {rule["labels"].get("outcome") for rule in trends} >= people - {"briefly_abandoned"}
    for rule in rules():
        if rule["labels"].get("outcome") in people:
            assert rule["labels"]["severity"] == "trend", rule["alert"]


def test_missed_calls_are_nobodys_pager() -> None:
    about = [rule for rule in rules() if "missed_calls" in rule["expr"]]
    assert len(about) == 2
    assert {rule["labels"]["severity"] for rule in about} == {"trend"}


def test_everything_says_what_to_do() -> None:
    for rule in rules():
        texts = rule["annotations"]
        assert {"summary", "description", "runbook"} <= set(texts), rule["alert"]
        assert texts["runbook"].lstrip("{").strip(), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket", "trend")
        assert "\n" not in texts["summary"]


def test_measures_are_what_a_pencil_says() -> None:
    run("promtool", "test", "rules", str(Path(__file__).parent / "promtool" / "measures.test.yml"))


@pytest.mark.parametrize("file", sorted(RULES.glob("*.yml")), ids=lambda file: file.name)
def test_promtool_finds_nothing_wrong(file: Path) -> None:
    said = run("promtool", "check", "rules", str(file))
    assert "SUCCESS" in said
