"""Cuts a byte stream into SIP messages by Content-Length (RFC 3261 section 18.3).

A framer takes the bytes of one direction in order and gives whole messages::

    messages = framer.feed(data)
    messages = framer.lose(count)           # ``count`` bytes follow that were not captured
    framer.close()                          # the stream has ended

Between messages stand keep-alives: line ends (RFC 5626 section 3.5.1) and STUN (RFC 5389 section
7.2.2), which are skipped. A message without Content-Length has no body.

What is lost does not end the reading. Bytes lost inside a body cost the body only: the message is
given without it, and the length says where the next one begins. Bytes lost inside a header section
cost what follows them; the message is given as far as it goes if it still says whose it is.
After that, and wherever something else stands than a start line, the framer searches for the next
start line with a header section behind it; a status line in the body of a NOTIFY (RFC 3420) has
none that would do.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Protocol

from sipwatch.net.recognise import REQUEST_STARTS, STATUS_START, start_of

#: Longest header section, in bytes.
MAX_HEAD = 65_536

#: Longest message that is kept whole; of a longer one the beginning is given.
MAX_MESSAGE = 262_144

#: Longest start line that is waited for.
MAX_START_LINE = 8_192

#: What stands first in STUN: two zero bits and the type of a binding request, indication, answer.
_STUN_TYPES = (b"\x00\x01", b"\x00\x11", b"\x01\x01", b"\x01\x11")
_STUN_COOKIE = b"\x21\x12\xa4\x42"

_CONTENT_LENGTH = re.compile(
    rb"\n(?:content-length|l)[ \t]*:[ \t]*(?:\r?\n[ \t]+)?([0-9]{1,10})[ \t]*[\r\n]", re.IGNORECASE
)
# A start line right behind a body that ends without a line end. A status line is only believed
# behind XML, JSON, multipart and binary, for it may also stand in a text.
_AFTER_BODY = re.compile(
    rb"(?:INVITE|ACK|BYE|CANCEL|REGISTER|OPTIONS|PRACK|SUBSCRIBE|NOTIFY|PUBLISH|INFO|REFER"
    rb"|MESSAGE|UPDATE) [^ \r\n]+ SIP/2\.0[ \t]*\r?\n"
    rb"|(?<=[>}\x00-\x1f\x80-\xff-])SIP/2\.0 [1-6][0-9]{2}(?: [^\r\n]*)?\r?\n"
)
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:", re.IGNORECASE)
_CSEQ = re.compile(rb"\ncseq[ \t]*:\s*[0-9]{1,10}[ \t]+([^\s;]+)", re.IGNORECASE)


@dataclass(slots=True)
class StreamCounts:
    """What was seen on streams, in plain integers."""

    #: Segments with payload.
    segments: int = 0
    messages: int = 0
    keep_alives: int = 0
    #: Segments that brought nothing new, or that in part repeated what was there.
    retransmitted: int = 0
    overlapping: int = 0
    #: Segments behind a gap when they came.
    out_of_order: int = 0
    #: Segments far away from where their stream is.
    out_of_window: int = 0
    #: Segments from before the place where reading a stream began.
    before_start: int = 0
    #: Gaps given up, and bytes that were on the wire and were not read.
    gaps: int = 0
    lost_bytes: int = 0
    #: Messages given without some of their bytes, and messages too long to be given whole.
    damaged: int = 0
    oversized: int = 0
    #: Compressed messages that refer to what was not seen (WebSocket).
    compressed: int = 0
    #: Messages that the end of stream or capture left without an end.
    unfinished: int = 0
    #: Bytes passed over in search of a start line, and how often the search succeeded.
    skipped_bytes: int = 0
    resynchronised: int = 0
    #: Streams forgotten, and bytes dropped, for lack of room.
    evicted_streams: int = 0
    evicted_bytes: int = 0
    #: Directions of connections by what they carry.
    sip_streams: int = 0
    websocket_streams: int = 0
    hep_streams: int = 0
    http_streams: int = 0
    tls_streams: int = 0
    other_streams: int = 0

    def as_dict(self) -> dict[str, int]:
        """All counters by name."""
        return asdict(self)


class Framer(Protocol):
    """Cuts one direction of a stream into messages."""

    transport: str

    @property
    def held(self) -> int:
        """Bytes kept for a message that is not complete."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes."""

    def lose(self, count: int) -> list[bytes]:
        """Note that the next ``count`` bytes are not known."""

    def close(self) -> None:
        """Note that nothing follows."""


def content_length(data: bytes | bytearray, end: int) -> int:
    """The Content-Length of the header section ``data[:end]``, 0 without one (section 20.14)."""
    at = data.find(b"\nContent-Length:", 0, end)
    if at >= 0:
        value = data[at + 16 : data.find(b"\n", at + 16, end + 2)].strip()
        if value.isdigit() and len(value) <= 10:
            return int(value)
    found = _CONTENT_LENGTH.search(data, 0, end + 2)
    return int(found[1]) if found else 0


