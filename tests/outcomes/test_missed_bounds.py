"""Whatever is missed and returned: the sums agree, and memory is bounded."""

from __future__ import annotations

import gc
from typing import NamedTuple
from weakref import ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.calls.types import Attempt, Call, Verdict
from sipwatch.config import parse_toml
from sipwatch.net.types import Datagram
from sipwatch.outcomes import missed as module
from sipwatch.outcomes.missed import MissedCalls
from sipwatch.sip.message import parse, render

TRUNK, PBX = (b"\xcb\x00\x71\x05", 5060), (b"\x0a\x09\x00\x01", 5060)
WINDOW = 100.0


class Step(NamedTuple):
    """After `gap` seconds: a missed call of this number, or a call to it."""

    gap: float
    number: int
    returns: bool


def attempt_of(serial: int, at: float, caller: str, called: str) -> Attempt:
    headers = [
        (b"Via", b"SIP/2.0/UDP h;branch=z9hG4bK%d" % serial),
        (b"From", f"<sip:{caller}@h>;tag={serial}".encode()),
        (b"To", f"<sip:{called}@h>".encode()),
        (b"Call-ID", b"%d@h" % serial),
        (b"CSeq", b"1 INVITE"),
    ]
    message = parse(render(f"INVITE sip:{called}@h SIP/2.0".encode(), headers))
    packet = Datagram(at, TRUNK, PBX, "UDP", message.raw, "play", serial)
    return Attempt(serial, packet, message, message)


def missed_call(serial: int, at: float, caller: str) -> Call:
    root = attempt_of(serial, at, caller, "30101")
    root.role, root.direction, root.ended_at = "caller", "inbound", at + 1.0
    call = root.call = Call(serial, root)
    call.verdict = Verdict("no_answer", "user", None, "correlated", (), "call/6")
    return call


def returning(serial: int, at: float, number: str) -> Attempt:
    root = attempt_of(serial, at, "102", number)
    root.role, root.direction = "agent", "outbound"
    root.call = Call(serial, root)
    return root


def fresh() -> MissedCalls:
    config = parse_toml(f"[callback]\nreturn_window_seconds = {WINDOW}")
    return MissedCalls(config.hours, config.callback, True, lambda address: False)


STEPS = st.lists(
    st.builds(
        Step,
        st.floats(0.0, 60.0, width=32),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=60,
)


def number_of(step: Step) -> str:
    return "anonymous" if step.number == 0 else f"+4930111000{step.number}"


@settings(deadline=None)
@given(STEPS)
def test_the_sums_agree(steps: list[Step]) -> None:
    """Against a plain list of what was missed and when it was called back."""
    watch, now = fresh(), 1000.0
    expected: list[tuple[str, float, bool]] = []
    for serial, step in enumerate(steps, 1):
        now += step.gap + 2.0
        number = number_of(step)
        if step.returns:
            watch.attempt(returning(serial, now, number))
            expected = [
                (who, ended, back or (who == number != "anonymous" and now - ended <= WINDOW))
                for who, ended, back in expected
            ]
        else:
            watch.call(missed_call(serial, now - 1.0, number), now)
            expected.append((number, now, False))
    pending = watch.pending(now)
    named = [row for row in expected if row[0] != "anonymous"]
    assert watch.missed == len(expected)
    assert watch.hidden == len(expected) - len(named)
    assert watch.returned == sum(back for _, _, back in named)
    assert pending == sum(not back and now - ended <= WINDOW for _, ended, back in named)
    assert watch.never_returned == sum(
        not back and now - ended > WINDOW for _, ended, back in named
    )
    assert [missed.caller for missed in watch.not_returned()] == [
        who for who, _, back in named if not back
    ]


@settings(deadline=None)
@given(STEPS)
def test_any_sequence_keeps_memory_bounded(steps: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_MISSED", 5)
        patch.setattr(module, "MOST_RETURNING", 3)
        watch, now = fresh(), 1000.0
        for serial, step in enumerate(steps, 1):
            now += step.gap
            if step.returns:
                watch.attempt(returning(serial, now, number_of(step)))
            else:
                watch.call(missed_call(serial, now - 1.0, number_of(step)), now)
            entries = watch.entries()
            assert entries["callers"] <= 5
            assert entries["returning"] <= 3
            # Those that wait, and as many whose window passed.
            assert entries["missed"] <= 2 * 5


def test_the_oldest_is_forgotten_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MISSED", 3)
    watch = fresh()
    for serial in range(1, 6):
        watch.call(missed_call(serial, 1000.0 + serial, f"+4930111000{serial}"), 1002.0 + serial)
    assert [missed.invite.call_id for missed in watch.not_returned()] == [b"3@h", b"4@h", b"5@h"]
    assert watch.forgotten == 2
    assert watch.missed == 5


def test_calls_themselves_are_not_kept() -> None:
    watch = fresh()
    call = missed_call(1, 1000.0, "+49301110001")
    gone = ref(call)
    watch.call(call, 1002.0)
    del call
    gc.collect()
    assert gone() is None
    watch.attempt(returning(2, 1010.0, "+49301110001"))
    assert watch.returned == 1


def test_a_call_that_is_still_held_says_that_it_was_returned() -> None:
    watch = fresh()
    call = missed_call(1, 1000.0, "+49301110001")
    watch.call(call, 1002.0)
    back = returning(2, 1010.0, "+49301110001")
    watch.attempt(back)
    assert call.returned_at == 1010.0
    assert back.call is not None
    assert back.call.returns is not None
    assert back.call.returns.call_id == b"1@h"
