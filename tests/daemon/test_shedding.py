"""A pipeline that lets go of what has ended: the same answers in less memory."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest
from call_flows import START, answered, in_order

from sipwatch.calls.types import Attempt, AttemptEnded, Call, CallEnded, Event
from sipwatch.capture.files import CaptureFiles
from sipwatch.config import Config, parse_toml
from sipwatch.net.types import Batch
from sipwatch.pipeline import Pipeline
from sipwatch.sinks.line import attempt_line, call_line

PCAPS = Path(__file__).parents[2] / "pcaps"
CAPTURES = sorted(PCAPS.rglob("*.pcap")) + sorted(PCAPS.rglob("*.pcap.gz"))
PBX = parse_toml('local_addresses = ["10.9.0.1"]\n')
#: Bytes of an answered call that goes on: messages, facts and indexes (3,500; 5,800 at first).
MOST_BYTES_OF_A_LEG = 4_000


def lines_of(events: list[Event]) -> list[str]:
    """What the daemon writes of them, at once."""
    found = []
    for event in events:
        if isinstance(event, CallEnded):
            found.append(call_line(event.call))
        elif not isinstance(event, AttemptEnded) or event.attempt.answered_at is None:
            found.append(attempt_line(event.attempt))
    return found


def records(batches: list[Batch], *, sheds: bool) -> list[str]:
    pipeline = Pipeline(Config(), sheds=sheds)
    found = []
    for batch in batches:
        # Small pieces, as the daemon feeds them: what has ended is let go of with the next.
        for start in range(0, len(batch), 8):
            found += lines_of(pipeline.feed(batch[start : start + 8]))
    return found + lines_of(pipeline.finish(pipeline.tracker.now + 1, "end_of_capture"))


def test_there_are_captures() -> None:
    assert len(CAPTURES) > 100


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_same_records(path: Path) -> None:
    batches = list(CaptureFiles([str(path)]).batches())
    assert records(batches, sheds=True) == records(batches, sheds=False)


def calls(number: int, every: float, talk: float) -> Batch:
    """Full calls one after the other, padded with what real messages carry."""
    more = f"Allow: BYE, INVITE, ACK, CANCEL\r\nSupported: timer\r\nX-Pad: {100 * 'x'}\r\n"
    legs = [
        answered(
            n * every,
            talk,
            call_id=f"{n}@10.9.0.50",
            branch=f"z9hG4bK-{n}",
            headers=f"User-Agent: Snom 4.5\r\n{more}",
            server=f"Server: PBX 1\r\n{more}",
        )
        for n in range(number)
    ]
    return in_order(legs)


def feed(pipeline: Pipeline, packets: Batch) -> None:
    """In small pieces of copies, which are free when nobody keeps them."""
    for start in range(0, len(packets), 16):
        pipeline.feed(
            [
                one._replace(payload=bytes(bytearray(one.payload)))
                for one in packets[start : start + 16]
            ]
        )


def refers_to_itself(attempt: Attempt) -> bool:
    """Whether only the collector of cycles could free it."""
    seen: dict[int, object] = {}
    left: list[object] = [attempt]
    while left:
        for one in gc.get_referents(left.pop()):
            if one is attempt:
                return True
            if isinstance(one, (Attempt, Call, list, tuple, dict)) and id(one) not in seen:
                seen[id(one)] = one
                left.append(one)
    return False


@pytest.mark.parametrize("sheds", [True, False])
def test_what_is_left_of_legs_that_have_ended(sheds: bool) -> None:
    gc.collect()
    others = {id(one) for one in gc.get_objects() if isinstance(one, Attempt)}
    pipeline = Pipeline(PBX, sheds=sheds)
    feed(pipeline, [one for one in calls(1_000, 0.01, 1.0) if one.time < START + 9])
    pipeline.feed([])
    gc.collect()
    attempts = [one for one in gc.get_objects() if isinstance(one, Attempt)]
    over = [one for one in attempts if id(one) not in others and one.dialog_over]
    assert 300 < pipeline.tracker.entries()["attempts"] < 700
    assert len(over) > 100  # the latest ends are compared with, whoever's they are
    texts = [one.invite.raw for one in over if one.invite is not None]
    assert all((b"\n" in text) is not sheds for text in texts)
    assert all((one.answer is None) is sheds for one in over)
    # Without the collector: it has no quiet moment where thousands of calls end each second.
    tied = sum(refers_to_itself(one) for one in over)
    assert tied <= 1 if sheds else tied > 100


def test_an_open_call_takes_little() -> None:
    pipeline = Pipeline(PBX, sheds=True)
    feed(pipeline, calls(50, 0.01, 1.0))
    packets = [
        one._replace(time=one.time + 100)
        for one in calls(800, 0.001, 3_600.0)
        if b" BYE\r\n" not in one.payload
    ]
    gc.collect()
    tracemalloc.start()
    try:
        feed(pipeline, packets)
        pipeline.advance(START + 110)
        pipeline.feed([])
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pipeline.tracker.entries()["attempts"] == 800
    assert held / 800 < MOST_BYTES_OF_A_LEG
