"""Recorded captures as values that can be rewritten: packets, SIP messages, what is true of them.

Read and written without the program under test. UDP and ICMP over IPv4 come in, over IPv4 and IPv6
they go out, on several link types; captures with TCP are left to other tests.
"""

from __future__ import annotations

import copy
import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

_UDP, _TCP, _ICMP, _ICMPV6 = 17, 6, 1, 58
#: Linux quotes so much of a packet that it cannot deliver.
_QUOTED_BYTES = 548
LINK_TYPES = {"ethernet": 1, "vlan": 1, "cooked": 276}


@dataclass(slots=True)
class Wire:
    """One packet; an ICMP unreachable has what it quotes and a code."""

    time: int  # microseconds
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes
    ip_id: int = 0
    code: int = -1
    quoted: Wire | None = None


@dataclass(slots=True)
class Text:
    """A SIP message as lines that can be changed."""

    start: str
    headers: list[list[str]]
    body: str

    @property
    def is_response(self) -> bool:
        return self.start.startswith("SIP/2.0")

    def values(self, *names: str) -> list[list[str]]:
        return [header for header in self.headers if header[0].lower() in names]

    def raw(self, separator: str = ": ") -> bytes:
        body = self.body.encode("utf-8", "surrogateescape")
        lines = [self.start]
        for name, value in self.headers:
            length = name.lower() in ("content-length", "l")
            lines.append(f"{name}{separator}{len(body) if length else value}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


@dataclass(slots=True)
class Recorded:
    """A capture with its truth. Transformations change copies."""

    name: str
    packets: list[Wire]
    attempts: list[dict[str, Any]]
    calls: list[dict[str, Any]]
    local: list[str]
    link: str = "ethernet"
    pieces: int = 1
    #: Call-IDs of before, by those of now.
    renamed: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Recorded:
        made = copy.copy(self)
        made.packets = [replace(packet) for packet in self.packets]
        at = {id(old): new for old, new in zip(self.packets, made.packets, strict=True)}
        for packet in made.packets:
            if packet.quoted is not None:
                packet.quoted = at.get(id(packet.quoted)) or replace(packet.quoted)
        made.attempts, made.calls = copy.deepcopy(self.attempts), copy.deepcopy(self.calls)
        made.local = list(self.local)
        return made

    def each(self, change: Callable[[Text, Wire], bytes | None]) -> Recorded:
        """A copy whose SIP messages were changed; what `change` returns is taken as it is."""
        made = self.copy()
        for packet in made.packets:
            text = parse(packet.payload) if packet.code < 0 else None
            if text is not None:
                packet.payload = change(text, packet) or text.raw()
        return made

    def sort(self) -> Recorded:
        self.packets.sort(key=lambda packet: packet.time)
        return self


def parse(payload: bytes) -> Text | None:
    head, _, body = payload.decode("utf-8", "surrogateescape").partition("\r\n\r\n")
    start, *lines = head.split("\r\n")
    if "SIP/2.0" not in start:
        return None
    return Text(start, [[p.strip() for p in line.split(":", 1)] for line in lines], body)


# --- reading ----------------------------------------------------------------------------------


def read(path: Path) -> list[Wire] | None:
    """The packets of a classic pcap over Ethernet; None when some are TCP."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    found: list[Wire] = []
    at = 24
    while at + 16 <= len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if frame[12:14] != b"\x08\x00":
            continue
        if frame[23] == _TCP:
            return None
        packet = _ip(frame[14:], seconds * 1_000_000 + micros)
        if packet is None:
            continue
        if packet.quoted is not None:
            packet.quoted = _same(found, packet.quoted)
        found.append(packet)
    return found


def _ip(data: bytes, time: int) -> Wire | None:
    size, total, ip_id = (data[0] & 15) * 4, *struct.unpack_from(">HH", data, 2)
    source, destination = (str(ip_address(data[at : at + 4])) for at in (12, 16))
    if data[9] == _UDP:
        ports = struct.unpack_from(">HHH", data, size)
        payload = data[size + 8 : size + ports[2]]
        return Wire(time, source, ports[0], destination, ports[1], payload, ip_id)
    if data[9] == _ICMP and data[size] == 3:
        quoted = _ip(data[size + 8 : total], time)
        return Wire(time, source, 0, destination, 0, b"", ip_id, data[size + 1], quoted)
    return None


def _same(packets: list[Wire], quoted: Wire) -> Wire:
    """The packet itself, where it was captured."""
    for packet in reversed(packets):
        ends = (packet.source, packet.destination, packet.ip_id)
        if packet.code < 0 and ends == (quoted.source, quoted.destination, quoted.ip_id):
            return packet
    return quoted


# --- writing ----------------------------------------------------------------------------------


def write(path: Path, packets: list[Wire], link: str) -> None:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, LINK_TYPES[link])
    parts = [head]
    for packet in packets:
        data = _packet(packet)
        frame = _link(packet, data[0] >> 4 == 6, link) + data
        seconds, micros = divmod(packet.time, 1_000_000)
        parts.append(struct.pack("<IIII", seconds, micros, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(parts))


def _link(packet: Wire, v6: bool, link: str) -> bytes:
    kind = b"\x86\xdd" if v6 else b"\x08\x00"
    ends = [b"\x02\x00" + ip_address(a).packed[-4:] for a in (packet.destination, packet.source)]
    if link == "cooked":  # LINUX_SLL2
        return kind + b"\0\0" + struct.pack(">IHBB", 2, 1, 0, 6) + ends[1] + b"\0\0"
    return b"".join(ends) + (b"\x81\x00\x00\x64" if link == "vlan" else b"") + kind


def _packet(packet: Wire) -> bytes:
    ends = ip_address(packet.source), ip_address(packet.destination)
    addresses = ends[0].packed + ends[1].packed
    v6 = ends[0].version == 6
    if packet.code < 0:
        protocol, length = _UDP, 8 + len(packet.payload)
        ports = struct.pack(">HHHH", packet.source_port, packet.destination_port, length, 0)
        body = ports + packet.payload
    else:
        protocol = _ICMPV6 if v6 else _ICMP
        kind, code = (1, {1: 3, 3: 4}.get(packet.code, 0)) if v6 else (3, packet.code)
        quote = b"" if packet.quoted is None else _packet(packet.quoted)[:_QUOTED_BYTES]
        body = struct.pack(">BBHI", kind, code, 0, 0) + quote
    pseudo = addresses + struct.pack(">II", len(body), protocol) if protocol != _ICMP else b""
    at = 6 if protocol == _UDP else 2
    check = _checksum(pseudo + body) or 0xFFFF
    body = body[:at] + struct.pack(">H", check) + body[at + 2 :]
    if v6:
        return struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + addresses + body
    head = struct.pack(
        ">BBHHHBBH", 0x45, 0, 20 + len(body), packet.ip_id, 0x4000, 64, protocol, 0
    )  # fmt: skip
    check = _checksum(head + addresses)
    return head[:10] + struct.pack(">H", check) + addresses + body


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
