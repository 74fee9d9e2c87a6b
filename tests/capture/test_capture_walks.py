"""The readers' fast loops say of every frame what the general way says of it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from capture_files import (
    MODIFIED,
    RTP,
    Record,
    enhanced,
    interface,
    pcap,
    read,
    section,
    sip,
    tagged,
    udp_frame,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1Q, Ether
from scapy.packet import Packet, Raw

from sipwatch.net.counts import NetCounts
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch

V4 = IP(src="192.0.2.1", dst="192.0.2.2", id=7)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
MEDIA = Raw(b"\x80\x08" + bytes(60))
MESSAGE = Raw(sip(1))

NETWORK: list[Packet] = [
    V4 / UDP(sport=5060, dport=5060) / MESSAGE,
    V4 / UDP(sport=9000, dport=9002) / MEDIA,
    V4 / UDP(sport=9000, dport=9002) / Raw(b"\x80"),
    V4 / UDP(sport=9000, dport=9002),
    V4 / UDP(sport=9000, dport=9002) / Raw(b"\r\n\r\n"),
    V4 / UDP(sport=3478, dport=3478) / Raw(b"\0\1\0\0" + bytes(16)),
    V4 / TCP(sport=5060, dport=5060, seq=5, flags="PA") / MESSAGE,
    V4 / TCP(sport=5060, dport=5060, flags="S"),
    V4 / TCP(sport=9, dport=5061, flags="PA") / Raw(b"\x16\x03\x01\x00\x30" + bytes(48)),
    IP(src="192.0.2.1", dst="192.0.2.2", flags="MF") / UDP(sport=5060, dport=5060) / MESSAGE,
    IP(src="192.0.2.1", dst="192.0.2.2", frag=4, proto=17) / MEDIA,
    IP(src="192.0.2.1", dst="192.0.2.2", options=[IPOption_RR(routers=["192.0.2.9"])])
    / UDP(sport=5060, dport=5060)
    / MESSAGE,
    V4 / ICMP(type=3, code=3) / V4 / UDP(sport=5060, dport=5060) / MESSAGE,
    V6 / UDP(sport=5060, dport=5060) / MESSAGE,
    V6 / UDP(sport=9000, dport=9002) / MEDIA,
    V6 / UDP(sport=9000, dport=9002) / Raw(b"\x80"),
    V6 / UDP(sport=9000, dport=9002),
    V6 / IPv6ExtHdrDestOpt() / UDP(sport=9000, dport=9002) / MEDIA,
    V6 / TCP(sport=5060, dport=5060, seq=5, flags="PA") / MESSAGE,
]

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
LINKS: dict[int, list[Callable[[Packet], bytes]]] = {
    1: [
        lambda packet: bytes(Ether(**MACS) / packet),
        lambda packet: bytes(Ether(**MACS) / Dot1Q(vlan=5) / packet),
        lambda packet: bytes(Ether(**MACS) / Dot1Q(vlan=5) / Dot1Q(vlan=6) / packet),
        lambda packet: bytes(Ether(**MACS) / ARP()),
    ],
    113: [
        lambda packet: bytes(CookedLinux() / packet),
        lambda packet: bytes(CookedLinux() / Dot1Q(vlan=5) / packet),
    ],
    276: [
        lambda packet: bytes(CookedLinuxV2() / packet),
        lambda packet: bytes(CookedLinuxV2() / Dot1Q(vlan=5) / packet),
    ],
    101: [bytes],
    12: [bytes],
}
FRAMES = {
    linktype: [build(packet) for packet in NETWORK for build in builders]
    for linktype, builders in LINKS.items()
}


def alone(frames: Sequence[bytes], linktype: int, name: str) -> tuple[Batch, FrameDecoder]:
    """What the general way says of the frames, one a second."""
    decoder = FrameDecoder()
    found: Batch = []
    for number, frame in enumerate(frames, 1):
        found += decoder.decode(float(number), frame, linktype, name, number)
    found += decoder.advance(float(len(frames)))
    return found + decoder.finish(), decoder


def media_and_less(counts: NetCounts) -> int:
    return counts.udp_other + counts.keep_alives + sum(counts.malformed.values())


def check(path: Path, frames: Sequence[bytes], linktype: int, sound: bool = False) -> None:
    found, stats = read(path)
    expected, decoder = alone(frames, linktype, str(path))
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    ours, theirs = stats.net, decoder.counts
    assert (ours.sip_datagrams, ours.unreachables) == (theirs.sip_datagrams, theirs.unreachables)
    assert (ours.tcp_other, ours.ip_other) == (theirs.tcp_other, theirs.ip_other)
    assert (ours.not_ip, ours.tls, ours.tunnel_other) == (
        theirs.not_ip,
        theirs.tls,
        theirs.tunnel_other,
    )
    assert ours.not_decoded == theirs.not_decoded
    # What begins like media is media to the loops, without a look at its lengths.
    assert ours.malformed <= theirs.malformed
    assert media_and_less(ours) == media_and_less(theirs)
    if sound:
        assert ours == theirs
    assert stats.packets == len(frames)
    assert stats.bytes == sum(map(len, frames))
    assert not stats.damage


def write_pcap(
    folder: Path, frames: Sequence[bytes], linktype: int, order: str, magic: int
) -> Path:
    records: list[Record] = [(number, 0, frame) for number, frame in enumerate(frames, 1)]
    path = folder / "walk.pcap"
    path.write_bytes(pcap(records, order, magic, linktype))
    return path


def write_pcapng(folder: Path, frames: Sequence[bytes], linktype: int, order: str) -> Path:
    data = section(order) + interface(linktype, order)
    for number, frame in enumerate(frames, 1):
        data += enhanced(number * 10**6, frame, order=order)
    path = folder / "walk.pcapng"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("linktype", FRAMES)
def test_frames_as_they_should_be(tmp_path: Path, linktype: int, order: str) -> None:
    frames = FRAMES[linktype]
    check(write_pcap(tmp_path, frames, linktype, order, 0xA1B2C3D4), frames, linktype, True)
    check(write_pcap(tmp_path, frames, linktype, order, MODIFIED), frames, linktype, True)
    check(write_pcapng(tmp_path, frames, linktype, order), frames, linktype, True)


@st.composite
def damaged_frames(draw: st.DrawFn) -> tuple[int, list[bytes]]:
    """Frames with some bytes changed and some cut off, in runs of the same one before that."""
    linktype = draw(st.sampled_from(list(FRAMES)))
    result = []
    for frame in draw(st.lists(st.sampled_from(FRAMES[linktype]), min_size=1, max_size=8)):
        result += [frame] * draw(st.integers(0, 3))
        data = bytearray(frame)
        for offset, value in draw(
            st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=3)
        ):
            if offset < len(data):
                data[offset] = value
        end = draw(st.one_of(st.just(len(data)), st.integers(1, len(data))))
        result.append(bytes(data[:end]))
    return linktype, result


@settings(max_examples=300, deadline=None)
@given(damaged_frames(), st.sampled_from("<>"))
@example((1, [RTP, tagged(udp_frame(sip(3))), RTP[:43]]), "<")
def test_damaged_frames(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[int, list[bytes]], order: str
) -> None:
    linktype, frames = case
    folder = tmp_path_factory.mktemp("walk")
    check(write_pcap(folder, frames, linktype, order, 0xA1B2C3D4), frames, linktype)
    check(write_pcapng(folder, frames, linktype, order), frames, linktype)


def media_runs(linktype: int) -> list[bytes]:
    """Runs of media of two lengths, each ended by a frame of that length which is no media."""
    frames: list[bytes] = []
    for build in LINKS[linktype][:2]:
        for size in (33, 160):
            media = build(V4 / UDP(sport=9000, dport=9002) / Raw(b"\x80" + bytes(size)))
            odd = [
                build(
                    V4 / UDP(sport=5060, dport=5060) / Raw(b"OPTIONS sip:a SIP/2.0".ljust(size + 1))
                ),
                build(V4 / UDP(sport=5060, dport=5060) / Raw(bytes(size + 1))),
                build(
                    IP(src="192.0.2.1", dst="192.0.2.2", flags="MF")
                    / UDP()
                    / Raw(b"\x80" * (size + 1))
                ),
                build(IP(src="192.0.2.1", dst="192.0.2.2", proto=99) / Raw(b"\x80" * (size + 9))),
            ]
            for number, frame in enumerate(odd):
                assert len(frame) == len(media)
                frames += [media] * (2 + number) + [frame]
            frames += [media] * 40
    return frames


@pytest.mark.parametrize("linktype", FRAMES)
def test_runs_of_media(tmp_path: Path, linktype: int) -> None:
    frames = media_runs(linktype)
    pcaps = write_pcap(tmp_path, frames, linktype, "<", 0xA1B2C3D4)
    check(pcaps, frames, linktype, True)
    pcapngs = write_pcapng(tmp_path, frames, linktype, ">")
    check(pcapngs, frames, linktype, True)
    # Blocks that end anywhere in a run.
    for chunk in (100, 333, 1000, 4099):
        for path in (pcaps, pcapngs):
            found, stats = read(path, chunk=chunk)
            assert [one.number for one in found] == [one.number for one in read(path)[0]]
            assert (stats.packets, stats.bytes) == (len(frames), sum(map(len, frames)))
            assert not stats.damage
