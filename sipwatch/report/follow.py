"""Attempts as they end, line by line, for a person who watches."""

from __future__ import annotations

from datetime import datetime, tzinfo

from sipwatch.calls.types import Attempt, Verdict
from sipwatch.outcomes.guide.texts import Texts
from sipwatch.sinks.printable import printable
from sipwatch.sinks.record import RecordStyle, attempt_record


class FollowLines:
    """One line for an attempt that is over, another when its verdict stands."""

    def __init__(self, style: RecordStyle, texts: Texts, zone: tzinfo | None) -> None:
        self._style = style
        self._texts = texts
        self._zone = zone

    def line(self, attempt: Attempt, verdict: Verdict, *, settled: bool) -> str:
        """`12:00:03  No answer  +4930… > 101@…  evidence  (provisional)`."""
        record = attempt_record(attempt, self._style)
        at = datetime.fromtimestamp(attempt.started_at, self._zone)
        name = self._texts.t(f"outcome.{verdict.outcome}.name")
        if verdict.detail:
            name = f"{name} ({self._texts.t(f'detail.{verdict.detail}.name')})"
        state = self._texts.t("view.settled" if settled else "view.provisional")
        why = "; ".join(verdict.evidence[-2:])
        fields = (
            at.strftime("%H:%M:%S"),
            f"{state:<11}",
            f"{name:<32}",
            f"{record['from'] or '-'} > {record['to'] or '-'}",
            why,
            str(record["id"]),
        )
        return printable("  ".join(fields))
