"""Compressed captures: whole, in several members, cut, damaged, and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from capture_files import call_ids, pcap, pcapng, read, sip_records
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.capture.compression import CompressedDataError, Stream, compression_of

Compress = Callable[[bytes], bytes]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def zstd_without_size(data: bytes) -> bytes:
    """As the program writes it from a pipe: the frame does not tell its length."""
    compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return compressor.compress(data) + compressor.flush()


METHODS: dict[str, Compress] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}
EACH = pytest.mark.parametrize("method", METHODS)


def stream(method: str, data: bytes) -> Stream:
    return Stream(method, io.BytesIO(data).read)


def drain(source: Stream, size: int) -> bytes:
    parts = []
    while data := source.read(size):
        assert len(data) <= size
        parts.append(data)
    return b"".join(parts)


def drain_to_error(source: Stream, size: int) -> tuple[bytes, str]:
    """What comes out before the error, and the error."""
    parts = []
    while True:
        try:
            data = source.read(size)
        except CompressedDataError as error:
            return b"".join(parts), str(error)
        assert data
        parts.append(data)


NOISE = random.Random(1).randbytes(300_000)


@EACH
@pytest.mark.parametrize("size", [1000, 131_072, 1 << 20])
@pytest.mark.parametrize("data", [NOISE, b"", bytes(500_000)])
def test_what_goes_in_comes_out(method: str, size: int, data: bytes) -> None:
    assert drain(stream(method, METHODS[method](data)), size) == data


@EACH
def test_the_magic_tells_the_method(method: str) -> None:
    assert compression_of(METHODS[method](b"x")[:6]) == method
    assert compression_of(pcap([])[:6]) is None
    assert compression_of(b"") is None


@EACH
def test_members_one_behind_another(method: str) -> None:
    parts = [NOISE[:1000], b"", NOISE[1000:70_000], b"end"]
    data = b"".join(map(METHODS[method], parts))
    for size in (100, 1 << 17):
        assert drain(stream(method, data), size) == b"".join(parts)


def test_zstd_frames_without_a_size() -> None:
    assert drain(stream("zstd", zstd_without_size(NOISE) * 2), 5000) == NOISE * 2


@EACH
def test_zeros_behind_the_end_are_padding(method: str) -> None:
    assert drain(stream(method, METHODS[method](NOISE) + bytes(5000)), 1 << 16) == NOISE


@EACH
def test_what_is_cut_gives_its_beginning_and_says_so(method: str) -> None:
    data = METHODS[method](NOISE)
    source = stream(method, data[: len(data) // 2])
    got, error = drain_to_error(source, 10_000)
    assert "cut short" in error
    assert NOISE.startswith(got)
    # bzip2 and zstd have blocks of 128 KiB and more, of which a part is nothing.
    assert method in ("bzip2", "zstd", "xz") or len(got) > 100_000
    assert source.read(10_000) == b""


@EACH
def test_rubbish_behind_the_end_is_said(method: str) -> None:
    source = stream(method, METHODS[method](b"capture") + b"rubbish")
    assert source.read(100) == b"capture"
    with pytest.raises(CompressedDataError, match="not compressed"):
        source.read(100)
    assert source.read(100) == b""


@EACH
@settings(max_examples=60, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5))
def test_flipped_data_ends_with_the_documented_error(
    method: str, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(METHODS[method](NOISE[:20_000]))
    for offset, value in flips:
        data[6 + offset % (len(data) - 6)] = value
    source = stream(method, bytes(data))
    try:
        drain(source, 4096)
    except CompressedDataError:
        assert source.read(1) == b""


@EACH
def test_a_bomb_is_given_in_small_pieces(method: str) -> None:
    bomb = METHODS[method](bytes(64 << 20))
    assert len(bomb) < 100_000
    source = stream(method, bomb)
    total = 0
    while data := source.read(1 << 16):
        assert len(data) <= 1 << 16
        total += len(data)
    assert total == 64 << 20


# Whole captures -----------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("build", [pcap, pcapng])
def test_compressed_captures(tmp_path: Path, method: str, build: Compress) -> None:
    path = tmp_path / "one"
    path.write_bytes(METHODS[method](build(sip_records(range(500)))))
    found, stats = read(path)
    assert call_ids(found) == list(range(500))
    assert stats.files[0].format == f"{build.__name__} ({method})"
    assert not stats.damage


def test_a_gzip_file_cut_short_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "one.gz"
    records = sip_records(random.Random(3).sample(range(10**9), 3000))
    data = gzip.compress(pcap(records))
    path.write_bytes(data[: len(data) // 2])
    found, stats = read(path)
    assert 1000 < len(found) < 2000
    assert call_ids(found) == [number for number, _, _ in records[: len(found)]]
    (damage,) = stats.damage
    assert damage.file == str(path)
    assert "compressed data is cut short" in damage.what


def test_gzip_members_may_end_within_a_packet(tmp_path: Path) -> None:
    path = tmp_path / "one.gz"
    data = pcap(sip_records(range(20)))
    path.write_bytes(
        b"".join(gzip.compress(data[at : at + 333]) for at in range(0, len(data), 333))
    )
    assert call_ids(read(path)[0]) == list(range(20))


def test_what_the_gzip_program_writes(tmp_path: Path) -> None:
    path = tmp_path / "one.pcap"
    path.write_bytes(pcap(sip_records(range(20))))
    subprocess.run(["gzip", str(path)], check=True, timeout=20)
    assert call_ids(read(f"{path}.gz")[0]) == list(range(20))
