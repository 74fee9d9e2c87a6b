"""Joins the decoders of streams, fragments, tunnels and mirrors to the way of the packets.

Each of those decoders knows its own protocol and nothing else; the small classes here give them
what they ask for out of a packet, and send on what they find. Most captures need none of them:
a decoder is loaded with the first packet that is for it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar, Protocol

from sipwatch.net import ip, linktypes, recognise, tunnels
from sipwatch.net.dispatch import Dispatch
from sipwatch.net.packet import Decode, Layer, Malformed, Packet
from sipwatch.net.types import Batch, Datagram, Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sipwatch.net.fragments import Cut, Reassembler
    from sipwatch.net.hep import HepPacket
    from sipwatch.net.sctp import Associations
    from sipwatch.net.tcp import Streams

_tcp_header = Struct(">HHIIBB").unpack_from


class Carrier(Protocol):
    """A decoder that may hold something back."""

    def set_ports(self, ports: frozenset[int]) -> None:
        """Takes note of where SIP is expected."""

    def advance(self, now: float) -> Batch:
        """What has waited long enough."""

    def finish(self) -> Batch:
        """What is left at the end."""


class _Deltas:
    """What a decoder's own counters have grown by since the last look."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def since(self, now: dict[str, int]) -> dict[str, int]:
        if now == self._before:
            return {}
        before, self._before = self._before, now
        return {name: by for name in now if (by := now[name] - before.get(name, 0))}


def _begins_sip(protocol: int, beginning: bytes) -> bool:
    """Whether a datagram that begins with these bytes is SIP on UDP."""
    return protocol == ip.UDP and recognise.start_of(beginning[8:]) >= 0


class Fragments:
    """IP fragments."""

    #: Counters of the reassembly that tell of what nobody will read, and their reasons.
    _LOST: ClassVar[dict[str, str]] = {
        "partial": "only the first one was captured",
        "timed_out": "not all were captured",
        "evicted": "too many at once",
        "source_full": "too many at once of one source",
        "too_many_fragments": "too many of one datagram",
        "out_of_bounds": "impossible place in the datagram",
        "conflicting_length": "lengths that contradict each other",
    }

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._reassembler: Reassembler | None = None
        self._deltas = _Deltas()
        dispatch.reassemble = self._receive

    def set_ports(self, ports: frozenset[int]) -> None:
        """Fragments have no ports."""

    def _receive(self, packet: Packet, header: ip.Header) -> None:
        if self._reassembler is None:
            from sipwatch.net.fragments import Reassembler

            self._reassembler = Reassembler(is_wanted=_begins_sip)
        data = packet.data[header.start : header.end]
        whole = self._reassembler.receive(
            packet.time,
            header.source,
            header.destination,
            header.protocol,
            header.ident,
            header.fragment_offset,
            header.more_fragments,
            data,
            len(data) + header.missing,
            (packet.interface, packet.number),
        )
        if whole is not None:
            packet.data, packet.missing = whole.payload, 0
            self._dispatch.transport(packet, whole.protocol, 0, len(whole.payload))

    def advance(self, now: float) -> Batch:
        """What has waited long enough."""
        held = self._reassembler
        return [] if held is None else self._cut(held, held.advance(now))

    def finish(self) -> Batch:
        """What is left at the end."""
        held = self._reassembler
        return [] if held is None else self._cut(held, held.finish())

    def _cut(self, held: Reassembler, cuts: list[Cut]) -> Batch:
        found: Batch = []
        for cut in cuts:
            interface, number = cut.tag if isinstance(cut.tag, tuple) else ("", 0)
            packet = Packet(cut.time, cut.payload, interface, number)
            packet.source, packet.destination = cut.source, cut.destination
            packet.ip_id = cut.ident if len(cut.source) == 4 else -1
            self._dispatch.guarded(self._transport(cut.protocol), packet)
            found += packet.found
        grown = self._deltas.since(held.stats())
        self._dispatch.counts.not_decoded.update(
            {
                ("fragments", self._LOST[name]): by
                for name, by in grown.items()
                if name in self._LOST
            }
        )
        return found

    def _transport(self, protocol: int) -> Decode:
        return lambda packet, start, end: self._dispatch.transport(packet, protocol, start, end)


