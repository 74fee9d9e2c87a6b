"""The HEP listener: over UDP, TCP and TLS, from real agents, and with what it must withstand."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hep_agents import free_port, kamailio, message, packet
from tls_talk import certificate

from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.hep import HepListener, Limits, Listen, listen_addresses
from sipwatch.capture.hep_intake import MAX_NODES, Intake
from sipwatch.net.types import Batch, Datagram

CAPTURE = Path(__file__).parents[3] / "shared" / "captures" / "sngrep-aaa.pcap"

SOURCE, DESTINATION = (b"\xc0\x00\x02\x01", 5060), (b"\xc0\x00\x02\x02", 5070)


@contextmanager
def listening(listener: HepListener) -> Iterator[HepListener]:
    listener.open()
    listener.start()
    try:
        yield listener
    finally:
        listener.close()


def collect(listener: HepListener, enough: Callable[[Batch], bool], seconds: float = 15) -> Batch:
    """Polls until there is enough, or for so long."""
    found: Batch = []
    deadline = time.monotonic() + seconds
    while not enough(found) and time.monotonic() < deadline:
        found += listener.poll(0.2)
    return found


def port_of(listener: HepListener, transport: str) -> int:
    return next(one.port for one in listener.addresses if one.transport == transport)


def connect(listener: HepListener, transport: str = "tcp") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(listener, transport)), timeout=5)


def local(*transports: str) -> list[Listen]:
    return [Listen(transport, "127.0.0.1", 0) for transport in transports]


# Judging packets ---------------------------------------------------------------------------------


def test_a_packet_becomes_a_datagram() -> None:
    intake = Intake()
    data = packet(message(), when=1000.25, node=2002)
    assert intake.receive(1001.0, data) == Datagram(
        1000.25, SOURCE, DESTINATION, "UDP", message(), "hep:2002", 1
    )
    assert intake.receive(1001.0, data) is not None
    assert intake.counts.nodes == {"hep:2002": 2}


@pytest.mark.parametrize("key", [None, b"", b"secre", b"secret2"])
def test_without_the_key_nothing_passes(key: bytes | None) -> None:
    intake = Intake(b"secret")
    assert intake.receive(0.0, packet(message(), key=key)) is None
    assert intake.counts.refused == {"auth_key": 1}
    version_2 = b"\x02\x10\x02\x11" + bytes(8) + bytes(4) + bytes(12) + message()
    assert intake.receive(0.0, version_2) is None
    assert intake.receive(0.0, packet(message(), key=b"secret")) is not None


@pytest.mark.parametrize("off", [-11.0, 11.0, 4e8])
def test_a_wrong_clock_is_not_believed(off: float) -> None:
    intake = Intake()
    datagram = intake.receive(1_700_000_000.0, packet(message(), when=1_700_000_000.0 + off))
    assert datagram is not None
    assert datagram.time == 1_700_000_000.0
    assert intake.counts.wrong_time == 1


def test_other_payloads_are_counted() -> None:
    intake = Intake()
    assert intake.receive(0.0, packet(b"{}", kind=100, when=0.0)) is None
    assert intake.receive(0.0, packet(b"\x80\xc8" + bytes(20), when=0.0)) is None
    assert intake.receive(0.0, b"nonsense") is None
    assert (intake.counts.other, intake.counts.sip) == (1, 0)
    assert intake.counts.refused == {"not_sip": 1, "not_hep": 1}


def test_names_of_nodes_are_bounded() -> None:
    intake = Intake()
    for node in range(1000):
        datagram = intake.receive(0.0, packet(message(), when=0.0, node=node))
        assert datagram is not None
    assert len(intake.counts.nodes) == MAX_NODES + 1
    assert intake.counts.nodes["hep:other"] == 1000 - MAX_NODES


@pytest.mark.parametrize(("number", "name"), [(6, "TCP"), (22, "TLS"), (132, "SCTP"), (99, "UDP")])
def test_transports_are_those_that_there_are(number: int, name: str) -> None:
    datagram = Intake().receive(0.0, packet(message(), when=0.0, number=number))
    assert datagram is not None
    assert datagram.transport == name


# Addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:9060", ["udp:0.0.0.0:9060", "tcp:0.0.0.0:9060"]),
        ("127.0.0.1", ["udp:127.0.0.1:9060", "tcp:127.0.0.1:9060"]),
        ("9061", ["udp:0.0.0.0:9061", "tcp:0.0.0.0:9061"]),
        (":9061", ["udp:0.0.0.0:9061", "tcp:0.0.0.0:9061"]),
        ("udp:10.0.0.1:1", ["udp:10.0.0.1:1"]),
        ("TLS:[::1]:9061", ["tls:[::1]:9061"]),
        ("[::]", ["udp:[::]:9060", "tcp:[::]:9060"]),
    ],
)
def test_addresses(text: str, expected: list[str]) -> None:
    assert [str(one) for one in listen_addresses(text)] == expected


@pytest.mark.parametrize(
    "text", ["", "x", "host:9060x", "1.2.3.4:70000", "[::1", "1.2.3.4:-1", "sctp:1.2.3.4:1"]
)
def test_addresses_that_are_none(text: str) -> None:
    if not text:
        assert listen_addresses(text)[0] == Listen("udp", "0.0.0.0", 9060)
        return
    with pytest.raises(ValueError, match="not an address to listen on"):
        listen_addresses(text)


def test_a_port_in_use_is_one_clear_line() -> None:
    with listening(HepListener(local("udp"))) as first:
        second = HepListener([Listen("udp", "127.0.0.1", port_of(first, "udp"))])
        with pytest.raises(LiveCaptureError, match=r"cannot listen for HEP on udp:127.0.0.1:\d+: "):
            second.open()


def test_tls_without_a_certificate_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LiveCaptureError, match="needs a certificate"):
        HepListener(local("tls")).open()
    path = tmp_path / "empty.pem"
    path.touch()
    with pytest.raises(LiveCaptureError, match="certificate cannot be used"):
        HepListener(local("tls"), certificate=str(path)).open()


# Carriers ----------------------------------------------------------------------------------------


def test_udp() -> None:
    with listening(HepListener(local("udp"))) as listener:
        assert listener.poll(0.0) == []
        with socket.socket(type=socket.SOCK_DGRAM) as agent:
            for number in range(50):
                agent.sendto(packet(message(number)), ("127.0.0.1", port_of(listener, "udp")))
            found = collect(listener, lambda batch: len(batch) >= 50)
        assert [one.payload for one in found] == [message(number) for number in range(50)]
        assert listener.now() >= found[-1].time
        assert listener.stats().kernel_drops == 0
        assert listener.stats().packets == 50


def test_a_batch_is_in_order_of_time() -> None:
    now = time.time()
    with listening(HepListener(local("udp"))) as listener:
        with socket.socket(type=socket.SOCK_DGRAM) as agent:
            for back in (0.1, 0.3, 0.2):
                data = packet(message(), when=now - back)
                agent.sendto(data, ("127.0.0.1", port_of(listener, "udp")))
        times = [one.time for one in collect(listener, lambda batch: len(batch) >= 3)]
    assert times == pytest.approx([now - 0.3, now - 0.2, now - 0.1], abs=1e-5)


def test_tcp_in_pieces_and_several_connections() -> None:
    with listening(HepListener(local("tcp"))) as listener:
        first, second = connect(listener), connect(listener)
        with first, second:
            data = packet(message(1)) + packet(message(2))
            found: Batch = []
            for at in range(0, len(data), 100):
                first.sendall(data[at : at + 100])
                found += listener.poll(0.02)
            second.sendall(packet(message(3)))
            found += collect(listener, lambda batch: len(found + batch) >= 3)
            assert sorted(one.payload for one in found) == [message(n) for n in (1, 2, 3)]
            assert listener.stats().connections == 2
        collect(listener, lambda _: listener.stats().connections == 0)
        assert listener.stats().connections == 0
        assert listener.stats().closed == {}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls(tmp_path: Path, version: ssl.TLSVersion) -> None:
    pem = str(certificate(tmp_path))
    with listening(HepListener(local("tls"), certificate=pem, auth_key=b"k")) as listener:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        plain = connect(listener, "tls")
        plain.setblocking(False)
        agent = context.wrap_socket(plain, do_handshake_on_connect=False)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                agent.do_handshake()
                break
            except ssl.SSLWantReadError:
                listener.poll(0.01)
        agent.setblocking(True)
        many = b"".join(packet(message(number), key=b"k") for number in range(500))
        with agent:
            agent.sendall(many)
            found = collect(listener, lambda batch: len(batch) >= 500)
        assert len(found) == 500


def test_agents_must_show_a_certificate_of_the_authority(tmp_path: Path) -> None:
    pem = str(certificate(tmp_path))
    listener = HepListener(local("tls"), certificate=pem, client_authority=pem)
    with listening(listener):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        plain = connect(listener, "tls")
        plain.setblocking(False)
        with context.wrap_socket(plain, do_handshake_on_connect=False) as agent:
            refused = False
            for _ in range(500):
                try:
                    agent.do_handshake()
                except ssl.SSLWantReadError:
                    listener.poll(0.01)
                except OSError:
                    refused = True
                    break
                else:
                    break
        assert refused
        collect(listener, lambda _: bool(listener.stats().closed), 5)
        assert listener.stats().closed == {"TLS": 1}


# What it must withstand --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no HEP"),
        (b"HEP3\x00\x00", "no HEP"),
        (packet(message(), key=b"wrong"), "wrong key"),
    ],
)
def test_connections_that_are_closed(sent: bytes, reason: str) -> None:
    with listening(HepListener(local("tcp"), auth_key=b"right")) as listener:
        with connect(listener) as agent:
            agent.sendall(sent)
            collect(listener, lambda _: bool(listener.stats().closed), 5)
            assert agent.recv(10) == b""
        assert listener.stats().closed == {reason: 1}
        (event,) = listener.events()
        assert reason in event.text
        assert listener.events() == []


def test_rubbish_over_udp_is_counted() -> None:
    with listening(HepListener(local("udp"))) as listener:
        with socket.socket(type=socket.SOCK_DGRAM) as agent:
            for data in (b"", b"x", b"HEP3", b"HEP3\xff\xff", bytes(60_000), packet(message())):
                agent.sendto(data, ("127.0.0.1", port_of(listener, "udp")))
        assert len(collect(listener, lambda batch: len(batch) >= 1)) == 1
        assert sum(listener.stats().counts.refused.values()) == 5


def test_too_many_connections_make_room() -> None:
    limits = Limits(connections=5)
    with listening(HepListener(local("tcp"), limits=limits)) as listener:
        agents = []
        for _ in range(12):
            agents.append(connect(listener))
            collect(listener, lambda _: listener.stats().accepted >= len(agents), 5)
        stats = listener.stats()
        assert (stats.accepted, stats.connections) == (12, 5)
        assert stats.closed == {"too many connections": 7}
        agents[-1].sendall(packet(message()))
        assert len(collect(listener, lambda batch: len(batch) >= 1)) == 1
        for agent in agents:
            agent.close()


def test_a_handshake_that_never_ends(tmp_path: Path) -> None:
    pem = str(certificate(tmp_path))
    limits = Limits(handshake_seconds=0.3)
    with listening(HepListener(local("tls"), certificate=pem, limits=limits)) as listener:
        with connect(listener, "tls") as agent:
            for _ in range(20):
                try:
                    agent.sendall(b"\x16")
                except OSError:
                    break
                listener.poll(0.05)
        assert listener.stats().closed == {"TLS": 1}
        assert listener.stats().connections == 0


def test_a_flood_is_taken_in_turns() -> None:
    with listening(HepListener(local("tcp"))) as listener, connect(listener) as agent:
        agent.setblocking(False)
        data = packet(message()) * 200
        sent, largest, total = 0, 0, 0
        deadline = time.monotonic() + 10
        while total < 20_000 and time.monotonic() < deadline:
            try:
                sent += agent.send(data[sent % len(data) :])
            except BlockingIOError:
                batch = listener.poll(0.05)
                largest, total = max(largest, len(batch)), total + len(batch)
        assert total >= 20_000
        assert largest <= 16 * 65_536 // len(packet(message())) + 1


# Real agents -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "key"), [(1, None), (2, None), (3, None), (3, "s3cret")])
def test_kamailio_sends_what_it_traces(tmp_path: Path, version: int, key: str | None) -> None:
    auth_key = key.encode() if key else None

    def is_complete(batch: Batch) -> bool:
        return any(b" 486 " in one.payload[:20] for one in batch)

    with (
        listening(HepListener(local("udp"), auth_key=auth_key)) as listener,
        kamailio(tmp_path, port_of(listener, "udp"), version, key) as port,
    ):
        with socket.socket(type=socket.SOCK_DGRAM) as phone:
            phone.bind(("127.0.0.1", free_port()))
            phone.settimeout(10)
            invite = message().replace(b"192.0.2.1", b"127.0.0.1:%d" % phone.getsockname()[1])
            before = time.time()
            phone.sendto(invite, ("127.0.0.1", port))
            answers = [phone.recv(9000)]
            while b" 486 " not in answers[-1]:
                answers.append(phone.recv(9000))
            phone_end = (b"\x7f\x00\x00\x01", phone.getsockname()[1])
        found = collect(listener, is_complete)
    pbx_end = (b"\x7f\x00\x00\x01", port)
    assert all(isinstance(one, Datagram) for one in found)
    request = next(one for one in found if one.payload.startswith(b"INVITE"))
    assert request.payload == invite
    assert (request.source, request.destination) == (phone_end, pbx_end)
    final = next(one for one in found if b" 486 " in one.payload[:20])
    assert final.payload == answers[-1]
    assert (final.source, final.destination) == (pbx_end, phone_end)
    for one in found:
        assert before - 1 < one.time < time.time()
        assert one.interface == ("hep:2002" if version > 1 else "hep:0")  # type: ignore[union-attr]


@pytest.mark.skipif(not CAPTURE.exists(), reason="the shared captures are not here")
def test_sngrep_sends_a_capture() -> None:
    ours = [one for batch in CaptureFiles([str(CAPTURE)]).batches() for one in batch]
    with listening(HepListener(local("udp"))) as listener:
        url = f"udp:127.0.0.1:{port_of(listener, 'udp')}"
        subprocess.run(
            ["sngrep", "-F", "-N", "-q", "-I", str(CAPTURE), "-H", url],
            check=True,
            capture_output=True,
            timeout=30,
        )
        found = collect(listener, lambda batch: len(batch) >= len(ours), 5)
        # The capture is years old.
        assert listener.stats().counts.wrong_time == len(found)

    def content(batch: Batch) -> list[tuple[object, ...]]:
        return sorted((one.source, one.destination, one.payload) for one in batch)

    assert content(found) == content(ours)
