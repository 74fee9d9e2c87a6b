"""Carriers for the messages of a play: the same call as frames on all sorts of wires.

A carrier turns datagrams (IPv4 endpoints, UDP payloads) into frames of Ethernet, with nothing of
ours but the bytes of the specifications. The last frame of a message has the message's time.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from sipwatch.net.types import Datagram, Endpoint


class Frame(NamedTuple):
    time: float
    data: bytes


Carrier: TypeAlias = Callable[[Sequence[Datagram]], list[Frame]]
Wrap: TypeAlias = Callable[[bytes], bytes]

#: Seconds between the frames of one message.
_STEP = 2e-6

_MACS = b"\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01"
_OUTER_A, _OUTER_B = b"\xac\x10\x00\x01", b"\xac\x10\x00\x02"
_OUTER6_A, _OUTER6_B = b"\xfd" + bytes(14) + b"\x01", b"\xfd" + bytes(14) + b"\x02"


def ethernet(payload: bytes, ethertype: int = 0x0800) -> bytes:
    return _MACS + struct.pack("!H", ethertype) + payload


def ipv4(
    payload: bytes,
    protocol: int,
    source: bytes = _OUTER_A,
    destination: bytes = _OUTER_B,
    ident: int = 0,
    fragment: int = 0,
) -> bytes:
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), ident, fragment, 64, protocol)
    return head + b"\0\0" + source + destination + payload


def ipv6(payload: bytes, protocol: int) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    return head + _OUTER6_A + _OUTER6_B + payload


def udp(payload: bytes, source: int, destination: int, check: int = 0) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), check) + payload


def inner_packet(one: Datagram) -> bytes:
    """IPv4 and UDP as the play's packet says, identification and checksum with it."""
    check = one.udp_check & 0xFFFF if one.udp_check >= 0 else 0
    datagram = udp(one.payload, one.source[1], one.destination[1], check)
    ident = max(one.ip_id, 0)
    return ipv4(datagram, 17, one.source[0], one.destination[0], ident)


def tunnel(wrap: Wrap) -> Carrier:
    """One frame a message, its packet wrapped."""
    return lambda batch: [Frame(one.time, wrap(inner_packet(one))) for one in batch]


# Tunnels -----------------------------------------------------------------------------------------


def _in_udp(port: int, header: bytes, *, frame: bool = False) -> Wrap:
    def wrap(packet: bytes) -> bytes:
        inner = ethernet(packet) if frame else packet
        return ethernet(ipv4(udp(header + inner, port, port), 17))

    return wrap


def _in_ip(protocol: int, header: bytes, *, frame: bool = False) -> Wrap:
    return lambda packet: ethernet(ipv4(header + (ethernet(packet) if frame else packet), protocol))


def _gtp(packet: bytes) -> bytes:
    header = struct.pack("!BBHI", 0x34, 255, len(packet) + 8, 7) + b"\0\0\0\x85\x01\x10\x01\0"
    return ethernet(ipv4(udp(header + packet, 2152, 2152), 17))


def _esp(packet: bytes) -> bytes:
    """Transport mode: what follows the IP header moves into the ESP payload."""
    trailer = b"\x01\x02\x02\x11" + b"\xcc" * 12
    esp = struct.pack("!II", 0xA71A, 1) + packet[20:] + trailer
    ident = int.from_bytes(packet[4:6])
    return ethernet(ipv4(esp, 50, packet[12:16], packet[16:20], ident))


def _pppoe(packet: bytes) -> bytes:
    head = struct.pack("!BBHHH", 0x11, 0, 3, len(packet) + 2, 0x0021)
    return ethernet(head + packet, 0x8864)


# Fragments ---------------------------------------------------------------------------------------


def fragments(batch: Sequence[Datagram]) -> list[Frame]:
    """IPv4 fragments of 240 bytes, backwards."""
    frames = []
    for number, one in enumerate(batch, 1):
        packet = inner_packet(one)
        payload, ident = packet[20:], max(one.ip_id, 0) or number
        starts = range(0, len(payload), 240)
        for index, at in enumerate(reversed(starts)):
            more = 0x2000 if at + 240 < len(payload) else 0
            part = ipv4(
                payload[at : at + 240], 17, packet[12:16], packet[16:20], ident, more | at // 8
            )
            frames.append(Frame(one.time - (len(starts) - 1 - index) * _STEP, ethernet(part)))
    return frames


def fragments_of_ipv6(batch: Sequence[Datagram]) -> list[Frame]:
    """Fragments of an IPv6 tunnel that carries the packet, each twice."""
    frames = []
    for number, one in enumerate(batch, 1):
        payload = inner_packet(one)
        starts = range(0, len(payload), 200)
        for index, at in enumerate(starts):
            more = at + 200 < len(payload)
            head = struct.pack("!BBHI", 4, 0, at | more, number)
            part = ethernet(ipv6(head + payload[at : at + 200], 44), 0x86DD)
            when = one.time - (len(starts) - 1 - index) * 2 * _STEP
            frames += [Frame(when - _STEP, part)] if index + 1 < len(starts) else []
            frames.append(Frame(when, part))
    return frames


