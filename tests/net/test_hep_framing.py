"""HEP version 3 on TCP, seen on its way to a collector: made by hand, byte by byte."""

from __future__ import annotations

import struct

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw
from sip_texts import SDP, request, response

from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Datagram

PHONE, PBX = b"\xc6\x33\x64\x07", b"\xc6\x33\x64\x01"
A, B, C = request(number=1, body=SDP), response(b"180 Ringing"), request(b"BYE", 3)


def chunk(kind: int, content: bytes) -> bytes:
    return struct.pack("!HHH", 0, kind, 6 + len(content)) + content


def hep(payload: bytes, kind: int = 1) -> bytes:
    body = chunk(1, b"\x02") + chunk(2, b"\x11") + chunk(3, PHONE) + chunk(4, PBX)
    body += chunk(7, struct.pack("!H", 5070)) + chunk(8, struct.pack("!H", 5060))
    body += chunk(9, struct.pack("!I", 1_700_000_000)) + chunk(10, bytes(4))
    body += chunk(11, bytes([kind])) + chunk(12, struct.pack("!I", 2001)) + chunk(15, payload)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


STREAM = hep(A) + hep(B) + hep(b'{"a":1}', kind=100) + hep(C)


def seen(pieces: list[tuple[int, bytes]], *, syn: bool = True) -> tuple[list[Datagram], int]:
    """What comes out of segments at these places of a stream, and how many messages had gaps."""
    decoder = FrameDecoder()
    segments = [(-1, b"", "S")] if syn else []
    segments += [(at, data, "PA") for at, data in pieces]
    found: list[Datagram] = []
    for number, (at, data, flags) in enumerate(segments, 1):
        tcp = TCP(sport=40_000, dport=9060, seq=1000 + at, flags=flags) / Raw(data)
        packet = bytes(IP(src="192.0.2.9", dst="192.0.2.10") / tcp)
        batch = decoder.decode(5.0 + number / 10, packet, 101, "file", number)
        found += [one for one in batch if isinstance(one, Datagram)]
    found += [one for one in decoder.finish() if isinstance(one, Datagram)]
    return found, sum(decoder.counts.not_decoded.values())


@pytest.mark.parametrize("size", [1, 7, 100, 536, 10_000])
@pytest.mark.parametrize("syn", [True, False])
def test_packets_in_segments_of_any_size(size: int, syn: bool) -> None:
    # Met on its way a stream is only known by a segment with a whole beginning.
    if not syn and size < 4:
        size = 4
    pieces = [(at, STREAM[at : at + size]) for at in range(0, len(STREAM), size)]
    found, lost = seen(pieces, syn=syn)
    assert [one.payload for one in found] == [A, B, C]
    assert {(one.transport, one.source, one.destination) for one in found} == {
        ("UDP", (PHONE, 5070), (PBX, 5060))
    }
    assert {one.interface for one in found} == {"file"}
    assert lost == 0


def test_the_packet_that_completed_it_is_named() -> None:
    (one,), _ = seen([(0, hep(A)[:200]), (200, hep(A)[200:])])
    assert (one.number, one.time) == (3, pytest.approx(5.3))


def test_behind_a_gap_it_goes_on_with_the_next_packet() -> None:
    first, second = len(hep(A)), len(hep(A) + hep(B))
    found, lost = seen([(0, hep(A)), (first + 60, hep(B)[60:]), (second, hep(C))])
    assert [one.payload for one in found] == [A, C]
    assert lost == 1


def test_what_is_no_packet_ends_there() -> None:
    found, _ = seen([(0, hep(A) + b"HEP3\x00\x01" + bytes(50)), (len(hep(A)) + 56, hep(B))])
    assert [one.payload for one in found][-1:] == [B]
