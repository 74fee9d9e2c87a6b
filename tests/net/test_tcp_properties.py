"""Any segmentation, order, duplication and loss of a stream: the same messages, or counted loss."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sip_texts import SDP, request, response

from sipwatch.net.sequence import Segment, Sequence
from sipwatch.net.tcp import SYN, Limits, Streams
from sipwatch.net.types import Datagram

CLIENT = (b"\x0a\x00\x00\x01", 40000)
SERVER = (b"\x0a\x00\x00\x02", 5060)

METHODS = (b"INVITE", b"ACK", b"BYE", b"OPTIONS", b"NOTIFY")
BODIES = st.one_of(
    st.just(b""),
    st.just(SDP),
    st.just(b"SIP/2.0 180 Ringing\r\n"),
    st.just(b"<a/>"),
    st.binary(max_size=300),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Up to eight messages, each with its own Call-ID."""
    messages = []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        body = draw(BODIES)
        if draw(st.booleans()):
            messages.append(request(draw(st.sampled_from(METHODS)), number, body))
        else:
            messages.append(response(draw(st.sampled_from((b"180 Ringing", b"200"))), number, body))
    return messages


@dataclass
class Cut:
    """A stream and its segments as positions."""

    stream: bytes
    messages: list[bytes]
    segments: list[tuple[int, int]]
    isn: int


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    messages = draw(conversations())
    keep_alive = draw(st.sampled_from((b"", b"\r\n", b"\r\n\r\n")))
    stream = keep_alive.join(messages)
    inner = draw(st.lists(st.integers(1, len(stream) - 1), unique=True, max_size=25))
    segments = list(itertools.pairwise([0, *sorted(inner), len(stream)]))
    return Cut(stream, messages, segments, draw(st.integers(0, 0xFFFFFFFF)))


def play(
    cut: Cut, order: list[tuple[int, int]], streams: Streams | None = None
) -> tuple[Streams, list[bytes]]:
    """SYN and the segments in that order, a millisecond apart, then the end of the capture."""
    streams = streams or Streams()
    found: list[Datagram] = []
    now = 1000.0
    streams.receive(now, CLIENT, SERVER, cut.isn, 0, SYN, b"", "e", 1)
    for number, (start, stop) in enumerate(order, 2):
        now += 0.001
        seq = (cut.isn + 1 + start) & 0xFFFFFFFF
        data = cut.stream[start:stop]
        found += streams.receive(now, CLIENT, SERVER, seq, 0, 0x18, data, "e", number)
        found += streams.advance(now)
    found += streams.finish()
    assert streams.held_bytes == 0
    return streams, [datagram.payload for datagram in found]


