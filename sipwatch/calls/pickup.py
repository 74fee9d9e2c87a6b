"""Calls that a neighbour takes: who answered while another's phone rang (outcomes.md 6).

Without a Replaces header nothing on the wire names the ringing leg. The feature code dialled, the
moment, and what the CANCEL says must do.
"""

from __future__ import annotations

from collections.abc import Iterable

from sipwatch.calls.identity import target_of
from sipwatch.calls.pairing import (
    TOGETHER_SECONDS,
    answered_within,
    end_of_leg,
    says_elsewhere,
)
from sipwatch.calls.types import Attempt

#: A pick-up is answered from this long before to TOGETHER after the ringing leg is cancelled.
PICKUP_SECONDS = 1.0
#: Beside "completed elsewhere" Asterisk writes this on the very leg that is taken. Other causes on
#: a CANCEL mean a timer, or a caller who left.
_NORMAL_CAUSE = 16
#: A feature code without an extension behind it: "*8", "**", "*98".
_LONGEST_BARE_CODE = 3


def taker_of(attempt: Attempt, marks: Iterable[tuple[float, Attempt]]) -> Attempt | None:
    """The caller's leg that took this ringing leg's call; None when there is none.

    `marks` are times of answers and ends of callers' legs of the same PBX.
    """
    caller, at = attempt.parent, attempt.cancel_at
    if caller is None or at is None or not _may_be_taken(attempt, caller, at):
        return None
    takers = [
        other
        for when, other in marks
        if other is not caller
        and other.answered_at == when
        and at - PICKUP_SECONDS <= when <= at + TOGETHER_SECONDS
        and other.started_at > attempt.started_at
        and not other.children
        and other.invite is not None
    ]
    at_once = caller.answered_at is not None and abs(caller.answered_at - at) <= TOGETHER_SECONDS
    return _choose(caller, at, takers, at_once and says_elsewhere(attempt)) if takers else None


def _may_be_taken(attempt: Attempt, caller: Attempt, at: float) -> bool:
    """Whether the caller was put through in that moment, and by no agent's leg."""
    if caller.answered_at is None or caller.answered_at > at + PICKUP_SECONDS:
        return False
    if any(answered_within(child, at) and not _too_late(child) for child in caller.children):
        return False
    end = end_of_leg(caller)
    if end is not None and end < at:
        return False
    if says_elsewhere(attempt):
        return True
    if attempt.cancel_reasons and all(r.cause != _NORMAL_CAUSE for r in attempt.cancel_reasons):
        return False
    # A queue's caller had his 2xx long before: its own timer looks the same from here.
    return caller.answered_at >= at - PICKUP_SECONDS or _said_beside(caller, at)


def _too_late(attempt: Attempt) -> bool:
    """Its answer crossed its CANCEL."""
    answered, cancelled = attempt.answered_at, attempt.cancel_at
    return answered is not None and cancelled is not None and cancelled <= answered


def _said_beside(caller: Attempt, at: float) -> bool:
    """Whether another leg of this caller was cancelled with "completed elsewhere" just then."""
    return any(
        child.cancel_at is not None
        and abs(child.cancel_at - at) <= TOGETHER_SECONDS
        and says_elsewhere(child)
        for child in caller.children
    )


def _choose(caller: Attempt, at: float, takers: list[Attempt], said: bool) -> Attempt | None:
    """Which of those that the PBX answered just then has taken the call.

    A feature code that ends with a ringing extension names it; a bare feature code may take
    any; another number only when the CANCEL says "completed elsewhere" in the moment when the
    caller was put through, and nobody else fits.
    """
    rings = {
        target_of(child.invite)
        for child in caller.children
        if child.invite is not None
        and child.cancel_at is not None
        and abs(child.cancel_at - at) <= TOGETHER_SECONDS
    } - {""}
    named, bare = [], []
    for taker in takers:
        user = target_of(taker.invite) if taker.invite is not None else ""
        if any(user != target and user.endswith(target) for target in rings):
            named.append(taker)
        elif user.startswith(("*", "#")) and len(user) <= _LONGEST_BARE_CODE:
            bare.append(taker)
    for group in (named, bare, takers if said and not (named or bare) else []):
        if group:
            return group[0] if len(group) == 1 else None
    return None
