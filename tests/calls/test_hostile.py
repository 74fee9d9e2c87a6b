"""Somebody who wishes us ill: floods, absurd values, and messages made to be slow.

Each flood must leave as many records as the rules of outcomes.md 1 say, bounded state while it
runs and none after it. A guard on CPU time (not a measure of it: a hundred times what is needed)
ends what would run for minutes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from play_runner import Outcome, config_of, run
from playbook import EPOCH, INTERFACE

from sipwatch.config import Config
from sipwatch.net.types import Datagram
from sipwatch.pipeline import Pipeline
from sipwatch.sip.message import SipError, parse, render

TRUNK, PBX, PHONE = (bytes([203, 0, 113, 5]), 5060), (bytes([10, 9, 0, 1]), 5060), (
    bytes([10, 9, 1, 101]), 5060)  # fmt: skip
INVITE = b"INVITE sip:2101@10.9.0.1 SIP/2.0"
MANY = 3000
SMALL = config_of("tracker.max_entries = 100\n")


@contextmanager
def bounded_cpu(seconds: float) -> Iterator[None]:
    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {seconds} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.fixture(autouse=True)
def _guard() -> Iterator[None]:
    with bounded_cpu(20.0):
        yield


def message(
    start: bytes = INVITE, call: bytes = b"c", branch: bytes = b"1", tag: bytes = b"t",
    cseq: bytes = b"1 INVITE", to_tag: bytes = b"", more: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:  # fmt: skip
    return render(
        start,
        [
            (b"Via", b"SIP/2.0/UDP 203.0.113.5:5060;branch=z9hG4bK" + branch),
            (b"From", b"<sip:+49301110000@203.0.113.5>;tag=" + tag),
            (b"To", b"<sip:2101@10.9.0.1>" + (b";tag=" + to_tag if to_tag else b"")),
            (b"Call-ID", call),
            (b"CSeq", cseq),
            *more,
        ],
    )


def sent(payloads: list[bytes], step: float = 0.001, back: bool = False) -> list[Datagram]:
    source, destination = (PBX, TRUNK) if back else (TRUNK, PBX)
    return [
        Datagram(EPOCH + step * n, source, destination, "UDP", p, INTERFACE, n + 1, n % 65536, n)
        for n, p in enumerate(payloads)
    ]


def played(items: list[Datagram], config: Config | None = None) -> Outcome:
    outcome = run(items, config or config_of(), quiet=300.0, batch=100)
    tracker = outcome.pipeline.tracker
    held = {kind: n for kind, n in tracker.entries().items() if kind != "recent"}
    assert not any(held.values()), held
    assert len({id(a) for a in outcome.attempts}) == len(outcome.attempts)
    return outcome


def test_more_calls_than_there_is_room_for() -> None:
    payloads = [message(call=b"c%d" % n, branch=b"%d" % n) for n in range(MANY)]
    items = sent(payloads)
    pipeline_peak = []
    outcome = Outcome(Pipeline(SMALL))
    for item in items:
        outcome.take(outcome.pipeline.feed([item]))
        pipeline_peak.append(outcome.pipeline.tracker.entries()["attempts"])
    assert max(pipeline_peak) == 100
    assert outcome.pipeline.tracker.counts["evictions"] == MANY - 100
    evicted = [a for a in outcome.attempts if a.closed_by == "eviction"]
    assert len(evicted) == MANY - 100
    assert [a.call_id for a in evicted] == [b"c%d" % n for n in range(MANY - 100)], "oldest first"
    outcome.take(outcome.pipeline.finish(items[-1].time, "end_of_capture"))
    assert len(outcome.attempts) == MANY


@pytest.mark.parametrize(
    ("what", "records"),
    [
        ("branches", MANY),
        ("from tags", MANY),
        ("rising CSeq", MANY),
        ("responses of many branches", MANY),
        ("retransmissions", 1),
        ("credentials again and again", 1),
    ],
)
def test_one_call_id_and_thousands_of(what: str, records: int) -> None:
    of = {
        "branches": lambda n: message(branch=b"%d" % n),
        "from tags": lambda n: message(branch=b"%d" % n, tag=b"%d" % n),
        "rising CSeq": lambda n: message(branch=b"%d" % n, cseq=b"%d INVITE" % (n + 1)),
        "responses of many branches": lambda n: message(b"SIP/2.0 180 x", branch=b"%d" % n),
        "retransmissions": lambda n: message(),
        "credentials again and again": lambda n: message(
            branch=b"%d" % n, cseq=b"%d INVITE" % (n + 1), more=((b"Authorization", b"x"),)
        ),
    }[what]
    outcome = played(sent([of(n) for n in range(MANY)]))
    assert len(outcome.attempts) == records
    assert len(outcome.calls) <= records


@pytest.mark.parametrize(
    "flood",
    [
        lambda n: message(branch=b"r%d" % n, cseq=b"%d INVITE" % (n + 2), to_tag=b"z"),
        lambda n: message(b"BYE sip:a SIP/2.0", branch=b"b%d" % n, cseq=b"%d BYE" % (n + 2),
                          to_tag=b"z"),
        lambda n: message(b"INFO sip:a SIP/2.0", branch=b"i%d" % n, cseq=b"%d INFO" % (n + 2),
                          to_tag=b"z"),
        lambda n: message(b"REFER sip:a SIP/2.0", branch=b"i%d" % n, cseq=b"%d REFER" % (n + 2),
                          to_tag=b"z"),
        lambda n: message(b"CANCEL sip:a SIP/2.0", cseq=b"1 CANCEL"),
        lambda n: message(b"ACK sip:a SIP/2.0", branch=b"a%d" % n, cseq=b"1 ACK", to_tag=b"z"),
    ],
    ids=["re-INVITEs", "BYEs", "INFOs", "REFERs", "CANCELs", "ACKs"],
)  # fmt: skip
def test_thousands_of_requests_in_one_dialog(flood: object) -> None:
    assert callable(flood)
    start = sent([message()])
    answer = sent([message(b"SIP/2.0 200 OK", to_tag=b"z")], back=True)
    rest = [i._replace(time=i.time + 1) for i in sent([flood(n) for n in range(MANY)])]
    outcome = played([*start, *answer, *rest])
    assert len(outcome.attempts) == len(outcome.calls) == 1


@pytest.mark.parametrize("status", [100, 180, 183, 200, 302, 401, 407, 486, 487, 603, 699])
def test_one_invite_and_a_hundred_thousand_responses(status: int) -> None:
    number = 100_000 if status == 180 else 5000
    first = sent([message()])
    answers = sent(
        [message(b"SIP/2.0 %d x" % status, to_tag=b"%d" % (n % 2000)) for n in range(number)],
        0.0001, back=True,
    )  # fmt: skip
    outcome = played([*first, *(a._replace(time=a.time + 0.01) for a in answers)])
    assert len(outcome.attempts) == 1
    (attempt,) = outcome.attempts
    assert len(attempt.forks) <= 1000
    assert len(attempt.transmissions) <= 100


def test_thousands_of_replaces_of_one_dialog() -> None:
    more = ((b"Replaces", b"c;to-tag=z;from-tag=t"),)
    payloads = [message()] + [
        message(call=b"r%d" % n, branch=b"r%d" % n, more=more) for n in range(MANY)
    ]
    outcome = played(sent(payloads))
    assert len(outcome.attempts) == MANY + 1
    assert sum(len(call.attempts) for call in outcome.calls) == MANY + 1
    assert max(len(call.attempts) for call in outcome.calls) <= 1000


@pytest.mark.parametrize("user", [b"+4930111", b"anonymous"])
def test_a_thousand_waiting_callers_of_one_number(user: bytes) -> None:
    items = []
    for n in range(1000):
        at = EPOCH + 0.01 * n
        for payload, ends, delay in (
            (message(call=b"c%d" % n, branch=b"%d" % n), (TRUNK, PBX), 0.0),
            (message(call=b"d%d" % n, branch=b"d%d" % n), (PBX, PHONE), 0.003),
        ):
            payload = payload.replace(b"+49301110000", user)
            items.append(
                Datagram(at + delay, *ends, "UDP", payload, INTERFACE, len(items) + 1, 1, 1)
            )
    outcome = played(items)
    assert len(outcome.attempts) == 2000
    assert sum(len(call.attempts) for call in outcome.calls) == 2000


@pytest.mark.parametrize("cseq", [0, 1, 2**31 - 1, 2**31, 2**32, 9_999_999_999])
def test_absurd_cseq(cseq: int) -> None:
    payloads = [
        message(cseq=b"%d INVITE" % cseq),
        message(b"SIP/2.0 486 Busy", cseq=b"%d INVITE" % cseq, to_tag=b"z"),
    ]
    outcome = played(sent(payloads))
    (attempt,) = outcome.attempts
    assert attempt.verdict is not None
    assert attempt.verdict.outcome == "agent_busy"


def test_a_clock_that_is_set_back() -> None:
    before = sent([message(), message(b"SIP/2.0 180 x", to_tag=b"z")])
    after = sent([message(b"SIP/2.0 486 x", to_tag=b"z"), message(b"ACK sip:a SIP/2.0",
                  cseq=b"1 ACK", to_tag=b"z"), message(call=b"d", branch=b"2"),
                  message(b"SIP/2.0 486 x", call=b"d", branch=b"2", to_tag=b"z")])  # fmt: skip
    outcome = played([*before, *(i._replace(time=i.time - 1000.0) for i in after)])
    assert sorted(a.call_id for a in outcome.attempts) == [b"c", b"d"]
    for attempt in outcome.attempts:
        assert attempt.verdict is not None
        assert attempt.verdict.outcome == "agent_busy"
        for seconds in (attempt.ring_duration, attempt.post_dial_delay, attempt.setup_duration):
            assert seconds is None or seconds >= 0


def test_a_clock_that_jumps_by_years() -> None:
    items = sent([message(), message(call=b"d", branch=b"2")])
    items[1] = items[1]._replace(time=EPOCH + 1e8)
    outcome = played(items)
    assert len(outcome.attempts) == 2


#: Heads that cost a careless pattern minutes: nearly 64 KB of something in one place.
BIG = 60_000
SLOW = {
    "spaces behind the status": message(b"sip/2.0 200" + b" " * BIG + b"\rx"),
    "spaces behind the version": message(b"sip/2.0" + b" " * BIG + b"x"),
    "spaces in the request line": message(b"InVITE sip:a" + b" " * BIG + b"SIP/2.1"),
    "spaces in a header": message(more=((b"X :y", b"a" + b" " * BIG + b"b"),)),
    "spaces in a header name": message(more=((b"X" + b" " * BIG + b"y", b"a"),)),
    "spaces in a Reason": message(more=((b"Reason", b"SIP" + b" " * BIG + b"x"),)),
    "spaces behind Server": message(more=((b"Server" + b" " * BIG + b"y", b"a"),)),
    "folded lines": message(more=((b"X", b"a" + b"\r\n \t" * (BIG // 4) + b"b"),)),
    "semicolons in From": message(tag=b"1" + b"; " * (BIG // 2)),
    "quotes in From": message(tag=b'1;a="' + b"\\" * BIG),
    "open quotes in From": message(tag=b"1" + b';a="' * (BIG // 4)),
    "commas in Via": message(branch=b"1" + b",;" * (BIG // 2)),
    "brackets in From": message(tag=b"<" * BIG),
    "Reasons": message(more=((b"Reason", b"SIP;cause=200," * (BIG // 14)),)),
    "headers": message(more=tuple((b"X%d" % n, b"y") for n in range(BIG // 12))),
    "a User-Agent": message(more=((b"User-Agent", b"cisco " * (BIG // 6)),)),
    "a display name": message(more=((b"P-Asserted-Identity", b'"' + b"a\\" * (BIG // 2)),)),
    "a number": message(more=((b"P-Asserted-Identity", b"<sip:" + b"1" * BIG + b"@h>"),)),
    "a session timer": message(more=((b"Session-Expires", b"9" * BIG),)),
    "a Replaces": message(more=((b"Replaces", b"c" * BIG),)),
    "a Call-ID": message(call=b"c" * BIG),
    "a branch": message(branch=b"c" * BIG),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_head_made_to_be_slow(name: str) -> None:
    payload = SLOW[name]
    try:
        read = parse(payload)
    except SipError:
        pass
    else:
        read.reasons()
        assert len(read.index) > 1
        for header in ("server", "user-agent", "x", "from"):
            read.glimpse(header.title())
    refusal = payload.replace(INVITE, b"SIP/2.0 480 x")
    outcome = played([*sent([payload]), *sent([refusal], back=True)])
    assert len(outcome.attempts) <= 1
    for attempt in outcome.attempts:
        assert attempt.verdict is not None
