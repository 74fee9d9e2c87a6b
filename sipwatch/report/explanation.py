"""One call explained: verdict and evidence, its legs, the ladder, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sipwatch.calls.types import Attempt, Call, Verdict
from sipwatch.outcomes.guide.entries import Entry, Guide
from sipwatch.report.console import wire
from sipwatch.report.first_steps import advice_for
from sipwatch.report.ladder import Ladder
from sipwatch.report.ladder_view import ladder_lines, leg_name
from sipwatch.report.search import Found
from sipwatch.report.summary import Cause
from sipwatch.sinks.identity import call_id
from sipwatch.sinks.record import OPEN_VERDICT, RecordStyle, attempt_record, call_record
from sipwatch.sinks.wire import endpoint_text

#: Attempts of one Call-ID that are explained one by one.
_MAX_ATTEMPTS = 8
#: Fields of a record that are shown as they are, with the key of their name.
_FACTS = (
    ("call_id", "report.call_id"),
    ("source", "report.source"),
    ("destination", "report.destination"),
    ("from", "report.from"),
    ("to", "report.to"),
    ("user_agent", "report.user_agent"),
    ("server", "view.server"),
    ("device", "report.device"),
)
_TIMINGS = (
    ("post_dial_delay", "report.post_dial_delay"),
    ("ring_duration", "report.ring_time"),
    ("setup_duration", "report.setup_time"),
    ("talk_duration", "report.talk_time"),
)
_CALL_TIMINGS = (
    ("wait_duration", "report.wait_time"),
    ("ring_duration", "report.ring_time"),
    ("talk_duration", "report.talk_time"),
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is said about one call."""

    found: Found
    ladder: Ladder
    style: RecordStyle
    guide: Guide
    zone: tzinfo | None

    @property
    def call(self) -> Call | None:
        """The call, when it has more than the one attempt."""
        call = self.found.call
        return call if call is not None and len(call.attempts) > 1 else None

    @property
    def asked(self) -> Sequence[Attempt]:
        """The attempts that were asked for."""
        return self.found.asked

    @property
    def legs(self) -> Sequence[Attempt]:
        """All legs of the call, in order of time."""
        return self.found.legs

    @property
    def start(self) -> float:
        """When the call began."""
        return self.legs[0].started_at

    def record(self) -> dict[str, Any]:
        """The same for programs."""
        call = self.call
        return {
            "schema": 1,
            "kind": "explanation",
            "attempts": [
                {**self._leg(leg), "rule": (leg.verdict or OPEN_VERDICT).rule} for leg in self.asked
            ],
            "call": None if call is None else call_record(call, self.style),
            "legs": [self._leg(leg) for leg in self.legs],
            "messages": [self._message(at) for at in range(len(self.ladder.rows))],
            "messages_left_out": self.ladder.left_out,
            "advice": _advice_record(advice_for(_cause(self.asked[0].verdict), self.guide)),
        }

    def _leg(self, leg: Attempt) -> dict[str, Any]:
        """Its record; the attempt may have been untied from its call in the meantime."""
        call = self.found.call
        return {
            **attempt_record(leg, self.style),
            "call": None if call is None else call_id(call),
        }

    def _message(self, at: int) -> dict[str, Any]:
        row = self.ladder.rows[at]
        previous = self.ladder.rows[at - 1].time if at else self.start
        return {
            "leg": leg_name(row.leg),
            "time": round(row.time, 6),
            "offset": round(row.time - self.start, 6),
            "delta": round(row.time - previous, 6),
            "source": endpoint_text(row.source),
            "destination": endpoint_text(row.destination),
            "transport": row.transport,
            "message": row.label,
            "notes": row.notes,
            "count": row.count,
            "last_time": round(row.last_time, 6),
            "copies": row.copies,
            "packet": row.number,
            "file": row.interface,
        }


def explanation_parts(explained: Explanation, console: Console) -> Iterator[RenderableType]:
    """What to print, in order."""
    if explained.call is not None:
        yield _call(explained, explained.call)
        yield _legs(explained)
    for attempt in explained.asked[:_MAX_ATTEMPTS]:
        yield _attempt(explained, attempt)
    texts = explained.guide.texts
    lines: list[RenderableType] = list(
        ladder_lines(explained.ladder, explained.start, console, texts)
    )
    if explained.ladder.left_out:
        lines.append(Text(texts.n("view.more_messages", explained.ladder.left_out)))
    yield _section(texts.t("report.ladder"), *lines, indent=0)
    yield _advice(advice_for(_cause(explained.asked[0].verdict), explained.guide), explained.guide)


def _call(explained: Explanation, call: Call) -> Group:
    texts = explained.guide.texts
    record = call_record(call, explained.style)
    title = wire(f"{texts.t('view.call')}: {record['from'] or '?'} > {record['to'] or '?'}")
    facts = _grid()
    facts.add_row(texts.t("report.started"), _time(record["started_at"], explained.zone))
    _add_verdict(facts, call.verdict, record["evidence"], explained.guide)
    if record["agent"]:
        facts.add_row(texts.t("report.agent"), wire(record["agent"]))
    _add_timings(facts, record, _CALL_TIMINGS, explained.guide)
    return _section(title, facts)


