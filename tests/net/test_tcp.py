"""TCP streams: each case is a stream, the segments it came in, and what must come out."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field

import pytest
from sip_texts import SDP, request, response

from sipwatch.net.framing import SipFramer, StreamCounts
from sipwatch.net.tcp import ACK, FIN, RST, SYN, Limits, Streams
from sipwatch.net.types import Datagram

CLIENT = (b"\x0a\x00\x00\x01", 40000)
SERVER = (b"\x0a\x00\x00\x02", 5060)
PUSH = 0x18
STUN = b"\x00\x01\x00\x08\x21\x12\xa4\x42" + bytes(12) + b"\x80\x22\x00\x04test"

A, B, C = request(number=1, body=SDP), request(b"BYE", 2), request(b"OPTIONS", 3, body=b"x" * 40)


class Side:
    """One direction of a connection, as a script tells it; time passes 10 ms a packet."""

    def __init__(self, streams: Streams, isn: int = 1000) -> None:
        self.streams = streams
        self.isn = isn
        self.time = 100.0
        self.number = 0

    def packet(
        self, position: int, data: bytes = b"", flags: int = PUSH, ack: int = 0, missing: int = 0
    ) -> list[bytes]:
        """A segment whose first byte stands at ``position`` of the stream."""
        self.time += 0.01
        self.number += 1
        seq = (self.isn + 1 + position) & 0xFFFFFFFF
        found = self.streams.receive(
            self.time, CLIENT, SERVER, seq, ack, flags, data, "f", self.number, missing
        )
        return payloads(found)

    def syn(self) -> None:
        assert self.packet(-1, flags=SYN) == []

    def acknowledge(self, position: int) -> None:
        """The other side has everything up to ``position``."""
        self.time += 0.01
        ack = (self.isn + 1 + position) & 0xFFFFFFFF
        self.streams.receive(self.time, SERVER, CLIENT, 77, ack, ACK, b"", "f", 0)

    def wait(self, seconds: float) -> list[bytes]:
        self.time += seconds
        return payloads(self.streams.advance(self.time))


def payloads(found: object) -> list[bytes]:
    assert isinstance(found, (list, tuple))
    assert all(isinstance(datagram, Datagram) for datagram in found)
    return [datagram.payload for datagram in found]


def nonzero(streams: Streams) -> dict[str, int]:
    return {name: count for name, count in streams.counts.as_dict().items() if count}


@dataclass
class Case:
    """Segments are (start, stop) in ``stream``, in the order in which they come."""

    name: str
    stream: bytes
    segments: list[tuple[int, int]]
    messages: list[bytes]
    counts: dict[str, int] = field(default_factory=dict)
    syn: bool = True
    isn: int = 1000


def cut(stream: bytes, *positions: int) -> list[tuple[int, int]]:
    return list(itertools.pairwise([0, *positions, len(stream)]))


NOTIFY = request(b"NOTIFY", 4, body=b"SIP/2.0 200 OK\r\n", extra=b"Content-Type: message/sipfrag")
NO_LENGTH = request(b"OPTIONS", 5, length=None)
COMPACT = request(body=SDP, length=b"l")
ODD = request(body=SDP, length=b"content-LENGTH  \t")
FOLDED = A.replace(b"Content-Length: ", b"Content-Length:\r\n ")
SMALL = A.replace(b"Content-Length: %d" % len(SDP), b"Content-Length: 10")
TEN = NO_LENGTH.replace(b"\r\n\r\n", b"\r\nContent-Length: ten\r\n\r\n")
BARE = B.replace(b"\r\n", b"\n")
XML = request(b"MESSAGE", 6, body=b"<a>text</a>")

CASES = [
    Case("one message, one segment", A, cut(A), [A]),
    Case("three messages in one segment", A + B + C, cut(A + B + C), [A, B, C]),
    Case("one message over three segments", A, cut(A, 10, 100), [A]),
    Case("a byte a segment", A + B, cut(A + B, *range(1, len(A + B))), [A, B]),
    Case("cut in the blank line", A, cut(A, A.index(b"\r\n\r\n") + 2), [A]),
    Case("cut in the Content-Length", A, cut(A, A.index(b"Content-Length") + 9), [A]),
    Case("a message and the half of the next", A + B, cut(A + B, len(A) + 30), [A, B]),
    Case(
        "last segment first",
        A + B,
        [(len(A), len(A + B)), (0, len(A))],
        [A, B],
        {"out_of_order": 1},
    ),
    Case(
        "backwards",
        A,
        [(200, len(A)), (100, 200), (50, 100), (0, 50)],
        [A],
        {"out_of_order": 3},
    ),
    Case("retransmission", A + B, [*cut(A + B, len(A)), (0, len(A))], [A, B], {"retransmitted": 1}),
    Case(
        "retransmission before the next",
        A + B,
        [(0, len(A)), *cut(A + B, len(A))],
        [A, B],
        {"retransmitted": 1},
    ),
    Case("overlap", A, [(0, 100), (50, len(A))], [A], {"overlapping": 1}),
    Case(
        "a retransmission that brings more",
        A + B,
        [(0, len(A)), (0, len(A + B))],
        [A, B],
        {"overlapping": 1},
    ),
    Case(
        "overlap behind a gap",
        A,
        [(100, 200), (150, len(A)), (0, 100)],
        [A],
        {"overlapping": 1, "out_of_order": 2},
    ),
    Case(
        "one that covers several",
        A,
        [(100, 120), (140, 160), (90, len(A)), (0, 95)],
        [A],
        {"overlapping": 2, "out_of_order": 3},
    ),
    Case("numbers wrap within", A + B, cut(A + B, 100), [A, B], isn=0xFFFFFFF0),
    Case(
        "numbers wrap, out of order",
        A + B,
        [(100, len(A + B)), (0, 100)],
        [A, B],
        {"out_of_order": 1},
        isn=0xFFFFFFC0,
    ),
    Case("numbers wrap between", A + B, cut(A + B, len(A)), [A, B], isn=0xFFFFFFFF - len(A)),
    Case("line end as keep-alive", b"\r\n" + A, cut(b"\r\n" + A, 2), [A], {"keep_alives": 1}),
    Case(
        "double line end between messages",
        A + b"\r\n\r\n" + B,
        cut(A + b"\r\n\r\n" + B, len(A), len(A) + 4),
        [A, B],
        {"keep_alives": 1},
    ),
    Case(
        "keep-alive in the segment of a message",
        A + b"\r\n\r\n" + B,
        cut(A + b"\r\n\r\n" + B),
        [A, B],
        {"keep_alives": 1},
    ),
    Case(
        "keep-alive in two segments",
        A + b"\r\n\r\n" + B,
        cut(A + b"\r\n\r\n" + B, len(A), len(A) + 3),
        [A, B],
        {"keep_alives": 2},
    ),
    Case(
        "STUN between messages",
        A + STUN + B,
        cut(A + STUN + B, len(A), len(A + STUN)),
        [A, B],
        {"keep_alives": 1},
    ),
    Case(
        "STUN in pieces",
        A + STUN + B,
        cut(A + STUN + B, len(A) + 1, len(A) + 6, len(A) + 15),
        [A, B],
        {"keep_alives": 1},
    ),
    Case("STUN first", STUN + A, cut(STUN + A, 9), [A], {"keep_alives": 1}),
    Case("compact Content-Length", COMPACT + B, cut(COMPACT + B, 70), [COMPACT, B]),
    Case("odd Content-Length", ODD + B, cut(ODD + B), [ODD, B]),
    Case("folded Content-Length", FOLDED + B, cut(FOLDED + B), [FOLDED, B]),
    Case("no Content-Length", NO_LENGTH + B, cut(NO_LENGTH + B), [NO_LENGTH, B]),
    Case(
        "a body without Content-Length",
        NO_LENGTH + SDP + B,
        cut(NO_LENGTH + SDP + B),
        [NO_LENGTH, B],
        {"skipped_bytes": len(SDP), "resynchronised": 1},
    ),
    Case(
        "Content-Length too small",
        SMALL + B,
        cut(SMALL + B),
        [SMALL[: 10 - len(SDP)], B],
        {"skipped_bytes": len(SDP) - 10, "resynchronised": 1},
    ),
    Case("Content-Length that is no number", TEN + B, cut(TEN + B), [TEN, B]),
    Case(
        "status line in a body",
        NOTIFY + B,
        cut(NOTIFY + B, NOTIFY.index(b"SIP/2.0 200")),
        [NOTIFY, B],
    ),
    Case(
        "mid-stream in a body",
        A + B,
        [(len(A) - 20, len(A)), (len(A), len(A + B))],
        [B],
        {"skipped_bytes": 20, "resynchronised": 1},
        syn=False,
    ),
    Case(
        "mid-stream in a header section",
        A + B,
        [(40, 90), (90, len(A + B))],
        [B],
        {"resynchronised": 1, "skipped_bytes": len(A) - 40},
        syn=False,
    ),
    Case("mid-stream at a message", A + B, [(len(A), len(A + B))], [B], syn=False),
    Case(
        "mid-stream in a sipfrag body",
        NOTIFY + B,
        [(NOTIFY.index(b"SIP/2.0 200"), len(NOTIFY + B))],
        [B],
        syn=False,
    ),
    Case(
        "mid-stream in a body that ends without a line end",
        XML + B,
        [(len(XML) - 8, len(XML + B))],
        [B],
        {"skipped_bytes": 8, "resynchronised": 1},
        syn=False,
    ),
    Case(
        "response after a body that ends without a line end",
        XML + response(),
        [(len(XML) - 8, len(XML + response()))],
        [response()],
        {"skipped_bytes": 8, "resynchronised": 1},
        syn=False,
    ),
    Case("bare line feeds", BARE + C, cut(BARE + C), [BARE, C]),
    Case(
        "rubbish between messages",
        A + b"rubbish\r\nmore\r\n" + B,
        cut(A + b"rubbish\r\nmore\r\n" + B),
        [A, B],
        {"skipped_bytes": 15, "resynchronised": 1},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_in_its_segments(case: Case) -> None:
    streams = Streams()
    side = Side(streams, case.isn)
    if case.syn:
        side.syn()
    found: list[bytes] = []
    for start, stop in case.segments:
        found += side.packet(start, case.stream[start:stop])
    assert found == case.messages
    counts = nonzero(streams)
    assert counts.pop("segments") == len(case.segments)
    assert counts.pop("messages") == len(case.messages)
    assert counts.pop("sip_streams") == 1
    expected = {name: counts.get(name, 0) for name in case.counts}
    assert expected == case.counts
    quiet = set(counts) - set(case.counts) - {"skipped_bytes", "resynchronised"}
    assert not quiet, f"unexpected: { {name: counts[name] for name in quiet} }"
    assert streams.held_bytes == 0


def test_a_datagram_names_the_packet_that_completed_it() -> None:
    streams = Streams()
    first = streams.receive(5.0, CLIENT, SERVER, 1, 0, PUSH, A[:50], "eth0", 8)
    (datagram,) = streams.receive(6.5, CLIENT, SERVER, 51, 0, PUSH, A[50:], "eth1", 9)
    assert list(first) == []
    assert datagram == Datagram(6.5, CLIENT, SERVER, "TCP", A, "eth1", 9)


def test_a_filled_gap_takes_the_time_of_the_packet_that_filled_it() -> None:
    streams = Streams()
    streams.receive(1.0, CLIENT, SERVER, 0, 0, SYN, b"", "e", 1)
    streams.receive(2.0, CLIENT, SERVER, 1 + len(A), 0, PUSH, B, "e", 2)
    found = streams.receive(3.0, CLIENT, SERVER, 1, 0, PUSH, A, "e", 3)
    assert [(datagram.time, datagram.number) for datagram in found] == [(3.0, 3), (3.0, 3)]


def test_a_gap_given_up_keeps_the_time_of_the_packets_behind_it() -> None:
    streams = Streams()
    streams.receive(1.0, CLIENT, SERVER, 1, 0, PUSH, A, "e", 1)
    streams.receive(2.0, CLIENT, SERVER, 1 + len(A + B), 0, PUSH, C, "e", 2)
    assert streams.advance(6.9) == []
    (datagram,) = streams.advance(7.0)
    assert (datagram.time, datagram.number, datagram.payload) == (2.0, 2, C)


# Loss --------------------------------------------------------------------------------------------


def lose(stream: bytes, start: int, stop: int) -> tuple[Side, list[bytes]]:
    """A stream in segments of at most 100 bytes, of which ``[start:stop]`` never comes."""
    side = Side(Streams())
    side.syn()
    found: list[bytes] = []
    position = 0
    while position < len(stream):
        end = min(position + 100, len(stream))
        if position < start < end:
            end = start
        elif position < stop < end:
            end = stop
        if not start <= position < stop:
            found += side.packet(position, stream[position:end])
        position = end
    return side, found


def test_a_gap_is_waited_for_and_then_given_up() -> None:
    side, found = lose(A + B + C, len(A), len(A + B))
    assert found == [A]
    assert side.wait(4.9) == []
    assert side.wait(0.2) == [C]
    counts = nonzero(side.streams)
    assert counts["gaps"] == 1
    assert counts["lost_bytes"] == len(B)
    assert "damaged" not in counts
    assert side.streams.held_bytes == 0


def test_a_gap_that_was_acknowledged_is_not_waited_for() -> None:
    side, _ = lose(A + B + C, len(A), len(A + B))
    side.acknowledge(len(A) + 10)
    assert side.wait(0.2) == []
    side.acknowledge(len(A + B))
    assert side.wait(0.05) == []
    assert side.wait(0.1) == [C]


def test_a_retransmission_within_the_time_heals_the_gap() -> None:
    side, _ = lose(A + B + C, len(A), len(A + B))
    assert side.wait(1) == []
    assert side.packet(len(A), B) == [B, C]
    assert "gaps" not in nonzero(side.streams)
    assert side.wait(60) == []


def test_bytes_lost_in_a_body_cost_the_body_alone() -> None:
    big = request(number=7, body=b"y" * 500)
    side, found = lose(big + B, 400, 450)
    found += side.wait(6)
    assert found == [big[:400], B]
    assert nonzero(side.streams)["damaged"] == 1
    assert "resynchronised" not in nonzero(side.streams)


def test_bytes_lost_in_a_head_leave_what_says_whose_it_is() -> None:
    head = request(number=7, body=SDP, extra=b"Subject: " + b"z" * 300)
    lost_at = head.index(b"zzz") + 50
    side, found = lose(head + B, lost_at, lost_at + 30)
    found += side.wait(6)
    assert found == [head[: head.index(b"Subject")], B]
    assert nonzero(side.streams)["damaged"] == 1
    assert nonzero(side.streams)["resynchronised"] == 1


def test_bytes_lost_in_the_first_lines_cost_the_message() -> None:
    side, found = lose(B + A + C, len(B) + 30, len(B) + 60)
    found += side.wait(6)
    assert found == [B, C]
    assert "damaged" not in nonzero(side.streams)


def test_a_gap_over_the_end_of_a_body_and_the_next_start() -> None:
    side, found = lose(A + B + C, len(A) - 10, len(A) + 10)
    found += side.wait(6)
    assert found == [A[:-10], C]


def test_two_gaps_are_given_up_one_after_the_other() -> None:
    side = Side(Streams())
    parts = [A, B, C, A, B]
    at = [sum(map(len, parts[:i])) for i in range(6)]
    side.packet(at[0], parts[0])
    side.packet(at[2], parts[2])
    side.packet(at[4], parts[4])
    assert side.wait(5.1) == [C]
    assert side.wait(5.1) == [B]
    assert nonzero(side.streams)["gaps"] == 2


def test_what_a_snap_length_cut_is_lost_without_waiting() -> None:
    big = request(number=7, body=b"y" * 500)
    side = Side(Streams())
    side.syn()
    assert side.packet(0, big[:400], missing=len(big) - 400) == [big[:400]]
    assert side.packet(len(big), B) == [B]
    assert nonzero(side.streams)["lost_bytes"] == len(big) - 400


def test_a_snap_length_within_the_head() -> None:
    side = Side(Streams())
    side.syn()
    short = A.index(b"Content-Length") + 5
    assert side.packet(0, A[:short], missing=len(A) - short) == [A[: A.index(b"Content-Length")]]
    assert side.packet(len(A), B[:90], missing=len(B) - 90) == []
    assert side.packet(len(A + B), C) == [C]


def test_a_gap_bound_in_bytes() -> None:
    limits = Limits(pending_bytes=2 * len(C))
    side = Side(Streams(limits))
    side.packet(0, A)
    start = len(A) + 50
    found = [side.packet(start + i * len(C), C) for i in range(3)]
    assert found == [[], [], [C, C, C]]
    assert side.streams.held_bytes == 0


def test_a_gap_bound_in_segments() -> None:
    side = Side(Streams(Limits(pending_segments=3)))
    side.packet(0, A)
    messages = [request(b"OPTIONS", number) for number in range(10, 20)]
    start = len(A) + 1
    found: list[bytes] = []
    for message in messages:
        found += side.packet(start, message)
        start += len(message) + 1
    found += side.wait(6) + side.wait(6) + side.wait(6) + side.wait(6)
    assert found == messages


# Connections -------------------------------------------------------------------------------------


def test_a_new_connection_on_the_same_ports() -> None:
    streams = Streams()
    first, second = Side(streams, isn=1000), Side(streams, isn=900_000_000)
    first.syn()
    assert first.packet(0, A[:50]) == []
    second.time = first.time
    second.syn()
    assert second.packet(0, B) == [B]
    assert nonzero(streams)["unfinished"] == 1


def test_a_new_connection_whose_syn_was_not_seen() -> None:
    streams = Streams()
    first, second = Side(streams, isn=1000), Side(streams, isn=900_000_000)
    assert first.packet(0, A) == [A]
    assert second.packet(0, B) == []
    assert second.packet(len(B), C) == [B, C]


def test_a_new_connection_after_a_fin_needs_no_proof() -> None:
    streams = Streams()
    first, second = Side(streams, isn=1000), Side(streams, isn=900_000_000)
    assert first.packet(0, A, flags=PUSH | FIN) == [A]
    assert second.packet(0, B) == [B]


def test_a_forged_segment_far_away_changes_nothing() -> None:
    streams = Streams()
    side, forger = Side(streams, isn=1000), Side(streams, isn=900_000_000)
    assert side.packet(0, A) == [A]
    assert forger.packet(0, B) == []
    assert side.packet(len(A), C) == [C]
    assert side.wait(60) == []
    assert nonzero(streams)["out_of_window"] == 1
    assert streams.held_bytes == 0


def test_a_forged_reset_far_away_changes_nothing() -> None:
    streams = Streams()
    side, forger = Side(streams, isn=1000), Side(streams, isn=900_000_000)
    assert side.packet(0, A[:50]) == []
    assert forger.packet(0, flags=RST) == []
    assert side.packet(50, A[50:]) == [A]


@pytest.mark.parametrize("flag", [FIN, RST])
def test_the_end_of_a_connection_ends_its_messages(flag: int) -> None:
    side = Side(Streams())
    side.syn()
    assert side.packet(0, A + B[:20]) == [A]
    assert side.packet(len(A) + 20, flags=flag | ACK) == []
    assert nonzero(side.streams)["unfinished"] == 1
    assert side.streams.held_bytes == 0


def test_a_late_copy_after_the_end_is_no_new_message() -> None:
    side = Side(Streams())
    side.syn()
    assert side.packet(0, A, flags=PUSH | FIN) == [A]
    assert side.packet(0, A, flags=PUSH | FIN) == []
    assert nonzero(side.streams)["retransmitted"] == 1


def test_a_syn_seen_twice_and_late() -> None:
    side = Side(Streams())
    side.syn()
    assert side.packet(0, A[:60]) == []
    side.syn()
    assert side.packet(60, A[60:]) == [A]
    late = Side(Streams())
    assert late.packet(0, A[:60]) == []
    late.syn()
    assert late.packet(60, A[60:]) == [A]


def test_data_in_the_syn() -> None:
    side = Side(Streams())
    assert side.packet(-1, A, flags=SYN) == [A]
    assert side.packet(len(A), B) == [B]


def test_segments_from_before_the_first_one_seen_are_counted() -> None:
    side = Side(Streams())
    assert side.packet(len(A), B) == [B]
    assert side.packet(0, A) == []
    assert nonzero(side.streams)["before_start"] == 1


def test_a_keep_alive_probe_is_no_data() -> None:
    side = Side(Streams())
    assert side.packet(0, A) == [A]
    assert side.packet(len(A) - 1, b"\x00", flags=ACK) == []
    assert side.packet(len(A), B) == [B]


def test_the_end_of_the_capture_gives_what_waits() -> None:
    side, found = lose(A + B + C + A, len(A), len(A + B))
    assert found == [A]
    assert payloads(side.streams.finish()) == [C, A]
    assert side.streams.held_bytes == 0
    assert set(side.streams.entries().values()) == {0}


# What is no SIP ----------------------------------------------------------------------------------

CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
SERVER_HELLO = b"\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03" + bytes(80)
TLS_DATA = b"\x17\x03\x03\x01\x00" + bytes(range(256))

OTHERS = [
    ("TLS", CLIENT_HELLO, "tls_streams"),
    ("TLS data", TLS_DATA, "tls_streams"),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "http_streams"),
    ("HTTP answer", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "http_streams"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n", "other_streams"),
    ("RTSP", b"OPTIONS rtsp://a/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", "other_streams"),
    ("XMPP", b"<?xml version='1.0'?><stream:stream>", "other_streams"),
    ("DNS", b"\x00\x1d\x12\x34\x01\x00\x00\x01" + bytes(22), "other_streams"),
    ("AMI", b"Asterisk Call Manager/5.0.1\r\n", "other_streams"),
]


@pytest.mark.parametrize(("name", "start", "counter"), OTHERS)
def test_other_protocols_are_set_aside(name: str, start: bytes, counter: str) -> None:
    side = Side(Streams())
    side.syn()
    assert side.packet(0, start) == []
    assert nonzero(side.streams)[counter] == 1
    assert side.streams.entries() == {"sip": 0, "unknown": 0, "other": 1}
    assert side.streams.held_bytes == 0
    # From now on it is not looked into, whatever comes.
    for position in range(len(start), 100_000, 1000):
        assert side.packet(position, b"\x41" * 1000) == []
    assert nonzero(side.streams)["segments"] == 1


def test_a_stream_met_on_its_way_is_searched_within_a_bound() -> None:
    side = Side(Streams())
    for position in range(0, 200_000, 1000):
        assert side.packet(position, b"\x41" * 1000) == []
    assert nonzero(side.streams)["other_streams"] == 1
    assert nonzero(side.streams)["segments"] <= 40
    assert side.streams.held_bytes == 0


def test_tls_is_counted_by_connection_and_port_of_the_server() -> None:
    streams = Streams()
    tls_server = (SERVER[0], 5061)
    for port in (50000, 50001):
        client = (CLIENT[0], port)
        streams.receive(1.0, client, tls_server, 1, 0, PUSH, CLIENT_HELLO, "e", 1)
        streams.receive(1.1, tls_server, client, 1, 0, PUSH, SERVER_HELLO, "e", 2)
        streams.receive(1.2, client, tls_server, 1 + len(CLIENT_HELLO), 0, PUSH, TLS_DATA, "e", 3)
    assert dict(streams.tls) == {5061: 2}


def test_the_server_of_tls_is_known_by_its_hello() -> None:
    streams = Streams()
    streams.receive(1.0, (SERVER[0], 61000), CLIENT, 1, 0, PUSH, SERVER_HELLO, "e", 1)
    assert dict(streams.tls) == {61000: 1}


def test_tls_met_on_its_way() -> None:
    side = Side(Streams())
    assert side.packet(0, b"\x99" * 800) == []
    assert side.packet(800, TLS_DATA) == []
    assert nonzero(side.streams)["tls_streams"] == 1
    assert dict(side.streams.tls) == {5060: 1}


def test_sip_on_the_ports_of_what_was_none() -> None:
    side = Side(Streams())
    side.syn()
    assert side.packet(0, b"SSH-2.0-x\r\n") == []
    assert side.packet(11, A) == [A]
    again = Side(side.streams, isn=500_000)
    again.time = side.time
    again.syn()
    assert again.packet(0, B) == [B]


# Bounds ------------------------------------------------------------------------------------------


def client(number: int) -> tuple[bytes, int]:
    return (b"\x0b" + number.to_bytes(3), 1024 + number % 60_000)


def test_a_flood_of_syns_does_not_touch_what_carries_sip() -> None:
    streams = Streams(Limits(probes=50))
    side = Side(streams)
    side.syn()
    assert side.packet(0, A[:80]) + side.packet(80, A[80:]) == [A]
    for number in range(500):
        streams.receive(200.0, client(number), SERVER, 1, 0, SYN, b"", "e", number)
        streams.receive(200.0, client(number), SERVER, 2, 0, PUSH, b"I", "e", number)
    assert streams.entries() == {"sip": 1, "unknown": 50, "other": 0}
    assert side.packet(len(A), B) == [B]


def test_a_flood_of_other_streams_is_bounded() -> None:
    streams = Streams(Limits(others=50))
    for number in range(500):
        streams.receive(200.0, client(number), SERVER, 1, 0, SYN, b"", "e", number)
        streams.receive(200.0, client(number), SERVER, 2, 0, PUSH, b"SSH-2.0-x\r\n", "e", number)
    assert streams.entries() == {"sip": 0, "unknown": 0, "other": 50}


def test_a_flood_of_half_messages_is_bounded_in_bytes() -> None:
    half = request(body=b"b" * 5000)[:4000]
    streams = Streams(Limits(size=100_000))
    for number in range(300):
        streams.receive(200.0, client(number), SERVER, 1, 0, PUSH, half, "e", number)
        assert streams.held_bytes <= 100_000
    # None of them has given a message yet: they share half of the room.
    assert nonzero(streams)["evicted_streams"] == 300 - 12
    rest = request(body=b"b" * 5000)[4000:]
    (datagram,) = streams.receive(201.0, client(299), SERVER, 4001, 0, PUSH, rest, "e", 300)
    assert datagram.payload == request(body=b"b" * 5000)


HALF = request(body=b"b" * 1000)[:900]


def flood(streams: Streams, count: int, addresses: int, data: bytes, flags: int = PUSH) -> None:
    """Connections of so many clients that all send the same and nothing more."""
    for number in range(count):
        source = (b"\x0b" + (number % addresses).to_bytes(3), number // addresses + 1024)
        assert not streams.receive(200.0, source, SERVER, 1, 0, flags, data, "e", number)


@pytest.mark.parametrize("addresses", [1, 50, 1 << 20])
@pytest.mark.parametrize(
    ("data", "flags"), [(b"", SYN), (HALF, PUSH), (b"x" * 900, PUSH), (b"\x16\x03", PUSH)]
)
def test_a_flood_within_a_message_of_an_established_stream(
    data: bytes, flags: int, addresses: int
) -> None:
    """More streams than all the tables hold, more bytes than all may have."""
    streams = Streams()
    side = Side(streams)
    side.syn()
    assert side.packet(0, A + B[:80]) == [A]
    flood(streams, 25_000, addresses, data, flags)
    assert side.packet(len(A) + 80, B[80:]) == [B]
    assert nonzero(streams)["evicted_streams"] > 15_000
    assert streams.held_bytes <= Limits().size // 2


@pytest.mark.parametrize("data", [HALF, b"", b"x" * 900])
def test_a_flood_of_few_addresses_within_the_first_message(data: bytes) -> None:
    streams = Streams()
    side = Side(streams)
    side.syn()
    assert side.packet(0, A[:80]) == []
    flood(streams, 25_000, 50, data, PUSH if data else SYN)
    assert side.packet(80, A[80:]) == [A]


@pytest.mark.parametrize("syn", [True, False])
def test_a_flood_of_forged_addresses_within_the_first_message(syn: bool) -> None:
    """What begins as SIP stays longest, also where the beginning of the stream was not seen."""
    streams = Streams()
    side = Side(streams)
    if syn:
        side.syn()
    assert side.packet(0, A[:80]) == []
    flood(streams, 20_000, 1 << 20, b"", SYN)
    flood(streams, 20_000, 1 << 20, b"x" * 900)
    assert side.packet(80, A[80:]) == [A]


def test_a_flood_of_forged_sip_within_the_first_answer() -> None:
    """The other side is established: so is nearly this one."""
    streams = Streams()
    side = Side(streams)
    side.syn()
    assert side.packet(0, A) == [A]
    ringing = response(b"180 Ringing")
    assert not streams.receive(100.5, SERVER, CLIENT, 1, 0, PUSH, ringing[:90], "e", 1)
    flood(streams, 20_000, 1 << 20, HALF)
    (found,) = streams.receive(101.0, SERVER, CLIENT, 91, 0, PUSH, ringing[90:], "e", 2)
    assert found.payload == ringing


def test_a_new_stream_in_a_flood_of_forged_sip() -> None:
    """The flood fills the table; what is new still gets its turn."""
    streams = Streams()
    flood(streams, 20_000, 1 << 20, HALF)
    side = Side(streams)
    side.syn()
    assert side.packet(0, A[:80]) == []
    assert side.packet(80, A[80:]) == [A]


def test_what_it_takes_to_keep_tiny_segments_counts() -> None:
    """One byte each behind a gap, and many times that for the objects that hold them."""
    streams = Streams(Limits(size=200_000))
    for number in range(5_000):
        source = client(number % 100)
        if number < 100:
            streams.receive(200.0, source, SERVER, 1, 0, PUSH, B, "e", number)
        sequence = 1 + len(B) + 2 * (number // 100 + 1)
        streams.receive(200.0, source, SERVER, sequence, 0, PUSH, b"x", "e", number)
    waiting = sum(len(one.sequence.pending) for one in streams._streams.values())
    assert 0 < waiting <= 200_000 // 256


def test_a_segment_far_away_is_counted_in_what_is_held() -> None:
    side = Side(Streams())
    side.syn()
    assert side.packet(0, A) == [A]
    assert side.packet(1 << 25, b"x" * 5000) == []
    assert side.streams.held_bytes >= 5000
    assert side.wait(6.0) == []


def test_the_least_recently_used_stream_goes_first() -> None:
    streams = Streams(Limits(streams=3))
    for number in (0, 1, 2):
        streams.receive(200.0, client(number), SERVER, 1, 0, PUSH, B, "e", number)
    streams.receive(200.0, client(0), SERVER, 1 + len(B), 0, PUSH, C, "e", 4)
    streams.receive(200.0, client(3), SERVER, 1, 0, PUSH, B, "e", 5)
    # Stream 1 was forgotten: a retransmission of it is read again, one of stream 0 is not.
    again = streams.receive(201.0, client(0), SERVER, 1, 0, PUSH, B, "e", 9)
    assert list(again) == []
    again = streams.receive(201.0, client(1), SERVER, 1, 0, PUSH, B, "e", 9)
    assert payloads(again) == [B]


def test_a_head_without_end_is_bounded() -> None:
    side = Side(Streams())
    side.syn()
    position = 0
    head = request(extra=b"X: " + b"x" * 1000)[:-4]
    assert side.packet(0, head) == []
    position = len(head)
    for _ in range(200):
        assert side.packet(position, b"\r\nX: " + b"x" * 1000) == []
        position += 1005
        assert side.streams.held_bytes <= 70_000
    assert side.packet(position, b"\r\n\r\n" + B) == [B]


@pytest.mark.parametrize("size", [9_000, 60_000])
def test_a_line_without_end_in_a_search(size: int) -> None:
    """Met on its way; the line ends late, and the message is there all the same."""
    long = request(extra=b"X: " + b"x" * size)
    stream = b"rest of a body\r\n" + long + B
    framer = SipFramer(StreamCounts(), searching=True)
    found: list[bytes] = []
    for at in range(0, len(stream), 50):
        found += framer.feed(stream[at : at + 50])
    assert found == [long, B]


def test_a_message_that_is_too_long_gives_its_beginning() -> None:
    body = b"w" * 400_000
    long = request(number=9, body=body)
    side = Side(Streams())
    side.syn()
    found: list[bytes] = []
    for position in range(0, len(long), 1400):
        found += side.packet(position, long[position : position + 1400])
    found += side.packet(len(long), B)
    assert len(found) == 2
    assert found[1] == B
    assert long.startswith(found[0])
    assert b"\r\n\r\n" in found[0]
    assert nonzero(side.streams)["oversized"] == 1


def test_idle_streams_are_forgotten() -> None:
    streams = Streams(Limits(idle_seconds=100, probe_seconds=10))
    side = Side(streams)
    assert side.packet(0, A) == [A]
    streams.receive(side.time, client(1), SERVER, 1, 0, SYN, b"", "e", 1)
    side.wait(11)
    assert streams.entries() == {"sip": 1, "unknown": 0, "other": 0}
    side.wait(101)
    assert streams.entries() == {"sip": 0, "unknown": 0, "other": 0}


def test_limits_are_all_positive_numbers() -> None:
    assert all(value > 0 for value in dataclasses.astuple(Limits()))
