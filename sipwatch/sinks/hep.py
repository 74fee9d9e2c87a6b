"""Mirrors what was seen to a HEP collector: messages as they were, outcomes as log packets.

Interface::

    mirror = HepMirror(Collector.parse("udp:192.0.2.7:9060"), node_id=2002, auth_key=b"secret")
    mirror.datagrams(batch)                 # SIP as HEP version 3 packets of kind 1
    mirror.attempt(attempt); mirror.call(call)   # records (JSON) as packets of kind 100
    mirror.flush()                          # from time to time, and `close()` at the end

A log packet has the Call-ID as its correlation id, so that HOMER shows the outcome beside the
messages of the call. Nothing here waits: what the network does not take at once is held for TCP,
within a bound, and dropped for UDP; what is dropped is counted. A connection that is lost is made
again, after a delay that grows to half a minute.
"""

from __future__ import annotations

import errno
import socket
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sipwatch.calls.types import Attempt, Call
from sipwatch.net.hep import LOG, SIP, HepError, HepPacket, encode
from sipwatch.net.types import Datagram, Endpoint, Unreachable
from sipwatch.sinks.line import attempt_line, call_line
from sipwatch.sinks.record import PLAIN, RecordStyle
from sipwatch.sinks.sink import SinkError

DEFAULT_PORT = 9060

#: Bytes that may wait for a TCP connection.
_MAX_WAITING = 4 << 20

#: Seconds between attempts to connect; doubled each time.
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0


class Collector(NamedTuple):
    """Where a collector listens: ``udp`` or ``tcp``, a name or address, a port."""

    transport: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Collector:
        """Reads ``[udp:|tcp:]HOST[:PORT]``; raises `SinkError`."""
        scheme, separator, rest = text.partition(":")
        if not separator or scheme.lower() not in ("udp", "tcp"):
            scheme, rest = "udp", text
        if rest.startswith("["):
            host, closing, port = rest[1:].partition("]")
            port = port.removeprefix(":") if closing and port[:1] in ("", ":") else "none"
        else:
            host, _, port = rest.partition(":")
        if not host or not (port or str(DEFAULT_PORT)).isdigit() or int(port or 1) not in _PORTS:
            raise SinkError(f"{text}: not a collector, such as udp:192.0.2.7:{DEFAULT_PORT}")
        return cls(scheme.lower(), host, int(port or DEFAULT_PORT))


_PORTS = range(1, 65_536)


@dataclass(slots=True)
class MirrorStats:
    """What was sent, in packets, and what was not."""

    messages: int = 0
    records: int = 0
    #: Dropped: the packet would be too long, the network did not take it, no room to wait.
    too_long: int = 0
    not_sent: int = 0
    no_room: int = 0
    #: TCP connections made.
    connections: int = 0


class HepMirror:
    """Sends to one collector. Raises `SinkError` where its name cannot be resolved."""

    def __init__(
        self,
        collector: Collector,
        *,
        node_id: int = 2001,
        auth_key: bytes | None = None,
        style: RecordStyle = PLAIN,
    ) -> None:
        self._node_id = node_id
        self._auth_key = auth_key
        self.style = style
        self.stats = MirrorStats()
        self._channel: _Udp | _Tcp
        if collector.transport == "udp":
            self._channel = _Udp(collector, self.stats)
        else:
            self._channel = _Tcp(collector, self.stats)

    def datagrams(self, batch: Iterable[Datagram | Unreachable]) -> None:
        """Mirrors the messages of a batch; ICMP reports have no place in HEP."""
        for one in batch:
            if not isinstance(one, Datagram):
                continue
            sent = self._send(
                one.source, one.destination, one.transport, one.payload, one.time, SIP, b""
            )
            self.stats.messages += sent

    def attempt(self, attempt: Attempt) -> None:
        """Sends the record of an attempt."""
        self._record(attempt, attempt_line(attempt, self.style))

    def call(self, call: Call) -> None:
        """Sends the record of a call, as that of its first attempt."""
        self._record(call.root, call_line(call, self.style))

    def flush(self) -> None:
        """Sends what waits, as far as the network takes it now."""
        self._channel.flush()

    def close(self) -> None:
        """Sends what can be sent at once, and ends."""
        self._channel.flush()
        self._channel.close()

    def _record(self, attempt: Attempt, line: str) -> None:
        self.stats.records += self._send(
            attempt.source,
            attempt.destination,
            attempt.transport,
            line.strip().encode(),
            attempt.last_at,
            LOG,
            attempt.call_id,
        )

    def _send(
        self,
        source: Endpoint,
        destination: Endpoint,
        transport: str,
        payload: bytes,
        when: float,
        protocol: int,
        correlation_id: bytes,
    ) -> bool:
        try:
            data = encode(
                HepPacket(
                    version=3,
                    source=source,
                    destination=destination,
                    transport=transport,
                    payload=payload,
                    time=when,
                    protocol=protocol,
                    node_id=self._node_id,
                    auth_key=self._auth_key,
                    correlation_id=correlation_id,
                )
            )
        except HepError:
            self.stats.too_long += 1
            return False
        return self._channel.send(data)


