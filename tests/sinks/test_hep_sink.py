"""The HEP mirror: read back by sngrep, by our own decoder, over UDP and a TCP that breaks."""

from __future__ import annotations

import json
import select
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest
from call_flows import answered, busy, run

from sipwatch.capture.files import CaptureFiles
from sipwatch.net.hep import LOG, SIP, HepPacket, HepStream, decode
from sipwatch.net.types import Datagram, Unreachable
from sipwatch.sinks.hep import Collector, HepMirror
from sipwatch.sinks.record import attempt_record, call_record
from sipwatch.sinks.sink import SinkError

CAPTURE = Path(__file__).parents[3] / "shared" / "captures" / "sngrep-aaa.pcap"

A, B = (b"\x0a\x00\x00\x01", 5060), (b"\x0a\x00\x00\x02", 5080)
DATAGRAM = Datagram(1_700_000_000.25, A, B, "UDP", b"OPTIONS sip:x SIP/2.0\r\n\r\n", "eth0", 7)


class UdpCollector:
    """What arrives at a UDP port."""

    def __init__(self) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(5)
        self.address = Collector("udp", "127.0.0.1", self._socket.getsockname()[1])

    def take(self, count: int) -> list[bytes]:
        return [self._socket.recv(65_536) for _ in range(count)]

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", Collector("udp", "192.0.2.7", 9060)),
        ("udp:192.0.2.7:9061", Collector("udp", "192.0.2.7", 9061)),
        ("TCP:homer.example:9060", Collector("tcp", "homer.example", 9060)),
        ("tcp:[2001:db8::1]:1", Collector("tcp", "2001:db8::1", 1)),
        ("[::1]", Collector("udp", "::1", 9060)),
    ],
)
def test_collectors(text: str, expected: Collector) -> None:
    assert Collector.parse(text) == expected


@pytest.mark.parametrize("text", ["", "udp:", "udp::9060", "x:port", "x:0", "x:70000", "[::1"])
def test_collectors_that_are_none(text: str) -> None:
    with pytest.raises(SinkError, match="not a collector, such as"):
        Collector.parse(text)


def test_a_name_that_does_not_exist_is_one_clear_line() -> None:
    for transport in ("udp", "tcp"):
        with pytest.raises(SinkError, match=r"HEP collector no\.such\.invalid: "):
            HepMirror(Collector(transport, "no.such.invalid", 9060))


def chunks(data: bytes) -> dict[int, bytes]:
    """The chunks of a packet by nothing but the specification."""
    assert data[:4] == b"HEP3"
    assert struct.unpack_from("!H", data, 4)[0] == len(data)
    found, at = {}, 6
    while at < len(data):
        vendor, kind, length = struct.unpack_from("!HHH", data, at)
        assert vendor == 0
        found[kind] = data[at + 6 : at + length]
        at += length
    return found


def test_the_bytes_of_a_mirrored_message() -> None:
    collector = UdpCollector()
    mirror = HepMirror(collector.address, node_id=2002, auth_key=b"secret")
    report = Unreachable(1.0, b"\x0a\x00\x00\x02", A, B, b"", "eth0", 8, -1, -1, 3)
    mirror.datagrams([report, DATAGRAM])
    (data,) = collector.take(1)
    assert chunks(data) == {
        1: b"\x02",
        2: b"\x11",
        3: A[0],
        4: B[0],
        7: struct.pack("!H", 5060),
        8: struct.pack("!H", 5080),
        9: struct.pack("!I", 1_700_000_000),
        10: struct.pack("!I", 250_000),
        11: b"\x01",
        12: struct.pack("!I", 2002),
        14: b"secret",
        15: DATAGRAM.payload,
    }
    assert (mirror.stats.messages, mirror.stats.records) == (1, 0)
    mirror.close()
    collector.close()


def test_records_go_as_log_packets_under_the_call_id() -> None:
    attempts, calls = run([busy(call_id="b-leg", branch="z9hG4bK-b")])
    collector = UdpCollector()
    mirror = HepMirror(collector.address)
    mirror.attempt(attempts[0])
    mirror.call(calls[0])
    packets = [chunks(data) for data in collector.take(2)]
    assert [packet[11] for packet in packets] == [b"\x64", b"\x64"]
    assert [packet[17] for packet in packets] == [b"b-leg", b"b-leg"]
    assert json.loads(packets[0][15]) == attempt_record(attempts[0])
    assert json.loads(packets[1][15]) == call_record(calls[0])
    assert packets[0][3] == attempts[0].source[0]
    assert mirror.stats.records == 2
    mirror.close()
    collector.close()


