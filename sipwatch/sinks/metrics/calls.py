"""Counts what became of attempts, dialogs and calls; called for each event of the pipeline.

An attempt is counted when it is settled, an answered one too: how its conversation goes on is
another measure. The thread of the pipeline counts; `readings` is called by it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sipwatch.calls.types import Attempt, AttemptEnded, Call, DialogEnded, Event
from sipwatch.config import Agents, Config
from sipwatch.outcomes.taxonomy import DETAILS as OUTCOME_DETAILS
from sipwatch.outcomes.taxonomy import NOT_FAILED
from sipwatch.sinks.measures import agent_of
from sipwatch.sinks.metrics import families
from sipwatch.sinks.metrics.labels import (
    ATTEMPT_OUTCOMES,
    CALL_OUTCOMES,
    CAUSE_HINTS,
    CONFIDENCES,
    DIRECTIONS,
    ENDS,
    NONE,
    OTHER,
    PEER_DIRECTIONS,
    UNCERTAIN,
    USUAL_CODE,
    agent_label,
    code_label,
)
from sipwatch.sinks.metrics.readings import CounterReading, Reading, Witness
from sipwatch.sinks.metrics.tables import CounterTable, HistogramTable
from sipwatch.sinks.metrics.texts import Labels

#: Series of attempts that may come beside those that are expected.
_MORE_ATTEMPT_SERIES = 10_000
#: Outcomes that an agent's attempts may have, at most.
_OUTCOMES_OF_AN_AGENT = len(ATTEMPT_OUTCOMES)
#: Challenges are no failures of a request (RFC 6076 4.3.2).
_CHALLENGES = frozenset((401, 407))


class CallMetrics:
    """All counters and histograms of attempts, dialogs and calls."""

    def __init__(self, config: Config, agent_name: Callable[[str], str] = str) -> None:
        """`agent_name` is how an agent may be shown, as privacy asks for."""
        peers = peer_names(config)
        known = list(_attempt_series(peers))
        outcomes = [(outcome,) for outcome in ATTEMPT_OUTCOMES]
        self._agents = config.agents
        self._agent_name = agent_name
        self._agents_seen: dict[str, None] = {}
        self.attempts = CounterTable(
            families.ATTEMPTS, known, limit=len(known) + _MORE_ATTEMPT_SERIES
        )
        self._witnesses: dict[Labels, Witness] = {}
        self.confidence = CounterTable(
            families.CONFIDENCE,
            [(o, c) for o in ATTEMPT_OUTCOMES if o not in UNCERTAIN for c in CONFIDENCES],
        )
        self.details = CounterTable(
            families.DETAILS, [(o, d) for o, all_ in OUTCOME_DETAILS.items() for d in all_]
        )
        self.cause_hints = CounterTable(families.CAUSE_HINTS, [(hint,) for hint in CAUSE_HINTS])
        self.ambiguous = CounterTable(families.AMBIGUOUS, [()])
        self.calls = CounterTable(families.CALLS, _call_series(peers))
        self.ends = CounterTable(families.DIALOG_ENDS, [(end,) for end in ENDS])
        self.agents = CounterTable(families.AGENT_ATTEMPTS, limit=_agent_series(config.agents))
        results = [("success",), ("failure",)]
        self.request_delay = HistogramTable(families.SESSION_REQUEST_DELAY, results)
        self.post_dial_delay = HistogramTable(families.POST_DIAL_DELAY)
        self.ring = HistogramTable(families.RING_DURATION, outcomes)
        self.setup = HistogramTable(families.SESSION_SETUP, outcomes)
        self.talk = HistogramTable(families.SESSION_DURATION)
        self.disconnect_delay = HistogramTable(families.SESSION_DISCONNECT_DELAY)

    def reconfigure(self, config: Config, agent_name: Callable[[str], str]) -> None:
        """Goes on with other peers and agents; what was counted stays."""
        peers = peer_names(config)
        self.attempts.expect(_attempt_series(peers))
        self.calls.expect(_call_series(peers))
        self._agents = config.agents
        self._agent_name = agent_name
        self.agents.limit = max(self.agents.limit, _agent_series(config.agents))

    def take(self, events: Iterable[Event]) -> None:
        """Counts what has ended."""
        for event in events:
            kind = type(event)
            if kind is AttemptEnded:
                self._attempt(event.attempt)  # type: ignore[union-attr]
            elif kind is DialogEnded:
                self._dialog(event.attempt)  # type: ignore[union-attr]
            else:
                self._call(event.call)  # type: ignore[union-attr]

    def _attempt(self, attempt: Attempt) -> None:
        verdict = attempt.verdict
        assert verdict is not None
        outcome = verdict.outcome
        labels = self.attempts.add(
            (attempt.direction, attempt.peer, outcome, code_label(_final_status(attempt)))
        )
        if verdict.confidence is not None:
            self.confidence.add((outcome, verdict.confidence))
        if verdict.detail is not None:
            self.details.add((outcome, verdict.detail))
        if verdict.cause_hint is not None:
            self.cause_hints.add((verdict.cause_hint,))
        if attempt.ambiguous:
            self.ambiguous.add(())
        if outcome not in NOT_FAILED:
            self._witness(labels, attempt)
        if self._agents.metrics:
            self._agent(attempt, outcome)
        self._durations(attempt, outcome)

    def _witness(self, labels: Labels, attempt: Attempt) -> None:
        """Remembers the newest attempt; Prometheus refuses exemplars that go back in time."""
        time = attempt.ended_at or attempt.last_at
        last = self._witnesses.get(labels)
        if last is None or time > last.time:
            call_id = attempt.call_id.decode("utf-8", "replace")
            self._witnesses[labels] = Witness(call_id, time)

    def _durations(self, attempt: Attempt, outcome: str) -> None:
        key = (outcome,)
        ring = attempt.ring_duration
        if ring is not None:
            self.ring.observe(key, ring)
        # An answer that crossed its CANCEL is what the caller got.
        until = attempt.answered_at if attempt.answered_at is not None else attempt.rang_until
        if until is not None:
            self.setup.observe(key, max(0.0, until - attempt.started_at))
        delay = attempt.post_dial_delay
        if delay is not None:
            self.post_dial_delay.observe((), delay)
        elif attempt.final_at is not None and attempt.final_status not in _CHALLENGES:
            delay = max(0.0, attempt.final_at - attempt.started_at)
        if delay is not None and attempt.invite is not None:
            result = "success" if attempt.answered_at is not None else "failure"
            self.request_delay.observe((result,), delay)

    def _agent(self, attempt: Attempt, outcome: str) -> None:
        user = agent_of(attempt, self._agents)
        if user is None:
            return
        agent = agent_label(self._agent_name(user))
        seen = self._agents_seen
        if agent not in seen:
            if len(seen) >= self._agents.limit:
                self.agents.overflow += 1
                agent = OTHER
            else:
                seen[agent] = None
        self.agents.add((agent, outcome))

    def _dialog(self, attempt: Attempt) -> None:
        self.ends.add((attempt.end or "open",))
        talk = attempt.talk_duration
        if talk is not None:
            self.talk.observe((), talk)
        if attempt.bye_at is not None and attempt.bye_ok_at is not None:
            self.disconnect_delay.observe((), max(0.0, attempt.bye_ok_at - attempt.bye_at))

    def _call(self, call: Call) -> None:
        verdict = call.verdict
        assert verdict is not None
        self.calls.add((call.root.direction, call.root.peer, verdict.outcome))

    @property
    def tables(self) -> tuple[CounterTable, ...]:
        """The counters, in the order in which they are shown."""
        return (
            self.attempts,
            self.confidence,
            self.details,
            self.cause_hints,
            self.ambiguous,
            self.calls,
            self.ends,
            self.agents,
        )

    def readings(self) -> list[Reading]:
        """Copies of all that was counted."""
        found: list[Reading] = [
            CounterReading(table, self._witnesses.copy() if table is self.attempts else None)
            for table in self.tables
        ]
        histograms = (
            self.request_delay,
            self.post_dial_delay,
            self.ring,
            self.setup,
            self.talk,
            self.disconnect_delay,
        )
        found += [Reading(table.family, table.copy()) for table in histograms]
        return found


def peer_names(config: Config) -> tuple[str, ...]:
    """The configured peers; `other` stands for everybody else."""
    return tuple(config.peers)


def _final_status(attempt: Attempt) -> int:
    if attempt.answered_at is not None:
        return 200 if attempt.answer is None else attempt.answer.status
    return attempt.final_status if attempt.final is not None else 0


def _places(peers: Iterable[str]) -> list[tuple[str, str]]:
    """Direction and peer, as far as both go together."""
    named = [(direction, peer) for peer in peers for direction in PEER_DIRECTIONS]
    return named + [(direction, OTHER) for direction in DIRECTIONS]


def _attempt_series(peers: Iterable[str]) -> list[Labels]:
    return [
        (direction, peer, outcome, USUAL_CODE.get(outcome, NONE))
        for direction, peer in _places(peers)
        for outcome in ATTEMPT_OUTCOMES
    ]


def _call_series(peers: Iterable[str]) -> list[Labels]:
    return [
        (direction, peer, outcome)
        for direction, peer in _places(peers)
        for outcome in CALL_OUTCOMES
    ]


def _agent_series(agents: Agents) -> int:
    # One more for those who are counted together.
    return (agents.limit + 1) * _OUTCOMES_OF_AN_AGENT
