"""Sends what the loop follows, and what became of it, to a HEP collector.

Nothing here waits: what the network does not take is dropped and counted (`sipwatch.sinks.hep`).
"""

from __future__ import annotations

from collections.abc import Iterable

from sipwatch.calls.types import AttemptEnded, CallEnded, Event
from sipwatch.config import Config
from sipwatch.daemon.errors import StartError
from sipwatch.net.types import Batch
from sipwatch.sinks.hep import Collector, HepMirror, MirrorStats
from sipwatch.sinks.record import RecordStyle
from sipwatch.sinks.sink import SinkError


class Mirror:
    """One collector; messages go as they were seen, records in the configured style."""

    def __init__(self, mirror: HepMirror) -> None:
        self._mirror = mirror

    @property
    def stats(self) -> MirrorStats:
        """What was sent, and what was not."""
        return self._mirror.stats

    def follow(self, batch: Batch) -> None:
        """Sends the messages of a batch."""
        self._mirror.datagrams(batch)

    def take(self, events: Iterable[Event]) -> None:
        """Sends each attempt when its record is complete (an answered one's with its dialog)."""
        for event in events:
            if isinstance(event, CallEnded):
                self._mirror.call(event.call)
            elif not isinstance(event, AttemptEnded) or event.attempt.answered_at is None:
                self._mirror.attempt(event.attempt)

    def reconfigure(self, config: Config) -> None:
        """Goes on with another style."""
        self._mirror.style = RecordStyle.of(config)

    def flush(self) -> None:
        """Sends what waits, as far as the network takes it now."""
        self._mirror.flush()

    def close(self) -> None:
        """Sends what can be sent at once, and ends."""
        self._mirror.close()


def mirror_of(config: Config) -> Mirror | None:
    """The mirror that the configuration asks for. Raises StartError."""
    hep = config.hep
    if not hep.mirror:
        return None
    try:
        return Mirror(
            HepMirror(
                Collector.parse(hep.mirror),
                node_id=hep.node_id,
                auth_key=hep.auth_key.encode() or None,
                style=RecordStyle.of(config),
            )
        )
    except SinkError as error:
        raise StartError(str(error)) from None
