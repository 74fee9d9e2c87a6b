"""SIP in WebSocket frames (RFC 7118, RFC 6455), one direction of a connection.

`WebSocketFramer` has the calls of a framer (see `sipwatch.net.framing`): bytes in order in, SIP
messages out. Frames of both directions are taken, masked or not, messages in several frames with
control frames between them, text and binary, and messages compressed by permessage-deflate (RFC
7692). These may refer to all that was sent before, so of a connection that is met on its way, or
of which bytes were lost, they can only be counted, unless the sender begins anew with each.

`upgrade` judges the HTTP header section that opens a connection, `starts_frame` recognises a
connection whose opening was not captured: a frame header with a SIP start line behind it, at the
beginning of a segment; `starts_compressed` knows one by a whole frame of compressed text.
"""

from __future__ import annotations

import re
import zlib

from sipwatch.net.framing import (
    MAX_MESSAGE,
    StreamCounts,
    has_identity,
)
from sipwatch.net.recognise import is_keep_alive, start_of

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))

#: Longest frame that is believed; a longer one is no frame.
_MAX_FRAME = 16 << 20

_START = re.compile(rb"(?:SIP/2\.0 [1-6][0-9]{2} |[A-Z]{3,16} (?:sips?|tel|urn):)")
_UPGRADE = re.compile(rb"\nupgrade[ \t]*:[^\r\n]*websocket", re.IGNORECASE)
_PROTOCOL = re.compile(rb"\nsec-websocket-protocol[ \t]*:([^\r\n]*)", re.IGNORECASE)


# Stands for what a compressed message refers to and what was not seen (RFC 1951 section 2).
_UNSEEN = bytes(32_768)
_TEXT_BYTES = bytes([9, 10, 13, *range(32, 127)])
#: Shortest text that is told from what happens to look like it, and how much is looked at.
_SHORTEST_TEXT, _LONGEST_LOOK = 16, 4_096

# What the sender leaves out at the end of a compressed message (RFC 7692 section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"


def upgrade(head: bytes) -> bool:
    """Whether an HTTP header section opens a WebSocket that may carry SIP.

    The sub protocol must be ``sip`` (RFC 7118 section 4.1) where one is named.
    """
    if not (head.startswith(b"GET ") or re.match(rb"HTTP/1\.[01] 101", head)):
        return False
    if not _UPGRADE.search(head):
        return False
    protocols = [
        name.strip().lower() for line in _PROTOCOL.findall(head) for name in line.split(b",")
    ]
    return not protocols or b"sip" in protocols


def unmask(data: bytes, key: bytes) -> bytes:
    """Apply the mask of a frame (RFC 6455 section 5.3)."""
    size = len(data)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(mask)).to_bytes(size)


class _Header:
    """A frame header (RFC 6455 section 5.2)."""

    __slots__ = ("compressed", "final", "key", "length", "opcode", "size")

    def __init__(self, data: bytes | bytearray) -> None:
        """Read it; ``size`` stays 0 while bytes are missing. Raises ValueError for a bad one."""
        self.size = 0
        first, second = data[0], data[1]
        self.final, self.opcode = bool(first & 0x80), first & 0x0F
        self.compressed = bool(first & 0x40)
        length = second & 0x7F
        if first & 0x30 or self.opcode not in _OPCODES:
            raise ValueError("opcode")
        if self.opcode >= _CLOSE and (length > 125 or not self.final or self.compressed):
            raise ValueError("control frame")
        if self.compressed and self.opcode == _CONTINUATION:
            raise ValueError("compressed continuation")
        extended = {126: 2, 127: 8}.get(length, 0)
        masked = second & 0x80
        size = 2 + extended + (4 if masked else 0)
        self.length, self.key = length, b""
        if len(data) < size:
            return
        if extended:
            self.length = int.from_bytes(data[2 : 2 + extended])
            if self.length > _MAX_FRAME:
                raise ValueError("length")
        if masked:
            self.key = bytes(data[2 + extended : size])
        self.size = size

    def plain(self, payload: bytes) -> bytes:
        """The payload without its mask."""
        return unmask(payload, self.key) if self.key else payload


def starts_frame(data: bytes) -> bool:
    """Whether a data frame with a SIP message begins here, uncompressed."""
    if len(data) < 2:
        return False
    try:
        header = _Header(data[:14])
    except ValueError:
        return False
    if header.opcode not in (_TEXT, _BINARY) or header.compressed or not header.size:
        return False
    start = header.plain(bytes(data[header.size : header.size + 64]))
    return header.length >= 16 and _START.match(start) is not None


def starts_compressed(data: bytes) -> bool:
    """Whether this is one whole frame with compressed text, SIP or other."""
    if len(data) < 2 or data[0] not in (0xC0 | _TEXT, 0xC0 | _BINARY):
        return False
    try:
        header = _Header(data[:14])
    except ValueError:
        return False
    if not header.size or header.size + header.length != len(data):
        return False
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS, zdict=_UNSEEN)
    try:
        text = inflater.decompress(header.plain(data[header.size :]) + _TAIL, _LONGEST_LOOK)
    except zlib.error:
        return False
    # A last block ends where it likes in what is no deflate; senders of messages make none.
    if inflater.eof:
        return False
    known = text.replace(b"\0", b"")
    return len(known) >= _SHORTEST_TEXT and not known.translate(None, _TEXT_BYTES)


