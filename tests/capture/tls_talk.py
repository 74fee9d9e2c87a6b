"""Real TLS on the loopback of a namespace: SIP, and SIP in WebSocket frames, with a key log."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from network_namespace import Namespace

SIPS_PORT = 5061
WSS_PORT = 8443

VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}

_SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + b"a=candidate:1 1 UDP 1\r\n" * 200


def message(start: bytes, cseq: bytes, body: bytes = b"") -> bytes:
    """A SIP message of the only call of the talk."""
    return (
        start + b"\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bKtls\r\n"
        b"From: <sips:100@127.0.0.1>;tag=a\r\nTo: <sips:200@127.0.0.1>\r\n"
        b"Call-ID: encrypted-call\r\nCSeq: " + cseq + b"\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body


#: Who speaks (0 the caller, 1 the server), and what; the SDP takes more than one segment.
TALK = [
    (0, message(b"INVITE sips:200@127.0.0.1 SIP/2.0", b"1 INVITE", _SDP)),
    (1, message(b"SIP/2.0 100 Trying", b"1 INVITE")),
    (1, message(b"SIP/2.0 486 Busy Here", b"1 INVITE")),
    (0, message(b"ACK sips:200@127.0.0.1 SIP/2.0", b"1 ACK")),
]

_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\n\r\n"
)
_UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)


def _frame(data: bytes, key: bytes) -> bytes:
    mask = 0x80 if key else 0
    head = bytes((0x81, mask | 126)) + len(data).to_bytes(2)
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(data)) if key else data
    return head + key + masked


#: The same talk over WebSocket (RFC 7118): what the client sends is masked.
WEBSOCKET_TALK = [
    (0, _UPGRADE),
    (1, _UPGRADED),
    *[(who, _frame(text, b"" if who else b"\x37\xfa\x21\x3d")) for who, text in TALK],
]


def certificate(folder: Path) -> Path:
    """A key and a certificate for it in one file."""
    path = folder / "server.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {path} "
        f"-out {folder / 'cert.pem'}".split(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    path.write_bytes(path.read_bytes() + (folder / "cert.pem").read_bytes())
    return path


class TlsTalk:
    """A TLS server and a client in a namespace."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.keylog = folder / "keys.log"
        self.keylog.touch()
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.load_cert_chain(certificate(folder))

    def run(self, port: int, version: ssl.TLSVersion, script: list[tuple[int, bytes]]) -> None:
        """Plays the script over one connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        context.keylog_filename = str(self.keylog)
        with self.namespace.entered():
            listener = socket.create_server(("127.0.0.1", port))
            plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        with listener, plain:
            accepted, _ = listener.accept()
            accepted.settimeout(10)
            sides: list[ssl.SSLSocket] = []
            server = threading.Thread(
                target=lambda: sides.append(self._server.wrap_socket(accepted, server_side=True))
            )
            server.start()
            with context.wrap_socket(plain) as client:
                server.join(10)
                self._play([client, sides[0]], script)
                sides[0].close()

    @staticmethod
    def _play(sides: list[ssl.SSLSocket], script: list[tuple[int, bytes]]) -> None:
        for who, text in script:
            sides[who].sendall(text)
            left = len(text)
            while left:
                left -= len(sides[1 - who].recv(left))


#: The last datagram of a recording: when it is in the file, so is all before it.
_END = b"this is the end of the recording"


@contextmanager
def recorded(namespace: Namespace, path: Path) -> Iterator[None]:
    """tcpdump writes what passes on the loopback meanwhile."""
    options = ["-U", "--immediate-mode", "-Z", "root", "-w", str(path)]
    command = ["tcpdump", "-i", "lo", *options, "tcp or udp port 9"]
    with namespace.entered():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    if "listening" not in line:
        process.kill()
        pytest.fail(f"tcpdump does not record: {line.strip()}")
    try:
        yield
        with namespace.entered(), socket.socket(type=socket.SOCK_DGRAM) as marker:
            marker.sendto(_END, ("127.0.0.1", 9))
        deadline = time.monotonic() + 20
        while _END not in path.read_bytes():
            if time.monotonic() > deadline:
                pytest.fail("tcpdump did not write what was sent")
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()
