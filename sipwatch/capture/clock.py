"""Keeps the time of packets steady when somebody sets the clock.

Packets are stamped by the wall clock (CLOCK_REALTIME). When NTP or a person sets it, all timers of
calls in progress would run out at once, or stand still. `PacketClock` compares it with the clock
that only counts (CLOCK_BOOTTIME, which goes on while the host sleeps); after a step the stamps are
shifted so that time goes on as before, and the shift is worn off so slowly that no duration is
measured wrong by more than `_WEAR`, or at once when nothing is in progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: A smaller step does no harm to any timer, and the clocks cannot be compared much better.
SMALLEST_STEP = 0.5

#: Both clocks must be read within this time, or the comparison is worth nothing.
_LONGEST_READING = 0.02
_TRIES = 5

#: Seconds after a step in which packets that were stamped before it may still be read.
_UNCERTAIN = 2.0

#: How much of the passing time a shift is reduced by.
_WEAR = 0.005


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class PacketClock:
    """The shift from stamps to steady time; ``wall`` and ``counter`` give seconds."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        counter: Callable[[], float] = _boot_time,
    ) -> None:
        self._wall = wall
        self._counter = counter
        #: To be added to stamps, in seconds.
        self.shift = 0.0
        self._looked, self._offset = self._compare()
        #: Offset and shift before the last step, until this time of the counter.
        self._before = (self._offset, 0.0)
        self._uncertain_until = self._looked

    @property
    def is_uncertain(self) -> bool:
        """Whether stamps of before and after a step may be mixed: ask `steady` for each."""
        return self._looked < self._uncertain_until

    def look(self) -> float | None:
        """Compares the clocks; returns by how many seconds the wall clock was set, if it was."""
        now, offset = self._compare()
        self._wear(now - self._looked)
        self._looked = now
        step = offset - self._offset
        if abs(step) < SMALLEST_STEP:
            # The gentle ways of NTP are time as it should be.
            self._offset = offset
            return None
        self._before = (self._offset, self.shift)
        self._offset = offset
        self._uncertain_until = now + _UNCERTAIN
        self.shift -= step
        return step

    def steady(self, stamp: float) -> float:
        """Returns the steady time of a stamp, whichever side of the last step it is from."""
        offset, shift = self._before
        old, new = self._looked + offset, self._looked + self._offset
        return stamp + (shift if abs(stamp - old) < abs(stamp - new) else self.shift)

    def now(self) -> float:
        """Returns the steady time now: what a packet of this moment would have."""
        return self._counter() + self._offset + self.shift

    def settle(self) -> None:
        """Goes over to the wall clock at once, for nothing is in progress that could notice."""
        self.shift = 0.0
        self._uncertain_until = self._looked

    def _compare(self) -> tuple[float, float]:
        """The counter, and how far the wall clock is from it.

        When the process was held up between the two readings they are taken again; the last try
        counts as it is, on a host that is so busy that nothing better can be had.
        """
        for _ in range(_TRIES):
            before = self._counter()
            wall = self._wall()
            now = self._counter()
            if now - before <= _LONGEST_READING:
                break
        return now, wall - (before + now) / 2

    def _wear(self, seconds: float) -> None:
        most = _WEAR * max(0.0, seconds)
        self.shift -= min(most, max(-most, self.shift))
