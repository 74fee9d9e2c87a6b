"""Log lines for people and journals: one line an event, and never more of them than help.

`level=warning msg="…"` or JSON to standard error; under systemd each line begins with its
priority (sd-daemon(3)) and has no time of its own, for the journal has one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import OrderedDict
from typing import Any, Literal, TextIO, TypeAlias

from sipwatch.sinks.printable import printable

Form: TypeAlias = Literal["logfmt", "json"]

_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
#: So many messages of one kind a minute; what is more is counted.
_BURST = 6
_WINDOW_SECONDS = 60.0
_MOST_KINDS = 256
_ROOT = "sipwatch"


def set_up(form: Form = "logfmt", level: str = "info", stream: TextIO | None = None) -> RateLimit:
    """Sends what sipwatch logs to standard error; gives the limit that counts what was left out."""
    handler = logging.StreamHandler(stream or sys.stderr)
    in_journal = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(_JsonLine(in_journal) if form == "json" else _KeyValueLine(in_journal))
    limit = RateLimit()
    handler.addFilter(limit)
    logger = logging.getLogger(_ROOT)
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    # A reader that went away must not bring tracebacks about it.
    logging.raiseExceptions = False
    return limit


class RateLimit(logging.Filter):
    """Lets a few messages of each kind through; says how many were left out with the next one."""

    def __init__(self, burst: int = _BURST, window_seconds: float = _WINDOW_SECONDS) -> None:
        super().__init__()
        self._burst = burst
        self._window = window_seconds
        #: Kind to the window's beginning, messages in it, and those left out since the last.
        self._kinds: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self.suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is to be shown."""
        now = time.monotonic()
        key = (record.name, str(record.msg))
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.popitem(last=False)
            kind = self._kinds[key] = [now, 0, 0]
        if now - kind[0] >= self._window:
            kind[0], kind[1] = now, 0
        kind[1] += 1
        if kind[1] > self._burst:
            kind[2] += 1
            self.suppressed += 1
            return False
        record.suppressed = int(kind[2])
        kind[2] = 0
        return True


class _Line(logging.Formatter):
    def __init__(self, in_journal: bool) -> None:
        super().__init__()
        self._in_journal = in_journal

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the message."""
        pairs: dict[str, Any] = {}
        if not self._in_journal:
            millis = f"{record.msecs:03.0f}"
            pairs["time"] = time.strftime(
                f"%Y-%m-%dT%H:%M:%S.{millis}Z", time.gmtime(record.created)
            )
        pairs["level"] = record.levelname.lower()
        pairs["part"] = record.name.rpartition(".")[2]
        pairs["msg"] = printable(record.getMessage())
        if getattr(record, "suppressed", 0):
            pairs["left_out"] = record.suppressed  # type: ignore[attr-defined]
        if record.exc_info:
            pairs["error"] = printable(self.formatException(record.exc_info).replace("\n", " | "))
        priority = f"<{_PRIORITIES.get(record.levelname, 6)}>" if self._in_journal else ""
        return priority + self._written(pairs)

    def _written(self, pairs: dict[str, Any]) -> str:
        raise NotImplementedError


class _KeyValueLine(_Line):
    def _written(self, pairs: dict[str, Any]) -> str:
        return " ".join(f"{key}={_quoted(value)}" for key, value in pairs.items())


class _JsonLine(_Line):
    def _written(self, pairs: dict[str, Any]) -> str:
        return json.dumps(pairs, ensure_ascii=False)


def _quoted(value: Any) -> str:
    text = str(value)
    if text and not any(sign in text for sign in ' "=\\'):
        return text
    return json.dumps(text, ensure_ascii=False)
