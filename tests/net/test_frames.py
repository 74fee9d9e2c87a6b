"""Frames to datagrams: the fast and the general way say the same, and count what they leave."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, GRE, CookedLinux, CookedLinuxV2, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from sip_texts import SDP, request, response

from sipwatch.net import linktypes
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch, Datagram

INVITE = request(body=SDP)
# Given, or scapy would ask the network for them.
MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
ETHER = Ether(**MACS)
V4 = {"src": "192.0.2.1", "dst": "192.0.2.2"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8::2"}
SIP_UDP = UDP(sport=5060, dport=5062) / Raw(INVITE)
SIP_TCP = TCP(sport=5060, dport=5062, seq=1, ack=1, flags="PA") / Raw(INVITE)


def decode(packet: Packet | bytes, linktype: int = 1) -> tuple[Batch, FrameDecoder]:
    decoder = FrameDecoder()
    found = decoder.decode(1.5, bytes(packet), linktype, "eth0", 7)
    found += decoder.finish()
    return found, decoder


def the_one(found: Batch) -> Datagram:
    (datagram,) = found
    assert isinstance(datagram, Datagram)
    return datagram


@pytest.mark.parametrize("network", [IP(**V4, id=77), IPv6(**V6)])
@pytest.mark.parametrize(
    ("linktype", "link"),
    [
        (1, ETHER),
        (1, ETHER / Dot1Q(vlan=7)),
        (1, ETHER / Dot1Q(vlan=7) / Dot1Q(vlan=8)),
        (113, CookedLinux()),
        (276, CookedLinuxV2()),
        (101, None),
    ],
)
def test_all_of_a_datagram(linktype: int, link: Packet | None, network: Packet) -> None:
    packet = bytes(network / SIP_UDP)
    frame = bytes(link / network / SIP_UDP) if link is not None else packet
    found, decoder = decode(frame + bytes(9), linktype)
    length, checksum = struct.unpack_from(">HH", packet, len(network) + 4)
    assert the_one(found) == Datagram(
        time=1.5,
        source=(ip_address(network.src).packed, 5060),
        destination=(ip_address(network.dst).packed, 5062),
        transport="UDP",
        payload=INVITE,
        interface="eth0",
        number=7,
        ip_id=77 if network.version == 4 else -1,
        udp_check=length << 16 | checksum,
    )
    assert decoder.counts.sip_datagrams == 1


@pytest.mark.parametrize(
    "packet",
    [
        IP(**V4, options=[IPOption_RR(routers=["192.0.2.9"])]) / SIP_UDP,
        IPv6(**V6) / IPv6ExtHdrDestOpt() / SIP_UDP,
        IP(**V4) / AH(nh=17, spi=1, seq=2, icv=bytes(12), payloadlen=4) / SIP_UDP,
        IP(**V4) / UDP(sport=40000, dport=40001) / Raw(INVITE),
        IP(**V4) / UDP(sport=5060, dport=5060) / Raw(b"\r\n\r\n" + INVITE),
        IP(**V4) / UDP(sport=5060, dport=5060, len=0) / Raw(INVITE),
        IP(**V4) / UDP(sport=5060, dport=4789) / Raw(INVITE),
    ],
)
def test_less_usual_ways_to_carry_a_message(packet: Packet) -> None:
    found, _ = decode(ETHER / packet)
    assert the_one(found).payload == INVITE


def test_the_udp_length_bounds_the_payload() -> None:
    packet = IP(**V4) / UDP(sport=1, dport=2, len=8 + 40) / Raw(INVITE)
    assert the_one(decode(ETHER / packet)[0]).payload == INVITE[:40]


def test_a_message_cut_by_the_snap_length_is_given_as_far_as_it_goes() -> None:
    frame = bytes(ETHER / IP(**V4) / SIP_UDP)
    found, _ = decode(frame[: 42 + 100])
    assert the_one(found).payload == INVITE[:100]


# The fast way -------------------------------------------------------------------------------------


def plain(frame: bytes, start: int = 14) -> tuple[Batch, FrameDecoder]:
    decoder = FrameDecoder()
    found: Batch = []
    before = b"before"
    way = decoder.segment if frame[start + 9] == 6 else decoder.plain
    stop = len(before) + len(frame)
    way(1.5, before + frame + b"after", len(before) + start, stop, "eth0", 7, found)
    return found + decoder.finish(), decoder


IPV4_FRAMES = [
    bytes(ETHER / packet)
    for packet in (
        IP(**V4, id=9) / SIP_UDP,
        IP(**V4) / UDP(sport=5060, dport=5060) / Raw(response()),
        IP(**V4) / UDP(sport=5060, dport=5060) / Raw(b"\r\n" + INVITE),
        IP(**V4) / UDP(sport=5060, dport=5060) / Raw(b"\r\n\r\n"),
        IP(**V4) / UDP(sport=5060, dport=5060, len=8) / Raw(INVITE),
        IP(**V4) / UDP(sport=5060, dport=5060, len=4) / Raw(INVITE),
        IP(**V4) / UDP(sport=5060, dport=5060, len=0) / Raw(INVITE),
        IP(**V4) / UDP(sport=5060, dport=5060, len=60000) / Raw(INVITE),
        IP(**V4, len=0) / SIP_UDP,
        IP(**V4, len=40) / SIP_UDP,
        IP(**V4, len=60000) / SIP_UDP,
        IP(**V4) / UDP(sport=1900, dport=1900) / Raw(b"NOTIFY * HTTP/1.1\r\n\r\n"),
        IP(**V4) / UDP(sport=5060, dport=5060) / Raw(b"PING sip:a@b SIP/2.0\r\n\r\n"),
        IP(**V4) / UDP(sport=3478, dport=3478) / Raw(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)),
        IP(**V4) / UDP(sport=7, dport=4789) / VXLAN(vni=5) / ETHER / IP(**V4) / SIP_UDP,
        IP(**V4) / SIP_TCP,
        IP(**V4, len=0) / SIP_TCP,
        IP(**V4, len=30) / SIP_TCP,
        IP(**V4, len=60000) / SIP_TCP,
        IP(**V4) / TCP(sport=5060, dport=5062, flags="A"),
        IP(**V4) / TCP(sport=5060, dport=5062, flags="PA", dataofs=2) / Raw(INVITE),
        IP(**V4) / TCP(sport=5060, dport=5062, flags="PA", dataofs=15) / Raw(INVITE),
        IP(**V4)
        / TCP(sport=55555, dport=5061, flags="PA")
        / Raw(b"\x17\x03\x03\x00\x20" + bytes(32)),
        IP(**V4) / TCP(sport=5060, dport=5062, flags="PA", options=[("MSS", 1)]) / Raw(INVITE),
    )
]


@pytest.mark.parametrize("padding", [0, 12])
@pytest.mark.parametrize("frame", IPV4_FRAMES)
def test_the_fast_way_gives_what_the_general_way_gives(frame: bytes, padding: int) -> None:
    found, decoder = plain(frame + bytes(padding))
    expected, general = decode(frame + bytes(padding))
    assert found == expected
    assert decoder.counts == general.counts


@settings(max_examples=300)
@given(
    packet=st.sampled_from(IPV4_FRAMES),
    flips=st.lists(st.tuples(st.integers(2, 80), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 60),
)
def test_both_ways_agree_on_damaged_packets(
    packet: bytes, flips: list[tuple[int, int]], cut: int
) -> None:
    frame = bytearray(packet)
    for offset, value in flips:
        # The caller of the fast way has looked at protocol and fragment word.
        if offset not in (6, 7, 9) and 14 + offset < len(frame):
            frame[14 + offset] = value
    # ... and at the frame being long enough for both headers.
    data = bytes(frame[: max(len(frame) - cut, 14 + 40 + 5)])
    found, decoder = plain(data)
    expected, general = decode(data)
    assert found == expected
    assert decoder.counts == general.counts


def test_many_flows_do_not_fill_the_memory() -> None:
    decoder = FrameDecoder()
    found: Batch = []
    packet = bytearray(bytes(IP(**V4) / SIP_UDP))
    for flow in range(70_000):
        packet[12:16] = flow.to_bytes(4, "big")
        decoder.plain(0.0, bytes(packet), 0, len(packet), "f", flow, found)
    assert [one.source[0] for one in found if isinstance(one, Datagram)] == [
        flow.to_bytes(4, "big") for flow in range(70_000)
    ]
    assert len(decoder._flows) <= 65_536


# What is not given is counted ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "count"),
    [
        (ETHER / ARP(), "not_ip"),
        (ETHER / IP(**V4) / UDP() / Raw(b"\x80\x08" + bytes(40)), "udp_other"),
        (ETHER / IP(**V4) / UDP() / Raw(b"\x12\x34\x01\0\0\1" + bytes(20)), "udp_other"),
        (ETHER / IPv6(**V6) / UDP() / Raw(b"\x80\x08" + bytes(40)), "udp_other"),
        (ETHER / IP(**V4) / UDP() / Raw(b"\r\n\r\n"), "keep_alives"),
        (ETHER / IP(**V4) / UDP() / Raw(b"\0"), "keep_alives"),
        (ETHER / IP(**V4) / UDP(), "keep_alives"),
        (ETHER / IP(**V4) / ICMP(), "ip_other"),
        (ETHER / IP(**V4, proto=89) / Raw(bytes(30)), "ip_other"),
        (ETHER / IP(**V4) / TCP(flags="S"), "tcp_other"),
        (ETHER / IP(**V4) / TCP(dport=80, flags="PA") / Raw(b"GET / HTTP/1.1\r\n"), "tcp_other"),
    ],
)
def test_what_is_no_sip_is_counted_by_kind(packet: Packet, count: str) -> None:
    found, decoder = decode(packet)
    assert not found
    assert getattr(decoder.counts, count) == 1
    assert not decoder.counts.not_decoded
    assert not decoder.counts.malformed


@pytest.mark.parametrize(
    ("packet", "linktype", "key"),
    [
        (Raw(bytes(60)), 6, ("link", "Token Ring")),
        (Raw(bytes(60)), 147, ("link", "link type 147")),
        (Ether(**MACS, type=0x88E5) / Raw(bytes(40)), 1, ("link", "MACsec")),
    ],
)
def test_what_may_hide_sip_is_counted_by_name(
    packet: Packet, linktype: int, key: tuple[str, str]
) -> None:
    _, decoder = decode(packet, linktype)
    assert decoder.counts.not_decoded == {key: 1}


@pytest.mark.parametrize(
    ("frame", "key"),
    [
        (b"", ("link", "too short")),
        (bytes(Ether(**MACS))[:13], ("link", "too short")),
        (bytes(Ether(**MACS, type=0x0800) / Raw(b"\x45" + bytes(10))), ("ip", "too short")),
        (bytes(Ether(**MACS, type=0x0800) / Raw(b"\x51" + bytes(30))), ("ip", "version")),
        (bytes(ETHER / IP(**V4, ihl=3) / SIP_UDP), ("ip", "header length")),
        (bytes(ETHER / IP(**V4, proto=17) / Raw(b"\0\1\0")), ("udp", "too short")),
        (bytes(ETHER / IP(**V4) / UDP(len=7) / Raw(INVITE)), ("udp", "length")),
        (bytes(ETHER / IP(**V4) / TCP(dataofs=3) / Raw(INVITE)), ("tcp", "header length")),
    ],
)
def test_what_makes_no_sense_is_counted_by_layer(frame: bytes, key: tuple[str, str]) -> None:
    found, decoder = decode(frame)
    assert not found
    assert decoder.counts.malformed == {key: 1}


def test_tls_is_counted_by_the_port_of_the_server() -> None:
    hello = b"\x16\x03\x01\x00\x40" + bytes(64)
    decoder = FrameDecoder()
    for source, destination in ((49152, 5061), (5061, 49152), (49152, 443)):
        packet = IP(**V4) / TCP(sport=source, dport=destination, flags="PA") / Raw(hello)
        decoder.decode(0.0, bytes(ETHER / packet), 1, "f", 1)
    assert decoder.counts.tls == {5061: 2, 443: 1}
    assert decoder.counts.tcp_other == 0


# What is joined to the way ------------------------------------------------------------------------


def all_of(packets: list[Packet], *, linktype: int = 101) -> tuple[Batch, FrameDecoder]:
    decoder = FrameDecoder()
    found: Batch = []
    for number, packet in enumerate(packets, 1):
        found += decoder.decode(number / 10, bytes(packet), linktype, "f", number)
    return found, decoder


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("version", [4, 6])
def test_fragments_become_a_datagram_of_the_last_one(version: int, reverse: bool) -> None:
    if version == 4:
        pieces = fragment(IP(**V4, id=5) / SIP_UDP, fragsize=120)
    else:
        pieces = fragment6(IPv6(**V6) / IPv6ExtHdrFragment(id=5) / SIP_UDP, 170)
    assert len(pieces) > 2
    found, decoder = all_of(pieces[::-1] if reverse else pieces)
    datagram = the_one(found)
    assert datagram.payload == INVITE
    assert datagram.number == len(pieces)
    assert datagram.source[1] == 5060
    assert datagram.ip_id == (5 if version == 4 else -1)
    assert not decoder.counts.not_decoded


def test_extension_headers_inside_fragments() -> None:
    whole = IPv6(**V6) / IPv6ExtHdrFragment(id=5) / IPv6ExtHdrDestOpt() / SIP_UDP
    pieces = fragment6(whole, 170)
    assert the_one(all_of(pieces)[0]).payload == INVITE


def test_a_first_fragment_alone_is_given_and_said() -> None:
    first, *_ = fragment(IP(**V4, id=5) / SIP_UDP, fragsize=120)
    decoder = FrameDecoder()
    assert not decoder.decode(1.0, bytes(first), 101, "f", 3)
    assert not decoder.advance(1.1)
    datagram = the_one(decoder.advance(9.0))
    assert (datagram.time, datagram.number, datagram.ip_id) == (1.0, 3, 5)
    assert datagram.payload == INVITE[:112]
    assert decoder.counts.not_decoded == {("fragments", "only the first one was captured"): 1}


def test_tcp_segments_become_messages() -> None:
    cut = 100
    packets = [
        IP(**V4) / TCP(sport=5060, dport=5062, seq=1, flags="PA") / Raw(INVITE[:cut]),
        IP(**V4) / TCP(sport=5060, dport=5062, seq=1 + cut, flags="PA") / Raw(INVITE[cut:]),
    ]
    found, _ = all_of(packets)
    datagram = the_one(found)
    assert (datagram.transport, datagram.payload, datagram.number) == ("TCP", INVITE, 2)


def test_a_lost_segment_is_said() -> None:
    packets = [
        IP(**V4) / TCP(sport=5060, dport=5062, seq=1, flags="PA") / Raw(INVITE),
        IP(**V4) / TCP(sport=5060, dport=5062, seq=9001, flags="PA") / Raw(response()),
    ]
    found, decoder = all_of(packets)
    assert the_one(found).payload == INVITE
    assert the_one(decoder.finish()).payload == response()
    assert decoder.counts.not_decoded == {("tcp", "gaps in streams"): 1}
    assert decoder.counts.sip_datagrams == 2


@pytest.mark.parametrize(
    "outer",
    [
        IP(src="10.1.1.1", dst="10.1.1.2"),
        IPv6(src="2001:db8:1::1", dst="2001:db8:1::2"),
        IP(src="10.1.1.1", dst="10.1.1.2") / GRE(),
        IP(src="10.1.1.1", dst="10.1.1.2") / UDP(sport=9, dport=4789) / VXLAN() / ETHER,
        IP(src="10.1.1.1", dst="10.1.1.2") / IP(src="10.1.2.1", dst="10.1.2.2") / GRE(),
    ],
)
@pytest.mark.parametrize("inner", [IP(**V4) / SIP_UDP, IPv6(**V6) / SIP_UDP, IP(**V4) / SIP_TCP])
def test_tunnels_give_the_endpoints_inside(outer: Packet, inner: Packet) -> None:
    found, _ = decode(ETHER / outer / inner)
    datagram = the_one(found)
    assert datagram.payload == INVITE
    assert datagram.source == (ip_address(inner.src).packed, 5060)


def test_tunnels_without_end_are_a_trap() -> None:
    packet = bytes(IP(**V4) / SIP_UDP)
    for _ in range(40):
        packet = bytes(IP(**V4, proto=4) / Raw(packet))
    found, decoder = decode(packet, 101)
    assert not found
    assert decoder.counts.malformed == {("ip", "too many headers"): 1}


@pytest.mark.parametrize("header", [51, 60])
def test_headers_without_end_are_a_trap(header: int) -> None:
    # Each of these 8 or 12 bytes leads to another one like it.
    one = bytes([header, 1]) + bytes(10) if header == 51 else bytes([header, 0]) + bytes(6)
    found, decoder = decode(IP(**V4, proto=header) / Raw(one * 5000), 101)
    assert not found
    assert sum(decoder.counts.malformed.values()) == 1


def test_encrypted_tunnels_leave_us_blind_and_it_is_said() -> None:
    noise = bytes(range(1, 250))
    _, decoder = decode(ETHER / IP(**V4, proto=50) / Raw(noise))
    (((layer, reason), times),) = decoder.counts.not_decoded.items()
    assert (layer, times) == ("tunnel", 1)
    assert "encrypted" in reason


def test_sctp() -> None:
    packet = (
        IP(**V4)
        / SCTP(sport=5060, dport=5062, tag=1)
        / SCTPChunkData(beginning=1, ending=1, tsn=1, data=INVITE)
    )
    datagram = the_one(decode(ETHER / packet)[0])
    assert (datagram.transport, datagram.payload) == ("SCTP", INVITE)
    assert (datagram.source[1], datagram.destination[1]) == (5060, 5062)


def hep3(payload: bytes) -> bytes:
    """A HEP 3 packet as its specification lays it out."""
    chunks = b"".join(
        struct.pack(">HHH", 0, kind, 6 + len(content)) + content
        for kind, content in (
            (1, b"\x02"),
            (2, b"\x11"),
            (3, bytes([10, 9, 8, 7])),
            (4, bytes([10, 9, 8, 6])),
            (7, struct.pack(">H", 5060)),
            (8, struct.pack(">H", 5070)),
            (9, struct.pack(">I", 1700000000)),
            (10, struct.pack(">I", 5)),
            (11, b"\x01"),
            (12, struct.pack(">I", 2001)),
            (15, payload),
        )
    )
    return b"HEP3" + struct.pack(">H", 6 + len(chunks)) + chunks


def test_mirrored_packets_give_the_endpoints_that_they_tell() -> None:
    packet = ETHER / IP(**V4) / UDP(sport=40000, dport=9060) / Raw(hep3(INVITE))
    for found, _ in (decode(packet), plain(bytes(packet))):
        datagram = the_one(found)
        assert datagram.payload == INVITE
        assert datagram.source == (bytes([10, 9, 8, 7]), 5060)
        assert datagram.destination == (bytes([10, 9, 8, 6]), 5070)
        assert datagram.time == 1.5


def test_mirrored_logs_are_other_udp() -> None:
    packet = ETHER / IP(**V4) / UDP(sport=40000, dport=9060) / Raw(hep3(b"a log line"))
    found, decoder = decode(packet)
    assert not found
    assert decoder.counts.udp_other == 1


def exported_pdu(payload: bytes, transport: int = 2, six: bool = False) -> bytes:
    """Tags as Wireshark writes them, the dissector's name first."""
    source, destination = (22, 23) if six else (20, 21)
    tags = [
        (12, b"sip\0"),
        (source, ip_address(V6["src"] if six else V4["src"]).packed),
        (destination, ip_address(V6["dst"] if six else V4["dst"]).packed),
        (24, struct.pack(">I", transport)),
        (25, struct.pack(">I", 49152)),
        (26, struct.pack(">I", 5061)),
        (30, struct.pack(">I", 77)),
        (0, b""),
    ]
    return b"".join(struct.pack(">HH", tag, len(v)) + v for tag, v in tags) + payload


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize(("number", "transport"), [(1, "SCTP"), (2, "TCP"), (3, "UDP")])
def test_messages_that_wireshark_exported(number: int, transport: str, six: bool) -> None:
    datagram = the_one(decode(exported_pdu(INVITE, number, six), linktypes.EXPORTED_PDU)[0])
    assert datagram.source == (ip_address(V6["src"] if six else V4["src"]).packed, 49152)
    assert datagram.destination == (ip_address(V6["dst"] if six else V4["dst"]).packed, 5061)
    assert (datagram.transport, datagram.payload) == (transport, INVITE)


