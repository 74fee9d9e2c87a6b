"""Capture files written packet by packet, for what no program at hand puts on the wire.

Ethernet, IPv4 and UDP with right checksums and lengths; each packet has an IP identification of
its own, but a copy of a packet (the other side of a NAT) keeps it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

_MAGIC, _ETHERNET = 0xA1B2C3D4, 1
_MACS = b"\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01"
EPOCH = 1_767_225_600  # 2026-01-01 00:00 UTC: written captures need no real clock


@dataclass(frozen=True)
class Packet:
    """One UDP datagram; ``source`` and ``destination`` are (address, port)."""

    time: float  # seconds from the beginning
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    identification: int | None = None


def write(path: Path, packets: Iterable[Packet]) -> None:
    """Write a microsecond pcap."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, 262144, _ETHERNET))
        for number, packet in enumerate(packets, 1):
            frame = _frame(packet, packet.identification or number)
            microseconds = round(packet.time * 1_000_000)
            seconds, rest = divmod(microseconds, 1_000_000)
            file.write(struct.pack("<IIII", EPOCH + seconds, rest, len(frame), len(frame)) + frame)


def _frame(packet: Packet, identification: int) -> bytes:
    source = IPv4Address(packet.source[0]).packed
    destination = IPv4Address(packet.destination[0]).packed
    length = 8 + len(packet.payload)
    ports = struct.pack("!HHH", packet.source[1], packet.destination[1], length)
    pseudo = source + destination + struct.pack("!BBH", 0, 17, length)
    checksum = _checksum(pseudo + ports + b"\0\0" + packet.payload) or 0xFFFF
    udp = ports + struct.pack("!H", checksum) + packet.payload
    begin = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, identification, 0x4000, 64, 17)
    ip = begin + struct.pack("!H", _checksum(begin + b"\0\0" + source + destination))
    return _MACS + b"\x08\x00" + ip + source + destination + udp


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
