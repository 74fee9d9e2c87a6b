"""Tunnels: packed by scapy or by hand, unwrapped by us, and held against tshark."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III, ERSPAN_PlatformSpecific
from scapy.contrib.etherip import EtherIP
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.contrib.tzsp import TZSP, TZSPTagEnd, TZSPTagPadding, TZSPTagRawRSSIByte
from scapy.layers.inet import GRE, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.l2tp import L2TP
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap
from sip_texts import SDP, request

from sipwatch.net import tunnels
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.tunnels import BY_ETHERTYPE, BY_IP_PROTOCOL, BY_UDP_PORT, Refused

SIP = request(body=SDP)
SIP_UDP = UDP(sport=5060, dport=5060) / Raw(SIP)
IPV4 = IP(src="192.0.2.1", dst="192.0.2.2") / SIP_UDP
IPV6 = IPv6(src="2001:db8::1", dst="2001:db8::2") / SIP_UDP
FRAME = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IPV4
TAGGED = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=5) / IPV6
OUTER = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")
LINK = IP(src="10.0.0.1", dst="10.0.0.2")
LINK6 = IPv6(src="fd00::1", dst="fd00::2")


class Case(NamedTuple):
    """``carrier`` holds the payload of the registry's number; ``inner`` is what is in it."""

    name: str
    number: int
    carrier: Packet
    kind: str
    inner: Packet


PAD = TZSPTagPadding()
ETHERTYPES = [
    Case("MPLS", 0x8847, MPLS(label=16, s=1) / IPV4, "ipv4", IPV4),
    Case(
        "MPLS with two labels",
        0x8847,
        MPLS(label=16, s=0) / MPLS(label=17, s=1) / IPV6,
        "ipv6",
        IPV6,
    ),
    Case("MPLS pseudowire", 0x8847, MPLS(label=16, s=1) / FRAME, "ethernet", FRAME),
    Case(
        "MPLS pseudowire with control word",
        0x8848,
        MPLS(label=16, s=1) / Raw(bytes(4)) / FRAME,
        "ethernet",
        FRAME,
    ),
    Case(
        "MPLS pseudowire to a MAC address that begins with 4",
        0x8847,
        MPLS(label=16, s=1)
        / Raw(bytes(Ether(dst="45:00:00:00:00:02", src="02:00:00:00:00:01") / IPV4)),
        "ethernet",
        Ether(dst="45:00:00:00:00:02", src="02:00:00:00:00:01") / IPV4,
    ),
    Case("PPPoE", 0x8864, PPPoE(sessionid=3) / PPP() / IPV4, "ipv4", IPV4),
    Case("PPPoE with IPv6", 0x8864, PPPoE(sessionid=3) / PPP() / IPV6, "ipv6", IPV6),
    Case("PPP with address and control", 0x880B, HDLC() / PPP() / IPV4, "ipv4", IPV4),
    Case("PPP with a short protocol field", 0x880B, Raw(b"\x21") / IPV4, "ipv4", IPV4),
]

IP_PROTOCOLS = [
    Case("IP in IP", 4, IPV4, "ipv4", IPV4),
    Case("IPv6 in IP", 41, IPV6, "ipv6", IPV6),
    Case("GRE", 47, GRE() / IPV4, "ipv4", IPV4),
    Case("GRE with IPv6", 47, GRE() / IPV6, "ipv6", IPV6),
    Case("GRE with key", 47, GRE(key_present=1, key=9) / IPV4, "ipv4", IPV4),
    Case("GRE with checksum", 47, GRE(chksum_present=1) / IPV4, "ipv4", IPV4),
    Case(
        "GRE with checksum, key and sequence",
        47,
        GRE(chksum_present=1, key_present=1, key=9, seqnum_present=1, sequence_number=4) / IPV4,
        "ipv4",
        IPV4,
    ),
    Case("GRE with Ethernet", 47, GRE(proto=0x6558) / FRAME, "ethernet", FRAME),
    Case("GRE with MPLS", 47, GRE(proto=0x8847) / MPLS(label=16, s=1) / IPV4, "ipv4", IPV4),
    Case("GRE with PPP", 47, GRE(proto=0x880B) / HDLC() / PPP() / IPV4, "ipv4", IPV4),
    Case("ERSPAN I", 47, GRE(proto=0x88BE) / Raw(bytes(FRAME)), "ethernet", FRAME),
    Case(
        "ERSPAN II",
        47,
        GRE(proto=0x88BE, seqnum_present=1, sequence_number=1) / ERSPAN_II(session_id=7) / FRAME,
        "ethernet",
        FRAME,
    ),
    Case(
        "ERSPAN III",
        47,
        GRE(proto=0x22EB, seqnum_present=1, sequence_number=1) / ERSPAN_III(session_id=7) / FRAME,
        "ethernet",
        FRAME,
    ),
    Case(
        "ERSPAN III with platform header",
        47,
        GRE(proto=0x22EB, seqnum_present=1, sequence_number=1)
        / ERSPAN_III(session_id=7, o=1)
        / ERSPAN_PlatformSpecific()
        / TAGGED,
        "ethernet",
        TAGGED,
    ),
    Case("EtherIP", 97, EtherIP() / FRAME, "ethernet", FRAME),
    Case("MPLS in IP", 137, MPLS(label=16, s=1) / IPV4, "ipv4", IPV4),
]