class WebSocketFramer:
    """SIP messages of one direction of a WebSocket."""

    transport = "WS"

    __slots__ = (
        "_buffer",
        "_compressed",
        "_counts",
        "_header",
        "_hole",
        "_inflater",
        "_message",
        "_remaining",
        "_searching",
    )

    def __init__(self, counts: StreamCounts, *, searching: bool = False) -> None:
        self._counts = counts
        self._searching = searching
        #: Bytes of a frame that is not complete: its header, then its payload as it came.
        self._buffer = bytearray()
        self._header: _Header | None = None
        #: Bytes of the frame that are still to come, once its header is known.
        self._remaining = 0
        #: The frames of a message that is not complete, without their masks.
        self._message = bytearray()
        self._compressed = False
        #: Whether bytes of the message were lost: what follows the hole is not kept.
        self._hole = False
        #: Has what was sent before; None before the first compressed message, and when some of it
        #: is not known.
        self._inflater = None if searching else zlib.decompressobj(wbits=-zlib.MAX_WBITS)

    @property
    def held(self) -> int:
        """Bytes kept for a message that is not complete."""
        return len(self._buffer) + len(self._message)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; the messages that they complete."""
        messages: list[bytes] = []
        offset = 0
        while offset < len(data):
            if self._searching and not self._resume(data, offset):
                break
            if self._header is None:
                try:
                    offset = self._read_header(data, offset)
                except ValueError:
                    self._counts.skipped_bytes += len(data) - offset
                    return messages + self._give_up()
            else:
                taken = min(self._remaining, len(data) - offset)
                self._keep(data[offset : offset + taken])
                offset += taken
                self._remaining -= taken
            if self._header is not None and not self._remaining:
                messages += self._end_frame()
        return messages

    def lose(self, count: int) -> list[bytes]:
        """Note that the next ``count`` bytes are not known; messages that end by that."""
        self._counts.lost_bytes += count
        if self._header is None or count > self._remaining:
            return self._give_up()
        self._remaining -= count
        if self._header.opcode < _CLOSE:
            self._hole = True
        return [] if self._remaining else self._end_frame()

    def close(self) -> None:
        """Note that nothing follows."""
        if self._message or (self._header is not None and self._header.opcode < _CLOSE):
            self._counts.unfinished += 1
        self._clear(searching=False)

    def _clear(self, *, searching: bool) -> None:
        self._buffer = bytearray()
        self._message = bytearray()
        self._header = None
        self._remaining = 0
        self._hole = False
        self._searching = searching

    def _resume(self, data: bytes, offset: int) -> bool:
        """End the search at the beginning of a segment that begins a frame with SIP."""
        if offset == 0 and (starts_frame(data) or starts_compressed(data)):
            self._searching = False
            self._counts.resynchronised += 1
            return True
        self._counts.skipped_bytes += len(data) - offset
        return False

    def _read_header(self, data: bytes, offset: int) -> int:
        """Collect a frame header; where in ``data`` it ends. Raises ValueError for a bad one."""
        held = len(self._buffer)
        header_bytes = bytes(self._buffer) + data[offset : offset + 14 - held]
        if len(header_bytes) < 2:
            self._buffer += data[offset:]
            return len(data)
        header = _Header(header_bytes)
        if not header.size:
            self._buffer += data[offset:]
            return len(data)
        self._buffer = bytearray()
        self._header, self._remaining = header, header.length
        if header.opcode in (_TEXT, _BINARY):
            self._message = bytearray()
            self._compressed = header.compressed
            self._hole = False
        return offset + header.size - held

    def _keep(self, data: bytes) -> None:
        assert self._header is not None
        if self._hole or self._header.opcode >= _CLOSE:
            return
        if len(self._buffer) + len(self._message) + len(data) > MAX_MESSAGE:
            self._counts.oversized += 1
            self._hole = True
            return
        self._buffer += data

    def _end_frame(self) -> list[bytes]:
        """The payload of a frame is complete; the message that it ends."""
        header = self._header
        assert header is not None
        self._header = None
        if header.opcode >= _CLOSE:
            return []
        self._message += header.plain(bytes(self._buffer))
        self._buffer = bytearray()
        return self._end_message() if header.final else []

    def _end_message(self) -> list[bytes]:
        message, hole = bytes(self._message), self._hole
        self._message = bytearray()
        self._hole = False
        if self._compressed:
            if hole:
                self._inflater = None
                self._counts.compressed += 1
                return []
            message = self._inflate(message)
        return self._checked(message, hole)

    def _give_up(self) -> list[bytes]:
        """Frames cannot be told from here on; what is left of the message, if it is of use."""
        rest = bytes(self._message)
        if self._header is not None and self._header.opcode < _CLOSE:
            rest += self._header.plain(bytes(self._buffer))
        compressed = self._compressed
        self._clear(searching=True)
        self._inflater = None
        if compressed:
            self._counts.compressed += bool(rest)
            return []
        return self._checked(rest, hole=True)

    def _checked(self, message: bytes, hole: bool) -> list[bytes]:
        """A message that is SIP; with a hole only its whole lines, if they say whose it is."""
        if not message or is_keep_alive(message):
            self._counts.keep_alives += bool(message)
            return []
        start = start_of(message)
        if start < 0:
            self._counts.skipped_bytes += len(message)
            return []
        message = message[start:] if start else message
        if not hole:
            return [message]
        if not has_identity(message):
            return []
        self._counts.damaged += 1
        if b"\r\n\r\n" not in message:
            message = message[: message.rfind(b"\n") + 1]
        return [message]

    def _inflate(self, data: bytes) -> bytes:
        """Undo permessage-deflate (RFC 7692 section 7.2.2); empty where that fails."""
        # A message that refers to nothing before it can be read, and those that refer to it alone.
        inflater = self._inflater or zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        try:
            message = inflater.decompress(data + _TAIL, MAX_MESSAGE)
        except zlib.error:
            self._inflater = None
            self._counts.compressed += 1
            return b""
        self._inflater = inflater
        if inflater.eof:
            self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        elif inflater.unconsumed_tail:
            self._counts.oversized += 1
            self._inflater = None
        return message
