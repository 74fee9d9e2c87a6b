"""Records of attempts and calls, and the fast way to write them."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest
from call_flows import (
    AGENT,
    PBX,
    START,
    Leg,
    abandoned,
    answered,
    attempt_of,
    busy,
    run,
    silent,
)

from sipwatch.config import Agents, Config, Privacy, parse_toml
from sipwatch.sinks.line import attempt_line, call_line
from sipwatch.sinks.privacy import Numbers
from sipwatch.sinks.record import (
    ATTEMPT_FIELDS,
    CALL_FIELDS,
    RecordStyle,
    attempt_record,
    call_record,
)
from sipwatch.sinks.wire import USER_AGENT, header_text
from sipwatch.sip.message import parse

#: The order of the specification of the record.
FIELDS = [
    "schema",
    "kind",
    "id",
    "call_id",
    "call",
    "started_at",
    "ended_at",
    "transport",
    "source",
    "destination",
    "direction",
    "peer",
    "from",
    "to",
    "request_uri",
    "from_display",
    "user_agent",
    "server",
    "device",
    "cause_hint",
    "outcome",
    "category",
    "detail",
    "confidence",
    "evidence",
    "code",
    "reason_phrase",
    "reasons",
    "q850",
    "cancelled_by",
    "retransmissions",
    "challenged",
    "legs",
    "post_dial_delay",
    "ring_duration",
    "setup_duration",
    "talk_duration",
    "end",
    "closed_by",
    "first_packet",
    "last_packet",
    "file",
]
OF_CALL = [
    "schema",
    "kind",
    "id",
    "started_at",
    "ended_at",
    "from",
    "to",
    "direction",
    "outcome",
    "category",
    "detail",
    "confidence",
    "evidence",
    "agent",
    "attempts",
    "wait_duration",
    "ring_duration",
    "talk_duration",
    "callback_requested",
    "returned_at",
    "returned_by",
    "returns",
    "callback_for",
]


def odd() -> Leg:
    """Everything that may need an escape or a slow path."""
    leg = Leg(
        call_id='"quoted\\id"@h',
        from_='"Tab\\t \\"q\\" \x1b[31m\u202eÅ\udcff" '
        "<sip:%31%30%30@[2001:db8::5]:5070;user=phone>",
        to="<tel:+49-30-555>",
        uri="sip:h\udce4y@pbx.example",
        headers="user-agent : A\r\n folded one\r\n",
        server="uSeR-AgEnT:x\x7fy\r\n",
        branch="z9hG4bK-odd",
    )
    leg.request(0, "INVITE").reply(
        0.3, "183 Progress", 'Reason: Q.850;cause=17;text="b;\\"u\\"sy"\r\n'
    )
    return leg.reply(1, "599 \u2603 \x07").request(1.1, "ACK")


def nameless() -> Leg:
    """No display name, no User-Agent, no Server, compact names."""
    leg = Leg(from_="sip:anonymous@anonymous.invalid", headers="", server="")
    leg.request(0, "INVITE")
    packet = leg.packets[0]
    leg.packets[0] = packet._replace(
        payload=packet.payload.replace(b"From:", b"f:").replace(b"To:", b"t:")
    )
    return leg.reply(0.2, "404").request(0.3, "ACK")


def without_invite() -> Leg:
    leg = busy()
    del leg.packets[0]
    return leg


def over_ipv6() -> Leg:
    leg = busy()
    phone, pbx = (ip_address("2001:db8::50").packed, 5062), (ip_address("2001:db8::1").packed, 5060)
    leg.packets = [
        packet._replace(
            source=phone if packet.destination == PBX else pbx,
            destination=pbx if packet.destination == PBX else phone,
        )
        for packet in leg.packets
    ]
    return leg


SCENARIOS = {
    "answered": answered,
    "busy": busy,
    "abandoned": abandoned,
    "silent": silent,
    "odd": odd,
    "nameless": nameless,
    "without-invite": without_invite,
    "over-ipv6": over_ipv6,
}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("numbers", ["full", "mask", "hash"])
def test_a_line_is_the_record(name: str, numbers: str) -> None:
    style = RecordStyle(Numbers(Privacy(numbers=numbers, key="0123456789abcdef")))
    attempt = attempt_of(SCENARIOS[name]())
    line = attempt_line(attempt, style)
    assert line.endswith("}\n")
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line) == attempt_record(attempt, style)
    # From the memory of the first one.
    assert attempt_line(attempt, style) == line


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("numbers", ["full", "mask", "hash"])
def test_a_line_is_the_record_of_a_call(name: str, numbers: str) -> None:
    style = RecordStyle(Numbers(Privacy(numbers=numbers, key="0123456789abcdef")))
    _, (call,) = run([SCENARIOS[name]()])
    for again in range(2):
        line = call_line(call, style)
        assert line.isascii()
        assert line.endswith("}\n")
        assert json.loads(line) == call_record(call, style)
        assert list(json.loads(line)) == list(call_record(call, style))
        if not again:
            call.callback_requested = True
            call.returned_at, call.returned_by = 1700000000.25, 'a "b"'
            call.returns = call.callback_for = call.root


def test_fields_stand_in_the_order_of_the_specification() -> None:
    attempts, calls = run([answered()])
    assert list(attempt_record(attempts[0])) == list(ATTEMPT_FIELDS) == FIELDS
    assert list(json.loads(attempt_line(attempts[0]))) == FIELDS
    assert list(call_record(calls[0])) == list(CALL_FIELDS) == OF_CALL
    assert list(json.loads(call_line(calls[0]))) == OF_CALL


def test_an_answered_call() -> None:
    record = attempt_record(attempt_of(answered(talk=30.0)))
    assert record["schema"] == 1
    assert record["kind"] == "attempt"
    assert record["call_id"] == "c1@10.9.0.50"
    assert record["started_at"] == START
    assert record["transport"] == "UDP"
    assert record["source"] == "10.9.0.50:5060"
    assert record["destination"] == "10.9.0.1:5060"
    assert record["from"] == "+49301110000@10.9.0.50"
    assert record["to"] == "101@10.9.0.1"
    assert record["request_uri"] == "sip:101@10.9.0.1"
    assert record["from_display"] == "Anna Berg"
    assert record["user_agent"] == "Snom 4.5"
    assert record["server"] == "PBX 1"
    assert record["outcome"] == "answered"
    assert record["category"] == "success"
    assert record["code"] == 200
    assert record["reason_phrase"] == "OK"
    assert record["cancelled_by"] is None
    assert record["post_dial_delay"] == pytest.approx(0.1, abs=2e-6)
    assert record["ring_duration"] == pytest.approx(2.0, abs=2e-6)
    assert record["setup_duration"] == pytest.approx(2.1, abs=2e-6)
    assert record["talk_duration"] == pytest.approx(30.0, abs=2e-6)
    assert record["end"] == "caller_hangup"
    assert record["first_packet"] == 1
    assert record["file"] == "test.pcap"


def test_a_busy_call_has_no_durations_that_do_not_apply() -> None:
    record = attempt_record(attempt_of(busy()))
    assert record["outcome"] == "agent_busy"
    assert record["code"] == 486
    assert record["ring_duration"] is None
    assert record["setup_duration"] is None
    assert record["talk_duration"] is None
    assert record["end"] is None
    assert record["ended_at"] == pytest.approx(START + 0.05, abs=2e-6)


def test_a_silent_device_has_no_code() -> None:
    record = attempt_record(attempt_of(silent()))
    assert record["outcome"] == "device_not_responding"
    assert record["code"] is None
    assert record["reason_phrase"] is None
    assert record["server"] is None
    assert record["retransmissions"] == 6
    assert record["reasons"] == []


def test_reasons_and_cause_of_the_cancel() -> None:
    record = attempt_record(attempt_of(abandoned()))
    assert record["outcome"] == "abandoned"
    assert record["cancelled_by"] == "caller"
    assert record["reasons"] == [{"protocol": "SIP", "cause": 487, "text": "ORIGINATOR_CANCEL"}]
    assert record["q850"] is None


def test_the_cause_is_never_that_of_the_bye() -> None:
    leg = Leg()
    leg.request(0, "INVITE").reply(1, "200 OK").request(1.1, "ACK")
    leg.request(5, "BYE", "Reason: Q.850;cause=16\r\n").reply(5.1, "200 OK", method="BYE")
    record = attempt_record(attempt_of(leg))
    assert record["q850"] is None
    assert record["reasons"] == []


def test_the_reason_of_the_final_goes_before_that_of_the_cancel() -> None:
    leg = Leg()
    leg.request(0, "INVITE").reply(0.2, "180 Ringing")
    leg.request(20.2, "CANCEL", "Reason: Q.850;cause=0\r\n")
    leg.reply(20.21, "200 OK", method="CANCEL")
    leg.reply(20.22, "487 Request Terminated", "Reason: Q.850;cause=19\r\n")
    record = attempt_record(attempt_of(leg.request(20.23, "ACK")))
    assert record["q850"] == 19
    assert record["reasons"] == [{"protocol": "Q.850", "cause": 19, "text": ""}]


def test_a_provisional_gives_the_cause_where_nothing_else_does() -> None:
    record = attempt_record(attempt_of(odd()))
    assert record["q850"] == 17
    assert record["reasons"] == [{"protocol": "Q.850", "cause": 17, "text": 'b;"u"sy'}]


def test_odd_words_of_the_wire() -> None:
    record = attempt_record(attempt_of(odd()))
    assert record["call_id"] == '"quoted\\id"@h'
    assert record["from"] == "100@[2001:db8::5]"
    assert record["to"] == "+4930555"
    assert record["request_uri"] == "sip:h\ufffdy@pbx.example"
    assert record["from_display"] == 'Tabt "q" \x1b[31m\u202eÅ\ufffd'
    assert record["user_agent"] == "A folded one"
    assert record["server"] == "x\x7fy"
    assert record["code"] == 599


def test_a_value_ends_where_its_line_does_also_at_a_bare_lf() -> None:
    message = parse(
        b"OPTIONS sip:a@b SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
        b"From: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\n"
        b"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\n"
        b"User-Agent: Zoiper\nAllow-Events: talk\r\n\r\n"
    )
    assert header_text(message, USER_AGENT) == "Zoiper"


def test_compact_header_names_and_nothing_said() -> None:
    record = attempt_record(attempt_of(nameless()))
    assert record["from"] == "anonymous@anonymous.invalid"
    assert record["to"] == "101@10.9.0.1"
    assert record["from_display"] is None
    assert record["user_agent"] is None
    assert record["server"] is None
    assert record["reason_phrase"] == ""


def test_an_invite_that_was_not_captured() -> None:
    record = attempt_record(attempt_of(without_invite()))
    assert record["outcome"] == "incomplete"
    assert record["confidence"] is None
    assert record["from"] == "+49301110000@10.9.0.50"
    assert record["request_uri"] is None
    assert record["user_agent"] is None


def test_ipv6_endpoints_stand_in_brackets() -> None:
    record = attempt_record(attempt_of(over_ipv6()))
    assert record["source"] == "[2001:db8::50]:5062"
    assert record["destination"] == "[2001:db8::1]:5060"


def test_ids_are_stable_and_tell_attempts_apart() -> None:
    first = attempt_record(attempt_of(busy()))["id"]
    assert first == attempt_record(attempt_of(busy(at=100.0)))["id"]
    assert len(first) == 16
    assert int(first, 16) >= 0
    others = [busy(branch="z9hG4bK-2"), busy(call_id="c2"), answered(call_id="c3")]
    ids = {attempt_record(attempt_of(leg))["id"] for leg in others}
    assert len(ids | {first}) == 4


def two_legs(*, agent_answers: bool = True) -> tuple[Leg, Leg]:
    """A caller to the PBX and the leg that the PBX makes of it 5 ms later."""
    caller = Leg()
    agent = Leg(
        call_id="0f8fad5b-d9cb-469f-a165-70867728950e",
        caller=PBX,
        callee=AGENT,
        from_='"Anna Berg" <sip:+49301110000@10.9.0.1>',
        to="<sip:101@10.9.0.11>",
        uri="sip:101@10.9.0.11:5060",
        branch="z9hG4bK-agent",
        server="User-Agent: Phone 7\r\n",
    )
    caller.request(0, "INVITE").reply(0.001, "100 Trying")
    agent.request(0.005, "INVITE").reply(0.1, "180 Ringing")
    caller.reply(0.102, "180 Ringing")
    if agent_answers:
        agent.reply(4.1, "200 OK").request(4.101, "ACK")
        caller.reply(4.103, "200 OK").request(4.15, "ACK")
        caller.request(64.1, "BYE").reply(64.101, "200 OK", method="BYE")
        agent.request(64.102, "BYE").reply(64.11, "200 OK", method="BYE")
    else:
        agent.reply(4.1, "486 Busy Here").request(4.101, "ACK")
        caller.reply(4.103, "486 Busy Here").request(4.15, "ACK")
    return caller, agent


def test_a_call_of_two_legs() -> None:
    attempts, calls = run(two_legs())
    assert len(calls) == 1
    record = call_record(calls[0])
    by_source = {attempt_record(each)["source"]: attempt_record(each) for each in attempts}
    caller, agent = by_source["10.9.0.50:5060"], by_source["10.9.0.1:5060"]
    assert caller["call"] == agent["call"] == record["id"]
    assert record["kind"] == "call"
    assert record["outcome"] == "answered"
    assert record["agent"] == "101"
    assert set(record["attempts"]) == {caller["id"], agent["id"]}
    assert record["from"] == "+49301110000@10.9.0.50"
    assert record["to"] == "101@10.9.0.1"
    assert record["started_at"] == START
    assert record["ended_at"] == pytest.approx(START + 64.1, abs=0.02)
    assert record["wait_duration"] == pytest.approx(4.1, abs=1e-5)
    assert record["ring_duration"] == pytest.approx(4.001, abs=1e-5)
    assert record["talk_duration"] == pytest.approx(60.002, abs=1e-5)
    assert record["callback_requested"] is False
    assert record["returned_at"] is None


def test_a_call_that_nobody_answered_names_who_was_tried_last() -> None:
    _, calls = run(two_legs(agent_answers=False))
    record = call_record(calls[0])
    assert record["agent"] == "101"
    assert record["talk_duration"] is None
    assert record["wait_duration"] == pytest.approx(4.103, abs=1e-5)


def test_only_configured_users_are_agents() -> None:
    _, calls = run(two_legs())
    record = call_record(calls[0], RecordStyle(agents=Agents(users=("102",))))
    assert record["agent"] is None


def test_direction_and_peer_come_from_the_configuration() -> None:
    config = parse_toml(
        """
        local_addresses = ["10.9.0.1"]
        local_networks = ["10.9.0.0/28"]
        [peers]
        carrier = ["10.9.0.50"]
        """
    )
    attempts, calls = run(two_legs(), config)
    by_source = {attempt_record(each)["source"]: attempt_record(each) for each in attempts}
    assert by_source["10.9.0.50:5060"]["direction"] == "inbound"
    assert by_source["10.9.0.50:5060"]["peer"] == "carrier"
    assert by_source["10.9.0.1:5060"]["direction"] == "internal"
    assert by_source["10.9.0.1:5060"]["peer"] == "other"
    assert call_record(calls[0])["direction"] == "inbound"


def _private(numbers: str) -> str:
    config = Config(privacy=Privacy(numbers=numbers, key="0123456789abcdef"))
    attempts, calls = run(two_legs(agent_answers=False))
    style = RecordStyle.of(config)
    return "".join(attempt_line(each, style) for each in attempts) + call_line(calls[0], style)


def test_no_number_is_left_when_they_are_masked_or_hashed() -> None:
    assert "49301110000" in _private("full")
    for numbers in ("mask", "hash"):
        assert "49301110000" not in _private(numbers)
        assert "101@" not in _private(numbers)
        assert '"agent":"101"' not in _private(numbers)
        assert "10.9.0.50:5060" in _private(numbers)
    assert "**********00@10.9.0.50" in _private("mask")


def test_hashes_are_the_same_for_the_same_key_only() -> None:
    one = Numbers(Privacy(numbers="hash", key="0123456789abcdef"))
    same = Numbers(Privacy(numbers="hash", key="0123456789abcdef"))
    other = Numbers(Privacy(numbers="hash", key="fedcba9876543210"))
    without = Numbers(Privacy(numbers="hash")), Numbers(Privacy(numbers="hash"))
    number = "+49301110000"
    assert one.user(number) == same.user(number) == one.user("0049301110000")
    assert len({numbers.user(number) for numbers in (one, other, *without)}) == 4
    assert one.user("49301110000") != one.user("49301110001")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("180 at +0.21 s", "180 at +0.21 s"),
        ("rang 20.0 s", "rang 20.0 s"),
        ("20 s matches 20 of the last 50 cancels", "20 s matches 20 of the last 50 cancels"),
        ("answered by 20", "answered by *0"),
        ("answered by 20.", "answered by *0."),
        ("packet 12041234 to 05321234567", "packet 12041234 to *********67"),
        ("from +905321234567@carrier", "from ***********67@carrier"),
        ("at 1776934800.123456", "at 1776934800.123456"),
        ("10.9.0.20:5060", "10.9.0.20:5060"),
        ("at 09:00:20", "at 09:00:20"),
        ("sip:20@10.9.0.1 and sip:+905321234567@h", "sip:*0@10.9.0.1 and sip:***********67@h"),
    ],
)
def test_numbers_in_free_text(text: str, masked: str) -> None:
    assert Numbers(Privacy(numbers="mask")).text(text, {"20"}) == masked


@pytest.mark.parametrize(
    ("user", "masked"),
    [
        ("101", "**1"),
        ("+905321234567", "***********67"),
        ("alice", "****e"),
        ("anonymous", "anonymous"),
        ("", ""),
    ],
)
def test_masks(user: str, masked: str) -> None:
    assert Numbers(Privacy(numbers="mask")).user(user) == masked
