"""Captures of Microsoft Network Monitor, format 2, which old collections of SIP traces hold.

The file has a header, the frames one behind another, and tables at its end; each frame is a
record of time, lengths and data, with a trailer from version 2.1 on that names its link type.
Times count from the start of the capture, which is a local time of an unknown zone: it is taken
for UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from struct import Struct
from typing import NamedTuple

from sipwatch.capture.source import Source
from sipwatch.capture.stats import CaptureError, FileReport
from sipwatch.net import linktypes
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch

_MAGIC = b"GMBU"
_HEADER_SIZE = 32
_MAX_PACKET = 262_144

# Minor and major version, link type, start of the capture (year, month, day of week, day, hour,
# minute, second, millisecond), offset of the table of frames.
_header = Struct("<4xBBH8HI").unpack_from
# Microseconds since the start, length on the wire, length kept.
_record = Struct("<QII").unpack_from
_link = Struct("<H").unpack_from
_RECORD_SIZE = 16

# Bytes behind a frame, by minor version: link type, then the process, then a time of its own.
_TRAILERS = {0: 0, 1: 2, 2: 6}
_LONGEST_TRAILER = 15

# Link types of Network Monitor; from 0xE000 on they are those of pcap.
_LINK_TYPES = {1: linktypes.ETHERNET, 6: 105, 9: linktypes.RAW}
_PCAP_LINK_TYPES = range(0xE000, 0xF000)


class _Shape(NamedTuple):
    """What the header of a file says."""

    start: float
    linktype: int
    trailer: int
    #: Position of the table of frames: there the frames end.
    table: int


def is_sound(head: bytes) -> bool:
    """Whether the header of the file makes sense, given its first 32 bytes."""
    return _shape(head) is not None


def recognises(start: bytes) -> bool:
    """Whether a file that begins with these (at least four) bytes is such a capture."""
    return start[:4] == _MAGIC


def first_time(head: bytes) -> float | None:
    """Time of the first packet of a file that begins with ``head``: the start of the capture."""
    shape = _shape(head)
    return shape.start if shape else None


def _shape(head: bytes) -> _Shape | None:
    if len(head) < _HEADER_SIZE or not recognises(head):
        return None
    minor, major, link, year, month, _, day, hour, minute, second, milli, table = _header(head)
    if major != 2:
        return None
    try:
        start = datetime(year, month, day, hour, minute, second, milli * 1000, UTC).timestamp()
    except ValueError:
        return None
    return _Shape(start, _linktype(link), _TRAILERS.get(minor, _LONGEST_TRAILER), table)


def _linktype(link: int) -> int:
    """The number that pcap has for a link type; -1 for what it does not know."""
    if link in _PCAP_LINK_TYPES:
        return link - _PCAP_LINK_TYPES.start
    return _LINK_TYPES.get(link, -1)


class NetmonReader:
    """Reads one file; ``report`` takes what is to be said of it.

    Raises :class:`CaptureError` when the file's header makes no sense.
    """

    def __init__(
        self, source: Source, decoder: FrameDecoder, report: FileReport, chunk: int
    ) -> None:
        shape = _shape(source.peek(_HEADER_SIZE)[:_HEADER_SIZE])
        if shape is None:
            raise CaptureError(f"{report.name}: the header of the file is cut short or damaged")
        # The header is longer than what is read of it: the first frame begins behind 128 bytes.
        source.take(128)
        self._shape = shape
        self._source = source
        self._decoder = decoder
        self._report = report
        self._chunk = chunk
        self._position = 128
        report.format = "Network Monitor 2"

    def batches(self) -> Iterator[Batch]:
        """What each block holds, empty lists included; a damaged file gives what it can."""
        rest = b""
        while self._position < self._shape.table and (data := self._source.read(self._chunk)):
            buffer = rest + data
            end = min(len(buffer), self._shape.table - self._position)
            found: Batch = []
            offset = self._read(buffer, end, found)
            if offset < 0:
                yield found
                return
            rest = buffer[offset:]
            self._position += offset
            yield found
        if self._position < self._shape.table:
            what = self._source.failure or f"cut short after packet {self._report.packets}"
            self._report.lost(self._position, what)

    def _read(self, buffer: bytes, end: int, found: Batch) -> int:
        """Reads whole frames; where the next begins, -1 when there is none to be found."""
        offset, trailer, report = 0, self._shape.trailer, self._report
        while offset + _RECORD_SIZE <= end:
            delta, wire, length = _record(buffer, offset)
            start = offset + _RECORD_SIZE
            following = start + length + trailer
            time = self._shape.start + delta / 1e6
            if length > _MAX_PACKET or delta >> 52:
                report.lost(self._position + offset, f"packet {report.packets + 1} makes no sense")
                return -1
            if following > end:
                break
            linktype = self._shape.linktype
            if trailer:
                linktype = _linktype(_link(buffer, start + length)[0])
            report.packets += 1
            report.bytes += length
            report.snapped += length < wire
            report.seen(time)
            frame = buffer[start : start + length]
            found += self._decoder.decode(time, frame, linktype, report.name, report.packets)
            offset = following
        return offset
