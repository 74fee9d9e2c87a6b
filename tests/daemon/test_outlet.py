"""Writing in a thread of its own: what is lost when it cannot write, and that it resumes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sipwatch.daemon import outlet as module
from sipwatch.daemon.outlet import Outlet
from sipwatch.sinks.sink import SinkError
from sipwatch.sinks.store import UnreadableRecords


class Sink:
    """Keeps lines; fails while it is told to."""

    def __init__(self) -> None:
        self.attempts: list[str] = []
        self.calls: list[str] = []
        self.trouble: SinkError | None = None
        self.opened = 0
        self.closed = 0
        self.is_stale = False
        self.gate = threading.Event()
        self.gate.set()
        self.expired_before: list[float] = []

    def open(self) -> Sink:
        self.opened += 1
        self.is_stale = False
        return self

    def write(self, attempts: list[str], calls: list[str]) -> None:
        self.gate.wait(10)
        if self.trouble is not None:
            raise self.trouble
        self.attempts += attempts
        self.calls += calls

    def expire(self, before: float, max_bytes: int) -> int:
        self.expired_before.append(before)
        return 3

    @property
    def stored_bytes(self) -> int:
        return 77

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.01)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.02)


@contextmanager
def writing(sink: Sink, **options: int) -> Iterator[Outlet]:
    outlet = Outlet(
        "test",
        sink.open,
        retention_days=30,
        max_bytes=1000,
        clock=lambda: 100 * 86_400.0,
        **options,
    )
    outlet.start()
    try:
        yield outlet
    finally:
        sink.gate.set()
        outlet.finish()
        outlet.join(10)


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.005)


def test_what_is_put_is_written() -> None:
    sink = Sink()
    with writing(sink) as outlet:
        for n in range(5000):
            outlet.put(f"a{n}", is_call=False)
            outlet.put(f"c{n}", is_call=True)
    assert sink.attempts == [f"a{n}" for n in range(5000)]
    assert sink.calls == [f"c{n}" for n in range(5000)]
    assert (outlet.written, outlet.dropped, outlet.waiting) == (10_000, 0, 0)
    assert sink.closed == 1


def test_old_ones_are_seen_to() -> None:
    sink = Sink()
    with writing(sink) as outlet:
        wait_for(lambda: outlet.expired)
    assert sink.expired_before[0] == 70 * 86_400.0
    assert (outlet.expired, outlet.stored_bytes) == (3, 77)


def test_trouble_is_counted_said_once_and_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sipwatch")
    logging.getLogger("sipwatch").propagate = True
    sink = Sink()
    with writing(sink, most_waiting=100) as outlet:
        outlet.put("first", is_call=False)
        wait_for(lambda: outlet.written == 1)
        sink.trouble = SinkError("records.sqlite: database or disk is full")
        for n in range(40):
            outlet.put(f"{n:010}", is_call=False)
        wait_for(lambda: outlet.errors >= 5)
        assert (outlet.dropped, outlet.is_writable) == (30, False)
        sink.trouble = None
        wait_for(lambda: outlet.is_writable)
        wait_for(lambda: outlet.waiting == 0)
        outlet.put("last", is_call=False)
    assert sink.attempts == ["first", *(f"{n:010}" for n in range(10)), "last"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "database or disk is full" in caplog.records[0].getMessage()
    assert "30 were lost" in caplog.records[1].getMessage()


def test_putting_never_waits_for_a_disk() -> None:
    sink = Sink()
    sink.gate.clear()
    with writing(sink, most_waiting=10_000) as outlet:
        for n in range(2000):
            outlet.put(f"{n:010}", is_call=False)
        # All of it was put while the first write has not come back.
        assert outlet.written == 0
        assert outlet.dropped == 1000
        sink.gate.set()
    assert outlet.written == 1000


def test_a_sink_that_cannot_be_opened_is_tried_again() -> None:
    sink = Sink()
    tries = []

    def open_later() -> Sink:
        tries.append(1)
        if len(tries) < 4:
            raise SinkError("no such directory")
        return sink.open()

    outlet = Outlet("test", open_later, retention_days=1, max_bytes=1000)
    outlet.put("x", is_call=False)
    outlet.start()
    wait_for(lambda: outlet.written)
    outlet.finish()
    outlet.join(10)
    assert (len(tries), outlet.errors, sink.attempts) == (4, 3, ["x"])


def test_a_file_that_went_away_is_made_anew() -> None:
    sink = Sink()
    with writing(sink) as outlet:
        outlet.put("x", is_call=False)
        wait_for(lambda: outlet.written == 1)
        sink.is_stale = True
        outlet.put("y", is_call=False)
        wait_for(lambda: outlet.written == 2)
    assert (sink.opened, sink.closed) == (2, 2)


def test_records_that_nobody_takes_do_not_stop_the_others() -> None:
    sink = Sink()
    with writing(sink) as outlet:
        sink.trouble = UnreadableRecords("malformed")
        outlet.put("bad", is_call=False)
        wait_for(lambda: outlet.unreadable == 1)
        sink.trouble = None
        outlet.put("good", is_call=False)
        wait_for(lambda: outlet.written == 1)
    assert sink.attempts == ["good"]


def test_the_end_does_not_wait_for_a_dead_disk() -> None:
    sink = Sink()
    sink.trouble = SinkError("disk full")
    with writing(sink) as outlet:
        outlet.put("x", is_call=False)
        wait_for(lambda: outlet.errors)
        outlet.finish()
        outlet.join(10)
        assert outlet.waiting == 1
