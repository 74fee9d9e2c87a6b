"""Missed calls and whether somebody called back: trends of a call centre, never a page."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.model import UNJUDGED, Alert, numbered
from alerts.trend import RISEN, Counted, risen

#: Calls from outside in the day and in the week before it, and missed calls whose fate is known.
CALLS_DAY, CALLS_WEEK = 100, 500
KNOWN_DAY, KNOWN_WEEK = 20, 100


def missed() -> Iterator[Alert]:
    """More callers reach nobody, or fewer of them are called back."""
    yield Alert(
        "SipwatchMissedCallsTrend",
        risen(
            _of("missed_calls_total"),
            _of("calls_total", f'direction="inbound", outcome!~"{UNJUDGED}"'),
            CALLS_DAY,
            CALLS_WEEK,
        ),
        "trend",
        "Missed calls: {{ $value | humanizePercentage }} of the calls from outside of the last day",
        "{{ $value | humanizePercentage }} of the calls that came from outside in the last 24 "
        f"hours reached nobody: {RISEN}.",
        numbered(
            "The dashboard, row Missed calls: since when, and at what hours.",
            "`sipwatch report`: was nobody there (no_answer, agent_busy, outside_hours), did "
            "callers leave early (abandoned), or did devices fail (unavailable, "
            "device_not_responding)?",
            "People: more agents in those hours, longer ring timers, another queue behind the "
            "first. Devices: the alerts of their outcomes say what to do.",
        ),
        wait="1h",
        impact="Callers try again, or somebody else.",
    )
    yield Alert(
        "SipwatchNeverCalledBackTrend",
        risen(_of("missed_calls_never_returned_total"), _fate_known, KNOWN_DAY, KNOWN_WEEK),
        "trend",
        "Missed calls: {{ $value | humanizePercentage }} of their callers were never called back",
        "Of the missed calls whose time to be called back ended in the last 24 hours, or who were "
        "called back in them, {{ $value | humanizePercentage }} never were: "
        f"{RISEN}.",
        numbered(
            "`sipwatch report` names the callers whom nobody called back; begin with those who "
            "asked for it.",
            "Whose task is it, and does he have the list? Numbers that cannot be dialled as they "
            "are shown (a missing prefix) are called back by nobody.",
            "`callback.return_window_seconds` says how long one has time.",
        ),
        wait="1h",
        impact="Who called and reached nobody waits for a call that does not come.",
    )


def _of(name: str, selector: str = "") -> Counted:
    labels = f"{{{selector}}}" if selector else ""
    return lambda window, offset: (
        f"sum by (job) (increase(sipwatch_{name}{labels}[{window}]{offset}))"
    )


def _fate_known(window: str, offset: str) -> str:
    """Called back, or the window passed without; those that still may be are neither."""
    names = ("missed_calls_returned_total", "missed_calls_never_returned_total")
    return "(" + " + ".join(_of(name)(window, offset) for name in names) + ")"
