"""Knows SIP by its first bytes, on whatever port it travels.

Everything here looks at the start line only (RFC 3261 section 7.1 and 7.2); whether the rest is
sound is the message parser's business.
"""

from __future__ import annotations

import re

#: What the first byte of a UDP payload lets it be.
MEDIA, TEXT, BINARY = 0, 1, 2

_TOKEN_PUNCTUATION = b"-.!%*_+`'~"


def _kind(first: int) -> int:
    """Class of one first byte.

    From 0x80 on it is RTP, RTCP, QUIC or anything else, but neither a start line nor a tunnel
    that we unwrap: version 2 of RTP sets the top bits to 10 (RFC 3550 5.1). Digits are legal in
    a method, but no method begins with one, while GTP-U does (0x30 to 0x3F).
    """
    if first >= 0x80:
        return MEDIA
    letter = 0x41 <= first <= 0x5A or 0x61 <= first <= 0x7A
    if letter or first in _TOKEN_PUNCTUATION or first in b"\r\n":
        return TEXT
    return BINARY


#: ``KIND[first byte]`` is :data:`MEDIA`, :data:`TEXT` or :data:`BINARY`.
KIND = bytes(_kind(first) for first in range(256))

#: The first four bytes of a status line.
STATUS_START = b"SIP/"

#: The first four bytes of a request line with a method of the IANA registry.
REQUEST_STARTS = frozenset(
    {
        b"INVI",
        b"ACK ",
        b"BYE ",
        b"CANC",
        b"REGI",
        b"OPTI",
        b"PRAC",
        b"SUBS",
        b"NOTI",
        b"PUBL",
        b"INFO",
        b"REFE",
        b"MESS",
        b"UPDA",
    }
)

#: What a request line ends with; without it a NOTIFY is SSDP's and an OPTIONS is RTSP's.
VERSION = b" SIP/2.0"

# The version is compared without regard to case (section 7.1).
_SIP_VERSION = re.compile(rb"SIP/[0-9]{1,3}\.[0-9]{1,3}", re.IGNORECASE)
_STATUS_LINE = re.compile(rb"SIP/[0-9]{1,3}\.[0-9]{1,3} {1,8}[0-9]{3}", re.IGNORECASE)
_TOKEN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" + _TOKEN_PUNCTUATION
# A line end before the start line is to be ignored (section 7.5); alone it is a keep-alive
# (RFC 5626 3.5.1), as are the zero bytes that some devices send.
_LEADING = b"\r\n"
_KEEP_ALIVE = b"\r\n\0 "


def start_of(payload: bytes) -> int:
    """Offset of the start line in a payload, -1 when it is not SIP."""
    start = payload[:4]
    if start == STATUS_START or (start in REQUEST_STARTS and payload.find(VERSION) >= 0):
        return 0
    if not payload or KIND[payload[0]] == MEDIA:
        return -1
    offset = len(payload) - len(payload.lstrip(_LEADING))
    if _is_request_line(payload, offset) or _STATUS_LINE.match(payload, offset):
        return offset
    return -1


def _is_request_line(payload: bytes, offset: int) -> bool:
    """Whether ``Method SP Request-URI SP SIP-Version`` stands here, of whatever method."""
    end = payload.find(b"\n", offset)
    line = payload[offset : end if end >= 0 else len(payload)].rstrip()
    method, _, rest = line.partition(b" ")
    uri, _, version = rest.rpartition(b" ")
    if not method or not uri or not _SIP_VERSION.fullmatch(version):
        return False
    return not method.translate(None, _TOKEN)


def is_keep_alive(payload: bytes) -> bool:
    """Whether a payload only keeps a NAT binding open: line ends, zeros, or nothing at all."""
    return not payload.strip(_KEEP_ALIVE)


def is_tls(payload: bytes) -> bool:
    """Whether a segment's payload begins like a TLS record (RFC 8446 section 5.1)."""
    return len(payload) > 2 and 0x14 <= payload[0] <= 0x17 and payload[1] == 3 and payload[2] <= 4
