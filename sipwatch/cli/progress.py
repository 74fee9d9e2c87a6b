"""A progress bar on standard error, when there is much to read and somebody watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

#: Inputs up to this size are read before a bar could be looked at.
_LARGE_BYTES = 20_000_000
_SECONDS_BETWEEN_UPDATES = 0.2


class Measured(Protocol):
    """Something that knows how far it has come."""

    def progress(self) -> tuple[int, int | None]:
        """Bytes read, and of how many; None where that is not known."""


class Progress:
    """Shows how far the reading has come, with rate and time left; else nothing."""

    def __init__(self, source: Measured, *, show: bool = True) -> None:
        self._source = source
        self._show = show and sys.stderr.isatty()
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._next = 0.0

    def update(self) -> None:
        """To be called often; most calls do nothing."""
        if not self._show:
            return
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _SECONDS_BETWEEN_UPDATES
        done, total = self._source.progress()
        if self._bar is None:
            if max(done, total or 0) < _LARGE_BYTES:
                return
            self._bar = _new_bar(known=total is not None)
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
        assert self._task is not None  # set together with the bar
        self._bar.update(self._task, completed=done)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _new_bar(*, known: bool) -> Bar:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    left: tuple[Any, ...] = (
        (BarColumn(), TaskProgressColumn(), DownloadColumn(), TransferSpeedColumn())
        if known
        else (DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    )
    columns = (*left, TimeRemainingColumn()) if known else left
    return Progress(*columns, console=Console(stderr=True), transient=True)
