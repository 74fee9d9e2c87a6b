"""Link layers: where the network header begins, with scapy as the other opinion."""

from __future__ import annotations

import struct

import pytest
from scapy.config import conf
from scapy.layers.dot11 import Dot11, RadioTap
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, LLC, SNAP, STP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3
from scapy.layers.l2 import Ether as Ethernet
from scapy.layers.ppp import PPP
from scapy.packet import Packet, Raw

from sipwatch.net.linktypes import IPV4, IPV6, LINKS, NOT_IP, name
from sipwatch.net.packet import Malformed

# Given, or scapy would ask the network for them.
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
PACKET4 = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=5060, dport=5060) / Raw(b"x" * 30)
PACKET6 = IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=5060, dport=5060) / Raw(b"x" * 30)


def wire(packet: Packet) -> bytes:
    return bytes(packet)


@pytest.mark.parametrize("packet", [PACKET4, PACKET6])
@pytest.mark.parametrize(
    ("linktype", "header"),
    [
        (1, Ethernet(**MACS)),
        (1, Ethernet(**MACS) / Dot1Q(vlan=7)),
        (1, Ethernet(**MACS) / Dot1Q(vlan=7) / Dot1Q(vlan=8)),
        (1, Ethernet(**MACS) / Dot1AD(vlan=7) / Dot1Q(vlan=8)),
        (1, Ethernet(**MACS, type=0x9100) / Dot1Q(vlan=7)),
        (113, CookedLinux()),
        (113, CookedLinux() / Dot1Q(vlan=7)),
        (144, CookedLinux()),
        (276, CookedLinuxV2()),
        (276, CookedLinuxV2() / Dot1Q(vlan=7)),
    ],
)
def test_link_headers(linktype: int, header: Packet, packet: Packet) -> None:
    frame = wire(header / packet)
    ethertype, start = LINKS[linktype](frame)
    assert ethertype == (IPV4 if packet is PACKET4 else IPV6)
    assert frame[start:] == wire(packet)


@pytest.mark.parametrize("packet", [PACKET4, PACKET6])
@pytest.mark.parametrize("direction", [0, 1])
def test_a_byte_for_the_direction(direction: int, packet: Packet) -> None:
    protocol = 0x0021 if packet is PACKET4 else 0x0057
    frame = wire(conf.l2types[204](direction=direction) / PPP(proto=protocol) / packet)
    for linktype in (166, 204):
        ethertype, start = LINKS[linktype](frame)
        assert (ethertype, frame[start:]) == (*LINKS[9](frame[1:])[:1], frame[1:])
    code = 0x0800 if packet is PACKET4 else 0x86DD
    hdlc = b"\x0f\x00" + code.to_bytes(2) + wire(packet)
    ethertype, start = LINKS[205](bytes([direction]) + hdlc)
    assert (ethertype, start - 1) == LINKS[104](hdlc) == (code, 4)


def test_snap() -> None:
    frame = wire(Dot3(**MACS) / LLC() / SNAP(code=0x0800) / PACKET4)
    ethertype, start = LINKS[1](frame)
    assert (ethertype, frame[start:]) == (IPV4, wire(PACKET4))


def test_spanning_tree_and_arp_are_not_ip() -> None:
    assert LINKS[1](wire(Dot3(**MACS) / LLC() / STP()))[0] == NOT_IP
    assert LINKS[1](wire(Ethernet(**MACS) / ARP()))[0] == 0x0806


@pytest.mark.parametrize("linktype", [12, 14, 101])
def test_raw_ip_is_told_by_its_version(linktype: int) -> None:
    assert LINKS[linktype](wire(PACKET4)) == (IPV4, 0)
    assert LINKS[linktype](wire(PACKET6)) == (IPV6, 0)
    assert LINKS[linktype](b"\xf0" + bytes(40))[0] == NOT_IP


def test_link_types_of_one_version() -> None:
    assert LINKS[228](wire(PACKET4)) == (IPV4, 0)
    assert LINKS[229](wire(PACKET6)) == (IPV6, 0)


@pytest.mark.parametrize("linktype", [0, 108])
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("family", "ethertype"),
    [(2, IPV4), (10, IPV6), (24, IPV6), (28, IPV6), (30, IPV6), (7, NOT_IP)],
)
def test_null_header_in_either_byte_order(
    linktype: int, order: str, family: int, ethertype: int
) -> None:
    header = family.to_bytes(4, "little" if order == "little" else "big")
    assert LINKS[linktype](header + bytes(40)) == (ethertype, 4)


@pytest.mark.parametrize("extensions", [0, 1, 3])
def test_endace_records(extensions: int) -> None:
    kind = 2 | (0x80 if extensions else 0)
    header = bytes(8) + bytes([kind]) + bytes(7)
    for left in range(extensions, 0, -1):
        header += bytes([0x80 if left > 1 else 0]) + bytes(7)
    frame = header + bytes(2) + wire(Ethernet(**MACS) / PACKET4)
    ethertype, start = LINKS[197](frame)
    assert (ethertype, frame[start:]) == (IPV4, wire(PACKET4))


