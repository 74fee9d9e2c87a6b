"""The missed-call filters of section 7, on plays of whole calls (see `device_play.py`)."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sipwatch.calls.types import Call, CallEnded, Event
from sipwatch.config import parse_toml
from sipwatch.outcomes.missed import MissedCall, MissedCalls
from sipwatch.pipeline import Pipeline
from sipwatch.report.agents import AgentReport
from sipwatch.sinks.metrics.missed import missed_readings
from sipwatch.sinks.record import RecordStyle, call_record

sys.path.append(str(Path(__file__).resolve().parents[1] / "devices"))

from device_play import EPOCH, Play

LOCAL = 'local_addresses = ["10.9.0.1"]\n'
NETWORKS = LOCAL + 'local_networks = ["10.9.0.0/16"]\n'
CALLER = "+49301112233"


@dataclass
class Judged:
    """What came out of a play."""

    pipeline: Pipeline
    calls: dict[str, Call] = field(default_factory=dict)
    #: Records as they were when each call was said.
    records: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def missed(self) -> MissedCalls:
        return self.pipeline.missed

    def take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, CallEnded):
                label = event.call.root.call_id.decode().partition("@")[0]
                self.calls[label] = event.call
                self.records[label] = call_record(event.call)

    def outcome(self, label: str) -> str:
        verdict = self.calls[label].verdict
        assert verdict is not None
        return verdict.outcome

    def listed(self) -> list[str]:
        """Labels of the calls that nobody returned."""
        return [label_of(missed) for missed in self.missed.not_returned()]

    def id(self, label: str) -> object:
        return self.records[label]["id"]


def label_of(missed: MissedCall) -> str:
    return missed.invite.call_id.decode().partition("@")[0]


def judged(text: str, config: str = NETWORKS, quiet: float = 40.0) -> Judged:
    found = Judged(Pipeline(parse_toml(config)))
    items = Play().run(text)
    end = items[-1].time + quiet
    for item in items:
        found.take(found.pipeline.feed([item]))
    found.take(found.pipeline.advance(end))
    found.take(found.pipeline.finish(end, "end_of_capture"))
    return found


def comes_in(
    label: str, at: float, number: str = CALLER, called: str = "30101", end: str = "busy"
) -> str:
    """A call from outside to phone 101, which is busy, or answers."""
    status = {"busy": "486", "answered": "200"}[end]
    text = f"""
    {at} trunk>pbx INVITE {label} uri=sip:{called}@10.9.0.1 from={number}
    {at + 0.001} pbx>trunk 100 {label}
    {at + 0.005} pbx>101 INVITE {label}-a uri=sip:101@10.9.1.101:5060 from={number}
    {at + 0.1} 101>pbx {status} {label}-a
    {at + 0.11} pbx>101 ACK {label}-a
    {at + 0.12} pbx>trunk {status} {label}
    {at + 0.13} trunk>pbx ACK {label}
    """
    if end == "answered":
        text += f"""
        {at + 30} trunk>pbx BYE {label}
        {at + 30.01} pbx>trunk 200 {label}-bye
        {at + 30.02} pbx>101 BYE {label}-a
        {at + 30.03} 101>pbx 200 {label}-a-bye
        """
    return text


def goes_out(label: str, at: float, number: str = CALLER, phone: str = "102") -> str:
    """A phone calls out, and the carrier's customer answers."""
    return f"""
    {at} {phone}>pbx INVITE {label} uri=sip:90{number.lstrip("+")}@10.9.0.1
    {at + 0.001} pbx>{phone} 100 {label}
    {at + 0.005} pbx>trunk INVITE {label}-t uri=sip:{number}@203.0.113.5 from=+4930555000
    {at + 0.1} trunk>pbx 180 {label}-t
    {at + 0.11} pbx>{phone} 180 {label}
    {at + 3.0} trunk>pbx 200 {label}-t
    {at + 3.01} pbx>trunk ACK {label}-t
    {at + 3.02} pbx>{phone} 200 {label}
    {at + 3.03} {phone}>pbx ACK {label}
    {at + 20} {phone}>pbx BYE {label}
    {at + 20.01} pbx>{phone} 200 {label}-bye
    {at + 20.02} pbx>trunk BYE {label}-t
    {at + 20.03} trunk>pbx 200 {label}-t-bye
    """


