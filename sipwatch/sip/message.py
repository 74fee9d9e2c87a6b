"""One SIP message, parsed only as far as somebody asks (RFC 3261 section 7).

`parse` reads what decides a transaction (method or status, Call-ID, CSeq, the two tags, the top
Via branch) straight from the bytes with a few searches. Everything else waits in `raw` until a
header is asked for by name. Real devices fold lines, write compact names and odd case: whatever
the quick search does not find goes through the full header index, which knows all of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sipwatch.sip import grammar
from sipwatch.sip.reason import Reason, parse_reasons

#: Compact header names, RFC 3261 7.3.3 and the registry of header field names.
COMPACT_NAMES: dict[bytes, bytes] = {
    b"a": b"accept-contact",
    b"b": b"referred-by",
    b"c": b"content-type",
    b"d": b"request-disposition",
    b"e": b"content-encoding",
    b"f": b"from",
    b"i": b"call-id",
    b"j": b"reject-contact",
    b"k": b"supported",
    b"l": b"content-length",
    b"m": b"contact",
    b"o": b"event",
    b"r": b"refer-to",
    b"s": b"subject",
    b"t": b"to",
    b"u": b"allow-events",
    b"v": b"via",
    b"x": b"session-expires",
    b"y": b"identity",
}

#: Longest head that is read; a longer one is no SIP of this world.
MAX_HEAD_BYTES = 65_536

_STATUS_LINE = re.compile(rb"(?i:SIP)/2\.0[ \t]+([1-6][0-9][0-9])(?:[ \t]+([^\r\n]*))?\r?$")
_REQUEST_LINE = re.compile(
    rb"([A-Za-z0-9.!%*_+`'~-]{1,32})[ \t]+([^ \t\r\n]+)[ \t]+(?i:SIP)/2\.0[ \t]*\r?$"
)
_CSEQ = re.compile(rb"([0-9]{1,10})[ \t]+([A-Za-z0-9.!%*_+`'~-]{1,32})[ \t]*$")
_BRANCH = re.compile(rb"(?i);[ \t]*branch[ \t]*=[ \t]*([^;,\s]+)")
_TAG = re.compile(rb"(?i);[ \t]*tag[ \t]*=[ \t]*([^;,\s?>]+)")
_REASON_NAME = re.compile(rb"\n[Rr][Ee][Aa][Ss][Oo][Nn][ \t]*:")

#: Method names are few: one object for each keeps comparisons and memory small.
_METHODS: dict[bytes, str] = {
    b"INVITE": "INVITE",
    b"ACK": "ACK",
    b"BYE": "BYE",
    b"CANCEL": "CANCEL",
    b"OPTIONS": "OPTIONS",
    b"REGISTER": "REGISTER",
    b"PRACK": "PRACK",
    b"UPDATE": "UPDATE",
    b"INFO": "INFO",
    b"REFER": "REFER",
    b"NOTIFY": "NOTIFY",
    b"SUBSCRIBE": "SUBSCRIBE",
    b"PUBLISH": "PUBLISH",
    b"MESSAGE": "MESSAGE",
}


class SipError(ValueError):
    """The bytes are no SIP message that can be followed; `reason` names what is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotSip(SipError):
    """The bytes do not start with a SIP request or status line."""