def behind_ppp(header: bytes) -> bytes:
    return header + wire(PACKET4)


@pytest.mark.parametrize(
    ("linktype", "frame", "ethertype", "offset"),
    [
        (9, behind_ppp(b"\x00\x21"), 0x880B, 0),
        (50, behind_ppp(b"\xff\x03\x00\x21"), 0x880B, 0),
        (51, behind_ppp(b"\x11\x00\x00\x01\x00\x3c\x00\x21"), 0x8864, 0),
        (104, b"\x0f\x00\x08\x00" + wire(PACKET4), IPV4, 4),
        (117, bytes([61, 2]) + bytes(62) + wire(PACKET4), IPV4, 64),
        (117, bytes([61, 24]) + bytes(62) + wire(PACKET6), IPV6, 64),
        (219, b"\x00\x01\x01\x40" + wire(PACKET4), 0x8847, 0),
        (240, bytes(4) + wire(Ethernet(**MACS) / PACKET4), IPV4, 18),
        (274, b"\x55" * 7 + b"\xd5" + wire(Ethernet(**MACS) / PACKET4), IPV4, 22),
    ],
)
def test_rarer_link_types(linktype: int, frame: bytes, ethertype: int, offset: int) -> None:
    assert LINKS[linktype](frame) == (ethertype, offset)


def attribute(kind: int, value: bytes, order: str) -> bytes:
    return struct.pack(order + "HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("family", "packet"), [(2, PACKET4), (10, PACKET6)])
def test_netfilter_logs(order: str, family: int, packet: Packet) -> None:
    frame = bytes([family, 0, 0, 5]) + attribute(1, b"\x08\0\0\0", order)
    frame += attribute(10, b"prefix\0", order) + attribute(9, wire(packet), order)
    ethertype, start = LINKS[239](frame)
    assert ethertype == (IPV4 if family == 2 else IPV6)
    assert frame[start : start + len(packet)] == wire(packet)


def test_netfilter_logs_without_a_packet() -> None:
    assert LINKS[239](bytes([2, 0, 0, 5]) + attribute(10, b"prefix", "<"))[0] == NOT_IP
    assert LINKS[239](bytes([2, 0, 0, 5]) + bytes(40))[0] == NOT_IP


def pktap(linktype: int, frame: bytes, length: int = 108) -> bytes:
    return struct.pack("<III", length, 1, linktype).ljust(length, b"\0") + frame


def test_pktap_names_the_link_type_behind_it() -> None:
    frame = pktap(1, wire(Ethernet(**MACS) / PACKET6))
    assert LINKS[258](frame) == (IPV6, 108 + 14)
    frame = pktap(101, wire(PACKET4))
    assert LINKS[258](frame) == (IPV4, 108)


@pytest.mark.parametrize("frame", [pktap(258, bytes(200)), pktap(7777, bytes(99)), bytes(50)])
def test_pktap_that_makes_no_sense(frame: bytes) -> None:
    assert LINKS[258](frame)[0] == NOT_IP


def wireless(protected: bool = False) -> Packet:
    addresses = {f"addr{n}": f"02:00:00:00:00:0{n}" for n in (1, 2, 3)}
    flags = 0x41 if protected else 0x01
    return Dot11(type=2, subtype=0, FCfield=flags, **addresses)


@pytest.mark.parametrize("packet", [PACKET4, PACKET6])
@pytest.mark.parametrize(("linktype", "header"), [(105, b""), (127, bytes(RadioTap()))])
def test_wireless_frames(linktype: int, header: bytes, packet: Packet) -> None:
    code = 0x0800 if packet is PACKET4 else 0x86DD
    frame = header + wire(wireless() / LLC() / SNAP(code=code) / packet)
    ethertype, start = LINKS[linktype](frame)
    assert ethertype == (IPV4 if packet is PACKET4 else IPV6)
    assert frame[start:] == wire(packet)


def test_wireless_frames_without_ip() -> None:
    assert LINKS[105](wire(Dot11(type=0, subtype=8) / Raw(bytes(40))))[0] == NOT_IP
    with pytest.raises(Malformed, match="encrypted"):
        LINKS[105](wire(wireless(protected=True) / Raw(bytes(60))))


def test_names_for_people() -> None:
    assert name(1) == "Ethernet"
    assert name(9999) == "link type 9999"


@pytest.mark.parametrize("linktype", [105, 119, 127, 192])
@pytest.mark.parametrize("first", range(256))
def test_wireless_frames_of_any_type(linktype: int, first: int) -> None:
    """The names of the flags depend on the type; nothing raises but what says malformed."""
    header = bytes(RadioTap()) if linktype == 127 else b""
    try:
        assert LINKS[linktype](header + bytes([first, 0x41]) + bytes(60))[0] == NOT_IP
    except Malformed:
        pass
