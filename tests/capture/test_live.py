"""What a live capture delivers, on cables and loopbacks of its own."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bpf_packets import CASES, PORTS, TUNNELS
from live_frames import (
    THERE,
    collect,
    ethernet,
    ipv4,
    ipv6,
    message,
    number_of,
    numbers,
    sip_frame,
    udp,
)
from network_namespace import Namespace

from sipwatch.capture.live import LiveCapture, LiveCaptureError
from sipwatch.capture.ring import Geometry
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.linktypes import ETHERNET
from sipwatch.net.types import Batch, Datagram, Unreachable

# linux/if_tun.h
_TUNSETIFF, _IFF_TUN_NO_PI = 0x400454CA, 0x1001

_SMALL = Geometry(block_bytes=1 << 17, block_count=8)


class Recording(FrameDecoder):
    """A decoder that also keeps the frames that went the general way."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[int, bytes]] = []

    def decode(
        self, time: float, frame: bytes, linktype: int, interface: str, number: int
    ) -> Batch:
        self.frames.append((linktype, frame))
        return super().decode(time, frame, linktype, interface, number)


@contextmanager
def capturing(inside: Namespace, *names: str, ports=(5060,), **options) -> Iterator[LiveCapture]:
    options.setdefault("geometry", _SMALL)
    capture = LiveCapture(names, ports, **options)
    with inside.entered():
        capture.open()
        capture.start()
    try:
        yield capture
    finally:
        capture.close()


def test_a_packet_on_a_quiet_line_is_delivered(cable: Namespace) -> None:
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        before = time.time()
        sender.send(sip_frame(7))
        batch = capture.poll(1.0)
        after = time.time()
    assert batch == [
        Datagram(
            time=batch[0].time,
            source=(b"\x0a\0\0\1", 5060),
            destination=(b"\x0a\0\0\2", 5060),
            transport="UDP",
            payload=message(7),
            interface="two",
            number=1,
            ip_id=1,
            udp_check=(8 + len(message(7))) << 16,
        )
    ]
    assert before <= batch[0].time <= after


def test_nothing_comes_when_nothing_is_sent(cable: Namespace) -> None:
    with capturing(cable, "two") as capture:
        assert capture.poll(0.1) == []
        assert capture.stats().packets == 0
        assert capture.stats().last_time == 0


def test_other_ports_do_not_even_reach_the_ring(cable: Namespace) -> None:
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        sender.send(ethernet(ipv4(udp(message(1), 7000, 7001))))
        sender.send(sip_frame(2))
        assert numbers(collect(capture, 1)) == [2]
        assert capture.stats().packets == 1


def test_many_packets_all_in_order(cable: Namespace) -> None:
    """More than the ring holds, so that every block is used several times."""
    count = 6000
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        found: Batch = []
        for number in range(count):
            sender.send(sip_frame(number, size=900))
            if number % 50 == 0:
                found += capture.poll(0)
        found += collect(capture, count - len(found))
        capture.refresh()
        stats = capture.stats().interfaces[0]
    assert numbers(found) == list(range(count))
    assert [item.number for item in found] == list(range(1, count + 1))
    assert (stats.packets, stats.kernel_drops) == (count, 0)
    assert stats.first_time == found[0].time
    assert stats.last_time == found[-1].time


def test_same_datagrams_as_the_decoder_gives_for_the_frames(cable: Namespace) -> None:
    """All that the filter lets through, by the fast way or not, arrives at either end."""
    offline = FrameDecoder()
    cases = [case for case in CASES if case.wanted]
    expected = [
        tuple(item)[1:5] + tuple(item)[7:]
        for number, case in enumerate(cases, 1)
        for item in offline.decode(0.0, case.frame, ETHERNET, "", number)
    ]
    assert len(expected) > 20
    for name in ("one", "two"):
        with (
            capturing(cable, name, ports=PORTS, tunnels=TUNNELS) as capture,
            cable.sender("one") as sender,
        ):
            for case in cases:
                sender.send(case.frame)
            found = collect(capture, len(expected), 5)
            assert [tuple(item)[1:5] + tuple(item)[7:] for item in found] == expected
            assert capture.stats().packets == len(cases)
            assert capture.decoder.counts == offline_counts(cases)


