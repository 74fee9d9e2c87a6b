"""Who gave up, and why: outcomes.md section 5.1, the rules for a cancelled attempt in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sipwatch.calls.pairing import SKEW_SECONDS
from sipwatch.calls.types import TIMEOUT_SECONDS, UNANSWERED_CANCELS, Attempt
from sipwatch.outcomes.scene import AROUND_SECONDS, Finding, Scene, left_at

#: A sibling's refusal or early media that caused this CANCEL came this soon before it.
CAUSED_SECONDS = 0.2
#: Nobody gives up after so long without a sound: a timer did (rules 5b and 6).
TIMER_SECONDS = 8.0
#: "At once another target is tried."
REROUTED_SECONDS = 0.2


class CancelRule(NamedTuple):
    """One row of section 5.1; its function returns None where it does not decide."""

    number: str
    when: str
    finds: Callable[[Scene], Finding | None]


def judge_cancel(scene: Scene) -> Finding | None:
    """The first rule of section 5.1 that decides."""
    for rule in CANCEL_RULES:
        finding = rule.finds(scene)
        if finding is not None:
            return finding._replace(rule=f"5.1/{rule.number}")
    return None


# --- what the rules ask ---------------------------------------------------------------------------


def _cause(scene: Scene, protocol: str, *causes: int) -> int | None:
    for reason in scene.cancel_reasons:
        if reason.protocol == protocol and reason.cause in causes:
            return reason.cause
    return None


def _completed_elsewhere(scene: Scene) -> bool:
    return _cause(scene, "SIP", 200) is not None or _cause(scene, "Q.850", 26) is not None


def _cancel_at(scene: Scene) -> float:
    at = scene.attempt.cancel_at
    return at if at is not None else scene.now


def _answered_near(scene: Scene, other: Attempt | None) -> bool:
    """Whether this leg of the call got its 2xx within 1 s, and while the judged one rang."""
    return (
        other is not None
        and other.answered_at is not None
        and other.answered_at >= scene.attempt.started_at
        and abs(other.answered_at - _cancel_at(scene)) <= AROUND_SECONDS
    )


def _caller_left(scene: Scene) -> float | None:
    """Seconds that the caller had waited, when he gave up within 1 s before this CANCEL."""
    caller = scene.caller
    if caller is None:
        return None
    at = left_at(caller)
    if at is None or not -0.02 <= _cancel_at(scene) - at <= AROUND_SECONDS:
        return None
    return scene.left_seconds(caller)


def _caller_alive(scene: Scene) -> bool:
    """The caller's leg is in view, and was waiting when this leg was cancelled.

    Where several callers fit equally, all of them were.
    """
    callers = scene.possible_callers
    return bool(callers) and all(_waits(caller, _cancel_at(scene)) for caller in callers)


def _waits(caller: Attempt, at: float) -> bool:
    ended = [t for t in (caller.cancel_at, caller.final_at, caller.bye_at) if t is not None]
    return not ended or min(ended) >= at - AROUND_SECONDS


def _picked_up(scene: Scene) -> bool:
    taker = scene.attempt.replaced_by
    return taker is not None and taker.answered_at is not None


def _by_ring_state(scene: Scene, confidence: str, *notes: str) -> Finding:
    """A ring timer ended it: what it says depends on what the device had done (rule 4)."""
    if scene.rang:
        return Finding("no_answer", None, confidence, notes)
    if _responded(scene):
        return Finding("connection_timeout", "after_trying", confidence, notes)
    return Finding("device_not_responding", None, confidence, notes)


def _responded(scene: Scene) -> bool:
    """Whether anything came back before the CANCEL."""
    first = scene.attempt.first_response_at
    return first is not None and first <= _cancel_at(scene)


def _given_up(scene: Scene, seconds: float, confidence: str, *notes: str) -> Finding:
    return Finding(scene.abandoned(seconds), None, confidence, notes)


def _own_seconds(scene: Scene) -> float:
    """How long the caller of a leg that stands alone had waited, by this leg."""
    a = scene.attempt
    at = _cancel_at(scene)
    return at - (a.first_18x_at if a.first_18x_at is not None else a.started_at)


# --- the rules ------------------------------------------------------------------------------------


def _never_answered(scene: Scene) -> Finding | None:
    a = scene.attempt
    at = _cancel_at(scene)
    if a.cancel_answered_at is not None or a.final_at is not None:
        return None
    if a.cancel_count < UNANSWERED_CANCELS and scene.now - at < TIMEOUT_SECONDS - 0.01:
        return None
    note = f"CANCEL sent {a.cancel_count} times, never answered"
    if a.first_response_at is None:
        return Finding("device_not_responding", None, "inferred", (note,))
    detail = "after_ringing" if scene.rang else "after_trying"
    return Finding("connection_timeout", detail, "inferred", (note,))


def _hop_before(scene: Scene) -> Finding | None:
    """A leg between two hosts in view was cancelled, and so was what it had led to."""
    before = scene.caller
    if before is None or before.role != "agent" or before.cancel_at is None:
        return None
    if not -0.02 <= _cancel_at(scene) - before.cancel_at <= AROUND_SECONDS:
        return None
    said = judge_cancel(scene.of(before))
    if said is None:
        return None
    note = "the leg before it on its way was cancelled"
    notes = said.notes if note in said.notes else (*said.notes, note)
    if said.outcome in ("no_answer", "connection_timeout", "device_not_responding"):
        return _by_ring_state(scene, "correlated", *notes)
    return said._replace(confidence="correlated", notes=notes)


def _reason_says(scene: Scene) -> Finding | None:
    if _completed_elsewhere(scene):
        return _elsewhere(scene)
    if _cause(scene, "SIP", 486, 600, 603) is not None:
        return Finding("redirected", "declined_elsewhere")
    if _caller_copied(scene):
        seconds = _caller_left(scene)
        if seconds is None:
            seconds = _own_seconds(scene)
        return _given_up(scene, seconds, "explicit", "the Reason is the caller's own")
    if _says_no_answer(scene):
        if _sibling_refused(scene):
            return Finding(
                "redirected",
                "declined_elsewhere",
                "correlated",
                ("another agent's refusal ended it for all",),
            )
        note = "the Reason names a ring timer"
        if not scene.rang and scene.attempt.cancel_answered_at is None:
            return _by_ring_state(scene, "explicit", note)  # nothing shows that the device lives
        return Finding("no_answer", None, "explicit", (note,))
    if _cause(scene, "Q.850", 102) is not None:
        if scene.rang:
            return Finding("connection_timeout", "after_ringing", "explicit")
        return _by_ring_state(scene, "explicit")
    if _names_originator(scene):
        return _originator(scene)
    return _dialect_reason(scene)


def _says_no_answer(scene: Scene) -> bool:
    """A ring timer is named, and nothing shows that the caller left in that moment.

    On a caller's own CANCEL it speaks of whoever waits behind him, and a PBX repeats the cause
    of an earlier refusal when its caller leaves.
    """
    if _cause(scene, "Q.850", 19) is None and _cause(scene, "SIP", 480, 408) is None:
        return False
    if scene.attempt.role == "caller":
        return False
    caller = scene.caller
    left = left_at(caller) if caller is not None else None
    return left is None or not 0 <= _cancel_at(scene) - left <= CAUSED_SECONDS


def _elsewhere(scene: Scene) -> Finding | None:
    at = _cancel_at(scene)
    siblings = scene.siblings
    by_sibling = any(_answered_near(scene, other) for other in siblings)
    if by_sibling or _answered_near(scene, scene.caller) or scene.alone:
        if _picked_up(scene):
            return Finding("redirected", "picked_up", "explicit", ("a neighbour took the call",))
        note = "the Reason says so" if scene.alone else "a 2xx of the call within 1 s"
        return Finding("redirected", "answered_elsewhere", "explicit", (note,))
    for other in siblings:
        if other.early_media_at is not None and 0 <= at - other.early_media_at <= CAUSED_SECONDS:
            return Finding(
                "redirected",
                "rerouted",
                "correlated",
                ("another target's early media took the call; nobody had answered",),
            )
    return None


def _sibling_refused(scene: Scene) -> bool:
    at = _cancel_at(scene)
    caller = scene.caller
    if caller is not None and not (
        caller.final_at is not None and abs(caller.final_at - at) <= CAUSED_SECONDS
    ):
        return False
    return any(
        other.first_18x_at is not None
        and other.final_at is not None
        and other.cancel_at is None
        and 0 <= at - other.final_at <= CAUSED_SECONDS
        for other in scene.siblings
    )


def _caller_copied(scene: Scene) -> bool:
    caller = scene.caller
    if caller is None:
        return False
    his = caller.cancel_reasons or caller.bye_reasons
    return bool(his) and his == scene.attempt.cancel_reasons and _caller_left(scene) is not None


def _names_originator(scene: Scene) -> bool:
    if _cause(scene, "SIP", 487) is not None:
        return True
    return any("ORIGINATOR" in reason.text.upper() for reason in scene.attempt.cancel_reasons)


def _originator(scene: Scene) -> Finding | None:
    if scene.caller is None:
        if scene.attempt.role == "caller" and scene.attempt.children:
            return None  # rule 3 says the same with more to show
        note = "the Reason names the originator"
        return _given_up(scene, _own_seconds(scene), "explicit", note)
    seconds = _caller_left(scene)
    if seconds is not None:
        return _given_up(scene, seconds, "explicit", "the caller is seen leaving")
    # A queue's or a loopback channel's timer says the same while the caller waits on.
    return _timer_of_system(scene)


def _dialect_reason(scene: Scene) -> Finding | None:
    """What section 12 makes of the Reason of a sender that it knows."""
    dialect = scene.sender
    for line in dialect.cancels:
        if line.meaning == "ring_timer" and line.confidence != "explicit":
            continue  # rule 5b's: it only supports
        if not line.fits(scene.cancel_reasons, scene.cancel_seconds):
            continue
        note = f"{dialect.name}: {line.line}"
        if line.meaning == "caller":
            return _dialect_caller(scene, line.confidence, note)
        if line.meaning == "ring_timer":
            return _by_ring_state(scene, line.confidence, note)
        if line.meaning == "no_progress":
            if not _responded(scene):
                return Finding("device_not_responding", None, line.confidence, (note,))
            return Finding("connection_timeout", "after_trying", line.confidence, (note,))
        return Finding("redirected", "rerouted", line.confidence, (note,))
    return None


def _dialect_caller(scene: Scene, confidence: str, note: str) -> Finding | None:
    if scene.caller is None:
        return _given_up(scene, _own_seconds(scene), confidence, note)
    seconds = _caller_left(scene)
    return None if seconds is None else _given_up(scene, seconds, "correlated", note)


def _sibling_answered(scene: Scene) -> Finding | None:
    if _picked_up(scene):
        return Finding("redirected", "picked_up", "correlated", ("a neighbour took the call",))
    at = _cancel_at(scene)
    for other in scene.siblings:
        if other.answered_at is None or (
            other.cancel_at is not None and other.cancel_at < other.answered_at
        ):
            continue
        if -SKEW_SECONDS <= at - other.answered_at <= AROUND_SECONDS:
            gap = max(0.0, at - other.answered_at) * 1000
            return Finding(
                "redirected",
                "answered_elsewhere",
                "correlated",
                (f"another agent's 2xx {gap:.0f} ms before the CANCEL",),
            )
    return None


def _caller_gave_up(scene: Scene) -> Finding | None:
    a = scene.attempt
    if a.role == "caller" and a.children:
        seconds = scene.left_seconds(a)
        if seconds is not None:
            return _given_up(scene, seconds, "correlated", f"the caller waited {seconds:.1f} s")
    seconds = _caller_left(scene)
    if seconds is None:
        return None
    return _given_up(
        scene, seconds, "correlated", f"its caller gave up after {seconds:.1f} s of waiting"
    )


def _timer_of_system(scene: Scene) -> Finding | None:
    if not _caller_alive(scene):
        return None
    several = len(scene.possible_callers) > 1
    notes = ["all of these callers' legs still up" if several else "caller leg still up"]
    at = _cancel_at(scene)
    caller = scene.caller
    if caller is not None and any(
        0 <= other.started_at - at <= REROUTED_SECONDS
        for other in caller.children
        if other is not scene.attempt
    ):
        notes.append("rerouted: at once another target was tried")
    return _by_ring_state(scene, "correlated", *notes)


def _known_timer(scene: Scene) -> Finding | None:
    a = scene.attempt
    if a.role == "caller" or not scene_alone_for_timers(scene):
        return None
    whole = scene.sender.whole_seconds
    address = a.source[0]
    fact = None
    if scene.rang:
        fact = scene.known_timer(("sent", address), scene.ring_seconds, whole)
    if fact is None:
        fact = scene.known_timer(("sent-invite", address), scene.cancel_seconds, whole)
    return None if fact is None else _by_ring_state(scene, "inferred", fact)


def scene_alone_for_timers(scene: Scene) -> bool:
    """Whether the caller's leg is out of view, so that only timing can tell who gave up."""
    return not scene.possible_callers


