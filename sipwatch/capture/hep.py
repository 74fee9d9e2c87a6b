"""Listens for HEP: SIP that Kamailio, OpenSIPS, FreeSWITCH, Asterisk or heplify send to us.

Interface, the calls of `sipwatch.capture.live.LiveCapture`, times in epoch seconds::

    capture = HepListener(listen_addresses("0.0.0.0:9060"), auth_key=b"secret")
    capture.open(); capture.start()
    batch = capture.poll(timeout)           # waits at most so long; as soon as something came

An address without a scheme listens on UDP and TCP; ``udp:``, ``tcp:`` and ``tls:`` before it
choose one. TLS needs a certificate. Datagrams have the node in their ``interface``, such as
``hep:2002``, and count packets of that node.

What comes is hostile until it is a HEP packet with the right key. A connection that sends
something else is closed; connections, what they hold and the time of a TLS handshake are bounded,
and where there are too many the one that was silent for longest makes room.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.hep_intake import Intake, IntakeCounts
from sipwatch.capture.live import CaptureEvent, InterfaceStats
from sipwatch.net.counts import NetCounts
from sipwatch.net.hep import HepError, HepStream
from sipwatch.net.types import Batch

DEFAULT_PORT = 9060

#: Packets, or reads of connections, that one poll takes before it returns.
_WORK = 2_000

_CHUNK = 65_536

#: Bytes that the kernel may hold for us between two polls.
_RECEIVE_BUFFER = 8 << 20

_MAX_EVENTS = 256

#: Seconds that a packet may be on its way before time is taken to have passed it.
_HOLD = 0.5

_MASK = selectors.EVENT_READ


class Listen(NamedTuple):
    """Where to listen: ``udp``, ``tcp`` or ``tls``, an IP address and a port."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


def listen_addresses(text: str) -> list[Listen]:
    """Reads ``[SCHEME:]ADDRESS[:PORT]``; raises ValueError with a line for the user.

    ``9060``, ``:9060``, ``0.0.0.0:9060``, ``[::]:9060`` and ``tls:[::1]:9061`` are all valid.
    """
    scheme, separator, rest = text.partition(":")
    if separator and scheme.lower() in ("udp", "tcp", "tls"):
        transports = [scheme.lower()]
    else:
        transports, rest = ["udp", "tcp"], text
    host, port = _host_and_port(rest, text)
    return [Listen(transport, host, port) for transport in transports]


