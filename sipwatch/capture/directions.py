"""Notices when only one direction of the traffic is seen, as behind half of a mirror port.

Every SIP request has its answer the other way between the same two hosts; where that way is never
seen, outcomes cannot be told and the user must know why.
"""

from __future__ import annotations

from sipwatch.net.types import Batch, Datagram

_SAMPLE = 16
_ENOUGH = 20
_MAX_PAIRS = 256
_WINDOW_SECONDS = 30.0

_FORTH, _BACK = 1, 2


class Directions:
    """Samples batches; its memory is the last one to two windows of packet time."""

    def __init__(self) -> None:
        self._started = 0.0
        self._pairs: dict[tuple[bytes, bytes], int] = {}
        self._seen = 0
        self._previous: tuple[int, bool] = (0, False)

    def observe(self, batch: Batch) -> None:
        """Looks at the first few datagrams of a batch."""
        sample = [item for item in batch[:_SAMPLE] if isinstance(item, Datagram)]
        if not sample:
            return
        if not 0 <= sample[0].time - self._started < _WINDOW_SECONDS:
            self._previous = (self._seen, self._has_both())
            self._started, self._seen = sample[0].time, 0
            self._pairs.clear()
        for datagram in sample:
            self._count(datagram.source[0], datagram.destination[0])

    def only_one(self) -> bool | None:
        """Returns whether only one direction is seen; ``None`` before there is enough to say."""
        seen, both = self._previous
        if both or self._has_both():
            return False
        return True if seen + self._seen >= _ENOUGH else None

    def _count(self, source: bytes, destination: bytes) -> None:
        self._seen += 1
        forth = source < destination
        pair = (source, destination) if forth else (destination, source)
        if source == destination:
            # A host that talks to itself, by its loopback, is seen whole or not at all.
            self._pairs[pair] = _FORTH | _BACK
        elif pair in self._pairs or len(self._pairs) < _MAX_PAIRS:
            self._pairs[pair] = self._pairs.get(pair, 0) | (_FORTH if forth else _BACK)

    def _has_both(self) -> bool:
        return (_FORTH | _BACK) in self._pairs.values()
