"""Floods of streams and fragments around a call: memory stays bounded, the call is judged alike."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator

import pytest
from carriers import CARRIERS, Frame, ethernet, ipv4
from play_runner import Outcome, config_of
from playbook import Play

from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch, Datagram
from sipwatch.pipeline import Pipeline

#: Packets of a flood before each message, and before each further packet of one: there more than
#: the limits of fragments and of new streams let wait at once.
BEFORE_A_MESSAGE, WITHIN_A_MESSAGE = 1_000, 6_000
#: What the limits of streams and fragments add up to, and the tables around them.
MOST_BYTES = 96 << 20

PLAY = """
0.0 trunk>pbx INVITE a sdp
0.1 pbx>trunk 100 a
0.3 pbx>trunk 180 a
5.3 pbx>trunk 486 a ack
"""

_DICE = random.Random(11)


def _host() -> bytes:
    return b"\x0a" + _DICE.randbytes(3)


def _of_few() -> bytes:
    return b"\x0a\x77\x00" + bytes([_DICE.randrange(20)])


def _segment(flags: int, data: bytes, destination: bytes = b"\x0a\x09\x00\x01") -> bytes:
    ports = struct.pack("!HH", _DICE.randrange(1024, 65_536), 5060)
    head = ports + struct.pack("!IIBBHHH", _DICE.getrandbits(32), 0, 0x50, flags, 9000, 0, 0)
    return ethernet(ipv4(head + data, 6, _host(), destination))


def syns() -> bytes:
    return _segment(0x02, b"")


def half_messages() -> bytes:
    return _segment(0x18, b"INVITE sip:x@y SIP/2.0\r\nContent-Length: 60000\r\n\r\n" + bytes(900))


def streams_with_gaps() -> bytes:
    """To the port of SIP, in the middle of something."""
    return _segment(0x10, b"x" * 1200)


def first_fragments() -> bytes:
    udp = struct.pack("!HHHH", 5060, 5060, 4000, 0)
    return ethernet(ipv4(udp + bytes(1000), 17, _host(), _host(), _DICE.randrange(65_536), 0x2000))


def fragments_of_sip() -> bytes:
    """Of few hosts: who holds most gives first, whatever it is."""
    udp = struct.pack("!HHHH", 5060, 5060, 4000, 0) + b"INVITE sip:a@b SIP/2.0\r\n"
    data = udp.ljust(1000, b"x")
    return ethernet(ipv4(data, 17, _of_few(), _host(), _DICE.randrange(65_536), 0x2000))


def fragments_without_end() -> bytes:
    """Pieces of few datagrams, in any place."""
    place = 0x2000 | _DICE.randrange(8000)
    return ethernet(ipv4(bytes(800), 17, b"\x0a\0\0\1", b"\x0a\0\0\2", _DICE.randrange(64), place))


def resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def flooded(frames: list[Frame], flood: Callable[[], bytes]) -> Iterator[Frame]:
    last = 0.0
    for frame in frames:
        each = BEFORE_A_MESSAGE if frame.time - last > 1e-3 else WITHIN_A_MESSAGE
        last = frame.time
        for number in range(each):
            yield Frame(frame.time - 1e-6 + 1e-6 * number / each, flood())
        yield frame


@pytest.mark.parametrize("carrier", ["UDP", "TCP", "IPv4 fragments"])
@pytest.mark.parametrize(
    "flood",
    [
        syns,
        half_messages,
        streams_with_gaps,
        first_fragments,
        fragments_of_sip,
        fragments_without_end,
    ],
)
def test_a_call_in_a_flood(carrier: str, flood: Callable[[], bytes]) -> None:
    datagrams = [one.item for one in Play("flood").run(PLAY)]
    calm: list[Datagram] = [one for one in datagrams if isinstance(one, Datagram)]
    frames = sorted(CARRIERS[carrier](calm), key=lambda frame: frame.time)
    decoder, outcome = FrameDecoder(), Outcome(Pipeline(config_of()))
    heard: Batch = []
    before = most = resident()
    for number, frame in enumerate(flooded(frames, flood), 1):
        found = decoder.decode(frame.time, frame.data, 1, "flood", number)
        if number % 500 == 0:
            found = found + decoder.advance(frame.time)
            most = max(most, resident())
        if found:
            heard += found
            outcome.take(outcome.pipeline.feed(found))
    assert most - before < MOST_BYTES
    theirs = {one.payload for one in calm}
    assert [one.payload for one in heard if one.payload in theirs] == [one.payload for one in calm]
    outcome.take(outcome.pipeline.finish(frames[-1].time + 45.0, "end_of_capture"))
    (attempt,) = [one for one in outcome.attempts if one.call_id == _call_id(calm)]
    assert attempt.verdict is not None
    assert (attempt.verdict.outcome, attempt.verdict.detail) == ("declined", "manual")


def _call_id(datagrams: list[Datagram]) -> bytes:
    return datagrams[0].payload.split(b"Call-ID: ")[1].split(b"\r\n")[0]
