"""TLS connections that tshark saw begin, and which of them stayed closed to it.

A connection begins with a ClientHello (RFC 8446 section 4.1.2); when a SIP message came out of it
its keys were known. Bounded: past `MOST` the oldest is forgotten.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from typing import TypeAlias

from sipwatch.capture.tshark_output import addresses, raw_layers
from sipwatch.net.types import Datagram, Endpoint

MOST = 65_536

_Ends: TypeAlias = "frozenset[Endpoint]"


class TlsConnections:
    """Takes lines of tshark that held no SIP, and the messages that others held."""

    def __init__(self) -> None:
        #: Port of the server by connection.
        self._unread: dict[_Ends, int] = {}
        self._read: dict[_Ends, None] = {}

    def line(self, line: bytes) -> None:
        """Takes note of a ClientHello. Raises one of `tshark_output.BAD_LINE`."""
        if not line.startswith(b'{"timestamp"'):
            return
        layers = json.loads(line)["layers"]
        protocols: list[str] = layers["frame"]["frame_frame_protocols"].split(":")
        if "tls" not in protocols or "tcp" not in protocols:
            return
        below = protocols[: protocols.index("tcp")]
        network = [name for name in below if name in ("ip", "ipv6")][-1]
        source, destination = addresses(raw_layers(layers, network)[-1], network)
        ports = struct.unpack_from("!HH", raw_layers(layers, "tcp")[-1])
        ends = frozenset(((source, ports[0]), (destination, ports[1])))
        if ends not in self._read:
            self._unread[ends] = ports[1]
            _bound(self._unread)

    def message(self, one: Datagram) -> None:
        """Takes note of a message: the connection it came in could be read."""
        if one.transport in ("TLS", "WSS"):
            ends = frozenset((one.source, one.destination))
            self._unread.pop(ends, None)
            self._read[ends] = None
            _bound(self._read)

    def unread(self) -> Counter[int]:
        """Connections without a message, by the port of the server."""
        return Counter(self._unread.values())


def _bound(table: dict[_Ends, int] | dict[_Ends, None]) -> None:
    if len(table) > MOST:
        del table[next(iter(table))]
