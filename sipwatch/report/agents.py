"""What each agent was given and what became of it, by hour too; and calls nobody returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, TypeAlias

from sipwatch.calls.identity import key_of
from sipwatch.calls.types import Attempt, Call, Missed
from sipwatch.outcomes.missed import MOST_MISSED
from sipwatch.outcomes.taxonomy import CATEGORY, NOT_FAILED
from sipwatch.sinks.measures import agent_of, waited
from sipwatch.sinks.record import OPEN_VERDICT, RecordStyle, call_record

_MAX_AGENTS = 5_000
#: A number with so many digits is a telephone number; a device takes calls for so many users.
_NUMBER_DIGITS = 7
_DEVICE_USERS = 2


class MissedRow(NamedTuple):
    """A missed call: whether it was returned is known later than the rest."""

    call: Missed
    at: datetime
    record: dict[str, Any]
    #: Seconds that its caller waited.
    waited: float | None


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

    def merge(self, other: Figures) -> None:
        """Takes in what another has counted."""
        self.outcomes += other.outcomes
        self.ring_seconds += other.ring_seconds
        self.rang += other.rang
        self.talk_seconds += other.talk_seconds
        self.talked += other.talked

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
    def own(self) -> int:
        """How many failures were a person's or technology's doing."""
        return self.of("user") + self.of("technical")

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


#: Name to hour of the day to figures.
_Hourly: TypeAlias = dict[str, dict[int, Figures]]


def _merge(into: dict[int, Figures], hours: dict[int, Figures]) -> None:
    for hour, figures in hours.items():
        into[hour] = _sum((into[hour], figures)) if hour in into else figures


def _sum(all_: Iterable[Figures]) -> Figures:
    total = Figures()
    for figures in all_:
        total.merge(figures)
    return total


class AgentReport:
    """Takes finished attempts and calls; memory is bounded by the number of agents."""

    def __init__(
        self, style: RecordStyle, zone: tzinfo | None, *, networks_configured: bool = False
    ) -> None:
        self._style = style
        self._zone = zone
        self._networks_configured = networks_configured
        #: Figures by hour, of each agent, of each number outside, and of each that callers dialled.
        self._agents: _Hourly = {}
        self._outside: _Hourly = {}
        self._dialled: _Hourly = {}
        #: The users that were tried at an address.
        self._users: dict[bytes, set[str]] = {}
        self._addresses: dict[str, bytes] = {}
        self.missed: list[MissedRow] = []
        self.missed_count = 0

    def attempt(self, attempt: Attempt) -> None:
        """Counts an attempt for its agent; what has no agent is no agent's.

        Without a configuration that names the agents, they are whom the PBX calls: not who is
        behind a trunk, and not the number of a queue that a caller dialled.
        """
        call = attempt.call
        if call is not None and call.root is attempt and len(call.attempts) > 1:
            return
        agent = agent_of(attempt, self._style.agents)
        if agent is None:
            return
        if self._style.agents.configured:
            return self._add(self._agents, agent, attempt)
        if attempt.role == "caller":
            return self._add(self._dialled, agent, attempt)
        if attempt.peer != "other" or (
            self._networks_configured and attempt.direction == "outbound"
        ):
            return None
        if len(key_of(agent)) < _NUMBER_DIGITS or not key_of(agent).isdigit():
            return self._add(self._agents, agent, attempt)
        address = attempt.destination[0]
        if address in self._users or len(self._users) < _MAX_AGENTS:
            users = self._users.setdefault(address, set())
            if len(users) <= _DEVICE_USERS:
                users.add(agent)
        self._addresses.setdefault(self._style.numbers.user(agent), address)
        return self._add(self._outside, agent, attempt)

    def _add(self, table: _Hourly, agent: str, attempt: Attempt) -> None:
        name = self._style.numbers.user(agent)
        if name not in table and len(table) >= _MAX_AGENTS:
            return
        hour = datetime.fromtimestamp(attempt.started_at, self._zone).hour
        table.setdefault(name, {}).setdefault(hour, Figures()).add(attempt)

    def _counted(self) -> _Hourly:
        """Who turned out to be an agent.

        A telephone number is one at an address that takes no others; else it is somebody outside,
        called through a trunk. Numbers that callers dialled stand for agents only where none of
        these are in view, or where they are an agent's own.
        """
        found = {name: dict(hours) for name, hours in self._agents.items()}
        for name, hours in self._outside.items():
            users = self._users.get(self._addresses[name], set())
            if name in found or len(users) <= _DEVICE_USERS:
                _merge(found.setdefault(name, {}), hours)
        nobody = not found
        for name, hours in self._dialled.items():
            if nobody or name in found:
                _merge(found.setdefault(name, {}), hours)
        return found or self._outside

    @property
    def agents(self) -> dict[str, Figures]:
        """Figures of each agent."""
        return {name: _sum(hours.values()) for name, hours in self._counted().items()}

    @property
    def hours(self) -> dict[int, Figures]:
        """Figures of each hour of the day."""
        found: dict[int, Figures] = {}
        for hours in self._counted().values():
            _merge(found, hours)
        return found

    @property
    def total(self) -> Figures:
        """Figures of all agents."""
        return _sum(self.agents.values())

    def call(self, call: Call) -> None:
        """Remembers a call that was missed, as `sipwatch.outcomes.missed` has it."""
        missed = call.missed
        if missed is None or not missed.inbound:
            return
        self.missed_count += 1
        if len(self.missed) < MOST_MISSED:
            at = datetime.fromtimestamp(call.root.started_at, self._zone)
            record = call_record(call, self._style)
            self.missed.append(MissedRow(missed, at, record, waited(call)))

    def not_returned(self) -> list[MissedRow]:
        """Missed calls whose caller was not called back, as far as was seen, oldest first.

        Without those of hidden numbers: nobody can call them back.
        """
        return [row for row in self.missed if row.call.keys and row.call.returned_at is None]

    def by_need(self) -> list[tuple[str, Figures]]:
        """Agents, most failures of people and technology first; a lost race is nobody's failure."""
        return sorted(
            self.agents.items(),
            key=lambda item: (-item[1].own, -item[1].failed, -item[1].tried, item[0]),
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
            "not_returned": [
                row.record | {"callback_requested": row.call.callback_requested}
                for row in self.not_returned()
            ],
        }