# --- outside working hours --------------------------------------------------------------------

OFFICE = """
[hours]
timezone = "{zone}"
holidays = ["2026-04-23"]
[hours.weekly]
mon = "09:00-12:00,13:00-18:00"
wed = "22:00-06:00"
thu = "09:00-18:00"
fri = "22:00-02:00"
sat = "22:00-06:00"
[[hours.rule]]
called = "^0850"
weekly = {{ sun = "10:00-14:00" }}
[[hours.rule]]
called = "^08501"
weekly = {{ mon = "00:00-24:00" }}
[[hours.rule]]
called = "^0800"
weekly = {{}}
"""


def at_utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() - EPOCH


@pytest.mark.parametrize(
    ("zone", "utc", "called", "is_open"),
    [
        # Istanbul has had UTC+3 since 2016, summer and winter.
        ("Europe/Istanbul", "2026-01-05 05:59:59", "30101", False),
        ("Europe/Istanbul", "2026-01-05 06:00:00", "30101", True),
        ("Europe/Istanbul", "2026-07-06 05:59:59", "30101", False),
        ("Europe/Istanbul", "2026-07-06 06:00:00", "30101", True),
        # Berlin goes with the summer.
        ("Europe/Berlin", "2026-01-05 07:59:59", "30101", False),
        ("Europe/Berlin", "2026-01-05 08:00:00", "30101", True),
        ("Europe/Berlin", "2026-07-06 06:59:59", "30101", False),
        ("Europe/Berlin", "2026-07-06 07:00:00", "30101", True),
        # The lunch break, and the end.
        ("Europe/Berlin", "2026-01-05 11:00:00", "30101", False),
        ("Europe/Berlin", "2026-01-05 12:00:00", "30101", True),
        ("Europe/Berlin", "2026-01-05 16:59:59", "30101", True),
        ("Europe/Berlin", "2026-01-05 17:00:00", "30101", False),
        # Over midnight: Friday's hours end on Saturday at two.
        ("Europe/Istanbul", "2026-01-09 22:59:59", "30101", True),
        ("Europe/Istanbul", "2026-01-09 23:00:00", "30101", False),
        # The nights in which the clock is changed are an hour shorter and longer.
        ("Europe/Berlin", "2026-03-29 03:59:59", "30101", True),
        ("Europe/Berlin", "2026-03-29 04:00:00", "30101", False),
        ("Europe/Berlin", "2026-10-25 04:59:59", "30101", True),
        ("Europe/Berlin", "2026-10-25 05:00:00", "30101", False),
        # A holiday; the night shift that began the day before goes on.
        ("Europe/Istanbul", "2026-04-16 09:00:00", "30101", True),
        ("Europe/Istanbul", "2026-04-23 09:00:00", "30101", False),
        ("Europe/Istanbul", "2026-04-23 02:00:00", "30101", True),
        # Numbers of their own; the first rule that finds one decides.
        ("Europe/Istanbul", "2026-01-04 08:00:00", "0850111", True),
        ("Europe/Istanbul", "2026-01-05 08:00:00", "0850111", False),
        ("Europe/Istanbul", "2026-01-04 08:00:00", "30101", False),
        ("Europe/Istanbul", "2026-01-05 08:00:00", "0850199", False),
        ("Europe/Istanbul", "2026-01-05 08:00:00", "0800111", False),
    ],
)
def test_hours(zone: str, utc: str, called: str, is_open: bool) -> None:
    text = comes_in("a", at_utc(utc), called=called)
    found = judged(text, NETWORKS + OFFICE.format(zone=zone))
    assert found.outcome("a") == ("agent_busy" if is_open else "outside_hours")
    assert found.records["a"]["category"] == ("user" if is_open else "policy")


CLOSED = NETWORKS + '[hours]\ntimezone = "Europe/Berlin"\n[hours.weekly]\nmon = "09:00-18:00"\n'


def test_the_evidence_says_when_it_came() -> None:
    verdict = judged(comes_in("a", 0.0), CLOSED).calls["a"].verdict
    assert verdict is not None
    assert verdict.rule == "call/2"
    assert verdict.evidence == ("came at Tue 23:13 CET, outside working hours",)