def test_exported_messages_of_other_protocols_and_damaged_ones() -> None:
    found, decoder = decode(exported_pdu(b"\0\1dns"), linktypes.EXPORTED_PDU)
    assert (found, decoder.counts.udp_other) == ([], 1)
    for end in range(len(exported_pdu(b""))):
        found, decoder = decode(exported_pdu(b"")[:end], linktypes.EXPORTED_PDU)
        assert not found
        assert sum(decoder.counts.malformed.values()) == 1


@pytest.mark.parametrize(
    ("linktype", "header"),
    [(9, b"\x00\x21"), (50, b"\xff\x03\x00\x21"), (219, b"\x00\x01\x01\x40")],
)
def test_link_types_that_are_tunnels_elsewhere(linktype: int, header: bytes) -> None:
    found, _ = decode(header + bytes(IP(**V4) / SIP_UDP), linktype)
    assert the_one(found).payload == INVITE


# Hostile input ------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(st.binary(max_size=300), st.sampled_from([*linktypes.LINKS, linktypes.EXPORTED_PDU, 7777]))
def test_no_frame_raises(frame: bytes, linktype: int) -> None:
    decoder = FrameDecoder()
    decoder.decode(0.0, frame, linktype, "f", 1)
    decoder.advance(10.0)
    decoder.finish()


