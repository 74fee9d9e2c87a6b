"""Live, through a real Kamailio: TCP and WebSocket by ourselves, TLS and WSS with the key log.

The clear streams are heard by `LiveCapture` alone; the encrypted ones as `sipwatch run --keylog`
does it, with tshark beside it. A daemon is asked for its metrics at the end.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hep_agents import message, packet
from kamailio_talk import PORTS, busy_callee, call, kamailio
from network_namespace import Namespace
from play_runner import Outcome

_TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(_TESTS / "daemon"), str(_TESTS / "sinks")]

from running import Running, Series, total  # noqa: E402

from sipwatch.capture.live import LiveCapture  # noqa: E402
from sipwatch.capture.live_sources import LiveSource, LiveSources  # noqa: E402
from sipwatch.capture.ring import Geometry  # noqa: E402
from sipwatch.capture.tshark_live import TsharkLive  # noqa: E402
from sipwatch.config import parse_toml  # noqa: E402
from sipwatch.net.types import Datagram  # noqa: E402
from sipwatch.pipeline import Pipeline  # noqa: E402

_LOCAL = 'local_addresses = ["127.0.0.1"]\n'
_GEOMETRY = Geometry(1 << 17, 16)
_PATIENCE = 60.0


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Namespace, Path]]:
    """A namespace with Kamailio and a telephone in it, and the key log of callers."""
    inside, folder = Namespace(), tmp_path_factory.mktemp("kamailio")
    keylog = folder / "keys.log"
    keylog.touch()
    with kamailio(inside, folder), busy_callee(inside):
        yield inside, keylog
    inside.close()


def followed(
    capture: LiveSource, inside: Namespace, transport: str, keylog: Path
) -> tuple[Outcome, set[tuple[str, str]]]:
    """Calls until one is heard from its INVITE to its ACK; what was said, and (transport, start).

    A tshark does not say when it is ready, so that calls are made until one is heard whole.
    """
    outcome = Outcome(Pipeline(parse_toml(_LOCAL)))
    heard: set[tuple[str, str]] = set()
    with inside.entered():
        capture.open()
    try:
        capture.start()
        until = time.monotonic() + _PATIENCE
        number = 0
        while len(outcome.attempts) < 2 and time.monotonic() < until:
            number += 1
            call(inside, transport, f"{transport.lower()}-{number}", keylog)
            pause = time.monotonic() + 3.0
            while time.monotonic() < pause:
                batch = capture.poll(0.1)
                for one in batch:
                    assert isinstance(one, Datagram)
                    heard.add((one.transport, one.payload.split(b" ")[0].decode()))
                outcome.take(outcome.pipeline.feed(batch))
                outcome.take(outcome.pipeline.advance(capture.now()))
        rest = capture.drain()
        outcome.take(outcome.pipeline.feed(rest))
    finally:
        capture.close()
    outcome.take(outcome.pipeline.finish(outcome.pipeline.tracker.now + 45, "shutdown"))
    return outcome, heard


@pytest.mark.parametrize("transport", ["TCP", "WS", "TLS", "WSS"])
def test_a_call_through_kamailio(proxy: tuple[Namespace, Path], transport: str) -> None:
    inside, keylog = proxy
    ports = [5060, PORTS[transport]]
    source: LiveSource = LiveCapture(["lo"], ports, geometry=_GEOMETRY)
    if transport in ("TLS", "WSS"):
        beside = TsharkLive(["lo"], str(keylog), ports=ports, encrypted_only=True)
        source = LiveSources(source, [beside])
    outcome, heard = followed(source, inside, transport, keylog)
    expected = {(transport, "INVITE"), (transport, "SIP/2.0"), (transport, "ACK")}
    assert heard >= expected | {("UDP", "INVITE"), ("UDP", "SIP/2.0"), ("UDP", "ACK")}
    whole = [
        legs
        for legs in (call.attempts for call in outcome.calls)
        if {one.transport for one in legs} == {transport, "UDP"}
    ]
    assert whole, "no call was heard on both sides of the proxy"
    for legs in whole:
        assert len(legs) == 2
        for one in legs:
            assert one.verdict is not None
            assert one.verdict.outcome == "agent_busy"
            assert one.final_status == 486


def _busy(found: Series) -> float:
    return total(found, "sipwatch_attempts_total", 'outcome="agent_busy"')


def test_the_daemon_with_a_key_log(proxy: tuple[Namespace, Path], tmp_path: Path) -> None:
    inside, keylog = proxy
    daemon = Running(inside, tmp_path, _LOCAL, "--keylog", str(keylog), interface="lo")
    try:
        daemon.wait_ready()
        decrypted = 'sipwatch_capture_packets_total{interface="tshark:lo"}'
        assert decrypted in daemon.series()
        until = time.monotonic() + _PATIENCE
        number = 0
        while not daemon.series()[decrypted] and time.monotonic() < until:
            number += 1
            call(inside, "TLS", f"daemon-{number}", keylog)
            time.sleep(2.0)
        busy = daemon.wait_for(lambda found: _busy(found) >= 2, "the end of two attempts")
        assert busy[decrypted] >= 3
        assert busy['sipwatch_interface_up{interface="tshark:lo"}'] == 1
        # Ended in order, so that tshark is ended, too.
        assert daemon.stop() == 0
        transports = {line.get("transport") for line in daemon.lines()}
        assert transports >= {"TLS", "UDP"}
    finally:
        daemon.close()


def test_tshark_ends_with_a_daemon_that_is_killed(
    proxy: tuple[Namespace, Path], tmp_path: Path
) -> None:
    inside, keylog = proxy
    daemon = Running(inside, tmp_path, _LOCAL, "--keylog", str(keylog), interface="lo")
    try:
        daemon.wait_ready()
        children = _children(daemon.process.pid)
        assert [_name(pid) for pid in children] == ["tshark"]
    finally:
        daemon.close()
    until = time.monotonic() + 20
    while any(_name(pid) == "tshark" for pid in children) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [pid for pid in children if _name(pid) == "tshark"]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_the_daemon_with_hep_and_a_mirror(tmp_path: Path) -> None:
    """Node ids are interfaces in the metrics; what is heard goes on to a collector."""
    inside = Namespace()
    inside.veth()
    with inside.entered():
        collector = socket.socket(type=socket.SOCK_DGRAM)
        collector.bind(("127.0.0.1", 9070))
        collector.settimeout(20)
        agent = socket.socket(type=socket.SOCK_DGRAM)
    arguments = ("--hep", "127.0.0.1:9060", "--hep-auth-key", "key", "--mirror", "127.0.0.1:9070")
    daemon = Running(inside, tmp_path, "", *arguments)
    try:
        daemon.wait_ready()
        refusal = message().split(b"\r\n", 1)[1].replace(b"<sip:2@a>", b"<sip:2@a>;tag=b")
        acknowledged = message(method=b"ACK").replace(b"<sip:2@a>", b"<sip:2@a>;tag=b")
        texts = [message(), b"SIP/2.0 486 Busy Here\r\n" + refusal, acknowledged]
        for text in texts:
            agent.sendto(packet(text, node=2002, key=b"key"), ("127.0.0.1", 9060))
        agent.sendto(packet(message(9), node=2003, key=b"wrong"), ("127.0.0.1", 9060))
        found = daemon.wait_for(
            lambda found: found.get('sipwatch_hep_mirrored_packets_total{kind="record"}', 0) >= 2
        )
        assert found['sipwatch_capture_packets_total{interface="hep:2002"}'] == 3
        assert found['sipwatch_capture_packets_total{interface="hep"}'] == 1
        assert found['sipwatch_decode_errors_total{layer="hep",reason="auth_key"}'] == 1
        assert found['sipwatch_hep_mirrored_packets_total{kind="message"}'] == 3
        assert not any("hep:2003" in name for name in found)
        mirrored = [collector.recv(65_536) for _ in range(5)]
        for text, data in zip(texts, mirrored, strict=False):
            assert data.endswith(text)
        assert all(b"agent_busy" in data for data in mirrored[3:])
    finally:
        daemon.close()
        collector.close()
        agent.close()
        inside.close()
