"""pcap files: byte orders, resolutions, link types, damage at every place."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from capture_files import (
    MICRO,
    MODIFIED,
    NANO,
    RTP,
    Record,
    call_ids,
    pcap,
    read,
    sip,
    sip_records,
    tagged,
    udp_frame,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from sipwatch.capture.stats import CaptureError
from sipwatch.net.types import Datagram

HEADER = 24
RECORD = 16


def write(folder: Path, data: bytes, name: str = "one.pcap") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "fraction", "time"),
    [
        (MICRO, 123_456, 1_700_000_000.123456),
        (NANO, 123_456_789, 1_700_000_000.123456789),
        (MODIFIED, 999_999, 1_700_000_000.999999),
    ],
)
def test_byte_orders_and_resolutions(
    tmp_path: Path, order: str, magic: int, fraction: int, time: float
) -> None:
    records = [(1_700_000_000, fraction, frame) for frame in (udp_frame(sip(1)), RTP)]
    found, stats = read(write(tmp_path, pcap(records, order, magic)))
    (datagram,) = found
    assert isinstance(datagram, Datagram)
    assert datagram.time == pytest.approx(time, abs=2e-7, rel=0)
    assert datagram.payload == sip(1)
    assert datagram.source == (bytes([192, 0, 2, 1]), 5060)
    assert (datagram.number, datagram.interface) == (1, str(tmp_path / "one.pcap"))
    assert (stats.packets, stats.sip_datagrams, stats.udp_other) == (2, 1, 1)
    assert stats.first_time == stats.last_time == datagram.time
    assert not stats.damage


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [MICRO, MODIFIED])
def test_all_of_the_counts(tmp_path: Path, order: str, magic: int) -> None:
    frames = [udp_frame(sip(1)), RTP, tagged(RTP), tagged(udp_frame(sip(2))), b"", RTP[:50]]
    records = [(100 + number, 0, frame) for number, frame in enumerate(frames)]
    found, stats = read(write(tmp_path, pcap(records, order, magic)))
    assert call_ids(found) == [1, 2]
    assert [one.number for one in found] == [1, 4]
    assert stats.packets == len(frames)
    assert stats.bytes == sum(map(len, frames))
    assert (stats.first_time, stats.last_time) == (100, 105)
    assert stats.malformed == {("link", "too short"): 1}


@pytest.mark.parametrize("network", [IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="::2")])
@pytest.mark.parametrize(
    ("linktype", "link"),
    [
        (113, CookedLinux()),
        (113, CookedLinux() / Dot1Q(vlan=3)),
        (276, CookedLinuxV2()),
        (276, CookedLinuxV2() / Dot1Q(vlan=3)),
        (101, None),
        (0, Raw(struct.pack("<I", 2))),
        (108, Raw(struct.pack(">I", 2))),
    ],
)
def test_link_types(tmp_path: Path, linktype: int, link: Packet | None, network: Packet) -> None:
    if linktype in (0, 108) and network.version == 6:
        link = Raw(struct.pack("<I" if linktype == 0 else ">I", 24))

    def frame(payload: bytes) -> bytes:
        packet = network / UDP(sport=5060, dport=5070) / Raw(payload)
        return bytes(packet if link is None else link / packet)

    records = [(1, 0, frame(sip(1))), (2, 0, frame(b"\x80" + bytes(90))), (3, 0, frame(sip(3)))]
    for order in "<>":
        found, stats = read(write(tmp_path, pcap(records, order, linktype=linktype)))
        assert call_ids(found) == [1, 3]
        assert [one.destination[1] for one in found] == [5070, 5070]
        assert (stats.udp_other, stats.packets) == (1, 3)
        assert not stats.malformed


def test_files_that_scapy_writes(tmp_path: Path) -> None:
    path = tmp_path / "scapy.pcap"
    packets = [Ether(udp_frame(sip(number))) for number in range(3)]
    for number, packet in enumerate(packets):
        packet.time = 100.25 + number
    wrpcap(str(path), packets, nano=True)
    found, stats = read(path)
    assert call_ids(found) == [0, 1, 2]
    assert [one.time for one in found] == [100.25, 101.25, 102.25]
    assert stats.files[0].format == "pcap, nanoseconds"


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000, 1 << 20])
def test_blocks_may_end_anywhere(tmp_path: Path, chunk: int) -> None:
    records: list[Record] = []
    for number in range(40):
        records += [(number, 0, RTP), (number, 1, udp_frame(sip(number)))]
    found, stats = read(write(tmp_path, pcap(records)), chunk=chunk)
    assert call_ids(found) == list(range(40))
    assert [one.number for one in found] == list(range(2, 81, 2))
    assert stats.bytes == sum(len(frame) for _, _, frame in records)
    assert not stats.damage


def test_snapped_packets_are_counted_and_read_as_far_as_they_go(tmp_path: Path) -> None:
    records = [(1, 0, udp_frame(sip(1))), (2, 0, RTP), (3, 0, b"x" * 20)]
    found, stats = read(write(tmp_path, pcap(records, snap=120)))
    assert [one.payload for one in found] == [sip(1)[: 120 - 42]]
    assert (stats.snapped, stats.udp_other) == (2, 1)


def test_time_that_goes_back_is_given_as_it_is(tmp_path: Path) -> None:
    records = [(number, 0, udp_frame(sip(number))) for number in (5, 4, 9, 7)]
    found, stats = read(write(tmp_path, pcap(records)))
    assert call_ids(found) == [5, 4, 9, 7]
    assert (stats.first_time, stats.last_time) == (5, 7)


def test_a_file_without_packets_is_sound(tmp_path: Path) -> None:
    found, stats = read(write(tmp_path, pcap([])))
    assert (found, stats.packets, stats.first_time) == ([], 0, None)
    assert not stats.damage


# Damage -------------------------------------------------------------------------------------------


def test_a_cut_at_every_byte_of_the_last_packet(tmp_path: Path) -> None:
    data = pcap(sip_records(range(3)))
    last = len(pcap(sip_records(range(2))))
    for end in range(last + 1, len(data)):
        found, stats = read(write(tmp_path, data[:end]))
        assert call_ids(found) == [0, 1]
        (damage,) = stats.damage
        assert damage.position == last
        assert "cut short" in damage.what
        assert "packet 3" in damage.what


def test_a_header_that_is_cut_is_no_capture(tmp_path: Path) -> None:
    for end in range(4, HEADER):
        with pytest.raises(CaptureError, match="header of the file is cut short"):
            read(write(tmp_path, pcap([])[:end]))


IMPOSSIBLE = [0xFFFFFFFF, 0x7FFFFFFF, 300_000]


@pytest.mark.parametrize("chunk", [512, 1 << 17])
@pytest.mark.parametrize("length", IMPOSSIBLE)
@pytest.mark.parametrize("both", [False, True])
def test_reading_goes_on_behind_an_impossible_length(
    tmp_path: Path, length: int, both: bool, chunk: int
) -> None:
    records = sip_records(range(1_700_000_000, 1_700_000_000 + 2000))
    data = bytearray(pcap(records))
    size = RECORD + len(records[0][2])
    at = HEADER + 5 * size
    struct.pack_into("<I", data, at + 8, length)
    if both:
        struct.pack_into("<I", data, at + 12, length)
    found, stats = read(write(tmp_path, bytes(data)), chunk=chunk)
    assert [n - 1_700_000_000 for n in call_ids(found)] == [*range(5), *range(6, 2000)]
    (damage,) = stats.damage
    assert damage.position == at
    assert f"packet 6 has the impossible length {length:,}" in damage.what
    assert f"{size:,} bytes lost" in damage.what


def test_an_impossible_length_of_the_last_packet(tmp_path: Path) -> None:
    data = bytearray(pcap(sip_records(range(3))))
    at = len(pcap(sip_records(range(2))))
    struct.pack_into("<I", data, at + 8, 0x10000000)
    found, stats = read(write(tmp_path, bytes(data)))
    assert call_ids(found) == [0, 1]
    (damage,) = stats.damage
    assert damage.position == at
    assert "nothing after it could be read" in damage.what


def test_zeros_at_the_end_are_no_packets(tmp_path: Path) -> None:
    # What a machine leaves that lost power while the file was being written.
    data = pcap(sip_records(range(1, 4)))
    found, stats = read(write(tmp_path, data + bytes(5000)))
    assert call_ids(found) == [1, 2, 3]
    assert stats.packets == 3
    (damage,) = stats.damage
    assert damage.position == len(data)
    assert "zeros" in damage.what


def test_a_file_of_zeros_ends(tmp_path: Path) -> None:
    _, stats = read(write(tmp_path, pcap([]) + bytes(3 << 20)))
    assert (stats.packets, len(stats.damage)) == (0, 1)


def test_damage_everywhere_does_not_fill_the_memory(tmp_path: Path) -> None:
    good = sip_records(range(1_700_000_000, 1_700_000_002))
    wrong = struct.pack("<IIII", 1_700_000_000, 0, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(8)
    one = pcap(good)[HEADER:] + wrong
    found, stats = read(write(tmp_path, pcap([]) + one * 300 + pcap(good)[HEADER:]))
    assert len(found) == 602
    assert len(stats.damage) == 100
    assert stats.files[0].more_damage == 200


MIXED: list[Record] = []
for _number in range(1_700_000_000, 1_700_000_030):
    MIXED += [(_number, 0, RTP), (_number, 1, udp_frame(sip(_number)))]


@settings(max_examples=150, deadline=None)
@given(
    order=st.sampled_from("<>"),
    magic=st.sampled_from([MICRO, NANO, MODIFIED]),
    flips=st.lists(st.tuples(st.integers(HEADER, 15_000), st.integers(0, 255)), max_size=8),
    end=st.integers(HEADER, 20_000),
    chunk=st.sampled_from([100, 4096, 1 << 17]),
)
def test_flipped_and_cut_files_are_read_to_their_end(
    tmp_path_factory: pytest.TempPathFactory,
    order: str,
    magic: int,
    flips: list[tuple[int, int]],
    end: int,
    chunk: int,
) -> None:
    whole = pcap(MIXED, order, magic)
    data = bytearray(whole)
    for offset, value in flips:
        data[offset % len(data)] = value if offset % len(data) >= HEADER else data[offset % 24]
    data = data[:end]
    path = write(tmp_path_factory.mktemp("flipped"), bytes(data))
    found, stats = read(path, chunk=chunk)
    assert len(found) <= stats.packets * 2
    assert stats.bytes <= len(data)
    if not flips and end >= len(whole):
        assert len(found) == 30
        assert not stats.damage


def test_what_a_flip_costs(tmp_path: Path) -> None:
    """One wrong byte never costs more than a few packets, and is said when it hides any."""
    whole = pcap(MIXED)
    every = call_ids(read(write(tmp_path, whole))[0])
    chance = random.Random(5)
    for _ in range(200):
        data = bytearray(whole)
        data[chance.randrange(HEADER, len(data))] ^= 1 << chance.randrange(8)
        found, stats = read(write(tmp_path, bytes(data)))
        kept = {one.payload for one in found}
        missing = [number for number in every if sip(number) not in kept]
        assert len(missing) <= 3
        if len(missing) > 1:
            assert stats.damage or stats.malformed or stats.not_decoded


@settings(max_examples=200, deadline=None)
@given(
    magic=st.sampled_from([MICRO, NANO, MODIFIED]),
    order=st.sampled_from("<>"),
    rest=st.binary(max_size=400),
)
def test_any_bytes_behind_the_magic(
    tmp_path_factory: pytest.TempPathFactory, magic: int, order: str, rest: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("any"), struct.pack(order + "I", magic) + rest)
    if len(rest) < HEADER - 4:
        with pytest.raises(CaptureError):
            read(path)
    else:
        assert read(path)[1].bytes <= len(rest)
