"""The pcap file format (draft-ietf-opsawg-pcap): both byte orders, all resolutions.

The loop over the records is the innermost of the program: most packets of a capture are media
and leave it after one ``unpack_from``. See :mod:`sipwatch.net.linktypes` for the layouts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from struct import Struct
from typing import NamedTuple

from sipwatch.capture.layouts import IPV6_NEXT_HEADER, IPV6_PAYLOAD_OFFSET, PAD, layout
from sipwatch.capture.runs import Runs
from sipwatch.capture.source import Source
from sipwatch.capture.stats import CaptureError, FileReport
from sipwatch.net import recognise
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.ip import TCP, UDP
from sipwatch.net.types import Batch

#: No link type has longer packets (libpcap's own limit).
MAX_PACKET = 262_144

_HEADER_SIZE = 24
_MODIFIED_MAGIC = 0xA1B2CD34

#: Magic number, as it stands in the byte order of the file, to seconds in a unit of the fraction.
_MAGICS = {0xA1B2C3D4: 1e-6, 0xA1B23C4D: 1e-9, _MODIFIED_MAGIC: 1e-6}


class _Shape(NamedTuple):
    """How the records of one file look; from its header."""

    order: str
    modified: bool
    unit: float
    linktype: int

    @property
    def header(self) -> int:
        """Bytes of a record's header; the modified format has an interface and a protocol."""
        return 24 if self.modified else 16

    @property
    def fields(self) -> str:
        """``struct`` format of a record's header: seconds, fraction, captured and wire length."""
        return "IIII8x" if self.modified else "IIII"

    def run_header(self, length: int, size: int) -> bytes:
        """Pattern of a record's header, see :class:`Runs`; nothing else depends on ``size``."""
        lengths = re.escape(Struct(self.order + "II").pack(length, length))
        return b".{8}" + lengths + b".{%d}" % (self.header - 16)


def is_sound(head: bytes) -> bool:
    """Whether the header of the file is whole, given its first 32 bytes."""
    return _shape(head) is not None


def recognises(start: bytes) -> bool:
    """Whether a file that begins with these (at least four) bytes is a pcap file."""
    return _magic(start) is not None


def first_time(head: bytes) -> float | None:
    """Time of the first packet of a file that begins with ``head``, None without one."""
    shape = _shape(head)
    if shape is None or len(head) < _HEADER_SIZE + 16:
        return None
    seconds, fraction = Struct(shape.order + "II").unpack_from(head, _HEADER_SIZE)
    return float(seconds + fraction * shape.unit)


def _magic(start: bytes) -> tuple[str, int] | None:
    for order in "<>":
        magic = int.from_bytes(start[:4], "little" if order == "<" else "big")
        if magic in _MAGICS:
            return order, magic
    return None


def _shape(head: bytes) -> _Shape | None:
    found = _magic(head)
    if found is None or len(head) < _HEADER_SIZE:
        return None
    order, magic = found
    # The upper half tells of a frame check sequence, which the lengths inside make harmless.
    linktype = Struct(order + "I").unpack_from(head, 20)[0] & 0xFFFF
    return _Shape(order, magic == _MODIFIED_MAGIC, _MAGICS[magic], linktype)


