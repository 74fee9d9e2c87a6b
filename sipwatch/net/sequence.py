"""Puts the segments of one direction of a TCP connection in order (RFC 9293 section 3.4).

Positions are sequence numbers that do not wrap: plain integers whose low 32 bits are what stands
in the header. Where segments overlap the bytes that came first stay. A segment may be longer than
its data, when a snap length cut it: the rest counts as ``missing`` but has its place.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

#: Bytes that a segment takes besides its data, roughly.
SEGMENT_COST = 256


class Segment(NamedTuple):
    """A stretch of the stream, and the packet that brought it."""

    position: int
    data: bytes
    #: Bytes after ``data`` that were on the wire but not in the capture.
    missing: int
    time: float
    interface: str
    number: int

    @property
    def end(self) -> int:
        """Position of the byte after it."""
        return self.position + len(self.data) + self.missing

    def part(self, start: int, end: int) -> Segment:
        """The stretch from ``start`` to ``end``, both within this one."""
        data = self.data[start - self.position : end - self.position]
        return self._replace(position=start, data=data, missing=end - start - len(data))


def _position(segment: Segment) -> int:
    return segment.position


class Sequence:
    """What has been read up to `next`, and the segments that wait behind a gap."""

    __slots__ = ("next", "pending", "size")

    def __init__(self, position: int) -> None:
        #: Position of the next byte to be read.
        self.next = position
        #: Segments behind `next`, disjoint and sorted.
        self.pending: list[Segment] = []
        #: Bytes held in `pending`.
        self.size = 0

    def distance(self, number: int) -> int:
        """From `next` to the sequence number ``number``, the short way round."""
        distance = (number - self.next) & 0xFFFFFFFF
        return distance - 0x1_0000_0000 if distance & 0x8000_0000 else distance

    @property
    def held(self) -> int:
        """What the waiting segments take: their bytes, and what it takes to keep each."""
        return self.size + SEGMENT_COST * len(self.pending)

    @property
    def gap(self) -> int:
        """Bytes that are not there before the first waiting segment; 0 when none waits."""
        return self.pending[0].position - self.next if self.pending else 0

    def add(self, segment: Segment) -> tuple[bool, bool]:
        """Keep what is new of a segment; whether something was, and whether something was not."""
        start, end = max(segment.position, self.next), segment.end
        pending = self.pending
        is_new, is_old = False, start > segment.position
        at = bisect_right(pending, start, key=_position)
        if at and pending[at - 1].end > start:
            start = pending[at - 1].end
            is_old = True
        while start < end:
            stop = min(pending[at].position, end) if at < len(pending) else end
            if start < stop:
                part = segment.part(start, stop)
                pending.insert(at, part)
                self.size += len(part.data)
                is_new = True
                at += 1
            if at < len(pending) and stop < end:
                is_old = True
                stop = pending[at].end
                at += 1
            start = stop
        return is_new, is_old

    def pop(self) -> Segment | None:
        """The next segment in order, None at a gap or when none is left."""
        if not self.pending or self.pending[0].position != self.next:
            return None
        segment = self.pending.pop(0)
        self.next = segment.end
        self.size -= len(segment.data)
        return segment

    def skip_gap(self) -> int:
        """Give the missing bytes before the first waiting segment up; how many there were."""
        gap = self.gap
        self.next += gap
        return gap

    def clear(self) -> int:
        """Drop what waits; how many bytes are passed over by that, gaps included."""
        if not self.pending:
            return 0
        passed = self.pending[-1].end - self.next
        self.next += passed
        self.pending.clear()
        self.size = 0
        return passed
