"""Records as CSV (RFC 4180) with a header line: the same columns, lists as one text."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any, TextIO

from sipwatch.calls.types import Attempt, Call
from sipwatch.sinks.printable import printable
from sipwatch.sinks.record import (
    ATTEMPT_FIELDS,
    CALL_FIELDS,
    PLAIN,
    RecordStyle,
    attempt_record,
    call_record,
)

#: Cells that a spreadsheet would take for a formula; numbers such as +90… are none.
_FORMULA = ("=", "@", "\t", "+=", "-=")


class CsvRecords:
    """Writes attempts, or calls, to a text stream, which stays open."""

    def __init__(self, stream: TextIO, style: RecordStyle = PLAIN, *, calls: bool = False) -> None:
        self._writer = csv.DictWriter(stream, CALL_FIELDS if calls else ATTEMPT_FIELDS)
        self._writer.writeheader()
        self._stream = stream
        self._style = style

    def attempt(self, attempt: Attempt) -> None:
        """Writes the row of an attempt."""
        self._writer.writerow(flat(attempt_record(attempt, self._style)))

    def call(self, call: Call) -> None:
        """Writes the row of a call."""
        self._writer.writerow(flat(call_record(call, self._style)))

    def close(self) -> None:
        """Writes the rest."""
        self._stream.flush()


def flat(record: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a record as cells: nothing for null, lists joined, safe to look at."""
    return {name: _cell(value) for name, value in record.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, list):
        return printable("; ".join(map(_item, value)))
    text = printable(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _item(item: Any) -> str:
    """One fact of the evidence, one attempt's id, or a Reason as the header writes it."""
    if not isinstance(item, dict):
        return str(item)
    cause = "" if item["cause"] is None else f";cause={item['cause']}"
    return f"{item['protocol']}{cause}" + (f';text="{item["text"]}"' if item["text"] else "")
