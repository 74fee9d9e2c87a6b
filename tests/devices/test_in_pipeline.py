"""Devices in the pipeline: every spelling reaches them, and portions of packets do not matter."""

from __future__ import annotations

import pytest
from device_play import EPOCH, play
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.calls.types import AttemptEnded, Event
from sipwatch.config import parse_toml
from sipwatch.net.types import Datagram, Unreachable
from sipwatch.pipeline import Pipeline

CALLED = """
0.0 101>pbx REGISTER r expires=20
0.1 pbx>101 401 r
0.2 101>pbx REGISTER r2 like=r auth expires=20
0.3 pbx>101 200 r2 expires=20
1.0 pbx>101 OPTIONS o
1.1 101>pbx 200 o
2.0 102>pbx SUBSCRIBE s Event=dialog
5.0 pbx>101 INVITE i
5.5 pbx>101 INVITE i
6.5 pbx>101 INVITE i
8.5 pbx>101 INVITE i
12.5 pbx>101 INVITE i
15.0 pbx>101 OPTIONS o2
20.5 pbx>101 INVITE i
36.5 pbx>101 INVITE i
50.0 pbx>101 INVITE j
50.5 pbx>101 INVITE j
51.5 pbx>101 INVITE j
53.5 pbx>101 INVITE j
90.0 102>pbx SUBSCRIBE s2 Event=dialog
"""


def compact(payload: bytes) -> bytes:
    for name, short in ((b"Via", b"v"), (b"From", b"f"), (b"To", b"t"), (b"Call-ID", b"i")):
        payload = payload.replace(b"\r\n" + name + b": ", b"\r\n" + short + b": ")
    return payload.replace(b"\r\nContact: ", b"\r\nm: ").replace(b"\r\nCSeq: ", b"\r\ncseq:  ")


def folded(payload: bytes) -> bytes:
    return payload.replace(b"\r\nCSeq: ", b"\r\nCSeq:\r\n ").replace(b"CONTACT", b"Contact")


def bare(payload: bytes) -> bytes:
    return payload.replace(b"\r\n", b"\n")


def plain(payload: bytes) -> bytes:
    return payload


@pytest.mark.parametrize("spelled", [plain, compact, folded, bare])
def test_every_spelling(spelled: object) -> None:
    assert callable(spelled)
    pipeline = Pipeline(parse_toml('local_addresses = ["10.9.0.1"]'))
    items = play(CALLED.partition("2.0")[0])
    pipeline.feed([item._replace(payload=spelled(item.payload)) for item in items])
    assert pipeline.registrations.active(EPOCH + 10) == 1
    assert pipeline.registrations.active(EPOCH + 21) == 0
    assert pipeline.registrations.counts.successful == 1
    (known,) = pipeline.devices.reachability(EPOCH + 2)
    assert known.device == "101"
    assert known.reachable is True
    assert pipeline.sip.requests["REGISTER"] == 2
    assert pipeline.sip.responses["REGISTER", 200] == 1


def said(events: list[Event]) -> list[tuple[object, ...]]:
    return [
        (event.attempt.call_id, event.attempt.device, event.attempt.verdict)
        for event in events
        if isinstance(event, AttemptEnded)
    ]


def run(portions: list[list[Datagram | Unreachable]], ticks: bool) -> list[tuple[object, ...]]:
    pipeline = Pipeline(parse_toml('local_addresses = ["10.9.0.1"]'))
    events: list[Event] = []
    for portion in portions:
        if ticks and portion:
            events += pipeline.advance(portion[0].time - 0.001)
        events += pipeline.feed(portion)
    return said(events + pipeline.finish(EPOCH + 130, "end_of_capture"))


@settings(deadline=None)
@given(st.lists(st.integers(1, 8), min_size=20, max_size=20), st.booleans())
def test_portions_do_not_matter(sizes: list[int], ticks: bool) -> None:
    """One batch, or many, with idle time between: the same is said."""
    items = play(CALLED)
    whole = run([items], ticks=False)
    assert [verdict.cause_hint for _, _, verdict in whole] == [  # type: ignore[attr-defined]
        "device_went_away",
        "registration_expired",
    ]
    portions, rest = [], items
    for size in sizes:
        portions.append(rest[:size])
        rest = rest[size:]
    assert run([*portions, rest], ticks) == whole


def test_a_ping_in_vain_is_no_registration() -> None:
    pipeline = Pipeline(parse_toml(""))
    pipeline.feed(play("0.0 pbx>101 OPTIONS o\n9.0 101>pbx REGISTER r\n9.1 pbx>101 403 r"))
    assert pipeline.registrations.active(EPOCH + 10) == 0
    assert pipeline.registrations.counts.ineffective == 1
    (known,) = pipeline.devices.reachability(EPOCH + 10)
    assert known.reachable is False
