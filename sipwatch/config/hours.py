"""Opening hours: weekly spans in an IANA time zone, over midnight too, holidays, called numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from sipwatch.config import kinds
from sipwatch.config.errors import UnknownKey, WrongValue
from sipwatch.config.setting import takes

#: Days as `datetime.weekday` counts them.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_A_DAY = 24 * 60
_SPANS = 'hours such as "09:00-18:00" or "09:00-12:00,13:00-18:00"'
_RULE_LIST = 'tables [[hours.rule]], each with "called" and "weekly"'
_SPAN = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)\s*-\s*([01]?\d|2[0-4]):([0-5]\d)")


class Span(NamedTuple):
    """Open from `start` to `end`, in minutes of the local day; an `end` past 1440 is tomorrow."""

    start: int
    end: int


#: Weekday number to its spans; a day that is absent is closed.
Week: TypeAlias = Mapping[int, tuple[Span, ...]]


class HoursRule(NamedTuple):
    """Hours of the called numbers that `called` finds."""

    called: re.Pattern[str]
    weekly: Week


def parse_spans(value: Any) -> tuple[Span, ...]:
    """`09:00-12:00,13:00-18:00` in order; `22:00-06:00` ends on the next day."""
    if not isinstance(value, str):
        raise WrongValue(_SPANS, value)
    spans = []
    for item in filter(None, (part.strip() for part in value.split(","))):
        match = _SPAN.fullmatch(item)
        if match is None:
            raise WrongValue(_SPANS, value)
        start_hour, start_minute, end_hour, end_minute = map(int, match.groups())
        start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
        if max(start, end) > _MINUTES_A_DAY or start in (end, _MINUTES_A_DAY):
            raise WrongValue(_SPANS, value)
        spans.append(Span(start, end if end > start else end + _MINUTES_A_DAY))
    return tuple(sorted(spans))


def parse_week(value: Any) -> Week:
    """A table of weekdays. Raises WrongValue, UnknownKey."""
    if not isinstance(value, dict):
        raise WrongValue("a table of weekdays", value)
    week = {}
    for day, spans in value.items():
        if day not in DAYS:
            raise UnknownKey((day,), DAYS)
        try:
            week[DAYS.index(day)] = parse_spans(spans)
        except WrongValue as error:
            raise error.under(day) from None
    return week


def _parse_rules(value: Any) -> tuple[HoursRule, ...]:
    if not isinstance(value, list):
        raise WrongValue(_RULE_LIST, value)
    rules = []
    for position, table in enumerate(value):
        try:
            rules.append(_parse_rule(table))
        except (WrongValue, UnknownKey) as error:
            raise error.under(position) from None
    return tuple(rules)


def _parse_rule(table: Any) -> HoursRule:
    if not isinstance(table, dict):
        raise WrongValue(_RULE_LIST, table)
    for name in table:
        if name not in HoursRule._fields:
            raise UnknownKey((name,), HoursRule._fields)
    if len(table) < len(HoursRule._fields):
        raise WrongValue(_RULE_LIST, table)
    found: dict[str, Any] = {}
    for name, read in (("called", kinds.PATTERN.parse), ("weekly", parse_week)):
        try:
            found[name] = read(table[name])
        except (WrongValue, UnknownKey) as error:
            raise error.under(name) from None
    return HoursRule(**found)


_WEEK = kinds.Kind("a table of weekdays", parse_week, kinds.inline)
_RULES = kinds.Kind("a list of tables", _parse_rules, kinds.inline)


@dataclass(frozen=True, slots=True)
class Hours:
    """When somebody is there to answer."""

    timezone: ZoneInfo = field(default=ZoneInfo("UTC"), metadata=takes(kinds.ZONE))
    holidays: tuple[date, ...] = field(default=(), metadata=takes(kinds.list_of(kinds.DATE)))
    weekly: Week = field(default_factory=dict, metadata=takes(_WEEK))
    rule: tuple[HoursRule, ...] = field(default=(), metadata=takes(_RULES))

    @property
    def configured(self) -> bool:
        """Whether anything was said about hours."""
        return bool(self.weekly or self.rule)

    def is_open(self, time: float, called: str = "") -> bool:
        """Whether a call at `time` (epoch seconds) to this number comes in opening hours.

        The first rule that finds the number decides, else the weekly table; without any hours
        it is always open. A span belongs to the day on which it begins: a night shift begun
        before a holiday lasts into it, and a holiday's own shift does not begin.
        """
        week = next((rule.weekly for rule in self.rule if rule.called.search(called)), self.weekly)
        if not week and not any(rule.weekly is week for rule in self.rule):
            return True
        local = datetime.fromtimestamp(time, UTC).astimezone(self.timezone)
        # Wall-clock minutes: on the day the clock changes a span is an hour longer or shorter.
        minute = local.hour * 60 + local.minute
        return self._in_spans(week, local.date(), minute) or self._in_spans(
            week, local.date() - timedelta(days=1), minute + _MINUTES_A_DAY
        )

    def _in_spans(self, week: Week, day: date, minute: int) -> bool:
        if day in self.holidays:
            return False
        return any(span.start <= minute < span.end for span in week.get(day.weekday(), ()))
