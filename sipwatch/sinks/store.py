"""The daemon's records in SQLite: many record lines in one statement.

While a statement runs Python does nothing and other threads go on: with one statement for each
row the thread that follows the calls and the one that writes would wait for each other thousands
of times a second. Tables and retention are those of `SqliteRecords`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from sipwatch.sinks.record import ATTEMPT_FIELDS, CALL_FIELDS
from sipwatch.sinks.rotation import is_replaced
from sipwatch.sinks.sink import SinkError
from sipwatch.sinks.sqlite import DamagedDatabase, SqliteRecords, sink_error

FILE_NAME = "records.sqlite"
_DAMAGED = ".damaged"
#: Rows of one statement, the most that fit first; each is compiled once and used again.
_CHUNKS = (128, 16, 1)
#: How long another writer is waited for; nobody but this thread waits.
_WAIT_SECONDS = 2.0
_CACHE_KIBIBYTES = 2048


class UnreadableRecords(SinkError):
    """Lines that no database takes, now or later."""


class RecordStore(SqliteRecords):
    """One database, written by one thread. Raises SinkError when it cannot be used.

    A damaged one is moved out of the way, for whoever wants to save what is in it: the next that is
    opened is new.
    """

    name = "sqlite"

    def __init__(self, directory: str, *, wait_seconds: float = _WAIT_SECONDS) -> None:
        path = os.path.join(directory, FILE_NAME)
        try:
            super().__init__(path, wait_seconds=wait_seconds)
        except DamagedDatabase as error:
            raise _moved(path, error) from None
        self._inode = os.stat(path).st_ino
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
        # What a checkpoint leaves of the log is cut to this.
        self._database.execute(f"PRAGMA journal_size_limit = {16 << 20}")

    def write(self, attempts: Sequence[str], calls: Sequence[str]) -> None:
        """Writes record lines (JSON objects), all or nothing. Raises UnreadableRecords too."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._insert("attempts", ATTEMPT_FIELDS, attempts)
                self._insert("calls", CALL_FIELDS, calls)
                self._database.execute("COMMIT")
            except (sqlite3.Error, ValueError, AttributeError):
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except (ValueError, AttributeError) as error:
            raise UnreadableRecords(f"{self.path}: {error}") from None
        except sqlite3.Error as error:
            raise self._error(error) from None

    def _insert(self, table: str, fields: tuple[str, ...], lines: Sequence[str]) -> None:
        done = 0
        for size in _CHUNKS:
            statement = _statement(table, len(fields), size)
            while len(lines) - done >= size:
                chunk = lines[done : done + size]
                values = [value for line in chunk for value in _row(line, fields)]
                self._database.execute(statement, values)
                done += size

    def _error(self, error: sqlite3.Error | SinkError) -> SinkError:
        found = error if isinstance(error, SinkError) else sink_error(self.path, error)
        return _moved(self.path, found) if isinstance(found, DamagedDatabase) else found

    @property
    def is_stale(self) -> bool:
        """Whether somebody else has moved or deleted the file: what is written is seen by none."""
        return is_replaced(self.path, self._inode)

    def expire(self, before: float, max_bytes: int) -> int:
        """Deletes what began before an epoch time or does not fit; how many records went."""
        try:
            return self.remove_before(before) + self.remove_beyond(max_bytes)
        except (sqlite3.Error, SinkError) as error:
            raise self._error(error) from None

    @property
    def stored_bytes(self) -> int:
        """What the file holds."""
        try:
            return self.used_bytes
        except sqlite3.Error as error:
            raise self._error(error) from None


def _moved(path: str, error: DamagedDatabase) -> SinkError:
    """Moves a damaged database and its log away; the one before it goes."""
    try:
        os.replace(path, path + _DAMAGED)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.replace(path + suffix, path + _DAMAGED + suffix)
    except OSError:
        return error
    return SinkError(f"{error}; it is {path}{_DAMAGED} now, and a new one is made")


def _row(line: str, fields: tuple[str, ...]) -> list[Any]:
    """The values of a record line; lists stay JSON. Raises ValueError for what is no record."""
    record, _ = _decode(line)
    if tuple(record) != fields:
        raise ValueError(f"not a record with the fields {', '.join(fields)}")
    values = list(record.values())
    for place, begin, end in _lists(fields):
        if type(values[place]) is list:
            # As it stands in the line: within a text the quotes of a key would be escaped.
            start = line.find(begin) + len(begin)
            values[place] = line[start : line.find(end, start)]
    return values


_decode = json.JSONDecoder().raw_decode
_LISTS = frozenset(("evidence", "reasons", "attempts"))


@cache
def _lists(fields: tuple[str, ...]) -> tuple[tuple[int, str, str], ...]:
    """Place of each list, what stands before it in a line, and what behind it."""
    return tuple(
        (place, f'"{name}":', f',"{fields[place + 1]}":')
        for place, name in enumerate(fields)
        if name in _LISTS
    )


@cache
def _statement(table: str, width: int, rows: int) -> str:
    row = f"({','.join('?' * width)})"
    # The same attempt seen again, by a daemon that was started anew, takes the first one's place.
    return f"INSERT OR REPLACE INTO {table} VALUES {','.join([row] * rows)}"
