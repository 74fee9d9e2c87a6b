"""Link layers of capture files: from a frame to its network protocol and where that begins.

Numbers are those of the pcap link-type registry. Each function takes a frame and returns
``(ethertype, offset of the network header)``; it may raise ``struct.error`` or ``IndexError``
for a frame that is too short. Where a link layer has no ethertype, the one that stands for the
same protocol is returned, and :data:`NOT_IP` for what has no such number.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TypeAlias

IPV4 = 0x0800
IPV6 = 0x86DD
#: 802.1Q.
VLAN = 0x8100
#: 802.1Q, 802.1ad, and the numbers that switches used before 802.1ad.
VLAN_TAGS = frozenset({VLAN, 0x88A8, 0x9100, 0x9200, 0x9300})
#: No ethertype at all: spanning tree and other 802.2 frames.
NOT_IP = 0

NULL, ETHERNET, RAW, LOOP, LINUX_SLL, IPV4_ONLY, IPV6_ONLY, ERF, LINUX_SLL2 = (
    0,
    1,
    101,
    108,
    113,
    228,
    229,
    197,
    276,
)

Link: TypeAlias = Callable[[bytes], tuple[int, int]]

_short = Struct(">H").unpack_from
_long = Struct(">I").unpack_from

# Values below this are the length of an 802.3 frame.
_FIRST_ETHERTYPE = 0x0600
_SNAP = b"\xaa\xaa\x03\x00\x00\x00"

# Address families of the BSDs and macOS for IPv6, besides Linux' own (the null header).
_IPV4_FAMILY = 2
_IPV6_FAMILIES = frozenset({10, 24, 28, 30})

# ERF record types whose payload is Ethernet: plain and with the colours of DAG cards.
_ERF_ETHERNET = frozenset({2, 11, 16, 20})


def skip_tags(frame: bytes, ethertype: int, offset: int) -> tuple[int, int]:
    """Steps over VLAN tags, any number of them, and over an 802.2 SNAP header.

    ``offset`` is the first byte after ``ethertype``.
    """
    while ethertype in VLAN_TAGS:
        ethertype = _short(frame, offset + 2)[0]
        offset += 4
    if ethertype < _FIRST_ETHERTYPE:
        if frame[offset : offset + 6] == _SNAP:
            return _short(frame, offset + 6)[0], offset + 8
        return NOT_IP, offset
    return ethertype, offset


def ethernet(frame: bytes, start: int = 0) -> tuple[int, int]:
    """Ethernet II or 802.3 at ``start``."""
    return skip_tags(frame, _short(frame, start + 12)[0], start + 14)


def _linux_sll(frame: bytes) -> tuple[int, int]:
    return skip_tags(frame, _short(frame, 14)[0], 16)


def _linux_sll2(frame: bytes) -> tuple[int, int]:
    return skip_tags(frame, _short(frame, 0)[0], 20)


def raw_ip(frame: bytes, start: int = 0) -> tuple[int, int]:
    """An IP header of either version, told by its first four bits."""
    version = frame[start] >> 4
    return (IPV4 if version == 4 else IPV6 if version == 6 else NOT_IP), start


def _null(frame: bytes) -> tuple[int, int]:
    # The family is in the byte order of the host that captured, which nothing tells; families
    # are small, so the end that holds a value below 256 is the low one.
    family = _long(frame, 0)[0]
    if family > 0xFFFF:
        family = int.from_bytes(frame[:4], "little")
    if family == _IPV4_FAMILY:
        return IPV4, 4
    return (IPV6 if family in _IPV6_FAMILIES else NOT_IP), 4


def _ipv4_only(frame: bytes) -> tuple[int, int]:
    return IPV4, 0


def _ipv6_only(frame: bytes) -> tuple[int, int]:
    return IPV6, 0


def _erf(frame: bytes) -> tuple[int, int]:
    """Endace extensible record format: 16 bytes, extension headers of 8, 2 before Ethernet."""
    kind = frame[8]
    offset = 16
    more = kind & 0x80
    while more:
        more = frame[offset] & 0x80
        offset += 8
    if kind & 0x7F not in _ERF_ETHERNET:
        return NOT_IP, offset
    return ethernet(frame, offset + 2)


LINKS: dict[int, Link] = {
    NULL: _null,
    ETHERNET: ethernet,
    12: raw_ip,
    14: raw_ip,
    RAW: raw_ip,
    LOOP: _null,
    LINUX_SLL: _linux_sll,
    ERF: _erf,
    IPV4_ONLY: _ipv4_only,
    IPV6_ONLY: _ipv6_only,
    LINUX_SLL2: _linux_sll2,
}

#: Names for the reports.
LINK_NAMES: dict[int, str] = {
    NULL: "BSD null",
    ETHERNET: "Ethernet",
    6: "Token Ring",
    9: "PPP",
    12: "raw IP",
    14: "raw IP",
    50: "PPP in HDLC",
    51: "PPPoE",
    RAW: "raw IP",
    105: "802.11",
    LOOP: "OpenBSD loopback",
    LINUX_SLL: "Linux cooked",
    127: "802.11 with radiotap",
    ERF: "ERF",
    IPV4_ONLY: "IPv4",
    IPV6_ONLY: "IPv6",
    239: "NFLOG",
    252: "Wireshark exported PDU",
    LINUX_SLL2: "Linux cooked v2",
}


def name(linktype: int) -> str:
    """What people call a link type."""
    return LINK_NAMES.get(linktype, f"link type {linktype}")
