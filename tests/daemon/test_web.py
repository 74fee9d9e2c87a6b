"""The HTTP server: what it serves, to whom, and what it does with those who misbehave."""

from __future__ import annotations

import gc
import gzip
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import bcrypt
import pytest
from web_client import Answer, certificates, get, trusting

from sipwatch.daemon import web
from sipwatch.daemon.errors import StartError
from sipwatch.daemon.guard import Guard, Passwords
from sipwatch.daemon.pages import Condition
from sipwatch.daemon.web import NotNow, WebServer
from sipwatch.daemon.web_config import WebConfig, WebConfigError
from sipwatch.sinks.metrics import Reading, exposition
from sipwatch.sinks.metrics import families as f

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
USERS = f"basic_auth_users:\n  anna: {HASH}\n"
WELL = Condition(not_ready="", alive_at=float("inf"), interfaces={"eth0": "listening"})


def metrics() -> list[Reading]:
    return [Reading(f.DUPLICATES, {(): 7}), Reading(f.CALLS, {})]


def page(accept: str) -> tuple[str, bytes]:
    return exposition(metrics(), accept)


@contextmanager
def serving(
    guard: Guard | None = None,
    *,
    give: Callable[[], list[Reading]] = metrics,
    condition: Condition = WELL,
) -> Iterator[int]:
    server = WebServer(
        ("127.0.0.1", 0),
        guard or Guard(None),
        lambda accept: exposition(give(), accept),
        lambda: condition,
    )
    server.serve()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_metrics_in_both_formats() -> None:
    with serving() as port:
        plain = get(port)
        assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "sipwatch_duplicates_total 7\n" in plain.text
        openmetrics = get(port, Accept="application/openmetrics-text; version=1.0.0")
        assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text")
        assert openmetrics.text.endswith("# EOF\n")


def test_nothing_is_left_of_a_request_that_garbage_collection_would_have_to_find() -> None:
    def requests() -> int:
        return sum(isinstance(each, BaseHTTPRequestHandler) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        with serving() as port:
            for path in ("/", "/metrics", "/-/healthy", "/-/ready", "/absent"):
                get(port, path)
            until = time.monotonic() + 5
            while (left := requests()) and time.monotonic() < until:
                time.sleep(0.01)  # their threads are ending
            assert left == 0
    finally:
        gc.enable()


def test_the_other_pages() -> None:
    with serving() as port:
        assert get(port, "/-/healthy").status == 200
        assert get(port, "/-/ready").status == 200
        page = get(port, "/")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "eth0 (listening)" in page.text
        assert get(port, "/absent").status == 404
        assert get(port, "/metrics?name=x").status == 200
        head = get(port, "/-/ready", method="HEAD")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "7")
        assert get(port, method="POST").status == 501


def test_ready_and_healthy_say_why_not() -> None:
    stuck = Condition(not_ready="the ring is not open", alive_at=time.monotonic() - 60)
    with serving(condition=stuck) as port:
        ready, healthy = get(port, "/-/ready"), get(port, "/-/healthy")
        assert (ready.status, ready.text) == (503, "Not ready: the ring is not open.\n")
        assert healthy.status == 503
        assert healthy.text.startswith("The capture stands still for 6")


def test_names_on_the_page_are_only_text() -> None:
    odd = Condition(interfaces={"<script>": "down"}, problems={"no_sip": "a & b"})
    with serving(condition=odd) as port:
        page = get(port, "/").text
    assert "<script>" not in page
    assert "&lt;script&gt; (down)" in page
    assert "a &amp; b" in page


def test_a_scrape_that_cannot_be_answered() -> None:
    def busy() -> list[Reading]:
        raise NotNow("the capture loop does not answer")

    with serving(give=busy) as port:
        answer = get(port)
        assert (answer.status, answer.text) == (503, "the capture loop does not answer\n")


