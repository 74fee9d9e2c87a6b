"""The pcapng file format (draft-ietf-opsawg-pcapng): sections, interfaces, packet blocks.

The loop over the blocks is the twin of the one in :mod:`sipwatch.capture.pcap`: enhanced packet
blocks of the interface that was met first are looked at with one ``unpack_from``, all other
blocks are taken apart by their type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

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
#: A longer block is taken for damage, as Wireshark does.
MAX_BLOCK = 16 << 20
#: A section may describe more interfaces than this only by mistake.
MAX_INTERFACES = 65_536

SECTION, INTERFACE, PACKET, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_PACKET_BLOCKS = frozenset({PACKET, SIMPLE, ENHANCED})

_START = b"\x0a\x0d\x0d\x0a"
_ORDER_MAGIC = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}

# Options of an interface description: resolution and offset of its times.
_END_OF_OPTIONS, _RESOLUTION, _OFFSET = 0, 9, 14

# The last second of the year 9999; a time beyond is damage.
_LAST_SECOND = 253_402_300_799

# Block type and length, interface, both halves of the time, captured and wire length.
_ENHANCED_FIELDS = "IIIIIII"
_ENHANCED_HEADER = 28
# The shortest enhanced packet block: its header and the length at the end.
_ENHANCED_SIZE = 32
# A block may have so many bytes more (padding, options) to be taken for what its type says
# before its second length was seen: a damaged length then hides no more than that.
_USUAL_OPTIONS = 64

_Unpack: TypeAlias = Callable[..., tuple[Any, ...]]


class Interface(NamedTuple):
    """An interface description: what a time and a packet of this interface mean."""

    linktype: int
    #: Most bytes of a packet that are kept; 0 means all.
    snap_length: int
    #: Units of a time in a second.
    units: int
    #: Seconds to add to every time.
    offset: int

    def seconds(self, high: int, low: int) -> float | None:
        """Epoch seconds of a time, None when it is out of all bounds."""
        ticks = high << 32 | low
        time = self.offset + ticks / self.units if self.offset else ticks / self.units
        return time if 0 <= time <= _LAST_SECOND else None


class _Order:
    """The parsers of one byte order."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.block: _Unpack = Struct(order + "II").unpack_from
        self.length: _Unpack = Struct(order + "I").unpack_from
        self.enhanced: _Unpack = Struct(order + _ENHANCED_FIELDS).unpack_from
        self.old_packet: _Unpack = Struct(order + "8xHHIIII").unpack_from
        self.interface: _Unpack = Struct(order + "8xHHI").unpack_from
        self.option: _Unpack = Struct(order + "HH").unpack_from
        self.signed: _Unpack = Struct(order + "q").unpack_from
        # Blocks that a search goes on with: sections, and packets with a length below 2^24.
        packet = rb"\x06\0\0\0...\0" if order == "<" else rb"\0\0\0\x06\0..."
        self.search = re.compile(b"(?=" + packet + b"|" + re.escape(_START) + b")", re.DOTALL)


_ORDERS = {order: _Order(order) for order in "<>"}


def is_sound(head: bytes) -> bool:
    """Whether the file begins with a section, given its first 32 bytes."""
    return recognises(head) and head[8:12] in _ORDER_MAGIC


def recognises(start: bytes) -> bool:
    """Whether a file that begins with these (at least four) bytes is a pcapng file."""
    return start[:4] == _START


def first_time(head: bytes) -> float | None:
    """Time of the first packet in the beginning of a file, None when there is none in it."""
    report = FileReport("")
    blocks = _Blocks(report)
    offset = 0
    while not report.packets and (size := blocks.size(head, offset, len(head))) > 0:
        blocks.take(head, offset, size, _no_packet)
        offset += size
    return report.first_time


def _no_packet(time: float, data: bytes, linktype: int) -> None:
    """Nothing is done with the packets of a head."""


def _run_header(order: str, number: int, length: int, size: int) -> bytes:
    """Pattern of the header of an enhanced packet block, see :class:`Runs`."""
    before = Struct(order + "III").pack(ENHANCED, size, number)
    behind = Struct(order + "II").pack(length, length)
    return re.escape(before) + b".{8}" + re.escape(behind)


