"""The daemon's records in SQLite: whole batches of record lines in one statement each.

While a statement runs Python does nothing and other threads go on: with one statement for each
row the thread that follows the calls and the one that writes would wait for each other thousands
of times a second. Tables and retention are those of `SqliteRecords`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from sipwatch.sinks.record import ATTEMPT_FIELDS, CALL_FIELDS
from sipwatch.sinks.rotation import is_replaced
from sipwatch.sinks.sink import SinkError
from sipwatch.sinks.sqlite import SqliteRecords

FILE_NAME = "records.sqlite"
#: Fields whose JSON stays JSON.
_LISTS = frozenset(("evidence", "reasons", "attempts"))
#: How long another writer is waited for; nobody but this thread waits.
_WAIT_SECONDS = 2.0
_CACHE_KIBIBYTES = 4096


class UnreadableRecords(SinkError):
    """Lines that no database takes, now or later."""


class RecordStore(SqliteRecords):
    """One database, written by one thread. Raises SinkError when it cannot be used."""

    name = "sqlite"

    def __init__(self, directory: str, *, wait_seconds: float = _WAIT_SECONDS) -> None:
        path = os.path.join(directory, FILE_NAME)
        super().__init__(path, wait_seconds=wait_seconds)
        self._inode = os.stat(path).st_ino
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
        # What a checkpoint leaves of the log is cut to this.
        self._database.execute(f"PRAGMA journal_size_limit = {16 << 20}")

    def write(self, attempts: Sequence[str], calls: Sequence[str]) -> None:
        """Writes record lines (JSON objects), all or nothing. Raises UnreadableRecords too."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                if attempts:
                    self._database.execute(_ATTEMPTS, (_array(attempts),))
                if calls:
                    self._database.execute(_CALLS, (_array(calls),))
                self._database.execute("COMMIT")
            except sqlite3.Error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            kind = UnreadableRecords if "malformed JSON" in str(error) else SinkError
            raise kind(f"{self.path}: {error}") from None

    @property
    def is_stale(self) -> bool:
        """Whether somebody else has moved or deleted the file: what is written is seen by none."""
        return is_replaced(self.path, self._inode)

    def expire(self, before: float, max_bytes: int) -> int:
        """Deletes what began before an epoch time or does not fit; how many records went."""
        try:
            return self.remove_before(before) + self.remove_beyond(max_bytes)
        except sqlite3.Error as error:
            raise SinkError(f"{self.path}: {error}") from None

    @property
    def stored_bytes(self) -> int:
        """What the file holds."""
        try:
            return self.used_bytes
        except sqlite3.Error as error:
            raise SinkError(f"{self.path}: {error}") from None


def _array(lines: Sequence[str]) -> str:
    return f"[{','.join(lines)}]"


def _insert(table: str, fields: Sequence[str]) -> str:
    values = ", ".join(f"value {'->' if f in _LISTS else '->>'} '$.{f}'" for f in fields)
    # The same attempt seen again, by a daemon that was started anew, takes the first one's place.
    return f"INSERT OR REPLACE INTO {table} SELECT {values} FROM json_each(?)"


_ATTEMPTS = _insert("attempts", ATTEMPT_FIELDS)
_CALLS = _insert("calls", CALL_FIELDS)
