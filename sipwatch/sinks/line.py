"""The record of an attempt as one line of JSON, fast: for millions of lines.

`attempt_record` is the specification; this builds the same object from fragments that repeat
(endpoints, names, verdicts) and were encoded before. Everything outside ASCII is escaped, so a
line is safe on any terminal.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as _quoted
from typing import TypeVar

from sipwatch.calls.types import Attempt, Call, Verdict
from sipwatch.sinks import measures
from sipwatch.sinks.identity import attempt_id
from sipwatch.sinks.record import (
    ATTEMPT_FIELDS,
    CALL_FIELDS,
    OPEN_VERDICT,
    PLAIN,
    SCHEMA,
    RecordStyle,
    attempt_record,
    call_record,
    cancelled_by,
    deciding_reasons,
    q850_of,
)
from sipwatch.sinks.wire import (
    FROM,
    TO,
    USER_AGENT,
    endpoint_text,
    last_response,
    party,
    party_value,
    server_value,
    speaker,
)
from sipwatch.sip.message import Message
from sipwatch.sip.reason import Reason

_MAX_REMEMBERED = 2_048
_LONGEST_LINE = 256
_Key = TypeVar("_Key")
_Fragment = TypeVar("_Fragment")

#: Fields whose JSON is made elsewhere, together with their neighbours.
_FLOW = ("transport", "source", "destination", "direction", "peer")
_VERDICT = ("cause_hint", "outcome", "category", "detail", "confidence")
_FORMATS = {"started_at": "%.6f", "direction": '"%s"'}


def _template(fields: tuple[str, ...], kind: str, *groups: tuple[str, ...]) -> str:
    """`{"schema":1,…}` with a conversion for each field, one for each group of neighbours."""
    fixed = {"schema": str(SCHEMA), "kind": f'"{kind}"'}
    first, others = {group[0] for group in groups}, {name for group in groups for name in group[1:]}
    parts = []
    for name in fields:
        if name in fixed:
            parts.append(f'"{name}":{fixed[name]}')
        elif name in first:
            parts.append("%s")
        elif name not in others:
            parts.append(f'"{name}":{_FORMATS.get(name, "%s")}')
    return "{" + ",".join(parts) + "}\n"


_TEMPLATE = _template(ATTEMPT_FIELDS, "attempt", _FLOW, _VERDICT)
_CALL_TEMPLATE = _template(CALL_FIELDS, "call", _VERDICT[1:])

_flows: dict[tuple[object, ...], str] = {}
_verdicts: dict[tuple[object, ...], str] = {}
_outcomes: dict[tuple[object, ...], str] = {}
_froms: dict[bytes, tuple[str, str]] = {}
_tos: dict[bytes, str] = {}
_phrases: dict[bytes, str] = {}
_values: dict[bytes | str | None, str] = {None: "null", "": "null", b"": "null"}


def attempt_line(attempt: Attempt, style: RecordStyle = PLAIN) -> str:
    """The record as JSON with its line end."""
    if not style.numbers.full:
        return json.dumps(attempt_record(attempt, style), separators=(",", ":")) + "\n"
    verdict = attempt.verdict or OPEN_VERDICT
    invite = attempt.invite
    message = invite or speaker(attempt)
    caller, display, called, uri = ("null",) * 4 if message is None else _names(message)
    if invite is None and attempt.cancel is None:
        uri = "null"
    last = last_response(attempt)
    root = attempt.root
    key = (attempt.source, attempt.destination, attempt.direction, attempt.peer, attempt.transport)
    identity = attempt_id(attempt)
    reasons = deciding_reasons(attempt)
    ended, delay, ring = attempt.ended_at, attempt.post_dial_delay, attempt.ring_duration
    setup, talk = attempt.setup_duration, attempt.talk_duration
    return _TEMPLATE % (
        f'"{identity}"',
        _quoted(attempt.call_id.decode("utf-8", "replace")),
        "null" if root is None else f'"{identity if root is attempt else attempt_id(root)}"',
        attempt.started_at,
        "null" if ended is None else f"{ended:.6f}",
        _flows.get(key) or _flow(attempt, key),
        caller,
        called,
        uri,
        display,
        "null" if invite is None else _value(USER_AGENT.value(invite)),
        _value(server_value(attempt)),
        "null" if attempt.device is None else _quoted(attempt.device),
        _verdicts.get(verdict[:4] + verdict[6:]) or _judgement(verdict),
        "[" + ",".join(map(_quoted, verdict.evidence)) + "]",
        "null" if last is None else last.status,
        "null" if last is None else _phrase(last),
        "[" + ",".join(map(_reason, reasons)) + "]" if reasons else "[]",
        "null" if not reasons or (cause := q850_of(attempt)) is None else cause,
        "null" if attempt.cancel_at is None else _optional(cancelled_by(attempt)),
        attempt.retransmissions,
        "true" if attempt.challenged else "false",
        attempt.legs,
        "null" if delay is None else f"{delay:.6f}",
        "null" if ring is None else f"{ring:.6f}",
        "null" if setup is None else f"{setup:.6f}",
        "null" if talk is None else f"{talk:.6f}",
        "null" if attempt.end is None else f'"{attempt.end}"',
        "null" if attempt.closed_by is None else f'"{attempt.closed_by}"',
        attempt.packet,
        attempt.last_packet,
        _values.get(attempt.interface) or _text(attempt.interface),
    )


def call_line(call: Call, style: RecordStyle = PLAIN) -> str:
    """The record of a call as JSON with its line end."""
    if not style.numbers.full:
        return json.dumps(call_record(call, style), separators=(",", ":")) + "\n"
    root, verdict = call.root, call.verdict or OPEN_VERDICT
    message = speaker(root)
    caller, _, called = ("null",) * 3 if message is None else _parties(message)
    ids = [attempt_id(each) for each in call.attempts]
    ends = [each.ended_at for each in call.attempts if each.ended_at is not None]
    return _CALL_TEMPLATE % (
        f'"{attempt_id(root)}"',
        root.started_at,
        f"{max(ends):.6f}" if call.ended and ends else "null",
        caller,
        called,
        root.direction,
        _outcomes.get(verdict[:4]) or _outcome(verdict),
        "[" + ",".join(map(_quoted, verdict.evidence)) + "]",
        _optional(measures.agent_of_call(call, style.agents)),
        '["' + '","'.join(ids) + '"]' if ids else "[]",
        _time(measures.waited(call)),
        _time(measures.rang(call)),
        _time(measures.talked(call)),
        "true" if call.callback_requested else "false",
        _time(call.returned_at),
        "null" if call.returned_by is None else _quoted(call.returned_by),
        "null" if call.returns is None else f'"{attempt_id(call.returns)}"',
        "null" if call.callback_for is None else f'"{attempt_id(call.callback_for)}"',
    )


def _parties(message: Message) -> tuple[str, str, str]:
    """From, its display name and To as JSON."""
    value = party_value(message, FROM)
    caller = _froms.get(value) or _from(value)
    value = party_value(message, TO)
    return caller[0], caller[1], _tos.get(value) or _to(value)


def _time(seconds: float | None) -> str:
    return "null" if seconds is None else f"{seconds:.6f}"


def _names(message: Message) -> tuple[str, str, str, str]:
    """From, its display name, To and the Request-URI as JSON."""
    caller, display, called = _parties(message)
    if message.status:
        return caller, display, called, "null"
    # The Request-URI stands between the first two blanks.
    return caller, display, called, _value(message.request_uri)


def _from(value: bytes) -> tuple[str, str]:
    found = party(value)
    fragments = (_optional(found.address), _optional(found.display))
    _remember(_froms, value, fragments)
    return fragments


def _to(value: bytes) -> str:
    fragment = _optional(party(value).address)
    _remember(_tos, value, fragment)
    return fragment


def _flow(attempt: Attempt, key: tuple[object, ...]) -> str:
    values = (
        attempt.transport,
        endpoint_text(attempt.source),
        endpoint_text(attempt.destination),
        attempt.direction,
        attempt.peer,
    )
    return _group(_FLOW, values, _flows, key)


def _judgement(verdict: Verdict) -> str:
    values = (
        verdict.cause_hint,
        verdict.outcome,
        verdict.category,
        verdict.detail,
        verdict.confidence,
    )
    return _group(_VERDICT, values, _verdicts, verdict[:4] + verdict[6:])


def _outcome(verdict: Verdict) -> str:
    return _group(_VERDICT[1:], verdict[:4], _outcomes, verdict[:4])


def _group(
    names: tuple[str, ...],
    values: tuple[str | None, ...],
    memory: dict[tuple[object, ...], str],
    key: tuple[object, ...],
) -> str:
    pairs = zip(names, values, strict=True)
    fragment = ",".join(
        f'"{name}":{"null" if value is None else _quoted(value)}' for name, value in pairs
    )
    _remember(memory, key, fragment)
    return fragment


def _value(value: bytes | None) -> str:
    """A header value as JSON, None and nothing as null."""
    return _values.get(value) or _text(value)


def _text(value: bytes | str | None) -> str:
    text = value.strip().decode("utf-8", "replace") if isinstance(value, bytes) else value
    fragment = _optional(text)
    _remember(_values, value, fragment)
    return fragment


def _phrase(message: Message) -> str:
    """The reason phrase, which may be empty."""
    line = message.raw[: message.raw.find(b"\r", 0, _LONGEST_LINE)]
    if len(line) >= _LONGEST_LINE:
        return _quoted(message.reason_phrase)
    fragment = _phrases.get(line)
    if fragment is None:
        _remember(_phrases, line, fragment := _quoted(message.reason_phrase))
    return fragment


def _reason(reason: Reason) -> str:
    cause = "null" if reason.cause is None else reason.cause
    protocol, text = _quoted(reason.protocol), _quoted(reason.text)
    return f'{{"protocol":{protocol},"cause":{cause},"text":{text}}}'


def _optional(value: str | None) -> str:
    return _quoted(value) if value else "null"


def _remember(memory: dict[_Key, _Fragment], key: _Key, fragment: _Fragment) -> None:
    if len(memory) >= _MAX_REMEMBERED:
        memory.clear()
    memory[key] = fragment
