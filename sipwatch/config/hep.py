"""The `[hep]` table: HEP as a source beside the interfaces, and where what was seen is mirrored.

Addresses are checked here and kept as they were written; who opens them reads them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from sipwatch.config import kinds
from sipwatch.config.setting import takes


def _port(text: str, lowest: int) -> None:
    if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= 65_535:
        raise ValueError(text)


def _without_scheme(value: str, schemes: tuple[str, ...]) -> str:
    scheme, colon, rest = value.partition(":")
    return rest if colon and scheme.lower() in schemes else value


def _split(value: str) -> tuple[str, str]:
    """Host and port of `HOST:PORT`, `[HOST]:PORT` or either alone; the port may be empty."""
    if value.startswith("["):
        host, closing, rest = value[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError(value)
        return host, rest.removeprefix(":")
    host, _, port = value.partition(":")
    return host, port


def _listen(value: str) -> str:
    """`[udp:|tcp:|tls:]ADDRESS[:PORT]`, or a port alone."""
    rest = _without_scheme(value, ("udp", "tcp", "tls"))
    if rest.isascii() and rest.isdigit():
        host, port = "", rest
    else:
        host, port = _split(rest)
    if not host and not port:
        raise ValueError(value)
    if host:
        ip_address(host)
    if port:
        _port(port, 0)
    return value


def _collector(value: str) -> str:
    """`[udp:|tcp:]HOST[:PORT]`."""
    host, port = _split(_without_scheme(value, ("udp", "tcp")))
    if not host or any(sign.isspace() for sign in host):
        raise ValueError(value)
    if port:
        _port(port, 1)
    return value


LISTEN = kinds.from_string(
    'where to listen for HEP, such as "0.0.0.0:9060", "udp:[::1]:9060" or "tls:0.0.0.0:9061"',
    _listen,
)
COLLECTOR = kinds.from_string(
    'a HEP collector, such as "udp:192.0.2.7:9060" or "tcp:homer.example:9060"', _collector
)
#: Empty means none.
_MIRROR = kinds.from_string(COLLECTOR.expected, lambda value: value and _collector(value))
_FILE = kinds.string("the path of a file", r"[^\x00-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class Hep:
    """Where HEP is listened for, where it is sent, and with which secret."""

    listen: tuple[str, ...] = field(default=(), metadata=takes(kinds.list_of(LISTEN)))
    #: Asked of agents, and sent to the collector.
    auth_key: str = field(
        default="",
        metadata=takes(kinds.string("a key of up to 255 printable characters", r"[ -~]{0,255}"),
                       secret=True),
    )  # fmt: skip
    #: PEM files for "tls:", the key may stand in the first.
    certificate: str = field(default="", metadata=takes(_FILE))
    private_key: str = field(default="", metadata=takes(_FILE))
    #: One of certificates that agents must present one of.
    client_authority: str = field(default="", metadata=takes(_FILE))
    #: A packet whose time is further from this host's clock is given the time of its arrival.
    max_skew_seconds: float = field(
        default=10.0,
        metadata=takes(kinds.number("a number of seconds, 0 or more", 0, 10_000_000)),
    )
    mirror: str = field(default="", metadata=takes(_MIRROR))
    #: The capture id of what we mirror.
    node_id: int = field(
        default=2001,
        metadata=takes(kinds.integer("a number from 0 to 4294967295", 0, 4_294_967_295)),
    )
