"""Records as JSON Lines (one object a line), written in large pieces."""

from __future__ import annotations

from typing import Protocol

from sipwatch.calls.types import Attempt, Call
from sipwatch.sinks.line import attempt_line, call_line
from sipwatch.sinks.record import PLAIN, RecordStyle

#: Lines held back; a system call for each would cost more than making it.
_BATCH = 1000


class Stream(Protocol):
    """A text stream."""

    def write(self, text: str, /) -> int:
        """Writes a text."""

    def flush(self) -> None:
        """Hands everything to the system."""


class JsonLines:
    """Writes to a text stream, which stays open."""

    def __init__(self, stream: Stream, style: RecordStyle = PLAIN) -> None:
        self._stream = stream
        self._style = style
        self._lines: list[str] = []

    def attempt(self, attempt: Attempt) -> None:
        """Adds the record of an attempt."""
        self._lines.append(attempt_line(attempt, self._style))
        if len(self._lines) >= _BATCH:
            self.flush()

    def call(self, call: Call) -> None:
        """Adds the record of a call."""
        self._lines.append(call_line(call, self._style))
        if len(self._lines) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Writes what is held back."""
        lines, self._lines = self._lines, []
        self._stream.write("".join(lines))
        self._stream.flush()

    def close(self) -> None:
        """Writes the rest."""
        self.flush()