def test_an_agent_answered_in_closed_hours() -> None:
    assert judged(comes_in("a", 0.0, end="answered"), CLOSED).outcome("a") == "answered"


def test_calls_of_agents_come_at_any_hour() -> None:
    refused = goes_out("o", 0.0).replace("200 o-t", "486 o-t").replace("200 o", "486 o")
    found = judged(refused.partition("    20")[0], CLOSED)
    assert found.outcome("o") != "outside_hours"


REGISTER = "0.0 {0}>pbx REGISTER r{0}\n0.1 pbx>{0} 200 r{0} expires=3600\n"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (comes_in("a", 5.0), "outside_hours"),
        (REGISTER.format("trunk") + comes_in("a", 5.0), "agent_busy"),
    ],
    ids=["a caller", "a phone that registers"],
)
def test_without_networks_phones_are_known_by_their_registrations(text: str, outcome: str) -> None:
    config = CLOSED.replace(NETWORKS, LOCAL)
    assert judged(text, config).outcome("a") == outcome


def test_a_call_that_is_not_over_is_not_missed() -> None:
    text = "0.0 trunk>pbx INVITE a from=+49301112233\n0.1 pbx>trunk 180 a"
    found = judged(text, CLOSED, quiet=5.0)
    assert found.outcome("a") == "in_progress"
    assert found.missed.missed == 0


def test_without_hours_it_is_always_open() -> None:
    assert judged(comes_in("a", 0.0)).outcome("a") == "agent_busy"


# --- call back ----------------------------------------------------------------------------------

CODES = NETWORKS + '[callback]\nfeature_codes = ["*66", "+4930999000"]\nheaders = [{rules}]\n'
CODE_CALL = """
{at} trunk>pbx INVITE c uri=sip:{code}@10.9.0.1 from={number} {header}
{at}1 pbx>trunk 100 c
{at}2 pbx>trunk 200 c
{at}3 trunk>pbx ACK c
{at}5 pbx>trunk BYE c callee
{at}6 trunk>pbx 200 c-bye
"""


def code_call(code: str, number: str = CALLER, header: str = "", at: float = 60.0) -> str:
    return CODE_CALL.format(at=at, code=code, number=number, header=header)


@pytest.mark.parametrize(
    ("code", "is_one"),
    [
        ("*66", True),
        ("%2A66", True),
        ("*660", False),
        ("66", False),
        ("030999000", True),
        ("0030999001", False),
    ],
)
def test_feature_codes(code: str, is_one: bool) -> None:
    found = judged(comes_in("a", 0.0) + code_call(code), CODES.format(rules=""))
    assert (found.outcome("c") == "callback") is is_one
    assert found.calls["a"].callback_requested is is_one
    assert found.records["c"]["callback_for"] == (found.id("a") if is_one else None)
    assert found.missed.callbacks_requested == is_one
    assert found.listed() == ["a"]


@pytest.mark.parametrize(
    ("rules", "header", "is_one"),
    [
        ('"X-Callback"', "X-Callback=whatever", True),
        ('"X-Callback: ^yes"', "X-Callback=Yes,please", True),
        ('"X-Callback: ^yes"', "X-Callback=no", False),
        ('"X-Other"', "X-Callback=yes", False),
        ('"X-Callback"', "", False),
    ],
)
def test_header_rules(rules: str, header: str, is_one: bool) -> None:
    found = judged(comes_in("a", 0.0) + code_call("5000", header=header), CODES.format(rules=rules))
    assert (found.outcome("c") == "callback") is is_one
    assert found.calls["a"].callback_requested is is_one


def test_the_last_missed_call_of_that_caller_is_meant() -> None:
    text = comes_in("a", 0.0) + comes_in("b", 20.0) + comes_in("x", 30.0, "+49301119999")
    found = judged(text + code_call("*66"), CODES.format(rules=""))
    asked = [label for label in "abx" if found.calls[label].callback_requested]
    assert asked == ["b"]
    assert found.records["c"]["callback_for"] == found.id("b")