@settings(max_examples=400)
@given(
    st.sampled_from([0x0800, 0x86DD, 0x8100, 0x8847, 0x8864, 0x880B]),
    st.binary(max_size=200),
)
def test_no_network_header_raises(ethertype: int, packet: bytes) -> None:
    decoder = FrameDecoder()
    decoder.decode(0.0, bytes(12) + ethertype.to_bytes(2, "big") + packet, 1, "f", 1)


@settings(max_examples=400)
@given(st.integers(0, 255), st.binary(max_size=200), st.booleans())
def test_no_transport_header_raises(protocol: int, payload: bytes, six: bool) -> None:
    header = IPv6(**V6, nh=protocol) if six else IP(**V4, proto=protocol)
    decoder = FrameDecoder()
    decoder.decode(0.0, bytes(header / Raw(payload)), 101, "f", 1)


def test_the_registry_names_what_is_decoded() -> None:
    names = {(where, name): decoded for where, _, name, decoded in FrameDecoder().layers()}
    for entry in (
        ("ethertype", "IPv4"),
        ("ethertype", "IPv6"),
        ("IP protocol", "TCP"),
        ("IP protocol", "SCTP"),
        ("UDP port", "VXLAN"),
    ):
        assert names[entry] is True
    assert names["ethertype", "MACsec"] is False