@given(cuts(), st.randoms(use_true_random=False), st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_order_and_duplication_gives_the_same_messages(
    cut: Cut, random: st.random_module, data: st.DataObject
) -> None:
    size = len(cut.stream)
    edges = st.integers(0, size)
    extra = data.draw(st.lists(st.tuples(edges, edges).filter(lambda e: e[0] < e[1]), max_size=8))
    order = cut.segments + extra
    random.shuffle(order)  # type: ignore[attr-defined]
    streams, found = play(cut, order)
    assert found == cut.messages
    assert streams.counts.messages == len(cut.messages)
    assert streams.counts.gaps == streams.counts.lost_bytes == streams.counts.damaged == 0


@given(cuts(), st.randoms(use_true_random=False), st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_loss_is_counted(cut: Cut, random: st.random_module, data: st.DataObject) -> None:
    kept = [segment for segment in cut.segments if data.draw(st.booleans())]
    order = list(kept)
    if data.draw(st.booleans()):
        random.shuffle(order)  # type: ignore[attr-defined]
    streams, found = play(cut, order)
    counts = streams.counts
    left = list(cut.messages)
    damaged = 0
    for message in found:
        # In the order of the stream, each at most once, whole or a beginning of it.
        while left and not left[0].startswith(message):
            left.pop(0)
        assert left, f"made up: {message!r}"
        damaged += left.pop(0) != message
    assert damaged <= counts.damaged
    # What was lost behind the last segment leaves no trace.
    if kept and any(start < kept[-1][0] for start, _ in set(cut.segments) - set(kept)):
        assert counts.lost_bytes or counts.skipped_bytes or counts.unfinished
    if kept == cut.segments:
        assert found == cut.messages


def body_of(message: bytes) -> bytes:
    return message[message.index(b"\r\n\r\n") + 4 :]


@given(cuts(), st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_reading_may_begin_anywhere(cut: Cut, data: st.DataObject) -> None:
    """All messages that begin after the place where the capture begins are found."""
    # A status line behind text that ends without a line end cannot be told from the text.
    assume(all(not body or body[-1:] in b"\r\n>}" for body in map(body_of, cut.messages)))
    begin = data.draw(st.integers(0, len(cut.stream) - 1))
    later = Cut(cut.stream[begin:], [], [], cut.isn)
    streams = Streams()
    found: list[Datagram] = []
    position = 0
    while position < len(later.stream):
        stop = min(position + 200, len(later.stream))
        seq = (cut.isn + position) & 0xFFFFFFFF
        part = later.stream[position:stop]
        found += streams.receive(5.0, CLIENT, SERVER, seq, 0, 0x18, part, "e", 1)
        position = stop
    expected, at = [], 0
    for message in cut.messages:
        at = cut.stream.index(message, at)
        if at >= begin:
            expected.append(message)
        at += len(message)
    assert [datagram.payload for datagram in found] == expected


SEGMENTS = st.tuples(
    st.integers(0, 3),
    st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(1000, 3000)),
    st.integers(0, 63),
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from(
            (
                request(body=SDP),
                request(body=SDP)[:90],
                response()[40:],
                b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
                b"\x81\x7f\x00\x00\x00\x00\x00\x10\x00\x00INVITE sip:",
                b"\x81\x85\x00\x00\x00\x00INVIT",
                b"\x00\x01\xff\xff\x21\x12\xa4\x42",
                b"\r\n" * 20,
            )
        ),
    ),
    st.integers(0, 2000),
)


@given(st.lists(SEGMENTS, max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_input_raises_or_grows(script: list[tuple[int, int, int, bytes, int]]) -> None:
    limits = Limits(size=2000, pending_bytes=600, pending_segments=5, streams=2, probes=2, others=2)
    streams = Streams(limits)
    for number, (who, seq, flags, data, missing) in enumerate(script):
        source = (b"\x0a\x00\x00" + bytes((who,)), 5060)
        streams.receive(
            number * 0.3, source, SERVER, seq, seq // 2, flags, data, "e", number, missing
        )
        streams.advance(number * 0.3)
        assert 0 <= streams.held_bytes <= limits.size
        entries = streams.entries()
        assert max(entries["sip"], entries["unknown"], entries["other"]) <= 2
    streams.finish()
    assert streams.held_bytes == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=30), st.integers(0, 5)),
        max_size=20,
    )
)
@settings(max_examples=300, deadline=None)
def test_a_sequence_keeps_the_first_bytes(script: list[tuple[int, bytes, int]]) -> None:
    """Against the plainest of models: a dictionary of bytes by position."""
    sequence = Sequence(0)
    model: dict[int, int | None] = {}
    read = 0
    for position, data, missing in script:
        added = sequence.add(Segment(position, data, missing, 0.0, "e", 0))
        span = range(position, position + len(data) + missing)
        fresh = [at for at in span if at >= read and at not in model]
        for at in fresh:
            model[at] = data[at - position] if at - position < len(data) else None
        assert added == (bool(fresh), len(fresh) < len(span))
        assert sequence.size == sum(byte is not None for at, byte in model.items() if at >= read)
        assert sequence.size == sum(len(segment.data) for segment in sequence.pending)
        while (segment := sequence.pop()) is not None:
            for at in range(segment.position, segment.end):
                inside = at - segment.position
                expected = model[at]
                if expected is None:
                    assert inside >= len(segment.data)
                else:
                    assert segment.data[inside] == expected
            read = segment.end
        assert read == sequence.next
        assert read not in model