def test_a_wish_without_a_missed_call_is_itself_to_be_returned() -> None:
    found = judged(code_call("*66"), CODES.format(rules=""))
    assert found.outcome("c") == "callback"
    assert found.records["c"]["callback_requested"] is True
    assert found.records["c"]["callback_for"] is None
    assert found.listed() == ["c"]


def test_a_new_wish_after_a_returned_call() -> None:
    text = comes_in("a", 0.0) + goes_out("o", 20.0) + code_call("*66", at=90.0)
    found = judged(text, CODES.format(rules=""))
    assert found.listed() == ["c"]
    assert not found.calls["a"].callback_requested


SUBSCRIBE = "{at} trunk>pbx SUBSCRIBE s uri=sip:{called}@10.9.0.1 from={number} {rest}"
COMPLETION = 'Event="call-completion"'


@pytest.mark.parametrize(
    ("number", "called", "rest", "asked"),
    [
        (CALLER, "30101", COMPLETION, ["b"]),
        ("0301112233", "30101", COMPLETION, ["b"]),
        (CALLER, "30102", COMPLETION, ["a"]),
        (CALLER, "monitor-7", COMPLETION, ["b"]),  # the last one where the URI says nothing
        (CALLER, "30101", 'Event="call-completion;m=BS"', ["b"]),
        (CALLER, "30101", COMPLETION + " expires=0", []),
        (CALLER, "30101", COMPLETION + ' to-tag=";tag=t"', []),  # kept alive
        (CALLER, "30101", 'Event="dialog"', []),
        (CALLER, "30101", "", []),
        ("+49301119999", "30101", COMPLETION, []),
        ("anonymous", "30101", COMPLETION, []),
    ],
)
def test_subscribe_after_the_call(number: str, called: str, rest: str, asked: list[str]) -> None:
    """RFC 6910 9: the record is out, the list knows."""
    text = comes_in("a", 0.0, called="30102") + comes_in("b", 10.0)
    found = judged(text + SUBSCRIBE.format(at=30.0, number=number, called=called, rest=rest))
    assert [label for label in "ab" if found.calls[label].callback_requested] == asked
    listed = {label_of(missed): missed for missed in found.missed.not_returned()}
    assert [label for label, missed in listed.items() if missed.callback_requested] == asked
    assert found.outcome("a") == found.outcome("b") == "agent_busy"


@pytest.mark.parametrize(
    ("number", "called", "outcome"),
    [
        (CALLER, "30101", "callback"),
        (CALLER, "30102", "agent_busy"),
        ("+49301119999", "30101", "agent_busy"),
    ],
)
def test_subscribe_before_the_call_is_judged(number: str, called: str, outcome: str) -> None:
    text = comes_in("a", 0.0)
    text += SUBSCRIBE.format(at=0.5, number=number, called=called, rest=COMPLETION)
    found = judged(text)
    assert found.outcome("a") == outcome
    assert found.records["a"]["callback_requested"] is (outcome == "callback")
    assert found.listed() == ["a"]


def test_a_later_call_of_who_subscribed_is_no_call_back() -> None:
    text = comes_in("a", 0.0)
    text += SUBSCRIBE.format(at=0.5, number=CALLER, called="30102", rest=COMPLETION)
    found = judged(text + comes_in("b", 60.0, called="30102"))
    assert found.outcome("b") == "agent_busy"


# --- returned -----------------------------------------------------------------------------------

WINDOW = NETWORKS + "[callback]\nreturn_window_seconds = 3600\n"


def test_called_back() -> None:
    found = judged(comes_in("a", 0.0) + goes_out("o", 100.0), WINDOW)
    assert found.listed() == []
    missed = found.missed
    assert (missed.missed, missed.returned, missed.never_returned) == (1, 1, 0)
    call = found.calls["a"]
    assert call.returned_at == pytest.approx(EPOCH + 100.0, abs=0.01)
    assert call.returned_by == "102"
    assert found.records["o"]["returns"] == found.id("a")
    assert found.records["a"]["returned_at"] is None  # it was out before


def test_by_another_agent_and_at_first() -> None:
    text = comes_in("a", 0.0) + goes_out("o", 100.0, phone="105") + goes_out("p", 300.0)
    found = judged(text, WINDOW)
    assert found.calls["a"].returned_by == "105"
    assert found.calls["a"].returned_at == pytest.approx(EPOCH + 100.0, abs=0.01)
    assert found.missed.returned == 1
    assert found.records["p"]["returns"] == found.id("a")