# Streams -----------------------------------------------------------------------------------------


class _Connections:
    """TCP between pairs of endpoints; which one opened is who spoke first."""

    def __init__(self) -> None:
        self._positions: dict[tuple[Endpoint, Endpoint], int] = {}

    def is_new(self, source: Endpoint, destination: Endpoint) -> bool:
        return (source, destination) not in self._positions

    def open(self, time: float, source: Endpoint, destination: Endpoint) -> list[Frame]:
        frames = []
        for step, (a, b) in enumerate(((source, destination), (destination, source))):
            self._positions[a, b] = 0xFFFFFF00 + step  # numbers wrap soon
            frames.append(Frame(time - (9 - step) * _STEP, self._segment(a, b, b"", 0x02)))
        return frames

    def send(self, source: Endpoint, destination: Endpoint, data: bytes) -> bytes:
        return self._segment(source, destination, data, 0x18)

    def _segment(self, source: Endpoint, destination: Endpoint, data: bytes, flags: int) -> bytes:
        seq = self._positions[source, destination]
        self._positions[source, destination] = seq + (len(data) or 1)
        ports = struct.pack("!HH", source[1], destination[1])
        head = ports + struct.pack("!IIBBHHH", seq % 2**32, 0, 0x50, flags, 9000, 0, 0)
        return ethernet(ipv4(head + data, 6, source[0], destination[0]))


def tcp(batch: Sequence[Datagram]) -> list[Frame]:
    """One segment a message."""
    connections, frames = _Connections(), []
    for one in batch:
        if connections.is_new(one.source, one.destination):
            frames += connections.open(one.time, one.source, one.destination)
        frames.append(Frame(one.time, connections.send(one.source, one.destination, one.payload)))
    return frames


def tcp_in_disorder(batch: Sequence[Datagram]) -> list[Frame]:
    """Segments of 150 bytes in any order, some of them twice."""
    connections, frames, dice = _Connections(), [], random.Random(7)
    for one in batch:
        if connections.is_new(one.source, one.destination):
            frames += connections.open(one.time - 50 * _STEP, one.source, one.destination)
        starts = range(0, len(one.payload), 150)
        parts = [
            connections.send(one.source, one.destination, one.payload[at : at + 150])
            for at in starts
        ]
        dice.shuffle(parts)
        parts.insert(0, parts[-1])
        parts.insert(0, parts.pop())
        frames += [
            Frame(one.time - (len(parts) - 1 - index) * _STEP, part)
            for index, part in enumerate(parts)
        ]
    return frames


