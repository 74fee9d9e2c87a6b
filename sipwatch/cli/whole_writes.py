"""A stream that Ctrl-C does not cut in the middle of a record."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO


class WholeWrites:
    """Writes and flushes go through as a whole; Ctrl-C waits for them, a second one does not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text."""
        with _interrupted_later():
            return self._stream.write(text)

    def flush(self) -> None:
        """Hands everything to the system."""
        with _interrupted_later():
            self._stream.flush()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handler: Callable[[int, FrameType | None], object] = before

    def later(number: int, frame: FrameType | None) -> None:
        if received:
            handler(number, frame)
        received.append(number)

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if received:
        handler(received[0], None)