@pytest.mark.parametrize(("at", "returned"), [(3599.0, True), (3600.1, True), (3601.0, False)])
def test_the_window_begins_when_the_call_was_missed(at: float, returned: bool) -> None:
    """The call ended 0.12 s after it had begun."""
    found = judged(comes_in("a", 0.0) + goes_out("o", at), WINDOW)
    assert (found.calls["a"].returned_at is not None) is returned
    assert found.listed() == ([] if returned else ["a"])
    assert (found.records["o"]["returns"] is not None) is returned
    assert found.missed.never_returned == (not returned)


def test_missed_and_not_called_back_yet_or_never() -> None:
    found = judged(comes_in("a", 0.0) + comes_in("b", 3000.0), WINDOW, quiet=40.0)
    missed = found.missed
    assert missed.pending(EPOCH + 3100) == 2
    assert missed.pending(EPOCH + 3700) == 1
    assert missed.never_returned == 1
    assert missed.pending(EPOCH + 7000) == 0
    assert missed.never_returned == 2
    assert found.listed() == ["a", "b"]


def test_one_call_returns_all_that_its_caller_missed() -> None:
    text = comes_in("a", 0.0) + comes_in("b", 50.0) + comes_in("x", 60.0, "+49301119999")
    found = judged(text + goes_out("o", 100.0), WINDOW)
    assert found.listed() == ["x"]
    assert found.missed.returned == 2
    assert found.records["o"]["returns"] == found.id("b")


def test_a_call_that_was_under_way_already_is_no_return() -> None:
    """He calls in while an agent's call to him rings."""
    rings = f"""
    0.0 102>pbx INVITE o uri=sip:90{CALLER[1:]}@10.9.0.1
    0.001 pbx>102 100 o
    0.005 pbx>trunk INVITE o-t uri=sip:{CALLER}@203.0.113.5
    0.1 trunk>pbx 180 o-t
    """
    ends = """
    20.0 trunk>pbx 486 o-t
    20.01 pbx>trunk ACK o-t
    20.02 pbx>102 486 o
    20.03 102>pbx ACK o
    """
    found = judged(rings + comes_in("a", 5.0) + ends, WINDOW)
    assert found.calls["a"].returned_at is None
    assert found.records["o"]["returns"] is None
    assert found.listed() == ["a"]


@pytest.mark.parametrize("hidden", ["anonymous", "Anonymous", "unknown", "restricted"])
def test_hidden_callers_never_match(hidden: str) -> None:
    """Not each other, not a call to that word, and not by what the network asserts."""
    asserted = comes_in("b", 20.0, hidden).replace(
        "INVITE b uri", f"INVITE b P-Asserted-Identity=<sip:{CALLER}@x> uri"
    )
    text = comes_in("a", 0.0, hidden) + asserted
    found = judged(text + goes_out("o", 100.0, hidden) + goes_out("p", 200.0), WINDOW)
    assert found.missed.missed == found.missed.hidden == 2
    assert found.missed.returned == 0
    assert found.listed() == []
    assert found.records["o"]["returns"] is found.records["p"]["returns"] is None


@pytest.mark.parametrize(
    ("came", "called", "same"),
    [
        ("+493012345678", "03012345678", True),
        ("00493012345678", "+493012345678", True),
        ("03012345678", "12345678", True),
        ("+493012345678", "03012345679", False),
        ("12345", "12345", True),
        ("12345", "012345", False),
    ],
)
def test_number_formats(came: str, called: str, same: bool) -> None:
    found = judged(comes_in("a", 0.0, came) + goes_out("o", 100.0, called), WINDOW)
    assert (found.calls["a"].returned_at is not None) is same


def test_an_asserted_number_is_a_number() -> None:
    text = comes_in("a", 0.0, "4711").replace(
        "INVITE a uri", f"INVITE a P-Asserted-Identity=<sip:{CALLER}@x> uri"
    )
    assert judged(text + goes_out("o", 100.0), WINDOW).calls["a"].returned_by == "102"