def _host_and_port(rest: str, text: str) -> tuple[str, int]:
    if rest.startswith("["):
        host, closing, port = rest[1:].partition("]")
        port = port.removeprefix(":") if closing and port[:1] in ("", ":") else "x"
    elif rest.isdigit():
        host, port = "", rest
    else:
        host, _, port = rest.partition(":")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.inet_pton(family, host or "0.0.0.0")
        number = int(port or DEFAULT_PORT)
    except (OSError, ValueError):
        number = -1
    if not 0 <= number <= 65_535:
        raise ValueError(f"{text}: not an address to listen on, such as 0.0.0.0:{DEFAULT_PORT}")
    return host or "0.0.0.0", number


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be open, and for how long (seconds)."""

    connections: int = 256
    handshake_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class HepStats:
    """What was received since the start."""

    counts: IntakeCounts
    bytes: int
    #: Connections open now, and since the start.
    connections: int
    accepted: int
    #: Connections that were closed by us, by reason.
    closed: Counter[str] = field(default_factory=Counter)
    #: Packets that the kernel dropped for want of room (UDP).
    kernel_drops: int = 0

    @property
    def packets(self) -> int:
        """HEP packets received, whatever they held."""
        return self.counts.packets

    @property
    def drops(self) -> int:
        """Packets lost before we could read them."""
        return self.kernel_drops


class _Connection:
    """A TCP or TLS connection of an agent."""

    __slots__ = ("is_ready", "opened_at", "peer", "socket", "stream")

    def __init__(self, connected: socket.socket, peer: str, now: float) -> None:
        self.socket = connected
        self.peer = peer
        self.stream = HepStream()
        self.opened_at = now
        #: False while the TLS handshake goes on.
        self.is_ready = not isinstance(connected, ssl.SSLSocket)


class HepListener:
    """Receives HEP over UDP, TCP and TLS; see the module's docstring.

    ``certificate`` and ``private_key`` are paths of PEM files, the key may stand in the first;
    ``client_authority`` is one of certificates that agents must present one of.
    """

    #: Seconds that a packet may take from the wire through its agent to us.
    delay = _HOLD

    def __init__(
        self,
        listen: Iterable[Listen],
        *,
        auth_key: bytes | None = None,
        certificate: str | None = None,
        private_key: str | None = None,
        client_authority: str | None = None,
        max_skew_seconds: float = 10.0,
        limits: Limits | None = None,
    ) -> None:
        self._listen = list(listen)
        self._tls_files = (certificate, private_key, client_authority)
        self._limits = limits or Limits()
        self._intake = Intake(auth_key, max_skew_seconds=max_skew_seconds)
        self._selector: selectors.EpollSelector | None = None
        self._tls: ssl.SSLContext | None = None
        self._sockets: list[socket.socket] = []
        self._datagram_sockets: list[socket.socket] = []
        #: The one that was silent for longest first.
        self._connections: dict[int, _Connection] = {}
        #: Those whose TLS handshake goes on, the oldest first.
        self._handshakes: dict[int, _Connection] = {}
        #: Connections with more to read than one turn took.
        self._unfinished: dict[int, _Connection] = {}
        self._events: deque[CaptureEvent] = deque(maxlen=_MAX_EVENTS)
        self._closed: Counter[str] = Counter()
        self._accepted = 0
        self._bytes = 0
        self._kernel_drops = 0
        self._now = 0.0
        #: The ports in use, by transport and in order; differ from what was asked for port 0.
        self.addresses: list[Listen] = []

    def open(self) -> None:
        """Begin to listen. Raises `LiveCaptureError`."""
        self._selector = selectors.EpollSelector()
        try:
            if any(one.transport == "tls" for one in self._listen):
                self._tls = self._tls_context()
            for one in self._listen:
                self._open(one)
        except LiveCaptureError:
            self.close()
            raise

    def start(self) -> None:
        """Agents are heard from `open` on."""
        self._now = time.time() - _HOLD

    def fileno(self) -> int:
        """A descriptor that is readable when `poll` has something to do."""
        return self._running().fileno()

    def poll(self, timeout: float) -> Batch:
        """What has come, in order of time; an empty batch after ``timeout`` seconds without."""
        selector = self._running()
        deadline = time.monotonic() + timeout
        while True:
            left = 0.0 if self._unfinished else max(0.0, deadline - time.monotonic())
            found: Batch = []
            ready = selector.select(min(left, 1.0))
            unfinished = dict(self._unfinished)
            for connection in unfinished.values():
                self._read(connection, found)
            for key, _ in ready:
                # A connection has one turn in a poll.
                if key.fd not in unfinished:
                    act: Callable[[Batch], None] = key.data
                    act(found)
            self._end_handshakes()
            if found:
                found.sort(key=lambda one: one.time)
                self._now = max(self._now, found[-1].time, time.time() - _HOLD)
                return found
            if time.monotonic() >= deadline:
                self._now = max(self._now, time.time() - _HOLD)
                return found

    def now(self) -> float:
        """The time up to which packets have been returned; it goes on when nothing comes."""
        return self._now

    def stats(self) -> HepStats:
        """What was received and refused, as of the last poll."""
        self._kernel_drops = max(self._kernel_drops, sum(map(_drops, self._datagram_sockets)))
        return HepStats(
            self._intake.counts,
            self._bytes,
            len(self._connections),
            self._accepted,
            Counter(self._closed),
            self._kernel_drops,
        )

    def interfaces(self) -> list[InterfaceStats]:
        """One for each node, such as ``hep:2002``, and ``hep`` for packets that held no message.

        ``hep`` is listed first; what the kernel dropped is its loss, for nobody knows whose it was.
        """
        stats, state = self.stats(), "gone" if self._selector is None else "listening"
        counts = stats.counts
        nothing = counts.packets - counts.nodes.total()
        rows = [_row("hep", state, nothing, (0.0, 0.0), stats.kernel_drops)]
        for name, packets in counts.nodes.items():
            rows.append(_row(name, state, packets, counts.times[name]))
        return rows

    def net_counts(self) -> NetCounts:
        """Messages handed on, other payloads, and packets refused by reason."""
        counts = self._intake.counts
        net = NetCounts(sip_datagrams=counts.sip, udp_other=counts.other)
        net.malformed.update({("hep", reason): n for reason, n in counts.refused.items()})
        if counts.wrong_time:
            net.malformed["hep", "wrong_time"] = counts.wrong_time
        return net

    def events(self) -> list[CaptureEvent]:
        """What the user should know of since the last call, such as agents that were refused."""
        taken = list(self._events)
        self._events.clear()
        return taken

    def drain(self) -> Batch:
        """What is there already, before an end."""
        found: Batch = []
        while batch := self.poll(0.0):
            found += batch
            if len(found) > 100 * _WORK:
                break
        return found

    def close(self) -> None:
        """Stop listening; `stats` keeps its numbers."""
        if self._selector is None:
            return
        self._kernel_drops = max(self._kernel_drops, sum(map(_drops, self._datagram_sockets)))
        for connection in list(self._connections.values()):
            self._close(connection, None)
        for one in self._sockets:
            one.close()
        self._sockets.clear()
        self._datagram_sockets.clear()
        self._selector.close()
        self._selector = None

    # Opening ------------------------------------------------------------------------------------

    def _tls_context(self) -> ssl.SSLContext:
        certificate, private_key, client_authority = self._tls_files
        if certificate is None:
            raise LiveCaptureError("HEP over TLS needs a certificate: give its file and its key's")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(certificate, private_key)
            if client_authority is not None:
                context.load_verify_locations(client_authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            text = f"{certificate}: the certificate cannot be used: {error}"
            raise LiveCaptureError(text) from None
        return context

    def _open(self, one: Listen) -> None:
        family = socket.AF_INET6 if ":" in one.host else socket.AF_INET
        is_udp = one.transport == "udp"
        opened = socket.socket(family, socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM)
        self._sockets.append(opened)
        try:
            opened.setblocking(False)
            if is_udp:
                self._enlarge(opened)
                self._datagram_sockets.append(opened)
            else:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((one.host, one.port))
            if not is_udp:
                opened.listen(64)
        except OSError as error:
            raise LiveCaptureError(f"cannot listen for HEP on {one}: {error.strerror}") from None
        act: Callable[[Batch], None]
        if is_udp:
            act = lambda found: self._receive(opened, found)  # noqa: E731
        else:
            act = lambda _: self._accept(opened, one.transport)  # noqa: E731
        self._running().register(opened, _MASK, act)
        self.addresses.append(one._replace(port=opened.getsockname()[1]))

    @staticmethod
    def _enlarge(opened: socket.socket) -> None:
        """As much room as we may have: past the limit of the system where we are allowed to."""
        force = getattr(socket, "SO_RCVBUFFORCE", 33)
        try:
            opened.setsockopt(socket.SOL_SOCKET, force, _RECEIVE_BUFFER)
        except OSError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def _running(self) -> selectors.EpollSelector:
        if self._selector is None:
            raise LiveCaptureError("the HEP listener is not open")
        return self._selector

    # Receiving ----------------------------------------------------------------------------------

    def _receive(self, opened: socket.socket, found: Batch) -> None:
        """Datagrams that wait in a socket, as many as one poll takes."""
        now = time.time()
        take = self._intake.receive
        for _ in range(_WORK):
            try:
                data = opened.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error of something that was sent from this port: nothing of ours.
                continue
            self._bytes += len(data)
            datagram = take(now, data)
            if datagram is not None:
                found.append(datagram)

    def _accept(self, listener: socket.socket, transport: str) -> None:
        for _ in range(64):
            try:
                connected, address = listener.accept()
            except OSError:
                # Nobody is waiting any more, went away again, or there are no descriptors left.
                return
            self._accepted += 1
            connected.setblocking(False)
            now = time.monotonic()
            try:
                if transport == "tls" and self._tls is not None:
                    connected = self._tls.wrap_socket(
                        connected, server_side=True, do_handshake_on_connect=False
                    )
            except OSError:
                connected.close()
                continue
            connection = _Connection(connected, f"{address[0]}:{address[1]}", now)
            self._connections[connected.fileno()] = connection
            if not connection.is_ready:
                self._handshakes[connected.fileno()] = connection
            self._running().register(
                connected, _MASK, lambda found, one=connection: self._read(one, found)
            )
            if len(self._connections) > self._limits.connections:
                self._close(next(iter(self._connections.values())), "too many connections")

    def _read(self, connection: _Connection, found: Batch) -> None:
        """What a connection has to say, as much as one turn takes."""
        number = connection.socket.fileno()
        self._unfinished.pop(number, None)
        now = time.time()
        self._connections[number] = self._connections.pop(number)
        for _ in range(16):
            try:
                if not connection.is_ready:
                    assert isinstance(connection.socket, ssl.SSLSocket)
                    connection.socket.do_handshake()
                    connection.is_ready = True
                    del self._handshakes[number]
                data = connection.socket.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except ssl.SSLWantWriteError:
                # Only while the send buffer is full, which a handshake cannot fill.
                return
            except OSError as error:
                reason = "TLS" if isinstance(error, ssl.SSLError) else "broken"
                self._close(connection, reason)
                return
            if not data:
                self._close(connection, None)
                return
            self._bytes += len(data)
            if not self._take(connection, now, data, found):
                return
        self._unfinished[number] = connection

    def _take(self, connection: _Connection, now: float, data: bytes, found: Batch) -> bool:
        """Read the packets in some bytes; whether the connection stays."""
        try:
            packets = connection.stream.feed(data)
        except HepError as error:
            self._intake.counts.refused[error.reason] += 1
            self._close(connection, "no HEP")
            return False
        refused = self._intake.counts.refused["auth_key"]
        for packet in packets:
            datagram = self._intake.receive(now, packet)
            if datagram is not None:
                found.append(datagram)
        if self._intake.counts.refused["auth_key"] > refused:
            self._close(connection, "wrong key")
            return False
        return True

    def _end_handshakes(self) -> None:
        """Close connections whose TLS handshake takes too long."""
        limit = time.monotonic() - self._limits.handshake_seconds
        while self._handshakes:
            connection = next(iter(self._handshakes.values()))
            if connection.opened_at > limit:
                break
            self._close(connection, "TLS")

    def _close(self, connection: _Connection, reason: str | None) -> None:
        number = connection.socket.fileno()
        self._unfinished.pop(number, None)
        self._handshakes.pop(number, None)
        del self._connections[number]
        self._running().unregister(connection.socket)
        connection.socket.close()
        if reason is not None:
            self._closed[reason] += 1
            text = f"closed the HEP connection of {connection.peer}: {reason}"
            self._events.append(CaptureEvent(time.time(), "hep", "refused", text))


def _row(
    name: str, state: str, packets: int, times: tuple[float, float], drops: int = 0
) -> InterfaceStats:
    return InterfaceStats(
        name=name,
        state=state,
        packets=packets,
        kernel_drops=drops,
        interface_drops=0,
        freezes=0,
        snapped=0,
        inflated=0,
        first_time=times[0],
        last_time=times[1],
        ring_bytes=0,
    )


def _drops(opened: socket.socket) -> int:
    """Datagrams that the kernel dropped for a socket, by its line in /proc/net/udp."""
    name = "udp6" if opened.family == socket.AF_INET6 else "udp"
    try:
        inode = str(os.fstat(opened.fileno()).st_ino)
        with open(f"/proc/net/{name}", encoding="ascii") as table:
            for line in table:
                columns = line.split()
                if len(columns) > 12 and columns[9] == inode:
                    return int(columns[12])
    except (OSError, ValueError):
        pass
    return 0