def offline_counts(cases):
    offline = FrameDecoder()
    for case in cases:
        offline.decode(0.0, case.frame, ETHERNET, "", 1)
    return offline.counts


@pytest.mark.parametrize(
    "tags",
    [
        b"\x81\x00\x60\x05",
        b"\x88\xa8\x00\x07",
        b"\x88\xa8\x20\x07\x81\x00\x0f\xff",
    ],
    ids=["802.1Q", "802.1ad", "QinQ"],
)
def test_vlan_tags_are_restored(cable: Namespace, tags: bytes) -> None:
    """The kernel keeps the outer tag apart; tcpdump, which restores it too, is the judge."""
    frame = ethernet(ipv6(udp(message(3))), kind=0x86DD, tags=tags)
    recording = Recording()
    with cable.entered():
        judge = subprocess.Popen(
            ["tcpdump", "-i", "two", "-c", "1", "-U", "--immediate-mode", "-w", "-"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    try:
        assert b"listening" in judge.stderr.readline()
        with (
            capturing(cable, "two", decoder=recording) as capture,
            cable.sender("one") as sender,
        ):
            sender.send(frame)
            assert numbers(collect(capture, 1)) == [3]
        file = judge.communicate(timeout=10)[0]
    finally:
        judge.kill()
    assert recording.frames == [(ETHERNET, frame)]
    assert file[40:] == frame


def test_plain_packets_with_a_tag_apart(cable: Namespace) -> None:
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        sender.send(sip_frame(1, tags=b"\x81\x00\x00\x05"))
        sender.send(sip_frame(2, tags=b"\x88\xa8\x00\x05\x81\x00\x00\x06"))
        assert numbers(collect(capture, 2)) == [1, 2]


@pytest.mark.parametrize("name", ["lo", "any"])
def test_loopback_is_counted_once(namespace: Namespace, name: str) -> None:
    with namespace.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, receiver, capturing(namespace, name) as capture:
        receiver.bind(("127.0.0.1", 5060))
        for number in range(5):
            sender.sendto(message(number), ("127.0.0.1", 5060))
        found = collect(capture, 6, 1.0)
        assert numbers(found) == [0, 1, 2, 3, 4]
        assert {item.interface for item in found} == {"lo"}
        assert capture.stats().packets == 5


def test_ipv6_on_loopback(namespace: Namespace) -> None:
    with namespace.entered():
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with sender, capturing(namespace, "any") as capture:
        sender.sendto(message(4), ("::1", 5060))
        found = [item for item in collect(capture, 2, 2.0) if isinstance(item, Datagram)]
    assert numbers(found) == [4]
    assert found[0].destination == (bytes(15) + b"\x01", 5060)


def test_closed_port_is_reported_by_its_icmp(namespace: Namespace) -> None:
    with namespace.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, capturing(namespace, "lo") as capture:
        sender.bind(("127.0.0.1", 0))
        sender.sendto(message(4), ("127.0.0.1", 5060))
        sent, report = collect(capture, 2)
        assert isinstance(report, Unreachable)
        assert report.destination == (b"\x7f\0\0\1", 5060)
        assert report.source[1] == sender.getsockname()[1]
        assert report.code == 3
        assert (report.ip_id, report.udp_check) == (sent.ip_id, sent.udp_check)


def test_any_names_the_interface_of_each_packet(cable: Namespace) -> None:
    with capturing(cable, "any") as capture, cable.sender("one") as sender:
        sender.send(sip_frame(1))
        sender.send(sip_frame(2, tags=b"\x88\xa8\x00\x05\x81\x00\x00\x06"))
        sender.send(ethernet(ipv6(udp(message(3))), kind=0x86DD))
        found = collect(capture, 6)
    assert [(item.interface, number_of(item.payload)) for item in found] == [
        (name, number) for number in (1, 2, 3) for name in ("one", "two")
    ]


def test_any_hears_interfaces_that_come_later(namespace: Namespace) -> None:
    with capturing(namespace, "any") as capture:
        assert capture.poll(0.05) == []
        namespace.veth("late", "later")
        with namespace.sender("late") as sender:
            sender.send(sip_frame(1))
            found = collect(capture, 2)
    assert [item.interface for item in found] == ["late", "later"]


def test_tunnel_device_without_link_header(namespace: Namespace) -> None:
    """A tun device: what a process writes into it arrives, what is routed into it leaves."""
    with namespace.entered(), open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"tun7", _IFF_TUN_NO_PI))
        namespace.ip("addr", "add", "10.0.0.9/24", "dev", "tun7")
        namespace.ip("link", "set", "tun7", "up")
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
            capturing(namespace, "tun7") as capture,
        ):
            tun.write(ipv4(udp(message(1))))
            sender.sendto(message(2), (socket.inet_ntoa(THERE), 5060))
            found = collect(capture, 2)
    assert numbers(found) == [1, 2]
    assert found[1].destination == (THERE, 5060)


