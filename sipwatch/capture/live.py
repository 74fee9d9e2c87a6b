"""Live capture: batches of datagrams from the network interfaces of a Linux host.

`LiveCapture.open` makes sockets and rings and needs CAP_NET_RAW; `start` and all that follows
needs nothing, so that a privilege may be dropped between them. `poll` waits for packets, reads
them and looks after interfaces that went away. Packets carry the kernel's time stamps, which are
of the wall clock (CLOCK_REALTIME), kept steady when that is set (see ``clock``).

One thread polls; `stats` and `events` may be called from another.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NamedTuple

from sipwatch.capture import bpf
from sipwatch.capture.clock import PacketClock
from sipwatch.capture.directions import Directions
from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.filters import (
    WHOLE_PACKET,
    FilterSettingError,
    FilterSettings,
    LinkLayer,
    compile_filter,
    describe,
    settings,
)
from sipwatch.capture.interfaces import ANY, Interfaces, Link
from sipwatch.capture.merging import Merger
from sipwatch.capture.ring import Geometry
from sipwatch.capture.tap import NamedTap, Tap, TapSettings
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch

__all__ = [
    "CaptureEvent",
    "InterfaceStats",
    "LiveCapture",
    "LiveCaptureError",
    "LiveStats",
]

#: Events that nobody has taken yet; the oldest goes.
_MAX_EVENTS = 256

#: Seconds between two questions to the kernel about its own counters.
_COUNTERS_EVERY = 1.0
_LOSSES_EVERY = 5.0

#: Seconds between two looks at the interfaces while packets keep coming.
_LOOK_EVERY = 0.05

#: Seconds between two looks for what the decoder has waited for long enough.
_ADVANCE_EVERY = 0.1

#: How much longer than its own time-out a block may take to be read.
_HOLD_MARGIN = 0.02


class CaptureEvent(NamedTuple):
    """Something about an interface that the user should know."""

    #: Epoch seconds.
    time: float
    interface: str
    #: ``down``, ``up``, ``gone``, ``reopened``, ``renamed``, ``failed``, ``smaller-ring``, or
    #: ``clock-step``, which is of no interface.
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class InterfaceStats:
    """One configured interface since the capture began; times are epoch seconds."""

    name: str
    #: ``listening``, ``down`` or ``gone``.
    state: str
    #: Packets that passed the filter and were read.
    packets: int
    #: Packets that were lost: for want of room in the ring, by the interface itself.
    kernel_drops: int
    interface_drops: int
    #: How often the ring was full.
    freezes: int
    #: Packets of which only the beginning was kept.
    snapped: int
    #: Packets longer than the MTU: joined by GRO, LRO or TSO.
    inflated: int
    #: 0 before the first packet.
    first_time: float
    last_time: float
    ring_bytes: int


@dataclass(frozen=True, slots=True)
class LiveStats:
    """The capture as a whole."""

    interfaces: tuple[InterfaceStats, ...]
    #: Whether packets are seen in one direction only; ``None`` before there is enough to say.
    only_one_direction: bool | None
    #: By how many seconds times differ from the clock since it was set; see `settle_clock`.
    clock_shift: float

    @property
    def packets(self) -> int:
        """Packets read, of all interfaces."""
        return sum(interface.packets for interface in self.interfaces)

    @property
    def drops(self) -> int:
        """Packets lost, wherever it was."""
        return sum(i.kernel_drops + i.interface_drops for i in self.interfaces)

    @property
    def last_time(self) -> float:
        """Epoch seconds of the newest packet, 0 before the first."""
        return max((interface.last_time for interface in self.interfaces), default=0.0)


class LiveCapture:
    """Captures on the named interfaces, or on all of them with the name ``any``."""

    def __init__(
        self,
        interfaces: Sequence[str],
        ports: Iterable[int | tuple[int, int]],
        *,
        decoder: FrameDecoder | None = None,
        tunnels: Iterable[str] = (),
        promiscuous: bool = False,
        geometry: Geometry | None = None,
        snap_length: int | None = None,
    ) -> None:
        """Only takes note of what is wanted; see `open`.

        ``ports`` are numbers or inclusive ranges; ``tunnels`` are names of `filters.TUNNELS`, with
        ``:port`` where another port is used. Raises `LiveCaptureError` for what makes no sense.
        """
        self._names = _checked(interfaces)
        self._settings = TapSettings(
            geometry or Geometry(), _filter_settings(ports, tunnels, snap_length), promiscuous
        )
        self._snap_length = snap_length
        self.decoder = FrameDecoder() if decoder is None else decoder
        self.decoder.ports = _all_ports(self._settings.filter)
        self._events: deque[CaptureEvent] = deque(maxlen=_MAX_EVENTS)
        self._directions = Directions()
        self._clock = PacketClock()
        self._now = self._clock.now()
        self._taps: list[Tap] = []
        self._interfaces: Interfaces | None = None
        self._epoll: select.epoll | None = None
        self._merger: Merger | None = None
        self._look_at = self._counters_at = self._losses_at = self._advance_at = 0.0
        retire = self._settings.geometry.retire_milliseconds / 1000
        self._hold = retire + _HOLD_MARGIN
        #: How long after its stamp a packet is returned at the latest, if it is read at once.
        self._delay = self._hold if len(self._names) == 1 else 2 * self._hold

    def __enter__(self) -> LiveCapture:
        self.open()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Makes sockets and rings; afterwards privileges may be dropped.

        Raises `LiveCaptureError`: no permission, no such interface, no memory.
        """
        try:
            self._interfaces = Interfaces()
            self._epoll = select.epoll()
            self._epoll.register(self._interfaces.fileno(), select.EPOLLIN)
            links = self._interfaces.all()
            for name in self._names:
                tap = self._tap(name, links)
                self._taps.append(tap)
                tap.open()
                self._epoll.register(tap.ring.fileno(), select.EPOLLIN)
        except OSError as error:
            self.close()
            raise LiveCaptureError(f"cannot open the capture: {error.strerror}") from error
        except LiveCaptureError:
            self.close()
            raise
        if len(self._taps) > 1:
            self._merger = Merger(self._hold)

    def start(self) -> None:
        """Begins to receive. Raises `LiveCaptureError`."""
        try:
            for tap in self._taps:
                tap.start()
        except OSError as error:
            raise LiveCaptureError(f"cannot start the capture: {error.strerror}") from error

    def fileno(self) -> int:
        """Returns one descriptor that is readable when `poll` has something to do.

        It stays the same when interfaces are opened anew. What several interfaces delivered may
        still wait to be put in order: poll at least every tenth of a second all the same.
        """
        return self._opened().fileno()

    def poll(self, timeout: float) -> Batch:
        """Returns what has come, in order; an empty batch after ``timeout`` seconds without.

        A batch is one block of each ring at most: call again at once as long as it is not empty.
        """
        epoll = self._opened()
        deadline = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            self._update_counters(now)
            if now >= self._look_at:
                self._attend(epoll.poll(0), now)
            batch = self._read(now)
            if batch or now >= deadline:
                return batch
            ready = epoll.poll(max(0.0, min([deadline - now, *self._dues(now)])))
            self._attend(ready, time.monotonic())

    def now(self) -> float:
        """Returns the time up to which all packets have been returned, in the time of packets.

        It goes on when nothing comes: timers are advanced by it.
        """
        return self._now

    def settle_clock(self) -> None:
        """Takes the time as the clock shows it from now on.

        To be called when nothing is in progress, for `now` may go back by it.
        """
        self._clock.settle()
        self._now = self._clock.now() - self._delay

    def set_filter(
        self, ports: Iterable[int | tuple[int, int]], tunnels: Iterable[str] = ()
    ) -> None:
        """Changes ports and tunnels while the capture runs. Raises `LiveCaptureError`."""
        wanted = _filter_settings(ports, tunnels, self._snap_length)
        self._settings = replace(self._settings, filter=wanted)
        self.decoder.ports = _all_ports(wanted)
        for tap in self._taps:
            tap.set_filter(wanted)

    def filter_text(self) -> str:
        """Returns, for each interface, in words and instructions which filter runs."""
        return "\n\n".join(
            f"{tap.name}: {describe(self._settings.filter)}\n{bpf.disassemble(tap.program())}"
            for tap in self._taps
        )

    def refresh(self) -> None:
        """Asks the kernel for its counters now; `poll` does it every second."""
        self._counters_at = self._losses_at = 0.0
        self._update_counters(time.monotonic())

    def stats(self) -> LiveStats:
        """Returns what was seen and lost, as of the last poll."""
        return LiveStats(
            tuple(_interface_stats(tap) for tap in self._taps),
            self._directions.only_one(),
            self._clock.shift,
        )

    def events(self) -> list[CaptureEvent]:
        """Returns what happened to the interfaces since the last call."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def drain(self) -> Batch:
        """Returns what is ready or still waits to be put in order, before an end."""
        found: Batch = []
        for tap in self._taps:
            while tap.read(found):
                pass
        if self._merger is None:
            return found
        self._merger.add(time.monotonic(), found)
        return self._merger.drain()

    def close(self) -> None:
        """Ends the capture; `stats` keeps its numbers."""
        for tap in self._taps:
            tap.close()
        if self._epoll is not None:
            self._epoll.close()
        if self._interfaces is not None:
            self._interfaces.close()

    def _opened(self) -> select.epoll:
        if self._epoll is None or self._epoll.closed:
            raise LiveCaptureError("the capture is not open")
        return self._epoll

    def _tap(self, name: str, links: list[Link]) -> Tap:
        def tell(kind: str, text: str) -> None:
            self._events.append(CaptureEvent(time.time(), name, kind, text))

        assert self._interfaces is not None
        if name == ANY:
            return Tap(self._settings, self.decoder, self._clock, self._interfaces, tell)
        link = next((link for link in links if link.name == name), None)
        if link is None:
            there = ", ".join([link.name for link in links] + [ANY])
            raise LiveCaptureError(f"no such interface: {name} (there are: {there})")
        return NamedTap(link, self._settings, self.decoder, self._clock, self._interfaces, tell)

    def _read(self, now: float) -> Batch:
        """One block of each ring, in order of time, and what the decoder had to wait for."""
        self._watch_clock()
        # Taken before the rings are looked at: what comes later is not in them.
        until = self._clock.now() - self._delay
        found: Batch = []
        for tap in self._taps:
            tap.read(found)
        if self._merger is not None:
            self._merger.add(now, found)
            found = self._merger.take(now)
        if found:
            self._directions.observe(found)
            self._now = max(self._now, found[-1].time)
        if not any(tap.ring.ready() >= 0 for tap in self._taps):
            self._now = max(self._now, until)
        if now >= self._advance_at:
            self._advance_at = now + _ADVANCE_EVERY
            found += self.decoder.advance(self._now)
        return found

    def _watch_clock(self) -> None:
        step = self._clock.look()
        if step is not None:
            text = f"the clock was set by {step:+.1f} s: times of packets go on as before"
            self._events.append(CaptureEvent(time.time(), "", "clock-step", text))

    def _dues(self, now: float) -> list[float]:
        """Seconds until something is to be done without a packet."""
        dues = [tap.due(now) for tap in self._taps]
        if self._merger is not None:
            dues.append(self._merger.due(now))
        return [due for due in dues if due is not None]

    def _attend(self, ready: list[tuple[int, int]], now: float) -> None:
        """Looks after interfaces that changed, and those whose time for another try has come."""
        assert self._interfaces is not None
        self._look_at = now + _LOOK_EVERY
        changed = False
        for descriptor, mask in ready:
            if descriptor == self._interfaces.fileno():
                changed = self._interfaces.have_changed() or changed
            elif mask & select.EPOLLERR:
                self._tap_of(descriptor).on_error()
                changed = True
        for tap in self._taps:
            due = tap.due(now)
            if (changed or (due is not None and due <= 0)) and tap.follow(now):
                self._opened().register(tap.ring.fileno(), select.EPOLLIN)

    def _tap_of(self, descriptor: int) -> Tap:
        return next(tap for tap in self._taps if tap.ring.fileno() == descriptor)

    def _update_counters(self, now: float) -> None:
        """Asks the kernel for its counters, seldom enough to cost nothing."""
        if now >= self._counters_at:
            self._counters_at = now + _COUNTERS_EVERY
            for tap in self._taps:
                tap.update_counts()
        if now >= self._losses_at:
            self._losses_at = now + _LOSSES_EVERY
            for tap in self._taps:
                # The kernel may be too busy to answer; the next question gets it all.
                with suppress(OSError):
                    tap.update_losses()


def _checked(names: Sequence[str]) -> tuple[str, ...]:
    """Interface names without repetition."""
    unique = tuple(dict.fromkeys(names))
    if not unique:
        raise LiveCaptureError("no interface to capture on: name one, or any for all of them")
    if ANY in unique and len(unique) > 1:
        raise LiveCaptureError(f"interface {ANY} means all of them: name no other beside it")
    return unique


def _filter_settings(
    ports: Iterable[int | tuple[int, int]], tunnels: Iterable[str], snap_length: int | None
) -> FilterSettings:
    try:
        wanted = settings(ports, tunnels, WHOLE_PACKET if snap_length is None else snap_length)
        # Once for each, so that a filter that is too long is known before it is needed.
        for link in LinkLayer:
            compile_filter(wanted, link, drop_outgoing_on_loopback=True)
        return wanted
    except (FilterSettingError, bpf.FilterTooLong) as error:
        raise LiveCaptureError(str(error)) from error


def _all_ports(wanted: FilterSettings) -> frozenset[int]:
    return frozenset(port for low, high in wanted.ports for port in range(low, high + 1))


def _interface_stats(tap: Tap) -> InterfaceStats:
    read, kernel = tap.reader.counts, tap.kernel
    return InterfaceStats(
        name=tap.name,
        state=tap.state.value,
        packets=read.packets,
        kernel_drops=kernel.drops,
        interface_drops=tap.losses.total,
        freezes=kernel.freezes,
        snapped=read.snapped,
        inflated=read.inflated,
        first_time=read.first_time,
        last_time=read.last_time,
        ring_bytes=tap.ring_bytes,
    )
