"""What each agent was given and what became of it, by hour too; and calls nobody returned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from sipwatch.calls.types import Attempt, Call
from sipwatch.outcomes.taxonomy import CATEGORY, NOT_FAILED
from sipwatch.sinks.measures import agent_of, waited
from sipwatch.sinks.record import OPEN_VERDICT, RecordStyle, call_record

_MAX_AGENTS = 5_000
#: Missed calls that are remembered one by one.
_MAX_MISSED = 1_000
_NOT_MISSED = NOT_FAILED | {"handled_by_system"}


@dataclass(slots=True)
class Figures:
    """The attempts of one agent, or of one hour."""

    outcomes: Counter[str] = field(default_factory=Counter)
    ring_seconds: float = 0.0
    rang: int = 0
    talk_seconds: float = 0.0
    talked: int = 0

    def add(self, attempt: Attempt) -> None:
        """Counts an attempt."""
        self.outcomes[(attempt.verdict or OPEN_VERDICT).outcome] += 1
        ring, talk = attempt.ring_duration, attempt.talk_duration
        if ring is not None:
            self.ring_seconds += ring
            self.rang += 1
        if talk is not None:
            self.talk_seconds += talk
            self.talked += 1

    @property
    def tried(self) -> int:
        """How often it was tried."""
        return self.outcomes.total()

    @property
    def answered(self) -> int:
        """How often it was answered."""
        return self.outcomes["answered"]

    @property
    def failed(self) -> int:
        """How often it failed, whoever's doing it was."""
        return sum(count for name, count in self.outcomes.items() if name not in NOT_FAILED)

    def of(self, category: str) -> int:
        """How many outcomes of a category."""
        return sum(count for name, count in self.outcomes.items() if CATEGORY[name] == category)

    @property
    def mean_ring(self) -> float | None:
        """Seconds of ringing of those that rang."""
        return self.ring_seconds / self.rang if self.rang else None

    @property
    def mean_talk(self) -> float | None:
        """Seconds of talking of those that were answered."""
        return self.talk_seconds / self.talked if self.talked else None

    def record(self) -> dict[str, Any]:
        """The same for programs."""
        people, technology = self.of("user"), self.of("technical")
        return {
            "tried": self.tried,
            "answered": self.answered,
            "failed": self.failed,
            "people": people,
            "technology": technology,
            "system": self.failed - people - technology,
            "outcomes": dict(self.outcomes),
            "mean_ring_duration": self.mean_ring,
            "mean_talk_duration": self.mean_talk,
        }


class AgentReport:
    """Takes finished attempts and calls; memory is bounded by the number of agents."""

    def __init__(self, style: RecordStyle, zone: tzinfo | None) -> None:
        self._style = style
        self._zone = zone
        self.total = Figures()
        self.agents: dict[str, Figures] = {}
        self.hours: dict[int, Figures] = {}
        self.missed: list[Call] = []
        self.missed_count = 0

    def attempt(self, attempt: Attempt) -> None:
        """Counts an attempt for its agent; what has no agent is no agent's."""
        call = attempt.call
        if call is not None and call.root is attempt and len(call.attempts) > 1:
            return
        agent = agent_of(attempt, self._style.agents)
        if agent is None:
            return
        name = self._style.numbers.user(agent)
        if name not in self.agents and len(self.agents) >= _MAX_AGENTS:
            return
        hour = datetime.fromtimestamp(attempt.started_at, self._zone).hour
        for figures in (
            self.total,
            self.agents.setdefault(name, Figures()),
            self.hours.setdefault(hour, Figures()),
        ):
            figures.add(attempt)

    def call(self, call: Call) -> None:
        """Remembers a call that came in and was missed."""
        outcome = (call.verdict or OPEN_VERDICT).outcome
        if outcome in _NOT_MISSED or call.root.direction == "outbound":
            return
        self.missed_count += 1
        if len(self.missed) < _MAX_MISSED:
            self.missed.append(call)

    def not_returned(self) -> list[Call]:
        """Missed calls whose caller was not called back, as far as was seen, oldest first."""
        return [call for call in self.missed if call.returned_at is None]

    def by_need(self) -> list[tuple[str, Figures]]:
        """Agents, most failures first."""
        return sorted(
            self.agents.items(), key=lambda item: (-item[1].failed, -item[1].tried, item[0])
        )

    def record(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "schema": 1,
            "kind": "agents",
            "total": self.total.record(),
            "agents": {name: figures.record() for name, figures in self.by_need()},
            "hours": {str(hour): self.hours[hour].record() for hour in sorted(self.hours)},
            "missed": self.missed_count,
            "not_returned": [call_record(call, self._style) for call in self.not_returned()],
        }

    def missed_row(self, call: Call) -> tuple[datetime, dict[str, Any], float | None]:
        """When it came, its record, and how long the caller waited."""
        at = datetime.fromtimestamp(call.root.started_at, self._zone)
        return at, call_record(call, self._style), waited(call)
