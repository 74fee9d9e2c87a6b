"""A console for a stream, and text from the wire made safe for it."""

from __future__ import annotations

import io
import os
from typing import TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from sipwatch.sinks.printable import printable

#: Width where nobody watches: wide enough for every table, narrow enough for a mail.
_FILE_WIDTH = 110
#: What terminals and encodings without block characters show instead.
_PLAIN_BAR = "#"
_BAR = "█"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leaves it to the command line, which ends as every verb does."""
        raise BrokenPipeError


def console_for(stream: TextIO) -> Console:
    """A console that writes there, with colours only where a person watches.

    Letters that the encoding of the stream lacks become `?` instead of an error.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    width = None if stream.isatty() or "COLUMNS" in os.environ else _FILE_WIDTH
    return _Console(file=stream, width=width, highlight=False, soft_wrap=False, emoji=False)


def put(console: Console, *parts: RenderableType) -> None:
    """Prints the parts; blanks at the ends of lines are left out where nobody watches."""
    if console.is_terminal:
        for part in parts:
            console.print(part, crop=False)
        return
    with console.capture() as captured:
        for part in parts:
            console.print(part, crop=False)
    for line in captured.get().splitlines():
        console.out(line.rstrip(), highlight=False)


def wire(value: str | None, style: str = "") -> Text:
    """A value from the wire: no markup in it counts, no control character comes through."""
    return Text(printable(value or ""), style)


def command(line: str, style: str = "") -> Text:
    """A line with a command that can be copied: a terminal may break it, we do not."""
    return Text(printable(line), style, no_wrap=True, overflow="ignore")


def bar(share: float, width: int, *, plain: bool) -> str:
    """A bar for a share of 1; the smallest share that is not 0 shows one mark."""
    marks = round(share * width)
    return (_PLAIN_BAR if plain else _BAR) * (max(marks, 1) if share > 0 else 0)


def speaks_unicode(console: Console) -> bool:
    """Whether block and line characters come through."""
    return (console.encoding or "").lower().replace("-", "").startswith(("utf8", "utf16"))
