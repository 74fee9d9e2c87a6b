"""Writes records in a thread of its own, so that no disk can hold up the capture.

Records wait in a queue bounded by bytes. While they cannot be written (a full disk, a locked or
missing file) new ones are dropped and counted once the queue is full; trying goes on with growing
pauses, the trouble is said once, and so is its end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from sipwatch.sinks.sink import SinkError
from sipwatch.sinks.store import UnreadableRecords

_log = logging.getLogger(__name__)

#: Bytes of records that may wait.
MOST_BYTES = 16 << 20
#: Seconds between two looks at the queue: many records make one transaction.
_EVERY = 0.2
_BATCH = 2000
#: Seconds between two tries after a failure, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
#: Seconds between two looks for what is too old.
_EXPIRE_EVERY = 60.0
#: A day, in seconds.
_DAY = 86_400.0


class LineSink(Protocol):
    """What records are written to."""

    def write(self, attempts: Sequence[str], calls: Sequence[str]) -> None:
        """Writes record lines, all or nothing. Raises SinkError."""

    def expire(self, before: float, max_bytes: int) -> int:
        """Deletes what is too old or too much; how many records went. Raises SinkError."""

    @property
    def is_stale(self) -> bool:
        """Whether the file is no longer where it was."""

    @property
    def stored_bytes(self) -> int:
        """What the records take. Raises SinkError."""

    def close(self) -> None:
        """Closes it."""


class Outlet:
    """One sink with its queue and its thread. Counters are read by other threads."""

    def __init__(
        self,
        name: str,
        open_sink: Callable[[], LineSink],
        *,
        retention_days: float,
        max_bytes: int,
        most_waiting: int = MOST_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._open_sink = open_sink
        self.retention_days = retention_days
        self.max_bytes = max_bytes
        self._most_waiting = most_waiting
        self._clock = clock
        self.written = self.dropped = self.errors = self.expired = self.stored_bytes = 0
        self.unreadable = 0
        self.is_writable = True
        self._queue: deque[tuple[bool, str]] = deque()
        # One is written by who puts, one by who takes: their difference is what waits.
        self._put_bytes = self._taken_bytes = 0
        self._batch: list[tuple[bool, str]] = []
        self._sink: LineSink | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._dropped_before = 0
        self._expire_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"records-{name}", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records that are not written yet."""
        return len(self._queue) + len(self._batch)

    @property
    def lost(self) -> int:
        """Records that will never be written."""
        return self.dropped + self.unreadable

    def put(self, line: str, *, is_call: bool) -> None:
        """Takes a record line; never waits."""
        if self._put_bytes - self._taken_bytes + len(line) > self._most_waiting:
            self.dropped += 1
            return
        self._put_bytes += len(line)
        self._queue.append((is_call, line))
        if len(self._queue) == _BATCH:
            self._wake.set()

    def finish(self) -> None:
        """Asks the thread to write what waits and to end."""
        self._stopping = True
        self._wake.set()

    def join(self, seconds: float) -> None:
        """Waits for its end, so many seconds at most."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        pause = 0.0
        while True:
            self._wake.wait(pause or _EVERY)
            self._wake.clear()
            stopping = self._stopping
            try:
                self._work()
            except SinkError as error:
                self._failed(error)
                pause = min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
                if stopping:
                    break
                continue
            pause = 0.0
            if stopping and not self._queue:
                break
        self._close()

    def _work(self) -> None:
        """Writes all that waits, and sees to what is too old. Raises SinkError."""
        if self._sink is not None and self._sink.is_stale:
            _log.warning("the records' file was moved or deleted: a new one is made")
            self._close()
        if self._sink is None:
            self._sink = self._open_sink()
        while self._batch or self._queue:
            self._write_batch(self._sink)
        now = time.monotonic()
        if now >= self._expire_at:
            self._expire_at = now + _EXPIRE_EVERY
            before = self._clock() - self.retention_days * _DAY
            self.expired += self._sink.expire(before, self.max_bytes)
            self.stored_bytes = self._sink.stored_bytes

    def _write_batch(self, sink: LineSink) -> None:
        while self._queue and len(self._batch) < _BATCH:
            self._batch.append(self._queue.popleft())
        attempts = [line for is_call, line in self._batch if not is_call]
        calls = [line for is_call, line in self._batch if is_call]
        try:
            sink.write(attempts, calls)
        except UnreadableRecords as error:
            _log.error("%d records cannot be stored: %s", len(self._batch), error)
            self.unreadable += len(self._batch)
        else:
            self.written += len(self._batch)
            self._succeeded()
        self._taken_bytes += sum(len(line) for _, line in self._batch)
        self._batch.clear()

    def _failed(self, error: SinkError) -> None:
        self.errors += 1
        if self.is_writable:
            self.is_writable = False
            _log.error(
                "records cannot be written: %s; metrics go on, records wait and are dropped "
                "when too many wait",
                error,
            )
        self._close()

    def _close(self) -> None:
        """Lets go of the sink: it is opened anew with the next try."""
        if self._sink is not None:
            with suppress(SinkError, OSError):
                self._sink.close()
            self._sink = None

    def _succeeded(self) -> None:
        """A write has succeeded."""
        before, self._dropped_before = self._dropped_before, self.dropped
        if not self.is_writable:
            self.is_writable = True
            lost = self.dropped - before
            _log.warning("records are written again (%s); %d were lost meanwhile", self.name, lost)
