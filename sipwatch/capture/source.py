"""The bytes of one input, decompressed, with how far the reading has come."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from collections.abc import Callable
from typing import Any

from sipwatch.capture.compression import (
    MAGIC_LENGTH,
    CompressedDataError,
    Stream,
    compression_of,
)
from sipwatch.capture.stats import CaptureError

#: How often the end of a growing file is looked at.
_LOOK_AGAIN_SECONDS = 0.1

#: The path that stands for standard input.
STANDARD_INPUT = "-"


def is_stream(path: str) -> bool:
    """Whether an input can be read only once, from its start: standard input, a pipe, a device."""
    if path == STANDARD_INPUT:
        return True
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


class Source:
    """One open input. Reads give what there is, without waiting for as much as was asked for.

    Raises :class:`CaptureError` when it cannot be opened.
    """

    def __init__(self, path: str, *, grows: threading.Event | None = None) -> None:
        self.path = path
        #: A file that is still being written: its end is waited at until this is set.
        self._grows = grows
        #: Bytes taken from the file itself, compressed or not.
        self.consumed = 0
        #: Name of the compression, None without.
        self.compression: str | None = None
        #: Why the end came early; known once a read gave nothing.
        self.failure: str | None = None
        self._close: Callable[[], None] = _nothing
        self._raw = self._open(path)
        self._head = b""
        self._ended = False
        self._read = self._plain
        self._decompress()

    def close(self) -> None:
        """Closes the file; standard input stays open."""
        self._close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, at least one before the end; none at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        if self._ended:
            return b""
        try:
            data = self._read(size)
        except CompressedDataError as error:
            self.failure, data = str(error), b""
        self._ended = not data
        return data

    def peek(self, size: int) -> bytes:
        """The first ``size`` bytes, fewer when there are no more; the next read begins there."""
        parts = []
        while size > 0:
            data = self.read(size)
            if not data:
                break
            parts.append(data)
            size -= len(data)
        self._head = b"".join(parts) + self._head
        return self._head

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes unless the input ends before."""
        head = self.peek(size)[:size]
        self._head = self._head[len(head) :]
        return head

    def _open(self, path: str) -> Callable[[int], bytes]:
        if path == STANDARD_INPUT:
            return _standard_input()
        try:
            file = io.FileIO(path)
        except OSError as error:
            raise CaptureError(f"{path}: {error.strerror or error}") from None
        self._close = file.close
        return file.read if self._grows is None else _growing(file, self._grows)

    def _plain(self, size: int) -> bytes:
        try:
            data = self._raw(size)
        except OSError as error:
            self.failure = f"cannot be read: {error.strerror or error}"
            return b""
        self.consumed += len(data)
        return data

    def _decompress(self) -> None:
        """Looks at the first bytes and puts a decompressor before what follows, if need be."""
        start = self.peek(MAGIC_LENGTH)
        self.compression = compression_of(start)
        if self.compression is None:
            return
        first = [self._head]

        def compressed(size: int) -> bytes:
            return first.pop() if first else self._plain(size)

        try:
            stream = Stream(self.compression, compressed)
        except CompressedDataError as error:
            self.close()
            raise CaptureError(f"{self.path}: {error}") from None
        self._head = b""
        self._ended = False
        self._read = stream.read


def _nothing() -> None:
    """There is nothing to close."""


def _growing(file: io.FileIO, stopped: threading.Event) -> Callable[[int], bytes]:
    """Reads a file that another program writes: at its end, wait for more."""

    def read(size: int) -> bytes:
        while not (data := file.read(size)):
            if stopped.wait(_LOOK_AGAIN_SECONDS):
                return b""
        return data

    return read


def _standard_input() -> Callable[[int], bytes]:
    """Reads the descriptor itself, so that what is in a pipe is given out at once."""
    stream: Any = getattr(sys.stdin, "buffer", sys.stdin)
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError):
        read: Callable[[int], bytes] = stream.read
        return read
    return lambda size: os.read(descriptor, size)
