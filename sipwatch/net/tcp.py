"""TCP streams to SIP messages: order, gaps, framing, and what carries no SIP at all.

Interface, times in epoch seconds::

    streams = Streams()
    batch += streams.receive(time, source, destination, seq, ack, flags, payload,
                             interface, number)
    batch += streams.advance(now)           # now and then: gives gaps up whose time is over
    batch += streams.finish()               # the capture has ended

``source`` and ``destination`` are endpoints (address bytes, port); ``seq``, ``ack`` and ``flags``
are the fields of the TCP header (RFC 9293 section 3.1), ``payload`` is what follows the header.
``missing`` is how many more bytes of payload the packet had on the wire (a snap length cut them).
What comes out are datagrams with the transport ``TCP`` or ``WS``, one SIP message each, with time,
interface and number of the packet that completed it; or with ``HEP``, one packet of an agent each
(`sipwatch.net.hep_framing`), still to be decoded.

Behind a gap the reader waits for the retransmission: for `Limits.gap_seconds`, or only for
`Limits.acked_gap_seconds` once the other side has acknowledged the missing bytes, which means that
the capture lost them and not the network. Then the gap is given up and counted, and reading goes
on behind it as `sipwatch.net.framing` says.

A stream without SIP is known by its first bytes and costs one look into a dictionary from then on.
TLS connections are counted in `Streams.tls` by the port of the server. Memory is bounded: in
bytes of one stream, in bytes of all, and in streams. A stream that has given a message is
established; those that have not, and those without SIP, have tables and bounds of their own, so
that they never push out an established one, however many begin. Among the new ones, and among the
established ones that hold bytes, `sipwatch.net.shares` says which goes; of established streams
that are too many it is the one least recently used. A stream that is forgotten between two
messages loses nothing. No input raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import TypeAlias

from sipwatch.net.framing import Framer, StreamCounts
from sipwatch.net.probing import Kind, Probe
from sipwatch.net.recognise import REQUEST_STARTS, STATUS_START, start_of
from sipwatch.net.sequence import SEGMENT_COST, Segment, Sequence
from sipwatch.net.shares import Shares, Worth
from sipwatch.net.types import Datagram, Endpoint

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

#: Further away than this from where a stream is, a segment belongs to another connection (or is
#: forged). SIP connections do not have windows of a megabyte.
_WINDOW = 1 << 20

#: Makes a tuple without the detour over its arguments' names; by far the most are made here.
_new = tuple.__new__

#: What a stream that is not established costs besides its bytes, roughly.
_NEWCOMER_COST = 1024

_NOTHING: tuple[Datagram, ...] = ()

_Key: TypeAlias = tuple[Endpoint, Endpoint]


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be held; the defaults take some 60 MB at the very worst."""

    #: Seconds that a gap may stay, and from an acknowledgement of the missing bytes on.
    gap_seconds: float = 5.0
    acked_gap_seconds: float = 0.1
    #: Bytes and segments that may wait behind the gaps of one stream.
    pending_bytes: int = 262_144
    pending_segments: int = 256
    #: Bytes held for all streams together, with what it takes to keep them; those that are not
    #: established may have half of it.
    size: int = 16 << 20
    #: Directions of connections that are established, that are not yet, that carry no SIP.
    streams: int = 20_000
    probes: int = 4_096
    others: int = 32_768
    #: Seconds without a packet after which a stream is forgotten, an established one and others.
    idle_seconds: float = 7_200.0
    probe_seconds: float = 300.0


class _Stream:
    """One direction of a connection."""

    __slots__ = (
        "closed",
        "deadline",
        "established",
        "framer",
        "from_start",
        "held",
        "key",
        "probe",
        "sequence",
        "start",
        "stray",
        "time",
    )

    def __init__(self, key: _Key, segment: Segment, probe: Probe, from_start: bool) -> None:
        self.key = key
        self.sequence = Sequence(segment.position)
        self.framer: Framer = probe
        #: The framer as long as it is a probe.
        self.probe: Probe | None = probe
        #: Whether it has given a message.
        self.established = False
        self.from_start = from_start
        #: Position of the first byte.
        self.start = segment.position
        self.closed = False
        #: A segment far away, that the next one may confirm.
        self.stray: Segment | None = None
        #: When a gap is given up; 0 without one.
        self.deadline = 0.0
        #: Bytes held, as they are counted in the total.
        self.held = 0
        #: Of the last packet.
        self.time = segment.time


