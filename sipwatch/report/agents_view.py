"""The agent report in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sipwatch.outcomes.guide.entries import Guide
from sipwatch.outcomes.guide.texts import Texts
from sipwatch.outcomes.taxonomy import CATEGORY, NOT_FAILED
from sipwatch.report.agents import AgentReport, Figures
from sipwatch.report.console import bar, speaks_unicode, wire

_AGENTS = 50
_MISSED = 20
_BAR_WIDTH = 24
#: From here on columns can stand apart.
_WIDE = 100
#: Room for `12.5 s` and `09:00`.
_TIME_WIDTH = 6
#: Outcomes that are named in a row; records and JSON have all.
_MOST = 2
_OWN = ("user", "technical")
_NUMBERS = ("total", "answered", "failed", "people", "technology", "system")


def agents_parts(report: AgentReport, console: Console, texts: Texts) -> Iterator[RenderableType]:
    """What to print, in order."""
    guide = Guide(texts)
    yield Text(texts.t("report.agents"), "bold")
    if not report.agents:
        yield Text(texts.t("report.no_attempts"))
        return
    gap = 2 if console.width >= _WIDE else 1
    yield Padding(_agents(report, guide, gap), (0, 0, 0, gap))
    yield _section(texts.t("report.per_hour"), _hours(report, console, guide))
    if report.missed_count:
        open_ = report.not_returned()
        title = (
            f"{texts.t('report.missed')}: {texts.number(report.missed_count)}, "
            f"{texts.t('report.not_returned')}: {texts.number(len(open_))}"
        )
        yield _section(title, _missed(report, guide))


def _section(title: str, body: RenderableType) -> Group:
    return Group(Text(), Text(title, "bold"), Padding(body, (0, 0, 0, 2)))


def _table(texts: Texts, first: str, gap: int = 2) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, gap, 0, 0))
    table.add_column(first, min_width=_TIME_WIDTH)
    for key in _NUMBERS:
        table.add_column(texts.t(f"report.{key}"), justify="right", no_wrap=True)
    return table


def _numbers(figures: Figures, texts: Texts) -> Iterator[RenderableType]:
    people, technology = figures.of("user"), figures.of("technical")
    numbers = (
        figures.tried,
        figures.answered,
        figures.failed,
        people,
        technology,
        figures.failed - people - technology,
    )
    for number in numbers:
        yield texts.number(number) if number else Text("-", "dim")


def _agents(report: AgentReport, guide: Guide, gap: int) -> Table:
    texts = guide.texts
    table = _table(texts, texts.t("report.agent"), gap)
    for key in ("ring_time", "talk_time"):
        # The heading may take two lines, a time may not.
        table.add_column(texts.t(f"report.{key}"), justify="right", min_width=_TIME_WIDTH)
    table.add_column(texts.t("report.outcomes"))
    rows = report.by_need()
    for name, figures in rows[:_AGENTS]:
        table.add_row(wire(name), *_numbers(figures, texts), *_means(figures, guide))
    if len(rows) > _AGENTS:
        table.add_row(Text(texts.t("view.more", count=texts.number(len(rows) - _AGENTS)), "dim"))
    total = report.total
    table.add_row(
        texts.t("report.total"), *_numbers(total, texts), *_means(total, guide), style="bold"
    )
    return table


def _means(figures: Figures, guide: Guide) -> Iterator[RenderableType]:
    texts = guide.texts
    for mean in (figures.mean_ring, figures.mean_talk):
        yield "" if mean is None else texts.t("report.seconds", value=texts.number(mean, 1))
    failed = [pair for pair in figures.outcomes.most_common() if pair[0] not in NOT_FAILED]
    # What a person or technology did comes first: a call that another took is no failure of his.
    failed.sort(key=lambda pair: CATEGORY[pair[0]] not in _OWN)
    named = [f"{guide.outcome(name).name} {texts.number(n)}" for name, n in failed[:_MOST]]
    left = sum(number for _, number in failed[_MOST:])
    if left:
        named.append(f"{texts.t('report.others').lower()} {texts.number(left)}")
    yield ", ".join(named)


def _hours(report: AgentReport, console: Console, guide: Guide) -> Table:
    texts = guide.texts
    table = _table(texts, texts.t("report.time"))
    table.add_column("")
    most = max(figures.tried for figures in report.hours.values())
    plain = not speaks_unicode(console)
    for hour in sorted(report.hours):
        figures = report.hours[hour]
        marks = bar(figures.tried / most, _BAR_WIDTH, plain=plain)
        table.add_row(f"{hour:02}:00", *_numbers(figures, texts), Text(marks, "cyan"))
    return table


def _missed(report: AgentReport, guide: Guide) -> Table:
    texts = guide.texts
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    columns = ("started", "from", "to", "outcome", "wait_time", "returned")
    for key in columns:
        table.add_column(texts.t(f"report.{key}"))
    shown = report.not_returned() or report.missed
    for call, at, record, wait in shown[:_MISSED]:
        table.add_row(
            f"{at:%Y-%m-%d %H:%M:%S}",
            wire(_user(record["from"])),
            wire(_user(record["to"])),
            guide.outcome(record["outcome"]).name,
            "" if wait is None else texts.t("report.seconds", value=texts.number(wait, 1)),
            texts.t("report.no") if call.returned_at is None else texts.t("report.yes"),
        )
    if len(shown) > _MISSED:
        more = texts.t("view.more", count=texts.number(len(shown) - _MISSED))
        table.add_row(Text(more, "dim"))
    return table


def _user(address: str | None) -> str:
    """The user of `user@host`, for a person who knows the hosts."""
    user, _, host = (address or "").partition("@")
    return user or host
