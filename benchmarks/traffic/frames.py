"""Ethernet frames around UDP payloads, with valid checksums, and the pcap file they go to."""

from __future__ import annotations

import socket
import struct
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_ETHERTYPE_IPV4 = 0x0800
_UDP = 17
_TTL = 64
_DONT_FRAGMENT = 0x4000
_HEADERS = struct.Struct("!12sHBBHHHBBH4s4sHHHH")
_RECORD = struct.Struct("<IIII")
#: Magic of a little-endian pcap file with microseconds, version 2.4, Ethernet.
_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


class Endpoint(NamedTuple):
    ip: str
    port: int


class _Path(NamedTuple):
    """What is the same in every frame from one endpoint to another."""

    macs: bytes
    source: bytes
    destination: bytes
    #: Sums of the constant 16-bit words of the IP header and of the UDP pseudo header.
    ip_sum: int
    udp_sum: int


class Wire:
    """Puts payloads into frames; every host counts its own IP identification."""

    def __init__(self) -> None:
        self._paths: dict[tuple[Endpoint, Endpoint], _Path] = {}
        self._identification: defaultdict[bytes, int] = defaultdict(int)

    def frame(self, source: Endpoint, destination: Endpoint, payload: bytes) -> bytes:
        path = self._paths.get((source, destination))
        if path is None:
            path = self._paths[source, destination] = _path(source, destination)
        udp_length = 8 + len(payload)
        total = 20 + udp_length
        identification = self._identification[path.source] = (
            self._identification[path.source] + 1
        ) & 0xFFFF
        return (
            _HEADERS.pack(
                path.macs,
                _ETHERTYPE_IPV4,
                0x45,
                0,
                total,
                identification,
                _DONT_FRAGMENT,
                _TTL,
                _UDP,
                _complement(path.ip_sum + total + identification),
                path.source,
                path.destination,
                source.port,
                destination.port,
                udp_length,
                # RFC 768: a computed zero is sent as all ones.
                _complement(path.udp_sum + 2 * udp_length + _words(payload)) or 0xFFFF,
            )
            + payload
        )


def without_udp_checksum(frame: bytes) -> bytes:
    """The frame with its UDP checksum left out (RFC 768), so that its payload may be patched."""
    return frame[:40] + b"\0\0" + frame[42:]


class PcapWriter:
    """Writes frames to a pcap file in blocks."""

    _BLOCK = 1 << 20

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._buffer = bytearray(_FILE_HEADER)

    def write(self, time: float, frame: bytes) -> None:
        """``time`` in epoch seconds, kept to the microsecond."""
        seconds, micros = divmod(round(time * 1e6), 1_000_000)
        length = len(frame)
        self._buffer += _RECORD.pack(seconds, micros, length, length)
        self._buffer += frame
        if len(self._buffer) >= self._BLOCK:
            self._flush()

    def _flush(self) -> None:
        self._file.write(self._buffer)
        self._buffer.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        self._file.close()


def _path(source: Endpoint, destination: Endpoint) -> _Path:
    first, second = socket.inet_aton(source.ip), socket.inet_aton(destination.ip)
    addresses = _words(first) + _words(second)
    constant = 0x4500 + _DONT_FRAGMENT + (_TTL << 8 | _UDP)
    return _Path(
        # Locally administered addresses made of the IP address, as container networks do.
        macs=b"\x02\x42" + second + b"\x02\x42" + first,
        source=first,
        destination=second,
        ip_sum=constant + addresses,
        udp_sum=_UDP + addresses + source.port + destination.port,
    )


def _words(data: bytes) -> int:
    """Sum of the 16-bit words of ``data``, modulo 65535 (RFC 1071: 65536 is congruent to 1)."""
    if len(data) & 1:
        data += b"\0"
    return int.from_bytes(data, "big") % 0xFFFF


def _complement(total: int) -> int:
    return (0xFFFF - total % 0xFFFF) % 0xFFFF
