"""SCTP user messages out of DATA chunks, for SIP over SCTP (RFC 9260, RFC 4168).

Interface::

    associations = Associations()
    for message in associations.receive(packet):
        message.source_port, message.destination_port, message.payload

``packet`` is the SCTP packet from its common header on. A SIP message is one user message (RFC
4168 section 5.1); one that was fragmented is put together by its transmission sequence numbers,
whatever order they come in. What was seen before, a retransmission or a copy, is dropped and
counted. Packets of an association may take another path of a multihomed host, so it is known by
ports and verification tag, not by addresses.

Memory is bounded, the oldest association goes first. Nothing here raises on any input.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

_DATA = 0
_ABORT = 6
_SHUTDOWN_COMPLETE = 14
_I_DATA = 64  # RFC 8260

_END = 0x01
_BEGINNING = 0x02


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be held; the defaults take some 8 MB at worst."""

    #: Directions of associations.
    associations: int = 4096
    #: Fragments of user messages of all associations, in bytes.
    size: int = 4 << 20
    #: One user message, in bytes and in chunks.
    message: int = 262_144
    chunks: int = 512
    #: Sequence numbers remembered in each direction to know a retransmission.
    recent: int = 64


class UserMessage(NamedTuple):
    """One complete user message."""

    source_port: int
    destination_port: int
    #: Payload protocol identifier (RFC 9260 section 3.3.1); 0 is usual for SIP.
    protocol: int
    payload: bytes


class _Chunk(NamedTuple):
    flags: int
    protocol: int
    data: bytes


_Key: TypeAlias = tuple[int, int, int]


class _Direction:
    """One direction of an association: what is known of its sequence numbers."""

    __slots__ = ("chunks", "holds", "order", "recent")

    def __init__(self) -> None:
        #: Fragments by sequence number, waiting for the others.
        self.chunks: dict[int, _Chunk] = {}
        self.holds = 0
        self.recent: set[int] = set()
        self.order: deque[int] = deque()


class Associations:
    """Follows associations; see the module's docstring."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        #: The least recently used first.
        self._directions: dict[_Key, _Direction] = {}
        self._holds = 0
        self._counts = dict.fromkeys(
            ("packets", "messages", "duplicate", "cut", "unfinished", "interleaved", "evicted"), 0
        )

    def __len__(self) -> int:
        """Directions of associations that are known."""
        return len(self._directions)

    @property
    def held_bytes(self) -> int:
        """Bytes of user messages that are not complete."""
        return self._holds

    def stats(self) -> dict[str, int]:
        """Counters since the start.

        ``packets`` and ``messages`` seen, ``duplicate`` and ``interleaved`` (I-DATA, RFC 8260: not
        decoded) chunks, ``cut`` packets, chunks of messages left ``unfinished``, and associations
        ``evicted`` for lack of room.
        """
        return dict(self._counts)

    def receive(self, packet: bytes) -> list[UserMessage]:
        """Take one packet; the user messages that it completes."""
        self._counts["packets"] += 1
        if len(packet) < 12:
            self._counts["cut"] += 1
            return []
        source_port = int.from_bytes(packet[0:2])
        destination_port = int.from_bytes(packet[2:4])
        key = (source_port, destination_port, int.from_bytes(packet[4:8]))
        messages: list[UserMessage] = []
        offset = 12
        while offset + 4 <= len(packet):
            kind, flags = packet[offset], packet[offset + 1]
            length = packet[offset + 2] << 8 | packet[offset + 3]
            if length < 4 or offset + length > len(packet):
                self._counts["cut"] += 1
                break
            if kind == _DATA and length > 16:
                data = packet[offset + 16 : offset + length]
                number = int.from_bytes(packet[offset + 4 : offset + 8])
                chunk = _Chunk(flags, int.from_bytes(packet[offset + 12 : offset + 16]), data)
                whole = self._take(key, number, chunk)
                if whole is not None:
                    protocol, payload = whole
                    messages.append(UserMessage(source_port, destination_port, protocol, payload))
            elif kind == _I_DATA:
                self._counts["interleaved"] += 1
            elif kind in (_ABORT, _SHUTDOWN_COMPLETE):
                self._forget(key)
            offset += (length + 3) & ~3
        self._counts["messages"] += len(messages)
        return messages

    def finish(self) -> None:
        """The capture has ended: nothing is kept."""
        for key in list(self._directions):
            self._forget(key)

    def _take(self, key: _Key, number: int, chunk: _Chunk) -> tuple[int, bytes] | None:
        """Note one DATA chunk; protocol and bytes of the user message that it completes."""
        direction = self._directions.pop(key, None)
        if direction is None:
            direction = _Direction()
        self._directions[key] = direction
        if number in direction.recent or number in direction.chunks:
            self._counts["duplicate"] += 1
            return None
        whole: tuple[int, bytes] | None = None
        if chunk.flags & (_BEGINNING | _END) == _BEGINNING | _END:
            self._remember(direction, number)
            whole = chunk.protocol, chunk.data
        else:
            direction.chunks[number] = chunk
            direction.holds += len(chunk.data)
            self._holds += len(chunk.data)
            whole = self._join(direction, number)
            self._bound_message(direction)
        self._keep_bounds()
        return whole

    def _join(self, direction: _Direction, number: int) -> tuple[int, bytes] | None:
        """The message around chunk ``number``, when all of it is there (RFC 9260 section 6.9)."""
        chunks = direction.chunks
        first = last = number
        while not chunks[first].flags & _BEGINNING:
            first = (first - 1) & 0xFFFFFFFF
            if first not in chunks or chunks[first].flags & _END:
                return None
        while not chunks[last].flags & _END:
            last = (last + 1) & 0xFFFFFFFF
            if last not in chunks or chunks[last].flags & _BEGINNING:
                return None
        protocol = chunks[first].protocol
        parts: list[bytes] = []
        for step in range(((last - first) & 0xFFFFFFFF) + 1):
            at = (first + step) & 0xFFFFFFFF
            parts.append(chunks.pop(at).data)
            self._remember(direction, at)
        payload = b"".join(parts)
        direction.holds -= len(payload)
        self._holds -= len(payload)
        return protocol, payload

    def _remember(self, direction: _Direction, number: int) -> None:
        direction.recent.add(number)
        direction.order.append(number)
        if len(direction.order) > self.limits.recent:
            direction.recent.discard(direction.order.popleft())

    def _bound_message(self, direction: _Direction) -> None:
        """Drop the oldest fragments of a direction that holds too many."""
        while direction.holds > self.limits.message or len(direction.chunks) > self.limits.chunks:
            oldest = next(iter(direction.chunks))
            size = len(direction.chunks.pop(oldest).data)
            direction.holds -= size
            self._holds -= size
            self._counts["unfinished"] += 1

    def _keep_bounds(self) -> None:
        while (
            len(self._directions) > self.limits.associations or self._holds > self.limits.size
        ) and self._directions:
            self._forget(next(iter(self._directions)))
            self._counts["evicted"] += 1

    def _forget(self, key: _Key) -> None:
        direction = self._directions.pop(key, None)
        if direction is not None:
            self._holds -= direction.holds
            self._counts["unfinished"] += len(direction.chunks)
