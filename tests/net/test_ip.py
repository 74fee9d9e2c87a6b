"""IP headers, as scapy builds them."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, IPOption_RR
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.packet import Packet, Raw

from sipwatch.net.ip import parse
from sipwatch.net.packet import Malformed

DATAGRAM = UDP(sport=5060, dport=5070) / Raw(b"payload")
V4 = {"src": "192.0.2.1", "dst": "198.51.100.2"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8::2"}


@pytest.mark.parametrize(
    "header",
    [
        IP(**V4, id=0xBEEF, tos=0xB8),
        IP(**V4, id=0xBEEF, options=[IPOption_RR(routers=["192.0.2.9"] * 3)]),
        IPv6(**V6),
        IPv6(**V6, tc=0xB8, fl=77),
        IPv6(**V6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(),
        IPv6(**V6) / IPv6ExtHdrRouting(addresses=["2001:db8::9"]),
        IPv6(**V6) / AH(nh=17, spi=1, seq=2, icv=bytes(12), payloadlen=4),
        # An atomic fragment (RFC 6946) is no fragment.
        IPv6(**V6) / IPv6ExtHdrFragment(offset=0, m=0, id=5) / IPv6ExtHdrDestOpt(),
    ],
)
def test_the_payload_is_found_behind_all_headers(header: Packet) -> None:
    packet = bytes(header / DATAGRAM)
    before = b"link"
    padding = bytes(6)
    data = before + packet + padding
    found = parse(data, len(before), len(data))
    assert found.protocol == 17
    assert (found.missing, found.is_fragment) == (0, False)
    assert data[found.start : found.end][8:] == b"payload"
    assert str(ip_address(found.source)) == header.src
    assert str(ip_address(found.destination)) == header.dst
    if header.version == 4:
        assert found.ident == 0xBEEF


def test_fragments_of_ipv4() -> None:
    packet = bytes(IP(**V4, id=9, flags="MF", frag=3, proto=17) / Raw(b"x" * 16))
    found = parse(packet, 0, len(packet))
    assert found.is_fragment
    assert (found.fragment_offset, found.more_fragments, found.ident) == (24, True, 9)


@pytest.mark.parametrize(("offset", "more"), [(0, True), (3, True), (3, False)])
def test_fragments_of_ipv6_end_the_chain(offset: int, more: bool) -> None:
    # 60, destination options, is in the first fragment; elsewhere these are any bytes.
    packet = bytes(
        IPv6(**V6)
        / IPv6ExtHdrFragment(offset=offset, m=int(more), id=0x12345678, nh=60)
        / Raw(b"\x11\xff" + b"x" * 14)
    )
    found = parse(packet, 0, len(packet))
    assert found.is_fragment
    assert (found.fragment_offset, found.more_fragments) == (offset * 8, more)
    assert (found.ident, found.protocol, found.end - found.start) == (0x12345678, 60, 16)


def test_a_packet_cut_by_the_snap_length_says_how_much_is_missing() -> None:
    packet = bytes(IP(**V4) / DATAGRAM)
    found = parse(packet, 0, len(packet) - 3)
    assert (found.end, found.missing) == (len(packet) - 3, 3)
    packet = bytes(IPv6(**V6) / DATAGRAM)
    found = parse(packet, 0, len(packet) - 3)
    assert (found.end, found.missing) == (len(packet) - 3, 3)


def test_length_zero_is_what_the_card_will_fill_in() -> None:
    packet = bytearray(bytes(IP(**V4) / DATAGRAM))
    packet[2:4] = b"\0\0"
    assert parse(bytes(packet), 0, len(packet)).end == len(packet)
    packet = bytearray(bytes(IPv6(**V6) / DATAGRAM))
    packet[4:6] = b"\0\0"
    assert parse(bytes(packet), 0, len(packet)).end == len(packet)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((0, 0x35), "version"),
        ((0, 0x44), "header length"),
        ((3, 19), "header length"),
    ],
)
def test_headers_that_make_no_sense(change: tuple[int, int], reason: str) -> None:
    packet = bytearray(bytes(IP(**V4) / DATAGRAM))
    packet[change[0]] = change[1]
    with pytest.raises(Malformed, match=reason):
        parse(bytes(packet), 0, len(packet))


def test_extension_headers_longer_than_the_packet() -> None:
    packet = bytearray(bytes(IPv6(**V6) / IPv6ExtHdrDestOpt() / DATAGRAM))
    packet[41] = 200
    with pytest.raises(Malformed, match="extension header length"):
        parse(bytes(packet), 0, len(packet))


@given(st.binary(max_size=120), st.integers(0, 20))
def test_any_bytes_give_a_header_or_a_known_error(data: bytes, start: int) -> None:
    try:
        found = parse(data, start, len(data))
    except (Malformed, struct.error, IndexError):
        return
    assert start < found.start
    assert found.end <= len(data)
    assert found.missing >= 0
