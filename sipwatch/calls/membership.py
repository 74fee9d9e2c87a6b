"""Which attempts make up a call, and when a call is over."""

from __future__ import annotations

from collections import Counter

from sipwatch.calls.pairing import led_to, lifeless
from sipwatch.calls.types import Attempt, Call, CallEnded, Event, added, without

#: A call of more legs keeps the latest: a queue may hold a caller for hours.
MOST_MEMBERS = 500


class Calls:
    """Opens, joins, parts and ends calls; says `CallEnded` into the events it was given."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._serial = 0
        self._left: list[Call] = []
        #: Calls that are not over.
        self.open = 0
        #: How many callers' legs had an agent's leg in view.
        self.with_agents = 0
        self.counts: Counter[str] = Counter()

    def begin(self, root: Attempt) -> Call:
        """A call of its own, unless that which it was of has been said."""
        if root.call is not None and root.call.ended:
            return root.call
        self._serial += 1
        self.open += 1
        call = root.call = Call(self._serial, root)
        return call

    def join(self, attempt: Attempt, parent: Attempt | None, call: Call) -> None:
        """Make the attempt a member of this call, caused by `parent` when that is in view.

        What was said of a call that is over stands: nobody joins or leaves it any more.
        """
        if attempt.call is not None and attempt.call.ended:
            return
        self.leave(attempt)
        if call.ended:
            self._left.append(self.begin(attempt))  # it may be over itself
            return
        if len(call.attempts) >= MOST_MEMBERS and not self._thin(call):
            # Hundreds of legs that all live are no caller's call but somebody's flood.
            self.counts["crowded"] += 1
            self._left.append(self.begin(attempt))
            return
        if parent is not None and led_to(attempt, parent):
            parent = None  # what it caused cannot be its cause
        attempt.parent = parent
        if parent is not None:
            if not parent.children and parent.role == "caller":
                self.with_agents += 1
            parent.children = added(parent.children, attempt)
            attempt.hidden_parent = False
        attempt.call = call
        call.attempts.append(attempt)

    def leave(self, attempt: Attempt) -> None:
        """Take the attempt out of its call; a call without members is none."""
        if attempt.call is not None and attempt.call.ended:
            return
        if attempt.parent is not None:
            attempt.parent.children = without(attempt.parent.children, attempt)
            attempt.parent = None
        call = attempt.call
        if call is not None:
            call.attempts.remove(attempt)
            if not call.attempts:
                self.open -= 1
            else:
                if call.root is attempt:
                    call.root = call.attempts[0]
                # Perhaps it was open only for the sake of this leg.
                self._left.append(call)
            attempt.call = None

    def _thin(self, call: Call) -> bool:
        """Drop the oldest leg that is over; whether there was one."""
        for other in call.attempts[1:]:
            if other.settled and other.dialog_over:
                call.attempts.remove(other)
                if other.parent is not None:
                    other.parent.children = without(other.parent.children, other)
                self.counts["thinned"] += 1
                return True
        return False

    def end_left(self, now: float) -> None:
        """Say which of the calls are over that a leg has left."""
        while self._left:
            call = self._left.pop()
            if call.attempts:
                self.end_if_over(call, now)

    def end_if_over(self, call: Call, now: float) -> None:
        """Say that the call is over when nothing of it can go on.

        A dead device's leg that still retransmits does not keep an answered or left call open.
        """
        root = call.root
        if call.ended or not root.dialog_over:
            return
        left = root.cancel_at is not None or root.answered_at is not None
        for attempt in call.attempts:
            if attempt.dialog_over:
                continue
            if left and attempt.terminal_at is None and lifeless(attempt):
                continue
            return
        call.ended = True
        self.open -= 1
        self._events.append(CallEnded(call, now))
