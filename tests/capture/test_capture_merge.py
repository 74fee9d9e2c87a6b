"""Several files as one stream: rotating sets, overlaps, more files than may be open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from capture_files import (
    RTP,
    block,
    call_ids,
    enhanced,
    interface,
    pcap,
    pcapng,
    read,
    section,
    sip,
    sip_records,
    udp_frame,
)
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.packet import Raw

from sipwatch.capture import merge as merging
from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.merge import Member, insert, merge
from sipwatch.net.types import Batch, Datagram

END = (b"\x7f\0\0\1", 5060)


def datagram(time: float, name: str = "a") -> Datagram:
    return Datagram(time, END, END, "UDP", b"", name, 1)


def member(starts: float, batches: list[list[float]], name: str = "a") -> Member:
    def read_all() -> Iterator[Batch]:
        for times in batches:
            yield [datagram(time, name) for time in times]

    return Member(starts, read_all)


def times_of(members: list[Member], late: list[int] | None = None) -> list[float]:
    missed = late if late is not None else []
    return [one.time for batch in merge(members, lambda: missed.append(1)) for one in batch]


def test_files_that_follow_one_another_keep_their_batches() -> None:
    first: Batch = [datagram(1), datagram(2)]
    second: Batch = [datagram(3)]
    members = [Member(3, lambda: iter([second])), Member(1, lambda: iter([first]))]
    batches = list(merge(members, lambda: None))
    assert batches[0] is first
    assert batches[1] is second


def test_a_file_is_opened_only_when_it_is_due() -> None:
    opened = []

    def read_all(name: str, times: list[float]) -> Iterator[Batch]:
        opened.append(name)
        yield [datagram(time) for time in times]

    members = [
        Member(5, lambda: read_all("b", [5, 6])),
        Member(1, lambda: read_all("a", [1, 2])),
    ]
    result = merge(members, lambda: None)
    next(result)
    assert opened == ["a"]
    next(result)
    assert opened == ["a", "b"]


def test_empty_batches_pass_so_that_progress_is_seen() -> None:
    members = [member(1, [[], [1.0], [], []]), member(2, [[], [2.0]])]
    batches = list(merge(members, lambda: None))
    assert [len(batch) for batch in batches if batch] == [1, 1]
    assert len([batch for batch in batches if not batch]) == 4


def test_a_file_whose_time_goes_back_keeps_its_order() -> None:
    members = [member(1, [[1.0, 4.0, 3.9, 5.0]]), member(2, [[2.0, 3.95, 6.0]], "b")]
    assert times_of(members) == [1.0, 2.0, 3.95, 4.0, 3.9, 5.0, 6.0]


@given(
    st.lists(
        st.lists(st.lists(st.integers(0, 50), max_size=4), max_size=4).map(
            lambda batches: [[*batch] for batch in batches]
        ),
        max_size=5,
    )
)
def test_sorted_files_make_a_sorted_stream(files: list[list[list[int]]]) -> None:
    members = []
    everything = []
    for number, batches in enumerate(files):
        flat = sorted(time for batch in batches for time in batch)
        rest = iter(flat)
        in_order = [[float(next(rest)) for _ in batch] for batch in batches]
        everything += flat
        members.append(member(flat[0] if flat else -1.0, in_order, str(number)))
    late: list[int] = []
    assert times_of(members, late) == sorted(everything)
    assert not late


def test_more_overlapping_files_than_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MAX_OPEN", 3)
    members = [member(n, [[float(n), 50.0 + n]]) for n in range(6)]
    late: list[int] = []
    found = times_of(members, late)
    assert sorted(found) == [0, 1, 2, 3, 4, 5, 50, 51, 52, 53, 54, 55]
    assert len(late) == 3


def test_late_datagrams_are_put_in_their_place() -> None:
    batch: Batch = [datagram(1), datagram(3), datagram(3, "b")]
    insert(batch, [datagram(2, "late"), datagram(3, "late"), datagram(0.5, "late")])
    assert [(one.time, one.interface) for one in batch] == [
        (0.5, "late"),
        (1, "a"),
        (2, "late"),
        (3, "a"),
        (3, "b"),
        (3, "late"),
    ]


# Files --------------------------------------------------------------------------------------------


def test_a_rotating_set_whose_names_wrap(tmp_path: Path) -> None:
    # tcpdump -C -W: the names go round, and the oldest file is the one to be overwritten next.
    for name, numbers in (("r0", range(20, 30)), ("r1", range(30, 35)), ("r2", range(10, 20))):
        (tmp_path / f"{name}.pcap").write_bytes(pcap(sip_records(numbers)))
    data = (tmp_path / "r1.pcap").read_bytes()
    (tmp_path / "r1.pcap").write_bytes(data[:-9])
    found, stats = read(tmp_path)
    assert call_ids(found) == list(range(10, 34))
    # Numbers are those of the packets in their own file.
    assert [(Path(one.interface).name, one.number) for one in found[:11]] == [
        *((("r2.pcap"), number) for number in range(1, 11)),
        ("r0.pcap", 1),
    ]
    (damage,) = stats.damage
    assert Path(damage.file).name == "r1.pcap"
    assert [Path(report.name).name for report in stats.files] == ["r2.pcap", "r0.pcap", "r1.pcap"]
    assert (stats.first_time, stats.last_time, stats.packets) == (10, 33, 24)


@pytest.mark.parametrize("chunk", [200, 1 << 17])
def test_files_of_two_interfaces_at_the_same_time(tmp_path: Path, chunk: int) -> None:
    for name, start in (("a", 0), ("b", 1)):
        for part in range(3):
            numbers = range(start + 100 * part, 100 * (part + 1), 2)
            (tmp_path / f"{name}{part}.pcap").write_bytes(pcap(sip_records(numbers)))
    found, _ = read(tmp_path, chunk=chunk)
    assert call_ids(found) == list(range(300))


def test_a_file_that_begins_with_media_is_placed_by_its_first_packet(tmp_path: Path) -> None:
    early = [(1, 0, RTP), (50, 0, udp_frame(sip(50)))]
    (tmp_path / "b.pcap").write_bytes(pcap(early))
    (tmp_path / "a.pcap").write_bytes(pcap(sip_records([40, 60])))
    assert call_ids(read(tmp_path)[0]) == [40, 50, 60]


def test_files_without_packets_and_with_late_first_packets(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap([]))
    # The first packet is so far inside the file that a look at its beginning does not find it.
    names = block(4, bytes(70_000))
    data = section() + names + interface() + enhanced(30_000_000, udp_frame(sip(30)))
    (tmp_path / "b.pcapng").write_bytes(data)
    (tmp_path / "c.pcapng").write_bytes(pcapng(sip_records([20, 40])))
    assert call_ids(read(tmp_path)[0]) == [20, 30, 40]


def halves() -> tuple[bytes, bytes]:
    """Two raw IP files: a TCP message and a fragmented datagram begin in one, end in the other."""
    addresses = {"src": "192.0.2.1", "dst": "192.0.2.2"}
    stream = [
        bytes(IP(**addresses) / TCP(sport=5060, dport=5060, seq=seq, flags="PA") / Raw(part))
        for seq, part in ((1, sip(1)[:50]), (51, sip(1)[50:]))
    ]
    whole = IP(**addresses, id=3) / UDP(sport=5060, dport=5060) / Raw(sip(2))
    one, *rest = (bytes(piece) for piece in fragment(whole, fragsize=64))
    first = pcap([(1, 0, stream[0]), (1, 10, one)], linktype=101)
    second = pcap([(1, 20, stream[1]), *((1, 30, piece) for piece in rest)], linktype=101)
    return first, second


def test_what_is_in_pieces_may_cross_from_one_file_to_the_next(tmp_path: Path) -> None:
    first, second = halves()
    (tmp_path / "2.pcap").write_bytes(first)
    (tmp_path / "1.pcap").write_bytes(second)
    found, stats = read(tmp_path)
    assert call_ids(found) == [1, 2]
    assert not stats.not_decoded


def test_since_and_until(tmp_path: Path) -> None:
    path = tmp_path / "one.pcap"
    path.write_bytes(pcap(sip_records(range(10))))
    assert call_ids(read(path, since=3)[0]) == list(range(3, 10))
    assert call_ids(read(path, until=3)[0]) == list(range(4))
    found, stats = read(path, since=2.5, until=7.5)
    assert call_ids(found) == [3, 4, 5, 6, 7]
    assert stats.packets == 10


def test_stats_of_several_readings_add_up(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(pcap([*sip_records([1, 2]), (3, 0, RTP), (4, 0, b"x")]))
    (tmp_path / "b.pcap").write_bytes(pcap([*sip_records([5]), (6, 0, RTP)])[:-3])
    _, together = read(tmp_path)
    stats = read(tmp_path / "a.pcap")[1]
    stats.add(read(tmp_path / "b.pcap")[1])
    assert stats == together
    assert (stats.sip_datagrams, stats.udp_other, stats.packets) == (3, 1, 5)
    assert (stats.first_time, stats.last_time) == (1, 5)
    assert len(stats.damage) == sum(stats.malformed.values()) == 1


def test_stats_are_there_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "one.pcap"
    path.write_bytes(pcap(sip_records(range(100))))
    files = CaptureFiles([str(path)], chunk=2000)
    seen = []
    for _ in files.batches():
        seen.append(files.stats().packets)
    assert seen == sorted(seen)
    assert (len(set(seen)) > 5, seen[-1]) == (True, 100)
