"""Which attempts and calls a person asked for: by outcome, agent and time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, NamedTuple

from sipwatch.calls.types import Attempt, Call, Verdict
from sipwatch.config import Agents, Config
from sipwatch.sinks.measures import agent_of, agent_of_call
from sipwatch.sinks.record import OPEN_VERDICT
from sipwatch.sinks.wire import called_of, caller_of, request_uri_of, user_in_uri

if TYPE_CHECKING:
    from sipwatch.outcomes.guide.filters import OutcomeFilter

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_EPOCH = re.compile(r"\d{1,11}(\.\d+)?")


class Moment(NamedTuple):
    """A point in time as it was typed: an epoch time, or a time of the first packet's day."""

    epoch: float | None
    clock: tuple[int, int, int] = (0, 0, 0)

    def at(self, first: float, zone: tzinfo | None) -> float:
        """Epoch seconds, for a capture that begins at `first`."""
        if self.epoch is not None:
            return self.epoch
        hour, minute, second = self.clock
        day = datetime.fromtimestamp(first, zone)
        # Without a zone the computer's own is meant.
        return day.replace(hour=hour, minute=minute, second=second, microsecond=0).timestamp()


def parse_moment(text: str, zone: tzinfo | None) -> Moment:
    """Read `2026-04-23T09:00`, `1776924000`, `09:00` or `09:00:30`. Raises ValueError."""
    text = text.strip()
    clock = _CLOCK.fullmatch(text)
    if clock:
        return Moment(None, (int(clock[1]), int(clock[2]), int(clock[3] or 0)))
    if _EPOCH.fullmatch(text):
        return Moment(float(text))
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    return Moment(moment.timestamp())


def zone_of(config: Config) -> tzinfo | None:
    """The time zone for people: the configured one; None = the computer's own."""
    return config.hours.timezone if "hours.timezone" in config.origins else None


@dataclass(slots=True)
class Selection:
    """What to show. Without any condition, everything."""

    outcomes: tuple[OutcomeFilter, ...] = ()
    agents: frozenset[str] = frozenset()
    since: Moment | None = None
    until: Moment | None = None
    zone: tzinfo | None = None
    #: Who is an agent.
    settings: Agents = field(default_factory=Agents)
    _bounds: tuple[float, float] | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.outcomes or self.agents or self.since or self.until)

    def attempt(self, attempt: Attempt) -> bool:
        """Whether an attempt is wanted."""
        return (
            self._outcome(attempt.verdict)
            and self._time(attempt.started_at)
            and (not self.agents or self._named(attempt, agent_of(attempt, self.settings)))
        )

    def call(self, call: Call) -> bool:
        """Whether a call is wanted: by its own outcome, and by any agent that was tried."""
        return (
            self._outcome(call.verdict)
            and self._time(call.root.started_at)
            and (
                not self.agents
                or any(
                    self._named(each, agent_of_call(call, self.settings)) for each in call.attempts
                )
            )
        )

    def _outcome(self, verdict: Verdict | None) -> bool:
        if not self.outcomes:
            return True
        outcome, _, detail = (verdict or OPEN_VERDICT)[:3]
        return any(wanted.matches(outcome, detail) for wanted in self.outcomes)

    def _time(self, time: float) -> bool:
        if self._bounds is None:
            since = float("-inf") if self.since is None else self.since.at(time, self.zone)
            until = float("inf") if self.until is None else self.until.at(time, self.zone)
            self._bounds = since, until
        return self._bounds[0] <= time <= self._bounds[1]

    def _named(self, attempt: Attempt, agent: str | None) -> bool:
        """Whether one of the wanted agents is in it: by the user, or by user@host."""
        caller, called = caller_of(attempt), called_of(attempt)
        uri = request_uri_of(attempt)
        names = (
            agent,
            caller.user,
            called.user,
            caller.address,
            called.address,
            attempt.device,
            user_in_uri(uri) if uri else None,
        )
        return any(name and name.lower() in self.agents for name in names)


def parse_outcomes(names: Sequence[str]) -> tuple[OutcomeFilter, ...]:
    """The filters that were typed, commas between names allowed. Raises UnknownFilterError."""
    from sipwatch.outcomes.guide.filters import parse_filter

    return tuple(
        parse_filter(name.strip()) for text in names for name in text.split(",") if name.strip()
    )
