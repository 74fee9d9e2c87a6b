"""Frames for the filter: what it must let through and what not, said by hand for each."""

from __future__ import annotations

from typing import NamedTuple

from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, IPOption_NOP, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

#: What the filter is made for in these tests.
PORTS = [5060, 5080, (6000, 6010)]
TUNNELS = ["ipip", "gre", "vxlan", "geneve", "gtp-u", "hep:9060", "mpls", "pppoe"]

_E = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
_I = IP(src="10.0.0.1", dst="10.0.0.2")
_I6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
_AH = AH(nh=17, payloadlen=4, spi=1, seq=1, icv=bytes(12))
_SIP = Raw(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
_OTHER = Raw(b"x" * 32)


class Case(NamedTuple):
    name: str
    frame: bytes
    wanted: bool


def _udp(source: int, destination: int) -> Packet:
    return UDP(sport=source, dport=destination) / _SIP


def _options(count: int) -> IP:
    return IP(src="10.0.0.1", dst="10.0.0.2", options=[IPOption_NOP()] * count)


def _v4_fragment(offset: int, protocol: int, *, more: bool, payload: Packet) -> Packet:
    return (
        _E
        / IP(
            src="10.0.0.1",
            dst="10.0.0.2",
            frag=offset,
            flags="MF" if more else 0,
            proto=protocol,
        )
        / payload
    )


_PLAIN = [
    ("udp to 5060", _E / _I / _udp(40000, 5060), True),
    ("udp from 5060", _E / _I / _udp(5060, 40000), True),
    ("udp second port", _E / _I / _udp(40000, 5080), True),
    ("udp first of range", _E / _I / _udp(40000, 6000), True),
    ("udp in range", _E / _I / _udp(6005, 40000), True),
    ("udp last of range", _E / _I / _udp(40000, 6010), True),
    ("udp below range", _E / _I / _udp(40000, 5999), False),
    ("udp above range", _E / _I / _udp(40000, 6011), False),
    ("udp 5061", _E / _I / _udp(5061, 5061), False),
    ("rtp", _E / _I / UDP(sport=20000, dport=20002) / Raw(b"\x80" + bytes(171)), False),
    ("dns", _E / _I / UDP(sport=33333, dport=53) / _OTHER, False),
    ("empty udp", _E / _I / UDP(sport=5060, dport=5060), True),
    ("tcp to 5060", _E / _I / TCP(sport=40000, dport=5060, flags="PA") / _SIP, True),
    ("tcp from 5060", _E / _I / TCP(sport=5060, dport=40000, flags="SA"), True),
    ("tcp syn elsewhere", _E / _I / TCP(sport=40000, dport=443, flags="S"), False),
    ("sctp to 5060", _E / _I / SCTP(sport=40000, dport=5060) / _OTHER, True),
    ("sctp from 5060", _E / _I / SCTP(sport=5060, dport=40000) / _OTHER, True),
    ("sctp elsewhere", _E / _I / SCTP(sport=2905, dport=2905) / _OTHER, False),
    ("dccp to 5060", _E / IP(proto=33) / Raw(b"\x13\xc4\x13\xc4" + bytes(20)), False),
    ("options of 4 bytes", _E / _options(4) / _udp(40000, 5060), True),
    ("options of 40 bytes", _E / _options(40) / _udp(40000, 5060), True),
    # At the place where ports are without options stand the same numbers.
    (
        "options, port elsewhere",
        _E / _options(8) / UDP(sport=7, dport=9) / Raw(b"\x13\xc4" * 9),
        False,
    ),
    ("arp", _E / ARP(), False),
    (
        "lldp",
        Ether(dst="01:80:c2:00:00:0e", src="02:00:00:00:00:01", type=0x88CC)
        / Raw(b"\x13\xc4" * 40),
        False,
    ),
    (
        "spanning tree",
        Raw(bytes.fromhex("0180c2000000020000000001002642420300") + bytes(35)),
        False,
    ),
    ("igmp", _E / IP(proto=2) / Raw(bytes(8)), False),
]

_V6 = [
    ("udp6 to 5060", _E / _I6 / _udp(40000, 5060), True),
    ("udp6 from 6010", _E / _I6 / _udp(6010, 40000), True),
    ("udp6 elsewhere", _E / _I6 / _udp(40000, 53), False),
    ("tcp6 to 5060", _E / _I6 / TCP(sport=40000, dport=5060) / _SIP, True),
    ("sctp6 from 5060", _E / _I6 / SCTP(sport=5060, dport=1) / _OTHER, True),
    ("hop by hop", _E / _I6 / IPv6ExtHdrHopByHop() / _udp(40000, 5060), True),
    ("hop by hop, elsewhere", _E / _I6 / IPv6ExtHdrHopByHop() / _udp(40000, 53), False),
    (
        "three headers",
        _E
        / _I6
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrDestOpt()
        / IPv6ExtHdrRouting(addresses=["2001:db8::3"])
        / _udp(5060, 40000),
        True,
    ),
    ("ping6", _E / _I6 / ICMPv6EchoRequest(data=b"x" * 40), False),
    ("unreachable6", _E / _I6 / ICMPv6DestUnreach(code=4) / _I6 / _udp(5060, 5060), True),
    ("no next header", _E / IPv6(nh=59) / Raw(bytes(40)), False),
]

_FRAGMENTS = [
    ("first fragment", _v4_fragment(0, 17, more=True, payload=_udp(40000, 5060)), True),
    ("first fragment elsewhere", _v4_fragment(0, 17, more=True, payload=_udp(7, 9)), False),
    ("later fragment", _v4_fragment(185, 17, more=True, payload=_OTHER), True),
    ("last fragment", _v4_fragment(370, 17, more=False, payload=_OTHER), True),
    ("tcp fragment", _v4_fragment(185, 6, more=False, payload=_OTHER), True),
    ("sctp fragment", _v4_fragment(185, 132, more=False, payload=_OTHER), True),
    ("icmp fragment", _v4_fragment(185, 1, more=False, payload=Raw(b"\3" * 40)), False),
    (
        "first fragment 6",
        _E / _I6 / IPv6ExtHdrFragment(offset=0, m=1, id=7) / _udp(40000, 5060),
        True,
    ),
    (
        "first fragment 6 elsewhere",
        _E / _I6 / IPv6ExtHdrFragment(offset=0, m=1, id=7) / _udp(7, 9),
        False,
    ),
    (
        "later fragment 6",
        _E / _I6 / IPv6ExtHdrFragment(offset=181, m=0, id=7, nh=17) / _OTHER,
        True,
    ),
    (
        "icmp fragment 6",
        _E / _I6 / IPv6ExtHdrFragment(offset=181, m=0, id=7, nh=58) / _OTHER,
        False,
    ),
]

_ICMP = [
    (
        "port unreachable",
        _E
        / _I
        / ICMP(type=3, code=3)
        / IPerror(src="10.0.0.2", dst="10.0.0.1")
        / UDPerror(sport=5060, dport=5060),
        True,
    ),
    ("unreachable behind options", _E / _options(8) / ICMP(type=3, code=1) / _OTHER, True),
    ("ping", _E / _I / ICMP(type=8) / _OTHER, False),
    # Echo data that would be a 3 where the type is read without regard to the header's length.
    ("ping behind options", _E / _options(8) / ICMP(type=8) / Raw(b"\3" * 40), False),
    ("time exceeded", _E / _I / ICMP(type=11) / _OTHER, False),
]

_TUNNELS = [
    ("ip in ip", _E / _I / _I / _udp(7, 9), True),
    ("6in4", _E / IP(proto=41) / _I6 / _udp(7, 9), True),
    ("gre", _E / _I / GRE() / _I / _udp(7, 9), True),
    ("gre over ipv6", _E / _I6 / GRE() / _I / _udp(7, 9), True),
    ("vxlan", _E / _I / UDP(sport=50000, dport=4789) / VXLAN(vni=1) / _E / _I / _udp(7, 9), True),
    ("from the vxlan port", _E / _I / UDP(sport=4789, dport=50000) / _OTHER, False),
    ("tcp to the vxlan port", _E / _I / TCP(sport=50000, dport=4789), False),
    ("geneve", _E / _I / UDP(sport=50000, dport=6081) / GENEVE() / _I / _udp(7, 9), True),
    ("gtp-u", _E / _I / UDP(sport=2152, dport=2152) / GTP_U_Header() / _I / _udp(7, 9), True),
    ("gtp-u over ipv6", _E / _I6 / UDP(sport=2152, dport=2152) / GTP_U_Header() / _I, True),
    ("hep udp", _E / _I / UDP(sport=1, dport=9060) / Raw(b"HEP3" + bytes(20)), True),
    ("hep tcp", _E / _I / TCP(sport=1, dport=9060) / Raw(b"HEP3" + bytes(20)), True),
    ("l2tp, which is not wanted", _E / _I / UDP(sport=1701, dport=1701) / _OTHER, False),
    ("mpls", _E / MPLS(label=1, s=1) / _I / _udp(7, 9), True),
    ("pppoe", _E / PPPoE(sessionid=1) / PPP() / _I / _udp(7, 9), True),
    ("ah", _E / _I / _AH / _udp(40000, 5060), True),
    ("ah elsewhere", _E / _I / _AH / _udp(7, 9), False),
    ("ah6", _E / _I6 / _AH / _udp(40000, 5060), True),
]

_VLAN = [
    ("one tag", _E / Dot1Q(vlan=5) / _I / _udp(40000, 5060), True),
    ("one tag, elsewhere", _E / Dot1Q(vlan=5) / _I / _udp(7, 9), False),
    ("service tag", _E / Dot1AD(vlan=5) / _I / _udp(5060, 40000), True),
    ("two tags", _E / Dot1AD(vlan=5) / Dot1Q(vlan=6) / _I / _udp(40000, 5060), True),
    ("two tags, elsewhere", _E / Dot1AD(vlan=5) / Dot1Q(vlan=6) / _I / _udp(7, 9), False),
    (
        "three tags",
        _E / Dot1AD(vlan=5) / Dot1Q(vlan=6) / Dot1Q(vlan=7) / _I / _udp(40000, 5060),
        True,
    ),
    ("tag and options", _E / Dot1Q(vlan=5) / _options(12) / _udp(40000, 5060), True),
    ("tag and ipv6", _E / Dot1Q(vlan=5) / _I6 / _udp(40000, 5060), True),
    ("tag and arp", _E / Dot1Q(vlan=5) / ARP(), False),
    # Priority 2 and a high number make the tag begin like an IPv4 header.
    ("tag like a version", _E / Dot1Q(prio=2, vlan=0x500) / _I / _udp(40000, 5060), True),
]


def _cut(name: str, size: int) -> Case:
    """A frame of which only the beginning was sent."""
    whole = next(packet for label, packet, _ in _PLAIN + _V6 if label == name)
    return Case(f"{name}, {size} bytes", bytes(whole)[:size], False)


CASES = [
    Case(name, bytes(packet), wanted)
    for name, packet, wanted in _PLAIN + _V6 + _FRAGMENTS + _ICMP + _TUNNELS + _VLAN
] + [
    _cut("udp to 5060", 15),
    _cut("udp to 5060", 24),
    _cut("udp to 5060", 34),
    _cut("udp to 5060", 36),
    _cut("udp6 to 5060", 54),
    _cut("hop by hop", 56),
]

# The same in tcpdump's language, written from what each clause says.
_TCPDUMP_PLAIN = "(port 5060 or port 5080 or portrange 6000-6010)"
_TCPDUMP = " or ".join(
    [
        _TCPDUMP_PLAIN,
        "((ip proto 17 or ip proto 6 or ip proto 132) and ip[6:2] & 0x1fff != 0)",
        "icmp[icmptype] = 3",
        "(ip6 proto 58 and ip6[40] = 1)",
        "(ip6[6] = 44 and ip6[42:2] & 0xfff8 != 0 and ip6[40] != 58)",
        "(ip6[6] = 44 and ip6[42:2] & 0xfff8 = 0 and ip6[40] = 17 and ip6[50:2] = 5060)",
        "(ip6[6] = 0 and ip6[40] = 17 and ip6[41] = 0 and ip6[50:2] = 5060)",
        "(ip6[6] = 0 and ip6[40] = 60 and ip6[48] = 43 and ip6[56] = 17 and ip6[57] = 2"
        " and ip6[80:2] = 5060)",
        "ip proto 4 or ip proto 41 or ip proto 47 or ip6 proto 4 or ip6 proto 41 or ip6 proto 47",
        "udp dst port 4789 or udp dst port 8472 or udp dst port 6081 or udp dst port 2152",
        "udp dst port 9060 or tcp dst port 9060",
        "ip proto 137 or ip6 proto 137",
        "(ip proto 51 and ip[6:2] & 0x1fff = 0 and ip[20] = 17 and ip[21] = 4 and ip[46:2] = 5060)",
        "(ip6[6] = 51 and ip6[40] = 17 and ip6[41] = 4 and ip6[66:2] = 5060)",
        "ether proto 0x8847 or ether proto 0x8848 or ether proto 0x8864",
    ]
)
TCPDUMP = (
    f"({_TCPDUMP}) or (vlan and (({_TCPDUMP}) or (vlan and (({_TCPDUMP})"
    f" or (vlan and ({_TCPDUMP}))))))"
)