class Message:
    """A SIP request (`status` 0) or response; `method` is the CSeq method of a response."""

    __slots__ = (
        "_index",
        "branch",
        "call_id",
        "cseq",
        "from_tag",
        "head_end",
        "method",
        "raw",
        "status",
        "to_tag",
    )

    raw: bytes
    method: str
    status: int
    call_id: bytes
    cseq: int
    from_tag: bytes
    to_tag: bytes
    branch: bytes
    #: Where the header section ends in `raw`; `len(raw)` when the blank line is missing.
    head_end: int
    _index: dict[bytes, list[bytes]] | None

    def __repr__(self) -> str:
        what = f"{self.status} ({self.method})" if self.status else self.method
        return f"<Message {what} {self.call_id.decode('utf-8', 'replace')}>"

    @property
    def is_request(self) -> bool:
        """Whether this is a request."""
        return self.status == 0

    @property
    def start_line(self) -> bytes:
        """The request line or status line, without its line end."""
        return self.raw[: _line_end(self.raw, 0, self.head_end)]

    @property
    def request_uri(self) -> bytes:
        """The Request-URI; empty for a response."""
        if self.status:
            return b""
        parts = self.start_line.split(None, 2)
        return parts[1] if len(parts) > 1 else b""

    @property
    def reason_phrase(self) -> str:
        """The text behind the status code; empty for a request."""
        if not self.status:
            return ""
        parts = self.start_line.split(None, 2)
        return grammar.text(parts[2]).strip() if len(parts) > 2 else ""

    @property
    def index(self) -> dict[bytes, list[bytes]]:
        """All headers: lower-case full name to raw values in order, unfolded, not comma-split."""
        found = self._index
        if found is None:
            found = self._index = _header_index(self.raw, self.head_end)
        return found

    def header(self, name: str) -> bytes | None:
        """The first value of the header with this full name in any case, or None."""
        values = self.index.get(name.lower().encode())
        return values[0] if values else None

    def headers(self, name: str) -> list[bytes]:
        """All values of a header whose grammar is a comma-separated list (section 7.3.1)."""
        return grammar.split_commas(self.index.get(name.lower().encode(), []))

    def reasons(self) -> list[Reason]:
        """The Reason values (RFC 3326) in order; empty when there is none."""
        if _REASON_NAME.search(self.raw, 0, self.head_end) is None:
            return []
        return parse_reasons(self.headers("reason"))

    @property
    def body(self) -> bytes:
        """What follows the blank line, cut to Content-Length when that is shorter (18.3)."""
        start = self.head_end
        for gap in (b"\r\n\r\n", b"\n\n", b"\r\r"):
            if self.raw.startswith(gap, start):
                start += len(gap)
                break
        rest = self.raw[start:]
        length = self.header("content-length")
        if length is not None and length.isdigit() and len(length) < 10:
            return rest[: int(length)]
        return rest

    @property
    def has_sdp(self) -> bool:
        """Whether a session description is in the body (RFC 4566), alone or in a multipart."""
        return b"v=0" in self.raw[self.head_end :]


def parse(payload: bytes) -> Message:
    """Parse one datagram, or one framed message of a stream.

    Raises `NotSip` when the start line is not SIP/2.0's, `SipError` when a header that decides
    the transaction (Call-ID, CSeq, From, To, Via; section 8.1.1) is missing or senseless.
    """
    message = Message.__new__(Message)
    message._index = None
    head_end = payload.find(b"\r\n\r\n")
    if head_end < 0:
        head_end = payload.find(b"\n\n")
        if head_end < 0:
            head_end = len(payload)
    if head_end > MAX_HEAD_BYTES:
        raise SipError("head too long")
    message.raw = payload
    message.head_end = head_end
    if payload.startswith(b"SIP/2.0 "):
        code = payload[8:11]
        if not code.isdigit() or not 100 <= (status := int(code)) <= 699:
            raise NotSip("status line")
        if payload[11:12] not in (b" ", b"\r", b"\n", b""):
            raise NotSip("status line")
        method = None
    else:
        status = 0
        space = payload.find(b" ", 0, 33)
        method = _METHODS.get(payload[:space])
        line_end = payload.find(b"\r\n", 0, head_end + 2)
        if method is None or not payload.endswith(b" SIP/2.0", space + 2, line_end):
            return _parse_slowly(message)
    message.status = status

    find = payload.find
    # The five headers in their usual spelling; anything else is left to the full index.
    via = find(b"\nVia: ", 0, head_end)
    call_id = find(b"\nCall-ID: ", 0, head_end)
    cseq = find(b"\nCSeq: ", 0, head_end)
    from_ = find(b"\nFrom: ", 0, head_end)
    to = find(b"\nTo: ", 0, head_end)
    if (
        via < 0
        or call_id < 0
        or cseq < 0
        or from_ < 0
        or to < 0
        or find(b"\nv:", 0, via) >= 0
        or find(b"\n ", 0, head_end) >= 0
        or find(b"\n\t", 0, head_end) >= 0
    ):
        return _parse_slowly(message)
    stop = head_end + 1  # lines end at "\r": the last one's stands at head_end itself
    end = find(b"\r", call_id, stop)
    cseq_end = find(b"\r", cseq, stop)
    via_end = find(b"\r", via, stop)
    from_end = find(b"\r", from_, stop)
    to_end = find(b"\r", to, stop)
    branch = find(b";branch=", via, via_end)
    if end < 0 or cseq_end < 0 or via_end < 0 or from_end < 0 or to_end < 0 or branch < 0:
        return _parse_slowly(message)
    message.call_id = payload[call_id + 10 : end].strip()
    number, _, name = payload[cseq + 7 : cseq_end].partition(b" ")
    if not number.isdigit() or len(number) > 10:
        return _parse_slowly(message)
    message.cseq = int(number)
    cseq_method = _METHODS.get(name)
    if cseq_method is None:
        return _parse_slowly(message)
    if method is not None and method is not cseq_method:
        raise SipError("CSeq method differs from request method")
    message.method = cseq_method
    branch += 8
    stop = find(b";", branch, via_end)
    value = payload[branch : stop if stop >= 0 else via_end]
    if b"," in value or b" " in value or not message.call_id:
        return _parse_slowly(message)
    message.branch = value
    message.from_tag = _quick_tag(payload, from_ + 7, from_end)
    message.to_tag = _quick_tag(payload, to + 5, to_end)
    return message


