"""pcapng files: sections, interfaces, kinds of packet blocks, damage at every place."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from capture_files import (
    ETHERNET,
    RTP,
    Record,
    block,
    call_ids,
    enhanced,
    interface,
    old_packet,
    option,
    pcapng,
    read,
    section,
    simple,
    sip,
    sip_records,
    tagged,
    udp_frame,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import CookedLinux
from scapy.packet import Raw
from scapy.utils import PcapNgWriter

from sipwatch.capture.stats import CaptureError
from sipwatch.net.types import Datagram

RESOLUTION, OFFSET = 9, 14


def write(folder: Path, data: bytes, name: str = "one.pcapng") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_of_the_counts(tmp_path: Path, order: str) -> None:
    frames = [udp_frame(sip(1)), RTP, tagged(RTP), tagged(udp_frame(sip(2))), b"", RTP[:50]]
    records = [(100 + number, 250_000, frame) for number, frame in enumerate(frames)]
    found, stats = read(write(tmp_path, pcapng(records, order)))
    assert call_ids(found) == [1, 2]
    assert [one.number for one in found] == [1, 4]
    assert [one.time for one in found] == [100.25, 103.25]
    first = found[0]
    assert isinstance(first, Datagram)
    assert first.source == (bytes([192, 0, 2, 1]), 5060)
    assert stats.packets == len(frames)
    assert stats.bytes == sum(map(len, frames))
    assert (stats.first_time, stats.last_time) == (100.25, 105.25)
    assert stats.malformed == {("link", "too short"): 1}
    assert stats.files[0].format == "pcapng"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "units"),
    [
        (None, 10**6),
        (0, 1),
        (3, 10**3),
        (6, 10**6),
        (9, 10**9),
        (12, 10**12),
        (0x80 | 10, 2**10),
        (0x80 | 20, 2**20),
        (0x80 | 32, 2**32),
    ],
)
def test_resolutions_of_time(
    tmp_path: Path, order: str, resolution: int | None, units: int
) -> None:
    seconds = 17_000_000 if units > 2**31 else 1_700_000_000
    options = b"" if resolution is None else option(RESOLUTION, bytes([resolution]), order)
    data = section(order) + interface(order=order, options=options)
    for number in range(3):
        ticks = seconds * units + units * number // 4
        data += enhanced(ticks, udp_frame(sip(number)), order=order)
    found, stats = read(write(tmp_path, data))
    expected = [seconds + (number / 4 if units > 1 else 0) for number in range(3)]
    assert [one.time for one in found] == pytest.approx(expected, abs=3e-7, rel=0)
    assert stats.last_time == found[-1].time


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("offset", [1_700_000_000, -50])
def test_offset_of_time(tmp_path: Path, order: str, offset: int) -> None:
    options = option(OFFSET, struct.pack(order + "q", offset), order)
    data = section(order) + interface(order=order, options=options)
    data += enhanced(60_500_000, udp_frame(sip(1)), order=order)
    found, _ = read(write(tmp_path, data))
    assert [one.time for one in found] == [offset + 60.5]


def test_several_interfaces_each_with_its_own_link_type_and_clock(tmp_path: Path) -> None:
    network = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=5060, dport=5060)
    data = section() + interface() + interface(113, options=option(RESOLUTION, b"\x09"))
    data += interface(101) + interface()
    data += enhanced(1_000_000, udp_frame(sip(1)), 0)
    data += enhanced(2_000_000_000, bytes(CookedLinux() / network / Raw(sip(2))), 1)
    data += enhanced(3_000_000, bytes(network / Raw(sip(3))), 2)
    data += enhanced(4_000_000, udp_frame(sip(4)), 3)
    data += enhanced(5_000_000, udp_frame(sip(5)), 0)
    found, stats = read(write(tmp_path, data))
    assert call_ids(found) == [1, 2, 3, 4, 5]
    assert [one.time for one in found] == [1, 2, 3, 4, 5]
    assert [one.number for one in found] == [1, 2, 3, 4, 5]
    assert not stats.damage


def test_sections_of_either_byte_order_begin_with_no_interface(tmp_path: Path) -> None:
    data = pcapng(sip_records([1, 2]), "<") + pcapng(sip_records([3]), ">")
    data += section("<") + interface(101) + interface(order="<")
    data += enhanced(4_000_000, udp_frame(sip(4)), 1)
    data += section("<") + enhanced(5_000_000, udp_frame(sip(5)))
    data += pcapng(sip_records([6]), "<")
    found, stats = read(write(tmp_path, data))
    assert call_ids(found) == [1, 2, 3, 4, 6]
    assert [one.number for one in found] == [1, 2, 3, 4, 6]
    (damage,) = stats.damage
    assert "packet 5 is of interface 0, unknown" in damage.what


def test_an_interface_may_come_between_packets(tmp_path: Path) -> None:
    data = pcapng(sip_records([1])) + interface() + enhanced(2_000_000, udp_frame(sip(2)), 1)
    found, _ = read(write(tmp_path, data))
    assert call_ids(found) == [1, 2]


@pytest.mark.parametrize("order", ["<", ">"])
def test_simple_packets_have_the_time_of_the_one_before(tmp_path: Path, order: str) -> None:
    data = section(order) + interface(order=order, snap=300)
    data += simple(udp_frame(sip(0)), order)
    data += enhanced(7_500_000, udp_frame(sip(1)), order=order)
    data += simple(udp_frame(sip(2)), order)
    # Cut to the snap length; the block does not say how much of it is padding.
    long = udp_frame(sip(3) + b"x" * 400)
    data += simple(long[:300], order, wire=len(long))
    found, stats = read(write(tmp_path, data))
    assert [one.time for one in found] == [0, 7.5, 7.5, 7.5]
    assert found[-1].payload == long[42:300]
    assert (stats.packets, stats.snapped) == (4, 1)
    assert stats.first_time == 7.5


@pytest.mark.parametrize("order", ["<", ">"])
def test_obsolete_packet_blocks(tmp_path: Path, order: str) -> None:
    data = section(order) + interface(101, order) + interface(order=order)
    data += old_packet(1_250_000, udp_frame(sip(1)), 1, order)
    found, stats = read(write(tmp_path, data))
    assert (call_ids(found), found[0].time, stats.packets) == ([1], 1.25, 1)


def test_unknown_blocks_and_options_are_stepped_over(tmp_path: Path) -> None:
    comment = option(1, b"a comment") + option(0, b"")
    data = section(options=comment) + interface(options=option(2, b"eth0") + comment)
    data += block(4, bytes(60)) + block(0x0BAD, b"custom" * 50) + block(5, bytes(24))
    data += enhanced(1_000_000, udp_frame(sip(1)), options=option(2, bytes(4)) + comment)
    data += block(10, b"key log" * 9000)
    data += enhanced(2_000_000, udp_frame(sip(2)), options=comment)
    for chunk in (50, 1 << 17):
        found, stats = read(write(tmp_path, data), chunk=chunk)
        assert call_ids(found) == [1, 2]
        assert not stats.damage


def test_options_behind_their_end_and_beyond_the_block_are_not_read(tmp_path: Path) -> None:
    for options in (
        option(0, b"") + option(RESOLUTION, b"\x03"),
        struct.pack("<HH", RESOLUTION, 60_000) + b"\x03\0\0\0",
        option(RESOLUTION, b""),
        option(OFFSET, b"\xff\xff\xff\xff"),
    ):
        data = section() + interface(options=options) + enhanced(1_000_000, udp_frame(sip(1)))
        found, _ = read(write(tmp_path, data))
        assert [one.time for one in found] == [1]


def test_a_block_whose_length_is_not_padded(tmp_path: Path) -> None:
    frame = udp_frame(sip(1))
    frame += bytes(1 - len(frame) % 4 + 4)
    body = struct.pack("<IIIII", 0, 0, 1_000_000, len(frame), len(frame)) + frame
    assert len(body) % 4
    length = struct.pack("<I", len(body) + 12)
    odd = struct.pack("<I", 6) + length + body + bytes(-len(body) % 4) + length
    data = section() + interface() + odd + enhanced(2_000_000, udp_frame(sip(2)))
    found, stats = read(write(tmp_path, data))
    assert call_ids(found) == [1, 2]
    assert not stats.damage


def test_files_that_scapy_writes(tmp_path: Path) -> None:
    path = tmp_path / "scapy.pcapng"
    with PcapNgWriter(str(path)) as writer:
        for number in range(3):
            packet = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=5060, dport=5060)
            packet = packet / Raw(sip(number))
            packet.time = 50.5 + number
            writer.write(packet)
    found, _ = read(path)
    assert call_ids(found) == [0, 1, 2]
    assert [one.time for one in found] == [50.5, 51.5, 52.5]


@pytest.mark.parametrize("chunk", [1, 13, 64, 1000, 1 << 20])
def test_blocks_may_be_read_in_any_pieces(tmp_path: Path, chunk: int) -> None:
    records: list[Record] = []
    for number in range(40):
        records += [(number, 0, RTP), (number, 1, udp_frame(sip(number)))]
    found, stats = read(write(tmp_path, pcapng(records)), chunk=chunk)
    assert call_ids(found) == list(range(40))
    assert [one.number for one in found] == list(range(2, 81, 2))
    assert stats.bytes == sum(len(frame) for _, _, frame in records)
    assert not stats.damage


def test_snapped_packets(tmp_path: Path) -> None:
    data = section() + interface()
    data += enhanced(1, udp_frame(sip(1))[:100], wire=500) + enhanced(2, RTP[:60], wire=len(RTP))
    found, stats = read(write(tmp_path, data))
    assert [one.payload for one in found] == [sip(1)[:58]]
    assert (stats.snapped, stats.udp_other) == (2, 1)


# Damage -------------------------------------------------------------------------------------------


def test_a_cut_at_every_byte_of_the_last_packet(tmp_path: Path) -> None:
    data = pcapng(sip_records(range(3)))
    last = len(pcapng(sip_records(range(2))))
    for end in range(last + 1, len(data)):
        found, stats = read(write(tmp_path, data[:end]))
        assert call_ids(found) == [0, 1]
        (damage,) = stats.damage
        assert damage.position == last
        assert "cut short" in damage.what


@pytest.mark.parametrize("start", [b"\x0a\x0d\x0d\x0a", section()[:8] + b"junk" + bytes(20)])
def test_a_section_that_does_not_name_its_byte_order(tmp_path: Path, start: bytes) -> None:
    with pytest.raises(CaptureError, match="cut short or damaged"):
        read(write(tmp_path, start))


@pytest.mark.parametrize("chunk", [300, 1 << 17])
@pytest.mark.parametrize("length", [0, 4, 11, 0xFFFFFFFF, 0x10000000, 400])
def test_reading_goes_on_behind_a_damaged_block_length(
    tmp_path: Path, length: int, chunk: int
) -> None:
    records = sip_records(range(1000))
    data = bytearray(pcapng(records))
    at = len(pcapng(records[:5]))
    size = len(pcapng(records[:6])) - at
    struct.pack_into("<I", data, at + 4, length)
    found, stats = read(write(tmp_path, bytes(data)), chunk=chunk)
    assert call_ids(found) == [*range(5), *range(6, 1000)]
    (damage,) = stats.damage
    assert damage.position == at
    assert f"{size:,} bytes lost" in damage.what


def test_a_damaged_packet_costs_only_itself(tmp_path: Path) -> None:
    records = sip_records(range(10))
    data = bytearray(pcapng(records))
    at = len(pcapng(records[:5]))
    struct.pack_into("<I", data, at + 20, 5000)
    found, stats = read(write(tmp_path, bytes(data)))
    assert call_ids(found) == [*range(5), *range(6, 10)]
    assert stats.packets == 10
    (damage,) = stats.damage
    assert damage.position == at
    assert "packet 6 has the impossible length 5,000" in damage.what


@pytest.mark.parametrize("high", [0xFFFFFFFF, 0x7FFFFFFF])
def test_times_beyond_the_calendar_are_damage(tmp_path: Path, high: int) -> None:
    options = option(RESOLUTION, b"\x00")
    data = section() + interface(options=options) + enhanced(5, udp_frame(sip(1)))
    data += enhanced(high << 32, udp_frame(sip(2))) + enhanced(6, udp_frame(sip(3)))
    found, stats = read(write(tmp_path, data))
    assert call_ids(found) == [1, 3]
    assert (stats.first_time, stats.last_time) == (5, 6)
    (damage,) = stats.damage
    assert "packet 2 has an impossible time" in damage.what


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (block(1, bytes(4)), "interface description is too short"),
        (block(6, bytes(12)), "packet block is too short"),
        (block(3, b""), "packet block is too short"),
    ],
)
def test_blocks_that_are_too_short(tmp_path: Path, bad: bytes, what: str) -> None:
    data = section() + interface() + bad + enhanced(1, udp_frame(sip(1)))
    found, stats = read(write(tmp_path, data))
    assert call_ids(found) == [1]
    (damage,) = stats.damage
    assert what in damage.what


def test_interfaces_without_end_do_not_fill_the_memory(tmp_path: Path) -> None:
    data = section() + interface() * 66_000 + enhanced(1, udp_frame(sip(1)))
    found, stats = read(write(tmp_path, data))
    assert call_ids(found) == [1]
    assert len(stats.damage) == 100
    assert stats.files[0].more_damage == 66_000 - 65_536 - 100


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"\xff" * 5000, b"\x06\0\0\0" * 2000])
def test_rubbish_at_the_end(tmp_path: Path, tail: bytes) -> None:
    data = pcapng(sip_records([1, 2, 3]))
    found, stats = read(write(tmp_path, data + tail))
    assert call_ids(found) == [1, 2, 3]
    (damage,) = stats.damage
    assert damage.position == len(data)


MIXED: list[Record] = []
for _number in range(30):
    MIXED += [(_number, 0, RTP), (_number, 1, udp_frame(sip(_number)))]


@settings(max_examples=200, deadline=None)
@given(
    order=st.sampled_from("<>"),
    flips=st.lists(st.tuples(st.integers(28, 15_000), st.integers(0, 255)), max_size=8),
    end=st.integers(28, 20_000),
    chunk=st.sampled_from([100, 4096, 1 << 17]),
)
def test_flipped_and_cut_files_are_read_to_their_end(
    tmp_path_factory: pytest.TempPathFactory,
    order: str,
    flips: list[tuple[int, int]],
    end: int,
    chunk: int,
) -> None:
    whole = pcapng(MIXED, order)
    data = bytearray(whole)
    for offset, value in flips:
        data[28 + offset % (len(data) - 28)] = value
    data = data[:end]
    path = write(tmp_path_factory.mktemp("flipped"), bytes(data))
    found, stats = read(path, chunk=chunk)
    assert len(found) <= stats.packets * 2
    if not flips and end >= len(whole):
        assert len(found) == 30
        assert not stats.damage


def test_what_a_flip_costs(tmp_path: Path) -> None:
    """One wrong byte never costs more than a few packets, and is said when it hides any."""
    whole = pcapng(MIXED)
    start = len(pcapng([]))
    every = call_ids(read(write(tmp_path, whole))[0])
    chance = random.Random(5)
    for _ in range(200):
        data = bytearray(whole)
        data[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
        found, stats = read(write(tmp_path, bytes(data)))
        kept = {one.payload for one in found}
        missing = [number for number in every if sip(number) not in kept]
        assert len(missing) <= 2
        if len(missing) > 1:
            assert stats.damage


@settings(max_examples=300, deadline=None)
@given(order=st.sampled_from("<>"), rest=st.binary(max_size=400))
def test_any_bytes_behind_a_section_and_an_interface(
    tmp_path_factory: pytest.TempPathFactory, order: str, rest: bytes
) -> None:
    data = section(order) + interface(ETHERNET, order) + rest
    path = write(tmp_path_factory.mktemp("any"), data)
    _, stats = read(path)
    assert stats.bytes <= len(rest)
    assert not rest or stats.damage or stats.packets or len(rest) >= 12


@settings(max_examples=300, deadline=None)
@given(
    order=st.sampled_from("<>"),
    blocks=st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=60)), max_size=8),
)
def test_any_bytes_in_sound_blocks(
    tmp_path_factory: pytest.TempPathFactory, order: str, blocks: list[tuple[int, bytes]]
) -> None:
    data = section(order) + b"".join(block(kind, body, order) for kind, body in blocks)
    data += pcapng(sip_records([7]), order)
    path = write(tmp_path_factory.mktemp("blocks"), data)
    found, _ = read(path)
    # Whatever they say, the section behind them is read.
    assert call_ids(found)[-1] == 7
