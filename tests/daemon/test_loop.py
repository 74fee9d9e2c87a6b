"""The capture loop on a source that says what it is told to."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from threading import Thread

import pytest
from call_flows import Leg, in_order

from sipwatch.capture.live import CaptureEvent, InterfaceStats, LiveStats
from sipwatch.config import Config, parse_toml
from sipwatch.daemon.desk import Page
from sipwatch.daemon.loop import Loop
from sipwatch.daemon.recorder import Recorder
from sipwatch.daemon.self_metrics import SelfReport
from sipwatch.daemon.signals import Wakeup
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch
from sipwatch.sinks.record import PLAIN

NOW = 1_776_934_800.0


class Told:
    """A live source (`LiveSource`) without packets; its numbers are set by the test."""

    def __init__(self) -> None:
        self.decoder = FrameDecoder()
        self.interface = InterfaceStats(
            name="eth0",
            state="listening",
            packets=0,
            kernel_drops=0,
            interface_drops=0,
            freezes=0,
            snapped=0,
            inflated=0,
            first_time=0.0,
            last_time=0.0,
            ring_bytes=0,
        )
        self.filters: list[tuple[object, ...]] = []
        self._reader, self._writer = os.pipe()

    def open(self) -> None: ...

    def start(self) -> None: ...

    def fileno(self) -> int:
        return self._reader

    def poll(self, timeout: float) -> Batch:
        return []

    def now(self) -> float:
        return NOW

    def settle_clock(self) -> None: ...

    def set_filter(
        self, ports: Iterable[int | tuple[int, int]], tunnels: Iterable[str] = ()
    ) -> None:
        self.filters.append(tuple(ports))

    def stats(self) -> LiveStats:
        return LiveStats((self.interface,), None, 0.0)

    def events(self) -> list[CaptureEvent]:
        return []

    def drain(self) -> Batch:
        return []

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def source() -> Iterator[Told]:
    told = Told()
    yield told
    told.close()


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield Wakeup()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def loop_of(source: Told, wakeup: Wakeup, again: Config | None = None) -> Loop:
    config = parse_toml('local_addresses = ["10.9.0.1"]\n')
    return Loop(
        config,
        source,
        Recorder((), PLAIN),
        None,
        wakeup,
        report=SelfReport(reloaded_at=0.0),
        reread=lambda: again or config,
    )


def test_a_scrape_does_not_wait_for_the_end_of_a_batch(source: Told, wakeup: Wakeup) -> None:
    loop = loop_of(source, wakeup)
    legs = [
        Leg(call_id=f"{n}", branch=f"z9hG4bK-{n}").request(n / 1e4, "INVITE") for n in range(1_000)
    ]
    pages: list[Page] = []
    asker = Thread(target=lambda: pages.append(loop.desk.ask("")))
    asker.start()
    while not loop.desk.wanted:
        time.sleep(0.001)
    loop._take(in_order(legs))
    asker.join(10)
    [(_, page)] = pages
    requests = re.search(rb'\nsipwatch_sip_requests_total\{method="INVITE"\} (\d+)', page)
    assert requests is not None
    assert 0 < int(requests[1]) <= 64
    assert loop.pipeline.tracker.in_progress == 1_000


def test_garbage_waits_while_many_calls_are_open(source: Told, wakeup: Wakeup) -> None:
    loop = loop_of(source, wakeup)
    begun = loop._sweep_at

    def sweeps(now: float) -> bool:
        loop._sweep(begun + now)
        return loop._sweep_at == begun + now

    assert not sweeps(30)
    assert sweeps(61)
    legs = [
        Leg(call_id=f"{n}", branch=f"z9hG4bK-{n}").request(n / 1e4, "INVITE") for n in range(1_200)
    ]
    loop._follow(in_order(legs))
    assert not sweeps(300)
    # At the latest after ten minutes.
    assert sweeps(662)


@pytest.mark.parametrize("what", ["kernel_drops", "interface_drops"])
def test_calls_and_devices_hear_of_dropped_packets(source: Told, wakeup: Wakeup, what: str) -> None:
    loop = loop_of(source, wakeup)
    loop._look(0.0)
    loop._follow(in_order([Leg().request(0, "INVITE")]))
    (attempt,) = loop.pipeline.tracker._open.values()
    assert not attempt.losses
    assert loop.pipeline.devices.lost_at is None
    source.interface = replace(source.interface, **{what: 3})
    loop._look(1.0)
    assert loop.pipeline.devices.lost_at == NOW
    assert attempt.losses
