"""Brings what several rings deliver into one order of time.

Each ring hands over its blocks at times of its own, so that a request seen on one interface may be
read after the response that another interface has seen. Datagrams wait here until every ring has
had the time to deliver what is older. How long is measured by a steady clock and never by the
packets' own time, so that a stepped wall clock holds nothing back.
"""

from __future__ import annotations

from collections import deque
from operator import itemgetter

from sipwatch.net.types import Batch

_time = itemgetter(0)


class Merger:
    """Holds datagrams for ``hold`` seconds of a steady clock and gives them out in order."""

    def __init__(self, hold: float) -> None:
        self._hold = hold
        self._waiting: Batch = []
        #: When a batch was added, and the time of the newest packet until then.
        self._marks: deque[tuple[float, float]] = deque()

    def add(self, now: float, batch: Batch) -> None:
        """Takes what was read at ``now``, in any order."""
        if not batch:
            return
        self._waiting += batch
        self._marks.append((now, max(map(_time, batch))))

    def take(self, now: float) -> Batch:
        """Returns, in order of time, what has waited long enough and all that is older."""
        newest = None
        while self._marks and now - self._marks[0][0] >= self._hold:
            time = self._marks.popleft()[1]
            newest = time if newest is None else max(newest, time)
        if newest is None:
            return []
        if not self._marks:
            ready, self._waiting = self._waiting, []
            ready.sort(key=_time)
            return ready
        self._waiting.sort(key=_time)
        ready = [item for item in self._waiting if item[0] <= newest]
        del self._waiting[: len(ready)]
        return ready

    def due(self, now: float) -> float | None:
        """Returns in how many seconds there will be something to take; ``None``: nothing waits."""
        return max(0.0, self._marks[0][0] + self._hold - now) if self._marks else None

    def oldest(self) -> float | None:
        """Returns the time of the oldest packet that waits; ``None``: nothing waits."""
        return min(map(_time, self._waiting), default=None)

    def drain(self) -> Batch:
        """Returns all that waits, in order of time."""
        ready, self._waiting = self._waiting, []
        self._marks.clear()
        ready.sort(key=_time)
        return ready
