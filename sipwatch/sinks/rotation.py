"""Record lines in files that are changed for new ones by size and by day, and go by age and size.

`records.jsonl` is written to; when it is done it becomes `records-20260423T090000Z.jsonl`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence

from sipwatch.sinks.sink import SinkError

FILE_NAME = "records.jsonl"
_ROTATED = re.compile(r"records-\d{8}T\d{6}Z(-\d+)?\.jsonl")
_DAY_SECONDS = 86_400
#: A file is changed at this size, or at a tenth of what all of them may take.
_MOST_BYTES = 64 << 20
_SHARE = 10


class RotatingLines:
    """JSON Lines, written by one thread. Raises SinkError when they cannot be written."""

    name = "jsonl"

    def __init__(
        self, directory: str, max_bytes: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._largest = min(_MOST_BYTES, max(1, max_bytes // _SHARE))
        self.path = os.path.join(directory, FILE_NAME)
        try:
            self._open()
        except OSError as error:
            raise self._failure(error) from None

    def write(self, attempts: Sequence[str], calls: Sequence[str]) -> None:
        """Appends record lines with their ends, all or nothing: never a part of a line."""
        data = "".join((*attempts, *calls)).encode()
        try:
            if self._bytes and (self._bytes + len(data) > self._largest or self._day() != self._of):
                self._rotate()
            self._append(data)
        except OSError as error:
            raise self._failure(error) from None

    def _append(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            # A full disk takes a part: what is there must be whole lines.
            os.ftruncate(self._descriptor, self._bytes)
            raise
        self._bytes += len(data)

    def expire(self, before: float, max_bytes: int) -> int:
        """Deletes files last written before an epoch time or beyond a size, oldest first.

        Returns how many records went.
        """
        removed = 0
        try:
            total = self.stored_bytes
            for path, size, written in self._rotated():
                if written >= before and total <= max_bytes:
                    break
                removed += _lines_in(path)
                os.unlink(path)
                total -= size
        except OSError as error:
            raise self._failure(error) from None
        return removed

    @property
    def is_stale(self) -> bool:
        """Whether somebody else has moved or deleted the file."""
        return is_replaced(self.path, os.fstat(self._descriptor).st_ino)

    @property
    def stored_bytes(self) -> int:
        """What all the files take."""
        try:
            return self._bytes + sum(size for _, size, _ in self._rotated())
        except OSError as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o640)
        self._bytes = os.fstat(self._descriptor).st_size
        self._of = self._day()

    def _rotate(self) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        target, again = f"records-{stamp}.jsonl", 0
        while os.path.exists(os.path.join(self._directory, target)):
            again += 1
            target = f"records-{stamp}-{again}.jsonl"
        os.rename(self.path, os.path.join(self._directory, target))
        os.close(self._descriptor)
        self._open()

    def _rotated(self) -> list[tuple[str, int, float]]:
        """Path, size and time of last writing of each file that is done, oldest first."""
        found = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if _ROTATED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda each: (each[2], each[0]))

    def _day(self) -> int:
        return int(self._clock() // _DAY_SECONDS)

    def _failure(self, error: OSError) -> SinkError:
        return SinkError(f"{self.path}: {error.strerror or error}")


def is_replaced(path: str, inode: int) -> bool:
    """Whether this path no longer names the file of that number."""
    try:
        return os.stat(path).st_ino != inode
    except OSError:
        return True


def _lines_in(path: str) -> int:
    count = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            count += chunk.count(b"\n")
    return count