_ASK = (
    b"GET / HTTP/1.1\r\nHost: pbx\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)
_ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def websocket(batch: Sequence[Datagram]) -> list[Frame]:
    """Two frames a message with a ping between them, masked by the side that opened."""
    connections, frames = _Connections(), []
    clients: set[tuple[Endpoint, Endpoint]] = set()
    for one in batch:
        ends = one.source, one.destination
        if connections.is_new(*ends):
            frames += connections.open(one.time - 20 * _STEP, *ends)
            clients.add(ends)
            back = one.destination, one.source
            frames.append(Frame(one.time - 4 * _STEP, connections.send(*ends, _ASK)))
            frames.append(Frame(one.time - 3 * _STEP, connections.send(*back, _ANSWER)))
        key = b"\x11\x22\x33\x44" if ends in clients else b""
        half = len(one.payload) // 2
        data = _ws_frame(one.payload[:half], 0x01, key) + _ws_frame(b"ping", 0x89, key)
        frames.append(Frame(one.time - _STEP, connections.send(*ends, data)))
        rest = _ws_frame(one.payload[half:], 0x80, key)
        frames.append(Frame(one.time, connections.send(*ends, rest)))
    return frames


def _ws_frame(data: bytes, first: int, key: bytes) -> bytes:
    mask = 0x80 if key else 0
    if len(data) < 126:
        head = bytes((first, mask | len(data)))
    else:
        head = bytes((first, mask | 126)) + struct.pack("!H", len(data))
    return (
        head
        + key
        + bytes(byte ^ key[index % 4] if key else byte for index, byte in enumerate(data))
    )


def sctp(batch: Sequence[Datagram]) -> list[Frame]:
    """Three DATA chunks a message, the last one first."""
    frames = []
    for number, one in enumerate(batch):
        third = len(one.payload) // 3 + 1
        parts = [one.payload[at : at + third] for at in range(0, len(one.payload), third)]
        chunks = []
        for index, part in enumerate(parts):
            flags = (2 if index == 0 else 0) | (1 if index + 1 == len(parts) else 0)
            head = struct.pack("!BBHIHHI", 0, flags, 16 + len(part), number * 8 + index, 0, 0, 0)
            chunks.append(head + part + bytes(-len(part) % 4))
        tag = hash((one.source, one.destination)) & 0xFFFFFFFF
        common = struct.pack("!HHII", one.source[1], one.destination[1], tag, 0)
        packets = [common + chunks[-1], common + b"".join(chunks[:-1])]
        for index, packet in enumerate(packets):
            whole = ipv4(packet, 132, one.source[0], one.destination[0])
            frames.append(Frame(one.time - (1 - index) * _STEP, ethernet(whole)))
    return frames


# Mirrors -----------------------------------------------------------------------------------------


def hep_3(batch: Sequence[Datagram]) -> list[Frame]:
    frames = []
    for one in batch:
        chunks = [
            (1, b"\x02"),
            (2, b"\x11"),
            (3, one.source[0]),
            (4, one.destination[0]),
            (7, struct.pack("!H", one.source[1])),
            (8, struct.pack("!H", one.destination[1])),
            (11, b"\x01"),
            (15, one.payload),
        ]
        body = b"".join(struct.pack("!HHH", 0, kind, 6 + len(d)) + d for kind, d in chunks)
        packet = b"HEP3" + struct.pack("!H", 6 + len(body)) + body
        frames.append(Frame(one.time, ethernet(ipv4(udp(packet, 40000, 9060), 17))))
    return frames


def hep_2(batch: Sequence[Datagram]) -> list[Frame]:
    frames = []
    for one in batch:
        head = struct.pack("!BBBBHH", 2, 16, 2, 17, one.source[1], one.destination[1])
        times = struct.pack("<IIHxx", int(one.time), 0, 7)
        packet = head + one.source[0] + one.destination[0] + times + one.payload
        frames.append(Frame(one.time, ethernet(ipv4(udp(packet, 40000, 9060), 17))))
    return frames


_ERSPAN_2 = struct.pack("!HHI", 0x1000, 0x88BE, 1) + b"\x10\x05\x00\x07\x00\x00\x00\x00"
_ERSPAN_3 = struct.pack("!HHI", 0x1000, 0x22EB, 1) + b"\x20\x05\x00\x07" + bytes(8)
_VXLAN = b"\x08\x00\x00\x00\x00\x00\x05\x00"

CARRIERS: dict[str, Carrier] = {
    "UDP": tunnel(ethernet),
    "VLAN in VLAN": tunnel(
        lambda packet: ethernet(b"\x00\x07\x81\x00\x00\x08\x08\x00" + packet, 0x88A8)
    ),
    "IPv4 fragments": fragments,
    "IPv6 fragments of a tunnel": fragments_of_ipv6,
    "TCP": tcp,
    "TCP in disorder": tcp_in_disorder,
    "WebSocket": websocket,
    "SCTP": sctp,
    "MPLS": tunnel(lambda packet: ethernet(b"\x00\x01\x01\x40" + packet, 0x8847)),
    "PPPoE": tunnel(_pppoe),
    "IP in IP": tunnel(_in_ip(4, b"")),
    "IPv4 in IPv6": tunnel(lambda packet: ethernet(ipv6(packet, 4), 0x86DD)),
    "GRE": tunnel(_in_ip(47, b"\xb0\x00\x08\x00" + bytes(12))),
    "ERSPAN I": tunnel(_in_ip(47, b"\x00\x00\x88\xbe", frame=True)),
    "ERSPAN II": tunnel(_in_ip(47, _ERSPAN_2, frame=True)),
    "ERSPAN III": tunnel(_in_ip(47, _ERSPAN_3, frame=True)),
    "EtherIP": tunnel(_in_ip(97, b"\x30\x00", frame=True)),
    "ESP": tunnel(_esp),
    "L2TPv3": tunnel(_in_ip(115, b"\x00\x00\x00\x09" + b"cookie..", frame=True)),
    "L2TP": tunnel(_in_udp(1701, b"\x00\x02\x00\x01\x00\x02\xff\x03\x00\x21")),
    "VXLAN": tunnel(_in_udp(4789, _VXLAN, frame=True)),
    "Geneve": tunnel(_in_udp(6081, b"\x01\x00\x65\x58\x00\x00\x05\x00" + bytes(4), frame=True)),
    "GTP-U": tunnel(_gtp),
    "TZSP": tunnel(_in_udp(37008, b"\x01\x00\x00\x01\x00\x0a\x01\x05\x01", frame=True)),
    "VXLAN in GRE in MPLS": tunnel(
        lambda packet: ethernet(
            b"\x00\x01\x01\x40"
            + ipv4(b"\x00\x00\x08\x00" + _in_udp(4789, _VXLAN, frame=True)(packet)[14:], 47),
            0x8847,
        )
    ),
    "HEP version 3": hep_3,
    "HEP version 2": hep_2,
}
