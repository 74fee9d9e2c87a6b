"""Counts attempts (or calls) for the report; memory does not grow with their number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from sipwatch.calls.types import Attempt, Call, Verdict
from sipwatch.outcomes.taxonomy import CATEGORY, NOT_FAILED
from sipwatch.sinks.identity import attempt_id, call_id
from sipwatch.sinks.measures import agent_of, agent_of_call
from sipwatch.sinks.record import OPEN_VERDICT, PLAIN, RecordStyle
from sipwatch.sinks.wire import endpoint_text

#: Distinct names that are counted one by one; further ones go to OTHERS.
_MAX_NAMES = 5_000
_MAX_FLOWS = 100
OTHERS = ""

#: What people look at first: who has to do something about it.
SIDES = {
    "user": "people",
    "technical": "technology",
    "success": "answered",
}


class Cause(NamedTuple):
    """What failed attempts have in common as far as the guide speaks of it."""

    outcome: str
    detail: str | None
    cause_hint: str | None


@dataclass(slots=True)
class Concerned:
    """The attempts of one cause."""

    count: int = 0
    #: Record and file of the first one, to look at.
    example: str = ""
    file: str = ""
    agents: Counter[str] = field(default_factory=Counter)


class Summary:
    """Totals of what was given to it."""

    def __init__(self, style: RecordStyle = PLAIN) -> None:
        self._style = style
        #: Whether calls were counted, not attempts.
        self.of_calls = False
        self.total = 0
        self.outcomes: Counter[str] = Counter()
        self.details: Counter[tuple[str, str]] = Counter()
        self.causes: dict[Cause, Concerned] = {}
        self.peers: dict[str, Counter[str]] = {}
        self.agents: dict[str, Counter[str]] = {}
        #: Pairs of endpoints of which only one direction is in view.
        self.one_way: Counter[tuple[str, str]] = Counter()
        self.ambiguous = 0
        self.losses = 0

    @property
    def answered(self) -> int:
        """How many were answered."""
        return self.outcomes["answered"]

    @property
    def failed(self) -> int:
        """How many failed, whoever's doing it was."""
        return sum(count for name, count in self.outcomes.items() if name not in NOT_FAILED)

    def failures(self) -> list[tuple[str, int]]:
        """Outcomes of what failed with their numbers, most frequent first."""
        return [pair for pair in self.outcomes.most_common() if pair[0] not in NOT_FAILED]

    def by_category(self) -> Counter[str]:
        """What failed by category."""
        found: Counter[str] = Counter()
        for name, count in self.failures():
            found[CATEGORY.get(name) or "other"] += count
        return found

    def attempt(self, attempt: Attempt) -> None:
        """Counts an attempt."""
        verdict = attempt.verdict or OPEN_VERDICT
        agent = None if _is_parent(attempt) else agent_of(attempt, self._style.agents)
        self._count(verdict, attempt.peer, agent, attempt_id(attempt), attempt.interface)
        self.ambiguous += attempt.ambiguous > 0
        self.losses += attempt.losses
        if attempt.one_way and verdict.outcome == "incomplete":
            flow = endpoint_text(attempt.source), endpoint_text(attempt.destination)
            if flow in self.one_way or len(self.one_way) < _MAX_FLOWS:
                self.one_way[flow] += 1

    def call(self, call: Call) -> None:
        """Counts a call."""
        self.of_calls = True
        verdict = call.verdict or OPEN_VERDICT
        agent = agent_of_call(call, self._style.agents)
        self._count(verdict, call.root.peer, agent, call_id(call), call.root.interface)
        self.ambiguous += any(attempt.ambiguous for attempt in call.attempts)

    def _count(
        self, verdict: Verdict, peer: str, agent: str | None, identity: str, file: str
    ) -> None:
        outcome = verdict.outcome
        self.total += 1
        self.outcomes[outcome] += 1
        if verdict.detail is not None:
            self.details[outcome, verdict.detail] += 1
        self.peers.setdefault(peer, Counter())[outcome] += 1
        name = None if agent is None else self._agent(agent)
        if name is not None:
            self.agents.setdefault(name, Counter())[outcome] += 1
        if outcome in NOT_FAILED:
            return
        cause = self.causes.setdefault(
            Cause(outcome, verdict.detail, verdict.cause_hint), Concerned()
        )
        cause.count += 1
        if not cause.example:
            cause.example, cause.file = identity, file
        if name is not None:
            cause.agents[name] += 1

    def _agent(self, agent: str) -> str:
        """The name to count under; beyond the bound all new names are one."""
        name = self._style.numbers.user(agent)
        return name if name in self.agents or len(self.agents) < _MAX_NAMES else OTHERS


def _is_parent(attempt: Attempt) -> bool:
    """A caller's leg whose agents' legs are in view says nothing about an agent."""
    call = attempt.call
    return call is not None and call.root is attempt and len(call.attempts) > 1
