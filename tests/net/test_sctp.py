"""SCTP user messages: packets made by scapy, any order of fragments, floods."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkData, SCTPChunkHeartbeatReq
from scapy.packet import Raw
from sip_texts import SDP, request, response

from sipwatch.net.frames import FrameDecoder
from sipwatch.net.sctp import Associations, Limits, UserMessage

A, B = request(body=SDP), response()
HEAD = SCTP(sport=5060, dport=5062, tag=0x1234)


def data(
    payload: bytes, tsn: int, first: bool = True, last: bool = True, protocol: int = 0
) -> SCTPChunkData:
    return SCTPChunkData(
        beginning=first,
        ending=last,
        tsn=tsn % 2**32,
        stream_id=0,
        stream_seq=1,
        proto_id=protocol,
        data=payload,
    )


def pieces(payload: bytes, tsn: int, size: int) -> list[SCTPChunkData]:
    starts = range(0, len(payload), size)
    return [
        data(payload[at : at + size], tsn + index, at == 0, at + size >= len(payload))
        for index, at in enumerate(starts)
    ]


def payloads(messages: list[UserMessage]) -> list[bytes]:
    return [message.payload for message in messages]


def nonzero(associations: Associations) -> dict[str, int]:
    return {name: count for name, count in associations.stats().items() if count}


def test_a_message_in_one_chunk() -> None:
    associations = Associations()
    found = associations.receive(bytes(HEAD / data(A, 1, protocol=7)))
    assert found == [UserMessage(5060, 5062, 7, A)]
    assert nonzero(associations) == {"packets": 1, "messages": 1}


def test_bundled_chunks() -> None:
    packet = HEAD / SCTPChunkHeartbeatReq() / data(A, 1) / data(B, 2)
    assert payloads(Associations().receive(bytes(packet))) == [A, B]


def test_a_message_in_fragments_in_any_order_over_a_wrap() -> None:
    parts = pieces(A, 2**32 - 2, 70)
    assert len(parts) >= 4
    for seed in range(20):
        random.Random(seed).shuffle(parts)
        associations = Associations()
        found = [message for part in parts for message in associations.receive(bytes(HEAD / part))]
        assert payloads(found) == [A]
        assert associations.held_bytes == 0


def test_two_fragmented_messages_one_after_the_other() -> None:
    parts = pieces(A, 10, 70)
    parts += pieces(B, 10 + len(parts), 70)
    random.Random(3).shuffle(parts)
    associations = Associations()
    found = [m for part in parts for m in associations.receive(bytes(HEAD / part))]
    assert sorted(payloads(found)) == sorted([A, B])


def test_retransmissions_are_dropped() -> None:
    associations = Associations()
    assert payloads(associations.receive(bytes(HEAD / data(A, 1)))) == [A]
    assert associations.receive(bytes(HEAD / data(A, 1))) == []
    first, *rest = pieces(B, 2, 70)
    for part in (first, first, *rest, first):
        associations.receive(bytes(HEAD / part))
    assert nonzero(associations)["duplicate"] == 3
    assert nonzero(associations)["messages"] == 2


def test_associations_are_kept_apart_by_tag_and_ports() -> None:
    associations = Associations()
    for head in (HEAD, SCTP(sport=5060, dport=5062, tag=9), SCTP(sport=1, dport=5062, tag=0x1234)):
        assert payloads(associations.receive(bytes(head / data(A, 1)))) == [A]


def test_an_abort_ends_what_is_not_complete() -> None:
    associations = Associations()
    associations.receive(bytes(HEAD / pieces(A, 1, 70)[0]))
    associations.receive(bytes(HEAD / SCTPChunkAbort()))
    assert associations.held_bytes == len(associations) == 0
    assert nonzero(associations)["unfinished"] == 1


def test_packets_that_are_cut() -> None:
    whole = bytes(HEAD / data(A, 1))
    for end in range(len(whole) - 4):
        associations = Associations()
        assert associations.receive(whole[:end]) == []
        assert nonzero(associations).get("cut", 0) == (1 if end < 12 or end >= 16 else 0)


def test_chunks_of_the_interleaving_extension_are_counted() -> None:
    associations = Associations()
    chunk = b"\x40\x03\x00\x1c" + bytes(24)
    assert associations.receive(bytes(HEAD)[:12] + chunk) == []
    assert nonzero(associations)["interleaved"] == 1


def test_floods_are_bounded() -> None:
    limits = Limits(associations=10, size=5000, message=1000, chunks=8)
    associations = Associations(limits)
    for number in range(200):
        head = SCTP(sport=5060, dport=5062, tag=number)
        for part in pieces(A * 4, 1, 90)[1:-1]:
            assert associations.receive(bytes(head / part)) == []
            assert associations.held_bytes <= limits.size
            assert len(associations) <= limits.associations
    assert nonzero(associations)["evicted"] >= 190
    head = SCTP(sport=5060, dport=5062, tag=5)
    assert payloads(associations.receive(bytes(head / data(B, 1)))) == [B]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.binary(max_size=60).map(
                lambda noise: bytes(HEAD) + b"\x00\x02" + (4 + len(noise)).to_bytes(2) + noise
            ),
        ),
        max_size=30,
    )
)
@settings(max_examples=300, deadline=None)
def test_no_input_raises_or_grows(packets: list[bytes]) -> None:
    limits = Limits(associations=3, size=100, message=50, chunks=3)
    associations = Associations(limits)
    for packet in packets:
        associations.receive(packet)
        assert 0 <= associations.held_bytes <= limits.size
        assert len(associations) <= limits.associations


def test_what_is_lost_is_named_in_the_counts() -> None:
    decoder = FrameDecoder()
    chunks = [bytes(pieces(A, 1, 70)[0]), b"\x40\x03\x00\x1c" + bytes(24), b"\x00\x03\x01\x00"]
    for number, chunk in enumerate(chunks):
        packet = IP(src="192.0.2.1", dst="192.0.2.2", proto=132) / Raw(bytes(HEAD)[:12] + chunk)
        assert decoder.decode(1.0, bytes(packet), 101, "file", number) == []
    assert decoder.finish() == []
    assert decoder.counts.not_decoded == {
        ("sctp", "chunks of messages not complete"): 1,
        ("sctp", "interleaved chunks (I-DATA)"): 1,
        ("sctp", "chunks cut short"): 1,
    }
