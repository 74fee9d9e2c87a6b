"""Several live sources as one: interfaces, HEP, and tshark for what only it can decrypt.

Interface: the calls of `sipwatch.capture.live.LiveCapture`, so that whoever follows a capture
need not know how many there are. Datagrams of all sources come in one order of time; each waits
for the slowest source (`Beside.delay`), so that a request that one heard is not followed after
the response that another one heard.

A source beside the interfaces that ends by itself is said once (an event ``failed``), its
interfaces are ``gone``, and the others go on.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.live import CaptureEvent, InterfaceStats, LiveCapture, LiveStats
from sipwatch.capture.merging import Merger
from sipwatch.net.counts import NetCounts
from sipwatch.net.types import Batch

_MAX_EVENTS = 256


class Decoder(Protocol):
    """What is asked of a decoder of frames from outside."""

    @property
    def counts(self) -> NetCounts:
        """What was seen, by what became of it."""

    def finish(self) -> Batch:
        """What still waits for more when the input has ended."""


class LiveSource(Protocol):
    """What live packets come from; `LiveCapture` says what each call does."""

    @property
    def decoder(self) -> Decoder:
        """Who made datagrams of the frames."""

    def open(self) -> None:
        """Opens what needs privileges. Raises `LiveCaptureError`."""

    def start(self) -> None:
        """Begins to receive. Raises `LiveCaptureError`."""

    def fileno(self) -> int:
        """A descriptor that is readable when `poll` has something to do."""

    def poll(self, timeout: float) -> Batch:
        """What has come, in order; an empty batch after ``timeout`` seconds without."""

    def now(self) -> float:
        """The time (epoch seconds) up to which all packets have been returned."""

    def settle_clock(self) -> None:
        """Takes the time as the clock shows it from now on."""

    def set_filter(
        self, ports: Iterable[int | tuple[int, int]], tunnels: Iterable[str] = ()
    ) -> None:
        """Changes ports and tunnels. Raises `LiveCaptureError`."""

    def stats(self) -> LiveStats:
        """What was seen and lost, as of the last poll."""

    def events(self) -> list[CaptureEvent]:
        """What happened since the last call."""

    def drain(self) -> Batch:
        """What is ready or still waits, before an end."""

    def close(self) -> None:
        """Ends the capture."""


class Beside(Protocol):
    """A source beside the interfaces: HEP, tshark."""

    #: Seconds that a packet may take through it.
    delay: float

    def open(self) -> None:
        """Opens what needs privileges. Raises `LiveCaptureError`."""

    def start(self) -> None:
        """Begins to receive."""

    def fileno(self) -> int:
        """A descriptor that is readable when `poll` has something to do."""

    def poll(self, timeout: float) -> Batch:
        """What has come. Raises `LiveCaptureError` when it has ended."""

    def now(self) -> float:
        """The time up to which packets have been returned."""

    def interfaces(self) -> list[InterfaceStats]:
        """Its numbers, by the names that its datagrams have as interface."""

    def net_counts(self) -> NetCounts:
        """What could not be read, and why."""

    def events(self) -> list[CaptureEvent]:
        """What happened since the last call."""

    def close(self) -> None:
        """Ends it."""


class _JoinedDecoder:
    """The counts of all sources together."""

    def __init__(self, capture: LiveCapture | None, beside: Sequence[Beside]) -> None:
        self._capture = capture
        self._beside = beside

    @property
    def counts(self) -> NetCounts:
        """Added up anew each time: asked for a few times a minute."""
        counts = NetCounts()
        if self._capture is not None:
            counts.add(self._capture.decoder.counts)
        for one in self._beside:
            counts.add(one.net_counts())
        return counts

    def finish(self) -> Batch:
        """What still waits for more when the input has ended."""
        return [] if self._capture is None else self._capture.decoder.finish()


class LiveSources:
    """A live capture, or none, and sources beside it."""

    def __init__(self, capture: LiveCapture | None, beside: Sequence[Beside]) -> None:
        """Only takes note of them; ``beside`` must not be empty."""
        self._capture = capture
        self._beside = tuple(beside)
        #: Those that have not ended, with their descriptors.
        self._living: dict[int, Beside] = {}
        self._merger = Merger(max(one.delay for one in beside))
        self._epoll: select.epoll | None = None
        self._events: deque[CaptureEvent] = deque(maxlen=_MAX_EVENTS)
        self._now = 0.0
        self.decoder: Decoder = _JoinedDecoder(capture, self._beside)

    def open(self) -> None:
        """Opens them all, or none. Raises `LiveCaptureError`."""
        self._epoll = select.epoll()
        try:
            if self._capture is not None:
                self._capture.open()
                self._epoll.register(self._capture.fileno(), select.EPOLLIN)
            for one in self._beside:
                one.open()
                self._living[one.fileno()] = one
                self._epoll.register(one.fileno(), select.EPOLLIN)
        except LiveCaptureError:
            self.close()
            raise

    def start(self) -> None:
        """Begins to receive. Raises `LiveCaptureError`."""
        if self._capture is not None:
            self._capture.start()
        for one in self._living.values():
            one.start()

    def fileno(self) -> int:
        """One descriptor that is readable when `poll` has something to do.

        What waits for its turn does not show there: poll every tenth of a second all the same.
        """
        return self._opened().fileno()

    def poll(self, timeout: float) -> Batch:
        """What has come and waited for the slowest source; raises when no source is left."""
        deadline = time.monotonic() + timeout
        while True:
            self._read()
            now = time.monotonic()
            batch = self._merger.take(now)
            if batch or now >= deadline:
                self._go_on(batch)
                return batch
            due = self._merger.due(now)
            left = deadline - now if due is None else min(deadline - now, due)
            # The interfaces have timers of their own, which no descriptor tells of.
            self._opened().poll(min(left, 0.05))

    def now(self) -> float:
        """The time up to which all packets of all sources have been returned."""
        return self._now

    def settle_clock(self) -> None:
        """Takes the time as the clock shows it from now on."""
        if self._capture is not None:
            self._capture.settle_clock()

    def set_filter(
        self, ports: Iterable[int | tuple[int, int]], tunnels: Iterable[str] = ()
    ) -> None:
        """Changes ports and tunnels of the interfaces. Raises `LiveCaptureError`."""
        if self._capture is not None:
            self._capture.set_filter(ports, tunnels)

    def stats(self) -> LiveStats:
        """The interfaces, and the sources beside them as interfaces of their own names."""
        rows: list[InterfaceStats] = []
        only_one_direction, clock_shift = None, 0.0
        if self._capture is not None:
            stats = self._capture.stats()
            rows += stats.interfaces
            only_one_direction, clock_shift = stats.only_one_direction, stats.clock_shift
        for one in self._beside:
            rows += one.interfaces()
        return LiveStats(tuple(rows), only_one_direction, clock_shift)

    def events(self) -> list[CaptureEvent]:
        """What happened since the last call, in order of time."""
        taken = list(self._events)
        self._events.clear()
        if self._capture is not None:
            taken += self._capture.events()
        for one in self._beside:
            taken += one.events()
        return sorted(taken, key=lambda event: event.time)

    def drain(self) -> Batch:
        """What is ready or waits for its turn, before an end."""
        if self._capture is not None:
            self._merger.add(time.monotonic(), self._capture.drain())
        for one in list(self._living.values()):
            self._take(one)
        return self._merger.drain()

    def close(self) -> None:
        """Ends them all; `stats` keeps its numbers."""
        for one in self._beside:
            one.close()
        self._living.clear()
        if self._capture is not None:
            self._capture.close()
        if self._epoll is not None:
            self._epoll.close()

    def _opened(self) -> select.epoll:
        if self._epoll is None or self._epoll.closed:
            raise LiveCaptureError("the capture is not open")
        return self._epoll

    def _read(self) -> None:
        """What all of them have at this moment."""
        if self._capture is not None:
            self._merger.add(time.monotonic(), self._capture.poll(0.0))
        for one in list(self._living.values()):
            self._take(one)

    def _take(self, one: Beside) -> None:
        number = one.fileno()
        try:
            self._merger.add(time.monotonic(), one.poll(0.0))
        except LiveCaptureError as error:
            # Its descriptor is closed, and with that it has left the epoll.
            del self._living[number]
            names = ", ".join(each.name for each in one.interfaces())
            self._events.append(CaptureEvent(time.time(), names, "failed", str(error)))
            if not self._living and self._capture is None:
                raise

    def _go_on(self, batch: Batch) -> None:
        """Time goes on to where every source is, and not past what still waits."""
        reached = [one.now() for one in self._living.values()]
        if self._capture is not None:
            reached.append(self._capture.now())
        oldest = self._merger.oldest()
        if oldest is not None:
            reached.append(oldest)
        if batch:
            self._now = max(self._now, batch[-1].time)
        if reached:
            self._now = max(self._now, min(reached))
