"""Finds out what a TCP stream carries from its first bytes.

A `Probe` stands in a stream's place of a framer until its `verdict` is there. A stream that was
read from its beginning is judged by what it begins with; one that was met on its way may stand in
the middle of anything, so a start line is searched for within a bound.
"""

from __future__ import annotations

from enum import Enum

from sipwatch.net import hep_framing, recognise, websocket
from sipwatch.net.framing import (
    MAX_START_LINE,
    SipFramer,
    StreamCounts,
    head_end,
    stun_length,
)
from sipwatch.net.shares import Worth

#: Longest HTTP header section that is waited for.
_MAX_HTTP_HEAD = 16_384

#: How long a start line is searched for in a stream whose beginning was not seen.
_SEARCH_BYTES = 32_768
_SEARCH_SEGMENTS = 32

_HTTP_STARTS = (b"GET ", b"HTTP/1.")
_LINE_ENDS = b"\r\n"
_TOKEN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~")


class Kind(Enum):
    """What a stream carries."""

    SIP = "sip"
    WEBSOCKET = "websocket"
    HEP = "hep"
    TLS = "tls"
    HTTP = "http"
    OTHER = "other"


class Probe:
    """Collects the first bytes of a stream; has the calls of a framer."""

    transport = "TCP"

    __slots__ = (
        "_buffer",
        "_counts",
        "_from_start",
        "_search",
        "_seen",
        "_segments",
        "verdict",
        "worth",
    )

    def __init__(self, counts: StreamCounts, *, from_start: bool) -> None:
        self._counts = counts
        self._from_start = from_start
        self._buffer = b""
        #: Reads a stream that is met on its way, in search of a start line.
        self._search: SipFramer | None = None
        self._segments = 0
        self._seen = 0
        self.verdict: Kind | None = None
        #: By what was seen first, if that was a start line or surely was none.
        self.worth = Worth.UNKNOWN

    @property
    def held(self) -> int:
        """Bytes kept while the verdict is open."""
        return len(self._buffer) + (self._search.held if self._search else 0)

    @property
    def rest(self) -> bytes:
        """What the framer of the verdict is to be fed with; the bytes of HTTP are gone."""
        return self._buffer

    def framer(self) -> SipFramer | websocket.WebSocketFramer | hep_framing.HepFramer | None:
        """The framer for the verdict, None where there is nothing to read."""
        if self.verdict is Kind.HEP:
            return hep_framing.HepFramer(self._counts)
        if self.verdict is Kind.WEBSOCKET:
            return websocket.WebSocketFramer(self._counts, searching=not self._from_start)
        if self.verdict is Kind.SIP:
            return self._search or SipFramer(self._counts)
        return None

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; messages when a search finds some."""
        if self._search is not None:
            return self._go_on_searching(data)
        self._buffer += data
        kept = self._buffer.lstrip(_LINE_ENDS)
        if len(kept) < len(self._buffer):
            self._counts.keep_alives += 1
            self._buffer = kept
        self.verdict = self._judge()
        if self.verdict in (Kind.OTHER, Kind.SIP) and not self._from_start:
            self.worth = Worth.WANTED if self.verdict is Kind.SIP else Worth.UNWANTED
            self.verdict = None
            self._search = SipFramer(self._counts, searching=True)
            data, self._buffer = self._buffer, b""
            return self._go_on_searching(data)
        return []

    def lose(self, count: int) -> list[bytes]:
        """Note that bytes are missing: the stream goes on as one that is met on its way."""
        messages: list[bytes] = []
        if self._search is None:
            self._search = SipFramer(self._counts, searching=True)
            self._from_start = False
            data, self._buffer = self._buffer, b""
            messages += self._go_on_searching(data) if data else []
        return messages + self._search.lose(count)

    def close(self) -> None:
        """Note that nothing follows."""
        self._buffer = b""
        self._search = None

    def _go_on_searching(self, data: bytes) -> list[bytes]:
        assert self._search is not None
        self._segments += 1
        self._seen += len(data)
        if recognise.is_tls(data[:3]) and _is_record(data):
            self.verdict = Kind.TLS
            return []
        if data.startswith(hep_framing.START):
            self.verdict, self._buffer = Kind.HEP, data
            return []
        if websocket.starts_frame(data) or websocket.starts_compressed(data):
            self.verdict, self._buffer = Kind.WEBSOCKET, data
            return []
        messages = self._search.feed(data)
        if messages:
            self.verdict = Kind.SIP
        elif self._segments >= _SEARCH_SEGMENTS or self._seen >= _SEARCH_BYTES:
            self.verdict = Kind.OTHER
        return messages

    def _judge(self) -> Kind | None:
        """The verdict by the first bytes, None as long as they fit several."""
        data = self._buffer
        if not data:
            return None
        first = data[0]
        if 0x14 <= first <= 0x17:
            if len(data) < 5:
                return None
            return Kind.TLS if recognise.is_tls(data[:3]) and _is_record(data) else Kind.OTHER
        length = stun_length(data, 0)
        if length:
            if 0 < length <= len(data):
                self._counts.keep_alives += 1
                self._buffer = data[length:]
                return self._judge()
            return None
        if not self._from_start and websocket.starts_frame(data):
            return Kind.WEBSOCKET
        if data.startswith(hep_framing.START):
            return Kind.HEP
        if data.startswith(_HTTP_STARTS):
            return self._judge_http()
        return self._judge_line()

    def _judge_line(self) -> Kind | None:
        """SIP or not, by the first line as far as it is there."""
        data = self._buffer
        line_end = data.find(b"\n")
        if line_end >= 0:
            return Kind.SIP if recognise.start_of(data[: line_end + 1]) == 0 else Kind.OTHER
        if len(data) > MAX_START_LINE:
            return Kind.OTHER
        # A method and a space, or "SIP/2.0".
        word = data.split(b" ", 1)[0]
        if b"SIP/2.0".startswith(word[:7]):
            return None
        return None if len(word) <= 32 and _TOKEN.issuperset(word) else Kind.OTHER

    def _judge_http(self) -> Kind | None:
        """WebSocket or not, once the header section is complete."""
        end, body = head_end(self._buffer, 0)
        if end < 0:
            return Kind.HTTP if len(self._buffer) > _MAX_HTTP_HEAD else None
        line = self._buffer[: self._buffer.find(b"\n") + 1]
        if recognise.start_of(line) == 0:
            return Kind.SIP
        if not websocket.upgrade(self._buffer[: end + 2]):
            return Kind.HTTP
        self._buffer = self._buffer[body:]
        self._from_start = True
        return Kind.WEBSOCKET


def _is_record(data: bytes) -> bool:
    """Whether the length of a TLS record is a possible one (RFC 8446 section 5.2)."""
    return len(data) < 5 or (data[3] << 8 | data[4]) <= 16_384 + 2_048
