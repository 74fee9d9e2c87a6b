"""The HTTP server: metrics, health, and a landing page. Few requests, each bounded in time.

The standard library's server and TLS: what is served is small, and what is not there cannot have
holes. Handshakes happen in a connection's own thread, connections are few and none may idle for
long, so that nobody can keep the scrape out or take the capture's memory.
"""

from __future__ import annotations

import errno
import gzip
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sipwatch.daemon.errors import StartError
from sipwatch.daemon.guard import Guard
from sipwatch.daemon.pages import Condition, landing_page

_log = logging.getLogger(__name__)

#: Connections at once; Prometheus keeps one.
_MOST_CONNECTIONS = 32
#: Seconds for a request to arrive, and between two of one connection.
_REQUEST_SECONDS = 10.0
_IDLE_SECONDS = 90.0
#: Seconds without a turn of the capture loop after which it is not called healthy.
_STALLED_SECONDS = 10.0
_LONGEST_BODY = 1 << 16
#: Pages shorter than this are sent as they are, in bytes.
_WORTH_PACKING = 1024

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}


class NotNow(Exception):
    """The metrics cannot be had at this moment; the message says why."""


class WebServer(ThreadingHTTPServer):
    """Serves what it is given; `serve` runs it in a thread of its own."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self,
        listen: tuple[str, int],
        guard: Guard,
        metrics: Callable[[str], tuple[str, bytes]],
        condition: Callable[[], Condition],
    ) -> None:
        """Binds, and serves nothing yet. Raises StartError.

        ``metrics`` gives content type and page for an Accept header, or raises NotNow.
        """
        self.guard = guard
        self.metrics = metrics
        self.condition = condition
        self._slots = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        try:
            super().__init__(listen, _Request)
        except OSError as error:
            raise StartError(_cannot_listen(listen, error)) from None

    def server_bind(self) -> None:
        """Binds without asking a name server for our name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def serve(self) -> None:
        """Begins to serve."""
        thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="web", daemon=True)
        thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in its own thread, unless there are too many."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._slots.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shakes hands and serves, in the connection's thread."""
        try:
            request.settimeout(_REQUEST_SECONDS)
            access = self.guard.access()
            if access.tls is not None:
                request = access.tls.wrap_socket(request, server_side=True)
            super().process_request_thread(request, client_address)
        except (OSError, ssl.SSLError) as error:
            _log.debug("connection of %s: %s", client_address[0], error)
            self.shutdown_request(request)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to speak of."""
        _log.debug("connection of %s ended", client_address[0], exc_info=True)


class _Request(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"
    server_version = "sipwatch"
    sys_version = ""
    # One write for head and body: the scraper waits for both.
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()
        while not self.close_connection:
            self.connection.settimeout(_IDLE_SECONDS)
            if not self.rfile.peek(1):  # type: ignore[attr-defined]
                break
            self.connection.settimeout(_REQUEST_SECONDS)
            self.handle_one_request()

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def _serve(self) -> None:
        if not self._drain_body() or not self._may_read():
            return
        page = _PAGES.get(self.path.partition("?")[0])
        if page is None:
            self._answer(HTTPStatus.NOT_FOUND, "There is no such page.\n")
        else:
            page(self)

    def _drain_body(self) -> bool:
        """Reads past a body that nobody asked for, so that the next request is found."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdecimal():
            self.close_connection = True
            self._answer(HTTPStatus.BAD_REQUEST, "Requests have no body here.\n")
            return False
        if int(length) > _LONGEST_BODY:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Requests have no body here.\n")
            return False
        self.rfile.read(int(length))
        return True

    def _may_read(self) -> bool:
        access = self.server.guard.access()
        if isinstance(self.connection, ssl.SSLSocket) and not access.accepts_certificate(
            self.connection.getpeercert()
        ):
            self._answer(HTTPStatus.FORBIDDEN, "This certificate is not among those allowed.\n")
            return False
        if not access.passwords.wanted or access.passwords.accept(
            self.headers.get("Authorization", "")
        ):
            return True
        self._answer(
            HTTPStatus.UNAUTHORIZED,
            "Unauthorized\n",
            extra={"WWW-Authenticate": 'Basic realm="sipwatch", charset="UTF-8"'},
        )
        return False

    def _landing(self) -> None:
        page = landing_page(self.server.condition())
        self._answer(HTTPStatus.OK, page, kind="text/html; charset=utf-8")

    def _healthy(self) -> None:
        silent = time.monotonic() - self.server.condition().alive_at
        if silent > _STALLED_SECONDS:
            self._answer(
                HTTPStatus.SERVICE_UNAVAILABLE, f"The capture stands still for {silent:.0f} s.\n"
            )
        else:
            self._answer(HTTPStatus.OK, "Healthy.\n")

    def _ready(self) -> None:
        condition = self.server.condition()
        if condition.not_ready:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"Not ready: {condition.not_ready}.\n")
        else:
            self._answer(HTTPStatus.OK, "Ready.\n")

    def _metrics(self) -> None:
        try:
            kind, body = self.server.metrics(self.headers.get("Accept", ""))
        except NotNow as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
            return
        self._send(HTTPStatus.OK, kind, body, {})

    def _answer(
        self,
        status: HTTPStatus,
        text: str,
        *,
        kind: str = "text/plain; charset=utf-8",
        extra: dict[str, str] | None = None,
    ) -> None:
        self._send(status, kind, text.encode(), extra or {})

    def _send(self, status: HTTPStatus, kind: str, body: bytes, extra: dict[str, str]) -> None:
        headers = {"Content-Type": kind, "Vary": "Accept, Accept-Encoding", **_SECURITY_HEADERS}
        headers |= dict(self.server.guard.access().config.headers) | extra
        if len(body) > _WORTH_PACKING and "gzip" in self.headers.get("Accept-Encoding", ""):
            # Quick, and without the interpreter's lock; a large page takes many turns to send.
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself finds wrong with a request, without its page."""
        self.close_connection = True
        # Nothing of the request can be relied on, not even that there were headers.
        self.headers = Message()
        self.command, self.request_version = "GET", self.protocol_version
        status = HTTPStatus(code)
        self._send(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode(), {})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not logged: a scrape each few seconds is no event."""


#: Not of the request itself: it would point at itself, and stay until garbage is collected.
_PAGES: dict[str, Callable[[_Request], None]] = {
    "/": _Request._landing,
    "/metrics": _Request._metrics,
    "/-/healthy": _Request._healthy,
    "/-/ready": _Request._ready,
}


def shown(listen: tuple[str, int]) -> str:
    """An address and port as people write them."""
    host, port = listen
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cannot_listen(listen: tuple[str, int], error: OSError) -> str:
    what = {
        "EADDRINUSE": "is in use already, by another sipwatch or another program (ss -ltnp); "
        "choose another with --listen",
        "EADDRNOTAVAIL": "is no address of this host; choose one with --listen",
        "EACCES": "ports below 1024 are for root; choose another with --listen",
    }
    name = errno.errorcode.get(error.errno or 0, "")
    return f"{shown(listen)}: {what.get(name, error.strerror or str(error))}"
