"""Interfaces that go away and come back under a running capture."""

from __future__ import annotations

import fcntl
import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live_frames import collect, events_until, ipv4, message, numbers, sip_frame, udp
from network_namespace import Namespace
from test_live import capturing

from sipwatch.capture.interfaces import Interfaces, Link, LinkType
from sipwatch.capture.live import LiveCapture, LiveCaptureError
from sipwatch.capture.ring import Geometry
from sipwatch.capture.tap import Losses

_TUNSETIFF, _IFF_TUN_NO_PI = 0x400454CA, 0x1001
_NOBODY = 65534


def hears(capture: LiveCapture, inside: Namespace, name: str, number: int) -> bool:
    """Whether what is sent from ``name`` is captured."""
    with inside.sender(name) as sender:
        sender.send(sip_frame(number))
        return number in numbers(collect(capture, 1, 5.0))


def test_down_and_up(cable: Namespace) -> None:
    with capturing(cable, "two") as capture:
        assert hears(capture, cable, "one", 1)
        cable.ip("link", "set", "two", "down")
        assert events_until(capture, "down") == ["down"]
        assert capture.stats().interfaces[0].state == "down"
        cable.ip("link", "set", "two", "up")
        assert events_until(capture, "up") == ["up"]
        assert capture.stats().interfaces[0].state == "listening"
        assert hears(capture, cable, "one", 2)


def test_starts_on_an_interface_that_is_down(cable: Namespace) -> None:
    cable.ip("link", "set", "two", "down")
    with capturing(cable, "two") as capture:
        [event] = capture.events()
        assert (event.kind, event.interface) == ("down", "two")
        assert event.text == "two is down: nothing can be captured there"
        cable.ip("link", "set", "two", "up")
        assert events_until(capture, "up") == ["up"]
        assert hears(capture, cable, "one", 1)


def test_cable_without_carrier(cable: Namespace) -> None:
    with capturing(cable, "two") as capture:
        cable.ip("link", "set", "one", "down")
        assert events_until(capture, "down") == ["down"]
        cable.ip("link", "set", "one", "up")
        assert events_until(capture, "up") == ["up"]


def test_deleted_and_made_again(cable: Namespace) -> None:
    with capturing(cable, "two") as capture:
        assert hears(capture, cable, "one", 1)
        for number in (2, 3):
            cable.ip("link", "del", "two")
            assert events_until(capture, "gone")[-1] == "gone"
            assert capture.stats().interfaces[0].state == "gone"
            cable.veth()
            assert "reopened" in events_until(capture, "reopened")
            assert hears(capture, cable, "one", number)
        assert capture.stats().interfaces[0].packets == 3
        assert capture.stats().interfaces[0].state == "listening"


def test_deleted_and_made_again_with_the_same_index_between_two_polls(cable: Namespace) -> None:
    """Nothing but the socket's error tells that it is another device."""
    index = json.loads(cable.ip("-j", "link", "show", "two"))[0]["ifindex"]
    with capturing(cable, "two") as capture:
        assert hears(capture, cable, "one", 1)
        cable.ip("link", "del", "two")
        cable.ip("link", "add", "two", "index", str(index), "type", "veth", "peer", "name", "one")
        cable.ip("link", "set", "one", "up")
        cable.ip("link", "set", "two", "up")
        until = time.monotonic() + 10
        heard = False
        while not heard and time.monotonic() < until:
            capture.poll(0.1)
            with cable.sender("one") as sender:
                sender.send(sip_frame(2))
            heard = 2 in numbers(collect(capture, 1, 0.3))
        assert heard


def test_moved_to_another_namespace_and_replaced(cable: Namespace, other: Namespace) -> None:
    """What a container engine does when it hands an interface over."""
    with capturing(cable, "two") as capture:
        cable.move("two", other)
        assert events_until(capture, "gone")[-1] == "gone"
        cable.veth("three", "two")
        assert "reopened" in events_until(capture, "reopened")
        assert hears(capture, cable, "three", 1)


def test_renamed_is_still_heard_under_its_configured_name(cable: Namespace) -> None:
    with capturing(cable, "two") as capture:
        cable.ip("link", "set", "two", "name", "lan7")
        kinds = events_until(capture, "renamed")
        assert kinds[-1] == "renamed"
        with cable.sender("one") as sender:
            sender.send(sip_frame(1))
        [datagram] = collect(capture, 1)
        assert datagram.interface == "two"
        # Another interface takes the name: that one is meant now.
        cable.veth("three", "two")
        assert "reopened" in events_until(capture, "reopened")
        with cable.sender("one") as sender:
            sender.send(sip_frame(2))
        assert hears(capture, cable, "three", 3)
        assert capture.stats().interfaces[0].packets == 2