class Tcp:
    """SIP over TCP and over WebSocket, and HEP of agents to their collectors."""

    #: Counters of the streams that tell of messages that nobody will read, and their reasons.
    _LOST: ClassVar[dict[str, str]] = {
        "gaps": "gaps in streams",
        "damaged": "messages with a gap",
        "oversized": "messages too long",
        "unfinished": "messages without an end",
        "compressed": "compressed WebSocket messages",
        "evicted_streams": "too many streams at once",
    }

    def __init__(self, dispatch: Dispatch, ports: frozenset[int]) -> None:
        self._dispatch = dispatch
        self._ports = ports
        self._streams: Streams | None = None
        self._deltas = _Deltas()
        dispatch.protocols[ip.TCP] = Layer("TCP", self._receive)

    def set_ports(self, ports: frozenset[int]) -> None:
        """Takes note of where SIP is expected."""
        self._ports = ports
        if self._streams is not None:
            self._streams.ports = ports

    def _receive(self, packet: Packet, start: int, end: int) -> None:
        packet.layer = "tcp"
        data = packet.data
        source, destination, sequence, acknowledged, offset, flags = _tcp_header(data, start)
        payload = start + (offset >> 4) * 4
        if payload < start + 20 or payload > end:
            raise Malformed("header length")
        self.segment(
            packet.time,
            (packet.source, source),
            (packet.destination, destination),
            sequence,
            acknowledged,
            flags,
            data[payload:end],
            packet.interface,
            packet.number,
            packet.missing,
            packet.found,
        )

    def segment(
        self,
        time: float,
        source: Endpoint,
        destination: Endpoint,
        sequence: int,
        acknowledged: int,
        flags: int,
        payload: bytes,
        interface: str,
        number: int,
        missing: int,
        found: Batch,
    ) -> None:
        """Takes one segment; ``found`` gets the messages that it completes."""
        streams = self._streams
        if streams is None:
            from sipwatch.net.tcp import Streams

            streams = self._streams = Streams(ports=self._ports)
        messages = streams.receive(
            time,
            source,
            destination,
            sequence,
            acknowledged,
            flags,
            payload,
            interface,
            number,
            missing,
        )
        counts = self._dispatch.counts
        if messages:
            if messages[0].transport == "HEP":
                messages = self._mirrored(messages)
            counts.sip_datagrams += len(messages)
            found.extend(messages)
        elif payload and recognise.is_tls(payload):
            counts.tls[self._server_port(source[1], destination[1])] += 1
        else:
            counts.tcp_other += 1

    def _mirrored(self, messages: Sequence[Datagram]) -> list[Datagram]:
        """What an agent's packets hold in the place of those packets."""
        found: list[Datagram] = []
        for one in messages:
            if one.transport != "HEP":
                found.append(one)
                continue
            inner = _mirrored(one.payload)
            if inner is None:
                self._dispatch.counts.tcp_other += 1
            else:
                packet, payload = inner
                found.append(
                    one._replace(
                        source=packet.source,
                        destination=packet.destination,
                        transport=packet.transport,
                        payload=payload,
                    )
                )
        return found

    def _server_port(self, source: int, destination: int) -> int:
        """Which of two ports is the well-known one."""
        if source in self._ports:
            return source
        return destination if destination in self._ports else min(source, destination)

    def advance(self, now: float) -> Batch:
        """What has waited long enough."""
        held = self._streams
        return [] if held is None else self._late(held, held.advance(now))

    def finish(self) -> Batch:
        """What is left at the end."""
        held = self._streams
        return [] if held is None else self._late(held, held.finish())

    def _late(self, held: Streams, found: list[Datagram]) -> Batch:
        counts = self._dispatch.counts
        found = self._mirrored(found)
        counts.sip_datagrams += len(found)
        grown = self._deltas.since({name: getattr(held.counts, name) for name in self._LOST})
        counts.not_decoded.update({("tcp", self._LOST[name]): by for name, by in grown.items()})
        counts.tls_connections = held.tls
        return [*found]


