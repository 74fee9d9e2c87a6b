"""The report for people: what became of the attempts, whose doing it was, what to do first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, tzinfo

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sipwatch.outcomes.guide.entries import Guide
from sipwatch.outcomes.guide.texts import Texts
from sipwatch.outcomes.taxonomy import CATEGORY, NOT_FAILED
from sipwatch.report.console import bar, put, speaks_unicode, wire
from sipwatch.report.first_steps import first_steps
from sipwatch.report.notes import notes
from sipwatch.report.reading import Reading
from sipwatch.report.summary import OTHERS, Summary

_BAR_WIDTH = 28
#: Rows of the tables by peer and by agent.
_TOP = 15
#: Outcomes named in each row.
_MOST = 2
#: Below it shares are chance.
_FEW = 20

_STYLES = {
    "success": "green",
    "user": "yellow",
    "technical": "red",
    "system": "cyan",
    "caller": "blue",
    "policy": "magenta",
    "routing": "magenta",
    "other": "white",
}


def print_report(
    console: Console, summary: Summary, reading: Reading, texts: Texts, zone: tzinfo | None
) -> None:
    """The whole report."""
    put(console, *_parts(console, summary, reading, texts, zone))


def _parts(
    console: Console, summary: Summary, reading: Reading, texts: Texts, zone: tzinfo | None
) -> Iterator[RenderableType]:
    yield _header(summary, reading, texts, zone)
    if summary.failed:
        yield _section("failed_outcomes", _outcomes(summary, texts, console), texts)
        yield _section("whose", _sides(summary, texts, console), texts)
    for key, column, rows in (
        ("per_peer", "peer", summary.peers),
        ("per_agent", "agent", summary.agents),
    ):
        if rows and set(rows) != {"other"}:
            yield _section(key, _names(rows, column, texts), texts)
    steps = first_steps(summary, Guide(texts))
    if steps:
        yield Group(_title("first_steps", texts), *steps)
    lines = list(notes(reading, summary, texts))
    if summary.failed and summary.failed < _FEW:
        lines.append(texts.t("report.few_calls"))
    if lines:
        yield _section("notes", _bulleted(lines), texts)


def _section(key: str, body: RenderableType, texts: Texts) -> Group:
    return Group(_title(key, texts), Padding(body, (0, 0, 0, 2)))


def _title(key: str, texts: Texts) -> Group:
    return Group(Text(), Text(texts.t(f"report.{key}"), "bold"))


def _header(summary: Summary, reading: Reading, texts: Texts, zone: tzinfo | None) -> Group:
    stats = reading.stats
    names = [file.name for file in stats.files]
    files = names[0] if len(names) == 1 else texts.n("report.n_files", len(names))
    facts = [
        files,
        _period(stats.first_time, stats.last_time, zone),
        texts.n("report.n_packets", stats.packets),
        f"SIP: {texts.n('report.n_messages', stats.sip_datagrams)}",
    ]
    unit = "report.n_calls" if summary.of_calls else "report.n_attempts"
    numbers = [
        texts.n(unit, summary.total),
        f"{texts.t('report.answered')}: {texts.number(summary.answered)}",
        f"{texts.t('report.failed')}: {texts.number(summary.failed)}",
    ]
    for name in ("in_progress", "incomplete"):
        if summary.outcomes[name]:
            numbers.append(f"{texts.t(f'report.{name}')}: {texts.number(summary.outcomes[name])}")
    return Group(
        Text(texts.t("report.title"), "bold"),
        wire("  ".join(fact for fact in facts if fact)),
        Text("  ".join(numbers)),
    )


def _period(first: float | None, last: float | None, zone: tzinfo | None) -> str:
    """`2026-04-23 09:00:00 - 09:20:03 +03`."""
    if first is None or last is None:
        return ""
    begin, end = _local(first, zone), _local(last, zone)
    until = end.strftime("%H:%M:%S" if begin.date() == end.date() else "%Y-%m-%d %H:%M:%S")
    return f"{begin:%Y-%m-%d %H:%M:%S} - {until} {end:%Z}"


def _local(time: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(time, zone).astimezone(zone)


def _outcomes(summary: Summary, texts: Texts, console: Console) -> Table:
    table = _table(texts, "outcome", "category")
    guide = Guide(texts)
    rows = summary.failures()
    most = rows[0][1]
    for name, count in rows:
        category = CATEGORY.get(name) or "other"
        table.add_row(
            guide.outcome(name).name,
            Text(texts.t(f"report.category_name.{category}"), _STYLES[category]),
            *_numbers(count, summary.failed, most, texts, console, _STYLES[category]),
        )
        for (outcome, detail), number in summary.details.most_common():
            if outcome == name:
                table.add_row(
                    Text(f"  {guide.detail(detail).name}", "dim"),
                    "",
                    Text(texts.number(number), "dim"),
                )
    return table


def _sides(summary: Summary, texts: Texts, console: Console) -> Table:
    """People, technology, and everything that is neither."""
    table = _table(texts, "category")
    categories = summary.by_category()
    people, technology = categories.pop("user", 0), categories.pop("technical", 0)
    rest = sum(categories.values())
    most = max(people, technology, rest)
    parts = ", ".join(
        f"{texts.t(f'report.category_name.{name}')} {texts.number(count)}"
        for name, count in categories.most_common()
    )
    for key, count, style in (
        ("people", people, "yellow"),
        ("technology", technology, "red"),
        ("system", rest, "cyan"),
    ):
        numbers = _numbers(count, summary.failed, most, texts, console, style)
        table.add_row(texts.t(f"report.{key}"), *numbers)
    if len(categories) > 1 or (rest and "system" not in categories):
        table.add_row(Text(f"  {parts}", "dim"))
    return table


def _numbers(
    count: int, total: int, most: int, texts: Texts, console: Console, style: str
) -> tuple[RenderableType, ...]:
    marks = bar(count / most if most else 0, _BAR_WIDTH, plain=not speaks_unicode(console))
    share = texts.percent(count / total) if total else ""
    return texts.number(count), share, Text(marks, style)


def _table(texts: Texts, *names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(texts.t(f"report.{name}"))
    table.add_column(texts.t("report.count"), justify="right")
    table.add_column(texts.t("report.share"), justify="right")
    table.add_column("")
    return table


def _names(rows: Mapping[str, Counter[str]], column: str, texts: Texts) -> Table:
    """A row for each peer or agent, most failures first."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(texts.t(f"report.{column}"))
    for key in ("total", "answered", "failed", "people", "technology", "system"):
        table.add_column(texts.t(f"report.{key}"), justify="right")
    table.add_column(texts.t("report.outcomes"))
    ordered = sorted(rows.items(), key=lambda row: (-_failed(row[1]), -row[1].total(), row[0]))
    for name, outcomes in ordered[:_TOP]:
        table.add_row(wire(_shown(name, texts)), *_row(outcomes, texts))
    if len(ordered) > _TOP:
        rest: Counter[str] = Counter()
        for _, outcomes in ordered[_TOP:]:
            rest.update(outcomes)
        left = f"{texts.t('report.others')} ({texts.number(len(ordered) - _TOP)})"
        table.add_row(Text(left, "dim"), *_row(rest, texts))
    return table


def _shown(name: str, texts: Texts) -> str:
    return texts.t("report.others") if name in ("other", OTHERS) else name


def _row(outcomes: Counter[str], texts: Texts) -> Iterator[RenderableType]:
    failed = _failed(outcomes)
    people = _of(outcomes, "user")
    technology = _of(outcomes, "technical")
    numbers = (
        outcomes.total(),
        outcomes["answered"],
        failed,
        people,
        technology,
        failed - people - technology,
    )
    for number in numbers:
        yield texts.number(number) if number else Text("-", "dim")
    guide = Guide(texts)
    most = [pair for pair in outcomes.most_common() if pair[0] not in NOT_FAILED][:_MOST]
    yield Text(", ".join(f"{guide.outcome(name).name} {texts.number(n)}" for name, n in most))


def _failed(outcomes: Counter[str]) -> int:
    return sum(count for name, count in outcomes.items() if name not in NOT_FAILED)


def _of(outcomes: Counter[str], category: str) -> int:
    return sum(count for name, count in outcomes.items() if CATEGORY.get(name) == category)


def _bulleted(lines: Iterable[str]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for line in lines:
        table.add_row("-", wire(line))
    return table