def _resolve(collector: Collector, kind: socket.SocketKind) -> tuple[int, tuple[object, ...]]:
    """Family and address of the collector."""
    try:
        found = socket.getaddrinfo(collector.host, collector.port, type=kind)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise SinkError(f"HEP collector {collector.host}: {why}") from None
    return found[0][0], found[0][4]


class _Udp:
    """One datagram a packet."""

    def __init__(self, collector: Collector, stats: MirrorStats) -> None:
        family, address = _resolve(collector, socket.SOCK_DGRAM)
        self._stats = stats
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise SinkError(f"HEP collector {collector.host}: {error.strerror}") from None

    def send(self, data: bytes) -> bool:
        """Whether the network took it."""
        # The first call may report an ICMP error of a datagram before this one.
        for _ in range(2):
            try:
                self._socket.send(data)
            except ConnectionRefusedError:
                continue
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    self._stats.too_long += 1
                else:
                    self._stats.not_sent += 1
                return False
            return True
        self._stats.not_sent += 1
        return False

    def flush(self) -> None:
        """Nothing ever waits."""

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


class _Tcp:
    """A connection that is made again when it is lost; whole packets wait meanwhile."""

    def __init__(self, collector: Collector, stats: MirrorStats) -> None:
        self._family, self._address = _resolve(collector, socket.SOCK_STREAM)
        self._stats = stats
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        #: Bytes of the first packet that were sent on this connection.
        self._sent = 0
        self._socket: socket.socket | None = None
        self._is_connected = False
        self._delay = _FIRST_DELAY
        self._connect_at = 0.0

    def send(self, data: bytes) -> bool:
        """Whether there was room for it to wait; it is sent as soon as may be."""
        if self._waiting_bytes + len(data) > _MAX_WAITING:
            self.flush()
        if self._waiting_bytes + len(data) > _MAX_WAITING:
            self._stats.no_room += 1
            return False
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self.flush()
        return True

    def flush(self) -> None:
        """Sends what the connection takes."""
        if not self._has_connection():
            return
        assert self._socket is not None
        try:
            if self._is_hung_up(self._socket):
                self._lost()
                return
            while self._waiting:
                self._sent += self._socket.send(memoryview(self._waiting[0])[self._sent :])
                if self._sent == len(self._waiting[0]):
                    self._waiting_bytes -= self._sent
                    self._waiting.popleft()
                    self._sent = 0
        except BlockingIOError:
            return
        except OSError:
            self._lost()

    def close(self) -> None:
        """Ends the connection; what still waits is counted as not sent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._stats.not_sent += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    @staticmethod
    def _is_hung_up(connected: socket.socket) -> bool:
        """Whether the collector has closed; what it says otherwise is not for us."""
        try:
            return not connected.recv(4096)
        except BlockingIOError:
            return False

    def _has_connection(self) -> bool:
        if self._socket is None:
            now = time.monotonic()
            if now < self._connect_at:
                return False
            self._connect_at = now + self._delay
            self._delay = min(2 * self._delay, _LONGEST_DELAY)
            self._socket = socket.socket(self._family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self._is_connected = False
        if not self._is_connected:
            result = self._socket.connect_ex(self._address)
            if result in (0, errno.EISCONN):
                self._is_connected = True
                self._delay = _FIRST_DELAY
                self._stats.connections += 1
            elif result not in (errno.EINPROGRESS, errno.EALREADY):
                self._lost()
        return self._is_connected

    def _lost(self) -> None:
        """The connection is gone; its last packet is sent again from its beginning."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._is_connected = False
        self._sent = 0
        self._connect_at = max(self._connect_at, time.monotonic() + self._delay)
