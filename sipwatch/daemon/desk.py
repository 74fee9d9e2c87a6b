"""Where the web server's threads ask the capture loop for a snapshot.

The loop makes it between two small batches, so that all numbers are of one moment and the hot path
needs no lock. Who asks while one is being waited for gets the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sipwatch.daemon.web import NotNow
from sipwatch.sinks.metrics import Reading

#: Seconds that an asker waits; a loop that takes longer is in trouble.
_PATIENCE = 8.0


class _Question:
    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: list[Reading] | None = None


class Desk:
    """One question at a time; `wanted` is looked at by the loop, as often as it likes."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` ends the loop's waiting for packets."""
        self._wake = wake
        self._lock = threading.Lock()
        self._closed = False
        self.wanted: _Question | None = None

    def ask(self) -> list[Reading]:
        """A snapshot, for any thread. Raises NotNow."""
        with self._lock:
            if self._closed:
                raise NotNow("sipwatch is stopping")
            question = self.wanted
            if question is None:
                question = self.wanted = _Question()
                self._wake()
        if not question.done.wait(_PATIENCE) or question.answer is None:
            raise NotNow("the capture loop does not answer")
        return question.answer

    def serve(self, make: Callable[[], list[Reading]]) -> None:
        """Answers the question, if there is one; in the loop's thread."""
        question = self.wanted
        if question is None:
            return
        with self._lock:
            self.wanted = None
        question.answer = make()
        question.done.set()

    def close(self) -> None:
        """Nobody gets an answer any more."""
        with self._lock:
            self._closed = True
            question, self.wanted = self.wanted, None
        if question is not None:
            question.done.set()
