"""How an answered call ended (outcomes.md section 9)."""

from __future__ import annotations

from collections.abc import Sequence

from sipwatch.calls.types import Attempt
from sipwatch.sip.reason import Reason


def end_of(attempt: Attempt) -> str | None:
    """The `end` of an answered attempt whose dialog is over; None for one never answered."""
    if attempt.answered_at is None and attempt.bye_at is None:
        return None
    if attempt.bye_at is None:
        return "lost" if attempt.closed_by == "timer" else "open"
    if _media_timeout(attempt.bye_reasons):
        return "media_timeout"
    if _session_timer(attempt):
        return "session_timer"
    if attempt.refer_at is not None and attempt.refer_at <= attempt.bye_at:
        return "transferred"
    if attempt.replaced_by is not None and attempt.replaced_by.answered_at is not None:
        return "transferred"
    return "caller_hangup" if attempt.bye_by == "caller" else "callee_hangup"


def _media_timeout(reasons: Sequence[Reason]) -> bool:
    for reason in reasons:
        text = reason.text.lower()
        if reason.protocol == "Q.850" and reason.cause in (44, 102):
            return True
        if reason.protocol == "SIP" and reason.cause == 804:
            return True
        if "rtp" in text and "timeout" in text.replace(" ", ""):
            return True
        if "media" in text and "timeout" in text.replace("_", "").replace(" ", ""):
            return True
    return False


def _session_timer(attempt: Attempt) -> bool:
    for reason in attempt.bye_reasons:
        text = reason.text.lower()
        if "session timeout" in text or "session timer" in text or "session expired" in text:
            return True
    return False
