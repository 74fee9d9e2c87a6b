"""Records in an SQLite database: tables `attempts` and `calls`, one column a field.

Lists are JSON texts, times epoch seconds. Write-ahead logging lets others read while we write.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

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

#: Raised with every change that older programs cannot read.
LAYOUT = 1
#: Rows written in one transaction.
_BATCH = 500
#: How long another writer is waited for.
_WAIT_SECONDS = 5.0
_NUMBERS = frozenset(
    (
        "schema",
        "code",
        "q850",
        "retransmissions",
        "challenged",
        "legs",
        "first_packet",
        "last_packet",
        "callback_requested",
    )
)
_INDEXES = (
    ("attempts", "started_at"),
    ("attempts", "call_id"),
    ("attempts", "call"),
    ("calls", "started_at"),
)


class SqliteRecords:
    """Writes attempts and calls to a database file. Raises SinkError when it cannot be used."""

    def __init__(
        self, path: str, style: RecordStyle = PLAIN, *, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self.path = path
        self._style = style
        self._attempts: list[tuple[Any, ...]] = []
        self._calls: list[tuple[Any, ...]] = []
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=wait_seconds)
        except sqlite3.Error as error:
            raise SinkError(f"{path}: {error}") from None
        try:
            self._prepare()
        except (sqlite3.Error, SinkError) as error:
            self._database.close()
            raise SinkError(f"{path}: {error}") from None

    def attempt(self, attempt: Attempt) -> None:
        """Adds an attempt. Raises SinkError."""
        self._attempts.append(_row(attempt_record(attempt, self._style)))
        if len(self._attempts) >= _BATCH:
            self.flush()

    def call(self, call: Call) -> None:
        """Adds a call. Raises SinkError."""
        self._calls.append(_row(call_record(call, self._style)))
        if len(self._calls) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Writes what is held back, all or nothing; on SinkError it stays held back."""
        if not self._attempts and not self._calls:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(_insert("attempts", ATTEMPT_FIELDS), self._attempts)
                self._database.executemany(_insert("calls", CALL_FIELDS), self._calls)
            except sqlite3.Error:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise SinkError(f"{self.path}: {error}") from None
        self._attempts.clear()
        self._calls.clear()

    def remove_before(self, time: float) -> int:
        """Deletes what began before an epoch time; returns how many records went."""
        removed = 0
        try:
            for table in ("attempts", "calls"):
                found = self._database.execute(f"DELETE FROM {table} WHERE started_at < ?", (time,))
                removed += found.rowcount
        except sqlite3.Error as error:
            raise SinkError(f"{self.path}: {error}") from None
        return removed

    def close(self) -> None:
        """Writes the rest and closes the database."""
        try:
            self.flush()
        finally:
            self._database.close()

    def _prepare(self) -> None:
        run = self._database.execute
        (layout,) = run("PRAGMA user_version").fetchone()
        if layout not in (0, LAYOUT):
            raise SinkError(f"written by another version (layout {layout})")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run(_table("attempts", ATTEMPT_FIELDS))
        run(_table("calls", CALL_FIELDS))
        for table, column in _INDEXES:
            run(f"CREATE INDEX IF NOT EXISTS {table}_{column} ON {table} ({_name(column)})")
        run(f"PRAGMA user_version = {LAYOUT}")


def _table(name: str, fields: tuple[str, ...]) -> str:
    columns = ", ".join(f"{_name(field)} {_type(field)}" for field in fields)
    return f"CREATE TABLE IF NOT EXISTS {name} ({columns}) WITHOUT ROWID"


def _insert(table: str, fields: tuple[str, ...]) -> str:
    # The same attempt read again from another capture takes the place of the first one.
    return f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(fields))})"


def _name(field: str) -> str:
    """`from` and `to` are words of SQL."""
    return f'"{field}"'


def _type(field: str) -> str:
    if field == "id":
        return "TEXT PRIMARY KEY"
    if field in _NUMBERS:
        return "INTEGER"
    return "REAL" if field.endswith(("_at", "_duration", "_delay")) else "TEXT"


def _row(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value
        for value in record.values()
    )
