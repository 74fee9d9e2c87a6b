"""Records in an SQLite database: tables `attempts` and `calls`, one column a field.

Lists are JSON texts, times epoch seconds. Write-ahead logging lets others read while we write.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
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
#: Rows kept while they cannot be written; then the oldest go.
_MAX_HELD = 20_000
#: When room is needed, one of so many goes at once.
_SHARE = 20
#: Times are kept to the microsecond: what began by then is before this much later.
_NEXT_SECONDS = 1e-6
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


#: Codes of SQLite for a file that is no database, or none any more (sqlite.org/rescode.html).
_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


class DamagedDatabase(SinkError):
    """The file is none that SQLite can use, now or later."""


class SqliteRecords:
    """Writes attempts and calls to a database file. Raises SinkError when it cannot be used."""

    def __init__(
        self, path: str, style: RecordStyle = PLAIN, *, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self.path = path
        self._style = style
        self._attempts: deque[tuple[Any, ...]] = deque(maxlen=_MAX_HELD)
        self._calls: deque[tuple[Any, ...]] = deque(maxlen=_MAX_HELD)
        #: Records lost because they could not be written for too long.
        self.dropped = 0
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=wait_seconds)
        except sqlite3.Error as error:
            raise sink_error(path, error) from None
        try:
            self._prepare()
        except (sqlite3.Error, SinkError) as error:
            self._database.close()
            raise sink_error(path, error) from None

    def attempt(self, attempt: Attempt) -> None:
        """Adds an attempt. Raises SinkError."""
        self._hold(self._attempts, _row(attempt_record(attempt, self._style)))

    def call(self, call: Call) -> None:
        """Adds a call. Raises SinkError."""
        self._hold(self._calls, _row(call_record(call, self._style)))

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
            raise sink_error(self.path, error) from None
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
            raise sink_error(self.path, error) from None
        return removed

    @property
    def used_bytes(self) -> int:
        """Bytes of the database that hold something."""
        pages, free, size = (
            int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def remove_beyond(self, max_bytes: int) -> int:
        """Deletes the oldest records until the rest takes at most `max_bytes`; how many went."""
        removed = 0
        try:
            while self.used_bytes > max_bytes:
                (count,) = self._database.execute("SELECT count(*) FROM attempts").fetchone()
                offset = min(count // _SHARE, count - 1)
                found = self._database.execute(
                    "SELECT started_at FROM attempts ORDER BY started_at LIMIT 1 OFFSET ?",
                    (max(0, offset),),
                ).fetchone()
                went = 0 if found is None else self.remove_before(found[0] + _NEXT_SECONDS)
                if not went:
                    break
                removed += went
            # A step gives one page back, and only a script is stepped to its end.
            self._database.executescript("PRAGMA incremental_vacuum")
        except sqlite3.Error as error:
            raise sink_error(self.path, error) from None
        return removed

    def close(self) -> None:
        """Writes the rest and closes the database."""
        try:
            self.flush()
        finally:
            self._database.close()

    def _hold(self, rows: deque[tuple[Any, ...]], row: tuple[Any, ...]) -> None:
        self.dropped += len(rows) == _MAX_HELD
        rows.append(row)
        # After a failure the next try comes with the next batch, not with every record.
        if (len(self._attempts) + len(self._calls)) % _BATCH == 0:
            self.flush()

    def _prepare(self) -> None:
        run = self._database.execute
        (layout,) = run("PRAGMA user_version").fetchone()
        if layout not in (0, LAYOUT):
            raise SinkError(f"written by another version (layout {layout}): move it away")
        # Must be said before the first table: lets a database that forgets give pages back.
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run(_table("attempts", ATTEMPT_FIELDS))
        run(_table("calls", CALL_FIELDS))
        for table, column in _INDEXES:
            run(f"CREATE INDEX IF NOT EXISTS {table}_{column} ON {table} ({_name(column)})")
        run(f"PRAGMA user_version = {LAYOUT}")


def sink_error(path: str, error: Exception) -> SinkError:
    """What went wrong with the database at this path."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    # Extended codes have the plain one in their lowest byte.
    kind = DamagedDatabase if code & 0xFF in _DAMAGE else SinkError
    return kind(f"{path}: {error}")


def _table(name: str, fields: tuple[str, ...]) -> str:
    columns = ", ".join(f"{_name(field)} {_type(field)}" for field in fields)
    return f"CREATE TABLE IF NOT EXISTS {name} ({columns})"


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
