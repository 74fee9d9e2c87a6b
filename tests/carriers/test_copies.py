"""One message seen more than once on its way is one message; the next hop is another leg.

Outcomes, section 1. The same call is seen on several interfaces, on the loopback, by a mirror port
that copies both directions, before and after a router, before and after NAT on one host, and on
the hop behind a proxy: in files by both decoders, and live on all interfaces of a host.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
from carriers import Frame, ethernet, inner_packet
from network_namespace import Namespace
from play_runner import Outcome, config_of, run
from playbook import Play

from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.live import LiveCapture
from sipwatch.capture.ring import Geometry
from sipwatch.capture.tshark import TsharkFile
from sipwatch.net.types import Batch, Datagram
from sipwatch.pipeline import Pipeline

#: Rejected 1.6 s after it began to ring; the INVITE was really sent twice.
PLAY = """
0.000 trunk>pbx INVITE a sdp
0.500 trunk>pbx INVITE a
0.510 pbx>trunk 100 a
0.600 pbx>trunk 180 a
2.200 pbx>trunk 486 a ack
"""
#: The same behind a proxy that adds its Via.
HOP = """
0.000 trunk>pbx INVITE a sdp
0.002 pbx>101 INVITE b call=a
0.100 101>pbx 180 b
0.102 pbx>trunk 180 a
2.200 101>pbx 486 b ack
2.202 pbx>trunk 486 a ack
"""
#: The PBX's address inside and outside, as bytes.
INSIDE, OUTSIDE = socket.inet_aton("10.9.0.1"), socket.inet_aton("198.51.100.9")

View: TypeAlias = Callable[[Datagram], list[Frame]]
#: Time, which cable, frame.
Sent: TypeAlias = tuple[float, int, bytes]


def play(text: str) -> list[Datagram]:
    items = [one.item for one in Play("copies").run(text)]
    found = [one for one in items if isinstance(one, Datagram)]
    assert len(found) == len(items)
    return found


def once(one: Datagram) -> list[Frame]:
    return [Frame(one.time, ethernet(inner_packet(one)))]


def on_two_interfaces(one: Datagram) -> list[Frame]:
    """Bridge and port: the same frame a moment later."""
    return [Frame(one.time + late, ethernet(inner_packet(one))) for late in (0.0, 0.00004)]


def by_a_mirror_port(one: Datagram) -> list[Frame]:
    """Both directions of two ports are copied: each frame comes with the VLAN of either side."""
    packet = inner_packet(one)
    tagged = ethernet(struct.pack("!HH", 7, 0x0800) + packet, 0x8100)
    return [Frame(one.time, ethernet(packet)), Frame(one.time + 0.001, tagged)]


def around_a_router(one: Datagram) -> list[Frame]:
    """Other hardware addresses, and one hop less to live."""
    packet = bytearray(inner_packet(one))
    packet[8] -= 1
    routed = b"\x02\0\0\0\0\x09\x02\0\0\0\0\x08" + b"\x08\0" + bytes(packet)
    return [*once(one), Frame(one.time + 0.0003, routed)]


def around_nat(one: Datagram) -> list[Frame]:
    """The host's own NAT: the PBX has another address on the outside, the message is the same."""
    ends = [
        (OUTSIDE if address == INSIDE else address, port)
        for address, port in (one.source, one.destination)
    ]
    outside = one._replace(source=ends[0], destination=ends[1], time=one.time + 0.0005)
    # What comes from outside is seen there first.
    first, second = (one, outside) if one.source[0] == INSIDE else (outside, one)
    return [
        Frame(one.time, ethernet(inner_packet(first))),
        Frame(one.time + 0.0005, ethernet(inner_packet(second))),
    ]


VIEWS: dict[str, View] = {
    "two interfaces": on_two_interfaces,
    "mirror port": by_a_mirror_port,
    "router": around_a_router,
    "NAT": around_nat,
}


def frames_of(datagrams: Sequence[Datagram], view: View) -> list[Frame]:
    return sorted((f for one in datagrams for f in view(one)), key=lambda frame: frame.time)


