"""Ring timers that nobody configured, learned from when a sender gives up (5.1 rule 5, 8b).

A PBX cancels by its timer at the same second every time, people do not. The last gaps of each
sender are kept; a value counts as a timer when enough of them lie around it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import NamedTuple

#: How many unexplained ends of a sender are remembered, and how many must agree.
HISTORY = 50
LEAST_COUNT = 5
LEAST_SHARE = 0.20
#: Shortest ring timer that is believed.
LEAST_SECONDS = 8.0
#: How close learned ends lie to their common value.
SPREAD_SECONDS = 0.25
_MOST_SENDERS = 10_000


class Learned(NamedTuple):
    """A timer that fits: its value, and how many of how many ends agree."""

    seconds: float
    agreeing: int
    of: int


class RingTimers:
    """Gaps in seconds by sender; bounded in senders and in gaps for each."""

    def __init__(self) -> None:
        self._gaps: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def add(self, sender: Hashable, gap: float) -> None:
        """Remember one unexplained end of `sender` after `gap` seconds."""
        gaps = self._gaps.get(sender)
        if gaps is None:
            if len(self._gaps) >= _MOST_SENDERS:
                self._gaps.popitem(last=False)
            gaps = self._gaps[sender] = deque(maxlen=HISTORY)
        else:
            self._gaps.move_to_end(sender)
        gaps.append(gap)

    def match(self, sender: Hashable, gap: float, whole_seconds: bool = False) -> Learned | None:
        """The timer of `sender` that explains `gap`, which `add` has already been told.

        With `whole_seconds` the timer runs by the wall clock's seconds (FreeSWITCH): its ends lie
        in a window one second wide that ends on a whole second.
        """
        gaps = self._gaps.get(sender)
        if gaps is None or gap < LEAST_SECONDS - (1.0 if whole_seconds else 0.0):
            return None
        if whole_seconds:
            return _whole_second(gaps, gap)
        near = [other for other in gaps if abs(other - gap) <= 2 * SPREAD_SECONDS]
        best: Learned | None = None
        for value in near:
            if abs(value - gap) > SPREAD_SECONDS:
                continue
            count = sum(abs(other - value) <= SPREAD_SECONDS for other in near)
            if best is None or count > best.agreeing:
                best = Learned(value, count, len(gaps))
        return best if best is not None and _enough(best) else None

    def state(self) -> dict[Hashable, list[float]]:
        """What was learned, to be kept over a restart."""
        return {sender: list(gaps) for sender, gaps in self._gaps.items()}

    def restore(self, state: dict[Hashable, list[float]]) -> None:
        """Take up what `state` gave."""
        for sender, gaps in state.items():
            for gap in gaps[-HISTORY:]:
                self.add(sender, gap)


def _enough(learned: Learned) -> bool:
    return learned.agreeing >= LEAST_COUNT and learned.agreeing >= LEAST_SHARE * learned.of


def _whole_second(gaps: deque[float], gap: float) -> Learned | None:
    for seconds in (int(gap) + 1, int(gap)):
        if seconds < LEAST_SECONDS or not seconds - 1.0 <= gap <= seconds + 0.1:
            continue
        count = sum(seconds - 1.0 <= other <= seconds + 0.1 for other in gaps)
        learned = Learned(float(seconds), count, len(gaps))
        if _enough(learned):
            return learned
    return None
