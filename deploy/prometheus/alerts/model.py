"""What an alert is, and the phrases that several alerts use."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipwatch.outcomes.guide import Entry

#: Nothing is said of these, so that they are in no share.
UNJUDGED = "in_progress|incomplete"
PLACE = "job, instance, direction, peer"
HOST = "job, instance"
ATTEMPTS = "sipwatch_attempts_total"


class Text(str):
    """A text that stands in its own lines."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule."""

    name: str
    expr: str
    severity: str
    summary: str
    #: With the numbers, as a template.
    description: str
    #: What to do, step by step.
    runbook: str
    wait: str = ""
    #: Goes on so long after the condition is over, so that it does not flap.
    linger: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    #: What it means for callers and agents.
    impact: str = ""

    def rule(self) -> dict[str, object]:
        """As Prometheus takes it."""
        rule: dict[str, object] = {"alert": self.name, "expr": Text(self.expr.strip() + "\n")}
        if self.wait:
            rule["for"] = self.wait
        if self.linger:
            rule["keep_firing_for"] = self.linger
        rule["labels"] = {"severity": self.severity, **self.labels}
        texts = {"summary": self.summary, "description": Text(self.description + "\n")}
        if self.impact:
            texts["impact"] = Text(self.impact + "\n")
        rule["annotations"] = {**texts, "runbook": Text(self.runbook.strip() + "\n")}
        return rule


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together."""

    name: str
    comment: str
    alerts: tuple[Alert, ...]
    interval: str = ""


def alert_name(entry: Entry) -> str:
    """The name of the alert about an outcome."""
    return "Sipwatch" + "".join(word.capitalize() for word in str(entry.outcome).split("_"))


def steps_of(entry: Entry) -> str:
    """What the guide tells the admin to do."""
    return numbered(*entry.steps) + f"\nMore: `sipwatch guide {entry.key}`\n"


def numbered(*steps: str) -> str:
    """Steps in their order, one a line."""
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))


def increase(selector: str, window: str, by: str, offset: str = "") -> str:
    """How many attempts of a kind there were within a window."""
    return f"sum by ({by}) (increase({ATTEMPTS}{{{selector}}}[{window}]{offset}))"
