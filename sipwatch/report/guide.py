"""The guide as people see it in a terminal, and as programs read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sipwatch.outcomes.guide import Entry, Guide, Texts

_URGENCY_STYLES = {"none": "green", "trend": "yellow", "investigate_now": "bold red"}

#: From this width on a line of the summary has room for all five columns.
_WIDE = 140


def print_summary(console: Console, guide: Guide) -> None:
    """The table of all outcomes; one plain line each when nobody watches a terminal."""
    entries, texts = guide.outcomes(), guide.texts
    if not console.is_terminal:
        _print_lines(console, _plain_rows(entries, texts))
        return
    table = _wide_table if console.width >= _WIDE else _narrow_table
    console.print(table(entries, texts))
    console.print(_marked(texts.t("guide.hint")))


def print_entry(console: Console, guide: Guide, entry: Entry) -> None:
    """One entry in full."""
    if console.is_terminal:
        console.print(_page(entry, guide))
        return
    with console.capture() as captured:
        console.print(_page(entry, guide))
    _print_lines(console, captured.get().splitlines())


def entry_record(entry: Entry) -> dict[str, Any]:
    """An entry as JSON data; the names are those of Entry."""
    record = asdict(entry)
    record["hangup_causes"] = [cause._asdict() for cause in entry.hangup_causes]
    return record


def guide_record(guide: Guide) -> dict[str, Any]:
    """The whole guide as JSON data."""
    return {
        "schema": 1,
        "language": guide.texts.language,
        "outcomes": [entry_record(entry) for entry in guide.outcomes()],
        "details": [entry_record(entry) for entry in guide.details()],
        "cause_hints": [entry_record(entry) for entry in guide.cause_hints()],
    }


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.out(line.rstrip(), highlight=False)


def _plain_rows(entries: Iterable[Entry], texts: Texts) -> list[str]:
    """Columns two spaces apart, the free text last, so that grep and cut work on a line."""
    columns = ("key", "name", "category", "urgency", "summary")
    rows = [tuple(texts.t(f"guide.{column}") for column in columns)]
    for entry in entries:
        side, urgency = _side(entry, texts), _urgency(entry, texts)
        rows.append((entry.key, entry.name, side, urgency, entry.summary))
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(columns))]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        for row in rows
    ]


def _wide_table(entries: Iterable[Entry], texts: Texts) -> Table:
    table = _table(texts)
    for column in ("key", "name", "category", "urgency", "summary"):
        table.add_column(texts.t(f"guide.{column}"), no_wrap=column != "summary")
    for entry in entries:
        side = _side(entry, texts)
        table.add_row(
            entry.key, Text(entry.name, "bold"), side, _urgency_text(entry, texts), entry.summary
        )
    return table


def _narrow_table(entries: Iterable[Entry], texts: Texts) -> Table:
    """Two lines an outcome: name over key, side over urgency."""
    table = _table(texts)
    table.add_column(f"{texts.t('guide.name')}\n{texts.t('guide.key')}", max_width=28)
    table.add_column(f"{texts.t('guide.category')}\n{texts.t('guide.urgency')}", max_width=18)
    table.add_column(texts.t("guide.summary"))
    for entry in entries:
        table.add_row(
            Text.assemble((entry.name, "bold"), "\n", (entry.key, "dim")),
            Text.assemble(_side(entry, texts), "\n", _urgency_text(entry, texts)),
            entry.summary,
        )
    return table


def _table(texts: Texts) -> Table:
    return Table(title=texts.t("guide.title"), title_justify="left", show_lines=False)


def _page(entry: Entry, guide: Guide) -> Group:
    texts = guide.texts
    parts: list[RenderableType] = [
        Text.assemble((entry.name, "bold"), "  ", (entry.key, "dim")),
        _facts_line(entry, texts),
        Text(entry.summary, "italic"),
    ]
    for field in ("saw", "means", "understand"):
        parts += _section(texts.t(f"guide.{field}"), _marked(getattr(entry, field)))
    parts += _section(texts.t("guide.steps"), _numbered(entry.steps))
    parts += _section(texts.t("guide.situations"), _bulleted(entry.situations))
    parts += _section(texts.t("guide.traps"), _bulleted(entry.traps))
    if signs := _signs(entry, texts):
        parts += _section(texts.t("guide.signs"), _bulleted(signs))
    if entry.outcome is not None and entry.detail is None and entry.cause_hint is None:
        parts += _related(texts.t("guide.details"), guide.details(entry.outcome))
        if entry.category == "technical":
            parts += _related(texts.t("guide.cause_hints"), guide.cause_hints())
    return Group(*parts)


def _facts_line(entry: Entry, texts: Texts) -> Text:
    line = Text()
    if entry.category is not None:
        line.append(f"{texts.t('guide.category')}: {_side(entry, texts)}   ")
    return line.append(f"{texts.t('guide.urgency')}: ").append_text(_urgency_text(entry, texts))


def _section(heading: str, body: RenderableType) -> list[RenderableType]:
    return [Text(), Text(heading, "bold"), Padding(body, (0, 0, 0, 2))]


def _related(heading: str, entries: tuple[Entry, ...]) -> list[RenderableType]:
    if not entries:
        return []
    table = Table.grid(padding=(0, 2, 0, 0))
    for entry in entries:
        table.add_row(Text(entry.key, "cyan"), f"{entry.name}. {entry.summary}")
    return _section(heading, table)


def _signs(entry: Entry, texts: Texts) -> list[str]:
    causes = ", ".join(f"{cause.name} ({cause.code})" for cause in entry.hangup_causes)
    found = (
        ("sip", "signs", "; ".join(entry.sip)),
        ("q850", "causes", ", ".join(map(str, entry.q850))),
        ("hangup_causes", "causes", causes),
    )
    return [texts.t(f"guide.{key}", **{name: value}) for key, name, value in found if value]


def _numbered(lines: Iterable[str]) -> Table:
    return _list((f"{number}.", line) for number, line in enumerate(lines, 1))


def _bulleted(lines: Iterable[str]) -> Table:
    return _list(("-", line) for line in lines)


def _list(rows: Iterable[tuple[str, str]]) -> Table:
    """Marks in a column of their own, so that long lines hang beside them."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for mark, line in rows:
        table.add_row(mark, _marked(line))
    return table


def _marked(text: str) -> Text:
    """What a person types (in backticks) stands out."""
    marked = Text(text)
    marked.highlight_regex(r"`[^`]+`", "cyan")
    return marked


def _side(entry: Entry, texts: Texts) -> str:
    return texts.t(f"report.category_name.{entry.category or 'none'}")


def _urgency(entry: Entry, texts: Texts) -> str:
    return texts.t(f"guide.urgency_name.{entry.urgency}")


def _urgency_text(entry: Entry, texts: Texts) -> Text:
    return Text(_urgency(entry, texts), _URGENCY_STYLES[entry.urgency])