UDP_PORTS = [
    Case("VXLAN", 4789, VXLAN(vni=5) / FRAME, "ethernet", FRAME),
    Case("VXLAN on the old port of Linux", 8472, VXLAN(vni=5) / TAGGED, "ethernet", TAGGED),
    Case("VXLAN-GPE", 4790, Raw(b"\x0c\x00\x00\x01\x00\x00\x05\x00") / IPV4, "ipv4", IPV4),
    Case("Geneve", 6081, GENEVE(vni=5, proto=0x6558) / FRAME, "ethernet", FRAME),
    Case(
        "Geneve with options",
        6081,
        GENEVE(
            vni=5,
            proto=0x6558,
            options=[
                GeneveOptions(classid=0x102, type=0x80, data=b"\0\1\2\3"),
                GeneveOptions(classid=0x102, type=1, data=bytes(8)),
            ],
        )
        / FRAME,
        "ethernet",
        FRAME,
    ),
    Case("Geneve with IPv6", 6081, GENEVE(vni=5, proto=0x86DD) / IPV6, "ipv6", IPV6),
    Case("GTP-U", 2152, GTP_U_Header(teid=5) / IPV4, "ipv4", IPV4),
    Case(
        "GTP-U with a sequence number", 2152, GTP_U_Header(teid=5, S=1, seq=77) / IPV6, "ipv6", IPV6
    ),
    Case(
        "GTP-U with an extension header",
        2152,
        GTP_U_Header(teid=5, E=1, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=1) / IPV4,
        "ipv4",
        IPV4,
    ),
    Case(
        "L2TP", 1701, L2TP(hdr=0, tunnel_id=1, session_id=2) / HDLC() / PPP() / IPV4, "ipv4", IPV4
    ),
    Case(
        "L2TP with all fields",
        1701,
        Raw(
            b"\x4a\x02"
            + (14 + 2 + len(HDLC() / PPP() / IPV4)).to_bytes(2)
            + b"\0\1\0\2\0\3\0\4\0\2pp"
        )
        / HDLC()
        / PPP()
        / IPV4,
        "ipv4",
        IPV4,
    ),
    Case("TZSP", 37008, TZSP() / TZSPTagEnd() / FRAME, "ethernet", FRAME),
    Case(
        "TZSP with tags",
        37008,
        TZSP() / PAD / TZSPTagRawRSSIByte(raw_rssi=4) / TZSPTagEnd() / FRAME,
        "ethernet",
        FRAME,
    ),
]

REGISTRIES = [(BY_ETHERTYPE, ETHERTYPES), (BY_IP_PROTOCOL, IP_PROTOCOLS), (BY_UDP_PORT, UDP_PORTS)]
ALL = [(registry, case) for registry, cases in REGISTRIES for case in cases]


@pytest.mark.parametrize(("registry", "case"), ALL, ids=[case.name for _, case in ALL])
def test_the_inner_packet_is_found(registry: dict[int, tunnels.Tunnel], case: Case) -> None:
    carrier, inner = bytes(case.carrier), bytes(case.inner)
    data = b"before" + carrier + b"behind"
    found = registry[case.number].decode(data, 6, 6 + len(carrier))
    assert found.kind == case.kind
    assert data[found.offset : found.end] == inner


@pytest.mark.parametrize(("registry", "case"), ALL, ids=[case.name for _, case in ALL])
def test_a_header_that_is_cut_is_refused(registry: dict[int, tunnels.Tunnel], case: Case) -> None:
    carrier = bytes(case.carrier)
    header = len(carrier) - len(bytes(case.inner))
    for end in range(header):
        with pytest.raises(Refused):
            registry[case.number].decode(carrier[:end], 0, end)


# ESP ---------------------------------------------------------------------------------------------


def esp(inner: bytes, next_header: int, check: int, padding: int) -> bytes:
    """ESP without encryption (RFC 4303 section 2), with a check value of that many bytes."""
    trailer = bytes(range(1, padding + 1)) + bytes((padding, next_header))
    return b"\x00\x00\xa7\x1a\x00\x00\x00\x07" + inner + trailer + b"\xcc" * check