def head_end(data: bytes | bytearray, start: int) -> tuple[int, int]:
    """Where the header section ends and where the body begins, -1 and -1 if it is not complete."""
    end = data.find(b"\r\n\r\n", start)
    bare = data.find(b"\n\n", start, end + 1) if end >= 0 else data.find(b"\n\n", start)
    if bare >= 0:
        return bare, bare + 2
    return (end, end + 4) if end >= 0 else (-1, -1)


def stun_length(data: bytes | bytearray, start: int) -> int:
    """Length of the STUN message at ``start``; 0 if it is none, -1 if more bytes must come."""
    if data[start] > 1:
        return 0
    header = data[start : start + 8]
    if len(header) < 8:
        could_be = any(kind.startswith(header[:2]) for kind in _STUN_TYPES) or (
            header[:2] in _STUN_TYPES and _STUN_COOKIE.startswith(header[4:])
        )
        return -1 if could_be else 0
    if header[:2] in _STUN_TYPES and header[4:] == _STUN_COOKIE:
        return 20 + int.from_bytes(header[2:4])
    return 0


def has_identity(head: bytes | bytearray) -> bool:
    """Whether a header section says which transaction it is of.

    A request's method must be that of its CSeq (RFC 3261 section 20.16): what begins as an ACK
    may be the end of the word PRACK.
    """
    cseq = _CSEQ.search(head)
    if cseq is None or _CALL_ID.search(head) is None:
        return False
    return head[:4].upper() == STATUS_START or head.startswith(cseq[1] + b" ")


def is_start_line(line: bytes) -> bool:
    """Whether a line is a request line or a status line; what follows in a Via is neither."""
    return start_of(line) == 0 and (line[:4] != STATUS_START or line[7:8] == b" ")


def find_start(data: bytes | bytearray, start: int, end: int) -> int:
    """Where the first start line in ``data[start:end]`` begins, -1 if there is none."""
    at = data.find(b"SIP/2.0", start, end)
    while at >= 0:
        # Each line is looked at once, however often it says SIP/2.0.
        line = max(data.rfind(b"\n", start, at) + 1, start)
        line_end = data.find(b"\n", at, end)
        if line_end < 0:
            break
        if line_end - line <= MAX_START_LINE:
            if is_start_line(bytes(data[line : line_end + 1])):
                return line
            embedded = _AFTER_BODY.search(data, line, line_end + 1)
            if embedded:
                return embedded.start()
        at = data.find(b"SIP/2.0", line_end, end)
    return -1