def pcap(path: Path, frames: Sequence[Frame], linktype: int = 1) -> Path:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, linktype)
    records = []
    for frame in frames:
        seconds, micro = divmod(round(frame.time * 1e6), 1_000_000)
        size = len(frame.data)
        records.append(struct.pack("<IIII", seconds, micro, size, size) + frame.data)
    path.write_bytes(head + b"".join(records))
    return path


def read(decoder: str, path: Path) -> Batch:
    source = TsharkFile(str(path)) if decoder == "tshark" else CaptureFiles([str(path)])
    return [one for batch in source.batches() for one in batch]


def assert_one_call(outcome: Outcome) -> None:
    """What there is to say of the play, however often it was seen."""
    (attempt,) = outcome.attempts
    (call,) = outcome.calls
    verdict = attempt.verdict
    assert verdict is not None
    assert (verdict.outcome, verdict.detail) == ("declined", "manual")
    assert attempt.retransmissions == 1
    assert attempt.legs == 1
    assert call.attempts == [attempt]
    assert attempt.ring_duration == pytest.approx(1.6, abs=0.1)


def judged(batch: Batch) -> Outcome:
    return run(batch, config_of())


@pytest.mark.parametrize("decoder", ["native", "tshark"])
@pytest.mark.parametrize("name", VIEWS)
def test_copies_in_a_file(tmp_path: Path, name: str, decoder: str) -> None:
    datagrams = play(PLAY)
    batch = read(decoder, pcap(tmp_path / "copies.pcap", frames_of(datagrams, VIEWS[name])))
    assert len(batch) == 2 * len(datagrams)
    outcome = judged(batch)
    assert_one_call(outcome)
    assert outcome.attempts[0].copies == 2
    # INVITE, its retransmission, and whatever else was seen twice.
    assert outcome.pipeline.tracker.counts["duplicates"] >= 2


@pytest.mark.parametrize("decoder", ["native", "tshark"])
def test_the_loopback_of_a_file(tmp_path: Path, decoder: str) -> None:
    """`tcpdump -i any` sees what goes over the loopback leave and come: Linux cooked, v1."""
    frames = []
    for one in play(PLAY):
        for late, kind in ((0.0, 4), (0.00001, 0)):
            cooked = struct.pack("!HHH8sH", kind, 772, 6, bytes(8), 0x0800)
            frames.append(Frame(one.time + late, cooked + inner_packet(one)))
    batch = read(decoder, pcap(tmp_path / "lo.pcap", frames, linktype=113))
    assert len(batch) == len(frames)
    assert_one_call(judged(batch))


@pytest.mark.parametrize("decoder", ["native", "tshark"])
def test_a_real_retransmission_is_no_copy(tmp_path: Path, decoder: str) -> None:
    batch = read(decoder, pcap(tmp_path / "once.pcap", frames_of(play(PLAY), once)))
    outcome = judged(batch)
    assert_one_call(outcome)
    assert outcome.attempts[0].copies == 0
    assert outcome.pipeline.tracker.counts["duplicates"] == 0


@pytest.mark.parametrize("decoder", ["native", "tshark"])
def test_the_next_hop_is_another_leg_of_the_same_call(tmp_path: Path, decoder: str) -> None:
    batch = read(decoder, pcap(tmp_path / "hop.pcap", frames_of(play(HOP), once)))
    outcome = judged(batch)
    assert_next_hop(outcome)


def assert_next_hop(outcome: Outcome) -> None:
    assert len(outcome.attempts) == 2
    assert len({one.call_id for one in outcome.attempts}) == 1
    (call,) = outcome.calls
    assert len(call.attempts) == 2
    assert all(one.copies == one.retransmissions == 0 for one in outcome.attempts)
    assert {one.verdict.outcome for one in outcome.attempts if one.verdict} == {"declined"}


# Live, on all interfaces of a host ---------------------------------------------------------------


@pytest.fixture
def host() -> Iterator[tuple[Namespace, Namespace]]:
    """A host with the interfaces `two` and `four`, and what is at the other ends of them."""
    inside, outside = Namespace(), Namespace()
    for far, near in (("one", "two"), ("three", "four")):
        inside.veth(far, near)
        inside.move(far, outside)
    yield inside, outside
    inside.close()
    outside.close()