def test_compressed_where_it_is_asked_for() -> None:
    many = [Reading(f.CALLS, {("inbound", f"p{n}", "answered"): n for n in range(200)})]
    with serving(give=lambda: many) as port:
        plain, packed = get(port), get(port, Accept_Encoding="gzip, deflate")
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        assert "Content-Encoding" not in get(port, "/-/ready", Accept_Encoding="gzip").headers


# --- who may read ---------------------------------------------------------------------------------


def guard_of(folder: Path, text: str) -> Guard:
    (folder / "web.yml").write_text(text)
    return Guard(str(folder / "web.yml"))


@pytest.mark.parametrize(
    ("user", "status"),
    [
        ("", 401),
        ("anna:secret", 200),
        ("anna:Secret", 401),
        ("anna:", 401),
        ("berta:secret", 401),
        ("anna:" + "s" * 100, 401),
        ("anna", 401),
        (":secret", 401),
        ("anna:secret\0", 401),
    ],
)
def test_passwords(tmp_path: Path, user: str, status: int) -> None:
    with serving(guard_of(tmp_path, USERS)) as port:
        for path in ("/metrics", "/", "/-/ready"):
            answer = get(port, path, user=user)
            assert answer.status == status
            assert ("WWW-Authenticate" in answer.headers) == (status == 401)
            assert ("sipwatch" in answer.text.lower() or path == "/-/ready") == (status == 200) or (
                status == 401 and answer.text == "Unauthorized\n"
            )


@pytest.mark.parametrize(
    "header", ["Bearer x", "Basic", "Basic ???", "Basic YQ", "basic\tx", "x" * 999]
)
def test_odd_authorization(tmp_path: Path, header: str) -> None:
    with serving(guard_of(tmp_path, USERS)) as port:
        assert get(port, Authorization=header).status == 401


def test_a_right_password_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda *a: calls.append(a) or real(*a))
    passwords = Passwords({"anna": HASH})
    header = "Basic YW5uYTpzZWNyZXQ="
    assert all(passwords.accept(header) for _ in range(5))
    assert len(calls) == 1
    assert not passwords.accept("Basic YW5uYTp3cm9uZw==")
    assert not passwords.accept("Basic YW5uYTp3cm9uZw==")
    # A wrong one each time, and an unknown user as well: there is nothing to be measured.
    assert not passwords.accept("Basic YmVydGE6c2VjcmV0")
    assert len(calls) == 4


def tls(folder: Path, extra: str = "") -> str:
    return f"tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{extra}"


def test_encrypted(tmp_path: Path) -> None:
    certificates(tmp_path, "server")
    with serving(guard_of(tmp_path, tls(tmp_path) + USERS)) as port:
        context = trusting(tmp_path)
        assert get(port, context=context, user="anna:secret").status == 200
        assert get(port, context=context).status == 401
        with pytest.deprecated_call():
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError):
            get(port, context=context, user="anna:secret")
        with pytest.raises((OSError, http_errors())):
            get(port, user="anna:secret")
        # It goes on.
        assert get(port, context=trusting(tmp_path), user="anna:secret").status == 200


def http_errors() -> type[Exception]:
    from http.client import HTTPException

    return HTTPException


def test_client_certificates(tmp_path: Path) -> None:
    certificates(tmp_path, "server", "prometheus.example", "somebody.example")
    extra = (
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
        "  client_allowed_sans: [prometheus.example]\n"
    )
    with serving(guard_of(tmp_path, tls(tmp_path, extra))) as port:

        def ask(client: str = "") -> Answer:
            return get(port, context=trusting(tmp_path, client))

        assert ask("prometheus.example").status == 200
        assert ask("somebody.example").status == 403
        with pytest.raises(OSError, match=r"(?i)certificate|reset|eof"):
            ask()


