"""Records as Apache Parquet with typed columns (needs pyarrow, the extra `parquet`)."""

from __future__ import annotations

from typing import Any, BinaryIO

from sipwatch.calls.types import Attempt, Call
from sipwatch.sinks.record import (
    ATTEMPT_FIELDS,
    CALL_FIELDS,
    PLAIN,
    RecordStyle,
    attempt_record,
    call_record,
)
from sipwatch.sinks.sink import SinkError

#: Rows of one row group: what is held in memory at once.
_ROWS = 20_000
_MICROSECONDS = 1_000_000

_TIMES = frozenset(("started_at", "ended_at", "returned_at"))
_DURATIONS = frozenset(
    (
        "post_dial_delay",
        "ring_duration",
        "setup_duration",
        "talk_duration",
        "wait_duration",
    )
)
_INTEGERS = frozenset(
    ("schema", "code", "q850", "retransmissions", "legs", "first_packet", "last_packet")
)
_FLAGS = frozenset(("challenged", "callback_requested"))
_LISTS = frozenset(("evidence", "attempts"))


class ParquetRecords:
    """Writes attempts, or calls, to a binary stream, which stays open.

    Times are timestamps in UTC with microseconds. Raises SinkError without pyarrow.
    """

    def __init__(
        self, stream: BinaryIO, style: RecordStyle = PLAIN, *, calls: bool = False
    ) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise SinkError(
                "Parquet needs pyarrow, which is not installed: pip install 'sipwatch[parquet]'"
            ) from None
        self._arrow = pyarrow
        self._schema = _schema(pyarrow, CALL_FIELDS if calls else ATTEMPT_FIELDS)
        self._writer = pyarrow.parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._style = style
        self._rows: list[dict[str, Any]] = []

    def attempt(self, attempt: Attempt) -> None:
        """Adds the row of an attempt."""
        self._add(attempt_record(attempt, self._style))

    def call(self, call: Call) -> None:
        """Adds the row of a call."""
        self._add(call_record(call, self._style))

    def close(self) -> None:
        """Writes the rest and the footer."""
        self._flush()
        self._writer.close()

    def _add(self, record: dict[str, Any]) -> None:
        for name in _TIMES & record.keys():
            if record[name] is not None:
                record[name] = round(record[name] * _MICROSECONDS)
        self._rows.append(record)
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._writer.write_table(self._arrow.Table.from_pylist(rows, self._schema))


def _schema(arrow: Any, names: tuple[str, ...]) -> Any:
    return arrow.schema([(name, _type(arrow, name)) for name in names])


def _type(arrow: Any, name: str) -> Any:
    if name in _TIMES:
        return arrow.timestamp("us", tz="UTC")
    if name in _DURATIONS:
        return arrow.float64()
    if name in _INTEGERS:
        return arrow.int64()
    if name in _FLAGS:
        return arrow.bool_()
    if name in _LISTS:
        return arrow.list_(arrow.string())
    if name == "reasons":
        fields = [("protocol", arrow.string()), ("cause", arrow.int64()), ("text", arrow.string())]
        return arrow.list_(arrow.struct(fields))
    return arrow.string()