def _quick_tag(payload: bytes, start: int, end: int) -> bytes:
    """The tag parameter of a From or To value; empty when there is none."""
    # Parameters stand behind the bracket: a ";tag=" in a display name or in the URI is not one.
    bracket = payload.rfind(b">", start, end)
    found = payload.find(b";tag=", bracket if bracket >= 0 else start, end)
    if found < 0:
        tag = _TAG.search(payload, bracket if bracket >= 0 else start, end)
        return tag[1] if tag else b""
    found += 5
    stop = payload.find(b";", found, end)
    return payload[found : stop if stop >= 0 else end].strip()


def _parse_slowly(message: Message) -> Message:
    """The same through the full header index, for every spelling that RFC 3261 allows."""
    start_line = message.raw[: _line_end(message.raw, 0, message.head_end)]
    status = _STATUS_LINE.match(start_line)
    if status:
        message.status = int(status[1])
        method = None
    else:
        request = _REQUEST_LINE.match(start_line)
        if request is None:
            raise NotSip("start line")
        message.status = 0
        method = request[1]
    index = message.index
    call_id = _first(index, b"call-id", "Call-ID")
    message.call_id = call_id.strip()
    if not message.call_id:
        raise SipError("empty Call-ID")
    cseq = _CSEQ.match(_first(index, b"cseq", "CSeq"))
    if cseq is None:
        raise SipError("bad CSeq")
    # Method names are case-sensitive (7.1), but no device means another method by "invite".
    name = cseq[2]
    if method is not None and method.upper() != name.upper():
        raise SipError("CSeq method differs from request method")
    message.cseq = int(cseq[1])
    known = _METHODS.get(name.upper())
    message.method = known if known is not None else name.decode("ascii").upper()
    message.from_tag = _tag_of(_first(index, b"from", "From"))
    message.to_tag = _tag_of(_first(index, b"to", "To"))
    branch = _BRANCH.search(grammar.split_commas(index.get(b"via", [b""])[:1], first=True)[0])
    if b"via" not in index:
        raise SipError("no Via")
    message.branch = branch[1] if branch else b""
    return message


def _first(index: dict[bytes, list[bytes]], key: bytes, name: str) -> bytes:
    values = index.get(key)
    if not values:
        raise SipError(f"no {name}")
    return values[0]


def _tag_of(value: bytes) -> bytes:
    return grammar.parse_name_addr(value).params.get("tag", "").encode("utf-8", "surrogateescape")


def _line_end(raw: bytes, start: int, stop: int) -> int:
    """Where the line that begins at `start` ends: at its CR or LF, or at `stop`."""
    end = raw.find(b"\n", start, stop)
    if end < 0:
        end = stop
    if end > start and raw[end - 1 : end] == b"\r":
        end -= 1
    return end


def _header_index(raw: bytes, head_end: int) -> dict[bytes, list[bytes]]:
    index: dict[bytes, list[bytes]] = {}
    last: list[bytes] | None = None
    lines = raw[:head_end].split(b"\n")
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            # Folding, section 7.3.1: the line break and the white space count as one space.
            if last is not None:
                last[-1] = (last[-1] + b" " + line.strip()).strip()
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            last = None
            continue
        key = name.strip().lower()
        key = COMPACT_NAMES.get(key, key)
        last = index.setdefault(key, [])
        last.append(value.strip())
    return index


def render(start_line: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
    """A message from its parts, with the Content-Length that fits (7.5)."""
    lines = [start_line, *(name + b": " + value for name, value in headers)]
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
