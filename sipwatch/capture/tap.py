"""One configured interface: its ring, and which device of the host the ring listens to.

A configured name outlives the device: links go down, container engines delete interfaces and make
new ones, udev gives them other names. A tap looks again whenever the kernel reports a change, and
after a growing delay when that did not help, and says what it found. A device that is renamed is
still listened to, until another one takes the configured name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from sipwatch.capture.blocks import LONGEST_LINK_HEADER, BlockReader, Origin
from sipwatch.capture.bpf import Program
from sipwatch.capture.clock import PacketClock
from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.filters import FilterSettings, LinkLayer, compile_filter
from sipwatch.capture.interfaces import ANY, Interfaces, Link, LinkType
from sipwatch.capture.ring import Geometry, Ring, RingCounts
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch

#: Seconds until the next look at an interface that could not be opened; doubled each time.
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0

#: Interfaces whose names are kept; container hosts make new ones all day.
_MAX_ORIGINS = 4096

#: The index that stands for all interfaces.
_ALL = 0

#: Takes kind and text of something the user should know.
Tell = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class TapSettings:
    """What all taps of a capture have in common."""

    geometry: Geometry
    filter: FilterSettings
    promiscuous: bool


class State(Enum):
    """Whether a tap can hear anything."""

    LISTENING = "listening"
    DOWN = "down"
    GONE = "gone"


class Losses:
    """Sums what interfaces have lost while they were watched."""

    def __init__(self) -> None:
        self.total = 0
        self._before: dict[int, int] = {}

    def update(self, links: Iterable[Link]) -> None:
        """Adds what was lost since the last look; an interface not seen before adds nothing."""
        now = {link.number: link.lost for link in links}
        for number, lost in now.items():
            self.total += max(0, lost - self._before.get(number, lost))
        self._before = now


class Origins(dict[int, Origin]):
    """Names of interfaces by index, asked of the kernel when one is met for the first time."""

    def __init__(self, interfaces: Interfaces) -> None:
        self._interfaces = interfaces

    def __missing__(self, index: int) -> Origin:
        try:
            link = self._interfaces.numbered(index)
        except OSError:
            link = None
        if len(self) >= _MAX_ORIGINS:
            self.clear()
        # A packet may be read after its interface has gone.
        origin = Origin(f"if{index}", _UNKNOWN_LENGTH) if link is None else origin_of(link)
        self[index] = origin
        return origin


_UNKNOWN_LENGTH = 1 << 32


def origin_of(link: Link, name: str = "") -> Origin:
    """What a reader must know of an interface; ``name`` if it shall not be the device's own."""
    return Origin(
        name or link.name, link.mtu + LONGEST_LINK_HEADER if link.mtu else _UNKNOWN_LENGTH
    )


class Tap:
    """Listens to all interfaces at once; `NamedTap` listens to one."""

    def __init__(
        self,
        settings: TapSettings,
        decoder: FrameDecoder,
        clock: PacketClock,
        interfaces: Interfaces,
        tell: Tell,
    ) -> None:
        self.name = ANY
        self.state = State.LISTENING
        self.losses = Losses()
        #: What the kernel counted for all rings that this tap has had.
        self.kernel = RingCounts()
        self.ring_bytes = 0
        self._settings = settings
        self._interfaces = interfaces
        self._tell = tell
        self._origins = Origins(interfaces)
        self._cooked = True
        self._ring: Ring | None = None
        self.reader = BlockReader(decoder, None, self._origins, clock, cooked=True)

    @property
    def ring(self) -> Ring:
        """The ring; there is one from `open` to `close`."""
        assert self._ring is not None
        return self._ring

    def program(self) -> Program:
        """Returns the filter for the link layer of this tap."""
        link = LinkLayer.COOKED if self._cooked else LinkLayer.ETHERNET
        return compile_filter(self._settings.filter, link, drop_outgoing_on_loopback=True)

    def open(self) -> None:
        """Makes the ring, which needs the privilege. Raises `LiveCaptureError`."""
        wanted = self._settings.geometry
        self._ring = Ring(wanted, self.program(), cooked=self._cooked)
        self.ring_bytes = has = self._ring.geometry.bytes
        if has < wanted.bytes:
            self._tell(
                "smaller-ring",
                f"{self.name}: memory is short, the ring has {has >> 20} MiB "
                f"instead of {wanted.bytes >> 20} MiB and may drop packets in a burst",
            )

    def start(self) -> None:
        """Begins to listen, for which no privilege is needed. Raises `LiveCaptureError`."""
        self.ring.bind(_ALL)
        self.update_losses()

    def set_filter(self, wanted: FilterSettings) -> None:
        """Changes what is let through, without losing a packet that both let through."""
        self._settings = TapSettings(self._settings.geometry, wanted, self._settings.promiscuous)
        self.ring.set_filter(self.program())

    def read(self, found: Batch) -> bool:
        """Adds what the next block holds to ``found``; returns whether there was one."""
        ring = self.ring
        block = ring.ready()
        if block < 0:
            return False
        self.reader.read(ring.memory, block, found)
        ring.release()
        return True

    def follow(self, now: float) -> bool:
        """Looks at the interface again; returns whether there is a new ring to be waited for."""
        self._origins.clear()
        return False

    def due(self, now: float) -> float | None:
        """Returns in how many seconds `follow` should be called without a reason."""
        return None

    def on_error(self) -> None:
        """Takes the error off the socket; `follow` finds out what it was."""
        self.ring.take_error()

    def update_losses(self) -> None:
        """Asks the kernel what the interfaces have lost."""
        self.losses.update(self._interfaces.all())

    def update_counts(self) -> None:
        """Asks the kernel what came and what it had to drop."""
        if self._ring is not None:
            self.kernel.add(self._ring.take_counts())

    def close(self) -> None:
        """Stops listening; the counts stay."""
        if self._ring is not None:
            self.update_counts()
            self._ring.close()
            self._ring = None