class Streams:
    """Follows all TCP streams; see the module's docstring."""

    def __init__(
        self, limits: Limits | None = None, *, ports: frozenset[int] = frozenset((5060, 5061))
    ) -> None:
        self.limits = limits or Limits()
        self.counts = StreamCounts()
        #: Connections with TLS, by the port of the server.
        self.tls: Counter[int] = Counter()
        #: Where SIP is expected: which of two ports is that of the server.
        self.ports = ports
        #: Established ones, those that are not yet, and those without SIP; least recently used
        #: first, all three.
        self._streams: dict[_Key, _Stream] = {}
        self._probes: dict[_Key, _Stream] = {}
        self._others: dict[_Key, Kind] = {}
        #: What each source address has in `_probes`, and what its established streams hold.
        self._newcomers: Shares[_Key] = Shares(_NEWCOMER_COST * 16)
        self._holding: Shares[_Key] = Shares(self.limits.size // 16)
        #: Streams with a gap, in the order of their deadlines.
        self._gaps: dict[_Key, _Stream] = {}
        self._acked_gaps: dict[_Key, _Stream] = {}
        #: Bytes held, and how many of them by streams that are not established.
        self._held = 0
        self._held_by_newcomers = 0

    @property
    def held_bytes(self) -> int:
        """Bytes held for messages that are not complete and behind gaps."""
        return self._held

    def entries(self) -> dict[str, int]:
        """Directions of connections known now, by table."""
        return {
            "sip": len(self._streams),
            "unknown": len(self._probes),
            "other": len(self._others),
        }

    def receive(
        self,
        time: float,
        source: Endpoint,
        destination: Endpoint,
        seq: int,
        ack: int,
        flags: int,
        payload: bytes,
        interface: str,
        number: int,
        missing: int = 0,
    ) -> SequenceOf[Datagram]:
        """Take one segment; the SIP messages that it completes."""
        key = (source, destination)
        stream = self._streams.get(key)
        if stream is None:
            if key in self._others and not flags & SYN:
                start = payload[:4]
                if (start != STATUS_START and start not in REQUEST_STARTS) or start_of(
                    payload
                ) != 0:
                    return _NOTHING
                # What was no SIP begins to be: another connection on the same ports.
                del self._others[key]
            stream = self._probes.get(key)
        if self._gaps and flags & ACK:
            self._note_acknowledgement(time, destination, source, ack)
        if not (payload or missing or flags & (FIN | SYN | RST)):
            return _NOTHING
        # The usual: the next segment in order, of a stream that has nothing waiting.
        if (
            stream is not None
            and payload
            and seq == stream.sequence.next & 0xFFFFFFFF
            and not flags & (FIN | SYN | RST)
            and not (missing or stream.deadline)
        ):
            self.counts.segments += 1
            stream.sequence.next += len(payload)
            messages = stream.framer.feed(payload)
            if stream.established:
                self._streams[key] = self._streams.pop(key)
            else:
                messages = self._know_better(stream, messages)
            stream.time = time
            if stream.held or stream.framer.held:
                self._account(stream)
            if not messages:
                return _NOTHING
            self.counts.messages += len(messages)
            transport = stream.framer.transport
            if len(messages) == 1:
                one = (time, source, destination, transport, messages[0], interface, number, -1, -1)
                return [_new(Datagram, one)]
            return [
                Datagram(time, source, destination, transport, message, interface, number)
                for message in messages
            ]
        segment = Segment(seq, payload, missing, time, interface, number)
        return self._receive(stream, key, flags, segment)

    def advance(self, now: float) -> list[Datagram]:
        """Give up the gaps whose time is over; the messages behind them."""
        found: list[Datagram] = []
        for waiting in (self._acked_gaps, self._gaps):
            while waiting:
                stream = next(iter(waiting.values()))
                if now < stream.deadline:
                    break
                found += self._give_up_gap(stream)
        self._forget_idle(now)
        return found

    def finish(self) -> list[Datagram]:
        """The capture has ended: all gaps are given up, nothing is kept."""
        found: list[Datagram] = []
        for waiting in (self._acked_gaps, self._gaps):
            while waiting:
                found += self._give_up_gap(next(iter(waiting.values())))
        for stream in (*self._streams.values(), *self._probes.values()):
            self._forget(stream)
        self._others.clear()
        return found

    # What is not usual --------------------------------------------------------------------------

    def _receive(
        self, stream: _Stream | None, key: _Key, flags: int, segment: Segment
    ) -> list[Datagram]:
        if flags & SYN:
            # SYN takes one sequence number (RFC 9293 section 3.4).
            segment = segment._replace(position=segment.position + 1 & 0xFFFFFFFF)
            stream = self._open(stream, key, segment)
        if stream is None:
            if not segment.data:
                return []
            stream = self._new(key, segment, from_start=False)
        else:
            table = self._table(stream)
            table[key] = table.pop(key)
        self.counts.segments += bool(segment.data)
        distance = stream.sequence.distance(segment.position)
        if abs(distance) > _WINDOW:
            return self._stray(stream, segment)
        segment = segment._replace(position=stream.sequence.next + distance)
        if stream.stray is not None:
            stream.stray = None
            self._watch_gap(stream, segment.time)
        found: list[Datagram] = []
        if segment.end > segment.position:
            found = self._place(stream, segment)
        if flags & RST or (flags & FIN and segment.end == stream.sequence.next):
            self._close(stream)
        return found

    def _open(self, stream: _Stream | None, key: _Key, segment: Segment) -> _Stream:
        """A connection begins, unless the SYN is an old one of the stream that is known."""
        self._others.pop(key, None)
        if stream is not None:
            before = (stream.start - segment.position) & 0xFFFFFFFF
            # Its retransmission; or it was overtaken by the first segments.
            if before == 0 or (not stream.from_start and before <= 0xFFFF):
                return stream
            self._forget(stream)
        return self._new(key, segment, from_start=True)

    def _new(self, key: _Key, segment: Segment, *, from_start: bool) -> _Stream:
        probe = Probe(self.counts, from_start=from_start)
        # Room is made before: it must not be this one's turn before it has said anything.
        while len(self._probes) >= self.limits.probes:
            self._evict(self._probes[self._newcomers.next_to_go()[1]])
        stream = self._probes[key] = _Stream(key, segment, probe, from_start)
        self._put(stream)
        return stream

    def _place(self, stream: _Stream, segment: Segment) -> list[Datagram]:
        """Put a segment where it belongs, and read what is in order by it."""
        sequence, counts = stream.sequence, self.counts
        position = sequence.next
        was_behind = segment.position > position
        is_new, is_old = sequence.add(segment)
        if is_old:
            if segment.position < stream.start:
                counts.before_start += 1
            elif is_new:
                counts.overlapping += 1
            else:
                counts.retransmitted += 1
        if was_behind and is_new:
            counts.out_of_order += 1
        found = self._drain(stream, segment)
        while (
            sequence.size > self.limits.pending_bytes
            or len(sequence.pending) > self.limits.pending_segments
        ):
            found += self._pass_gap(stream)
        stream.time = segment.time
        if sequence.next != position:
            self._stop_clock(stream)
        self._watch_gap(stream, segment.time)
        self._account(stream)
        return found

    def _drain(self, stream: _Stream, packet: Segment | None) -> list[Datagram]:
        """Read what is in order; ``packet`` is the one that filled a gap, if one did."""
        found: list[Datagram] = []
        while (segment := stream.sequence.pop()) is not None:
            messages = stream.framer.feed(segment.data) if segment.data else []
            if not stream.established:
                messages = self._know_better(stream, messages)
            if segment.missing:
                messages = messages + stream.framer.lose(segment.missing)
            if messages:
                found += self._datagrams(stream, messages, packet or segment)
        return found

    def _datagrams(self, stream: _Stream, messages: list[bytes], packet: Segment) -> list[Datagram]:
        self.counts.messages += len(messages)
        source, destination = stream.key
        return [
            Datagram(
                packet.time,
                source,
                destination,
                stream.framer.transport,
                message,
                packet.interface,
                packet.number,
            )
            for message in messages
        ]

    def _close(self, stream: _Stream) -> None:
        """FIN or RST: the place stays known, so that late copies are not read again."""
        self.counts.lost_bytes += stream.sequence.clear()
        stream.framer.close()
        stream.closed = True
        self._watch_gap(stream, stream.time)
        self._account(stream)

    # Segments from somewhere else ----------------------------------------------------------------

    def _stray(self, stream: _Stream, segment: Segment) -> list[Datagram]:
        """A segment far away: another connection on the same ports, if a second one says so."""
        if not segment.data:
            return []
        self.counts.out_of_window += 1
        stray = stream.stray
        if stream.closed:
            return self._restart(stream, segment)
        if stray is not None and stray.end & 0xFFFFFFFF == segment.position:
            found = self._restart(stream, stray)
            fresh = self._streams.get(stream.key) or self._probes.get(stream.key)
            if fresh is None:
                return found
            return found + self._receive(fresh, stream.key, 0, segment)
        stream.stray = segment
        self._watch_gap(stream, segment.time)
        self._account(stream)
        return []

    def _restart(self, stream: _Stream, segment: Segment) -> list[Datagram]:
        self._forget(stream)
        fresh = self._new(stream.key, segment, from_start=False)
        return self._place(fresh, segment)

    # Gaps ---------------------------------------------------------------------------------------

    def _watch_gap(self, stream: _Stream, time: float) -> None:
        """Start or stop the clock of a stream's gap."""
        has_gap = self._knows(stream) and (
            bool(stream.sequence.pending) or stream.stray is not None
        )
        if not has_gap and stream.deadline:
            self._stop_clock(stream)
        elif has_gap and not stream.deadline:
            stream.deadline = time + self.limits.gap_seconds
            self._gaps[stream.key] = stream

    def _stop_clock(self, stream: _Stream) -> None:
        self._gaps.pop(stream.key, None)
        self._acked_gaps.pop(stream.key, None)
        stream.deadline = 0.0

    def _note_acknowledgement(
        self, time: float, source: Endpoint, destination: Endpoint, ack: int
    ) -> None:
        """The receiver has what the capture has not: there is little to wait for."""
        key = (source, destination)
        stream = self._gaps.get(key)
        if stream is None or not stream.sequence.pending:
            return
        if 0 < stream.sequence.gap <= stream.sequence.distance(ack):
            del self._gaps[key]
            stream.deadline = time + self.limits.acked_gap_seconds
            self._acked_gaps[key] = stream

    def _give_up_gap(self, stream: _Stream) -> list[Datagram]:
        """The time of a gap is over; what can be read behind it."""
        stray = stream.stray
        stream.stray = None
        found = self._pass_gap(stream) if stream.sequence.pending else []
        deadline = stream.deadline
        self._stop_clock(stream)
        self._watch_gap(stream, deadline)
        self._account(stream)
        if stray is not None and not found:
            found = self._restart(stream, stray)
        return found

    def _pass_gap(self, stream: _Stream) -> list[Datagram]:
        """Go on behind the first gap."""
        first = stream.sequence.pending[0]
        lost = stream.sequence.skip_gap()
        self.counts.gaps += 1
        messages = stream.framer.lose(lost)
        if not stream.established:
            messages = self._know_better(stream, messages)
        found = self._datagrams(stream, messages, first) if messages else []
        return found + self._drain(stream, None)

    # What a stream carries -----------------------------------------------------------------------

    def _know_better(self, stream: _Stream, messages: list[bytes]) -> list[bytes]:
        """Bytes came to a stream that is not established; all messages that they complete."""
        if stream.probe is not None:
            messages = messages + self._judge(stream)
        if self._knows(stream):
            if messages:
                self._establish(stream)
            else:
                self._probes[stream.key] = self._probes.pop(stream.key)
        return messages

    def _establish(self, stream: _Stream) -> None:
        """A stream has given its first message."""
        self._newcomers.drop(stream.key[0][0], stream.key)
        del self._probes[stream.key]
        self._streams[stream.key] = stream
        stream.established = True
        if stream.held:
            self._put(stream)
        if len(self._streams) > self.limits.streams:
            self._evict(next(iter(self._streams.values())))

    def _judge(self, stream: _Stream) -> list[bytes]:
        """See whether a probe has its verdict; the messages in what it has collected."""
        probe = stream.probe
        if probe is None or probe.verdict is None:
            return []
        framer = probe.framer()
        kind = probe.verdict
        if framer is None:
            self._set_aside(stream, kind, probe.rest)
            return []
        if kind is Kind.SIP:
            self.counts.sip_streams += 1
        elif kind is Kind.HEP:
            self.counts.hep_streams += 1
        else:
            self.counts.websocket_streams += 1
        stream.framer, stream.probe = framer, None
        self._put(stream)
        rest = probe.rest
        return framer.feed(rest) if rest else []

    def _set_aside(self, stream: _Stream, kind: Kind, start: bytes) -> None:
        """Remember a stream as one without SIP."""
        key = stream.key
        if kind is Kind.TLS:
            self.counts.tls_streams += 1
            if self._others.get((key[1], key[0])) is not Kind.TLS:
                self.tls[self._tls_server_port(key, start)] += 1
        elif kind is Kind.HTTP:
            self.counts.http_streams += 1
        else:
            self.counts.other_streams += 1
        self._forget(stream)
        self._others[key] = kind
        if len(self._others) > self.limits.others:
            del self._others[next(iter(self._others))]

    def _tls_server_port(self, key: _Key, start: bytes) -> int:
        """The port of the side that did not say ClientHello (RFC 8446 section 4)."""
        source, destination = key[0][1], key[1][1]
        if start[:1] == b"\x16" and len(start) > 5:
            if start[5] == 1:
                return destination
            if start[5] == 2:
                return source
        if (source in self.ports) != (destination in self.ports):
            return source if source in self.ports else destination
        return min(source, destination)

    # Bounds -------------------------------------------------------------------------------------

    def _account(self, stream: _Stream) -> None:
        """Keep the total of held bytes, and within its bound."""
        held = 0
        if self._knows(stream):
            held = stream.framer.held + stream.sequence.held
            if stream.stray is not None:
                held += SEGMENT_COST + len(stream.stray.data)
        if held == stream.held:
            return
        self._held += held - stream.held
        if not stream.established:
            self._held_by_newcomers += held - stream.held
        stream.held = held
        self._put(stream)
        self._keep_bounds()

    def _put(self, stream: _Stream) -> None:
        """Note what a stream costs, for the account of its source."""
        key = stream.key
        if not stream.established:
            self._newcomers.put(
                key[0][0],
                key,
                _NEWCOMER_COST + stream.held,
                worth=Worth.WANTED if stream.probe is None else stream.probe.worth,
                trusted=(key[1], key[0]) in self._streams,
            )
        elif stream.held:
            self._holding.put(key[0][0], key, stream.held)
        else:
            self._holding.drop(key[0][0], key)

    def _keep_bounds(self) -> None:
        limits = self.limits
        while self._held_by_newcomers > limits.size // 2:
            self._evict(self._probes[self._newcomers.next_to_go()[1]])
        while self._held > limits.size:
            self._evict(self._streams[self._holding.next_to_go()[1]])

    def _table(self, stream: _Stream) -> dict[_Key, _Stream]:
        return self._streams if stream.established else self._probes

    def _knows(self, stream: _Stream) -> bool:
        return self._table(stream).get(stream.key) is stream

    def _evict(self, stream: _Stream) -> None:
        self.counts.evicted_streams += 1
        self.counts.evicted_bytes += stream.framer.held + stream.sequence.held
        self._forget(stream)

    def _forget(self, stream: _Stream) -> None:
        stream.framer.close()
        stream.sequence.clear()
        stream.stray = None
        if self._knows(stream):
            owed = self._holding if stream.established else self._newcomers
            owed.drop(stream.key[0][0], stream.key)
            if not stream.established:
                self._held_by_newcomers -= stream.held
            self._held -= stream.held
            del self._table(stream)[stream.key]
        stream.held = 0
        self._stop_clock(stream)

    def _forget_idle(self, now: float) -> None:
        limits = self.limits
        for table, seconds in (
            (self._streams, limits.idle_seconds),
            (self._probes, limits.probe_seconds),
        ):
            while table:
                stream = next(iter(table.values()))
                if now - stream.time <= seconds:
                    break
                self._forget(stream)
