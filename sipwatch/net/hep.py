"""HEP, the HOMER encapsulation protocol, versions 1 to 3: bytes to packets and back.

Interface, times in epoch seconds::

    packet = decode(data)                   # a UDP payload; raises HepError
    packet.protocol == SIP, packet.source, packet.payload, packet.time, packet.node_id
    data = encode(packet)                   # always version 3

    stream = HepStream()                    # HEP over TCP and TLS
    for data in stream.feed(received): ...  # whole packets, to be given to `decode`

References: version 3 is "The Homer Encapsulation Protocol", revision 12 (draft-hep3), chunks of
vendor, type and length in network byte order; versions 1 and 2 are the structures that Kamailio
and captagent write, in which the time and the capture id are in the byte order of the sender.
Chunks of other vendors and of unknown types are skipped.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sipwatch.net.types import Endpoint

#: Payload kinds (chunk 0x000b).
SIP = 0x01
LOG = 0x64

#: Largest packet: the length field has 16 bits.
MAX_SIZE = 65_535

#: Largest payload that a compressed chunk may grow to.
_MAX_INFLATED = 262_144

#: Chunks of one packet; agents send some twenty.
_MAX_CHUNKS = 256

#: 22 (IDP) and 50 (ESP) are what Kamailio and OpenSIPS put for TLS and WebSocket.
_TRANSPORTS = {6: "TCP", 17: "UDP", 132: "SCTP", 22: "TLS", 50: "WS"}
_PROTOCOL_NUMBERS = {"UDP": 17, "TCP": 6, "SCTP": 132, "TLS": 22, "WS": 6, "WSS": 22}

_FAMILY_V4 = 2
#: AF_INET6 is 10 on Linux, 28 to 30 on the BSDs, and 0x0a in the specification.
_FAMILIES_V6 = frozenset((10, 23, 24, 26, 28, 30))

REASONS = (
    "not_hep",
    "cut",
    "length",
    "chunk_length",
    "too_many_chunks",
    "family",
    "no_address",
    "no_payload",
    "compressed",
    "auth_key",
)


class HepError(ValueError):
    """The bytes are no HEP packet that can be read; ``reason`` is one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HepPacket:
    """One packet: what was captured somewhere else, and where."""

    version: int
    source: Endpoint
    destination: Endpoint
    #: ``UDP``, ``TCP``, ``TLS``, ``SCTP``; others as ``IP-`` and the protocol number.
    transport: str
    payload: bytes
    #: Epoch seconds; None in version 1, which has no time.
    time: float | None
    #: `SIP`, `LOG` or another payload kind.
    protocol: int = SIP
    #: Capture agent id; 0 where there is none.
    node_id: int = 0
    auth_key: bytes | None = None
    #: Usually the Call-ID, in packets that are not SIP themselves.
    correlation_id: bytes = b""


def decode(data: bytes) -> HepPacket:
    """One packet of any version; raises `HepError`."""
    if data[:4] == b"HEP3":
        return _decode_3(data)
    if data[:1] in (b"\x01", b"\x02"):
        return _decode_1_2(data)
    raise HepError("not_hep")


# Version 3 -------------------------------------------------------------------------------------

_FAMILY, _TRANSPORT = 0x0001, 0x0002
_SOURCE_V4, _DESTINATION_V4, _SOURCE_V6, _DESTINATION_V6 = 0x0003, 0x0004, 0x0005, 0x0006
_SOURCE_PORT, _DESTINATION_PORT = 0x0007, 0x0008
_SECONDS, _MICROSECONDS = 0x0009, 0x000A
_KIND, _NODE_ID = 0x000B, 0x000C
_AUTH_KEY, _PAYLOAD, _COMPRESSED, _CORRELATION = 0x000E, 0x000F, 0x0010, 0x0011

#: Exact lengths of the chunks that have one.
_LENGTHS = {
    _FAMILY: 1,
    _TRANSPORT: 1,
    _SOURCE_V4: 4,
    _DESTINATION_V4: 4,
    _SOURCE_V6: 16,
    _DESTINATION_V6: 16,
    _SOURCE_PORT: 2,
    _DESTINATION_PORT: 2,
    _SECONDS: 4,
    _MICROSECONDS: 4,
    _KIND: 1,
    _NODE_ID: 4,
}


