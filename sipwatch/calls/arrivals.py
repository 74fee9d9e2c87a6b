"""The callers' legs that one PBX received, indexed by what an agent's leg may share with them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sipwatch.calls.pairing import PROMPT_SECONDS
from sipwatch.calls.types import Attempt

#: Answers and ends of callers' legs are compared with agents' legs until these are settled.
REMEMBERED_SECONDS = 40.0
#: Names remembered of one caller.
MOST_NAMES = 32


@dataclass(slots=True)
class Arrivals:
    """The callers' legs that one PBX received, by everything an agent's leg may share with them."""

    #: How many there were in all.
    received: int = 0
    live: dict[int, Attempt] = field(default_factory=dict)
    by_identity: dict[str, dict[int, Attempt]] = field(default_factory=dict)
    by_value: dict[bytes, Attempt] = field(default_factory=dict)
    #: By whom they called and were sent to; each caller has his names himself.
    by_name: dict[str, dict[int, Attempt]] = field(default_factory=dict)
    #: What may cause an agent's leg: INVITEs, answers, ends of other legs, transfers.
    triggers: deque[tuple[float, Attempt]] = field(default_factory=lambda: deque(maxlen=4096))
    #: Ends and answers of callers' legs, to find what an agent's leg ended with.
    marks: deque[tuple[float, Attempt]] = field(default_factory=lambda: deque(maxlen=4096))
    #: The latest agents' legs, and those without a caller in view.
    legs: deque[Attempt] = field(default_factory=lambda: deque(maxlen=64))
    orphans: deque[Attempt] = field(default_factory=lambda: deque(maxlen=64))

    #: Answers of agents' legs without a caller in view.
    answers: deque[tuple[float, Attempt]] = field(default_factory=lambda: deque(maxlen=256))

    def answer(self, now: float, attempt: Attempt) -> None:
        """An agent's leg of a hidden caller got its 2xx."""
        answers = self.answers
        while answers and answers[0][0] < now - REMEMBERED_SECONDS:
            answers.popleft()
        answers.append((now, attempt))

    def cause(self, now: float, attempt: Attempt) -> None:
        """Something that may make the PBX send an INVITE for this caller."""
        triggers = self.triggers
        while triggers and triggers[0][0] < now - 2 * PROMPT_SECONDS:
            triggers.popleft()
        triggers.append((now, attempt))

    def mark(self, now: float, attempt: Attempt) -> None:
        """An answer or an end of a caller's leg."""
        marks = self.marks
        while marks and marks[0][0] < now - REMEMBERED_SECONDS:
            marks.popleft()
        marks.append((now, attempt))

    def name(self, name: str, attempt: Attempt) -> None:
        """This caller called, or was sent to, somebody of this name."""
        names = attempt.names
        if name and len(names) < MOST_NAMES and name not in names:
            attempt.names = (*names, name)
            self.by_name.setdefault(name, {})[attempt.serial] = attempt

    def forget_names(self, attempt: Attempt) -> None:
        """This caller's call is over."""
        names, attempt.names = attempt.names, ()
        for name in names:
            same = self.by_name.get(name)
            if same is not None:
                same.pop(attempt.serial, None)
                if not same:
                    del self.by_name[name]
