"""The agent report: who was given what, when, and which missed calls nobody returned."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from call_flows import abandoned, answered, busy, pcap, run, silent
from click.testing import CliRunner, Result

from sipwatch.cli import main
from sipwatch.config import Agents, Privacy, parse_toml
from sipwatch.report.agents import AgentReport
from sipwatch.sinks.privacy import Numbers
from sipwatch.sinks.record import RecordStyle

Run = Callable[..., Result]


def report(style: RecordStyle | None = None) -> AgentReport:
    """101: answered twice (30 s and 10 s talks), silent once, abandoned once; 102: busy once."""
    legs = [
        answered(0, 30.0, call_id="a", branch="z9hG4bK-a"),  # 09:00 UTC
        answered(3600, 10.0, call_id="b", branch="z9hG4bK-b"),  # 10:00
        silent(3700, call_id="c", branch="z9hG4bK-c"),
        abandoned(7200, 9.0, call_id="d", branch="z9hG4bK-d"),  # 11:00
        busy(7300, call_id="e", branch="z9hG4bK-e", uri="sip:102@h", to="<sip:102@h>"),
    ]
    config = parse_toml('[hours]\ntimezone = "UTC"\n')
    attempts, calls = run(legs, config)
    found = AgentReport(style or RecordStyle(), config.hours.timezone)
    for attempt in attempts:
        found.attempt(attempt)
    for call in calls:
        found.call(call)
    return found


def test_figures_of_each_agent() -> None:
    found = report()
    assert [name for name, _ in found.by_need()] == ["101", "102"]
    figures = found.agents["101"]
    assert figures.tried == 4
    assert figures.answered == 2
    assert figures.failed == 2
    assert figures.of("technical") == 1
    assert figures.of("caller") == 1
    assert figures.mean_talk == pytest.approx(20.0, abs=1e-5)
    assert figures.mean_ring == pytest.approx((2 + 2 + 9) / 3, abs=1e-5)
    assert found.agents["102"].outcomes == {"agent_busy": 1}
    assert found.agents["102"].mean_ring is None
    assert found.total.tried == 5


def test_hours_are_those_of_the_zone() -> None:
    found = report()
    assert {hour: figures.tried for hour, figures in found.hours.items()} == {9: 1, 10: 2, 11: 2}


def test_missed_calls() -> None:
    found = report()
    assert found.missed_count == 3
    outcomes = [(call.verdict.outcome if call.verdict else "") for call in found.not_returned()]
    assert outcomes == ["device_not_responding", "abandoned", "agent_busy"]
    found.missed[0].returned_at = 1.0
    assert len(found.not_returned()) == 2
    assert found.record()["missed"] == 3


def test_calls_that_went_out_are_not_missed() -> None:
    found = report()
    for call in found.missed:
        call.root.direction = "outbound"
    again = AgentReport(RecordStyle(), None)
    for call in found.missed:
        again.call(call)
    assert again.missed_count == 0


def test_privacy_holds_here_too() -> None:
    style = RecordStyle(Numbers(Privacy(numbers="mask")))
    text = json.dumps(report(style).record())
    assert "49301110000" not in text
    assert set(report(style).agents) == {"**1", "**2"}


def test_only_configured_agents_are_counted() -> None:
    found = report(RecordStyle(agents=Agents(users=("102",))))
    assert set(found.agents) == {"102"}


def invoke(path: Path, *arguments: str) -> Result:
    environment = {"LC_ALL": "C.UTF-8", "SIPWATCH_HOURS_TIMEZONE": "UTC"}
    return CliRunner(env=environment).invoke(main, ["report", str(path), *arguments])


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / "day.pcap"
    path.write_bytes(
        pcap(
            [
                answered(0, call_id="a", branch="z9hG4bK-a"),
                busy(3600, call_id="b", branch="z9hG4bK-b"),
                silent(7200, call_id="c", branch="z9hG4bK-c", uri="sip:102@h"),
            ]
        )
    )
    return path


def test_the_report_in_a_terminal(day: Path) -> None:
    result = invoke(day)
    assert result.exit_code == 0
    text = result.stdout
    assert re.search(
        r"^  101 +2 +1 +1 +1 +- +- +2\.0 s +30\.0 s +Agent busy 1$", text, re.MULTILINE
    )
    assert re.search(r"^  102 +1 +- +1 +- +1 +- +Device not responding 1$", text, re.MULTILINE)
    assert re.search(r"^  Total +3 +1 +2 +1 +1 +-", text, re.MULTILINE)
    assert re.search(r"^  10:00 +1 +- +1 +1 +- +- +█+$", text, re.MULTILINE)
    assert "Missed: 2, Not called back: 2" in text
    assert re.search(r"^  2026-04-23 10:00:00 +\+49301110000 +10", text, re.MULTILINE)


def test_the_report_for_programs_and_with_filters(day: Path) -> None:
    found = json.loads(invoke(day, "--format", "json", "--agent", "102").stdout)
    assert set(found["agents"]) == {"102"}
    assert found["agents"]["102"]["technology"] == 1
    assert [call["outcome"] for call in found["not_returned"]] == ["device_not_responding"]
    found = json.loads(invoke(day, "--format", "json", "--since", "10:00").stdout)
    assert found["total"]["tried"] == 2


def test_no_calls_at_all(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcap"
    path.write_bytes(pcap([]))
    result = invoke(path)
    assert result.exit_code == 0
    assert "No call attempts found." in result.stdout