def test_renamed_and_back_is_no_loss(cable: Namespace) -> None:
    with capturing(cable, "two") as capture:
        cable.ip("link", "set", "two", "name", "lan7")
        assert events_until(capture, "renamed")[-1] == "renamed"
        cable.ip("link", "set", "lan7", "name", "two")
        said: list[str] = []
        until = time.monotonic() + 15.0
        while not said and time.monotonic() < until:
            capture.poll(0.05)
            said = [event.text for event in capture.events()]
        assert said == ["two has its name back and is still captured"]
        assert hears(capture, cable, "one", 1)


def test_comes_back_as_another_kind_of_device(cable: Namespace) -> None:
    """A veth, then a tun of the same name: packets without link header, a new ring."""
    with capturing(cable, "two") as capture:
        assert hears(capture, cable, "one", 1)
        cable.ip("link", "del", "two")
        assert events_until(capture, "gone")[-1] == "gone"
        with cable.entered(), open("/dev/net/tun", "r+b", buffering=0) as tun:
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"two", _IFF_TUN_NO_PI))
            cable.ip("link", "set", "two", "up")
            assert "reopened" in events_until(capture, "reopened")
            tun.write(ipv4(udp(message(2))))
            assert numbers(collect(capture, 1)) == [2]
        assert capture.stats().interfaces[0].packets == 2


def test_other_interfaces_go_on(namespace: Namespace) -> None:
    namespace.veth("a0", "a1")
    namespace.veth("b0", "b1")
    with capturing(namespace, "a1", "b1") as capture:
        namespace.ip("link", "del", "a1")
        assert events_until(capture, "gone")[-1] == "gone"
        assert hears(capture, namespace, "b0", 1)
        states = [interface.state for interface in capture.stats().interfaces]
        assert states == ["gone", "listening"]


def test_gone_before_the_start(cable: Namespace) -> None:
    capture = LiveCapture(["two"], [5060], geometry=Geometry(1 << 17, 4))
    with cable.entered():
        capture.open()
    cable.ip("link", "del", "two")
    with pytest.raises(LiveCaptureError, match="interface two has gone before"):
        capture.start()
    capture.close()


def test_events_that_nobody_takes_are_bounded(cable: Namespace) -> None:
    with capturing(cable, "two") as capture:
        for _ in range(300):
            capture._taps[0]._tell("down", "two is down")
        assert len(capture.events()) == 256
        assert capture.events() == []


_WITHOUT_PRIVILEGES = """
import os, sys, time
from sipwatch.capture.live import LiveCapture
capture = LiveCapture(["two"], [5060])
capture.open()
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
capture.start()
print("started", flush=True)
until = time.monotonic() + 30
while time.monotonic() < until:
    for item in capture.poll(0.1):
        print(item.payload.split(b"Call-ID: ")[1].split()[0].decode(), flush=True)
    for event in capture.events():
        print(event.kind, event.text, file=sys.stderr, flush=True)
        print(event.kind, flush=True)
"""


