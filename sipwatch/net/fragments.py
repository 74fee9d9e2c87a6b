"""IP fragments put together again, IPv4 (RFC 791 section 3.2) and IPv6 (RFC 8200 section 4.5).

Interface, all times in seconds, all sizes in bytes::

    reassembler = Reassembler()
    whole = reassembler.receive(time, source, destination, protocol, ident, offset, more, data)
    if whole is not None:
        whole.protocol, whole.payload       # payload of the IP datagram, from its first byte
    for cut in reassembler.advance(now):    # from time to time, and `finish()` at the end
        cut.source, cut.protocol, cut.payload, cut.time, cut.tag

``source`` and ``destination`` are 4 or 16 raw bytes, which also says the IP version. ``protocol``
is the protocol of the IPv4 header or the next header of the IPv6 fragment header; the one of the
first fragment counts. ``offset`` is in bytes. ``length`` is what the fragment had on the wire when
a snap length cut ``data``; the datagram then ends at the first byte that was not captured.

A capture filter on ports sees only first fragments, for the others carry no port. What the first
fragment holds, the SIP header section as a rule, is too good to lose: when the rest has not come
after ``partial_seconds``, `advance` gives the part up to the first hole as a `Cut`, once.

Fragments come in any order and several times. Where two overlap, the bytes that came first stay
and the overlap is counted. Memory is bounded in datagrams, bytes and fragments of one datagram,
of all sources and of each. Where there is no room left, `sipwatch.net.shares` says whose datagram
goes: that of the source that holds most, then those whose first fragment is not what the caller
cares for (``is_wanted``), then those without their first fragment, last those of sources of whom
such a datagram became complete lately. Nothing here raises on any input.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from sipwatch.net.shares import Shares, Worth

#: Largest payload of an IP datagram, by the 16 bits of the length fields.
MAX_PAYLOAD = 65_535

#: How long a datagram that was handed on is remembered: whole, to know its copies; cut, to swallow
#: what still comes.
_COPY_SECONDS = 0.1
_LATE_SECONDS = 2.0

#: What a fragment and a datagram take besides their bytes, roughly.
_PIECE_COST, _DATAGRAM_COST = 128, 512

#: Sources with a complete datagram that are remembered, the last ones.
_TRUSTED_SOURCES = 4096

_Key: TypeAlias = tuple[bytes, bytes, int, int]

#: Whether the datagram of a protocol that begins with these bytes is one the caller cares for.
IsWanted: TypeAlias = Callable[[int, bytes], bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the reassembly may hold; the defaults take some 8 MB."""

    #: Seconds after which an unfinished datagram is given up.
    seconds: float = 30.0
    #: Seconds after which the first fragment is handed on without the rest.
    partial_seconds: float = 0.5
    datagrams: int = 4096
    #: Bytes of all unfinished datagrams, with what it takes to keep them.
    size: int = 8 << 20
    #: The same of one source.
    source_datagrams: int = 512
    source_size: int = 2 << 20
    #: Fragments of one datagram; 65,535 bytes over the smallest IPv4 MTU in use make 122.
    fragments: int = 256


class Whole(NamedTuple):
    """A datagram that is complete."""

    protocol: int
    payload: bytes


class Cut(NamedTuple):
    """The beginning of a datagram whose other fragments were not captured."""

    time: float
    source: bytes
    destination: bytes
    protocol: int
    ident: int
    payload: bytes
    #: What the caller gave with the first fragment, a packet number for instance.
    tag: object


class _Datagram:
    """The fragments of one datagram: disjoint pieces sorted by offset."""

    __slots__ = (
        "first",
        "holds",
        "is_copy",
        "offsets",
        "pieces",
        "size",
        "tag",
        "time",
        "total",
        "worth",
    )

    def __init__(self, time: float, is_copy: bool) -> None:
        self.time = time
        #: Whether it begins right after one of the same key that was handed on: a copy, which is
        #: handed on as well when it is complete, or what copies of single fragments leave over.
        self.is_copy = is_copy
        self.offsets: list[int] = []
        #: Parallel to `offsets`: (bytes, bytes it had on the wire).
        self.pieces: list[tuple[bytes, int]] = []
        #: Bytes on the wire that the pieces cover, and bytes that are held.
        self.size = 0
        self.holds = 0
        #: Length of the whole payload, once the last fragment has come.
        self.total = -1
        #: Next header of the first fragment; -1 before it came or after it was handed on.
        self.first = -1
        self.tag: object = None
        self.worth = Worth.UNKNOWN

    def beginning(self) -> bytes:
        """The bytes from the start up to the first one that is missing."""
        parts: list[bytes] = []
        end = 0
        for offset, (data, length) in zip(self.offsets, self.pieces, strict=True):
            if offset != end:
                break
            parts.append(data)
            end = offset + length
            if len(data) < length:
                break
        return b"".join(parts)


