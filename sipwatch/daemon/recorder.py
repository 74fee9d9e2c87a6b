"""Makes record lines of what has ended and hands them to the outlets that keep them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from sipwatch.calls.types import AttemptEnded, CallEnded, Event
from sipwatch.config import Config, Records
from sipwatch.daemon.outlet import LineSink, Outlet
from sipwatch.sinks.line import attempt_line, call_line
from sipwatch.sinks.record import RecordStyle
from sipwatch.sinks.rotation import RotatingLines
from sipwatch.sinks.sink import SinkError
from sipwatch.sinks.store import RecordStore


class Recorder:
    """Takes events in the pipeline's thread; without outlets it does nothing."""

    def __init__(self, outlets: Iterable[Outlet], style: RecordStyle) -> None:
        self.outlets = list(outlets)
        self.style = style

    def start(self) -> None:
        """Begins to write."""
        for outlet in self.outlets:
            outlet.start()

    def take(self, events: Iterable[Event]) -> None:
        """Keeps each attempt when its record is complete (an answered one's with its dialog)."""
        outlets = self.outlets
        if not outlets:
            return
        style = self.style
        for event in events:
            if type(event) is CallEnded:
                line, is_call = call_line(event.call, style), True
            else:
                attempt = event.attempt  # type: ignore[union-attr]
                if type(event) is AttemptEnded and attempt.answered_at is not None:
                    continue
                line, is_call = attempt_line(attempt, style), False
            for outlet in outlets:
                outlet.put(line, is_call=is_call)

    def reconfigure(self, config: Config) -> None:
        """Goes on with another style and retention; what waits is written as it is."""
        self.style = RecordStyle.of(config)
        for outlet in self.outlets:
            outlet.retention_days = config.records.retention_days
            outlet.max_bytes = config.records.max_megabytes << 20

    def stop(self, seconds: float) -> int:
        """Writes what waits, for so many seconds in all at most; how many records were left."""
        for outlet in self.outlets:
            outlet.finish()
        for outlet in self.outlets:
            outlet.join(seconds / len(self.outlets))
        return sum(outlet.waiting for outlet in self.outlets)


def outlets_of(records: Records) -> list[Outlet]:
    """The outlets that the configuration asks for, not started yet."""
    kinds: list[tuple[str, Callable[[str, int], LineSink]]] = [(RecordStore.name, _store)]
    if records.json_lines:
        kinds.append((RotatingLines.name, RotatingLines))
    return [_outlet(name, make, records) for name, make in kinds]


def _outlet(name: str, make: Callable[[str, int], LineSink], records: Records) -> Outlet:
    max_bytes = records.max_megabytes << 20

    def open_sink() -> LineSink:
        try:
            os.makedirs(records.directory, mode=0o750, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{records.directory}: {error.strerror or error}") from None
        return make(records.directory, max_bytes)

    return Outlet(name, open_sink, retention_days=records.retention_days, max_bytes=max_bytes)


def _store(directory: str, max_bytes: int) -> LineSink:
    return RecordStore(directory)
