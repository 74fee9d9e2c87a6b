"""The records of an attempt and of a call, schema 1: fields, their order and their meaning.

Times are epoch seconds, durations seconds, both with microseconds; what does not apply is None.

A retried attempt (a challenge, a 3xx that its sender follows) is one record. Of its first INVITE
are `id`, `started_at`, `source`, `from`, `to`, `request_uri`, `user_agent` and `first_packet`; of
the last, which decided, `destination`, `server`, `code`, `reasons` and `last_packet`. `legs` says
how many there were: with more than one, `destination` may be another host than `request_uri` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sipwatch.calls.types import Attempt, Call, Verdict
from sipwatch.config import Agents, Config
from sipwatch.sinks import measures
from sipwatch.sinks.identity import attempt_id, call_id
from sipwatch.sinks.privacy import Numbers
from sipwatch.sinks.wire import (
    USER_AGENT,
    called_of,
    caller_of,
    endpoint_text,
    header_text,
    last_response,
    request_uri_of,
    server_of,
    user_in_uri,
)
from sipwatch.sip.reason import Reason

SCHEMA = 1

ATTEMPT_FIELDS = (
    "schema",
    "kind",
    "id",
    "call_id",
    "call",
    "started_at",
    "ended_at",
    "transport",
    "source",
    "destination",
    "direction",
    "peer",
    "from",
    "to",
    "request_uri",
    "from_display",
    "user_agent",
    "server",
    "device",
    "cause_hint",
    "outcome",
    "category",
    "detail",
    "confidence",
    "evidence",
    "code",
    "reason_phrase",
    "reasons",
    "q850",
    "cancelled_by",
    "retransmissions",
    "challenged",
    "legs",
    "post_dial_delay",
    "ring_duration",
    "setup_duration",
    "talk_duration",
    "end",
    "closed_by",
    "first_packet",
    "last_packet",
    "file",
)

CALL_FIELDS = (
    "schema",
    "kind",
    "id",
    "started_at",
    "ended_at",
    "from",
    "to",
    "direction",
    "outcome",
    "category",
    "detail",
    "confidence",
    "evidence",
    "agent",
    "attempts",
    "wait_duration",
    "ring_duration",
    "talk_duration",
    "callback_requested",
    "returned_at",
    "returned_by",
    "returns",
    "callback_for",
)

#: Of an attempt that was never judged, because it is still open.
OPEN_VERDICT = Verdict("in_progress", None, None, None, (), "")

_CALLERS_CANCEL = frozenset(("abandoned", "briefly_abandoned"))
#: Outcomes from which it does not follow who sent a CANCEL.
_NOBODYS_CANCEL = frozenset(("answered", "in_progress", "incomplete"))


@dataclass(frozen=True, slots=True)
class RecordStyle:
    """What records depend on besides the facts."""

    numbers: Numbers = field(default_factory=Numbers)
    agents: Agents = field(default_factory=Agents)

    @classmethod
    def of(cls, config: Config) -> RecordStyle:
        """The style that a configuration asks for."""
        return cls(Numbers(config.privacy), config.agents)


PLAIN = RecordStyle()


def attempt_record(attempt: Attempt, style: RecordStyle = PLAIN) -> dict[str, Any]:
    """The record of an attempt, its fields in the order of `ATTEMPT_FIELDS`."""
    verdict = attempt.verdict or OPEN_VERDICT
    caller, called = caller_of(attempt), called_of(attempt)
    uri = request_uri_of(attempt)
    last = last_response(attempt)
    numbers = style.numbers
    users = () if numbers.full else users_of(attempt)
    reasons = deciding_reasons(attempt)
    return {
        "schema": SCHEMA,
        "kind": "attempt",
        "id": attempt_id(attempt),
        "call_id": attempt.call_id.decode("utf-8", "replace"),
        "call": None if attempt.root is None else attempt_id(attempt.root),
        "started_at": _seconds(attempt.started_at),
        "ended_at": _seconds(attempt.ended_at),
        "transport": attempt.transport,
        "source": endpoint_text(attempt.source),
        "destination": endpoint_text(attempt.destination),
        "direction": attempt.direction,
        "peer": attempt.peer,
        "from": numbers.address(caller.address) or None,
        "to": numbers.address(called.address) or None,
        "request_uri": None if uri is None else _private_uri(uri, numbers),
        "from_display": numbers.text(caller.display, users) or None,
        "user_agent": header_text(attempt.invite, USER_AGENT),
        "server": server_of(attempt),
        "device": None if attempt.device is None else numbers.text(attempt.device, users),
        "cause_hint": verdict.cause_hint,
        "outcome": verdict.outcome,
        "category": verdict.category,
        "detail": verdict.detail,
        "confidence": verdict.confidence,
        "evidence": [numbers.text(fact, users) for fact in verdict.evidence],
        "code": None if last is None else last.status,
        "reason_phrase": None if last is None else numbers.text(last.reason_phrase, users),
        "reasons": [_reason(reason, numbers, users) for reason in reasons],
        "q850": q850_of(attempt),
        "cancelled_by": cancelled_by(attempt),
        "retransmissions": attempt.retransmissions,
        "challenged": attempt.challenged,
        "legs": attempt.legs,
        "post_dial_delay": _seconds(attempt.post_dial_delay),
        "ring_duration": _seconds(attempt.ring_duration),
        "setup_duration": _seconds(attempt.setup_duration),
        "talk_duration": _seconds(attempt.talk_duration),
        "end": attempt.end,
        "closed_by": attempt.closed_by,
        "first_packet": attempt.packet,
        "last_packet": attempt.last_packet,
        "file": attempt.interface,
    }


def call_record(call: Call, style: RecordStyle = PLAIN) -> dict[str, Any]:
    """The record of a call, its fields in the order of `CALL_FIELDS`."""
    verdict = call.verdict or OPEN_VERDICT
    root, numbers = call.root, style.numbers
    users = () if numbers.full else {user for each in call.attempts for user in users_of(each)}
    agent = measures.agent_of_call(call, style.agents)
    ended = [each.ended_at for each in call.attempts if each.ended_at is not None]
    return {
        "schema": SCHEMA,
        "kind": "call",
        "id": call_id(call),
        "started_at": _seconds(root.started_at),
        "ended_at": _seconds(max(ended)) if call.ended and ended else None,
        "from": numbers.address(caller_of(root).address) or None,
        "to": numbers.address(called_of(root).address) or None,
        "direction": root.direction,
        "outcome": verdict.outcome,
        "category": verdict.category,
        "detail": verdict.detail,
        "confidence": verdict.confidence,
        "evidence": [numbers.text(fact, users) for fact in verdict.evidence],
        "agent": None if agent is None else numbers.user(agent),
        "attempts": [attempt_id(each) for each in call.attempts],
        "wait_duration": _seconds(measures.waited(call)),
        "ring_duration": _seconds(measures.rang(call)),
        "talk_duration": _seconds(measures.talked(call)),
        "callback_requested": call.callback_requested,
        "returned_at": _seconds(call.returned_at),
        "returned_by": None if call.returned_by is None else numbers.user(call.returned_by),
        "returns": None if call.returns is None else attempt_id(call.returns),
        "callback_for": None if call.callback_for is None else attempt_id(call.callback_for),
    }


# --- what the wire said ------------------------------------------------------------------------


def deciding_reasons(attempt: Attempt) -> Sequence[Reason]:
    """The Reasons of the final, else of the CANCEL, else of a provisional; never of the BYE."""
    return attempt.final_reasons or attempt.cancel_reasons or attempt.provisional_reasons


def q850_of(attempt: Attempt) -> int | None:
    """The Q.850 cause of the final, else of the CANCEL, else of a provisional."""
    for reasons in (attempt.final_reasons, attempt.cancel_reasons, attempt.provisional_reasons):
        for reason in reasons:
            if reason.protocol == "Q.850" and reason.cause is not None:
                return reason.cause
    return None


def cancelled_by(attempt: Attempt) -> str | None:
    """Who sent the CANCEL, as it follows from the outcome (outcomes.md section 4).

    Where an answer crossed it, from the outcome that it would have had (section 6).
    """
    verdict = attempt.verdict if attempt.answered_at is None else attempt.crossed_verdict
    outcome = (verdict or OPEN_VERDICT).outcome
    if attempt.cancel_at is None or outcome in _NOBODYS_CANCEL:
        return None
    return "caller" if outcome in _CALLERS_CANCEL else "system"


def users_of(attempt: Attempt) -> set[str]:
    """Every user part that the attempt names: what privacy must find in free text."""
    uri = request_uri_of(attempt)
    users = {caller_of(attempt).user, called_of(attempt).user, user_in_uri(uri or "")}
    users.add(attempt.device or "")
    return {user for user in users if user}


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _reason(reason: Reason, numbers: Numbers, users: set[str] | tuple[()]) -> dict[str, Any]:
    return {
        "protocol": reason.protocol,
        "cause": reason.cause,
        "text": numbers.text(reason.text, users),
    }


def _private_uri(uri: str, numbers: Numbers) -> str:
    user = user_in_uri(uri)
    return uri if numbers.full or not user else uri.replace(user, numbers.user(user))
