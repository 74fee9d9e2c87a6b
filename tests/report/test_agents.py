"""The agent report: who was given what, when, and which missed calls nobody returned."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from call_flows import abandoned, answered, busy, pcap, run, silent
from click.testing import CliRunner, Result
from device_play import Play

from sipwatch.cli import main
from sipwatch.cli.reading import finished
from sipwatch.config import Agents, Privacy, parse_toml
from sipwatch.pipeline import Pipeline
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
    outcomes = [row.record["outcome"] for row in found.not_returned()]
    assert outcomes == ["device_not_responding", "abandoned", "agent_busy"]
    found.missed[0].call.returned_at = 1.0
    assert len(found.not_returned()) == 2
    assert found.record()["missed"] == 3


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


# --- who is an agent ------------------------------------------------------------------------------


def of_play(text: str, config: str = "", **settings: bool) -> AgentReport:
    """The report of a play, see `tests/devices/device_play.py`."""
    pipeline = Pipeline(parse_toml('local_addresses = ["10.9.0.1"]\n' + config))
    items = Play().run(text)
    events = pipeline.feed(items)
    events += pipeline.finish(items[-1].time + 60, "end_of_capture")
    found = AgentReport(RecordStyle.of(pipeline.config), None, **settings)
    attempts, calls = finished(events)
    for attempt in attempts:
        found.attempt(attempt)
    for call in calls:
        found.call(call)
    return found


def call_of(label: str, at: float, leg: str, sender: str = "trunk", called: str = "2500") -> str:
    """Somebody calls, and the PBX calls `leg` for him, which is busy."""
    agent, _, options = leg.partition(" ")
    return f"""
    {at} {sender}>pbx INVITE {label} uri=sip:{called}@10.9.0.1 from=+49301112233
    {at + 0.001} pbx>{sender} 100 {label}
    {at + 0.005} pbx>{agent} INVITE {label}-a {options} from=+49301112233
    {at + 0.1} {agent}>pbx 486 {label}-a
    {at + 0.12} pbx>{sender} 486 {label}
    """


def test_the_number_of_a_queue_is_no_agent() -> None:
    """101 is called through queue 2500; another caller of the queue finds it full."""
    text = call_of("a", 0, "101") + "20 trunk>pbx INVITE b uri=sip:2500@10.9.0.1\n"
    text += "20.001 pbx>trunk 100 b\n20.01 pbx>trunk 486 b\n"
    assert set(of_play(text).agents) == {"101"}


def test_what_was_dialled_stands_for_agents_where_none_are_in_view() -> None:
    text = (
        "0 trunk>pbx INVITE b uri=sip:2500@10.9.0.1\n0.001 pbx>trunk 100 b\n0.01 pbx>trunk 486 b\n"
    )
    assert set(of_play(text).agents) == {"2500"}


def test_a_caller_whose_phone_cannot_be_called_counts_for_it() -> None:
    """101 was tried once; the second caller of 101 is refused before."""
    text = call_of("a", 0, "101") + "20 trunk>pbx INVITE b uri=sip:101@10.9.0.1\n"
    text += "20.001 pbx>trunk 100 b\n20.01 pbx>trunk 486 b\n"
    assert of_play(text).agents["101"].tried == 2


@pytest.mark.parametrize(
    ("config", "settings", "numbers", "agents"),
    [
        # A trunk takes many telephone numbers, a phone one.
        ("", {}, ("+4940111222", "+4940111223", "+4940111224"), {"101"}),
        ("", {}, ("+4940111222",), {"101", "+4940111222"}),
        ("peers.carrier = ['203.0.113.0/24']", {}, ("+4940111222",), {"101"}),
        ("peers.carrier = ['203.0.113.0/24']", {}, ("99",), {"101"}),
        ('local_networks = ["10.9.0.0/16"]', {"networks_configured": True}, ("99",), {"101"}),
        ('agents.pattern = "^99$"', {}, ("99", "+4940111222"), {"99"}),
    ],
)
def test_who_is_called_through_a_trunk_is_no_agent(
    config: str, settings: dict[str, bool], numbers: tuple[str, ...], agents: set[str]
) -> None:
    text = call_of("in", 0, "101")
    for place, number in enumerate(numbers, 1):
        out = f"trunk uri=sip:{number}@203.0.113.5"
        text += call_of(f"out{place}", 100 * place, out, sender="102", called=f"0{number}")
    found = of_play(text, config, **settings)
    assert set(found.agents) == agents
    assert found.total.tried == sum(figures.tried for figures in found.agents.values())
    assert sum(hour.tried for hour in found.hours.values()) == found.total.tried


@pytest.mark.parametrize(
    ("uri", "to", "name"),
    [
        ("sip:101-0x55d4a1b2c3d4@10.9.1.101:5060", "", "101"),  # baresip
        ("sip:101@10.9.1.101:5060;x-ast-orig-host=192.168.1.5", "", "101"),  # Asterisk
        ("sip:101@10.9.1.101:5060;fs_path=sip%3A10.9.0.7", "", "101"),  # FreeSWITCH
        ("sip:q7l3n1k2@h5s8d9f0.invalid;transport=ws", "to=101@10.9.0.1", "101"),  # by a proxy
        ("sip:0x55-101@10.9.1.101", "", "0x55-101"),
    ],
)
def test_names_of_agents_are_those_of_users(uri: str, to: str, name: str) -> None:
    assert set(of_play(call_of("a", 0, f"101 uri={uri} {to}")).agents) == {name}


def test_a_contact_that_is_made_up_is_known_by_its_registration() -> None:
    contact = "sip:x9f2k@10.9.1.101:5060"
    text = f"""
    0 101>pbx REGISTER r contact=<{contact}> expires=600
    0.01 pbx>101 200 r contact=<{contact}>;expires=600
    """
    assert set(of_play(text + call_of("a", 5, f"101 uri={contact}")).agents) == {"101"}


def test_who_failed_comes_first_and_a_lost_race_is_no_failure() -> None:
    """102 is busy once; 101 lost two calls that 103 took."""
    text = call_of("z", 0, "102")
    for place in (1, 2):
        at, label = 100.0 * place, f"g{place}"
        text += f"""
        {at} trunk>pbx INVITE {label} uri=sip:2500@10.9.0.1 from=+4930111999{place}
        {at + 0.001} pbx>trunk 100 {label}
        {at + 0.005} pbx>101 INVITE {label}-a from=+4930111999{place}
        {at + 0.006} pbx>103 INVITE {label}-b from=+4930111999{place}
        {at + 0.1} 101>pbx 180 {label}-a
        {at + 0.1} 103>pbx 180 {label}-b
        {at + 3} 103>pbx 200 {label}-b
        {at + 3.001} pbx>103 ACK {label}-b
        {at + 3.002} pbx>101 CANCEL {label}-a
        {at + 3.003} 101>pbx 200 {label}-a cancel
        {at + 3.004} 101>pbx 487 {label}-a
        {at + 3.005} pbx>trunk 200 {label}
        {at + 3.01} trunk>pbx ACK {label}
        {at + 9} trunk>pbx BYE {label}
        {at + 9.001} pbx>trunk 200 {label}-bye
        {at + 9.002} pbx>103 BYE {label}-b
        {at + 9.003} 103>pbx 200 {label}-b-bye
        """
    found = of_play(text)
    assert [name for name, _ in found.by_need()] == ["102", "101", "103"]
    assert found.agents["101"].outcomes == {"redirected": 2}
    assert found.agents["101"].own == 0
