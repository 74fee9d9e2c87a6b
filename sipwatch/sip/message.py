"""One SIP message, parsed only as far as somebody asks (RFC 3261 section 7).

`parse` reads what decides a transaction (method or status, Call-ID, CSeq, the two tags, the top
Via branch) straight from the bytes with a few searches. Everything else waits in `raw` until a
header is asked for by name. Real devices fold lines, write compact names and odd case: whatever
the quick search does not find goes through the full header index, which knows all of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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

#: Headers that are asked of every INVITE, so that they are found without an index of all.
FEW_NAMES = frozenset(
    (
        b"authorization",
        b"diversion",
        b"from",
        b"history-info",
        b"p-asserted-identity",
        b"p-preferred-identity",
        b"proxy-authorization",
        b"referred-by",
        b"remote-party-id",
        b"replaces",
        b"session-id",
        b"user-agent",
        b"x-asterisk-call-id",
        b"x-call-id",
        b"x-cid",
    )
)

#: Headers that nobody reads once a message has found its place; From may be one of a response.
SPENT_NAMES = frozenset(
    (
        b"via",
        b"record-route",
        b"allow",
        b"supported",
        b"contact",
        b"content-type",
        b"content-length",
        b"call-id",
        b"cseq",
        b"from",
        b"max-forwards",
        b"min-se",
        b"session-expires",
    )
)


def _lines_of(names: bytes) -> re.Pattern[bytes]:
    """Lines of these headers, as they are usually written, with those that continue them."""
    return re.compile(rb"\n(?:%b): .*\r(?:\n[ \t].*\r)*" % names)


#: The long ones of them; all but From; all.
_ROUTING = rb"Via|Record-Route|Allow|Supported|Cont(?:act|ent-Type|ent-Length)"
_ROUTING_LINES = _lines_of(_ROUTING)
_SPENT = _ROUTING + rb"|C(?:all-ID|Seq)|M(?:ax-Forwards|in-SE)|Session-Expires"
_SPENT_LINES = _lines_of(_SPENT)
_SPENT_LINES_AND_FROM = _lines_of(_SPENT + rb"|From")
#: Numbers up to this one are the same objects wherever they are kept: thousands of messages are.
_NUMBERS = tuple(range(2048))

#: Longest head that is read; a longer one is no SIP of this world.
MAX_HEAD_BYTES = 65_536
#: Call-ID and branch together: both are kept for a while, and nobody makes them longer.
MAX_KEY_BYTES = 2_048
#: What is kept of a head; longer ones are nobody's who wants to be called.
MAX_KEPT_BYTES = 8_192

# None of these may try one run of white space in more than one way: a datagram of nothing but
# spaces would stop the program for minutes.
_STATUS_LINE = re.compile(rb"(?i:SIP)/2\.0[ \t]+([1-6][0-9][0-9])(?:[ \t][^\r\n]*)?\r?$")
_REQUEST_LINE = re.compile(
    rb"([A-Za-z0-9.!%*_+`'~-]{1,32})[ \t]+([^ \t\r\n]+)[ \t]+(?i:SIP)/2\.0[ \t]*\r?$"
)
_CSEQ = re.compile(rb"([0-9]{1,10})[ \t]+([A-Za-z0-9.!%*_+`'~-]{1,32})[ \t]*$")
_BRANCH = re.compile(rb"(?i);[ \t]*branch[ \t]*=[ \t]*([^;,\s]+)")
_TAG = re.compile(rb"(?i);[ \t]*tag[ \t]*=[ \t]*([^;,\s?>]+)")
#: Status codes by the bytes behind "SIP/2.0 ".
_STATUS: dict[bytes, int] = {b"%d " % code: code for code in range(100, 700)}
#: A line that begins with one of these continues the one before it (7.3.1).
_FOLD = frozenset(b" \t")
_BLANK, _COMMA = b" ,"
_FOLDED = (b" ", b"\t")
_FOLDED_LINE = re.compile(rb"\n[ \t]")
_FOLDING = re.compile(rb"(?<![ \t])[ \t]*\r?\n[ \t]+")
_TOKEN = re.compile(rb"[!-9;-~]+[ \t]*$")
#: Names as they are written to full names; and to those of `FEW_NAMES`, the others to nothing.
_KEYS: dict[bytes, bytes] = {}
_FEW_KEYS: dict[bytes, bytes] = {}
_MOST_KEYS = 4096
_REASON_LINE = re.compile(rb"\n[Rr][Ee][Aa][Ss][Oo][Nn][ \t]*:[ \t]*([^\r\n]*)")

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


_NO_METHODS: frozenset[str] = frozenset()


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
        "_few",
        "_from_tag",
        "_index",
        "_to_tag",
        "branch",
        "call_id",
        "cseq",
        "head_end",
        "method",
        "raw",
        "request_uri",
        "status",
    )

    raw: bytes
    #: Where the header section ends in `raw`; `len(raw)` when the blank line is missing.
    head_end: int
    method: str
    status: int
    call_id: bytes
    cseq: int
    branch: bytes
    #: The Request-URI; empty for a response.
    request_uri: bytes
    _from_tag: bytes | None
    _to_tag: bytes | None
    _index: dict[bytes, list[bytes]] | None
    _few: dict[bytes, list[bytes]] | None

    def __init__(
        self,
        raw: bytes,
        head_end: int,
        method: str,
        status: int,
        call_id: bytes,
        cseq: int,
        branch: bytes,
        request_uri: bytes,
    ) -> None:
        self.raw = raw
        self.head_end = head_end
        self.method = method
        self.status = status
        self.call_id = call_id
        self.cseq = cseq
        self.branch = branch
        self.request_uri = request_uri
        self._from_tag = self._to_tag = None
        self._index = self._few = None

    def __repr__(self) -> str:
        what = f"{self.status} ({self.method})" if self.status else self.method
        return f"<Message {what} {self.call_id.decode('utf-8', 'replace')}>"

    @property
    def is_request(self) -> bool:
        """Whether this is a request."""
        return self.status == 0

    @property
    def from_tag(self) -> bytes:
        """The tag of From; empty when there is none."""
        tag = self._from_tag
        if tag is None:
            tag = self._from_tag = self._tag(b"\nFrom: ", b"from")
        return tag

    @property
    def to_tag(self) -> bytes:
        """The tag of To; empty outside of a dialog."""
        tag = self._to_tag
        if tag is None:
            tag = self._to_tag = self._tag(b"\nTo: ", b"to")
        return tag

    def _tag(self, usual: bytes, key: bytes) -> bytes:
        raw, head_end = self.raw, self.head_end
        start = raw.find(usual, 0, head_end)
        end = raw.find(b"\r", start, head_end + 1)
        if start < 0 or end < 0 or raw[end + 2 : end + 3] in _FOLDED:
            values = self.index.get(key)
            return _tag_of(values[0]) if values else b""
        # Parameters stand behind the bracket: a ";tag=" in a display name or in the URI is none.
        bracket = raw.rfind(b">", start, end)
        found = raw.find(b";tag=", bracket if bracket >= 0 else start, end)
        if found < 0:
            if bracket + 1 == end:
                return b""
            match = _TAG.search(raw, bracket if bracket >= 0 else start, end)
            return match[1] if match else b""
        found += 5
        stop = raw.find(b";", found, end)
        return raw[found : stop if stop >= 0 else end].strip()

    @property
    def start_line(self) -> bytes:
        """The request line or status line, without its line end."""
        return self.raw[: _line_end(self.raw, 0, self.head_end)]

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
        values = self.values(name.lower().encode())
        return values[0] if values else None

    def values(self, key: bytes) -> list[bytes]:
        """All values of the header with this full lower-case name, unfolded, not comma-split.

        The names that calls are followed by are picked out of the head without an index of it.
        """
        found = self.few if key in FEW_NAMES else self.index
        return found.get(key) or []

    @property
    def few(self) -> dict[bytes, list[bytes]]:
        """Of the index at least the headers of `FEW_NAMES`, without an index of the whole head."""
        found = self._few
        if found is None:
            found = self._index
            if found is None:
                found = _few_headers(self.raw, self.head_end)
            self._few = found = self.index if found is None else found
        return found

    def glimpse(self, name: str) -> bytes | None:
        """The same for names without a compact form, without an index of the whole head."""
        if self._index is not None:
            return self.header(name)
        raw, head_end = self.raw, self.head_end
        usual = b"\n" + name.encode() + b": "
        start = raw.find(usual, 0, head_end)
        if start < 0:
            if usual[:-2].lower() not in raw[:head_end].lower():
                return None
            return self.header(name)
        start += len(usual)
        end = raw.find(b"\r", start, head_end + 1)
        if end < 0 or raw[end + 2 : end + 3] in _FOLDED:
            return self.header(name)
        return raw[start:end].strip()

    @property
    def from_value(self) -> bytes:
        """The value of From, without an index of the head; empty without one."""
        raw, head_end = self.raw, self.head_end
        start = raw.find(b"\nFrom: ", 0, head_end)
        end = raw.find(b"\r", start, head_end + 1)
        if start < 0 or end < 0 or raw[end + 2 : end + 3] in _FOLDED:
            return self.header("from") or b""
        return raw[start + 7 : end].strip()

    def headers(self, name: str) -> list[bytes]:
        """All values of a header whose grammar is a comma-separated list (section 7.3.1)."""
        return grammar.split_commas(self.values(name.lower().encode()))

    def reasons(self) -> Sequence[Reason]:
        """The Reason values (RFC 3326) in order; empty when there is none."""
        raw, head_end = self.raw, self.head_end
        values = _REASON_LINE.findall(raw, 0, head_end)
        if not values:
            return ()
        if self._index is not None or _FOLDED_LINE.search(raw, 0, head_end):
            values = self.index.get(b"reason", values)
        return parse_reasons(grammar.split_commas(values))

    @property
    def names_party(self) -> bool:
        """Whether P-Asserted-Identity (RFC 3325) or Remote-Party-ID may be in it."""
        raw, head_end = self.raw, self.head_end
        return raw.find(b"P-Asserted", 0, head_end) >= 0 or raw.find(b"Party-ID", 0, head_end) >= 0

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

    def drop_body(self) -> None:
        """Let go of the body and of what was found in the head, which can be found again.

        For a message that is kept for long, after its body was looked at.
        """
        if len(self.raw) > self.head_end + 4:
            self.raw = self.raw[: self.head_end + 4]
        if self.head_end > MAX_KEPT_BYTES:
            self._shorten()
        self._index = self._few = None

    def _shorten(self) -> None:
        """Let go of the end of a head that is longer than any honest one."""
        self._drop(_ROUTING_LINES)
        if self.head_end > MAX_KEPT_BYTES:
            end = self.raw.rfind(b"\n", 0, MAX_KEPT_BYTES)
            self.head_end = end if end > 0 else MAX_KEPT_BYTES
            self.raw = self.raw[: self.head_end]
            if not self.status:
                parts = self.start_line.split(None, 2)
                self.request_uri = parts[1] if len(parts) > 1 else b""

    def drop_spent(self, *, sender_known: bool = False) -> None:
        """Let go of the lines of `SPENT_NAMES`, two thirds of a usual head.

        From stays, unless it is known of a response who sent its request. Heads with line ends of
        both kinds stay as they are.
        """
        self._drop(_SPENT_LINES_AND_FROM if sender_known and self.status else _SPENT_LINES)
        if self.head_end < len(_NUMBERS):
            self.head_end = _NUMBERS[self.head_end]

    def _drop(self, lines: re.Pattern[bytes]) -> None:
        if self.raw.count(b"\n", 0, self.head_end) != self.raw.count(b"\r\n", 0, self.head_end):
            return
        # A line goes from the LF before it to its CR; the head's last one ends behind `head_end`.
        start, rest = self.raw[: self.head_end + 1], self.raw[self.head_end + 1 :]
        head = lines.sub(b"", start)
        self.raw = head + rest
        self.head_end -= len(start) - len(head)

    def drop_headers(self) -> None:
        """Let go of all but the start line."""
        self.raw = self.start_line
        self.head_end = len(self.raw)
        self._index = self._few = None

    @property
    def has_sdp(self) -> bool:
        """Whether a session description is in the body (RFC 4566), alone or in a multipart."""
        return self.raw.find(b"v=0", self.head_end) >= 0


def parse(payload: bytes) -> Message:
    """Parse one datagram, or one framed message of a stream.

    Raises `NotSip` when the start line is not SIP/2.0's, `SipError` when a header that decides
    the transaction (Call-ID, CSeq, From, To, Via; section 8.1.1) is missing or senseless.
    """
    message = parse_unless(payload, _NO_METHODS)
    assert not isinstance(message, str)
    return message


def parse_unless(payload: bytes, others: frozenset[str]) -> Message | str:
    """The same, but of a message whose method is one of `others` only the method is read.

    Most messages of a busy host are REGISTERs and OPTIONS that nobody wants parsed. Whether
    something is one of them is seen at a glance where it is written as usual; where it is not,
    it is parsed all the same. Raises as `parse`.
    """
    # One function and no loop: it runs for every message. Searches for long names are cheaper
    # than those for short ones, so each thing is looked for once and where it must be.
    find = payload.find
    if payload.startswith(b"SIP/2.0 "):
        cseq = find(b"\nCSeq: ")
        cseq_end = find(b"\r", cseq)
        space = payload.rfind(b" ", cseq, cseq_end)
        method = _METHODS.get(payload[space + 1 : cseq_end])
        if method in others:
            return method
        status = _STATUS.get(payload[8:12])
        head_end = find(b"\r\n\r\n")
        line_end = find(b"\r\n")
        stop = head_end + 1  # lines end at "\r": the last one's stands at head_end itself
        uri = b""
        if status is None or not line_end < cseq < head_end <= MAX_HEAD_BYTES:
            return _parse_slowly(payload)
    else:
        space = find(b" ", 0, 33)
        word = payload[:space]
        method = _METHODS.get(word)
        if method in others:
            return method
        status = 0
        head_end = find(b"\r\n\r\n")
        line_end = find(b"\r\n")
        stop = head_end + 1
        version = line_end - 8
        cseq = find(b"\nCSeq: ", line_end, stop)
        cseq_end = find(b"\r", cseq, stop)
        if (
            version <= space
            or payload[version:line_end] != b" SIP/2.0"
            or cseq < 0
            or head_end > MAX_HEAD_BYTES
            or find(b"\nFrom: ", line_end, stop) < 0
            or find(b"\nTo: ", line_end, stop) < 0
        ):
            return _parse_slowly(payload)
        space = payload.rfind(b" ", cseq, cseq_end)
        if payload[space + 1 : cseq_end] != word:
            return _parse_slowly(payload)  # which says what is wrong
        uri = payload[len(word) : line_end].split(None, 1)[0]
    # The headers in their usual spelling and place; anything else is left to the full index.
    via = line_end + 1
    if payload[via : via + 6] != b"\nVia: ":
        first, via = via, find(b"\nVia: ", via, head_end)
        if via < 0 or find(b"\nv:", first, via) >= 0:
            return _parse_slowly(payload)
    via_end = find(b"\r", via, stop)
    branch = find(b";branch=", via, via_end)
    call_id = find(b"\nCall-ID: ", line_end, stop)
    if branch < 0 or call_id < 0 or method is None:
        return _parse_slowly(payload)
    call_id_end = find(b"\r", call_id, stop)
    number = payload[cseq + 7 : space]
    if (
        payload[via_end + 2] in _FOLD
        or payload[call_id_end + 2] in _FOLD
        or payload[cseq_end + 2] in _FOLD
        or not number.isdigit()
        or len(number) > 10
    ):
        return _parse_slowly(payload)
    branch += 8
    end = find(b";", branch, via_end)
    value = payload[branch : end if end >= 0 else via_end]
    identity = payload[call_id + 10 : call_id_end]
    # A number is looked for in bytes several times as fast as bytes are.
    if (
        _COMMA in value
        or _BLANK in value
        or not identity
        or identity[0] <= _BLANK
        or identity[-1] <= _BLANK
        or len(identity) + len(value) > MAX_KEY_BYTES
    ):
        return _parse_slowly(payload)
    return Message(payload, head_end, method, status, identity, int(number), value, uri)


def status_of(payload: bytes) -> int:
    """The status of a response that is not parsed; 0 for a request."""
    if not payload.startswith(b"SIP/"):
        return 0
    code = payload[8:12]
    known = _STATUS.get(code)
    if known is not None:
        return known
    return int(code[:3]) if code[:3].isdigit() else 0


def _parse_slowly(payload: bytes) -> Message:
    """The same through the full header index, for every spelling that RFC 3261 allows."""
    head_end = payload.find(b"\r\n\r\n")
    if head_end < 0:
        head_end = payload.find(b"\n\n")
        if head_end < 0:
            head_end = len(payload)
    if head_end > MAX_HEAD_BYTES:
        raise SipError("head too long")
    start_line = payload[: _line_end(payload, 0, head_end)]
    response = _STATUS_LINE.match(start_line)
    if response:
        status = int(response[1])
        method, uri = None, b""
    else:
        request = _REQUEST_LINE.match(start_line)
        if request is None:
            raise NotSip("status line" if start_line[:4].upper() == b"SIP/" else "start line")
        status = 0
        method, uri = request[1], request[2]
    index = _header_index(payload, head_end)
    call_id = _first(index, b"call-id", "Call-ID").strip()
    if not call_id:
        raise SipError("empty Call-ID")
    cseq = _CSEQ.match(_first(index, b"cseq", "CSeq"))
    if cseq is None:
        raise SipError("bad CSeq")
    # Method names are case-sensitive (7.1), but no device means another method by "invite".
    name = cseq[2]
    if method is not None and method.upper() != name.upper():
        raise SipError("CSeq method differs from request method")
    known = _METHODS.get(name.upper())
    top = grammar.split_commas([_first(index, b"via", "Via")], first=True)[0]
    branch = _BRANCH.search(top)
    if len(call_id) + len(branch[1] if branch else b"") > MAX_KEY_BYTES:
        raise SipError("Call-ID or branch too long")
    message = Message(
        payload,
        head_end,
        known if known is not None else name.decode("ascii").upper(),
        status,
        call_id,
        int(cseq[1]),
        branch[1] if branch else b"",
        uri,
    )
    message._index = index
    if not status:
        # A response is known by its branch; a request must say who sends it, and to whom.
        message._from_tag = _tag_of(_first(index, b"from", "From"))
        message._to_tag = _tag_of(_first(index, b"to", "To"))
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
    """Headers by their full lower-case names, when all lines are written as usual."""
    index: dict[bytes, list[bytes]] = {}
    if raw.count(b"\n", 0, head_end) != raw.count(b"\r\n", 0, head_end):
        return _odd_header_index(raw, head_end)
    lines = iter(raw[:head_end].split(b"\r\n"))
    next(lines)
    for line in lines:
        name, _, value = line.partition(b": ")
        key = _KEYS.get(name) or _key(name)
        if not key:
            return _odd_header_index(raw, head_end)
        if key in index:
            index[key].append(value.strip())
        else:
            index[key] = [value.strip()]
    return index


def _few_headers(raw: bytes, head_end: int) -> dict[bytes, list[bytes]] | None:
    """Of the full index the entries of `FEW_NAMES`; None where lines are folded."""
    few: dict[bytes, list[bytes]] = {}
    lines = raw[:head_end].split(b"\n")
    del lines[0]
    for line in lines:
        name, colon, value = line.partition(b":")
        key = _FEW_KEYS.get(name)
        if key is None:
            if line[:1] in _FOLDED:
                return None
            key = _few_key(name)
        if key and colon:
            if key in few:
                few[key].append(value.strip())
            else:
                few[key] = [value.strip()]
    return few


def _few_key(name: bytes) -> bytes:
    """The full name where it is one of `FEW_NAMES`, else nothing; remembered as by `_key`."""
    key = _key(name)
    if key not in FEW_NAMES:
        key = b""
    if len(_FEW_KEYS) < _MOST_KEYS and len(name) < 64:
        _FEW_KEYS[name] = key
    return key


def _key(name: bytes) -> bytes:
    """The full lower-case name of a header name; empty when this is none.

    Names that were met are remembered, a bounded number of them.
    """
    if _TOKEN.match(name) is None:
        return b""
    key = name.strip().lower()
    key = COMPACT_NAMES.get(key, key)
    if len(_KEYS) < _MOST_KEYS and len(name) < 64:
        _KEYS[name] = key
    return key


def _odd_header_index(raw: bytes, head_end: int) -> dict[bytes, list[bytes]]:
    """The same for folded lines, bare line feeds, and no space behind the colon."""
    index: dict[bytes, list[bytes]] = {}
    # Folding, section 7.3.1: the line break and the white space count as one space.
    head = _FOLDING.sub(b" ", raw[:head_end])
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        key = _key(name) if colon else b""
        if key:
            index.setdefault(key, []).append(value.strip())
    return index


def render(start_line: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
    """A message from its parts, with the Content-Length that fits (7.5)."""
    lines = [start_line, *(name + b": " + value for name, value in headers)]
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
