"""Another configuration for a pipeline in which calls are in progress."""

from __future__ import annotations

from ipaddress import ip_address

from call_flows import AGENT, PBX, PHONE, START, Leg, abandoned, answered, in_order

from sipwatch.calls.types import AttemptEnded, CallEnded
from sipwatch.config import Config, parse_toml
from sipwatch.daemon.reload import waits_for_restart, with_addresses
from sipwatch.pipeline import Pipeline

BEFORE = 'local_addresses = ["10.9.0.1"]\n'


def outcomes(pipeline: Pipeline, packets: list) -> list[tuple[str, str]]:
    events = pipeline.feed(packets)
    events += pipeline.advance(packets[-1].time + 60)
    return [
        (event.attempt.peer, event.attempt.verdict.outcome)
        for event in events
        if isinstance(event, AttemptEnded)
    ]


def test_a_call_in_progress_is_judged_by_what_holds_at_its_end() -> None:
    packets = in_order([abandoned(after=9)])
    first, rest = packets[:2], packets[2:]
    assert outcomes(Pipeline(parse_toml(BEFORE)), packets) == [("other", "abandoned")]
    pipeline = Pipeline(parse_toml(BEFORE))
    pipeline.feed(first)
    assert pipeline.tracker.in_progress == 1
    pipeline.reconfigure(parse_toml(BEFORE + "[timers]\nbrief_abandon_seconds = 20\n"))
    assert outcomes(pipeline, rest) == [("other", "briefly_abandoned")]


def test_peers_are_those_of_the_calls_beginning() -> None:
    pipeline = Pipeline(parse_toml(BEFORE))
    one, two = abandoned(), abandoned(100, call_id="b", branch="z9hG4bK-b")
    assert outcomes(pipeline, in_order([one])) == [("other", "abandoned")]
    pipeline.reconfigure(parse_toml(BEFORE + '[peers]\ncarrier = ["10.9.0.50/32"]\n'))
    assert outcomes(pipeline, in_order([two])) == [("carrier", "abandoned")]


def test_limits_and_ring_timers_change() -> None:
    pipeline = Pipeline(parse_toml(BEFORE))
    more = "[timers]\nring_timeouts_seconds = [9]\n[tracker]\nmax_entries = 100\n"
    pipeline.reconfigure(parse_toml(BEFORE + more))
    assert pipeline.tracker.settings.max_attempts == 100
    many = [
        Leg(call_id=f"c{n}", branch=f"z9hG4bK-{n}").request(n / 100, "INVITE") for n in range(150)
    ]
    pipeline.feed(in_order(many))
    assert pipeline.tracker.entries()["attempts"] <= 100
    timed_out = Leg(call_id="t", caller=PBX, callee=AGENT, branch="z9hG4bK-t")
    timed_out.request(10, "INVITE").reply(10.1, "180 Ringing").request(19.1, "CANCEL")
    timed_out.reply(19.2, "200 OK", method="CANCEL").reply(19.2, "487 Terminated")
    assert ("other", "no_answer") in outcomes(pipeline, in_order([timed_out]))


def calls_of(pipeline: Pipeline, packets: list) -> list[str]:
    events = pipeline.feed(packets) + pipeline.advance(packets[-1].time + 60)
    return [event.call.verdict.outcome for event in events if isinstance(event, CallEnded)]


def test_hours_and_callbacks_change() -> None:
    # The flows begin on a Thursday at 12:00 in Istanbul.
    closed = '[hours]\ntimezone = "Europe/Istanbul"\n[hours.weekly]\nthu = "13:00-18:00"\n'
    pipeline = Pipeline(parse_toml(BEFORE), sheds=True)
    one, two = abandoned(), abandoned(100, call_id="b", branch="z9hG4bK-b")
    assert calls_of(pipeline, in_order([one])) == ["abandoned"]
    pipeline.reconfigure(parse_toml(BEFORE + closed))
    assert calls_of(pipeline, in_order([two])) == ["outside_hours"]
    pipeline.reconfigure(parse_toml(BEFORE + '[callback]\nfeature_codes = ["101"]\n'))
    three = abandoned(200, call_id="c", branch="z9hG4bK-c")
    assert calls_of(pipeline, in_order([three])) == ["callback"]
    # And what it is asked by a header that the daemon otherwise lets go of.
    asks = '[callback]\nheaders = ["Supported: ^call-back"]\n'
    pipeline.reconfigure(parse_toml(BEFORE + asks))
    four = abandoned(300, call_id="d", branch="z9hG4bK-d", headers="Supported: call-back\r\n")
    assert calls_of(pipeline, in_order([four])) == ["callback"]


def test_headers_that_tie_legs_together_change() -> None:
    """Caller and agent share nothing but a header, and begin too far apart for time to tell."""

    def legs(number: int) -> list[Leg]:
        header = f"X-Ours: {number}\r\n"
        at = 100 * number
        first = answered(at, call_id=f"a{number}", branch=f"z9hG4bK-a{number}", headers=header)
        second = Leg(
            call_id=f"b{number}",
            branch=f"z9hG4bK-b{number}",
            caller=PBX,
            callee=AGENT,
            from_="<sip:anonymous@10.9.0.1>",
            headers=header,
        )
        second.request(at + 9, "INVITE").reply(at + 9.1, "486 Busy Here").request(at + 9.2, "ACK")
        return [first, second]

    pipeline = Pipeline(parse_toml(BEFORE + "[correlation]\ndisabled = ['time', 'ends']\n"))
    sizes = []
    for number, headers in enumerate(("", '[correlation]\nheaders = ["X-Ours"]\n')):
        pipeline.reconfigure(parse_toml(BEFORE + headers))
        events = pipeline.feed(in_order(legs(number))) + pipeline.advance(START + 100 * number + 90)
        sizes.append([len(e.call.attempts) for e in events if isinstance(e, CallEnded)])
    assert sizes == [[1, 1], [2]]


def test_the_hosts_own_addresses_change_for_registrations_too() -> None:
    pipeline = Pipeline(parse_toml(""))
    pipeline.reconfigure(parse_toml(BEFORE))
    assert pipeline.registrations.local == frozenset((PBX[0],))


def test_what_takes_a_restart() -> None:
    old = parse_toml("")
    assert waits_for_restart(old, parse_toml("ports = [5070]\n[peers]\nx = ['10.0.0.0/8']\n")) == []
    changed = parse_toml(
        "interfaces = ['lo']\n[web]\nlisten = '127.0.0.1:1'\n"
        "[records]\ndirectory = '/x'\njson_lines = true\n[correlation]\ndisabled = ['time']\n"
    )
    assert waits_for_restart(old, changed) == [
        "interfaces",
        "web.listen",
        "records.directory",
        "records.json_lines",
        "correlation.disabled",
    ]


def test_addresses_only_where_none_are_configured() -> None:
    own = frozenset((PBX[0], PHONE[0]))
    found = with_addresses(Config(), own)
    assert [str(address) for address in found.local_addresses] == ["10.9.0.1", "10.9.0.50"]
    configured = parse_toml('local_addresses = ["192.0.2.1"]\n')
    assert with_addresses(configured, own) is configured
    assert ip_address("192.0.2.1") in configured.local_addresses