def test_several_interfaces_in_order_of_time(namespace: Namespace) -> None:
    namespace.veth("a0", "a1")
    namespace.veth("b0", "b1")
    with (
        capturing(namespace, "a1", "b1") as capture,
        namespace.sender("a0") as a,
        namespace.sender("b0") as b,
    ):
        found: Batch = []
        for number in range(0, 600, 2):
            a.send(sip_frame(number))
            b.send(sip_frame(number + 1))
            if number % 20 == 0:
                found += capture.poll(0.01)
        found += collect(capture, 600 - len(found))
        stats = capture.stats()
    assert numbers(found) == list(range(600))
    assert {item.interface for item in found} == {"a1", "b1"}
    assert [interface.packets for interface in stats.interfaces] == [300, 300]
    assert stats.packets == 600


def test_full_ring_counts_what_the_kernel_dropped(cable: Namespace) -> None:
    tiny = Geometry(block_bytes=1 << 16, block_count=2)
    with capturing(cable, "two", geometry=tiny) as capture, cable.sender("one") as sender:
        for number in range(1000):
            sender.send(sip_frame(number, size=1000))
        found = collect(capture, 1000, 1.0)
        capture.refresh()
        stats = capture.stats().interfaces[0]
        assert stats.kernel_drops > 0
        assert stats.freezes > 0
        assert len(found) + stats.kernel_drops == 1000
        assert numbers(found) == list(range(len(found)))
        sender.send(sip_frame(5000))
        assert numbers(collect(capture, 1)) == [5000]
    assert capture.stats().interfaces[0].kernel_drops == stats.kernel_drops


def test_snap_length_is_noticed(cable: Namespace) -> None:
    with capturing(cable, "two", snap_length=96) as capture, cable.sender("one") as sender:
        sender.send(sip_frame(1))
        sender.send(ethernet(ipv4(udp(b"\0\0"))))
        capture.poll(1.0)
        stats = capture.stats().interfaces[0]
    assert (stats.packets, stats.snapped) == (2, 1)


def test_packets_that_an_offload_joined_are_noticed(cable: Namespace, other: Namespace) -> None:
    """A TCP stream over veth is handed on in segments far longer than the MTU."""
    cable.ip("addr", "add", "10.9.0.1/24", "dev", "one")
    cable.move("two", other)
    other.ip("addr", "add", "10.9.0.2/24", "dev", "two")
    with other.entered():
        listener = socket.create_server(("10.9.0.2", 5060))
    with cable.entered():
        client = socket.socket()
    with listener, client, capturing(other, "two") as capture:
        client.settimeout(10)
        client.connect(("10.9.0.2", 5060))
        server, _ = listener.accept()
        with server:
            sent = other.in_thread(client.sendall, b"x" * 400_000)
            received = 0
            while received < 400_000:
                received += len(server.recv(1 << 16))
            sent.join(10)
        until = time.monotonic() + 5
        while not capture.stats().interfaces[0].inflated and time.monotonic() < until:
            capture.poll(0.1)
        stats = capture.stats().interfaces[0]
    assert stats.inflated > 0
    assert stats.snapped == 0


def test_one_direction_is_noticed(cable: Namespace) -> None:
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        assert capture.stats().only_one_direction is None
        for number in range(30):
            sender.send(sip_frame(number))
            assert len(collect(capture, 1)) == 1
        assert capture.stats().only_one_direction is True
        sender.send(ethernet(ipv4(udp(message(1)), source=THERE)))
        collect(capture, 1)
        assert capture.stats().only_one_direction is False


