"""Every query of the dashboard and of the rules, against a real Prometheus and a real daemon.

Each must be understood and give data; those that may rightly be empty here are named, with why.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import DEPLOY
from watched import Prometheus, watched

DASHBOARD = json.loads((DEPLOY / "grafana" / "sipwatch.json").read_text())
RULES = [
    rule
    for file in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
#: What Grafana puts into queries; everything is chosen, and the test lasts a minute or so.
VARIABLES = {"$__rate_interval": "2m", "$__range": "2m"} | dict.fromkeys(
    ("$job", "$instance", "$direction", "$peer", "$agent"), ".*"
)

#: Queries of the dashboard that have no data here: the panel's title, the query's legend, and why.
EMPTY_QUERIES: dict[tuple[str, str], str] = {}
#: Selectors in alerts that match no series here, and why.
EMPTY_SELECTORS: dict[str, str] = {}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with watched(tmp_path_factory.mktemp("watched")) as (_, made):
        yield made


def queries() -> list[tuple[str, str, str]]:
    """Panel, legend and expression of each query of the dashboard."""
    return [
        (panel["title"], target.get("legendFormat", ""), target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


def filled_in(expr: str) -> str:
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


def test_every_query_of_the_dashboard_gives_data(prometheus: Prometheus) -> None:
    empty = {
        (title, legend) for title, legend, expr in queries() if not prometheus.ask(filled_in(expr))
    }
    assert empty == set(EMPTY_QUERIES)


def test_every_variable_of_the_dashboard_has_values(prometheus: Prometheus) -> None:
    found = {}
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]).groups()
            match = {"match[]": filled_in(series)}
            found[variable["name"]] = prometheus.api(f"label/{label}/values", **match)
    assert found["job"] == ["sipwatch"]
    assert found["instance"] == ["127.0.0.1:9742"]
    assert found["direction"] == ["inbound", "internal", "outbound", "unknown"]
    assert found["peer"] == ["backup", "carrier", "other"]
    assert len(found["agent"]) > 5


def test_every_recording_rule_gives_data(prometheus: Prometheus) -> None:
    records = [rule["record"] for rule in RULES if "record" in rule]
    assert len(records) > 30
    assert not [name for name in records if not prometheus.ask(name)]


def test_every_alert_looks_at_series_that_are_there(prometheus: Prometheus) -> None:
    """An alert about a metric or a label value that does not exist would never fire."""
    selectors = set()
    for rule in RULES:
        if "alert" in rule:
            prometheus.ask(rule["expr"])
            selectors |= set(selectors_of(rule["expr"]))
    assert len(selectors) > 40
    empty = {selector for selector in selectors if not prometheus.ask(selector)}
    assert empty == set(EMPTY_SELECTORS)


def selectors_of(expr: str) -> Iterator[str]:
    """Each metric with its matchers; a recorded one has colons in its name."""
    named = r"\b((?:up|sipwatch_\w+|process_\w+|job\w*:[\w:]+)\b)(\{[^}]*\})?"
    for name, matchers in re.findall(named, expr):
        yield name + matchers


def test_prometheus_is_content_with_the_rules(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    assert {rule["health"] for rule in rules} == {"ok"}


def test_prometheus_complains_of_nothing(prometheus: Prometheus) -> None:
    """Such as exemplars that go back in time, or more samples than are taken."""
    lines = prometheus.log.read_text().splitlines()
    # A machine that is too busy evaluates some rules twice for one second; no fault of the rules.
    assert [line for line in lines if "same timestamp" not in line] == []


def test_alerts_that_fire_can_be_read(prometheus: Prometheus) -> None:
    """A device of the recorded hour is dead: its alert fires and its templates are filled in."""
    prometheus.wait_for(lambda: _firing(prometheus), "an alert about an agent's device")
    for alert in _firing(prometheus):
        texts = alert["annotations"]
        assert not [text for text in texts.values() if "{{" in text or "error" in text]
        assert alert["labels"]["agent"] in texts["summary"]
        assert "qualify" in texts["runbook"]


def test_alertmanager_pages_who_is_on_call(prometheus: Prometheus) -> None:
    prometheus.wait_for(lambda: _of_a_device(prometheus.alerts()), "an alert at Alertmanager")
    for alert in _of_a_device(prometheus.alerts()):
        assert [receiver["name"] for receiver in alert["receivers"]] == ["on-call"]


def _firing(prometheus: Prometheus) -> list[dict[str, Any]]:
    return _of_a_device(prometheus.api("alerts")["alerts"])


def _of_a_device(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    name = "SipwatchAgentDeviceFailing"
    return [alert for alert in alerts if alert["labels"]["alertname"] == name]


def test_measures_are_within_what_was_counted(prometheus: Prometheus) -> None:
    """Shares lie between none and all, and the parts of a formula fit each other."""
    [answers] = prometheus.ask("sum(job_direction_peer:sipwatch_answers:rate5m)")
    [bids] = prometheus.ask("sum(job_direction_peer:sipwatch_session_requests:rate5m)")
    [abr] = prometheus.ask("job:sipwatch_abr:ratio_rate5m")
    shares = prometheus.ask('{__name__=~"job.*:sipwatch_.*:ratio_rate.*"}')
    assert len(shares) > 15
    assert all(0 <= _value(share) <= 1 for share in shares)
    # The rules are evaluated one after the other, while time goes on.
    assert _value(abr) == pytest.approx(_value(answers) / _value(bids), abs=0.02)


def _value(series: dict[str, Any]) -> float:
    return float(series["value"][1])


def test_registrations_are_counted_with_their_challenge_as_one(prometheus: Prometheus) -> None:
    """Three were challenged and granted: six REGISTERs in all."""
    for expr, number in (
        ('sipwatch_registration_attempts_total{result="success"}', 3),
        ('sum(sipwatch_registration_attempts_total{result!="success"})', 0),
        ("sipwatch_registration_request_delay_seconds_count", 3),
    ):
        [found] = prometheus.ask(expr)
        assert _value(found) == number, expr


def test_exemplars_name_calls(prometheus: Prometheus) -> None:
    assert prometheus.at is not None
    span = {"start": str(prometheus.at - 600), "end": str(prometheus.at)}
    found = prometheus.api("query_exemplars", query="sipwatch_attempts_total", **span)
    labels = [exemplar["labels"] for series in found for exemplar in series["exemplars"]]
    assert labels
    assert all(set(each) == {"call_id"} for each in labels)


def test_the_dashboard_is_what_its_script_writes(tmp_path: Path) -> None:
    script = DEPLOY / "grafana" / "make_dashboard.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
