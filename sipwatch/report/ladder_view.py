"""Draws a ladder: a column an endpoint, an arrow a message; a list where columns do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from sipwatch.calls.types import Endpoint
from sipwatch.outcomes.guide.texts import Texts
from sipwatch.report.console import speaks_unicode, wire
from sipwatch.report.ladder import Ladder, Row
from sipwatch.sinks.printable import printable
from sipwatch.sinks.wire import endpoint_text

#: Leg, offset, delta and packet number before the columns.
_MARGIN = 28
_MIN_COLUMN = 15
_MAX_COLUMN = 34
#: Of an arrow, what its label may not take: two blanks, one piece of line, the head.
_LEAST_SHAFT = 4


class Signs(NamedTuple):
    """What lines and arrows are drawn with."""

    line: str
    rail: str
    right: str
    left: str
    times: str
    cut: str


#: A line, the message that it shows, and where what is said below it begins.
_Line: TypeAlias = tuple[Text, Row | None, int]

_UNICODE = Signs("─", "│", "▶", "◀", "×", "…")
_ASCII = Signs("-", "|", ">", "<", "x", "~")


def leg_name(position: int | None) -> str:
    """`A` for the first leg, `B` for the next, `A1` after `Z`."""
    if position is None:
        return "?"
    round_, letter = divmod(position, 26)
    return chr(ord("A") + letter) + (str(round_) if round_ else "")


def ladder_lines(ladder: Ladder, start: float, console: Console, texts: Texts) -> Iterator[Text]:
    """One line a message, further ones for its Reason; times count from `start`."""
    signs = _UNICODE if speaks_unicode(console) else _ASCII
    participants = ladder.participants
    width = (console.width - _MARGIN) // max(1, len(participants))
    if width >= _MIN_COLUMN:
        lines = _columns(ladder, participants, min(width, _MAX_COLUMN), start, signs)
    else:
        lines = _list(ladder, start, signs)
    for line, row, indent in lines:
        yield line
        if row is not None:
            yield from _noted(row, indent, texts)


def _columns(
    ladder: Ladder, participants: list[Endpoint], width: int, start: float, signs: Signs
) -> Iterator[_Line]:
    rails = {endpoint: width // 2 + width * at for at, endpoint in enumerate(participants)}
    for names in _heads(participants, width - 1):
        header = "".join(set_cell_size(name[: width - 1].center(width), width) for name in names)
        yield Text(f"{' ' * _MARGIN}{header}".rstrip(), "bold"), None, 0
    previous = start
    for row in ladder.rows:
        line = Text(_margin(row, start, previous), "dim")
        line.append_text(_arrow(row, rails, width * len(participants), signs))
        yield line, row, _MARGIN + min(rails[row.source], rails[row.destination]) + 2
        previous = row.time


def _heads(participants: list[Endpoint], room: int) -> list[list[str]]:
    """Names of the columns: in one line, or the ports below where they do not fit."""
    names = [
        endpoint_text(endpoint) if endpoint[1] else endpoint_text(endpoint)[:-2]
        for endpoint in participants
    ]
    if all(len(name) <= room for name in names):
        return [names]
    parts = [
        name.rpartition(":") if endpoint[1] else (name, "", "")
        for name, endpoint in zip(names, participants, strict=True)
    ]
    return [[part[0] for part in parts], [f"{part[1]}{part[2]}" for part in parts]]


def _margin(row: Row, start: float, previous: float) -> str:
    offset, delta = f"{row.time - start:+.3f}", f"{row.time - previous:+.3f}"
    return f"{leg_name(row.leg):<3}{offset:>8} {delta:>8} {f'#{row.number}':>6} "


def _arrow(row: Row, rails: dict[Endpoint, int], width: int, signs: Signs) -> Text:
    cells = [" "] * width
    for at in rails.values():
        cells[at] = signs.rail
    begin, end = rails[row.source], rails[row.destination]
    if begin == end:
        # A message to itself (a spiral through one host) has no length: its label stands alone.
        rest = Text("".join(cells[: begin + 1]) + " ")
        return rest.append(_label(row, signs, 0), _style(row))
    left, right = min(begin, end), max(begin, end)
    room = right - left - 1
    text = f" {_label(row, signs, room - _LEAST_SHAFT)} "
    shaft = room - 1 - cell_len(text)
    before = shaft // 2
    after = shaft - before
    if end > begin:
        body = signs.line * before + text + signs.line * after + signs.right
    else:
        body = signs.left + signs.line * before + text + signs.line * after
    drawn = Text("".join(cells[: left + 1]))
    return drawn.append(body, _style(row)).append("".join(cells[right:]).rstrip())


def _label(row: Row, signs: Signs, room: int) -> str:
    """The label with how often it was sent, cut to the room; 0 = no bound."""
    label = printable(row.label)
    count = f" {signs.times}{row.count}" if row.count > 1 else ""
    if room and cell_len(label) + len(count) > room:
        label = set_cell_size(label, max(1, room - len(count) - 1)).rstrip() + signs.cut
    return label + count


def _style(row: Row) -> str:
    if row.status < 0 or row.status >= 400:
        return "red"
    if row.status >= 300:
        return "magenta"
    if row.status >= 200:
        return "green"
    if row.status:
        return "dim"
    return "yellow" if row.method in ("CANCEL", "BYE") else "cyan"


def _noted(row: Row, indent: int, texts: Texts) -> Iterator[Text]:
    notes = list(row.notes)
    if row.count > 1:
        later = texts.number(row.last_time - row.time, 3)
        notes.append(texts.t("view.times", count=texts.number(row.count), later=later))
    for note in notes:
        yield Text(" " * indent, "dim").append_text(wire(note, "dim"))


def _list(ladder: Ladder, start: float, signs: Signs) -> Iterator[_Line]:
    previous = start
    for row in ladder.rows:
        line = Text(_margin(row, start, previous), "dim")
        line.append(f"{endpoint_text(row.source)} {signs.right} {endpoint_text(row.destination)}  ")
        yield line.append(_label(row, signs, 0), _style(row)), row, _MARGIN
        previous = row.time
