"""A call through a real Kamailio on the loopback of a namespace, over any stream it speaks.

The proxy is that of the recorded carriers. The caller is a few lines of Python on Kamailio's TCP,
WebSocket, TLS or secure WebSocket; the callee is a UDP socket that says 486.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hep_agents import end_with_children
from network_namespace import Namespace
from tls_talk import certificate

CONFIG = Path(__file__).resolve().parents[2] / "pcaps" / "carriers" / "record" / "kamailio.cfg"
PROXY, CALLEE = "127.0.0.1", "127.0.0.9"
#: Port of the proxy by transport.
PORTS = {"TCP": 5060, "WS": 8080, "TLS": 5061, "WSS": 8443}


@contextmanager
def kamailio(inside: Namespace, folder: Path) -> Iterator[None]:
    """Runs until the context ends."""
    pem = certificate(folder)
    tls = folder / "tls.cfg"
    tls.write_text(
        f"[server:default]\nmethod = TLSv1.2+\nprivate_key = {pem}\ncertificate = {pem}\n"
        "verify_certificate = no\n[client:default]\nverify_certificate = no\n"
    )
    log = folder / "kamailio.log"
    command = ["kamailio", "-f", str(CONFIG), "-DD", "-E", "-m", "32", "-M", "8"]
    command += ["-Y", str(folder), "-P", str(folder / "kamailio.pid")]
    command += ["-A", f"ADDRESS={PROXY}", "-A", f"CALLEE=sip:{CALLEE}:5060"]
    command += ["-A", f'TLS_CONFIG="{tls}"']
    with inside.entered(), log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, cwd=folder
        )
    try:
        deadline = time.monotonic() + 30
        while ":8443" not in inside.run("ss", "-ltn"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"kamailio does not run: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.1)
        yield
    finally:
        end_with_children(process)


@contextmanager
def busy_callee(inside: Namespace) -> Iterator[None]:
    """Says 486 to every INVITE."""
    with inside.entered():
        phone = socket.socket(type=socket.SOCK_DGRAM)
        phone.bind((CALLEE, 5060))
    phone.settimeout(0.2)
    over = threading.Event()

    def answer() -> None:
        while not over.is_set():
            try:
                data, proxy = phone.recvfrom(65_536)
            except TimeoutError:
                continue
            if data.startswith(b"INVITE "):
                phone.sendto(refusal_of(data), proxy)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        phone.close()


def refusal_of(invite: bytes) -> bytes:
    kept = [
        line
        for line in invite.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        if line.split(b":")[0] in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
    ]
    text = b"\r\n".join(line + b";tag=busy" * line.startswith(b"To:") for line in kept)
    return b"SIP/2.0 486 Busy Here\r\n" + text + b"\r\nContent-Length: 0\r\n\r\n"


def call(inside: Namespace, transport: str, call_id: str, keylog: Path) -> None:
    """One call that is refused and acknowledged; keys of TLS go to the key log."""
    line = _Line(inside, transport, keylog)
    try:
        line.send(_request(transport, "INVITE", call_id))
        while not (final := line.receive()).startswith(b"SIP/2.0 486"):
            assert final.startswith(b"SIP/2.0 100"), final
        to = re.search(rb"^To: (.*)\r$", final, re.MULTILINE)
        assert to is not None
        line.send(_request(transport, "ACK", call_id, to[1].decode()))
        # The ACK is taken before the connection goes.
        time.sleep(0.2)
    finally:
        line.close()


def _request(transport: str, method: str, call_id: str, to: str = "<sip:101@127.0.0.1>") -> bytes:
    return (
        f"{method} sip:101@{PROXY} SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} client.invalid;branch=z9hG4bK-{call_id}\r\n"
        f"From: <sip:200@{PROXY}>;tag=caller\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: 1 {method}\r\nContact: <sip:200@client.invalid;transport=ws>\r\n"
        "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


class _Line:
    """A connection to the proxy that carries whole messages."""

    def __init__(self, inside: Namespace, transport: str, keylog: Path) -> None:
        self._is_web = transport in ("WS", "WSS")
        with inside.entered():
            self._socket = socket.create_connection((PROXY, PORTS[transport]), timeout=20)
        if transport in ("TLS", "WSS"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.keylog_filename = str(keylog)
            self._socket = context.wrap_socket(self._socket)
        self._buffer = b""
        if self._is_web:
            self._socket.sendall(
                b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade"
                b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
                b"\r\nSec-WebSocket-Protocol: sip\r\nOrigin: http://127.0.0.1\r\n\r\n"
            )
            head = self._until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head

    def send(self, message: bytes) -> None:
        if self._is_web:
            key = b"\x5a\x3c\x0f\x71"
            masked = bytes(byte ^ key[n % 4] for n, byte in enumerate(message))
            message = b"\x81" + bytes((0x80 | 126,)) + len(message).to_bytes(2) + key + masked
        self._socket.sendall(message)

    def receive(self) -> bytes:
        """The next message; none of the proxy's has a body."""
        if not self._is_web:
            return self._until(b"\r\n\r\n")
        head = self._take(2)
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(self._take(2))
        return self._take(size)

    def close(self) -> None:
        self._socket.close()

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._more()
        return self._take(self._buffer.index(end) + len(end))

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _more(self) -> None:
        data = self._socket.recv(65_536)
        assert data, "the proxy closed the connection"
        self._buffer += data
