"""SIP that is encrypted and whose keys nobody gave: said, counted, and in the exit status."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from carriers import ethernet, ipv4

from sipwatch.capture.tls_connections import MOST, TlsConnections
from sipwatch.net.types import Datagram

ROOT = Path(__file__).resolve().parents[2]
CLIENT, SERVER = b"\x0a\x09\x00\x65", b"\x0a\x09\x00\x01"


def client_hello() -> bytes:
    """What a TLS library says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


def connection(source_port: int, port: int) -> list[bytes]:
    """A SYN and a ClientHello."""

    def segment(sequence: int, flags: int, payload: bytes) -> bytes:
        ports = source_port.to_bytes(2) + port.to_bytes(2)
        head = ports + sequence.to_bytes(4) + bytes(4) + bytes((0x50, flags)) + b"\x20\0\0\0\0\0"
        return ethernet(ipv4(head + payload, 6, CLIENT, SERVER))

    return [segment(1, 0x02, b""), segment(2, 0x18, client_hello())]


def capture(path: Path, *ports: int) -> Path:
    """A pcap with one connection to each port."""
    frames = [frame for n, port in enumerate(ports) for frame in connection(40_000 + n, port)]
    data = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
    for number, frame in enumerate(frames):
        sizes = len(frame).to_bytes(4, "little") * 2
        data += (1_700_000_000 + number).to_bytes(4, "little") + bytes(4) + sizes + frame
    path.write_bytes(data)
    return path


def sipwatch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sipwatch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("decoder", ["native", "tshark"])
def test_the_report_names_them(tmp_path: Path, decoder: str) -> None:
    path = capture(tmp_path / "tls.pcap", 5061, 8089, 443)
    done = sipwatch("replay", str(path), "--decoder", decoder)
    line = "2 SIP/TLS connections could not be read: give --keylog"
    assert line + "." in flat(done.stdout)
    assert done.stderr == f"sipwatch: {line}\n"
    assert done.returncode == 1


def test_records_alone_have_it_on_standard_error(tmp_path: Path) -> None:
    path = capture(tmp_path / "tls.pcap", 5061)
    done = sipwatch("replay", str(path), "--format", "jsonl")
    line = "sipwatch: 1 SIP/TLS connection could not be read: give --keylog\n"
    assert (done.stdout, done.stderr, done.returncode) == ("", line, 1)


def test_other_tls_is_no_failure_to_read(tmp_path: Path) -> None:
    path = capture(tmp_path / "web.pcap", 443, 993)
    done = sipwatch("replay", str(path), "--format", "jsonl")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_ports_of_the_configuration_are_sip_too(tmp_path: Path) -> None:
    path = capture(tmp_path / "web.pcap", 443)
    config = tmp_path / "sipwatch.toml"
    config.write_text("ports = [443]\n")
    done = sipwatch("replay", str(path), "--format", "jsonl", "--config", str(config))
    assert "1 SIP/TLS connection could not be read" in done.stderr
    assert done.returncode == 1


def test_a_key_log_without_their_keys_is_another_line(tmp_path: Path) -> None:
    path = capture(tmp_path / "tls.pcap", 5061, 5061)
    keys = tmp_path / "keys.log"
    keys.touch()
    done = sipwatch("replay", str(path), "--format", "jsonl", "--keylog", str(keys))
    line = "2 SIP/TLS connections could not be read: their keys are not in the key log"
    assert done.stderr == f"sipwatch: {line}\n"
    assert done.returncode == 1


def test_explain_says_it_when_the_call_is_not_found(tmp_path: Path) -> None:
    path = capture(tmp_path / "tls.pcap", 5061)
    done = sipwatch("explain", "some-call", str(path))
    assert done.stderr.splitlines()[0] == (
        "sipwatch: 1 SIP/TLS connection could not be read: give --keylog"
    )
    assert "No call with Call-ID some-call" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("verb", ["replay", "explain", "report"])
def test_the_help_says_what_a_key_log_is_for(verb: str) -> None:
    text = flat(sipwatch(verb, "--help").stdout)
    assert "TLS key log (SSLKEYLOGFILE) to read encrypted SIP with; needs tshark." in text
    assert "Without it SIP/TLS connections are only counted, and the exit status is 1." in text


def test_in_turkish(tmp_path: Path) -> None:
    path = capture(tmp_path / "tls.pcap", 5061)
    done = sipwatch("replay", str(path), "--lang", "tr")
    assert "1 SIP/TLS bağlantısı okunamadı: --keylog verin." in flat(done.stdout)


def test_a_flood_of_connections_is_bounded() -> None:
    connections = TlsConnections()
    layers = '{"timestamp":"1","layers":{"frame":{"frame_frame_protocols":"eth:ip:tcp:tls"},'
    for number in range(MOST + 1000):
        source = f"{number >> 16:02x}{number & 0xFFFF:04x}"
        raw = f'"ip_raw":"45{"00" * 11}0a{source}0a090001","tcp_raw":"9c4013c5"'
        connections.line(f"{layers}{raw}}}}}".encode())
    assert connections.unread() == {5061: MOST}
    last = b"\x0a" + (MOST + 999).to_bytes(3), 40_000
    message = Datagram(0.0, last, (SERVER, 5061), "TLS", b"", "x", 1)
    connections.message(message)
    assert connections.unread() == {5061: MOST - 1}