def _all(protocol: int, beginning: bytes) -> bool:
    return True


class Reassembler:
    """Collects fragments; see the module's docstring."""

    def __init__(self, limits: Limits | None = None, *, is_wanted: IsWanted = _all) -> None:
        self.limits = limits or Limits()
        self._is_wanted = is_wanted
        #: What each source has in `_open`. By default some fifteen datagrams are much for one when
        #: there is no room left.
        self._shares: Shares[_Key] = Shares(self.limits.size // 256)
        #: Sources of whom a datagram became complete, the last one last.
        self._trusted: dict[bytes, None] = {}
        #: Unfinished datagrams, the oldest first.
        self._open: dict[_Key, _Datagram] = {}
        #: When to forget those that were handed on, whose copies or rests may still follow.
        self._closed: dict[_Key, float] = {}
        #: Datagrams whose first fragment waits to be handed on, the oldest first.
        self._partial: dict[_Key, _Datagram] = {}
        self._holds = 0
        self._counts = dict.fromkeys(
            (
                "fragments",
                "datagrams",
                "partial",
                "duplicate",
                "overlap",
                "out_of_bounds",
                "conflicting_length",
                "too_many_fragments",
                "timed_out",
                "evicted",
                "source_full",
            ),
            0,
        )

    def __len__(self) -> int:
        """Datagrams that are not complete."""
        return len(self._open)

    @property
    def held_bytes(self) -> int:
        """Payload bytes held now."""
        return self._holds

    def stats(self) -> dict[str, int]:
        """Counters since the start.

        ``fragments`` seen, ``datagrams`` completed and ``partial`` ones handed on; the others are
        fragments (``duplicate``, ``overlap``, ``out_of_bounds``, ``conflicting_length``) or
        datagrams (``too_many_fragments``, ``timed_out``, ``evicted``, ``source_full``) by what
        was wrong.
        """
        return dict(self._counts)

    def receive(
        self,
        time: float,
        source: bytes,
        destination: bytes,
        protocol: int,
        ident: int,
        offset: int,
        more: bool,
        data: bytes,
        length: int = -1,
        tag: object = None,
    ) -> Whole | None:
        """Take one fragment; the datagram when this one completes it."""
        self._counts["fragments"] += 1
        if length < len(data):
            length = len(data)
        if offset < 0 or offset + length > MAX_PAYLOAD or (more and (length & 7 or not length)):
            self._counts["out_of_bounds"] += 1
            return None
        # IPv6 keys on addresses and identification alone (RFC 8200 section 4.5).
        key = (source, destination, protocol if len(source) == 4 else -1, ident)
        datagram = self._open.get(key)
        if datagram is not None and time - datagram.time > self.limits.seconds:
            self._drop(key, "timed_out")
            datagram = None
        if datagram is None:
            datagram = self._open[key] = _Datagram(time, self._is_known(key, time))
        if not self._agrees_on_length(datagram, offset + length, more):
            return None
        if offset == 0 and datagram.first < 0:
            datagram.first = protocol
            datagram.tag = tag
            wanted = self._is_wanted(protocol, data)
            datagram.worth = Worth.WANTED if wanted else Worth.UNWANTED
            if not datagram.is_copy:
                self._partial[key] = datagram
        self._insert(datagram, offset, data, length)
        if datagram.size == datagram.total:
            return self._complete(key, datagram, time)
        if len(datagram.pieces) > self.limits.fragments:
            self._drop(key, "too_many_fragments")
            return None
        self._shares.put(
            source,
            key,
            _DATAGRAM_COST + _PIECE_COST * len(datagram.pieces) + datagram.holds,
            worth=datagram.worth,
            trusted=source in self._trusted,
        )
        self._keep_bounds(source)
        return None

    def advance(self, now: float) -> list[Cut]:
        """Give up what is too old; first fragments whose rest did not come in time."""
        cuts: list[Cut] = []
        while self._partial:
            key, datagram = next(iter(self._partial.items()))
            if abs(now - datagram.time) < self.limits.partial_seconds:
                break
            cuts.append(self._cut(key, datagram))
        while self._open:
            key, datagram = next(iter(self._open.items()))
            if abs(now - datagram.time) <= self.limits.seconds:
                break
            self._drop(key, "timed_out")
        while self._closed:
            key, forget_at = next(iter(self._closed.items()))
            if abs(forget_at - now) <= _LATE_SECONDS:
                break
            del self._closed[key]
        return cuts

    def finish(self) -> list[Cut]:
        """The capture has ended: what is left of first fragments, and nothing is kept."""
        cuts = [self._cut(key, datagram) for key, datagram in list(self._partial.items())]
        for key in list(self._open):
            self._drop(key, "timed_out")
        self._closed.clear()
        return cuts

    def _agrees_on_length(self, datagram: _Datagram, end: int, more: bool) -> bool:
        """Whether a fragment that ends at ``end`` fits what is known of the whole length."""
        if more:
            fits = datagram.total < 0 or end <= datagram.total
        else:
            known = datagram.offsets[-1] + datagram.pieces[-1][1] if datagram.offsets else 0
            fits = end >= known and datagram.total in (-1, end)
            if fits:
                datagram.total = end
        if not fits:
            self._counts["conflicting_length"] += 1
        return fits

    def _insert(self, datagram: _Datagram, offset: int, data: bytes, length: int) -> None:
        """Put in the bytes that are not there yet."""
        offsets, pieces = datagram.offsets, datagram.pieces
        end = offset + length
        overlaps = added = False
        at = bisect_left(offsets, offset)
        if at and offsets[at - 1] + pieces[at - 1][1] > offset:
            at -= 1
        start = offset
        while start < end:
            stop = offsets[at] if at < len(offsets) else end
            if start < stop:
                stop = min(stop, end)
                piece = data[start - offset : stop - offset]
                offsets.insert(at, start)
                pieces.insert(at, (piece, stop - start))
                datagram.size += stop - start
                datagram.holds += len(piece)
                self._holds += len(piece)
                added = True
                start = stop
            else:
                start = max(start, stop + pieces[at][1])
                overlaps = True
            at += 1
        if overlaps:
            self._counts["overlap" if added else "duplicate"] += 1

    def _complete(self, key: _Key, datagram: _Datagram, time: float) -> Whole | None:
        first = datagram.first
        payload = datagram.beginning()
        self._close(key, time + _COPY_SECONDS)
        self._counts["datagrams"] += 1
        if self._is_wanted(first, payload):
            self._trusted.pop(key[0], None)
            self._trusted[key[0]] = None
            if len(self._trusted) > _TRUSTED_SOURCES:
                del self._trusted[next(iter(self._trusted))]
        return Whole(first, payload)

    def _cut(self, key: _Key, datagram: _Datagram) -> Cut:
        """The beginning of a datagram; its bytes go, its place stays to swallow what is late."""
        self._counts["partial"] += 1
        source, destination, _, ident = key
        payload = datagram.beginning()
        cut = Cut(datagram.time, source, destination, datagram.first, ident, payload, datagram.tag)
        self._close(key, datagram.time + self.limits.partial_seconds + _LATE_SECONDS)
        return cut

    def _is_known(self, key: _Key, time: float) -> bool:
        """Whether a datagram of this key was handed on a moment ago."""
        forget_at = self._closed.get(key)
        if forget_at is None:
            return False
        if time <= forget_at:
            return True
        del self._closed[key]
        return False

    def _close(self, key: _Key, forget_at: float) -> None:
        self._forget(key)
        self._closed[key] = forget_at
        if len(self._closed) > self.limits.datagrams:
            del self._closed[next(iter(self._closed))]

    def _keep_bounds(self, source: bytes) -> None:
        limits, shares = self.limits, self._shares
        datagrams, cost = shares.of(source)
        while datagrams > limits.source_datagrams or cost > limits.source_size:
            self._drop(shares.first_of(source), "source_full")
            datagrams, cost = shares.of(source)
        while len(self._open) > limits.datagrams or shares.cost > limits.size:
            self._drop(shares.next_to_go()[1], "evicted")

    def _drop(self, key: _Key, reason: str) -> None:
        reason = "duplicate" if self._open[key].is_copy else reason
        self._forget(key)
        self._counts[reason] += 1

    def _forget(self, key: _Key) -> None:
        self._holds -= self._open.pop(key).holds
        self._shares.drop(key[0], key)
        self._partial.pop(key, None)