def test_a_changed_file_is_taken_up_and_a_bad_one_is_not(tmp_path: Path) -> None:
    guard = guard_of(tmp_path, "")
    with serving(guard) as port:
        assert get(port).status == 200
        (tmp_path / "web.yml").write_text(USERS)
        assert get(port).status == 401
        assert guard.is_current
        (tmp_path / "web.yml").write_text("basic_auth_users: [")
        assert get(port).status == 401
        assert get(port, user="anna:secret").status == 200
        assert not guard.is_current
        (tmp_path / "web.yml").unlink()
        assert get(port).status == 401
        (tmp_path / "web.yml").write_text(
            "http_server_config:\n  headers:\n    X-Frame-Options: A\n"
        )
        assert get(port).headers["X-Frame-Options"] == "A"
        assert guard.is_current


def test_a_new_certificate_is_taken_up(tmp_path: Path) -> None:
    certificates(tmp_path, "server")
    guard = guard_of(tmp_path, tls(tmp_path))
    with serving(guard) as port:
        first = _certificate(port, trusting(tmp_path))
        certificates(tmp_path, "server")
        second = _certificate(port, trusting(tmp_path))
        assert first != second
        # A key that does not fit leaves what was there.
        (tmp_path / "server.key").write_text("no key\n")
        assert _certificate(port, trusting(tmp_path)) == second
        assert not guard.is_current


def _certificate(port: int, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as encrypted,
    ):
        found = encrypted.getpeercert(binary_form=True)
    assert found is not None
    return found


def test_certificates_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(WebConfigError, match="No such file"):
        guard_of(tmp_path, tls(tmp_path))
    certificates(tmp_path, "server", "other")
    os.replace(tmp_path / "other.key", tmp_path / "server.key")
    with pytest.raises(WebConfigError, match="no certificate and key that fit"):
        guard_of(tmp_path, tls(tmp_path))


def test_a_refused_configuration_is_not_taken_up(tmp_path: Path) -> None:
    def refuse(config: WebConfig) -> str | None:
        return None if config.asks_who else "somebody must be asked"

    with pytest.raises(WebConfigError, match="somebody must be asked"):
        Guard(None, refuses=refuse)
    (tmp_path / "web.yml").write_text(USERS)
    guard = Guard(str(tmp_path / "web.yml"), refuses=refuse)
    (tmp_path / "web.yml").write_text("")
    assert guard.access().config.asks_who
    assert not guard.is_current


# --- who misbehaves ------------------------------------------------------------------------------


def test_nobody_keeps_the_scrape_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that say nothing are ended, and those beyond the limit are not begun."""
    monkeypatch.setattr(web, "_REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(web, "_IDLE_SECONDS", 0.3)
    with serving() as port:
        idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(60)]
        for sock in idle:
            # Closed by the server, at once or after its patience.
            with sock:
                try:
                    assert sock.recv(100) == b""
                except ConnectionResetError:
                    pass
        assert get(port).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
def test_broken_requests_get_an_error(request_: bytes) -> None:
    with serving() as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(request_)
            answer = b""
            try:
                while chunk := sock.recv(65536):
                    answer += chunk
            except ConnectionResetError:
                pass
        status = answer.partition(b"\r\n")[0]
        assert status.split()[1] in (b"400", b"413", b"414", b"431", b"501", b"505")
        assert b"Traceback" not in answer
        assert get(port).status == 200


def test_one_connection_serves_many_requests() -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        file = sock.makefile("rb")
        for _ in range(3):
            sock.sendall(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
            assert file.readline() == b"HTTP/1.1 200 OK\r\n"
            while file.readline() != b"\r\n":
                pass
            assert file.read(7) == b"Ready.\n"


def test_a_port_in_use_is_one_line_with_advice() -> None:
    with serving() as port, pytest.raises(StartError) as caught:
        WebServer(("127.0.0.1", port), Guard(None), page, lambda: WELL)
    assert str(caught.value).startswith(f"127.0.0.1:{port}: is in use already")
    assert "--listen" in str(caught.value)
    with pytest.raises(StartError, match="no address of this host"):
        WebServer(("192.0.2.77", 9742), Guard(None), page, lambda: WELL)