def test_forwarding_to_a_missed_caller_is_no_return() -> None:
    """Another caller's call is handed on to the mobile of somebody whose call was missed."""
    forwarded = comes_in("b", 50.0, "+49301119999").replace(
        "pbx>101 INVITE b-a uri=sip:101@10.9.1.101:5060",
        f"pbx>trunk INVITE b-a uri=sip:{CALLER}@203.0.113.5",
    )
    forwarded = forwarded.replace("101>pbx 486 b-a", "trunk>pbx 486 b-a")
    forwarded = forwarded.replace("pbx>101 ACK b-a", "pbx>trunk ACK b-a")
    found = judged(comes_in("a", 0.0) + forwarded, WINDOW)
    assert found.calls["a"].returned_at is None
    assert found.listed() == ["a", "b"]


def test_a_call_that_the_pbx_begins_returns_it() -> None:
    """Click to call: first the agent's phone, then the customer."""
    found = judged(
        comes_in("a", 0.0)
        + f"""
        100.0 pbx>105 INVITE o uri=sip:105@10.9.1.105:5060 from={CALLER}
        100.1 105>pbx 180 o
        102.0 105>pbx 200 o
        102.1 pbx>105 ACK o
        102.2 pbx>trunk INVITE o-t uri=sip:{CALLER}@203.0.113.5 from=+4930555000
        102.3 trunk>pbx 486 o-t
        102.4 pbx>trunk ACK o-t
        103.0 pbx>105 BYE o
        103.1 105>pbx 200 o-bye
        """,
        WINDOW,
    )
    assert found.calls["a"].returned_at is not None


@pytest.mark.parametrize("side", ["trunk", "phone"])
def test_only_one_side_of_the_returning_call_in_view(side: str) -> None:
    lines = [
        line for line in goes_out("o", 100.0).splitlines() if (" o-t" in line) == (side == "trunk")
    ]
    found = judged(comes_in("a", 0.0) + "\n".join(lines), WINDOW)
    assert found.calls["a"].returned_at == pytest.approx(EPOCH + 100.0, abs=0.01)
    assert found.calls["a"].returned_by == ("102" if side == "phone" else "+4930555000")


def test_without_networks_a_phone_that_never_registered_returns_it() -> None:
    config = WINDOW.replace(NETWORKS, LOCAL)
    assert judged(comes_in("a", 0.0) + goes_out("o", 100.0), config).listed() == []


def test_called_back_before_the_missed_call_is_judged() -> None:
    """A verdict waits for what may still change it; somebody is quicker."""
    text = f"""
    0.0 trunk>pbx INVITE a uri=sip:30101@10.9.0.1 from={CALLER}
    0.001 pbx>trunk 100 a
    0.005 pbx>101 INVITE a-a uri=sip:101@10.9.1.101:5060 from={CALLER}
    0.1 101>pbx 180 a-a
    0.11 pbx>trunk 180 a
    8.0 trunk>pbx CANCEL a
    8.001 pbx>trunk 200 a cancel
    8.002 pbx>trunk 487 a
    8.003 trunk>pbx ACK a
    8.005 pbx>101 CANCEL a-a
    8.006 101>pbx 200 a-a cancel
    8.007 101>pbx 487 a-a
    8.008 pbx>101 ACK a-a
    8.1 102>pbx INVITE o uri=sip:90{CALLER[1:]}@10.9.0.1
    8.101 pbx>102 100 o
    8.105 pbx>trunk INVITE o-t uri=sip:{CALLER}@203.0.113.5
    8.2 trunk>pbx 486 o-t
    8.21 pbx>trunk ACK o-t
    8.22 pbx>102 486 o
    8.23 102>pbx ACK o
    """
    found = judged(text, WINDOW)
    assert found.outcome("a") == "abandoned"
    assert found.records["a"]["returned_at"] == pytest.approx(EPOCH + 8.105, abs=0.01)
    assert found.records["a"]["returned_by"] == "102"
    assert found.listed() == []


