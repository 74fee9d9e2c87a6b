"""Link layers: where the network header begins, with scapy as the other opinion."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, LLC, SNAP, STP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3
from scapy.layers.l2 import Ether as Ethernet
from scapy.packet import Packet, Raw

from sipwatch.net.linktypes import IPV4, IPV6, LINKS, NOT_IP, name

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
        (276, CookedLinuxV2()),
        (276, CookedLinuxV2() / Dot1Q(vlan=7)),
    ],
)
def test_link_headers(linktype: int, header: Packet, packet: Packet) -> None:
    frame = wire(header / packet)
    ethertype, start = LINKS[linktype](frame)
    assert ethertype == (IPV4 if packet is PACKET4 else IPV6)
    assert frame[start:] == wire(packet)


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


def test_names_for_people() -> None:
    assert name(1) == "Ethernet"
    assert name(9999) == "link type 9999"
