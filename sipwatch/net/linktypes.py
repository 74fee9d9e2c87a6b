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

from sipwatch.net import wifi

IPV4 = 0x0800
IPV6 = 0x86DD
#: 802.1Q.
VLAN = 0x8100
#: 802.1Q, 802.1ad, and the numbers that switches used before 802.1ad.
VLAN_TAGS = frozenset({VLAN, 0x88A8, 0x9100, 0x9200, 0x9300})
#: No ethertype at all: spanning tree and other 802.2 frames.
NOT_IP = 0

NULL, ETHERNET, PPP, PPP_HDLC, PPPOE, RAW, CISCO_HDLC, LOOP = 0, 1, 9, 50, 51, 101, 104, 108
LINUX_SLL, PFLOG, ERF, MPLS, IPV4_ONLY, IPV6_ONLY, NFLOG = 113, 117, 197, 219, 228, 229, 239
NETANALYZER, EXPORTED_PDU, PKTAP, MPACKET, LINUX_SLL2 = 240, 252, 258, 274, 276
WIFI, WIFI_PRISM, WIFI_RADIOTAP, WIFI_PPI = 105, 119, 127, 192
LINUX_IRDA, LINUX_PPP, PPP_DIRECTED, HDLC_DIRECTED = 144, 166, 204, 205

#: Ethertypes that stand for a whole link layer where that is all there is.
_PPP_FRAME, _PPPOE_SESSION, _MPLS_UNICAST = 0x880B, 0x8864, 0x8847

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


def _netanalyzer(frame: bytes) -> tuple[int, int]:
    """Hilscher analysers put four bytes before Ethernet."""
    return ethernet(frame, 4)


def _mpacket(frame: bytes) -> tuple[int, int]:
    """Ethernet with its preamble (IEEE 802.3br)."""
    return ethernet(frame, 8)


def _ppp(frame: bytes) -> tuple[int, int]:
    return _PPP_FRAME, 0


def _ppp_directed(frame: bytes) -> tuple[int, int]:
    """PPP behind a byte that says in which direction it went."""
    return _PPP_FRAME, 1


def _hdlc_directed(frame: bytes) -> tuple[int, int]:
    return _short(frame, 3)[0], 5


def _pppoe(frame: bytes) -> tuple[int, int]:
    return _PPPOE_SESSION, 0


def _mpls(frame: bytes) -> tuple[int, int]:
    return _MPLS_UNICAST, 0


def _cisco_hdlc(frame: bytes) -> tuple[int, int]:
    return _short(frame, 2)[0], 4


def _pflog(frame: bytes) -> tuple[int, int]:
    """Log of the BSD packet filter: length of the header, without padding, and family."""
    family = frame[1]
    ethertype = IPV4 if family == _IPV4_FAMILY else IPV6 if family in _IPV6_FAMILIES else NOT_IP
    return ethertype, frame[0] + 3 & ~3


def _pktap(frame: bytes) -> tuple[int, int]:
    """What macOS captures on all interfaces: a header that names the link type behind it."""
    length = int.from_bytes(frame[0:4], "little")
    linktype = int.from_bytes(frame[8:12], "little")
    if length < 12 or length > len(frame) or linktype == PKTAP or linktype not in LINKS:
        return NOT_IP, 0
    ethertype, offset = LINKS[linktype](frame[length:])
    return ethertype, length + offset


# The attribute of a netfilter log that is the packet.
_NFLOG_PAYLOAD = 9


def _nflog(frame: bytes) -> tuple[int, int]:
    """Linux netfilter log: family, version, group; then attributes, padded to four bytes.

    Lengths and types of attributes are in the byte order of the host that captured.
    """
    family = frame[0]
    ethertype = IPV4 if family == _IPV4_FAMILY else IPV6 if family in _IPV6_FAMILIES else NOT_IP
    offset = 4
    while offset + 4 <= len(frame):
        length, kind = frame[offset] | frame[offset + 1] << 8, frame[offset + 2]
        if length > len(frame) - offset:
            length, kind = _short(frame, offset)[0], frame[offset + 3]
        if length < 4:
            break
        if kind == _NFLOG_PAYLOAD:
            return ethertype, offset + 4
        offset += length + 3 & ~3
    return NOT_IP, offset


LINKS: dict[int, Link] = {
    NULL: _null,
    ETHERNET: ethernet,
    PPP: _ppp,
    12: raw_ip,
    14: raw_ip,
    PPP_HDLC: _ppp,
    PPPOE: _pppoe,
    RAW: raw_ip,
    CISCO_HDLC: _cisco_hdlc,
    WIFI: wifi.link(WIFI),
    LOOP: _null,
    LINUX_SLL: _linux_sll,
    PFLOG: _pflog,
    WIFI_PRISM: wifi.link(WIFI_PRISM),
    WIFI_RADIOTAP: wifi.link(WIFI_RADIOTAP),
    WIFI_PPI: wifi.link(WIFI_PPI),
    # Infrared devices of Linux, whose header is that of cooked captures.
    LINUX_IRDA: _linux_sll,
    LINUX_PPP: _ppp_directed,
    PPP_DIRECTED: _ppp_directed,
    HDLC_DIRECTED: _hdlc_directed,
    ERF: _erf,
    MPLS: _mpls,
    IPV4_ONLY: _ipv4_only,
    IPV6_ONLY: _ipv6_only,
    NFLOG: _nflog,
    NETANALYZER: _netanalyzer,
    PKTAP: _pktap,
    MPACKET: _mpacket,
    LINUX_SLL2: _linux_sll2,
}

#: Names for the reports.
LINK_NAMES: dict[int, str] = {
    NULL: "BSD null",
    ETHERNET: "Ethernet",
    6: "Token Ring",
    PPP: "PPP",
    12: "raw IP",
    14: "raw IP",
    PPP_HDLC: "PPP in HDLC",
    PPPOE: "PPPoE",
    RAW: "raw IP",
    CISCO_HDLC: "Cisco HDLC",
    WIFI: "802.11",
    LOOP: "OpenBSD loopback",
    LINUX_SLL: "Linux cooked",
    PFLOG: "BSD packet filter log",
    WIFI_PRISM: "802.11 with Prism header",
    WIFI_RADIOTAP: "802.11 with radiotap",
    WIFI_PPI: "802.11 with PPI",
    LINUX_IRDA: "Linux IrDA",
    LINUX_PPP: "Linux PPP",
    PPP_DIRECTED: "PPP with direction",
    HDLC_DIRECTED: "Cisco HDLC with direction",
    ERF: "ERF",
    MPLS: "MPLS",
    IPV4_ONLY: "IPv4",
    IPV6_ONLY: "IPv6",
    NFLOG: "netfilter log",
    NETANALYZER: "Hilscher netANALYZER",
    EXPORTED_PDU: "Wireshark exported PDU",
    PKTAP: "macOS PKTAP",
    MPACKET: "Ethernet with preamble",
    LINUX_SLL2: "Linux cooked v2",
}


def name(linktype: int) -> str:
    """What people call a link type."""
    return LINK_NAMES.get(linktype, f"link type {linktype}")
