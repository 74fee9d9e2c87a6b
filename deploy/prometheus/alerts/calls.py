"""Outcomes of attempts: technology by share and by number, people as trends."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.model import HOST, PLACE, UNJUDGED, Alert, alert_name, increase, steps_of
from alerts.trend import RISEN, Counted, risen
from sipwatch.outcomes.guide import Entry, Guide
from sipwatch.outcomes.taxonomy import OUTCOMES

#: A technical outcome pages by its share of enough attempts of one direction and peer ...
SHARE, SHARE_ATTEMPTS, SHARE_WINDOW = 0.05, 40, "15m"
#: ... or when so many callers were hit at once, whatever their share.
RATE, RATE_WINDOW = 30, "10m"
#: People: a day against the week before it, in shares, with so many attempts in both.
TREND_DAY, TREND_WEEK = 200, 1000


def technology(guide: Guide) -> Iterator[Alert]:
    """For each outcome that the guide wants to be looked at now, by share and by number."""
    for outcome in OUTCOMES:
        entry = guide.entry(outcome.name)
        if entry.urgency != "investigate_now" or outcome.level == "call":
            continue
        severity = "page" if outcome.category == "technical" else "ticket"
        yield _by_share(entry, severity)
        yield _by_rate(entry, severity)


def _by_share(entry: Entry, severity: str) -> Alert:
    ours = increase(f'outcome="{entry.outcome}"', SHARE_WINDOW, PLACE)
    attempts = increase(f'outcome!~"{UNJUDGED}"', SHARE_WINDOW, PLACE)
    return Alert(
        alert_name(entry),
        f"{ours}\n/\n{attempts}\n>= {SHARE}\nand\n{attempts}\n>= {SHARE_ATTEMPTS}",
        severity,
        f"{entry.name}: {{{{ $value | humanizePercentage }}}} of the {{{{ $labels.direction }}}} "
        "attempts, peer {{ $labels.peer }}",
        f"{{{{ $value | humanizePercentage }}}} of the {{{{ $labels.direction }}}} attempts of "
        f"the last {SHARE_WINDOW} (peer {{{{ $labels.peer }}}}, seen by "
        f"{{{{ $labels.instance }}}}) ended as {entry.outcome}; "
        f"{SHARE:.0%} of at least {SHARE_ATTEMPTS} is too much.",
        steps_of(entry),
        wait="2m",
        linger="5m",
        labels={"measure": "share", "outcome": str(entry.outcome)},
        impact=entry.means,
    )


def _by_rate(entry: Entry, severity: str) -> Alert:
    ours = increase(f'outcome="{entry.outcome}"', RATE_WINDOW, HOST)
    return Alert(
        alert_name(entry),
        f"{ours}\n>= {RATE}",
        severity,
        f"{entry.name}: {{{{ $value | humanize }}}} attempts in {RATE_WINDOW}",
        f"{{{{ $value | humanize }}}} attempts ended as {entry.outcome} in the last "
        f"{RATE_WINDOW}, seen by {{{{ $labels.instance }}}}; {RATE} are too many, whatever their "
        "share.",
        steps_of(entry),
        linger="5m",
        labels={"measure": "rate", "outcome": str(entry.outcome)},
        impact=entry.means,
    )


def people(guide: Guide) -> Iterator[Alert]:
    """For each outcome whose trend matters, a day against the week before it."""
    for outcome in OUTCOMES:
        entry = guide.entry(outcome.name)
        if outcome.level == "call" or entry.urgency != "trend" or outcome.category is None:
            continue
        yield _trend(entry)


def _trend(entry: Entry) -> Alert:
    def of(selector: str) -> Counted:
        return lambda window, offset: increase(selector, window, "job, direction", offset)

    ours, all_ = of(f'outcome="{entry.outcome}"'), of(f'outcome!~"{UNJUDGED}"')
    return Alert(
        f"{alert_name(entry)}Trend",
        risen(ours, all_, TREND_DAY, TREND_WEEK),
        "trend",
        f"{entry.name}: {{{{ $value | humanizePercentage }}}} of the "
        "{{ $labels.direction }} attempts of the last day",
        f"{{{{ $value | humanizePercentage }}}} of the {{{{ $labels.direction }}}} attempts of "
        f"the last 24 hours ended as {entry.outcome}: {RISEN}.",
        steps_of(entry),
        wait="1h",
        labels={"outcome": str(entry.outcome)},
        impact=entry.means,
    )
