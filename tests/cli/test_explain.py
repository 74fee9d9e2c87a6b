"""`sipwatch explain`: one call with its legs, its ladder and the guide's advice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from call_flows import AGENT, PBX, PHONE, Leg, abandoned, answered, busy, silent
from click.testing import Result

from sipwatch.calls.types import AttemptEnded
from sipwatch.config import Config
from sipwatch.net.types import Unreachable
from sipwatch.pipeline import Pipeline
from sipwatch.report.ladder import Ladder

Run = Callable[..., Result]
Write = Callable[..., Path]


def forked() -> list[Leg]:
    """A caller whose PBX rings one agent for 12 s, then tells him so."""
    caller = Leg(call_id="caller@h", branch="z9hG4bK-caller")
    agent = Leg(
        call_id="agent@pbx",
        caller=PBX,
        callee=AGENT,
        to="<sip:101@10.9.0.11>",
        uri="sip:101@10.9.0.11",
        branch="z9hG4bK-agent",
        headers="User-Agent: Asterisk PBX 22.0\r\n",
        server="User-Agent: Phone 7\r\n",
    )
    caller.request(0, "INVITE").reply(0.001, "100 Trying")
    agent.request(0.01, "INVITE").reply(0.1, "180 Ringing")
    caller.reply(0.11, "180 Ringing")
    agent.request(12.01, "CANCEL", "Reason: Q.850;cause=0\r\n")
    agent.reply(12.02, "200 OK", method="CANCEL").reply(12.03, "487 Request Terminated")
    agent.request(12.04, "ACK")
    caller.reply(12.05, "480 Temporarily Unavailable", "Reason: Q.850;cause=19\r\n")
    return [caller, agent, _ack(caller)]


def _ack(caller: Leg) -> Leg:
    ack = Leg(call_id=caller.call_id, branch=caller.branch)
    return ack.request(12.06, "ACK")


def test_a_whole_call_in_words(sipwatch: Run, capture: Write) -> None:
    path = capture(forked())
    result = sipwatch("explain", "agent@pbx", path)
    assert result.exit_code == 0
    assert result.stderr == ""
    text = result.stdout
    assert "no_answer" in text
    assert "correlated (another leg of the call says it)" in text
    assert "rang 11.9 s" in text  # evidence
    assert "11.910 s" in text  # ring time
    assert "Q.850;cause=0" in text
    # Both legs, although one was asked for.
    assert "caller@h" not in text
    assert re.search(r"^A +\+0\.000 +\+0\.000 +#1 .*INVITE", text, re.MULTILINE)
    assert re.search(r"^B +\+0\.010 +\+0\.009 +#3 .*INVITE", text, re.MULTILINE)
    assert re.search(r"^B +\+12\.010 +\+11\.900 .*CANCEL", text, re.MULTILINE)
    # The guide's advice.
    assert "What the admin should do" in text


def test_a_call_that_ended_long_before_the_capture_did(sipwatch: Run, capture: Write) -> None:
    later = [busy(at, call_id=f"later{at}", branch=f"z9hG4bK-{at}") for at in range(100, 3000, 10)]
    path = capture([*forked(), *later])
    found = json.loads(sipwatch("explain", "agent@pbx", path, "--format", "json").stdout)
    assert [leg["call_id"] for leg in found["legs"]] == ["caller@h", "agent@pbx"]
    assert found["call"]["agent"] == "101"
    assert {leg["call"] for leg in found["legs"]} == {found["call"]["id"]}


@pytest.mark.parametrize("name", ["agent@pbx", "agent", "ag"])
def test_the_beginning_of_a_call_id_is_enough(sipwatch: Run, capture: Write, name: str) -> None:
    result = sipwatch("explain", name, capture(forked()), "--format", "json")
    assert [record["call_id"] for record in json.loads(result.stdout)["attempts"]] == ["agent@pbx"]


def test_record_ids_are_names_too(sipwatch: Run, capture: Write) -> None:
    path = capture(forked())
    lines = sipwatch("replay", "--format", "jsonl", path).stdout.splitlines()
    for record in map(json.loads, lines):
        for name in (record["id"], record["id"][:8]):
            found = json.loads(sipwatch("explain", name, path, "--format", "json").stdout)
            assert [each["id"] for each in found["attempts"]] == [record["id"]]


def test_a_name_that_fits_nothing_or_several(sipwatch: Run, capture: Write) -> None:
    path = capture([busy(call_id="one-1"), busy(9, call_id="one-2", branch="z9hG4bK-2")])
    result = sipwatch("explain", "two", path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "sipwatch: No call with Call-ID two.\n"
    result = sipwatch("explain", "one", path)
    assert result.exit_code == 2
    assert "one-1" in result.stderr
    assert "one-2" in result.stderr
    assert sipwatch("explain", "", path).exit_code == 2


def test_a_whole_call_id_wins_over_longer_ones(sipwatch: Run, capture: Write) -> None:
    path = capture([busy(call_id="one"), answered(9, call_id="one-more", branch="z9hG4bK-2")])
    found = json.loads(sipwatch("explain", "one", path, "--format", "json").stdout)
    assert [record["outcome"] for record in found["attempts"]] == ["agent_busy"]


def test_for_programs(sipwatch: Run, capture: Write) -> None:
    found = json.loads(
        sipwatch("explain", "agent@pbx", capture(forked()), "--format", "json").stdout
    )
    assert found["kind"] == "explanation"
    (attempt,) = found["attempts"]
    assert attempt["outcome"] == "no_answer"
    assert attempt["rule"]
    assert {leg["call_id"] for leg in found["legs"]} == {"caller@h", "agent@pbx"}
    assert found["call"]["outcome"] == "no_answer"
    messages = [(each["leg"], each["message"]) for each in found["messages"]]
    assert messages == [
        ("A", "INVITE"),
        ("A", "100 Trying"),
        ("B", "INVITE"),
        ("B", "180 Ringing"),
        ("A", "180 Ringing"),
        ("B", "CANCEL"),
        ("B", "200 OK (CANCEL)"),
        ("B", "487 Request Terminated"),
        ("B", "ACK"),
        ("A", "480 Temporarily Unavailable"),
        ("A", "ACK"),
    ]
    cancel = found["messages"][5]
    assert cancel["offset"] == pytest.approx(12.01, abs=2e-6)
    assert cancel["delta"] == pytest.approx(11.9, abs=2e-6)
    assert cancel["notes"] == ["Reason: Q.850;cause=0"]
    assert cancel["source"] == "10.9.0.1:5060"
    assert cancel["destination"] == "10.9.0.11:5060"
    assert found["advice"]["steps"]


def test_retransmissions_are_folded(sipwatch: Run, capture: Write) -> None:
    path = capture([silent(call_id="s")])
    (message,) = json.loads(sipwatch("explain", "s", path, "--format", "json").stdout)["messages"]
    assert message["count"] == 7
    assert message["last_time"] - message["time"] == pytest.approx(31.5, abs=2e-6)
    text = sipwatch("explain", "s", path).stdout
    assert "INVITE ×7" in text
    assert "7 times, the last 31.500 s later" in text


def test_copies_of_one_packet_are_not_retransmissions(sipwatch: Run, capture: Write) -> None:
    twice = busy(call_id="b")
    twice.packets = [
        copy
        for packet in twice.packets
        for copy in (packet, packet._replace(time=packet.time + 0.001))
    ]
    found = json.loads(sipwatch("explain", "b", capture([twice]), "--format", "json").stdout)
    assert [(each["count"], each["copies"]) for each in found["messages"]] == [(1, 1)] * 4


def test_columns_become_a_list_where_the_terminal_is_narrow(
    sipwatch: Run, capture: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = capture(forked())
    monkeypatch.setenv("COLUMNS", "100")
    wide = sipwatch("explain", "agent@pbx", path).stdout
    assert re.search(r"─ INVITE ─+▶", wide)
    assert re.search(r"◀─+ 180 Ringing ─", wide)
    assert "│" in wide
    monkeypatch.setenv("COLUMNS", "60")
    narrow = sipwatch("explain", "agent@pbx", path).stdout
    assert "│" not in narrow
    assert "10.9.0.1:5060 ▶" in narrow


def test_in_turkish(sipwatch: Run, capture: Write) -> None:
    text = sipwatch("explain", "agent@pbx", capture(forked()), "--lang", "tr").stdout
    assert "Cevapsız" in text or "Yanıt" in text
    assert "What the admin should do" not in text


def test_no_control_character_of_the_wire_reaches_the_terminal(
    sipwatch: Run, capture: Write
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e"
    leg = Leg(
        call_id=f"evil{evil}",
        from_=f'"{evil}" <sip:1{evil}@h>',
        headers=f"User-Agent: {evil}\r\n",
        server=f"Server: {evil}\r\n",
    )
    leg.request(0, "INVITE", f'Warning: 399 h "{evil}"\r\n')
    leg.reply(0.1, f"486 {evil}", f'Reason: Q.850;cause=17;text="{evil}"\r\n').request(0.2, "ACK")
    path = capture([leg])
    for result in (
        sipwatch("explain", "evil", path),
        sipwatch("explain", "evil", path, "--format", "json"),
        sipwatch("explain", "\x1b[2J", path),
        sipwatch("replay", path),
        sipwatch("replay", path, "--format", "jsonl"),
        sipwatch("replay", path, "--format", "csv"),
        sipwatch("report", path),
        sipwatch("replay", f"/nonexistent/{evil}"),
        sipwatch("replay", "--outcome", evil, path),
    ):
        for text in (result.stdout, result.stderr):
            assert not set(text) & set("\x1b\x07\u202e")


def test_standard_input_is_read_twice(sipwatch: Run, capture: Write) -> None:
    result = sipwatch("explain", "agent@pbx", "-", stdin=capture(forked()).read_bytes())
    assert result.exit_code == 0
    assert "CANCEL" in result.stdout


def test_a_capture_cut_short_is_explained_as_far_as_it_goes(sipwatch: Run, capture: Write) -> None:
    path = capture([abandoned(call_id="x")])
    path.write_bytes(path.read_bytes()[:-10])
    result = sipwatch("explain", "x", path)
    assert result.exit_code == 1
    assert "487 Request Terminated" in result.stdout
    assert str(path) in result.stderr


def test_an_icmp_report_stands_in_the_ladder() -> None:
    (invite,) = Leg().request(0, "INVITE").packets
    report = Unreachable(
        invite.time + 0.001,
        PBX[0],
        PHONE,
        PBX,
        invite.payload,
        "test.pcap",
        2,
        invite.ip_id,
        invite.udp_check,
        3,
    )
    pipeline = Pipeline(Config())
    events = pipeline.feed([invite, report]) + pipeline.finish(invite.time + 60, "end_of_capture")
    (attempt,) = [event.attempt for event in events if isinstance(event, AttemptEnded)]
    ladder = Ladder([attempt])
    ladder.take([invite, report])
    assert [row.label for row in ladder.rows] == ["INVITE", "ICMP unreachable, code 3"]
    assert ladder.rows[1].source == PBX