class PcapReader:
    """Reads one pcap file; ``report`` takes what is to be said of it.

    Raises :class:`CaptureError` when the file's header is not whole.
    """

    def __init__(
        self, source: Source, decoder: FrameDecoder, report: FileReport, chunk: int
    ) -> None:
        head = source.take(_HEADER_SIZE)
        shape = _shape(head)
        if shape is None:
            raise CaptureError(f"{report.name}: the header of the file is cut short")
        self._source = source
        self._decoder = decoder
        self._report = report
        self._chunk = chunk
        self._shape = shape
        self._fields = Struct(shape.order + shape.fields).unpack_from
        self._layout = layout(shape.linktype, shape.order, shape.fields, shape.header)
        self._sound = _sound_records(shape)
        self._runs = Runs(shape.linktype, shape.run_header, shape.header)
        #: Position in the file of the buffer's first byte.
        self._position = _HEADER_SIZE
        #: Whether a damaged record was met and the next sound one has not been found; where it
        #: was, and what was wrong with it.
        self._searching = False
        self._damaged_at = 0
        #: Whether all bytes of the file are there, so that nothing is worth waiting for.
        self._ended = False
        self._what = ""
        report.format = "pcap" if shape.unit == 1e-6 else "pcap, nanoseconds"
        if shape.modified:
            report.format = "pcap, modified"

    def batches(self) -> Iterator[Batch]:
        """What each block holds, empty lists included; a damaged file gives what it can."""
        rest = b""
        while not self._ended:
            data = self._source.read(self._chunk)
            self._ended = not data
            buffer = b"".join((rest, data, PAD))
            end = len(buffer) - len(PAD)
            found: Batch = []
            offset = self._read(buffer, end, found)
            rest = buffer[offset:end]
            self._position += offset
            yield found
        if self._source.failure is not None:
            self._report.lost(self._position + len(rest), self._source.failure)
        elif self._searching:
            self._report.lost(self._damaged_at, f"{self._what}; nothing after it could be read")
        elif rest:
            self._report.lost(self._position, self._cut(rest))

    def _cut(self, rest: bytes) -> str:
        header = self._shape.header
        if len(rest) < header:
            return f"cut short within the header of packet {self._report.packets + 1}"
        length = self._fields(rest, 0)[2]
        return (
            f"cut short within packet {self._report.packets + 1}, which has"
            f" {len(rest) - header:,} of {length:,} bytes"
        )

    def _read(self, buffer: bytes, end: int, found: Batch) -> int:
        """Reads records up to the last whole one; where the next begins."""
        offset = 0
        while True:
            if self._searching:
                offset = self._search(buffer, offset, end)
                if self._searching:
                    return offset
            start, packets = offset, self._report.packets
            offset = self._walk(buffer, offset, end, found)
            headers = (self._report.packets - packets) * self._shape.header
            self._report.bytes += offset - start - headers
            if not self._is_damaged(buffer, offset, end):
                return offset

    def _walk(self, buffer: bytes, offset: int, end: int, found: Batch) -> int:
        """Reads records until one is not whole or not sound; its offset."""
        unpack, unpack_tagged, ip, tagged_ip, floor, ipv4, ipv6, tag, fragment_bits = self._layout
        header, unit, linktype = self._shape.header, self._shape.unit, self._shape.linktype
        kinds, media, ceiling = recognise.KIND, recognise.MEDIA, MAX_PACKET
        plain, segment, decode = self._decoder.plain, self._decoder.segment, self._decoder.decode
        name, udp, tcp = self._report.name, UDP, TCP
        runs, rejected, skipped, streak, snapped = self._runs, 0, 0, 0, 0
        began = last = offset
        for number in count(self._report.packets + 1):
            # seconds, fraction, captured and wire length; then the fields of the layout
            sec, frac, length, wire, kind, version, part, protocol, first = unpack(buffer, offset)
            following = offset + header + length
            if following > end:
                break
            if length != wire:
                if length < wire:
                    snapped += 1
                elif not self._leads_on(buffer, offset, following, end):
                    break
            start = ip
            if kind == tag:
                kind, version, part, protocol, first = unpack_tagged(buffer, offset)[4:]
                start = tagged_ip
            # Twice the same condition: a common one would cost each UDP packet a name.
            if (
                protocol == udp
                and version == 0x45
                and kind == ipv4
                and not part & fragment_bits
                and floor < length <= ceiling
            ):
                if kinds[first] == media:
                    rejected += 1
                    if length == streak == wire:
                        size, has_tag = following - offset, start != ip
                        stop = runs.end(buffer, following, end, length, size, tagged=has_tag)
                        skipped += (stop - following) // size
                        offset, following = stop - size, stop
                    streak = length
                else:
                    time = sec + frac * unit
                    plain(time, buffer, offset + start, following, name, number + skipped, found)
                    streak = 0
            elif (
                protocol == tcp
                and version == 0x45
                and kind == ipv4
                and not part & fragment_bits
                and floor < length <= ceiling
            ):
                time = sec + frac * unit
                segment(time, buffer, offset + start, following, name, number + skipped, found)
            elif length > ceiling or not (length or sec):
                break
            elif (
                kind == ipv6
                and buffer[offset + start + IPV6_NEXT_HEADER] == UDP
                and offset + start + IPV6_PAYLOAD_OFFSET < following
                and kinds[buffer[offset + start + IPV6_PAYLOAD_OFFSET]] == media
            ):
                rejected += 1
            else:
                frame = buffer[offset + header : following]
                found += decode(sec + frac * unit, frame, linktype, name, number + skipped)
            last = offset
            offset = following
        self._decoder.counts.udp_other += rejected + skipped
        number += skipped
        if number > self._report.packets + 1:
            self._report.seen(self._time(buffer, began))
            self._report.seen(self._time(buffer, last))
        self._report.packets = number - 1
        self._report.snapped += snapped
        return offset

    def _time(self, buffer: bytes, offset: int) -> float:
        seconds, fraction = self._fields(buffer, offset)[:2]
        return float(seconds + fraction * self._shape.unit)

    # Damage

    def _is_damaged(self, buffer: bytes, offset: int, end: int) -> bool:
        """Whether the walk stopped at a record that is not sound, and not for want of bytes."""
        if offset + self._shape.header > end:
            return False
        seconds, _, length, wire = self._fields(buffer, offset)
        following = offset + self._shape.header + length
        number = self._report.packets + 1
        if length > MAX_PACKET or (
            length > wire and not self._leads_on(buffer, offset, following, end)
        ):
            self._what = f"packet {number} has the impossible length {length:,}"
        elif not length and not seconds:
            self._what = f"zeros instead of packet {number}"
        else:
            return False
        self._damaged_at = self._position + offset
        self._searching = True
        return True

    def _leads_on(self, buffer: bytes, offset: int, following: int, end: int) -> bool:
        """Whether a record that claims more bytes than were on the wire may be believed.

        Some programs write such; but when no record follows it, the length is damaged.
        """
        if following > end:
            return not self._ended
        if following + self._shape.header > end:
            return True
        seconds, fraction, length, _ = self._fields(buffer, following)
        if length > MAX_PACKET or fraction * self._shape.unit >= 1:
            return False
        before: int = self._fields(buffer, offset)[0]
        return bool(abs(seconds - before) < _NEAR)

    def _search(self, buffer: bytes, offset: int, end: int) -> int:
        """Looks for the next two sound records; where to go on, now or with more bytes."""
        header = self._shape.header
        for match in self._sound.finditer(buffer, offset, end):
            candidate = match.start()
            if not self._is_sound(buffer, candidate):
                continue
            following = candidate + header + self._fields(buffer, candidate)[2]
            if following + header <= end:
                leads_on = self._is_sound(buffer, following, candidate)
            elif self._ended:
                leads_on = following <= end
            else:
                return candidate
            if leads_on:
                lost = self._position + candidate - self._damaged_at
                self._report.lost(self._damaged_at, f"{self._what}; {lost:,} bytes lost")
                self._searching = False
                return candidate
        # The pattern may begin in the last bytes and end in the next block.
        return max(offset, end - header)

    def _is_sound(self, buffer: bytes, offset: int, previous: int | None = None) -> bool:
        """Whether a record may begin here, near in time to what came before it."""
        seconds, fraction, length, wire = self._fields(buffer, offset)
        if not 0 < length <= min(wire, MAX_PACKET) or fraction * self._shape.unit >= 1:
            return False
        before = self._report.last_time if previous is None else self._fields(buffer, previous)[0]
        return before is None or abs(seconds - before) < _NEAR


# A record that follows a damaged one is at most so many seconds away.
_NEAR = 86_400


def _sound_records(shape: _Shape) -> re.Pattern[bytes]:
    """Matches, without taking any byte, where both lengths of a record are below 2^19."""
    before = b".{8}"
    length = rb"..[\0-\7]\0" if shape.order == "<" else rb"\0[\0-\7].."
    return re.compile(b"(?=" + before + length + length + b")", re.DOTALL)