def _dialect_timer(scene: Scene) -> Finding | None:
    dialect = scene.sender
    if scene.attempt.role == "caller" or scene.caller is not None:
        return None
    for line in dialect.cancels:
        if line.meaning == "ring_timer" and line.fits(scene.cancel_reasons, scene.cancel_seconds):
            return _by_ring_state(scene, "inferred", f"{dialect.name}: {line.line}")
    return None


def _by_time_alone(scene: Scene) -> Finding | None:
    if not scene.rang and scene.cancel_seconds >= TIMER_SECONDS:
        note = f"given up after {scene.cancel_seconds:.1f} s without ringing"
        if not _responded(scene):
            return Finding("device_not_responding", None, "inferred", (note,))
        return Finding("connection_timeout", "after_trying", "inferred", (note,))
    seconds = _own_seconds(scene)
    return _given_up(scene, seconds, "inferred", f"waited {seconds:.1f} s")


CANCEL_RULES: tuple[CancelRule, ...] = (
    CancelRule(
        "0",
        "the CANCEL was never answered, and 64*T1 passed or it was sent at least 3 times: the peer "
        "was lost, `connection_timeout` by what it had answered before; `device_not_responding` "
        "where nothing ever came from it",
        _never_answered,
    ),
    CancelRule(
        "0b",
        "the leg before it on the same way was cancelled within 1 s before (a proxy or a second "
        "host that is in view hands the CANCEL on): what is true of that is true of this, a timer "
        "by what this device had done",
        _hop_before,
    ),
    CancelRule(
        "1",
        "a Reason on the CANCEL or its 487 says it, where it is believed",
        _reason_says,
    ),
    CancelRule(
        "2",
        "another agent's leg got its 2xx within 1 s before, or a pick-up was accepted",
        _sibling_answered,
    ),
    CancelRule(
        "3",
        "the caller's own leg with agents' legs in view, or its caller left within 1 s before",
        _caller_gave_up,
    ),
    CancelRule("4", "an agent's leg whose caller waits on: the system's timer", _timer_of_system),
    CancelRule("5", "alone in view, and the time is a known ring timer's", _known_timer),
    CancelRule("5b", "alone in view, and the dialect supports a ring timer", _dialect_timer),
    CancelRule("6", "alone, nothing of the above: by time", _by_time_alone),
)
