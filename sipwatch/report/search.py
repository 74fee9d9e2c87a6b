"""Finds the attempts that a person named by Call-ID or record id, whole or by its beginning."""

from __future__ import annotations

from typing import NamedTuple

from sipwatch.calls.types import Attempt, Call
from sipwatch.sinks.identity import attempt_id

#: Attempts kept of those that only begin alike; more are ambiguous anyway.
_MAX_FOUND = 200
_SHOWN = 5


class NotFound(LookupError):
    """No attempt has that name."""


class NotUnique(LookupError):
    """Several Call-IDs begin so; `names` are the first of them, `count` is how many there are."""

    def __init__(self, names: list[str], count: int) -> None:
        super().__init__(", ".join(names))
        self.names = names
        self.count = count


class Found(NamedTuple):
    """What was asked for."""

    #: The attempts that fit, in order of time.
    asked: list[Attempt]
    #: Their call, and every leg of it; without a call, the attempts.
    call: Call | None
    legs: list[Attempt]


class Search:
    """Takes finished attempts and calls, and keeps those that fit."""

    def __init__(self, name: str) -> None:
        self._text = name.strip()
        self._bytes = self._text.encode("utf-8", "surrogateescape")
        self._exact: list[Attempt] = []
        self._alike: list[Attempt] = []
        self._calls: list[Call] = []

    def attempt(self, attempt: Attempt) -> None:
        """Looks at a finished attempt."""
        identity = attempt_id(attempt)
        if attempt.call_id == self._bytes or identity == self._text:
            if len(self._exact) < _MAX_FOUND:
                self._exact.append(attempt)
        elif self._begins(attempt, identity) and len(self._alike) < _MAX_FOUND:
            self._alike.append(attempt)

    def call(self, call: Call) -> None:
        """Looks at a finished call: soon its attempts will be untied from it."""
        if len(self._calls) < _MAX_FOUND and any(
            self._begins(attempt, attempt_id(attempt)) for attempt in call.attempts
        ):
            self._calls.append(call)

    def found(self) -> Found:
        """The attempts that fit, with their call. Raises NotFound, NotUnique."""
        fitting = self._exact or self._alike
        names = list(dict.fromkeys(attempt.call_id for attempt in fitting))
        if not names or not self._text:
            raise NotFound
        if len(names) > 1:
            shown = [name.decode("utf-8", "replace") for name in names[:_SHOWN]]
            raise NotUnique(shown, len(names))
        asked = sorted(fitting, key=_order)
        calls = [call for call in self._calls if any(one in call.attempts for one in asked)]
        legs = {id(leg): leg for call in calls for leg in call.attempts}
        legs |= {id(attempt): attempt for attempt in asked}
        return Found(asked, calls[0] if calls else None, sorted(legs.values(), key=_order))

    def _begins(self, attempt: Attempt, identity: str) -> bool:
        return attempt.call_id.startswith(self._bytes) or identity.startswith(self._text)


def _order(attempt: Attempt) -> tuple[float, int]:
    return attempt.started_at, attempt.serial