def heard(
    inside: Namespace, outside: Namespace, frames: Sequence[Sent], expected: int
) -> tuple[Outcome, Batch]:
    """The frames sent at their times, captured on `any` and followed as the daemon does it."""
    capture = LiveCapture(["any"], [5060], geometry=Geometry(1 << 17, 16))
    outcome = Outcome(Pipeline(config_of()))
    found: Batch = []
    with inside.entered():
        capture.open()
        capture.start()
    try:
        with outside.sender("one") as one, outside.sender("three") as three:
            player = threading.Thread(target=send, args=((one, three), frames))
            player.start()
            until = time.monotonic() + 30.0
            while (player.is_alive() or len(found) < expected) and time.monotonic() < until:
                batch = capture.poll(0.1)
                found += batch
                outcome.take(outcome.pipeline.feed(batch))
                outcome.take(outcome.pipeline.advance(capture.now()))
            player.join()
        rest = capture.drain()
        outcome.take(outcome.pipeline.feed(rest))
        found += rest
    finally:
        capture.close()
    outcome.take(outcome.pipeline.finish(found[-1].time + 45.0, "end_of_capture"))
    return outcome, found


def send(senders: Sequence[socket.socket], frames: Sequence[Sent]) -> None:
    start = time.monotonic() - frames[0][0]
    for when, cable, data in frames:
        time.sleep(max(0.0, start + when - time.monotonic()))
        senders[cable].send(data)


def on_cables(datagrams: Sequence[Datagram], view: View, cables: int) -> list[Sent]:
    """The first sight of each message on the first cable, its copy on the last one."""
    frames = [
        (frame.time, min(number, cables - 1), frame.data)
        for one in datagrams
        for number, frame in enumerate(view(one))
    ]
    return sorted(frames, key=lambda frame: frame[0])


@pytest.mark.parametrize("cables", [1, 2], ids=["one interface", "two interfaces"])
@pytest.mark.parametrize("name", VIEWS)
def test_copies_live(host: tuple[Namespace, Namespace], name: str, cables: int) -> None:
    datagrams = play(PLAY)
    frames = on_cables(datagrams, VIEWS[name], cables)
    outcome, found = heard(*host, frames, 2 * len(datagrams))
    assert len(found) == 2 * len(datagrams)
    interfaces = {"two", "four"} if cables == 2 else {"two"}
    assert {one.interface for one in found} == interfaces
    assert_one_call(outcome)
    assert outcome.attempts[0].copies == 2


def test_the_next_hop_live(host: tuple[Namespace, Namespace]) -> None:
    datagrams = play(HOP)
    outcome, found = heard(*host, on_cables(datagrams, once, 1), len(datagrams))
    assert len(found) == len(datagrams)
    assert_next_hop(outcome)


def test_the_loopback_live() -> None:
    """Two programs on one host: on `any` each message is seen once."""
    inside = Namespace()
    datagrams = play(PLAY)
    capture = LiveCapture(["any"], [5060, 5061], geometry=Geometry(1 << 17, 16))
    with inside.entered():
        capture.open()
        capture.start()
        caller, pbx = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        caller.bind(("127.0.0.1", 5061))
        pbx.bind(("127.0.0.2", 5060))
    outcome = Outcome(Pipeline(config_of('local_addresses = ["127.0.0.2"]', local=False)))
    found: Batch = []
    try:
        start = time.monotonic() - datagrams[0].time
        for one in datagrams:
            while (left := start + one.time - time.monotonic()) > 0:
                batch = capture.poll(min(left, 0.1))
                found += batch
                outcome.take(outcome.pipeline.feed(batch))
            if one.source[0] == INSIDE:
                pbx.sendto(one.payload, ("127.0.0.1", 5061))
            else:
                caller.sendto(one.payload, ("127.0.0.2", 5060))
        until = time.monotonic() + 10.0
        while len(found) < len(datagrams) and time.monotonic() < until:
            batch = capture.poll(0.1)
            found += batch
            outcome.take(outcome.pipeline.feed(batch))
    finally:
        caller.close()
        pbx.close()
        capture.close()
        inside.close()
    assert len(found) == len(datagrams)
    outcome.take(outcome.pipeline.finish(found[-1].time + 45.0, "end_of_capture"))
    assert_one_call(outcome)
    assert outcome.attempts[0].copies == 0