class SipFramer:
    """SIP directly on the stream; ``searching`` for one that is not read from its beginning."""

    __slots__ = ("_buffer", "_counts", "_looked", "_needed", "_scanned", "_searching", "_skipping")

    transport = "TCP"

    def __init__(self, counts: StreamCounts, *, searching: bool = False) -> None:
        self._counts = counts
        self._buffer = bytearray()
        #: Length of the message at the start of the buffer, 0 while that is not known.
        self._needed = 0
        #: How far the buffer was searched for the end of the header section.
        self._scanned = 0
        #: In a search, how far what follows the start line at the start of the buffer was looked
        #: at; 0 without one.
        self._looked = 0
        self._searching = searching
        #: Bytes to pass over: the rest of a body that is not kept.
        self._skipping = 0

    @property
    def held(self) -> int:
        """Bytes kept for a message that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; the messages that they complete."""
        if not (self._buffer or self._skipping or self._searching):
            start = data[:4]
            line_end = data.find(b"\r\n")
            # By far the most usual: one message, one segment.
            if (
                data[:8] == b"SIP/2.0 "
                if start == STATUS_START
                else start in REQUEST_STARTS and data[line_end - 8 : line_end] == b" SIP/2.0"
            ):
                end = data.find(b"\r\n\r\n", line_end)
                if (
                    end > 0
                    and data.find(b"\n\n", 0, end) < 0
                    and end + 4 + content_length(data, end) == len(data) <= MAX_MESSAGE
                ):
                    return [data]
        if self._skipping:
            skipped = min(self._skipping, len(data))
            self._skipping -= skipped
            data = data[skipped:]
        self._buffer += data
        if len(self._buffer) < self._needed:
            return []
        return self._cut()

    def lose(self, count: int) -> list[bytes]:
        """Note that the next ``count`` bytes are not known; messages that end early by that."""
        self._counts.lost_bytes += count
        if self._skipping:
            self._skipping -= count
            if self._skipping < 0:
                self._skipping = 0
                self._searching = True
            return []
        buffer, needed = self._buffer, self._needed
        if needed:
            left = needed - len(buffer) - count
            message = bytes(buffer)
            self._reset(searching=left < 0)
            self._skipping = max(left, 0)
            self._counts.damaged += 1
            return [message]
        message = bytes(buffer[: buffer.rfind(b"\n") + 1])
        is_useful = not self._searching or find_start(message, 0, len(message)) == 0
        self._reset(searching=True)
        if is_useful and has_identity(message) and is_start_line(message):
            self._counts.damaged += 1
            return [message]
        self._counts.skipped_bytes += len(buffer)
        return []

    def close(self) -> None:
        """Note that nothing follows."""
        if self._buffer and not self._searching:
            self._counts.unfinished += 1
        self._reset(searching=False)
        self._skipping = 0

    def _reset(self, *, searching: bool) -> None:
        self._buffer = bytearray()
        self._needed = self._scanned = self._looked = 0
        self._searching = searching

    def _cut(self) -> list[bytes]:
        """Take whole messages off the buffer."""
        buffer = self._buffer
        messages: list[bytes] = []
        start = 0
        while start < len(buffer):
            if self._searching:
                start = self._search(start)
                if self._searching:
                    break
            start, waiting = self._skip_keep_alives(start)
            if waiting or start >= len(buffer):
                break
            end = self._message_end(start)
            if end < 0:
                if self._searching:
                    continue
                break
            if end - start > MAX_MESSAGE:
                self._counts.oversized += 1
                messages.append(bytes(buffer[start : start + MAX_MESSAGE]))
                self._skipping = max(end - len(buffer), 0)
                start = min(end, len(buffer))
            elif end <= len(buffer):
                messages.append(bytes(buffer[start:end]))
                start = end
            else:
                self._needed = end - start
                break
            self._needed = self._scanned = 0
        if start:
            del buffer[:start]
            self._scanned = max(self._scanned - start, 0)
            self._looked = max(self._looked - start, 0)
        return messages

    def _skip_keep_alives(self, start: int) -> tuple[int, bool]:
        """Past line ends and STUN; whether what follows may be the beginning of one."""
        buffer = self._buffer
        while start < len(buffer):
            if buffer[start] in b"\r\n":
                stop = start + 1
                while stop < len(buffer) and buffer[stop] in b"\r\n":
                    stop += 1
                self._counts.keep_alives += 1
                start = stop
                continue
            length = stun_length(buffer, start)
            if length < 0 or length > len(buffer) - start:
                return start, True
            if not length:
                break
            self._counts.keep_alives += 1
            start += length
        return start, False

    def _message_end(self, start: int) -> int:
        """Where the message at ``start`` ends, -1 while that is not known or if it is none."""
        buffer = self._buffer
        end, body = head_end(buffer, max(start, self._scanned - 3))
        line_end = buffer.find(b"\n", start, start + MAX_START_LINE)
        if line_end < 0:
            self._scanned = len(buffer)
            self._searching = len(buffer) - start >= MAX_START_LINE
            return -1
        if not is_start_line(bytes(buffer[start : line_end + 1])):
            self._searching = True
            return -1
        if end < 0:
            self._scanned = len(buffer)
            self._searching = len(buffer) - start > MAX_HEAD
            return -1
        return body + self._length(start, end)

    def _length(self, start: int, end: int) -> int:
        head = self._buffer[start : end + 2]
        return content_length(head, len(head) - 2)

    def _search(self, start: int) -> int:
        """Find the next message from ``start`` on; ends the search when it is there."""
        buffer = self._buffer
        begin = start
        at, looked = (start, self._looked) if self._looked > start else (-1, start)
        self._looked = 0
        while True:
            if at < 0:
                at = find_start(buffer, looked, len(buffer))
                if at < 0:
                    # What may be the beginning of a start line stays.
                    keep = max(buffer.rfind(b"\n") + 1, len(buffer) - MAX_START_LINE, begin)
                    self._counts.skipped_bytes += keep - begin
                    return keep
                looked = buffer.find(b"\n", at) + 1
            end, body = head_end(buffer, max(looked - 3, at))
            # A start line that another one follows before the header section ends is in a body.
            later = find_start(buffer, looked, len(buffer) if end < 0 else body)
            if later >= 0:
                at, looked = later, buffer.find(b"\n", later) + 1
            elif end >= 0:
                if has_identity(buffer[at:body]):
                    break
                at, looked = -1, body
            elif len(buffer) - at > MAX_HEAD:
                at, looked = -1, max(buffer.rfind(b"\n") + 1, looked)
            else:
                # Of a line without end only what may be of a start line is looked at again.
                line = max(buffer.rfind(b"\n") + 1, len(buffer) - MAX_START_LINE)
                self._looked = max(line, looked)
                self._counts.skipped_bytes += at - begin
                return at
        self._counts.skipped_bytes += at - begin
        self._counts.resynchronised += 1
        self._searching = False
        self._scanned = 0
        return at
