"""The one timer structure of the tracker: which attempt is due when.

Each attempt has one deadline that mostly moves later (every message of a living transaction
pushes it on). Moving it later costs an assignment: the old place in the heap is found stale when
it comes up and the attempt is filed again. Only an earlier deadline is filed at once.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from sipwatch.calls.types import Attempt

_NEVER = float("inf")
#: Stale places that are not worth clearing out.
_MANY = 1000
#: They are when more than one of so many is stale.
_SHARE = 4


class Wheel:
    """Deadlines of attempts, in order of time; ties in order of appearance."""

    __slots__ = ("_heap", "_stale", "next_due")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Attempt]] = []
        #: Places in the heap whose attempt is filed elsewhere or not at all.
        self._stale = 0
        #: No attempt is due before this time.
        self.next_due = _NEVER

    def __len__(self) -> int:
        return max(0, len(self._heap) - self._stale)

    def set(self, attempt: Attempt, deadline: float) -> None:
        """Look at `attempt` at `deadline` (epoch seconds), and not before."""
        attempt.deadline = deadline
        if deadline < attempt.due:
            left, attempt.due = attempt.due, deadline
            if left != _NEVER:
                self._left_behind()
            heappush(self._heap, (deadline, attempt.serial, attempt))
            if deadline < self.next_due:
                self.next_due = deadline

    def clear(self, attempt: Attempt) -> None:
        """Never look at `attempt` again."""
        left = attempt.due
        attempt.deadline = attempt.due = _NEVER
        if left != _NEVER:
            self._left_behind()

    def _left_behind(self) -> None:
        """A place in the heap went stale; when many have, they are cleared out.

        They hold attempts: the expiry of a call that lasts a minute lies hours ahead.
        """
        self._stale += 1
        if self._stale > _MANY and _SHARE * self._stale > len(self._heap):
            self._heap[:] = [place for place in self._heap if place[0] == place[2].due]
            heapify(self._heap)
            self._stale = 0

    def pop(self, now: float) -> Attempt | None:
        """The next attempt whose deadline has passed at `now`, None when there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            due, serial, attempt = heappop(heap)
            if due != attempt.due:
                self._stale -= 1
                continue  # filed again earlier, or cleared
            if attempt.deadline > due:
                attempt.due = attempt.deadline
                if attempt.deadline != _NEVER:
                    heappush(heap, (attempt.deadline, serial, attempt))
                continue
            attempt.due = _NEVER
            self.next_due = heap[0][0] if heap else _NEVER
            return attempt
        self.next_due = heap[0][0] if heap else _NEVER
        return None
