"""HEP version 3 on a TCP stream that is seen on its way to a collector.

`HepFramer` has the calls of a framer (see `sipwatch.net.framing`): bytes in order in, whole HEP
packets out, each still to be decoded. Where bytes are lost or something else stands, it goes on
with the next segment that begins with a packet, as agents send them.
"""

from __future__ import annotations

from sipwatch.net.framing import StreamCounts
from sipwatch.net.hep import HepError, HepStream

#: What every packet of version 3 begins with.
START = b"HEP3"

#: The transport of what comes out: no SIP yet.
TRANSPORT = "HEP"


class HepFramer:
    """The HEP packets of one direction of a stream."""

    transport = TRANSPORT

    __slots__ = ("_counts", "_stream")

    def __init__(self, counts: StreamCounts) -> None:
        self._counts = counts
        self._stream: HepStream | None = None

    @property
    def held(self) -> int:
        """Bytes kept for a packet that is not complete."""
        return 0 if self._stream is None else self._stream.held_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; the packets that they complete."""
        if self._stream is None:
            if not data.startswith(START):
                self._counts.skipped_bytes += len(data)
                return []
            self._stream = HepStream()
        try:
            return self._stream.feed(data)
        except HepError:
            self._counts.skipped_bytes += len(data)
            self._stream = None
            return []

    def lose(self, count: int) -> list[bytes]:
        """Note that the next ``count`` bytes are not known."""
        self._counts.lost_bytes += count
        self._counts.damaged += bool(self.held)
        self._stream = None
        return []

    def close(self) -> None:
        """Note that nothing follows."""
        self._counts.unfinished += bool(self.held)
        self._stream = None