def _legs(explained: Explanation) -> Group:
    texts, guide = explained.guide.texts, explained.guide
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for key in ("view.leg", "view.offset", "report.source", "report.destination", "report.to"):
        table.add_column(texts.t(key))
    for key in ("report.outcome", "report.ring_time", "view.record"):
        table.add_column(texts.t(key))
    asked = {id(attempt) for attempt in explained.asked}
    for position, leg in enumerate(explained.legs):
        record = attempt_record(leg, explained.style)
        ring = record["ring_duration"]
        table.add_row(
            leg_name(position),
            f"+{leg.started_at - explained.start:.3f}",
            record["source"],
            record["destination"],
            wire(record["to"] or ""),
            _title(leg.verdict, guide),
            "" if ring is None else texts.t("report.seconds", value=texts.number(ring, 1)),
            record["id"],
            style="bold" if id(leg) in asked else "",
        )
    return _section(texts.t("report.trail"), table)


def _attempt(explained: Explanation, attempt: Attempt) -> Group:
    texts = explained.guide.texts
    record = attempt_record(attempt, explained.style)
    leg = leg_name(explained.legs.index(attempt))
    title = wire(f"{texts.t('report.verdict')}: {_title(attempt.verdict, explained.guide)}", "bold")
    title.append(f"  ({texts.t('view.leg')} {leg}, {record['id']})", "dim")
    facts = _grid()
    facts.add_row(texts.t("report.started"), _time(record["started_at"], explained.zone))
    _add_verdict(facts, attempt.verdict, record["evidence"], explained.guide)
    for name, key in _FACTS:
        if record[name] is not None:
            facts.add_row(texts.t(key), wire(str(record[name])))
    if record["code"] is not None:
        phrase = f"{record['code']} {record['reason_phrase']}".strip()
        facts.add_row(texts.t("report.code"), wire(phrase))
    if record["cancelled_by"] is not None:
        by = texts.t(f"report.cancelled_by_name.{record['cancelled_by']}")
        facts.add_row(texts.t("report.cancelled_by"), by)
    _add_timings(facts, record, _TIMINGS, explained.guide)
    if record["end"] is not None:
        facts.add_row(texts.t("report.ended_by"), texts.t(f"report.end_name.{record['end']}"))
    if record["closed_by"] is not None:
        name = texts.t(f"report.closed_by_name.{record['closed_by']}")
        facts.add_row(texts.t("report.closed_by"), name)
    return _section(title, facts)


def _add_verdict(
    facts: Table, verdict: Verdict | None, evidence: Sequence[str], guide: Guide
) -> None:
    texts = guide.texts
    judged = verdict or OPEN_VERDICT
    key = f"  {judged.outcome}" + (f"/{judged.detail}" if judged.detail else "")
    facts.add_row(
        texts.t("report.outcome"), Text.assemble((_title(verdict, guide), "bold"), (key, "dim"))
    )
    if judged.category is not None:
        facts.add_row(
            texts.t("report.category"), texts.t(f"report.category_name.{judged.category}")
        )
    if judged.confidence is not None:
        facts.add_row(
            texts.t("report.confidence"), texts.t(f"report.confidence_name.{judged.confidence}")
        )
    if judged.cause_hint is not None:
        facts.add_row(texts.t("report.cause"), guide.cause_hint(judged.cause_hint).name)
    if judged.rule:
        facts.add_row(texts.t("view.rule"), texts.t("view.rule_of", rule=judged.rule))
    for position, fact in enumerate(evidence):
        facts.add_row("" if position else texts.t("report.evidence"), wire(f"- {fact}"))


def _add_timings(
    facts: Table, record: dict[str, Any], timings: Sequence[tuple[str, str]], guide: Guide
) -> None:
    texts = guide.texts
    for name, key in timings:
        if record[name] is not None:
            seconds = texts.t("report.seconds", value=texts.number(record[name], 3))
            facts.add_row(texts.t(key), seconds)


def _advice(entry: Entry, guide: Guide) -> Group:
    texts = guide.texts
    parts: list[RenderableType] = [
        Text(entry.name, "bold"),
        Text(entry.means),
        Text.assemble((texts.t("guide.understand"), "dim"), f": {entry.understand}"),
        Text.assemble((texts.t("guide.steps"), "dim"), ":"),
    ]
    steps = Table.grid(padding=(0, 1, 0, 0))
    for number, step in enumerate(entry.steps, 1):
        steps.add_row(f"{number}.", step)
    return _section(texts.t("report.advice"), *parts, steps)


def _advice_record(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "name": entry.name,
        "urgency": entry.urgency,
        "means": entry.means,
        "understand": entry.understand,
        "steps": list(entry.steps),
    }


def _title(verdict: Verdict | None, guide: Guide) -> str:
    return advice_for(_cause(verdict)._replace(cause_hint=None), guide).name


def _cause(verdict: Verdict | None) -> Cause:
    judged = verdict or OPEN_VERDICT
    return Cause(judged.outcome, judged.detail, judged.cause_hint)


def _time(time: float, zone: tzinfo | None) -> str:
    local = datetime.fromtimestamp(time, zone).astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} {local:%Z}"


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    return grid


def _section(title: Text | str, *body: RenderableType, indent: int = 2) -> Group:
    heading = Text(title, "bold") if isinstance(title, str) else title
    return Group(heading, Padding(Group(*body), (0, 0, 0, indent)), Text())
