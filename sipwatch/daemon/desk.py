"""Where the web server's threads ask the capture loop for a page of metrics.

The loop makes it between two small batches: all numbers are of one moment, the hot path needs no
lock, and making the page is not torn into many turns of two busy threads. Who asks for the same
while it is being waited for gets the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from sipwatch.daemon.web import NotNow

#: Content type and body.
Page: TypeAlias = tuple[str, bytes]

#: Seconds that an asker waits; a loop that takes longer is in trouble.
_PATIENCE = 8.0


class _Question:
    __slots__ = ("accept", "answer", "done")

    def __init__(self, accept: str) -> None:
        self.accept = accept
        self.done = threading.Event()
        self.answer: Page | None = None


class Desk:
    """Questions that wait; `wanted` is looked at by the loop, as often as it likes."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` ends the loop's waiting for packets."""
        self._wake = wake
        self._lock = threading.Lock()
        self._closed = False
        self.wanted: list[_Question] = []

    def ask(self, accept: str) -> Page:
        """A page for this Accept header, for any thread. Raises NotNow."""
        with self._lock:
            if self._closed:
                raise NotNow("sipwatch is stopping")
            question = next((each for each in self.wanted if each.accept == accept), None)
            if question is None:
                question = _Question(accept)
                self.wanted.append(question)
        self._wake()
        if not question.done.wait(_PATIENCE) or question.answer is None:
            raise NotNow("the capture loop does not answer")
        return question.answer

    def serve(self, make: Callable[[str], Page]) -> None:
        """Answers all questions; in the loop's thread."""
        for question in self._taken():
            question.answer = make(question.accept)
            question.done.set()

    def close(self) -> None:
        """Nobody gets an answer any more."""
        with self._lock:
            self._closed = True
        for question in self._taken():
            question.done.set()

    def _taken(self) -> list[_Question]:
        with self._lock:
            taken, self.wanted = self.wanted, []
        return taken