@pytest.mark.parametrize("check", [0, 12, 16, 24, 32])
@pytest.mark.parametrize(
    ("inner", "next_header", "kind"),
    [
        (bytes(SIP_UDP.__class__(bytes(IPV4[UDP]))), 17, "udp"),
        (bytes((IP() / TCP(sport=5060, dport=5060) / Raw(SIP))[TCP]), 6, "tcp"),
        (bytes(IPV4), 4, "ipv4"),
        (bytes(IPV6), 41, "ipv6"),
    ],
)
def test_esp_without_encryption(inner: bytes, next_header: int, kind: str, check: int) -> None:
    for padding in range(5):
        data = esp(inner, next_header, check, padding)
        found = BY_IP_PROTOCOL[50].decode(data, 0, len(data))
        assert (found.kind, data[found.offset : found.end]) == (kind, inner)
        found = BY_UDP_PORT[4500].decode(data, 0, len(data))
        assert found.kind == kind


def test_esp_that_is_encrypted() -> None:
    data = b"\x00\x00\xa7\x1a\x00\x00\x00\x07" + bytes((i * 97 + 13) % 256 for i in range(200))
    with pytest.raises(Refused, match="encrypted"):
        BY_IP_PROTOCOL[50].decode(data, 0, len(data))


# L2TPv3 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cookie", [b"", b"\x8c" * 4, b"\x8c" * 8, b"\x8c" * 12])
def test_l2tpv3_finds_the_frame_behind_the_cookie(cookie: bytes) -> None:
    data = b"\x00\x00\x00\x09" + cookie + bytes(FRAME)
    found = BY_IP_PROTOCOL[115].decode(data, 0, len(data))
    assert data[found.offset : found.end] == bytes(FRAME)
    over_udp = b"\x00\x03\x00\x00" + data
    found = BY_UDP_PORT[1701].decode(over_udp, 0, len(over_udp))
    assert over_udp[found.offset : found.end] == bytes(FRAME)


# Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "number", "data", "reason"),
    [
        (
            BY_IP_PROTOCOL,
            47,
            b"\x30\x01\x88\x0b\x00\x10\x00\x01\x00\x00\x00\x00" + bytes(30),
            "gre_enhanced",
        ),
        (BY_IP_PROTOCOL, 47, b"\x40\x00\x08\x00" + bytes(40), "gre_routing"),
        (BY_IP_PROTOCOL, 47, b"\x00\x05\x08\x00" + bytes(40), "version"),
        (BY_IP_PROTOCOL, 47, b"\x00\x00\x00\xfe" + bytes(40), "unknown_inner"),
        (BY_IP_PROTOCOL, 47, b"\x10\x00\x88\xbe" + bytes(40), "version"),
        (BY_IP_PROTOCOL, 115, bytes(40), "control"),
        (BY_IP_PROTOCOL, 97, b"\x20\x00" + bytes(FRAME), "version"),
        (BY_ETHERTYPE, 0x8864, b"\x11\x09" + bytes(20), "control"),
        (BY_ETHERTYPE, 0x8864, b"\x12\x00" + bytes(20), "version"),
        (BY_ETHERTYPE, 0x880B, b"\xc0\x21" + bytes(20), "control"),
        (BY_ETHERTYPE, 0x880B, b"\x00\xfd" + bytes(20), "compressed"),
        (BY_ETHERTYPE, 0x880B, b"\x00\x53" + bytes(20), "encrypted"),
        (BY_ETHERTYPE, 0x8847, b"\x00\x01\x00\xff" * 40, "unknown_inner"),
        (BY_ETHERTYPE, 0x8847, b"\x00\x01\x00\x00" * 40, "unknown_inner"),
        (BY_ETHERTYPE, 0x8847, b"\x00\x01\x01\xff\x10\x00\x00\x00" + bytes(20), "control"),
        (BY_UDP_PORT, 4789, b"\x00" * 40, "unknown_inner"),
        (BY_UDP_PORT, 4790, b"\x30" * 40, "version"),
        (BY_UDP_PORT, 6081, b"\x40" * 40, "version"),
        (BY_UDP_PORT, 6081, b"\x00\x80\x65\x58" + bytes(40), "control"),
        (BY_UDP_PORT, 2152, b"\x50\xff" + bytes(40), "version"),
        (BY_UDP_PORT, 2152, b"\x32\x01\x00\x06" + bytes(40), "control"),
        (
            BY_UDP_PORT,
            2152,
            b"\x34\xff\x00\x20" + bytes(6) + b"\x00\x85\x00" + bytes(40),
            "unknown_inner",
        ),
        (BY_UDP_PORT, 1701, b"\xc8\x02" + bytes(40), "control"),
        (BY_UDP_PORT, 1701, b"\x00\x01" + bytes(40), "version"),
        (BY_UDP_PORT, 4500, bytes(40), "control"),
        (BY_UDP_PORT, 37008, b"\x01\x04\x00\x01" + bytes(40), "control"),
        (BY_UDP_PORT, 37008, b"\x02\x00\x00\x01" + bytes(40), "version"),
        (BY_UDP_PORT, 37008, b"\x01\x00\x00\x12" + bytes(40), "unknown_inner"),
        (BY_UDP_PORT, 37008, b"\x01\x00\x00\x01" + bytes(40), "unknown_inner"),
    ],
)
def test_refusals_name_their_reason(
    registry: dict[int, tunnels.Tunnel], number: int, data: bytes, reason: str
) -> None:
    with pytest.raises(Refused) as caught:
        registry[number].decode(data, 0, len(data))
    assert caught.value.reason == reason
    assert reason in tunnels.REASONS