def _chunks(data: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """Type and content of the generic (vendor 0) chunks, the first of each type."""
    seen = set()
    offset = 6
    for _ in range(_MAX_CHUNKS):
        if offset == end:
            return
        if offset + 6 > end:
            raise HepError("chunk_length")
        vendor = data[offset] << 8 | data[offset + 1]
        kind = data[offset + 2] << 8 | data[offset + 3]
        length = data[offset + 4] << 8 | data[offset + 5]
        if length < 6 or offset + length > end:
            raise HepError("chunk_length")
        if vendor == 0 and kind not in seen:
            if _LENGTHS.get(kind, length - 6) != length - 6:
                raise HepError("chunk_length")
            seen.add(kind)
            yield kind, data[offset + 6 : offset + length]
        offset += length
    raise HepError("too_many_chunks")


def _decode_3(data: bytes) -> HepPacket:
    if len(data) < 6:
        raise HepError("cut")
    end = data[4] << 8 | data[5]
    if end < 6:
        raise HepError("length")
    if end > len(data):
        raise HepError("cut")
    chunks = dict(_chunks(data, end))
    source, destination = _addresses_3(chunks)
    number = int.from_bytes(chunks.get(_TRANSPORT, b"\x11"))
    seconds = chunks.get(_SECONDS)
    microseconds = int.from_bytes(chunks.get(_MICROSECONDS, b""))
    return HepPacket(
        version=3,
        source=(source, int.from_bytes(chunks.get(_SOURCE_PORT, b""))),
        destination=(destination, int.from_bytes(chunks.get(_DESTINATION_PORT, b""))),
        transport=_TRANSPORTS.get(number) or f"IP-{number}",
        payload=_payload_3(chunks),
        time=None if seconds is None else int.from_bytes(seconds) + microseconds / 1e6,
        protocol=int.from_bytes(chunks.get(_KIND, b"\x01")),
        node_id=int.from_bytes(chunks.get(_NODE_ID, b"")),
        auth_key=chunks.get(_AUTH_KEY),
        correlation_id=chunks.get(_CORRELATION, b""),
    )


def _addresses_3(chunks: dict[int, bytes]) -> tuple[bytes, bytes]:
    """Both addresses by the family; without a family by what is there."""
    family = chunks.get(_FAMILY)
    v4 = chunks.get(_SOURCE_V4), chunks.get(_DESTINATION_V4)
    v6 = chunks.get(_SOURCE_V6), chunks.get(_DESTINATION_V6)
    if family is None:
        pairs = [v4, v6]
    elif family[0] == _FAMILY_V4:
        pairs = [v4]
    elif family[0] in _FAMILIES_V6:
        pairs = [v6]
    else:
        raise HepError("family")
    for source, destination in pairs:
        if source is not None and destination is not None:
            return source, destination
    raise HepError("no_address")


def _payload_3(chunks: dict[int, bytes]) -> bytes:
    payload = chunks.get(_PAYLOAD)
    if payload is not None:
        return payload
    compressed = chunks.get(_COMPRESSED)
    if compressed is None:
        raise HepError("no_payload")
    # zlib as captagent writes it, or gzip: 32 lets zlib find out.
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        payload = inflater.decompress(compressed, _MAX_INFLATED)
    except zlib.error:
        raise HepError("compressed") from None
    if not inflater.eof:
        raise HepError("compressed")
    return payload


def encode(packet: HepPacket) -> bytes:
    """A version 3 packet; raises `HepError` ("length") where it would be longer than 65,535."""
    source, destination = packet.source[0], packet.destination[0]
    is_v4 = len(source) == 4
    number = _PROTOCOL_NUMBERS.get(packet.transport)
    if number is None:
        number = int(packet.transport.removeprefix("IP-"))
    chunks = [
        _chunk(_FAMILY, bytes((_FAMILY_V4 if is_v4 else 10,))),
        _chunk(_TRANSPORT, bytes((number,))),
        _chunk(_SOURCE_V4 if is_v4 else _SOURCE_V6, source),
        _chunk(_DESTINATION_V4 if is_v4 else _DESTINATION_V6, destination),
        _chunk(_SOURCE_PORT, packet.source[1].to_bytes(2)),
        _chunk(_DESTINATION_PORT, packet.destination[1].to_bytes(2)),
        _chunk(_KIND, bytes((packet.protocol,))),
        _chunk(_NODE_ID, packet.node_id.to_bytes(4)),
    ]
    if packet.time is not None:
        seconds, microseconds = divmod(round(packet.time * 1_000_000), 1_000_000)
        chunks.append(_chunk(_SECONDS, (seconds & 0xFFFFFFFF).to_bytes(4)))
        chunks.append(_chunk(_MICROSECONDS, microseconds.to_bytes(4)))
    if packet.auth_key is not None:
        chunks.append(_chunk(_AUTH_KEY, packet.auth_key))
    if packet.correlation_id:
        chunks.append(_chunk(_CORRELATION, packet.correlation_id))
    chunks.append(_chunk(_PAYLOAD, packet.payload))
    body = b"".join(chunks)
    if len(body) + 6 > MAX_SIZE:
        raise HepError("length")
    return b"HEP3" + (len(body) + 6).to_bytes(2) + body


def _chunk(kind: int, content: bytes) -> bytes:
    if len(content) + 6 > MAX_SIZE:
        raise HepError("length")
    return b"\0\0" + kind.to_bytes(2) + (len(content) + 6).to_bytes(2) + content


# Versions 1 and 2 ------------------------------------------------------------------------------

#: Latest second that a sender of version 2 may plausibly name, in either byte order (year 2100).
_LAST_SECOND = 4_102_444_800


class _Header(NamedTuple):
    version: int
    length: int
    family: int
    protocol: int
    source_port: int
    destination_port: int


def _decode_1_2(data: bytes) -> HepPacket:
    """Versions 1 and 2: a fixed header, the addresses, in version 2 time and capture id."""
    if len(data) < 8:
        raise HepError("cut")
    source_port, destination_port = int.from_bytes(data[4:6]), int.from_bytes(data[6:8])
    header = _Header(data[0], data[1], data[2], data[3], source_port, destination_port)
    if header.family == _FAMILY_V4:
        size = 4
    elif header.family in _FAMILIES_V6:
        size = 16
    else:
        raise HepError("not_hep")
    # The length counts header and addresses; senders differ in whether it counts the time too.
    fixed = 8 + 2 * size
    if header.length not in (fixed, fixed + 12):
        raise HepError("not_hep")
    start = fixed + (12 if header.version == 2 else 0)
    if len(data) < start:
        raise HepError("cut")
    time, node_id = _time_and_node(data[fixed:start]) if header.version == 2 else (None, 0)
    return HepPacket(
        version=header.version,
        source=(data[8 : 8 + size], header.source_port),
        destination=(data[8 + size : fixed], header.destination_port),
        transport=_TRANSPORTS.get(header.protocol) or f"IP-{header.protocol}",
        payload=data[start:],
        time=time,
        node_id=node_id,
    )


def _time_and_node(data: bytes) -> tuple[float, int]:
    """Seconds, microseconds, capture id and two bytes of padding, in the sender's byte order."""
    # The microseconds decide: below a million in one order, and almost never in the other.
    little = int.from_bytes(data[4:8], "little")
    order = "little" if little < 1_000_000 else "big"
    seconds = int.from_bytes(data[0:4], order)  # type: ignore[arg-type]
    microseconds = int.from_bytes(data[4:8], order)  # type: ignore[arg-type]
    node_id = int.from_bytes(data[8:10], order)  # type: ignore[arg-type]
    if seconds > _LAST_SECOND or microseconds >= 1_000_000:
        raise HepError("not_hep")
    return seconds + microseconds / 1e6, node_id


# Streams ---------------------------------------------------------------------------------------


class HepStream:
    """Cuts a byte stream (TCP, TLS) into version 3 packets by their length field.

    Versions 1 and 2 do not say how long their payload is and so cannot travel on a stream.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def held_bytes(self) -> int:
        """Bytes of a packet that is not complete; never more than `MAX_SIZE` after `feed`."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Whole packets, each to be decoded.

        Raises `HepError` when something else is found; the stream is of no more use then.
        """
        buffer = self._buffer
        buffer += data
        packets: list[bytes] = []
        start = 0
        while len(buffer) - start >= 6:
            if buffer[start : start + 4] != b"HEP3":
                raise HepError("not_hep")
            length = buffer[start + 4] << 8 | buffer[start + 5]
            if length < 6:
                raise HepError("length")
            if len(buffer) - start < length:
                break
            packets.append(bytes(buffer[start : start + length]))
            start += length
        del buffer[:start]
        return packets
