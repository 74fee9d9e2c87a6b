"""What takes finished attempts and calls: one interface for every kind of record."""

from __future__ import annotations

from typing import Protocol

from sipwatch.calls.types import Attempt, Call


class RecordSink(Protocol):
    """Takes each finished attempt and call once, and may hold some back until `close`."""

    def attempt(self, attempt: Attempt) -> None:
        """Takes an attempt whose record is complete. Raises OSError."""

    def call(self, call: Call) -> None:
        """Takes a call whose record is complete. Raises OSError."""

    def close(self) -> None:
        """Writes the rest; the stream that was given stays open. Raises OSError."""


class SinkError(Exception):
    """Records cannot be written this way; the message is one line that says what to do."""