class NamedTap(Tap):
    """Listens to the interface of one name, whichever device that is."""

    def __init__(
        self,
        link: Link,
        settings: TapSettings,
        decoder: FrameDecoder,
        clock: PacketClock,
        interfaces: Interfaces,
        tell: Tell,
    ) -> None:
        super().__init__(settings, decoder, clock, interfaces, tell)
        self.name = self._device = link.name
        self._cooked = needs_cooking(link)
        self._decoder, self._clock = decoder, clock
        self.reader = self._new_reader(link)
        #: Index of the device that the ring is bound to; 0 when there is none.
        self._number = 0
        self._disturbed = False
        self._delay = _FIRST_DELAY
        self._retry_at: float | None = None

    def start(self) -> None:
        """Begins to listen, for which no privilege is needed. Raises `LiveCaptureError`."""
        link = self._interfaces.named(self.name)
        if link is None:
            raise LiveCaptureError(f"interface {self.name} has gone before the capture started")
        try:
            self._attach(link)
        except OSError as error:
            raise LiveCaptureError(f"cannot capture on {self.name}: {error.strerror}") from error
        self._see_state(link)

    def follow(self, now: float) -> bool:
        """Looks at the interface again; returns whether there is a new ring to be waited for."""
        self._retry_at = None
        try:
            return self._look(now)
        except (OSError, LiveCaptureError) as error:
            if self._delay == _FIRST_DELAY:
                self._tell("failed", f"cannot reopen {self.name}: {error}; trying again")
            self._retry(now)
            return False

    def due(self, now: float) -> float | None:
        """Returns in how many seconds `follow` should be called without a reason."""
        return None if self._retry_at is None else max(0.0, self._retry_at - now)

    def on_error(self) -> None:
        """Takes the error off the socket: the device went down or away."""
        self._disturbed = self.ring.take_error() != 0 or self._disturbed

    def update_losses(self) -> None:
        """Asks the kernel what the interface has lost."""
        link = self._interfaces.numbered(self._number)
        if link is not None:
            self.losses.update([link])

    def _look(self, now: float) -> bool:
        link = self._interfaces.named(self.name) or self._interfaces.numbered(self._number)
        if link is None:
            self._lose()
            self._retry(now)
            return False
        replaced = False
        if link.number != self._number or self._disturbed:
            was_gone = self.state is State.GONE or link.number != self._number
            replaced = self._reopen_if_changed(link)
            self._attach(link)
            self._delay = _FIRST_DELAY
            if was_gone:
                self.state = State.LISTENING
                self._tell("reopened", f"{self.name} is back and captured again")
        elif link.name != self._device:
            self._device = link.name
            what = "has its name back" if link.name == self.name else f"is called {link.name} now"
            self._tell("renamed", f"{self.name} {what} and is still captured")
        self._see_state(link)
        return replaced

    def _lose(self) -> None:
        self._number = 0
        if self.state is not State.GONE:
            self.state = State.GONE
            self._tell("gone", f"{self.name} has gone; capture goes on when it is back")

    def _retry(self, now: float) -> None:
        self._retry_at = now + self._delay
        self._delay = min(2 * self._delay, _LONGEST_DELAY)

    def _attach(self, link: Link) -> None:
        """Binds the ring to a device, which takes it off another."""
        self.ring.bind(link.number)
        if self._settings.promiscuous and not link.is_loopback:
            self.ring.listen_promiscuously(link.number)
        self._number, self._device = link.number, link.name
        self._disturbed = False
        self.reader.origin = origin_of(link, self.name)
        self.losses.update([link])

    def _see_state(self, link: Link) -> None:
        """Says it when the interface has gone down or come up."""
        state = State.LISTENING if link.is_up and link.is_running else State.DOWN
        if state is self.state:
            return
        self.state = state
        if state is State.LISTENING:
            self._tell("up", f"{self.name} is up")
        else:
            why = "has no carrier" if link.is_up else "is down"
            self._tell("down", f"{self.name} {why}: nothing can be captured there")

    def _reopen_if_changed(self, link: Link) -> bool:
        """Makes a new ring when the new device has packets of another form than the old one."""
        cooked = needs_cooking(link)
        if cooked is self._cooked:
            return False
        old, self._cooked = self.ring, cooked
        try:
            self.open()
        except LiveCaptureError:
            self._cooked = not cooked
            raise
        self.kernel.add(old.take_counts())
        old.close()
        counts = self.reader.counts
        self.reader = self._new_reader(link)
        self.reader.counts = counts
        return True

    def _new_reader(self, link: Link) -> BlockReader:
        origin = origin_of(link, self.name)
        return BlockReader(self._decoder, origin, self._origins, self._clock, cooked=self._cooked)


def needs_cooking(link: Link) -> bool:
    """Returns whether packets shall come without link header. Raises `LiveCaptureError`."""
    if link.link_type is LinkType.OTHER:
        raise LiveCaptureError(
            f"interface {link.name} has packets of a kind that holds no SIP we could read "
            f"(hardware type {link.hardware}): capture on a wired or tunnel interface"
        )
    return link.link_type is LinkType.IP