def test_ports_can_be_changed_while_it_runs(cable: Namespace) -> None:
    other = ethernet(ipv4(udp(message(2), 7000, 7000)))
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        sender.send(sip_frame(1))
        sender.send(other)
        assert numbers(collect(capture, 1)) == [1]
        capture.set_filter([7000, (7060, 7070)])
        sender.send(sip_frame(3))
        sender.send(other)
        assert numbers(collect(capture, 1)) == [2]
        assert capture.decoder.ports == frozenset({7000, *range(7060, 7071)})
        assert capture.filter_text().startswith("two: UDP, TCP, SCTP port 7000, 7060-7070;")
        with pytest.raises(LiveCaptureError, match="port 0"):
            capture.set_filter([0])


def test_descriptor_can_be_waited_for(cable: Namespace) -> None:
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        capture.poll(0)
        assert select.select([capture], [], [], 0.05)[0] == []
        sender.send(sip_frame(1))
        assert select.select([capture], [], [], 5)[0] == [capture]
        assert numbers(capture.poll(0)) == [1]


def test_time_goes_on_when_nothing_comes(cable: Namespace) -> None:
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        seen = []
        for number in range(6):
            if number == 3:
                sender.send(sip_frame(1))
            batch = capture.poll(0.2)
            seen.append(capture.now())
            assert capture.now() <= time.time()
            assert all(item.time <= capture.now() for item in batch)
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_first_fragment_is_given_out_when_the_rest_does_not_come(cable: Namespace) -> None:
    """Nothing else comes that could move the time on."""
    packet = bytearray(ipv4(udp(message(9, size=600))[:480]))
    packet[6:8] = b"\x20\x00"
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        sender.send(ethernet(bytes(packet)))
        [datagram] = collect(capture, 1, 10.0)
    assert number_of(datagram.payload) == 9
    assert datagram.payload == message(9, size=600)[:472]


def test_drain_gives_what_still_waits(namespace: Namespace) -> None:
    namespace.veth("a0", "a1")
    with capturing(namespace, "a1", "lo") as capture, namespace.sender("a0") as sender:
        sender.send(sip_frame(1))
        time.sleep(0.1)
        assert numbers(capture.drain()) == [1]


def test_promiscuous_while_it_runs_only_when_asked(cable: Namespace) -> None:
    def promiscuity() -> str:
        text = cable.ip("-d", "link", "show", "two")
        return text.split("promiscuity ")[1].split()[0]

    with capturing(cable, "two"):
        assert promiscuity() == "0"
    with capturing(cable, "two", promiscuous=True):
        assert promiscuity() == "1"
    assert promiscuity() == "0"


def test_numbers_stay_after_the_end(cable: Namespace) -> None:
    with capturing(cable, "two") as capture, cable.sender("one") as sender:
        sender.send(sip_frame(1))
        collect(capture, 1)
    capture.close()
    assert capture.stats().packets == 1
    assert capture.stats().interfaces[0].ring_bytes == _SMALL.bytes
    with pytest.raises(LiveCaptureError, match="not open"):
        capture.poll(0)


@pytest.mark.parametrize(
    ("names", "ports", "options", "message"),
    [
        ([], [5060], {}, "no interface to capture on: name one, or any"),
        (["any", "lo"], [5060], {}, "any means all of them"),
        (["lo"], [], {}, "no ports to capture"),
        (["lo"], [5060], {"tunnels": ["worm"]}, "tunnel 'worm' is not known"),
        (["lo"], [5060], {"snap_length": 0}, "snap length 0"),
    ],
)
def test_wishes_that_make_no_sense(names, ports, options, message: str) -> None:
    with pytest.raises(LiveCaptureError, match=message):
        LiveCapture(names, ports, **options)


def test_no_such_interface_lists_those_that_exist(cable: Namespace) -> None:
    capture = LiveCapture(["eth9"], [5060])
    wanted = r"^no such interface: eth9 \(there are: lo, .*one.*any\)$"
    with cable.entered(), pytest.raises(LiveCaptureError, match=wanted):
        capture.open()


def test_names_that_no_interface_can_have(cable: Namespace) -> None:
    for name in ("x" * 40, "", "a/b", "\0"):
        with cable.entered(), pytest.raises(LiveCaptureError, match="no such interface"):
            LiveCapture([name], [5060]).open()