@pytest.mark.skipif(not CAPTURE.exists(), reason="the shared captures are not here")
def test_sngrep_reads_what_we_mirror(tmp_path: Path) -> None:
    batch = [one for batch in CaptureFiles([str(CAPTURE)]).batches() for one in batch]
    datagrams = [one for one in batch if isinstance(one, Datagram)]
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    written = tmp_path / "mirrored.pcap"
    sngrep = subprocess.Popen(
        ["sngrep", "-F", "-N", "-q", "-L", f"udp:127.0.0.1:{port}", "-O", str(written)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_listener(port)
        mirror = HepMirror(Collector("udp", "127.0.0.1", port))
        for one in datagrams:
            mirror.datagrams([one])
            time.sleep(0.005)
        mirror.close()
        time.sleep(1)
    finally:
        sngrep.send_signal(signal.SIGTERM)
        sngrep.wait(10)
    assert mirror.stats.messages == len(datagrams)
    by_sngrep = [one for batch in CaptureFiles([str(written)]).batches() for one in batch]
    assert [(one.source, one.destination, one.payload) for one in by_sngrep] == [
        (one.source, one.destination, one.payload) for one in datagrams
    ]
    # sngrep keeps the times of the packets.
    assert [one.time for one in by_sngrep] == pytest.approx(
        [one.time for one in datagrams], abs=1e-5
    )


def wait_for_listener(port: int) -> None:
    """Until somebody listens on a UDP port of the loopback."""
    wanted = f":{port:04X}"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        rows = Path("/proc/net/udp").read_text().splitlines()[1:]
        if any(row.split()[1].endswith(wanted) for row in rows):
            return
        time.sleep(0.05)
    pytest.fail("sngrep does not listen")


def test_what_does_not_fit_is_counted() -> None:
    collector = UdpCollector()
    mirror = HepMirror(collector.address)
    mirror.datagrams([DATAGRAM._replace(payload=bytes(size)) for size in (65_400, 70_000)])
    mirror.datagrams([DATAGRAM])
    assert mirror.stats.too_long == 1 + (mirror.stats.messages == 1)
    assert decode(collector.take(mirror.stats.messages)[-1]).payload == DATAGRAM.payload
    mirror.close()
    collector.close()


def test_nobody_listens_on_udp() -> None:
    collector = UdpCollector()
    collector.close()
    mirror = HepMirror(collector.address)
    for _ in range(20):
        mirror.datagrams([DATAGRAM])
    stats = mirror.stats
    assert stats.messages + stats.not_sent == 20
    mirror.close()


# TCP ---------------------------------------------------------------------------------------------


class TcpCollector:
    """A collector that can go away and come back."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self._streams: list[HepStream] = []

    def take(self, count: int, mirror: HepMirror) -> list[HepPacket]:
        found: list[HepPacket] = []
        deadline = time.monotonic() + 10
        while len(found) < count and time.monotonic() < deadline:
            mirror.flush()
            ready, _, _ = select.select([self._listener, *self.connections], [], [], 0.05)
            for one in ready:
                if one is self._listener:
                    self.connections.append(one.accept()[0])
                    self._streams.append(HepStream())
                else:
                    stream = self._streams[self.connections.index(one)]
                    found += [decode(data) for data in stream.feed(one.recv(1 << 20))]
        return found

    def close(self) -> None:
        for one in (*self.connections, self._listener):
            one.close()


def test_tcp_keeps_what_it_cannot_send_yet() -> None:
    collector = TcpCollector()
    port = collector.port
    collector.close()
    mirror = HepMirror(Collector("tcp", "127.0.0.1", port))
    mirror.datagrams([DATAGRAM._replace(payload=b"first")])
    assert mirror.stats.connections == 0
    collector = TcpCollector(port)
    mirror.datagrams([DATAGRAM._replace(payload=b"second")])
    assert [one.payload for one in collector.take(2, mirror)] == [b"first", b"second"]
    attempts, _ = run([answered()])
    mirror.attempt(attempts[0])
    (packet,) = collector.take(1, mirror)
    assert (packet.protocol, packet.correlation_id) == (LOG, attempts[0].call_id)
    mirror.close()
    collector.close()


def test_tcp_connects_again() -> None:
    collector = TcpCollector()
    port = collector.port
    mirror = HepMirror(Collector("tcp", "127.0.0.1", port))
    mirror.datagrams([DATAGRAM])
    (packet,) = collector.take(1, mirror)
    assert packet.protocol == SIP
    collector.close()
    time.sleep(0.05)
    mirror.datagrams([DATAGRAM._replace(payload=b"after")])
    collector = TcpCollector(port)
    assert [one.payload for one in collector.take(1, mirror)] == [b"after"]
    assert mirror.stats.connections == 2
    mirror.close()
    collector.close()


def test_a_collector_that_does_not_read_fills_a_bounded_room() -> None:
    collector = TcpCollector()
    mirror = HepMirror(Collector("tcp", "127.0.0.1", collector.port))
    big = DATAGRAM._replace(payload=bytes(60_000))
    for _ in range(400):
        mirror.datagrams([big])
    stats = mirror.stats
    assert stats.no_room > 0
    assert stats.messages + stats.no_room == 400
    found = collector.take(stats.messages, mirror)
    assert len(found) == stats.messages
    assert all(len(one.payload) == 60_000 for one in found)
    mirror.close()
    assert stats.not_sent == 0
    collector.close()


def test_times_before_the_epoch_and_ipv6_do_no_harm() -> None:
    collector = UdpCollector()
    mirror = HepMirror(collector.address)
    v6 = (bytes(15) + b"\x01", 5060)
    mirror.datagrams([DATAGRAM._replace(time=-1.5), DATAGRAM._replace(source=v6, destination=v6)])
    second = decode(collector.take(2)[1])
    assert second.source == v6
    mirror.close()
    collector.close()
