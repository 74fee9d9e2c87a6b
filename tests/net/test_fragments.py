"""IP fragments: orders, copies, overlaps, bounds; cut by scapy and put together by us."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from sipwatch.net.fragments import Cut, Limits, Reassembler, Whole

A4, B4 = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
A6, B6 = bytes(15) + b"\x01", bytes(15) + b"\x02"
UDP_NUMBER = 17

#: (offset, more, data)
Piece = tuple[int, bool, bytes]


def pieces_of(payload: bytes, size: int) -> list[Piece]:
    """Fragments of at most ``size`` bytes, a multiple of 8."""
    offsets = range(0, max(len(payload), 1), size)
    return [(at, at + size < len(payload), payload[at : at + size]) for at in offsets]


def play(
    reassembler: Reassembler, pieces: list[Piece], time: float = 0.0, ident: int = 7
) -> list[Whole]:
    found = []
    for offset, more, data in pieces:
        whole = reassembler.receive(time, A4, B4, UDP_NUMBER, ident, offset, more, data)
        if whole is not None:
            found.append(whole)
    return found


def nonzero(reassembler: Reassembler) -> dict[str, int]:
    return {name: count for name, count in reassembler.stats().items() if count}


PAYLOAD = bytes(range(256)) * 12
WHOLE = Whole(UDP_NUMBER, PAYLOAD)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_every_order_of_four_fragments(order: tuple[int, ...]) -> None:
    pieces = pieces_of(PAYLOAD, 800)
    reassembler = Reassembler()
    assert play(reassembler, [pieces[index] for index in order]) == [WHOLE]
    assert nonzero(reassembler) == {"fragments": 4, "datagrams": 1}
    assert len(reassembler) == reassembler.held_bytes == 0


def test_duplicates_are_counted() -> None:
    first, second, *rest = pieces_of(PAYLOAD, 800)
    reassembler = Reassembler()
    assert play(reassembler, [first, first, second, first, *rest]) == [WHOLE]
    assert nonzero(reassembler)["duplicate"] == 2


def test_a_copy_of_the_whole_datagram_is_handed_on_as_one() -> None:
    """As the copy of a datagram in one piece would be; who counts copies needs to see it."""
    pieces = pieces_of(PAYLOAD, 800)
    reassembler = Reassembler()
    assert play(reassembler, pieces) == [WHOLE]
    assert play(reassembler, pieces, time=0.02) == [WHOLE]
    assert play(reassembler, pieces, time=3.0) == [WHOLE]
    assert len(reassembler) == 0


def test_what_copies_of_each_fragment_leave_over_is_not_missed() -> None:
    reassembler = Reassembler()
    first, second, third, last = pieces_of(PAYLOAD, 800)
    script = [first, first, second, second, third, third, last, last]
    assert play(reassembler, script) == [WHOLE]
    assert reassembler.advance(1.0) == []
    assert reassembler.advance(100.0) == []
    assert len(reassembler) == 0
    assert nonzero(reassembler) == {"fragments": 8, "datagrams": 1, "duplicate": 4}


def test_where_fragments_overlap_the_first_wins() -> None:
    reassembler = Reassembler()
    found = play(
        reassembler,
        [(0, True, b"a" * 16), (8, True, b"b" * 16), (32, False, b"c" * 4), (16, True, b"d" * 16)],
    )
    assert found == [Whole(UDP_NUMBER, b"a" * 16 + b"b" * 8 + b"d" * 8 + b"c" * 4)]
    assert nonzero(reassembler)["overlap"] == 2


def test_a_fragment_that_covers_several() -> None:
    reassembler = Reassembler()
    found = play(reassembler, [(8, True, b"a" * 8), (24, True, b"b" * 8), (0, False, b"c" * 44)])
    assert found == [Whole(UDP_NUMBER, b"c" * 8 + b"a" * 8 + b"c" * 8 + b"b" * 8 + b"c" * 12)]


def test_datagrams_are_kept_apart() -> None:
    reassembler = Reassembler()
    flows = [(A4, B4, 17, 1), (B4, A4, 17, 1), (A4, B4, 6, 1), (A4, B4, 17, 2), (A6, B6, 17, 1)]
    payloads = {flow: bytes((65 + index,)) * 30 for index, flow in enumerate(flows)}
    found = {}
    for offset in (16, 0, 8):
        for flow in flows:
            source, destination, protocol, ident = flow
            data = payloads[flow][offset : offset + 8] if offset < 16 else payloads[flow][16:]
            whole = reassembler.receive(
                0.0, source, destination, protocol, ident, offset, offset < 16, data
            )
            if whole is not None:
                found[flow] = whole.payload
    assert found == payloads


def test_the_next_header_of_the_first_fragment_counts_in_ipv6() -> None:
    reassembler = Reassembler()
    assert reassembler.receive(0.0, A6, B6, 99, 1, 8, False, b"rest") is None
    whole = reassembler.receive(0.0, A6, B6, UDP_NUMBER, 1, 0, True, b"8 bytes.")
    assert whole == Whole(UDP_NUMBER, b"8 bytes.rest")


def test_an_atomic_fragment_is_complete() -> None:
    assert Reassembler().receive(0.0, A6, B6, 17, 1, 0, False, b"alone") == Whole(17, b"alone")


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        ((65_528, False, b"12345678"), "out_of_bounds"),
        ((0, True, b"seven.."), "out_of_bounds"),
        ((8, True, b""), "out_of_bounds"),
        ((-8, True, b"12345678"), "out_of_bounds"),
    ],
)
def test_impossible_fragments_are_counted(piece: Piece, reason: str) -> None:
    reassembler = Reassembler()
    assert play(reassembler, [piece]) == []
    assert nonzero(reassembler)[reason] == 1
    assert len(reassembler) == 0


def test_the_largest_datagram_that_there_is() -> None:
    largest = bytes(65_535)
    assert play(Reassembler(), pieces_of(largest, 1480)) == [Whole(UDP_NUMBER, largest)]


@pytest.mark.parametrize(
    "pieces",
    [
        [(16, False, b"x"), (8, False, b"y" * 8)],
        [(16, False, b"x"), (24, True, b"y" * 8)],
        [(24, True, b"y" * 8), (16, False, b"x")],
    ],
)
def test_contradicting_lengths_are_counted(pieces: list[Piece]) -> None:
    reassembler = Reassembler()
    assert play(reassembler, pieces) == []
    assert nonzero(reassembler)["conflicting_length"] == 1


def test_what_a_snap_length_cut_ends_the_payload() -> None:
    reassembler = Reassembler()
    reassembler.receive(0.0, A4, B4, 17, 7, 0, True, b"a" * 10, 16)
    whole = reassembler.receive(0.0, A4, B4, 17, 7, 16, False, b"b" * 10, 10)
    assert whole == Whole(17, b"a" * 10)


# Time --------------------------------------------------------------------------------------------


def test_what_is_not_complete_in_time_is_given_up() -> None:
    reassembler = Reassembler()
    pieces = pieces_of(PAYLOAD, 800)
    assert play(reassembler, pieces[1:3], time=10.0) == []
    assert reassembler.advance(40.0) == []
    assert len(reassembler) == 1
    assert reassembler.advance(40.1) == []
    assert len(reassembler) == reassembler.held_bytes == 0
    assert nonzero(reassembler)["timed_out"] == 1
    assert play(reassembler, [pieces[0], pieces[3]], time=40.2) == []


def test_time_runs_without_advance_too() -> None:
    reassembler = Reassembler()
    first, *rest = pieces_of(PAYLOAD, 800)
    assert play(reassembler, [first], time=10.0) == []
    assert play(reassembler, rest, time=50.0) == []
    assert nonzero(reassembler)["timed_out"] == 1


def test_a_first_fragment_alone_is_handed_on() -> None:
    """A filter on ports lets nothing else through."""
    reassembler = Reassembler()
    reassembler.receive(10.0, A4, B4, 17, 7, 0, True, PAYLOAD[:800], tag=42)
    assert reassembler.advance(10.4) == []
    assert reassembler.advance(10.6) == [Cut(10.0, A4, B4, 17, 7, PAYLOAD[:800], 42)]
    assert reassembler.advance(11.0) == []
    assert reassembler.held_bytes == 0
    # What comes late is swallowed.
    assert play(reassembler, pieces_of(PAYLOAD, 800)[1:], time=11.5) == []
    assert reassembler.advance(60.0) == []
    assert len(reassembler) == 0
    assert "timed_out" not in nonzero(reassembler)


def test_a_first_fragment_goes_as_far_as_the_first_hole() -> None:
    reassembler = Reassembler()
    play(reassembler, [(0, True, b"a" * 8), (8, True, b"b" * 8), (24, False, b"c")])
    (cut,) = reassembler.advance(1.0)
    assert cut.payload == b"a" * 8 + b"b" * 8


def test_without_the_first_fragment_nothing_is_handed_on() -> None:
    reassembler = Reassembler()
    play(reassembler, pieces_of(PAYLOAD, 800)[1:])
    assert reassembler.advance(1.0) == []
    assert reassembler.finish() == []


def test_the_end_of_the_capture_gives_first_fragments() -> None:
    reassembler = Reassembler()
    play(reassembler, pieces_of(PAYLOAD, 800)[:1], ident=1)
    play(reassembler, pieces_of(PAYLOAD, 800)[1:2], ident=2)
    assert [cut.ident for cut in reassembler.finish()] == [1]
    assert len(reassembler) == reassembler.held_bytes == 0


# Floods ------------------------------------------------------------------------------------------


SIP, OTHER = bytes(8) + b"INVITE sip:" + bytes(781), bytes(800)
REST = b"rest of it"


def is_sip(protocol: int, beginning: bytes) -> bool:
    return protocol == UDP_NUMBER and beginning[8:].startswith(b"INVITE ")


def address(number: int) -> bytes:
    return b"\x0b" + number.to_bytes(3)


def first(reassembler: Reassembler, source: bytes, ident: int, data: bytes = SIP) -> None:
    assert reassembler.receive(0.0, source, B4, UDP_NUMBER, ident, 0, True, data) is None


def last(reassembler: Reassembler, source: bytes, ident: int) -> Whole | None:
    return reassembler.receive(0.0, source, B4, UDP_NUMBER, ident, 800, False, REST)


def test_a_flood_of_one_source_is_bounded_and_its_oldest_goes() -> None:
    reassembler = Reassembler(Limits(source_datagrams=100))
    for ident in range(1000):
        first(reassembler, A4, ident)
        assert len(reassembler) <= 100
    assert nonzero(reassembler)["source_full"] == 900
    assert last(reassembler, A4, 899) is None
    assert last(reassembler, A4, 900) == Whole(17, SIP + REST)
    assert last(reassembler, A4, 999) == Whole(17, SIP + REST)


def test_a_flood_of_many_sources_is_bounded() -> None:
    reassembler = Reassembler(Limits(datagrams=100))
    for number in range(1000):
        first(reassembler, address(number), 1)
        assert len(reassembler) <= 100
    assert nonzero(reassembler)["evicted"] == 900
    assert last(reassembler, address(999), 1) == Whole(17, SIP + REST)


@pytest.mark.parametrize("sources", [1, 1_000_000])
def test_a_flood_of_bytes_is_bounded(sources: int) -> None:
    reassembler = Reassembler(Limits(size=100_000, source_size=50_000))
    for number in range(300):
        source = address(number % sources)
        assert reassembler.receive(0, source, B4, 17, number, 0, True, bytes(1480)) is None
        assert reassembler.held_bytes <= (50_000 if sources == 1 else 100_000)


def test_what_it_takes_to_keep_tiny_fragments_counts() -> None:
    """Eight bytes of payload each, and many times that for the objects that hold them."""
    reassembler = Reassembler()
    for number in range(40_000):
        source, ident, offset = address(number % 977), number // 97_700, number // 977 * 16
        reassembler.receive(0.0, source, B4, UDP_NUMBER, ident, offset, True, bytes(8))
    pieces = reassembler.held_bytes // 8
    assert pieces * 128 <= Limits().size


@pytest.mark.parametrize("data", [SIP, OTHER], ids=["SIP", "other"])
def test_a_flood_of_few_sources_does_not_touch_the_others(data: bytes) -> None:
    """Whatever the flood is made of, who holds most gives first."""
    reassembler = Reassembler(is_wanted=is_sip)
    first(reassembler, A4, 7, OTHER)
    for number in range(100_000):
        first(reassembler, address(number % 20), number, data)
    assert last(reassembler, A4, 7) == Whole(17, OTHER + REST)
    assert nonzero(reassembler)["evicted"] > 80_000


def test_a_flood_of_forged_sources_does_not_touch_what_begins_as_sip() -> None:
    reassembler = Reassembler(is_wanted=is_sip)
    first(reassembler, A4, 7)
    for number in range(20_000):
        first(reassembler, address(number), 1, OTHER)
    assert last(reassembler, A4, 7) == Whole(17, SIP + REST)


def test_a_flood_of_forged_sip_does_not_touch_who_was_heard_before() -> None:
    """Even when the last fragment comes first, and several datagrams are on their way."""
    reassembler = Reassembler(is_wanted=is_sip)
    first(reassembler, A4, 1)
    assert last(reassembler, A4, 1) is not None
    for ident in range(2, 12):
        assert last(reassembler, A4, ident) is None
    for number in range(20_000):
        first(reassembler, address(number), 1)
    for ident in range(2, 12):
        whole = reassembler.receive(0.0, A4, B4, UDP_NUMBER, ident, 0, True, SIP)
        assert whole == Whole(17, SIP + REST)


def test_a_flood_in_the_name_of_who_was_heard_before() -> None:
    """Of one source that what begins as SIP stays longest, and nobody else is touched."""
    reassembler = Reassembler(is_wanted=is_sip)
    first(reassembler, B4, 1, OTHER)
    first(reassembler, A4, 1)
    for ident in range(2, 30_000):
        first(reassembler, A4, ident, OTHER)
    assert last(reassembler, A4, 1) == Whole(17, SIP + REST)
    assert last(reassembler, B4, 1) == Whole(17, OTHER + REST)
    assert len(reassembler) < Limits().source_datagrams


def test_tiny_fragments_are_bounded() -> None:
    reassembler = Reassembler(Limits(fragments=20))
    for offset in range(0, 16_000, 16):
        play(reassembler, [(offset, True, b"x" * 8)])
    assert nonzero(reassembler)["too_many_fragments"] == 1000 // 21
    assert reassembler.held_bytes <= 20 * 8


# Against scapy -----------------------------------------------------------------------------------


def test_fragments_that_scapy_cut_in_ipv4() -> None:
    packet = IP(src="10.0.0.1", dst="10.0.0.2", id=77) / UDP(sport=5060, dport=5060) / Raw(PAYLOAD)
    whole = bytes(IP(bytes(packet)).payload)
    parts = [IP(bytes(part)) for part in fragment(packet, fragsize=600)]
    random.Random(5).shuffle(parts)
    reassembler = Reassembler()
    found = [
        reassembler.receive(
            0.0, A4, B4, part.proto, part.id, part.frag * 8, "MF" in part.flags, bytes(part.payload)
        )
        for part in parts
    ]
    assert [one for one in found if one] == [Whole(17, whole)]


def test_fragments_that_scapy_cut_in_ipv6() -> None:
    packet = (
        IPv6(src="::1", dst="::2")
        / IPv6ExtHdrFragment(id=99)
        / UDP(sport=5060, dport=5060, chksum=1)
        / Raw(PAYLOAD)
    )
    reassembler = Reassembler()
    found = []
    for part in reversed(fragment6(packet, 700)):
        header = IPv6(bytes(part))[IPv6ExtHdrFragment]
        found.append(
            reassembler.receive(
                0.0,
                A6,
                B6,
                header.nh,
                header.id,
                header.offset * 8,
                bool(header.m),
                bytes(header.payload),
            )
        )
    wholes = [one for one in found if one]
    assert len(wholes) == 1
    assert wholes[0].protocol == 17
    assert wholes[0].payload[8:] == PAYLOAD


# Properties --------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=400), st.data())
@settings(max_examples=300, deadline=None)
def test_any_cut_order_and_duplication_gives_the_payload(
    payload: bytes, data: st.DataObject
) -> None:
    last = (len(payload) - 1) // 8 * 8
    inner = data.draw(st.lists(st.integers(1, max(last // 8, 1)).map(lambda n: n * 8)))
    edges = sorted({0, *(at for at in inner if at < len(payload)), len(payload)})
    pieces = [(a, b < len(payload), payload[a:b]) for a, b in itertools.pairwise(edges)]
    extra = data.draw(st.lists(st.sampled_from(pieces), max_size=4))
    order = data.draw(st.permutations(pieces + extra))
    reassembler = Reassembler()
    found = play(reassembler, list(order))
    assert found
    assert set(found) == {Whole(UDP_NUMBER, payload)}
    assert reassembler.advance(100.0) == []
    assert reassembler.held_bytes == 0
    assert reassembler.stats()["timed_out"] == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(-8, 9000),
            st.booleans(),
            st.binary(max_size=40),
            st.floats(0, 100),
        ),
        max_size=60,
    )
)
@settings(max_examples=300, deadline=None)
def test_no_input_raises_or_grows(script: list[tuple[int, int, bool, bytes, float]]) -> None:
    limits = Limits(datagrams=3, size=3000, fragments=4, source_datagrams=2, source_size=2000)
    reassembler = Reassembler(limits)
    for ident, offset, more, data, time in script:
        reassembler.receive(time, A4, B4, 17, ident, offset, more, data)
        reassembler.advance(time)
        assert len(reassembler) <= limits.datagrams
        assert 0 <= reassembler.held_bytes <= limits.size
    reassembler.finish()
    assert reassembler.held_bytes == len(reassembler) == 0
