"""Messages that Wireshark exported from a capture ("Export PDUs"), without their packets.

That is how decrypted SIP comes to us from somebody who will not give away his keys. Before the
message stand tags of two bytes, a length of two, and a value (Wireshark, exported_pdu_tlvs.h).
"""

from __future__ import annotations

from typing import NamedTuple

from sipwatch.net.packet import Malformed
from sipwatch.net.types import Endpoint

_END = 0
_SOURCE_V4, _DESTINATION_V4, _SOURCE_V6, _DESTINATION_V6 = 20, 21, 22, 23
_PORT_KIND, _SOURCE_PORT, _DESTINATION_PORT = 24, 25, 26

#: What kind of ports they are says the transport.
_TRANSPORTS = {1: "SCTP", 2: "TCP", 3: "UDP"}


class Pdu(NamedTuple):
    """One message and what the tags say of it."""

    source: Endpoint
    destination: Endpoint
    transport: str
    payload: bytes


def parse(data: bytes) -> Pdu:
    """Reads the tags. Raises :class:`~sipwatch.net.packet.Malformed` or ``IndexError``."""
    tags: dict[int, bytes] = {}
    offset = 0
    while True:
        tag, length = _number(data[offset : offset + 2]), _number(data[offset + 2 : offset + 4])
        offset += 4
        if offset + length > len(data):
            raise Malformed("tag length")
        if tag == _END:
            break
        tags[tag] = data[offset : offset + length]
        offset += length
    return Pdu(
        _endpoint(tags, _SOURCE_V4, _SOURCE_V6, _SOURCE_PORT),
        _endpoint(tags, _DESTINATION_V4, _DESTINATION_V6, _DESTINATION_PORT),
        _TRANSPORTS.get(_number(tags.get(_PORT_KIND, b"")), "UDP"),
        data[offset:],
    )


def _endpoint(tags: dict[int, bytes], v4: int, v6: int, port: int) -> Endpoint:
    address = tags.get(v4) or tags.get(v6) or bytes(4)
    if len(address) not in (4, 16):
        raise Malformed("address length")
    return address, _number(tags.get(port, b"")) & 0xFFFF


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
