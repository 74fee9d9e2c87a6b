"""Which situation of section 11 is said of a technical failure, and which packet shows it.

Each row is a play (see `device_play.py`), the attempts that must have a cause hint with what its
evidence must say, and those that must have none.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from sipwatch.calls.types import Attempt, AttemptEnded, Call, CallEnded
from sipwatch.config import parse_toml
from sipwatch.outcomes.situations import SITUATIONS
from sipwatch.pipeline import Pipeline

sys.path.append(str(Path(__file__).resolve().parents[1] / "devices"))

from device_play import EPOCH, play

#: A phone registers, answers the challenge, and answers a ping.
REGISTERED = """
0.0 101>pbx REGISTER r expires=120
0.1 pbx>101 401 r
0.2 101>pbx REGISTER r2 like=r auth expires=120
0.3 pbx>101 200 r2 expires=120
"""
PINGED = """
1.0 pbx>101 OPTIONS o1
1.1 101>pbx 200 o1
"""
#: A call that nothing answers: all of Timer A.
SILENT = """
20.0 pbx>101 INVITE i
20.5 pbx>101 INVITE i
21.5 pbx>101 INVITE i
23.5 pbx>101 INVITE i
27.5 pbx>101 INVITE i
35.5 pbx>101 INVITE i
51.5 pbx>101 INVITE i
"""
BEGIN = "0.0 trunk>pbx OPTIONS begin\n"


class Row(NamedTuple):
    """A play and what must be said of its attempt `i`."""

    name: str
    text: str
    hint: str | None
    evidence: str = ""
    device: str | None = "101"
    transport: str = "UDP"


def judged(text: str, transport: str = "UDP", config: str = "") -> tuple[list[Attempt], list[Call]]:
    pipeline = Pipeline(parse_toml('local_addresses = ["10.9.0.1"]\n' + config))
    attempts, calls = [], []
    items = sorted(play(text, transport), key=lambda item: item.time)
    events = pipeline.feed(items)
    end = items[-1].time + 40.0
    events += pipeline.advance(end) + pipeline.finish(end, "end_of_capture")
    for event in events:
        if isinstance(event, AttemptEnded):
            attempts.append(event.attempt)
        elif isinstance(event, CallEnded):
            calls.append(event.call)
    return attempts, calls


def attempt_of(label: str, text: str, transport: str = "UDP") -> Attempt:
    attempts, _ = judged(text, transport)
    (found,) = [a for a in attempts if a.call_id == f"{label}@play".encode()]
    return found


ROWS = (
    # --- port closed --------------------------------------------------------------------------
    Row(
        "ICMP on the INVITE",
        BEGIN + "20.0 pbx>101 INVITE i\n20.01 icmp pbx>101 i\n20.5 pbx>101 INVITE i",
        "port_closed",
        r"ICMP unreachable \(code 3\) at 22:13:40 UTC \(packet 3\) for 10\.9\.1\.101:5060",
    ),
    Row(
        "ICMP says more than silence of a registered phone",
        REGISTERED + PINGED + "20.0 pbx>101 INVITE i\n20.01 icmp pbx>101 i\n20.5 pbx>101 INVITE i",
        "port_closed",
        r"\(packet 8\)",
    ),
    Row(
        "ICMP for a ping says nothing of the call",
        BEGIN + "1.0 pbx>101 OPTIONS o\n1.01 icmp pbx>101 o\n" + SILENT,
        None,
    ),
    # --- registered but silent ------------------------------------------------------------------
    Row(
        "registered, answered a ping, silent",
        REGISTERED + PINGED + SILENT,
        "registered_but_silent",
        r"registered at 22:13:20 UTC \(packet 3\), valid for another 100 s, answered a ping at "
        r"22:13:21 UTC \(packet 6\); nothing from 10\.9\.1\.101:5060 since the INVITE \(packet 7\)",
    ),
    Row(
        "registered, took up the challenge, silent",
        REGISTERED + SILENT,
        "registered_but_silent",
        r"reacted to what was sent to it at 22:13:20 UTC \(packet 3\)",
    ),
    Row(
        "registered without a challenge, did not ask again",
        "0.0 101>pbx REGISTER r\n0.1 pbx>101 200 r expires=120\n" + SILENT,
        "registered_but_silent",
        r"took the 2xx to its REGISTER at 22:13:20 UTC \(packet 2\)",
    ),
    Row(
        "it asked again after the 2xx: nothing shows that it hears",
        "0.0 101>pbx REGISTER r\n0.1 pbx>101 200 r expires=120\n0.5 101>pbx REGISTER r\n"
        "0.6 pbx>101 200 r expires=120\n" + SILENT,
        None,
    ),
    Row(
        "called before it could have asked again",
        "19.9 101>pbx REGISTER r\n19.95 pbx>101 200 r expires=120\n" + SILENT,
        None,
    ),
    Row(
        "answered an earlier call",
        "0.0 101>pbx REGISTER r\n0.1 pbx>101 200 r expires=120\n0.2 101>pbx REGISTER r\n"
        "5.0 pbx>101 INVITE e\n5.2 101>pbx 486 e\n5.3 pbx>101 ACK e\n" + SILENT,
        "registered_but_silent",
        r"reacted to what was sent to it at 22:13:25 UTC \(packet 5\)",
    ),
    Row(
        "it spoke since the INVITE",
        REGISTERED + PINGED + SILENT + "40.0 101>pbx SUBSCRIBE s Event=dialog",
        None,
    ),
    Row(
        "another place spoke since the INVITE",
        REGISTERED + PINGED + SILENT + "40.0 102>pbx SUBSCRIBE s Event=dialog",
        "registered_but_silent",
    ),
    Row(
        "how long it is granted is not said",
        "0.0 101>pbx REGISTER r expires=120\n0.1 pbx>101 200 r\n" + PINGED + SILENT,
        None,
    ),
    # --- registration expired -------------------------------------------------------------------
    Row(
        "the granted expiry had passed",
        REGISTERED.replace("200 r2 expires=120", "200 r2 expires=15") + PINGED + SILENT,
        "registration_expired",
        r"last REGISTER at 22:13:20 UTC \(packet 3\), granted 15 s, ran out 4\.7 s before",
    ),
    Row(
        "given up",
        REGISTERED + "9.0 101>pbx REGISTER u like=r2 expires=0\n9.1 pbx>101 200 u expires=0\n"
        + SILENT,
        "registration_expired",
        r"last REGISTER at 22:13:29 UTC \(packet 5\) gave the contact up, 11 s before the INVITE",
    ),
    Row(
        "renewed after the INVITE: it had run out all the same",
        REGISTERED.replace("200 r2 expires=120", "200 r2 expires=15") + SILENT
        + "45.0 101>pbx REGISTER n like=r2 expires=15\n45.1 pbx>101 200 n expires=15",
        "registration_expired",
        r"\(packet 3\), granted 15 s",
    ),
    Row(
        "the caller of an AoR whose registration ran out is refused",
        "0.0 101>pbx REGISTER r\n0.1 pbx>101 200 r expires=15\n"
        "20.0 102>pbx INVITE i uri=sip:101@10.9.0.1\n20.1 pbx>102 404 i\n20.2 102>pbx ACK i",
        "registration_expired",
        r"last REGISTER at 22:13:20 UTC \(packet 1\), granted 15 s, ran out 4\.9 s before",
    ),
    Row(
        "a refusal while another contact stands",
        "0.0 101>pbx REGISTER r\n0.1 pbx>101 200 r expires=15\n"
        "1.0 101@10.9.2.2:5060>pbx REGISTER s\n1.1 pbx>101@10.9.2.2:5060 200 s "
        'contact="<sip:101@10.9.1.101:5060>;expires=14,<sip:101@10.9.2.2:5060>;expires=60"\n'
        "20.0 102>pbx INVITE i uri=sip:101@10.9.0.1\n20.1 pbx>102 404 i\n20.2 102>pbx ACK i",
        None,
    ),
    Row(
        "a phone that answers is there, whatever its registration",
        REGISTERED.replace("200 r2 expires=120", "200 r2 expires=15")
        + "20.0 pbx>101 INVITE i\n20.1 101>pbx 100 i\n",
        None,
    ),
    # --- NAT binding lost -------------------------------------------------------------------------
    Row(
        "renewed from another port while the call went to the old one",
        "0.0 101@203.0.113.9:40001>pbx REGISTER r contact=<sip:101@192.168.1.5:5060>\n"
        "0.1 pbx>101@203.0.113.9:40001 200 r expires=120\n"
        + SILENT.replace("pbx>101 INVITE i", "pbx>101@203.0.113.9:40001 INVITE i "
                         "uri=sip:101@192.168.1.5:5060")
        + "40.0 101@203.0.113.9:40055>pbx REGISTER s like=r contact=<sip:101@192.168.1.5:5060>\n"
        "40.1 pbx>101@203.0.113.9:40055 200 s expires=120",
        "nat_binding_lost",
        r"REGISTER from 203\.0\.113\.9:40055 at 22:14:00 UTC \(packet \d+\), "
        r"the INVITE went to 203\.0\.113\.9:40001",
    ),
    Row(
        "moved before the INVITE, which went to the old port",
        "0.0 101@203.0.113.9:40001>pbx REGISTER r contact=<sip:101@192.168.1.5:5060>\n"
        "0.1 pbx>101@203.0.113.9:40001 200 r expires=120\n"
        "9.0 101@203.0.113.9:40055>pbx REGISTER s like=r contact=<sip:101@192.168.1.5:5060>\n"
        "9.1 pbx>101@203.0.113.9:40055 200 s expires=120\n"
        + SILENT.replace("pbx>101 INVITE i", "pbx>101@203.0.113.9:40001 INVITE i "
                         "uri=sip:101@192.168.1.5:5060"),
        "nat_binding_lost",
        r"REGISTER from 203\.0\.113\.9:40055 at 22:13:29 UTC \(packet 3\)",
    ),
    Row(
        "a new contact takes the place of the one that was called",
        REGISTERED + SILENT
        + "40.0 101:5072>pbx REGISTER n\n40.1 pbx>101:5072 200 n expires=120",
        "nat_binding_lost",
        r"REGISTER from 10\.9\.1\.101:5072 at 22:14:00 UTC",
    ),
    Row(
        "a second phone of the user registers, the first stays on the list",
        REGISTERED + SILENT
        + "40.0 101:5072>pbx REGISTER n\n40.1 pbx>101:5072 200 n "
        'contact="<sip:101@10.9.1.101:5060>;expires=80,<sip:101@10.9.1.101:5072>;expires=60"',
        "registered_but_silent",
    ),
    Row(
        "the place that was called was registered before the watch",
        BEGIN + SILENT + "40.0 101:5072>pbx REGISTER n\n40.1 pbx>101:5072 200 n expires=120",
        "nat_binding_lost",
    ),
    Row(
        "another phone registers beside the place that was registered before the watch",
        BEGIN + SILENT + "40.0 101:5072>pbx REGISTER n\n40.1 pbx>101:5072 200 n "
        'contact="<sip:101@10.9.1.101:5060>;expires=9,<sip:101@10.9.1.101:5072>;expires=60"',
        None,
    ),
    Row(
        "a phone that sends from one port and listens on another",
        "0.0 101:49152>pbx REGISTER r contact=<sip:101@10.9.1.101:5060>\n"
        "0.1 pbx>101:49152 200 r expires=120\n" + SILENT,
        "registered_but_silent",
    ),
    Row(
        "pings from another port",
        REGISTERED + SILENT + "40.0 101:40055>pbx OPTIONS p",
        "nat_binding_lost",
        r"OPTIONS from 10\.9\.1\.101:40055 at 22:14:00 UTC \(packet 12\)",
    ),
    Row(
        "it pinged from another port before it registered from this one",
        "0.0 101:40055>pbx OPTIONS p\n" + REGISTERED + SILENT,
        "registered_but_silent",
    ),
    Row(
        "another phone of the user pings",
        REGISTERED + "1.0 101:5072>pbx REGISTER n\n1.1 pbx>101:5072 200 n "
        'contact="<sip:101@10.9.1.101:5060>;expires=119,<sip:101@10.9.1.101:5072>;expires=60"\n'
        + SILENT + "40.0 101:5072>pbx OPTIONS p",
        "registered_but_silent",
    ),
    Row(
        "another user pings from that address",
        REGISTERED + SILENT + "40.0 102@10.9.1.101:40055>pbx OPTIONS p",
        "registered_but_silent",
    ),
    Row(
        "the re-registration comes when the record is out",
        REGISTERED + PINGED + SILENT
        + "95.0 101:5072>pbx REGISTER n\n95.1 pbx>101:5072 200 n expires=120",
        "registered_but_silent",
    ),
    # --- device went away -------------------------------------------------------------------------
    Row(
        "answered pings until 10 s before the INVITE",
        REGISTERED + PINGED + "10.0 pbx>101 OPTIONS o2\n15.0 pbx>101 OPTIONS o3\n" + SILENT,
        "device_went_away",
        r"last answered a ping at 22:13:21 UTC \(packet 6\), not 2 pings, the first at "
        r"22:13:30 UTC \(packet 7\)",
    ),
    Row(
        "a trunk that stopped to answer",
        "0.0 pbx>trunk OPTIONS o uri=sip:203.0.113.5\n0.1 trunk>pbx 200 o\n"
        "10.0 pbx>trunk OPTIONS o2 uri=sip:203.0.113.5\n"
        + SILENT.replace("pbx>101 INVITE i", "pbx>trunk INVITE i uri=sip:4930@203.0.113.5"),
        "device_went_away",
        r"not the ping at 22:13:30 UTC \(packet 3\)",
        "4930",
    ),
    Row(
        "answered a ping after the INVITE, then no more",
        REGISTERED + SILENT + "25.0 pbx>101 OPTIONS o2\n25.1 101>pbx 200 o2\n"
        "30.0 pbx>101 OPTIONS o3\n60.0 trunk>pbx OPTIONS t",
        None,
    ),
    Row(
        "died while it rang",
        PINGED + "20.0 pbx>101 INVITE i\n20.1 101>pbx 180 i\n25.0 pbx>101 OPTIONS o2\n"
        "30.0 pbx>101 CANCEL i\n30.5 pbx>101 CANCEL i\n31.5 pbx>101 CANCEL i\n"
        "33.5 pbx>101 CANCEL i\n37.5 pbx>101 CANCEL i",
        "device_went_away",
        r"not the ping at 22:13:45 UTC \(packet 5\)",
    ),
    Row(
        "it answered the INVITE after the ping that was lost",
        PINGED + "10.0 pbx>101 OPTIONS o2\n20.0 pbx>101 INVITE i\n20.1 101>pbx 180 i\n"
        "30.0 pbx>101 CANCEL i\n30.5 pbx>101 CANCEL i\n31.5 pbx>101 CANCEL i",
        None,
    ),
    Row(
        "the PBX refuses the caller of an AoR that stopped to answer",
        REGISTERED + PINGED + "10.0 pbx>101 OPTIONS o2\n"
        "20.0 102>pbx INVITE i uri=sip:101@10.9.0.1\n20.1 pbx>102 404 i\n20.2 102>pbx ACK i",
        "device_went_away",
        r"not the ping at 22:13:30 UTC",
    ),
    # --- never seen -------------------------------------------------------------------------------
    Row(
        "an hour without a packet",
        "0.0 trunk>pbx OPTIONS begin\n3601.0 pbx>101 INVITE i\n3601.5 pbx>101 INVITE i\n"
        "3640.0 trunk>pbx OPTIONS end",
        "never_seen",
        r"nothing from 10\.9\.1\.101 in all that was watched: from 22:13:20 UTC on, "
        r"3601 s before the INVITE \(packet 2\)",
    ),
    Row("a minute without a packet is too short to say so", BEGIN + SILENT, None),
    Row(
        "three pings in vain",
        "0.0 pbx>101 OPTIONS a\n5.0 pbx>101 OPTIONS b\n10.0 pbx>101 OPTIONS c\n" + SILENT,
        "never_seen",
        r"watched, 3 pings unanswered: from",
    ),
    Row(
        "another port of that address spoke",
        "0.0 101:40000>pbx SUBSCRIBE s Event=dialog\n3601.0 pbx>101 INVITE i\n"
        "3601.5 pbx>101 INVITE i\n3640.0 trunk>pbx OPTIONS end",
        None,
    ),
    Row(
        "the user has a phone, elsewhere",
        "0.0 101@10.9.2.2:5060>pbx REGISTER r\n0.1 pbx>101@10.9.2.2:5060 200 r expires=7200\n"
        "3601.0 pbx>101 INVITE i\n3601.5 pbx>101 INVITE i\n3640.0 trunk>pbx OPTIONS end",
        None,
    ),
    # --- slow network -----------------------------------------------------------------------------
    Row(
        "100 more than T1 after the last INVITE before it",
        "20.0 pbx>101 INVITE i\n20.5 pbx>101 INVITE i\n21.1 101>pbx 100 i\n"
        "30.0 pbx>101 CANCEL i\n30.5 pbx>101 CANCEL i\n31.5 pbx>101 CANCEL i",
        "slow_network",
        r"100 at 22:13:41 UTC \(packet 3\), 0\.60 s after the last INVITE before it",
    ),
    Row(
        "100 soon after the second INVITE: the first may have been lost",
        "20.0 pbx>101 INVITE i\n20.5 pbx>101 INVITE i\n20.7 101>pbx 100 i\n"
        "30.0 pbx>101 CANCEL i\n30.5 pbx>101 CANCEL i\n31.5 pbx>101 CANCEL i",
        None,
    ),
    Row(
        "a phone takes its time to ring: only a 100 comes at once",
        "20.0 pbx>101 INVITE i\n21.2 101>pbx 180 i\n"
        "30.0 pbx>101 CANCEL i\n30.5 pbx>101 CANCEL i\n31.5 pbx>101 CANCEL i",
        None,
    ),
    Row(
        "the last ping took long",
        "0.0 pbx>101 OPTIONS o\n0.9 101>pbx 200 o\n20.0 pbx>101 INVITE i\n20.1 101>pbx 100 i\n"
        "30.0 pbx>101 CANCEL i\n30.5 pbx>101 CANCEL i\n31.5 pbx>101 CANCEL i",
        "slow_network",
        r"the last ping was answered after 0\.90 s at 22:13:20 UTC \(packet 2\)",
    ),
    Row(
        "the ping before the last took long",
        "0.0 pbx>101 OPTIONS o\n0.9 101>pbx 200 o\n" + PINGED
        + "20.0 pbx>101 INVITE i\n20.1 101>pbx 100 i\n"
        "30.0 pbx>101 CANCEL i\n30.5 pbx>101 CANCEL i\n31.5 pbx>101 CANCEL i",
        None,
    ),
    # --- nothing to say ---------------------------------------------------------------------------
    Row("a registered phone that declines", REGISTERED + "20.0 pbx>101 INVITE i\n"
        "20.1 101>pbx 180 i\n25.0 101>pbx 486 i\n25.1 pbx>101 ACK i", None),
    Row("over TCP: a new connection took the place of the old",
        "0.0 101:40001>pbx REGISTER r contact=<sip:101@10.9.1.101:40001>\n"
        "0.1 pbx>101:40001 200 r expires=120\n"
        "9.0 101:40002>pbx REGISTER s like=r contact=<sip:101@10.9.1.101:40002>\n"
        "9.1 pbx>101:40002 200 s expires=120\n"
        "20.0 pbx>101:40001 INVITE i\n53.0 trunk>pbx OPTIONS end",
        "nat_binding_lost", r"REGISTER from 10\.9\.1\.101:40002", "101", "TCP"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_what_explains_it(row: Row) -> None:
    attempt = attempt_of("i", row.text, row.transport)
    verdict = attempt.verdict
    assert verdict is not None
    assert verdict.cause_hint == row.hint, verdict
    if row.hint is not None:
        assert re.search(row.evidence, verdict.evidence[-1]), verdict.evidence
    if verdict.category == "technical":
        assert attempt.device == row.device


def test_every_situation_has_a_row() -> None:
    said = {row.hint for row in ROWS if row.hint is not None}
    assert said == {situation.cause_hint for situation in SITUATIONS}


# --- calls ------------------------------------------------------------------------------------

CALLED = """
20.0 trunk>pbx INVITE c uri=sip:30101@10.9.0.1
20.001 pbx>trunk 100 c
20.005 pbx>101 INVITE i
20.505 pbx>101 INVITE i
21.505 pbx>101 INVITE i
23.505 pbx>101 INVITE i
27.505 pbx>101 INVITE i
30.0 pbx>trunk 603 c Server="Asterisk PBX 22.4.1"
30.1 trunk>pbx ACK c
35.505 pbx>101 INVITE i
"""


def test_the_caller_has_the_cause_of_his_agents_leg() -> None:
    attempts, calls = judged(REGISTERED + PINGED + CALLED)
    caller, agent = (next(a for a in attempts if a.role == role) for role in ("caller", "agent"))
    assert agent.verdict is not None
    assert caller.verdict is not None
    assert agent.verdict.cause_hint == caller.verdict.cause_hint == "registered_but_silent"
    assert caller.device == agent.device == "101"
    assert f"agent: {agent.verdict.evidence[-1]}" in caller.verdict.evidence
    (call,) = calls
    assert call.verdict is not None
    assert call.verdict.cause_hint == "registered_but_silent"


def test_the_answer_came_when_the_caller_had_his_final() -> None:
    text = CALLED.replace("35.505 pbx>101 INVITE i", "30.4 101>pbx 100 i\n30.5 pbx>101 CANCEL i\n")
    text += "31.0 pbx>101 CANCEL i\n32.0 pbx>101 CANCEL i\n34.0 pbx>101 CANCEL i\n"
    agent = attempt_of("i", BEGIN + text)
    assert agent.verdict is not None
    assert agent.verdict.outcome == "connection_timeout"
    assert agent.verdict.cause_hint == "slow_network"
    assert re.search(
        r"first answer at 22:13:50 UTC \(packet 11\), 0\.40 s after the sender had given up",
        agent.verdict.evidence[-1],
    )


ROUTED = """
5.0 trunk>pbx INVITE c1 uri=sip:30101@10.9.0.1
5.001 pbx>trunk 100 c1
5.005 pbx>{phone} INVITE i1
5.1 {phone}>pbx 486 i1
5.11 pbx>{phone} ACK i1
5.12 pbx>trunk 486 c1
5.13 trunk>pbx ACK c1
"""
REFUSED = """
20.0 trunk>pbx INVITE c uri=sip:30101@10.9.0.1 from=+49301112222
20.001 pbx>trunk 100 c
20.005 pbx>trunk 404 c Server="Asterisk PBX 22.4.1" Reason="Q.850;cause=3"
20.01 trunk>pbx ACK c
"""
SHORT = REGISTERED.replace("200 r2 expires=120", "200 r2 expires=15")


def test_a_called_number_that_leads_to_one_device_names_it() -> None:
    attempt = attempt_of("c", SHORT + ROUTED.format(phone="101") + REFUSED)
    assert attempt.verdict is not None
    assert attempt.verdict.outcome == "unavailable"
    assert attempt.verdict.cause_hint == "registration_expired"
    assert attempt.device == "101"
    assert attempt.verdict.evidence[-1].startswith(
        "this number led to one device alone, last at 22:13:25 UTC (packet 7); last REGISTER"
    )


def test_a_called_number_that_leads_to_several_names_none() -> None:
    other = "1.0 102>pbx REGISTER x\n1.1 pbx>102 200 x expires=120\n"
    second = ROUTED.format(phone="102").replace("c1", "c2").replace("i1", "i2")
    second = re.sub(r"(?m)^5", "8", second)
    attempt = attempt_of("c", SHORT + other + ROUTED.format(phone="101") + second + REFUSED)
    assert attempt.verdict is not None
    assert attempt.verdict.cause_hint is None
    assert attempt.device == "30101"


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ('Reason="Q.850;cause=102;text=timer"', "media_lost"),
        ('Reason="SIP;cause=804;text=MEDIA_TIMEOUT"', "media_lost"),
        ('Reason="Q.850;cause=16"', None),
        ("", None),
    ],
)
def test_media_lost(reason: str, hint: str | None) -> None:
    attempt = attempt_of(
        "i",
        f"""
        20.0 pbx>101 INVITE i
        20.1 101>pbx 180 i
        22.0 101>pbx 200 i
        22.1 pbx>101 ACK i
        60.0 pbx>101 BYE i {reason}
        60.1 101>pbx 200 i-bye
        """,
    )
    verdict = attempt.verdict
    assert verdict is not None
    assert verdict.outcome == "answered"
    assert verdict.cause_hint == hint
    if hint:
        assert attempt.device == "101"
        assert verdict.evidence[-1].startswith("BYE at 22:14:20 UTC (packet 5): ")


# --- what cannot be vouched for -----------------------------------------------------------------


def test_nothing_is_said_of_an_absence_where_packets_were_lost() -> None:
    pipeline = Pipeline(parse_toml('local_addresses = ["10.9.0.1"]'))
    items = play(REGISTERED + PINGED + SILENT)
    events = pipeline.feed(items[:8])
    pipeline.devices.lost(EPOCH + 30)
    events += pipeline.feed(items[8:]) + pipeline.advance(EPOCH + 100)
    (attempt,) = [event.attempt for event in events if isinstance(event, AttemptEnded)]
    assert attempt.verdict is not None
    assert attempt.verdict.outcome == "device_not_responding"
    assert attempt.verdict.cause_hint is None


def test_a_date_where_the_day_is_another() -> None:
    text = REGISTERED.replace("expires=120", "expires=15") + (
        "90000.0 pbx>101 INVITE i\n90000.5 pbx>101 INVITE i\n90040.0 trunk>pbx OPTIONS end"
    )
    verdict = attempt_of("i", text).verdict
    assert verdict is not None
    assert "last REGISTER at 2023-11-14 22:13:20 UTC (packet 3)" in verdict.evidence[-1]
