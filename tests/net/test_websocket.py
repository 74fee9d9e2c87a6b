"""SIP in WebSocket frames: alone, through TCP streams, and held against tshark."""

from __future__ import annotations

import itertools
import random
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap
from sip_texts import SDP, request, response

from sipwatch.net import websocket
from sipwatch.net.framing import StreamCounts
from sipwatch.net.tcp import SYN, Streams
from sipwatch.net.types import Datagram
from sipwatch.net.websocket import WebSocketFramer, starts_compressed

CLIENT = (b"\x0a\x00\x00\x01", 40000)
SERVER = (b"\x0a\x00\x00\x02", 8080)
PUSH = 0x18

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
KEY = b"\x37\xfa\x21\x3d"

A, B, C = request(number=1, body=SDP), response(b"180 Ringing", 2), request(b"BYE", 3)

ASK = (
    b"GET /ws HTTP/1.1\r\nHost: pbx\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


def frame(
    data: bytes,
    opcode: int = TEXT,
    final: bool = True,
    key: bytes = b"",
    compressed: bool = False,
) -> bytes:
    """A frame as RFC 6455 section 5.2 draws it."""
    first = (0x80 if final else 0) | (0x40 if compressed else 0) | opcode
    mask = 0x80 if key else 0
    if len(data) < 126:
        head = bytes((first, mask | len(data)))
    elif len(data) < 65536:
        head = bytes((first, mask | 126)) + len(data).to_bytes(2)
    else:
        head = bytes((first, mask | 127)) + len(data).to_bytes(8)
    body = bytes(byte ^ key[index % 4] for index, byte in enumerate(data)) if key else data
    return head + key + body


def read(stream: bytes, *cuts: int, searching: bool = False) -> tuple[list[bytes], StreamCounts]:
    counts = StreamCounts()
    framer = WebSocketFramer(counts, searching=searching)
    found: list[bytes] = []
    edges = [0, *cuts, len(stream)]
    for start, stop in itertools.pairwise(edges):
        found += framer.feed(stream[start:stop])
    assert framer.held == 0
    framer.close()
    return found, counts


LONG = request(number=9, body=b"b" * 70_000)

CASES = [
    ("text", frame(A), [A]),
    ("binary", frame(A, BINARY), [A]),
    ("masked", frame(A, key=KEY), [A]),
    ("a length of 64 bits", frame(LONG, key=KEY), [LONG]),
    ("several", frame(A) + frame(B) + frame(C, BINARY), [A, B, C]),
    ("in two frames", frame(A[:50], final=False) + frame(A[50:], CONTINUATION), [A]),
    (
        "in three masked frames with different keys",
        frame(A[:51], final=False, key=KEY)
        + frame(A[51:120], CONTINUATION, final=False, key=b"abcd")
        + frame(A[120:], CONTINUATION, key=b"\x00\x00\x00\x01"),
        [A],
    ),
    (
        "a ping between the frames of a message",
        frame(A[:50], final=False) + frame(b"ping", PING) + frame(A[50:], CONTINUATION) + frame(B),
        [A, B],
    ),
    (
        "masked pong and an empty frame within",
        frame(A[:50], final=False, key=KEY)
        + frame(b"", PONG, key=KEY)
        + frame(b"", CONTINUATION, final=False, key=KEY)
        + frame(A[50:], CONTINUATION, key=KEY),
        [A],
    ),
    ("close at the end", frame(A) + frame(b"\x03\xe8bye", CLOSE), [A]),
    ("keep-alives", frame(b"\r\n\r\n") + frame(A) + frame(b"\r\n"), [A]),
    ("line ends before the start line", frame(b"\r\n" + A), [A]),
    ("something else", frame(b'{"json": 1}') + frame(A), [A]),
]


@pytest.mark.parametrize(("name", "stream", "messages"), CASES)
def test_messages_in_frames(name: str, stream: bytes, messages: list[bytes]) -> None:
    assert read(stream)[0] == messages


@pytest.mark.parametrize(("name", "stream", "messages"), CASES)
def test_messages_in_frames_a_few_bytes_at_a_time(
    name: str, stream: bytes, messages: list[bytes]
) -> None:
    step = 1 if len(stream) < 2000 else 1001
    assert read(stream, *range(step, len(stream), step))[0] == messages


@pytest.mark.parametrize(
    "bad",
    [
        b"\xb1\x02",  # a reserved bit
        b"\x83\x02",  # an unknown opcode
        b"\x09\x00",  # a control frame that is not final
        b"\x89\x7e\x01\x00",  # a long control frame
        b"\xc0\x01",  # a compressed continuation
        b"\x81\x7f\x00\x00\x01\x00\x00\x00\x00\x00",  # a terabyte
    ],
)
def test_what_is_no_frame_is_passed_over(bad: bytes) -> None:
    stream = frame(A) + bad
    found, counts = read(stream + b"rest" + frame(B), len(stream) + 4)
    assert found == [A, B]
    assert counts.resynchronised == 1
    assert counts.skipped_bytes > 0


def test_a_message_that_is_too_long_gives_its_beginning() -> None:
    long = request(number=9, body=b"b" * 300_000)
    stream = frame(long)
    found, counts = read(stream + frame(B), *range(1400, len(stream), 1400))
    assert len(found) == 2
    assert long.startswith(found[0])
    assert len(found[0]) >= long.index(b"\r\n\r\n") + 4
    assert found[1] == B
    assert counts.oversized == 1


# Compression -------------------------------------------------------------------------------------


def deflate(compressor: zlib._Compress, data: bytes) -> bytes:
    """RFC 7692 section 7.2.1."""
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(
        b"\x00\x00\xff\xff"
    )


def test_compressed_messages_that_share_a_window() -> None:
    compressor = zlib.compressobj(wbits=-15)
    messages = [request(number=number, body=SDP) for number in range(1, 6)]
    packed = [deflate(compressor, message) for message in messages]
    assert len(packed[1]) < len(packed[0]) // 2
    stream = b"".join(frame(data, key=KEY, compressed=True) for data in packed)
    assert read(stream)[0] == messages


def test_a_compressed_message_in_two_frames_beside_a_plain_one() -> None:
    packed = deflate(zlib.compressobj(wbits=-15), A)
    stream = (
        frame(packed[:30], final=False, compressed=True)
        + frame(packed[30:], CONTINUATION)
        + frame(B)
    )
    assert read(stream)[0] == [A, B]


def test_a_compressed_bomb_is_bounded() -> None:
    bomb = deflate(zlib.compressobj(wbits=-15), A + bytes(50_000_000))
    found, counts = read(frame(bomb, compressed=True) + frame(B))
    assert [len(message) <= 262_144 for message in found] == [True, True]
    assert found[1] == B
    assert counts.oversized == 1


def test_compressed_rubbish_is_passed_over() -> None:
    assert read(frame(b"\xff" * 50, compressed=True) + frame(B))[0] == [B]


def shared_window(count: int = 6) -> tuple[list[bytes], list[bytes]]:
    """Messages of one connection, and their compressed frames."""
    compressor = zlib.compressobj(wbits=-15)
    dice = random.Random(count)
    messages = [
        request(number=number, body=SDP, extra=b"X-Nonce: " + dice.randbytes(30).hex().encode())
        for number in range(1, count + 1)
    ]
    return messages, [frame(deflate(compressor, one), key=KEY, compressed=True) for one in messages]


def met(frames: list[bytes]) -> tuple[list[bytes], Streams]:
    """A connection without its beginning, a frame a segment."""
    streams, found, sequence = Streams(), [], 77
    ends = (b"\x0a\0\0\1", 40000), (b"\x0a\0\0\2", 8080)
    for number, data in enumerate(frames):
        batch = streams.receive(1.0, *ends, sequence, 0, 0x18, data, "f", number)
        found += [one.payload for one in batch]
        assert {one.transport for one in batch} <= {"WS"}
        sequence += len(data)
    return found, streams


def test_a_compressed_connection_met_on_its_way_is_counted() -> None:
    """What its messages refer to was not seen: none is given that is half made up."""
    messages, frames = shared_window()
    found, streams = met(frames[2:])
    assert found == []
    assert streams.counts.websocket_streams == 1
    assert streams.counts.compressed == 4
    found, streams = met(frames)
    assert found == messages, "nothing came before: all of it can be read"
    assert streams.counts.compressed == 0


def test_a_sender_that_begins_anew_with_each_message_can_be_read_from_anywhere() -> None:
    """The parameter no_context_takeover (RFC 7692 section 7.1.1)."""
    messages = [request(number=number, body=SDP) for number in range(1, 5)]
    frames = [
        frame(deflate(zlib.compressobj(wbits=-15), one), key=KEY, compressed=True)
        for one in messages
    ]
    assert met(frames)[0] == messages
    stream = b"".join(frames)
    found, counts = lose(stream, len(frames[0]) + 20, len(frames[0]) + 40)
    assert found == [messages[0], *messages[2:]]
    assert counts.compressed == 1


def test_compressed_messages_behind_lost_bytes_are_counted() -> None:
    messages, frames = shared_window()
    start = len(frames[0]) + 20
    found, counts = lose(b"".join(frames), start, start + 10)
    assert found == messages[:1]
    assert counts.compressed == 5


def test_other_binary_protocols_are_not_taken_for_compressed_text() -> None:
    dice = random.Random(5)
    for length in range(20, 126):
        for _ in range(100):
            assert not starts_compressed(b"\xc1" + bytes([length]) + dice.randbytes(length))
    bomb = deflate(zlib.compressobj(wbits=-15), b"x" * 50_000_000)
    assert starts_compressed(frame(bomb, compressed=True))


# Loss --------------------------------------------------------------------------------------------


def lose(stream: bytes, start: int, stop: int) -> tuple[list[bytes], StreamCounts]:
    counts = StreamCounts()
    framer = WebSocketFramer(counts)
    found = framer.feed(stream[:start])
    found += framer.lose(stop - start)
    found += framer.feed(stream[stop:])
    framer.close()
    assert framer.held == 0
    return found, counts


@pytest.mark.parametrize("key", [b"", KEY])
def test_bytes_lost_in_a_body(key: bytes) -> None:
    stream = frame(A, key=key) + frame(B, key=key)
    start = len(frame(A, key=key)) - 40
    found, counts = lose(stream, start, start + 20)
    assert found == [A[:-40], B]
    assert (counts.damaged, counts.lost_bytes) == (1, 20)


def test_bytes_lost_in_the_last_header_lines() -> None:
    start = 2 + 2 + A.index(b"Content-Length") + 4
    found, counts = lose(frame(A) + frame(B), start, start + 8)
    assert found == [A[: A.index(b"Content-Length")], B]
    assert counts.damaged == 1


def test_bytes_lost_in_the_first_header_lines() -> None:
    found, counts = lose(frame(A) + frame(B), 30, 50)
    assert found == [B]
    assert counts.lost_bytes == 20


def test_a_whole_frame_lost_and_a_half() -> None:
    first, second = len(frame(A)), len(frame(A) + frame(C))
    assert lose(frame(A) + frame(C) + frame(B), first, second)[0] == [A, B]
    found, counts = lose(frame(A) + frame(C) + frame(B), first, second + 30)
    assert found == [A]
    assert counts.skipped_bytes > 0


# On TCP ------------------------------------------------------------------------------------------


def payloads(streams: Streams, script: list[tuple[int, bytes]]) -> list[tuple[str, bytes]]:
    """Each entry: from the client (0) or the server (1), and a segment."""
    positions = [1, 1]
    found: list[Datagram] = []
    for number, (who, data) in enumerate(script, 1):
        source, destination = (CLIENT, SERVER) if who == 0 else (SERVER, CLIENT)
        found += streams.receive(
            number * 0.01, source, destination, positions[who], 0, PUSH, data, "e", number
        )
        positions[who] += len(data)
    return [(datagram.transport, datagram.payload) for datagram in found]


def test_a_connection_from_its_upgrade_on() -> None:
    streams = Streams()
    for source, destination in ((CLIENT, SERVER), (SERVER, CLIENT)):
        streams.receive(0.0, source, destination, 0, 0, SYN, b"", "e", 0)
    script = [
        (0, ASK[:100]),
        (0, ASK[100:]),
        (1, ANSWER),
        (0, frame(A, key=KEY)),
        (1, frame(b"", PING)),
        (1, frame(B)[:40]),
        (1, frame(B)[40:] + frame(C)),
    ]
    assert payloads(streams, script) == [("WS", A), ("WS", B), ("WS", C)]
    assert streams.counts.websocket_streams == 2


def test_frames_behind_the_upgrade_in_one_segment() -> None:
    script = [(0, ASK + frame(A, key=KEY)), (1, ANSWER + frame(B))]
    assert payloads(Streams(), script) == [("WS", A), ("WS", B)]


def test_no_sub_protocol_is_judged_by_the_frames() -> None:
    ask = ASK.replace(b"Sec-WebSocket-Protocol: sip\r\n", b"")
    assert payloads(Streams(), [(0, ask), (0, frame(A, key=KEY))]) == [("WS", A)]


@pytest.mark.parametrize(
    "start",
    [
        ASK.replace(b"Protocol: sip", b"Protocol: xmpp"),
        ASK.replace(b"Upgrade: websocket\r\n", b""),
        ANSWER.replace(b"101", b"403"),
        ANSWER.replace(b"Protocol: sip", b"Protocol: mqtt, xmpp"),
    ],
)
def test_other_upgrades_are_set_aside(start: bytes) -> None:
    streams = Streams()
    assert payloads(streams, [(0, start), (0, frame(b"hello", key=KEY))]) == []
    assert streams.counts.http_streams == 1
    assert streams.entries()["other"] == 1


@pytest.mark.parametrize("key", [b"", KEY])
def test_a_connection_met_on_its_way(key: bytes) -> None:
    streams = Streams()
    script = [
        (0, frame(A, key=key)[200:]),
        (0, frame(b"", PING, key=key)),
        (0, frame(B, key=key)),
        (0, frame(A, key=key)[:30]),
        (0, frame(A, key=key)[30:]),
    ]
    assert payloads(streams, script) == [("WS", B), ("WS", A)]


def test_a_connection_met_at_a_frame() -> None:
    assert payloads(Streams(), [(0, frame(A, key=KEY)), (1, frame(B))]) == [("WS", A), ("WS", B)]


def test_sip_over_http_ports_is_not_taken_for_frames() -> None:
    assert not websocket.starts_frame(A)
    assert not websocket.starts_frame(frame(b"SIP/2.0 is a protocol"))
    assert not websocket.starts_frame(b"\x81")
    assert websocket.starts_frame(frame(B))


def test_tshark_reads_the_same_messages(tmp_path: Path) -> None:
    script = [
        (0, ASK),
        (1, ANSWER),
        (0, frame(A, key=KEY)),
        (1, frame(B[:60], final=False) + frame(b"p", PING) + frame(B[60:], CONTINUATION)),
        (0, frame(b"p", PONG, key=KEY) + frame(C, BINARY, key=KEY)),
        (1, frame(response(number=3)) + frame(response(b"100 Trying", 4))),
    ]
    packets, positions = [], [1, 1]
    for who, data in script:
        ends = [("10.0.0.1", 40000), ("10.0.0.2", 8080)]
        (source, sport), (destination, dport) = ends[who], ends[1 - who]
        segment = TCP(
            sport=sport, dport=dport, seq=positions[who], ack=positions[1 - who], flags="PA"
        )
        packets.append(Ether() / IP(src=source, dst=destination) / segment / Raw(data))
        positions[who] += len(data)
    path = tmp_path / "ws.pcap"
    wrpcap(str(path), packets)
    output = subprocess.run(
        ["tshark", "-r", path, "-Y", "sip", "-T", "fields", "-e", "sip.Call-ID", "-e", "sip.CSeq"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # Several messages in a frame of the capture are joined by commas.
    call_ids = [part for line in output.splitlines() for part in line.split("\t")[0].split(",")]
    ours = payloads(Streams(), script)
    assert [
        message.split(b"Call-ID: ")[1].split(b"\r")[0].decode() for _, message in ours
    ] == call_ids
    assert len(call_ids) == 5


# Properties --------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from((A, B, C)), st.binary(max_size=4), st.integers(0, 400)),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_cut_of_any_frames_gives_the_messages(
    script: list[tuple[bytes, bytes, int]], data: st.DataObject
) -> None:
    stream = b""
    for message, seed, at in script:
        key = (seed + b"key!")[:4] if seed else b""
        if 0 < at < len(message):
            stream += frame(message[:at], final=False, key=key) + frame(b"?", PING, key=key)
            stream += frame(message[at:], CONTINUATION, key=key)
        else:
            stream += frame(message, BINARY, key=key)
    cuts = data.draw(st.lists(st.integers(1, len(stream) - 1), unique=True, max_size=20))
    assert read(stream, *sorted(cuts))[0] == [message for message, _, _ in script]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from((frame(A), frame(B, key=KEY)[:100], frame(A[:40], final=False))),
            st.integers(1, 500),
        ),
        max_size=30,
    ),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_input_raises_or_grows(script: list[bytes | int], searching: bool) -> None:
    framer = WebSocketFramer(StreamCounts(), searching=searching)
    for item in script:
        found = framer.lose(item) if isinstance(item, int) else framer.feed(item)
        assert all(isinstance(message, bytes) for message in found)
        assert framer.held <= 262_144 + 14
    framer.close()
    assert framer.held == 0