def test_answered_calls_and_rejected_ones_are_not_missed() -> None:
    rejected = """
    100.0 trunk>pbx INVITE r uri=sip:30101@10.9.0.1 from=+49301119999
    100.001 pbx>trunk 100 r
    100.01 pbx>trunk 607 r
    100.02 trunk>pbx ACK r
    """
    found = judged(comes_in("a", 0.0, end="answered") + rejected, WINDOW)
    assert found.outcome("r") == "rejection_list"
    assert found.missed.missed == 0
    assert found.listed() == []


# --- everywhere the same ------------------------------------------------------------------------


def test_the_report_the_metrics_and_the_records_tell_of_the_same_calls() -> None:
    """A Tuesday evening from 22:13:20 UTC on; from 22:30 on it is closed."""
    config = (
        NETWORKS
        + """
    rejection.codes = [403]
    callback.feature_codes = ["*66"]
    [hours]
    timezone = "UTC"
    [hours.weekly]
    tue = "08:00-22:30"
    """
    )
    leaves = """
    {0} trunk>pbx INVITE {1} uri=sip:30101@10.9.0.1 from={2}
    {0}01 pbx>trunk 100 {1}
    {0}05 pbx>101 INVITE {1}-a uri=sip:101@10.9.1.101:5060 from={2}
    {0}2 101>pbx 180 {1}-a
    {0}21 pbx>trunk 180 {1}
    {3} trunk>pbx CANCEL {1}
    {3}01 pbx>trunk 200 {1} cancel
    {3}01 pbx>trunk 487 {1}
    {3}02 pbx>101 CANCEL {1}-a
    {3}03 101>pbx 200 {1}-a cancel
    {3}03 101>pbx 487 {1}-a
    """
    found = judged(
        comes_in("busy", 10, "+49301110001")
        + leaves.format("60.", "brief", "+49301110002", "62.")
        + leaves.format("120.", "hidden", "anonymous", "140.")
        + leaves.format("180.", "left", "+49301110003", "200.")
        + comes_in("talked", 240, "+49301110004", end="answered")
        + """
        300 trunk>pbx INVITE listed uri=sip:30101@10.9.0.1 from=+49301110005
        300.002 pbx>trunk 403 listed
        360 trunk>pbx INVITE asks uri=sip:*66@10.9.0.1 from=+49301110003
        360.1 pbx>trunk 200 asks
        360.2 trunk>pbx ACK asks
        363 pbx>trunk BYE asks
        363.1 trunk>pbx 200 asks-bye
        """
        + goes_out("back", 420, "+49301110001")
        + comes_in("closed", 1200, "+49301110006"),
        config,
    )
    outcomes = {label: found.outcome(label) for label in found.calls}
    assert outcomes == {
        "busy": "agent_busy", "brief": "briefly_abandoned", "hidden": "abandoned",
        "left": "abandoned", "talked": "answered", "listed": "rejection_list",
        "asks": "callback", "back": "answered", "closed": "outside_hours",
    }  # fmt: skip
    missed = {"busy", "brief", "hidden", "left", "closed"}
    to_be_called = ["brief", "left", "closed"]
    assert found.listed() == to_be_called

    report = AgentReport(RecordStyle(), UTC, networks_configured=True)
    for call in found.calls.values():
        report.call(call)
    assert report.missed_count == len(missed)
    shown = report.record()
    assert shown["missed"] == len(missed)
    ids = {found.id(label): label for label in found.records}
    assert [ids[record["id"]] for record in shown["not_returned"]] == to_be_called
    requested = [ids[r["id"]] for r in shown["not_returned"] if r["callback_requested"]]
    assert requested == ["left"]

    readings = {
        reading.family.name.removeprefix("sipwatch_"): reading.values[()]
        for reading in missed_readings(found.missed, EPOCH + 1300)
    }
    assert readings == {
        "missed_calls_total": len(missed), "missed_calls_hidden_total": 1,
        "missed_calls_returned_total": 1, "missed_calls_never_returned_total": 0,
        "missed_calls_pending": len(to_be_called), "callback_requests_total": 1,
    }  # fmt: skip
    later = {
        reading.family.name.removeprefix("sipwatch_"): reading.values[()]
        for reading in missed_readings(found.missed, EPOCH + 90_000)
    }
    assert later["missed_calls_never_returned_total"] == len(to_be_called)
    assert later["missed_calls_pending"] == 0