class Sctp:
    """SIP over SCTP."""

    #: Counters of the associations that tell of what nobody will read, and their reasons.
    _LOST: ClassVar[dict[str, str]] = {
        "cut": "chunks cut short",
        "unfinished": "chunks of messages not complete",
        "interleaved": "interleaved chunks (I-DATA)",
        "evicted": "too many associations at once",
    }

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._associations: Associations | None = None
        self._deltas = _Deltas()
        dispatch.protocols[ip.SCTP] = Layer("SCTP", self._receive)

    def _receive(self, packet: Packet, start: int, end: int) -> None:
        packet.layer = "sctp"
        if self._associations is None:
            from sipwatch.net.sctp import Associations

            self._associations = Associations()
        other = True
        for message in self._associations.receive(packet.data[start:end]):
            offset = recognise.start_of(message.payload)
            if offset >= 0:
                other = False
                self._dispatch.found(
                    packet,
                    "SCTP",
                    message.source_port,
                    message.destination_port,
                    message.payload[offset:],
                )
        self._dispatch.counts.ip_other += other

    def set_ports(self, ports: frozenset[int]) -> None:
        """SIP is known by its content."""

    def advance(self, now: float) -> Batch:
        """Nothing waits for time to pass; the losses are counted."""
        held = self._associations
        grown = {} if held is None else self._deltas.since(held.stats())
        self._dispatch.counts.not_decoded.update(
            {("sctp", self._LOST[name]): by for name, by in grown.items() if name in self._LOST}
        )
        return []

    def finish(self) -> Batch:
        """What is not complete at the end stays unread."""
        if self._associations is not None:
            self._associations.finish()
        return self.advance(0.0)


class Mirrors:
    """Packets that a HEP agent sends to its collector, seen on the way."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        dispatch.inspections.append(self._receive)

    def _receive(self, packet: Packet, start: int, end: int) -> bool:
        data = packet.data
        if data[start] not in b"H\x01\x02":
            return False
        from sipwatch.net import hep

        try:
            mirrored = hep.decode(data[start:end])
        except hep.HepError:
            return False
        offset = recognise.start_of(mirrored.payload)
        if offset < 0:
            self._dispatch.counts.udp_other += 1
            return True
        packet.source, source_port = mirrored.source
        packet.destination, destination_port = mirrored.destination
        packet.ip_id = -1
        payload = mirrored.payload[offset:]
        self._dispatch.found(packet, mirrored.transport, source_port, destination_port, payload)
        return True


def _mirrored(data: bytes) -> tuple[HepPacket, bytes] | None:
    """A packet of an agent and the SIP message in it, None when there is none."""
    from sipwatch.net import hep

    try:
        packet = hep.decode(data)
    except hep.HepError:
        return None
    offset = recognise.start_of(packet.payload)
    return None if offset < 0 else (packet, packet.payload[offset:])


class Tunnels:
    """What has other packets inside, of whatever depth."""

    #: Refusals that leave us blind; the others tell of signalling, or of another protocol.
    _BLIND = frozenset({"encrypted", "compressed", "gre_routing", "cut"})

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._inner: dict[str, Decode] = {
            "ipv4": dispatch.ip,
            "ipv6": dispatch.ip,
            "ethernet": self._ethernet,
            "tcp": self._transport(ip.TCP),
            "udp": self._transport(ip.UDP),
            "sctp": self._transport(ip.SCTP),
        }
        for registry, entries in (
            (dispatch.ethertypes, tunnels.BY_ETHERTYPE),
            (dispatch.protocols, tunnels.BY_IP_PROTOCOL),
            (dispatch.udp_ports, tunnels.BY_UDP_PORT),
        ):
            for number, tunnel in entries.items():
                registry[number] = Layer(tunnel.name, self._unwrap(tunnel))

    def _unwrap(self, tunnel: tunnels.Tunnel) -> Decode:
        def unwrap(packet: Packet, start: int, end: int) -> None:
            packet.layer = "tunnel"
            self._dispatch.enter(packet)
            try:
                inner = tunnel.decode(packet.data, start, end)
            except tunnels.Refused as refusal:
                self._refused(tunnel, refusal.reason)
            else:
                self._inner[inner.kind](packet, inner.offset, inner.end)

        return unwrap

    def _refused(self, tunnel: tunnels.Tunnel, reason: str) -> None:
        counts = self._dispatch.counts
        if reason in self._BLIND:
            counts.not_decoded["tunnel", f"{tunnel.name}: {reason}"] += 1
        else:
            counts.tunnel_other[tunnel.name, reason] += 1

    def _ethernet(self, packet: Packet, start: int, end: int) -> None:
        ethertype, offset = linktypes.ethernet(packet.data, start)
        self._dispatch.frame(packet, ethertype, offset, end)

    def _transport(self, protocol: int) -> Decode:
        return lambda packet, start, end: self._dispatch.transport(packet, protocol, start, end)