class BlockError(Exception):
    """A block that cannot be; the argument says why."""


class _Blocks:
    """Takes blocks apart and keeps what they say of later ones: byte order and interfaces."""

    def __init__(self, report: FileReport) -> None:
        self.report = report
        self.parse = _ORDERS["<"]
        self.interfaces: list[Interface] = []
        #: Numbers of the interfaces that are like the first one.
        self.same: set[int] = set()
        self._runs: dict[int, Runs] = {}

    def runs_of(self, number: int) -> Runs:
        """What knows runs of media in the packets of that interface."""
        runs = self._runs.get(number)
        if runs is None:
            header = partial(_run_header, self.parse.order, number)
            linktype = self.interfaces[number].linktype
            runs = self._runs[number] = Runs(linktype, header, _ENHANCED_HEADER)
        return runs

    def size(self, data: bytes, offset: int, end: int) -> int:
        """Bytes of the block at ``offset``, 0 when it is not whole.

        Raises :class:`BlockError` when its lengths cannot be.
        """
        if offset + 12 > end:
            return 0
        parse = self.parse
        if data[offset : offset + 4] == _START:
            order = _ORDER_MAGIC.get(data[offset + 8 : offset + 12])
            if order is None:
                raise BlockError("a section without its byte order")
            parse = _ORDERS[order]
        length = parse.block(data, offset)[1]
        # The length is to be a multiple of 4; where a writer forgot that, the padding is there.
        padded: int = length + 3 & ~3
        if not 12 <= length <= MAX_BLOCK:
            raise BlockError(f"a block has the impossible length {length:,}")
        if offset + padded > end:
            return 0
        if parse.length(data, offset + padded - 4)[0] != length:
            raise BlockError("the two lengths of a block differ")
        return padded

    def take(
        self, data: bytes, offset: int, size: int, packet: Callable[[float, bytes, int], None]
    ) -> None:
        """Takes in a whole block, and calls ``packet`` with time, frame and link type of one.

        Raises :class:`BlockError` when what is in it contradicts its length.
        """
        kind = self.parse.block(data, offset)[0]
        if kind in _PACKET_BLOCKS:
            self._packet(kind, data, offset, size, packet)
        elif kind == SECTION:
            self.parse = _ORDERS[_ORDER_MAGIC[data[offset + 8 : offset + 12]]]
            self.interfaces = []
            self.same = set()
            self._runs = {}
        elif kind == INTERFACE:
            self._interface(data, offset, size)

    def _interface(self, data: bytes, offset: int, size: int) -> None:
        if size < 20:
            raise BlockError("an interface description is too short")
        if len(self.interfaces) >= MAX_INTERFACES:
            raise BlockError("a section describes too many interfaces")
        linktype, _, snap_length = self.parse.interface(data, offset)
        units, seconds = 10**6, 0
        for code, value in self._options(data, offset + 16, offset + size - 4):
            if code == _RESOLUTION and value:
                units = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == _OFFSET and len(value) >= 8:
                seconds = self.parse.signed(value)[0]
        self.interfaces.append(Interface(linktype, snap_length, units, seconds))
        first = self.interfaces[0]
        if (first.linktype, first.units, first.offset) == (linktype, units, seconds):
            self.same.add(len(self.interfaces) - 1)

    def _options(self, data: bytes, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
        while offset + 4 <= end:
            code, length = self.parse.option(data, offset)
            offset += 4
            if code == _END_OF_OPTIONS or offset + length > end:
                return
            yield code, data[offset : offset + length]
            offset += length + 3 & ~3

    def _packet(
        self,
        kind: int,
        data: bytes,
        offset: int,
        size: int,
        packet: Callable[[float, bytes, int], None],
    ) -> None:
        self.report.packets += 1
        number, interface, high, low, length, wire, start = self._fields(kind, data, offset, size)
        if length > min(size - (start - offset) - 4, MAX_PACKET):
            raise BlockError(
                f"packet {self.report.packets} has the impossible length {length:,} for its block"
            )
        if interface is None:
            raise BlockError(f"packet {self.report.packets} is of interface {number}, unknown")
        # A simple packet block has no time: that of the packet before it stands for it.
        time = interface.seconds(high, low) if kind != SIMPLE else self.report.last_time or 0.0
        if time is None:
            raise BlockError(f"packet {self.report.packets} has an impossible time")
        self.report.bytes += length
        self.report.snapped += length < wire
        if kind != SIMPLE:
            self.report.seen(time)
        packet(time, data[start : start + length], interface.linktype)

    def _fields(
        self, kind: int, data: bytes, offset: int, size: int
    ) -> tuple[int, Interface | None, int, int, int, int, int]:
        """Interface, time, lengths and start of the frame of a packet block of any kind."""
        parse = self.parse
        high = low = number = 0
        minimum = 16 if kind == SIMPLE else _ENHANCED_SIZE
        if size < minimum:
            raise BlockError("a packet block is too short")
        if kind == SIMPLE:
            wire = parse.length(data, offset + 8)[0]
            length, start = wire, offset + 12
        elif kind == ENHANCED:
            _, _, number, high, low, length, wire = parse.enhanced(data, offset)
            start = offset + _ENHANCED_HEADER
        else:
            number, _, high, low, length, wire = parse.old_packet(data, offset)
            start = offset + _ENHANCED_HEADER
        interface = self.interfaces[number] if number < len(self.interfaces) else None
        if kind == SIMPLE:
            limit = interface.snap_length if interface else 0
            length = min(wire, size - 16, limit or wire)
        return number, interface, high, low, length, wire, start


class PcapngReader:
    """Reads one pcapng file; ``report`` takes what is to be said of it.

    Raises :class:`CaptureError` when the file does not begin with a section.
    """

    def __init__(
        self, source: Source, decoder: FrameDecoder, report: FileReport, chunk: int
    ) -> None:
        if not is_sound(source.peek(12)):
            raise CaptureError(f"{report.name}: the header of the file is cut short or damaged")
        self._source = source
        self._decoder = decoder
        self._report = report
        self._chunk = chunk
        self._blocks = _Blocks(report)
        #: Position in the file of the buffer's first byte.
        self._position = 0
        #: Whether all bytes of the file are there, so that nothing is worth waiting for.
        self._ended = False
        #: Whether a damaged block was met and the next sound one has not been found; where it
        #: was, and what was wrong with it.
        self._searching = False
        self._damaged_at = 0
        self._what = ""
        report.format = "pcapng"

    def batches(self) -> Iterator[Batch]:
        """What each block read holds, empty lists included; a damaged file gives what it can."""
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
            self._report.lost(self._damaged_at, self._what)

    def _read(self, buffer: bytes, end: int, found: Batch) -> int:
        """Reads blocks up to the last whole one; where the next begins."""
        blocks, report, offset = self._blocks, self._report, 0

        def packet(time: float, frame: bytes, linktype: int) -> None:
            found.extend(self._decoder.decode(time, frame, linktype, report.name, report.packets))

        while True:
            if self._searching:
                offset = self._search(buffer, offset, end)
                if self._searching:
                    return offset
            offset = self._walk(buffer, offset, end, found)
            try:
                size = blocks.size(buffer, offset, end)
            except BlockError as error:
                self._damaged(offset, str(error))
                continue
            if not size and self._ended and offset < end:
                # Unless its length is damaged, and sound blocks stand within it.
                self._damaged(offset, f"cut short in the block after packet {report.packets}")
                continue
            if not size:
                return offset
            try:
                blocks.take(buffer, offset, size, packet)
            except BlockError as error:
                report.lost(self._position + offset, str(error))
            offset += size

    def _damaged(self, offset: int, what: str) -> None:
        self._searching = True
        self._damaged_at, self._what = self._position + offset, what

    def _walk(self, buffer: bytes, offset: int, end: int, found: Batch) -> int:
        """Reads enhanced packet blocks of the commonest interfaces until another; its offset."""
        interfaces, report = self._blocks.interfaces, self._report
        if not interfaces:
            return offset
        linktype, _, units, since = interfaces[0]
        fields = layout(linktype, self._blocks.parse.order, _ENHANCED_FIELDS, _ENHANCED_HEADER)
        unpack, unpack_tagged, ip, tagged_ip, floor, ipv4, ipv6, tag, fragment_bits = fields
        length_at, same = self._blocks.parse.length, self._blocks.same
        kinds, media, ceiling = recognise.KIND, recognise.MEDIA, MAX_PACKET
        plain, segment, decode = self._decoder.plain, self._decoder.segment, self._decoder.decode
        name = report.name
        rejected = snapped = captured = streak = skipped = 0
        began = last = offset
        usual_most, usual_least = -_ENHANCED_SIZE - _USUAL_OPTIONS, -_ENHANCED_SIZE
        for packet in count(report.packets + 1):
            # type and length of the block, interface, time, captured and wire length; then the
            # fields of the layout
            (block, size, number, high, low, length, wire, kind, version, part, protocol, first) = (
                unpack(buffer, offset)
            )
            following = offset + size
            if (
                following > end
                or block != ENHANCED
                or number not in same
                or not usual_most <= length - size <= usual_least
                or size & 3
            ):
                break
            start = ip
            if kind == tag:
                kind, version, part, protocol, first = unpack_tagged(buffer, offset)[7:]
                start = tagged_ip
            usual = version == 0x45 and kind == ipv4 and not part & fragment_bits and floor < length
            if (usual and protocol == UDP and kinds[first] == media) or (
                kind == ipv6
                and buffer[offset + start + IPV6_NEXT_HEADER] == UDP
                and start + IPV6_PAYLOAD_OFFSET - _ENHANCED_HEADER < length
                and kinds[buffer[offset + start + IPV6_PAYLOAD_OFFSET]] == media
            ):
                rejected += 1
                if usual and size == streak and length == wire:
                    runs, has_tag = self._blocks.runs_of(number), start != ip
                    stop = runs.end(buffer, following, end, length, size, tagged=has_tag)
                    more = (stop - following) // size
                    skipped += more
                    captured += more * length
                    offset, following = stop - size, stop
                streak = size
            else:
                streak = 0
                time = (high << 32 | low) / units + since
                if (
                    not 0 <= time <= _LAST_SECOND
                    or length > ceiling
                    or length_at(buffer, following - 4)[0] != size
                ):
                    break
                stop = offset + _ENHANCED_HEADER + length
                if usual and protocol == UDP:
                    plain(time, buffer, offset + start, stop, name, packet + skipped, found)
                elif usual and protocol == TCP:
                    segment(time, buffer, offset + start, stop, name, packet + skipped, found)
                else:
                    frame = buffer[offset + _ENHANCED_HEADER : stop]
                    found += decode(time, frame, linktype, name, packet + skipped)
            if length != wire and length < wire:
                snapped += 1
            captured += length
            last = offset
            offset = following
        packet += skipped
        if packet > report.packets + 1:
            self._saw(buffer, began)
            self._saw(buffer, last)
        report.packets = packet - 1
        report.bytes += captured
        report.snapped += snapped
        self._decoder.counts.udp_other += rejected + skipped
        return offset

    def _saw(self, buffer: bytes, offset: int) -> None:
        """Takes in the time of an enhanced packet block."""
        _, _, number, high, low, _, _ = self._blocks.parse.enhanced(buffer, offset)
        time = self._blocks.interfaces[number].seconds(high, low)
        if time is not None:
            self._report.seen(time)

    def _search(self, buffer: bytes, offset: int, end: int) -> int:
        """Looks for the next sound block; where to go on, now or with more bytes."""
        for match in self._blocks.parse.search.finditer(buffer, offset, end):
            candidate = match.start()
            if candidate + self._position <= self._damaged_at:
                continue
            try:
                size = self._blocks.size(buffer, candidate, end)
            except BlockError:
                continue
            if not size:
                if self._ended:
                    continue
                return candidate
            lost = self._position + candidate - self._damaged_at
            self._report.lost(self._damaged_at, f"{self._what}; {lost:,} bytes lost")
            self._searching = False
            return candidate
        # The pattern may begin in the last bytes and end in the next block.
        return max(offset, end - 8)