def test_reopened_without_privileges(cable: Namespace) -> None:
    """Sockets are opened as root; the rest, a new device included, runs as nobody."""
    with cable.entered():
        process = subprocess.Popen(
            [sys.executable, "-c", _WITHOUT_PRIVILEGES],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "started\n"
        with cable.sender("one") as sender:
            sender.send(sip_frame(1))
        assert process.stdout.readline() == "call-1\n"
        cable.ip("link", "del", "two")
        assert until_line(process, "gone")
        cable.veth()
        assert until_line(process, "reopened")
        with cable.sender("one") as sender:
            sender.send(sip_frame(2))
        assert until_line(process, "call-2")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def until_line(process: subprocess.Popen[str], wanted: str) -> bool:
    assert process.stdout is not None
    return any(line == f"{wanted}\n" for line in process.stdout)


_WITH_ONE_CAPABILITY = """
from sipwatch.capture.live import LiveCapture
print([line for line in open("/proc/self/status") if line.startswith("CapEff")][0].split()[1])
with LiveCapture(["two"], [5060], promiscuous=True, tunnels=["gre"]) as capture:
    capture.set_filter([5060])
    print("started", flush=True)
    print(len(capture.poll(20)))
"""


def test_one_capability_is_enough(cable: Namespace) -> None:
    command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+net_raw", sys.executable]
    with cable.entered():
        process = subprocess.Popen(
            [*command, "-c", _WITH_ONE_CAPABILITY],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    assert process.stdout is not None
    try:
        assert int(process.stdout.readline(), 16) == 1 << 13
        assert process.stdout.readline() == "started\n"
        with cable.sender("one") as sender:
            sender.send(sip_frame(1))
        assert process.stdout.readline() == "1\n"
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_no_permission_says_how_to_get_it(cable: Namespace) -> None:
    code = (
        "import os\n"
        "from sipwatch.capture.live import LiveCapture, LiveCaptureError\n"
        f"os.setresuid({_NOBODY}, {_NOBODY}, {_NOBODY})\n"
        "try:\n    LiveCapture(['two'], [5060]).open()\n"
        "except LiveCaptureError as error:\n    print(error)\n"
    )
    with cable.entered():
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            cwd=Path(__file__).parents[2],
        )
    assert done.stdout == (
        "no permission to capture: run as root, or give the service CAP_NET_RAW "
        "(AmbientCapabilities=CAP_NET_RAW in a systemd unit, --cap-add NET_RAW in a container)\n"
    )


def test_interfaces_as_ip_shows_them(cable: Namespace) -> None:
    cable.ip("link", "set", "two", "mtu", "1400")
    with cable.sender("one") as sender:
        for number in range(3):
            sender.send(sip_frame(number))
    with cable.entered():
        interfaces = Interfaces()
    # Looked at from outside: the answer is that of the namespace in which it was made.
    found = interfaces.all()
    shown = json.loads(cable.ip("-s", "-d", "-j", "link"))
    assert [
        (link.number, link.name, link.mtu, link.is_up, link.is_loopback, link.kind, link.received)
        for link in found
    ] == [
        (
            each["ifindex"],
            each["ifname"],
            each["mtu"],
            "UP" in each["flags"],
            "LOOPBACK" in each["flags"],
            each.get("linkinfo", {}).get("info_kind", ""),
            each["stats64"]["rx"]["packets"],
        )
        for each in sorted(shown, key=lambda each: each["ifindex"])
    ]
    two = interfaces.named("two")
    assert two is not None
    assert interfaces.numbered(two.number) == two
    assert two.link_type is LinkType.ETHERNET
    assert two.received == 3
    assert interfaces.named("nine") is None
    assert interfaces.numbered(4000) is None
    interfaces.close()


def test_changes_are_told(cable: Namespace) -> None:
    with cable.entered():
        interfaces = Interfaces()
    assert not interfaces.have_changed()
    cable.ip("link", "set", "two", "down")
    assert interfaces.have_changed()
    assert not interfaces.have_changed()
    interfaces.close()


def link(number: int, lost: int) -> Link:
    return Link(number, f"if{number}", 1, 1, 1500, "", 0, lost)


def test_losses_are_those_while_it_was_watched() -> None:
    losses = Losses()
    losses.update([link(1, 100), link(2, 0)])
    assert losses.total == 0
    losses.update([link(1, 103), link(2, 4)])
    assert losses.total == 7
    # A device that comes anew, and one whose counters were set back.
    losses.update([link(2, 1), link(3, 50)])
    assert losses.total == 7
    losses.update([link(2, 2), link(3, 52)])
    assert losses.total == 10


def test_what_the_device_itself_loses_is_counted(namespace: Namespace) -> None:
    """A tun device drops, and counts, what is neither IPv4 nor IPv6."""
    with namespace.entered(), open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"tun7", _IFF_TUN_NO_PI))
        namespace.ip("link", "set", "tun7", "up")
        with pytest.raises(OSError, match="Invalid argument"):
            tun.write(b"\xf0 before the capture")
        for name in ("tun7", "any"):
            with capturing(namespace, name) as capture:
                for _ in range(4):
                    with pytest.raises(OSError, match="Invalid argument"):
                        tun.write(b"\xf0 neither")
                tun.write(ipv4(udp(message(1))))
                assert numbers(collect(capture, 1)) == [1]
                capture.refresh()
                stats = capture.stats()
                assert stats.interfaces[0].interface_drops == 4
                assert (stats.packets, stats.drops) == (1, 4)
