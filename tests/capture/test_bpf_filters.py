"""The capture filter: by hand, by an interpreter, by the kernel, and by tcpdump, all the same."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from collections.abc import Iterator

import bpf_interpreter
import pytest
from bpf_packets import CASES, PORTS, TCPDUMP, TUNNELS, Case
from hypothesis import given
from hypothesis import strategies as st
from network_namespace import Namespace
from test_bpf import kernel_verdicts

from sipwatch.capture import bpf
from sipwatch.capture.filters import (
    TUNNELS as KNOWN_TUNNELS,
)
from sipwatch.capture.filters import (
    FilterSettingError,
    LinkLayer,
    compile_filter,
    describe,
    settings,
)

_PROTOCOL, _PACKET_TYPE, _HARDWARE = 0, 4, 28
_ETHERNET_HARDWARE, _LOOPBACK_HARDWARE = 1, 772
_HOST, _OUTGOING = 0, 4
_ALL = 3
_IDS = [case.name for case in CASES]


def program(
    link: LinkLayer = LinkLayer.ETHERNET, *, loopback: bool = True, tunnels: list[str] = TUNNELS
) -> bpf.Program:
    return compile_filter(settings(PORTS, tunnels), link, drop_outgoing_on_loopback=loopback)


_ETHERNET = program()
_COOKED = program(LinkLayer.COOKED)
#: Without the question for the kind of interface, which packets of other sockets do not have.
_BARE = program(loopback=False)


def metadata(frame: bytes, packet_type: int = _HOST, hardware: int = _ETHERNET_HARDWARE):
    return {
        _PROTOCOL: int.from_bytes(frame[12:14], "big"),
        _PACKET_TYPE: packet_type,
        _HARDWARE: hardware,
    }


def untagged(frame: bytes) -> tuple[int, bytes]:
    """Protocol and network packet, as a cooked socket shows what has been received.

    The kernel takes the outermost tag off, and the network header begins behind it.
    """
    if frame[12:14] in (b"\x81\x00", b"\x88\xa8"):
        frame = frame[:12] + frame[16:]
    return int.from_bytes(frame[12:14], "big"), frame[14:]


@pytest.mark.parametrize("case", CASES, ids=_IDS)
def test_interpreter_ethernet(case: Case) -> None:
    kept = bpf_interpreter.run(_ETHERNET, case.frame, metadata(case.frame))
    assert kept == (262_144 if case.wanted else 0)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.frame[12:14] != b"\x81\x00"], ids=lambda c: c.name
)
def test_interpreter_with_the_tag_in_the_metadata(case: Case) -> None:
    """A frame whose tag the kernel keeps apart is the frame without it."""
    tagged = case.frame[:12] + b"\x81\x00\x00\x05" + case.frame[12:]
    protocol, packet = untagged(tagged)
    frame = tagged[:12] + protocol.to_bytes(2, "big") + packet
    assert bool(bpf_interpreter.run(_ETHERNET, frame, metadata(frame))) is case.wanted


def test_kernel_gives_the_same_verdicts() -> None:
    kept = kernel_verdicts(_BARE, [case.frame for case in CASES])
    wrong = {
        case.name: size
        for case, size in zip(CASES, kept, strict=True)
        if size != (len(case.frame) if case.wanted else 0)
    }
    assert wrong == {}


def test_tcpdump_gives_the_same_verdicts() -> None:
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    for number, case in enumerate(CASES):
        size = len(case.frame)
        capture += struct.pack("<IIII", number, 0, size, size) + case.frame
    done = subprocess.run(
        ["tcpdump", "-r", "-", "-w", "-", TCPDUMP],
        input=capture,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert let_through(done.stdout) == [case.name for case in CASES if case.wanted]


def let_through(capture: bytes) -> list[str]:
    """Names of the cases in a capture file whose seconds are their numbers."""
    names, offset = [], 24
    while offset < len(capture):
        seconds, _, size, _ = struct.unpack_from("<IIII", capture, offset)
        names.append(CASES[seconds].name)
        offset += 16 + size
    return names


@pytest.fixture
def sockets(cable: Namespace) -> Iterator[dict[str, socket.socket]]:
    """Filtered packet sockets at both ends of a cable, with and without link header."""
    with cable.entered():
        opened = {
            f"{end} {kind}": filtered(end, number, wanted)
            for end in ("one", "two")
            for kind, number, wanted in (
                ("raw", socket.SOCK_RAW, _ETHERNET),
                ("cooked", socket.SOCK_DGRAM, _COOKED),
            )
        }
    yield opened
    for sock in opened.values():
        sock.close()


def filtered(name: str, kind: int, wanted: bpf.Program) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, kind, 0)
    bpf.attach(sock, wanted)
    sock.bind((name, _ALL))
    sock.settimeout(5)
    return sock


#: Stands behind each packet, as Ethernet padding does.
_TRAILER = b"case"


@pytest.mark.parametrize("end", ["one", "two"])
@pytest.mark.parametrize("kind", ["raw", "cooked"])
def test_on_a_cable(
    cable: Namespace,
    sockets: dict[str, socket.socket],
    end: str,
    kind: str,
) -> None:
    """End one sees what leaves, with tags in the frame; end two what arrives, without."""
    sender = cable.sender("one")
    cases = [case for case in CASES if len(case.frame) >= 60 or "bytes" not in case.name]
    for number, case in enumerate(cases):
        sender.send(case.frame + _TRAILER + number.to_bytes(2, "big"))
    sender.send(CASES[0].frame + _TRAILER + b"\xff\xff")
    sender.close()
    seen = []
    while True:
        data = sockets[f"{end} {kind}"].recv(1 << 16)
        assert data[-6:-2] == _TRAILER
        if data[-2:] == b"\xff\xff":
            break
        seen.append(cases[int.from_bytes(data[-2:], "big")].name)
    assert seen == [case.name for case in cases if case.wanted]


def test_loopback_copies_that_leave_are_dropped() -> None:
    frame = CASES[0].frame
    for wanted, data in ((_ETHERNET, frame), (_COOKED, frame[14:])):
        assert not bpf_interpreter.run(wanted, data, metadata(frame, _OUTGOING, _LOOPBACK_HARDWARE))
        assert bpf_interpreter.run(wanted, data, metadata(frame, _HOST, _LOOPBACK_HARDWARE))
        assert bpf_interpreter.run(wanted, data, metadata(frame, _OUTGOING))


def test_without_tunnels_nothing_of_them_passes() -> None:
    plain = program(tunnels=[])
    passed = {
        case.name for case in CASES if bpf_interpreter.run(plain, case.frame, metadata(case.frame))
    }
    assert (
        passed & {"ip in ip", "gre", "vxlan", "geneve", "gtp-u", "hep udp", "mpls", "pppoe"}
        == set()
    )
    assert {"udp to 5060", "later fragment", "port unreachable", "ah"} <= passed


@pytest.mark.parametrize("tunnel", sorted(KNOWN_TUNNELS))
@pytest.mark.parametrize("link", list(LinkLayer))
def test_every_tunnel_compiles_and_the_kernel_takes_it(tunnel: str, link: LinkLayer) -> None:
    wanted = compile_filter(settings([5060], [tunnel]), link, drop_outgoing_on_loopback=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        bpf.attach(sock, wanted)


def test_bytes_that_are_kept() -> None:
    wanted = compile_filter(
        settings([5060], keep=100), LinkLayer.ETHERNET, drop_outgoing_on_loopback=False
    )
    long = CASES[0].frame + bytes(200)
    assert kernel_verdicts(wanted, [long]) == [100]


def test_many_ports() -> None:
    ports = list(range(10_000, 11_200, 2))
    wanted = compile_filter(settings(ports), LinkLayer.ETHERNET, drop_outgoing_on_loopback=False)
    frame = bytearray(CASES[0].frame)
    packets = []
    for port in (10_000, 10_001, 10_600, 11_198, 11_199, 11_200):
        frame[36:38] = port.to_bytes(2, "big")
        packets.append(bytes(frame))
    expected = [bool(size) for size in kernel_verdicts(wanted, packets)]
    assert expected == [True, False, True, True, False, False]


def test_too_many_ports_are_said() -> None:
    wanted = settings(range(1, 60_000, 2))
    with pytest.raises(bpf.FilterTooLong, match="name fewer ports, or ranges of ports"):
        compile_filter(wanted, LinkLayer.ETHERNET, drop_outgoing_on_loopback=True)


def test_ports_are_ordered_and_joined() -> None:
    assert settings([5062, 5060, 5061, (5070, 5080), (5075, 5090), 5060]).ports == (
        (5060, 5062),
        (5070, 5090),
    )


@pytest.mark.parametrize(
    ("ports", "tunnels", "message"),
    [
        ([], [], "no ports to capture"),
        ([0], [], "port 0: must be from 1 to 65535"),
        ([70_000], [], "port 70000"),
        ([(9, 8)], [], "port 9-8"),
        ([5060], ["wormhole"], "tunnel 'wormhole' is not known: use one of ipip, gre"),
        ([5060], ["gre:47"], "gre has no port"),
        ([5060], ["vxlan:x"], "the port must be from 1 to 65535"),
        ([5060], ["vxlan:99999"], "the port must be from 1 to 65535"),
    ],
)
def test_wrong_settings(ports: list, tunnels: list[str], message: str) -> None:
    with pytest.raises(FilterSettingError, match=message):
        settings(ports, tunnels)


def test_description() -> None:
    text = describe(settings([5080, 5060, (6000, 6010)], ["gre", "vxlan:8472"]))
    assert text == (
        "UDP, TCP, SCTP port 5060, 5080, 6000-6010; later IP fragments; ICMP unreachable; "
        "tunnels gre, vxlan:8472"
    )


def test_a_program_that_the_kernel_refuses_is_an_error() -> None:
    refused = pytest.raises(OSError, match=os.strerror(errno.EINVAL))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, refused:
        bpf.attach(sock, (bpf.Instruction(bpf.LD_BYTE, 0, 0, 0),))


@given(
    case=st.sampled_from(CASES),
    changes=st.lists(st.tuples(st.integers(0, 79), st.integers(0, 255)), max_size=6),
    size=st.integers(1, 200),
)
def test_kernel_and_interpreter_agree_on_damaged_frames(
    case: Case, changes: list[tuple[int, int]], size: int
) -> None:
    frame = bytearray(case.frame)
    for offset, value in changes:
        if offset < len(frame):
            frame[offset] = value
    data = bytes(frame[:size])
    kept = min(len(data), bpf_interpreter.run(_BARE, data))
    assert kernel_verdicts(_BARE, [data]) == [kept]
