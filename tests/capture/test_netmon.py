"""Network Monitor files, laid out by hand."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest
from capture_files import RTP, call_ids, read, sip, udp_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from sipwatch.capture.stats import CaptureError

START = datetime(2005, 7, 17, 15, 39, 20, 500_000, UTC).timestamp()
#: Bytes behind a frame and where its link type is in them, by minor version.
TRAILERS = {0: 0, 1: 2, 2: 6, 3: 15}

Record = tuple[int, int, bytes]


def netmon(records: list[Record], minor: int = 0, link: int = 1) -> bytes:
    """Records are (microseconds since the start, link type, frame)."""
    body = b""
    offsets = []
    for delta, kind, frame in records:
        offsets.append(128 + len(body))
        body += struct.pack("<QII", delta, len(frame), len(frame)) + frame
        if minor:
            body += struct.pack("<H", kind) + bytes(TRAILERS[minor] - 2)
    table = 128 + len(body)
    header = b"GMBU" + struct.pack("<BBH", minor, 2, link)
    header += struct.pack("<8H", 2005, 7, 0, 17, 15, 39, 20, 500)
    header += struct.pack("<II", table, 4 * len(offsets))
    return header.ljust(128, b"\0") + body + struct.pack(f"<{len(offsets)}I", *offsets)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "one.cap"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("chunk", [50, 1 << 17])
@pytest.mark.parametrize("minor", TRAILERS)
def test_versions(tmp_path: Path, minor: int, chunk: int) -> None:
    records = [(0, 1, udp_frame(sip(1))), (250_000, 1, RTP), (500_000, 1, udp_frame(sip(2)))]
    found, stats = read(write(tmp_path, netmon(records, minor)), chunk=chunk)
    assert call_ids(found) == [1, 2]
    assert [one.time for one in found] == [START, START + 0.5]
    assert (stats.packets, stats.udp_other) == (3, 1)
    assert stats.last_time == START + 0.5
    assert not stats.damage


def test_link_types_of_single_frames(tmp_path: Path) -> None:
    raw = bytes(IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=1, dport=2) / Raw(sip(2)))
    records = [(0, 1, udp_frame(sip(1))), (1, 9, raw), (2, 0xE065, raw), (3, 0xFFFB, b"event")]
    found, stats = read(write(tmp_path, netmon(records, 2)))
    assert call_ids(found) == [1, 2, 2]
    assert sum(stats.not_decoded.values()) == 1


def test_a_cut_file(tmp_path: Path) -> None:
    data = netmon([(0, 1, udp_frame(sip(1))), (1, 1, udp_frame(sip(2)))])
    found, stats = read(write(tmp_path, data[:450]))
    assert call_ids(found) == [1]
    (damage,) = stats.damage
    assert "cut short after packet 1" in damage.what


@pytest.mark.parametrize("head", [netmon([])[:31], b"GMBU" + bytes(60), b"GMBU\0\1" + bytes(60)])
def test_headers_that_make_no_sense(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(CaptureError, match="cut short or damaged"):
        read(write(tmp_path, head))


@settings(max_examples=150, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6),
    end=st.integers(128, 900),
)
def test_damaged_files(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(netmon([(n, 1, udp_frame(sip(n))) for n in range(5)], 2))
    for offset, value in flips:
        data[128 + offset] = value
    path = write(tmp_path_factory.mktemp("netmon"), bytes(data[:end]))
    found, stats = read(path)
    assert len(found) <= stats.packets <= 60