DECODERS = [
    tunnel.decode
    for registry in (BY_ETHERTYPE, BY_IP_PROTOCOL, BY_UDP_PORT)
    for tunnel in registry.values()
]


@given(st.binary(max_size=120), st.sampled_from([bytes(case.carrier)[:60] for _, case in ALL]))
@settings(max_examples=400, deadline=None)
def test_no_input_raises_anything_else(noise: bytes, start: bytes) -> None:
    reasons = set()
    for data in (noise, start[: len(noise)] + noise, start + noise):
        for decode in DECODERS:
            try:
                inner = decode(data, 0, len(data))
            except Refused as refusal:
                reasons.add(refusal.reason)
            else:
                assert 0 <= inner.offset < inner.end <= len(data)
    assert reasons <= set(tunnels.REASONS)


# Against tshark ----------------------------------------------------------------------------------


def framed(registry: dict[int, tunnels.Tunnel], case: Case) -> list[Packet]:
    """The case in whole frames: over IPv4, over IPv6 where it may be, behind two VLAN tags."""
    carrier = Raw(bytes(case.carrier))
    if registry is BY_ETHERTYPE:
        return [
            Ether(src=OUTER.src, dst=OUTER.dst, type=case.number) / carrier,
            OUTER / Dot1AD(vlan=7) / Dot1Q(vlan=8, type=case.number) / carrier,
        ]
    if registry is BY_IP_PROTOCOL:
        return [
            OUTER / LINK.__class__(src=LINK.src, dst=LINK.dst, proto=case.number) / carrier,
            OUTER / LINK6.__class__(src=LINK6.src, dst=LINK6.dst, nh=case.number) / carrier,
        ]
    ports = UDP(sport=case.number if case.number in (1701, 2152) else 40001, dport=case.number)
    return [OUTER / LINK / ports / carrier, OUTER / LINK6 / ports / carrier]


#: What tshark 4.0 does not look into on its own.
NOT_BY_TSHARK = {
    "MPLS pseudowire",
    "MPLS pseudowire with control word",
    "MPLS pseudowire to a MAC address that begins with 4",
    "PPP with a short protocol field",
    "PPP with address and control",
    "VXLAN on the old port of Linux",
}


def test_tshark_and_the_frame_decoder_find_the_same_messages(tmp_path: Path) -> None:
    cases = [(r, case) for r, case in ALL if case.name not in NOT_BY_TSHARK]
    frames = [(case.name, frame) for r, case in cases for frame in framed(r, case)]
    path = tmp_path / "tunnels.pcap"
    wrpcap(str(path), [frame for _, frame in frames], linktype=1)
    output = subprocess.run(
        ["tshark", "-r", str(path), "-Y", "sip", "-T", "fields", "-e", "frame.number"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    by_tshark = {frames[int(line) - 1][0] for line in output.split()}
    assert by_tshark == {case.name for _, case in cases}
    decoder = FrameDecoder()
    for number, (name, frame) in enumerate(frames, 1):
        found = decoder.decode(1.0, bytes(frame), 1, "e", number)
        assert [datagram.payload for datagram in found] == [SIP], name


def test_tunnels_within_tunnels_are_followed_to_a_bound() -> None:
    packet: Packet = IPV4
    for depth in range(1, 40):
        packet = IP(src="10.0.0.1", dst="10.0.0.2") / packet
        decoder = FrameDecoder()
        found = decoder.decode(1.0, bytes(OUTER / packet), 1, "e", 1)
        if depth <= 12:
            assert [datagram.payload for datagram in found] == [SIP]
    assert found == []
    assert sum(decoder.counts.malformed.values()) == 1
