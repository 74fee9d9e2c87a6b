"""From frames to datagrams: the way of a packet through the layers.

Two ways lead through. :meth:`FrameDecoder.plain` takes what a reader has already found to be
IPv4 without options and UDP, at known offsets: nearly everything. :meth:`FrameDecoder.decode`
takes any frame and goes from layer to layer by three registries: ethertypes, IP protocols and
UDP ports. A decoder of one more protocol is one more entry; what has an entry without a decoder
is counted by name, because SIP may hide in it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import TypeAlias

from sipwatch.net import icmp, ip, linktypes, recognise
from sipwatch.net.counts import NetCounts
from sipwatch.net.packet import Layer, Malformed, Packet
from sipwatch.net.types import Batch, Datagram, Endpoint

#: SIP, SIP over TLS, and the second port of many PBXs.
SIP_PORTS = frozenset({5060, 5061, 5080})

#: Network headers inside one another; deeper is no tunnel but a trap.
MAX_DEPTH = 8

# Flows whose endpoints are kept; past that all are forgotten and found again.
_MAX_FLOWS = 65_536

_Flow: TypeAlias = tuple[Endpoint, Endpoint]

#: Takes a fragment, and calls ``transport`` with the whole datagram when it has all of it.
Reassemble: TypeAlias = Callable[[Packet, ip.Header], None]

# Of an IPv4 header of 20 bytes and the UDP header behind it: total length, identification, and
# UDP length with the checksum in the low half.
_lengths = Struct(">2xHH18xI").unpack_from
_ports = Struct(">HH").unpack_from
_udp_header = Struct(">HHHH").unpack_from
_tcp_header = Struct(">HH8xB").unpack_from

# Bound here because they are looked up for every SIP packet.
_STATUS_START, _REQUEST_STARTS, _VERSION = (
    recognise.STATUS_START,
    recognise.REQUEST_STARTS,
    recognise.VERSION,
)
_new = tuple.__new__


class FrameDecoder:
    """Turns frames into datagrams and counts what it could not.

    One decoder serves all the interfaces or files that are read as one stream of packets: what
    is put together from pieces may cross from one file of a rotating set to the next.
    """

    def __init__(self, *, ports: frozenset[int] = SIP_PORTS) -> None:
        #: Where SIP is expected; SIP is recognised by content on all others as well.
        self.ports = ports
        self.counts = NetCounts()
        self.ethertypes: dict[int, Layer] = {
            linktypes.IPV4: Layer("IPv4", self._ip),
            linktypes.IPV6: Layer("IPv6", self._ip),
            0x8847: Layer("MPLS", None),
            0x8848: Layer("MPLS", None),
            0x8864: Layer("PPPoE", None),
            0x88E5: Layer("MACsec", None),
        }
        self.protocols: dict[int, Layer] = {
            ip.ICMP: Layer("ICMP", self._icmp),
            ip.IPV4: Layer("IP in IP", None),
            ip.TCP: Layer("TCP", self._tcp),
            ip.UDP: Layer("UDP", self.udp),
            ip.IPV6: Layer("6in4", None),
            ip.GRE: Layer("GRE", None),
            ip.ESP: Layer("ESP", None),
            ip.AH: Layer("AH", self._authentication_header),
            ip.ICMPV6: Layer("ICMPv6", self._icmpv6),
            ip.L2TP: Layer("L2TPv3", None),
            ip.SCTP: Layer("SCTP", None),
        }
        self.udp_ports: dict[int, Layer] = {
            1701: Layer("L2TP", None),
            2152: Layer("GTP-U", None),
            4500: Layer("ESP in UDP", None),
            4789: Layer("VXLAN", None),
            6081: Layer("Geneve", None),
        }

        #: Takes a part of a datagram; without one, fragments are counted as not decoded.
        self.reassemble: Reassemble | None = None
        self._flows: dict[bytes, _Flow] = {}

    def layers(self) -> list[tuple[str, int, str, bool]]:
        """All entries of the registries: where, number, name, and whether it is decoded."""
        registries = (
            ("ethertype", self.ethertypes),
            ("IP protocol", self.protocols),
            ("UDP port", self.udp_ports),
        )
        return [
            (where, number, layer.name, layer.decode is not None)
            for where, registry in registries
            for number, layer in sorted(registry.items())
        ]

    def advance(self, now: float) -> Batch:
        """What waited for more and has waited long enough at ``now``, in epoch seconds."""
        return []

    def finish(self) -> Batch:
        """What still waits for more when the input has ended."""
        return []

    # The fast way

    def plain(
        self,
        time: float,
        data: bytes,
        start: int,
        end: int,
        interface: str,
        number: int,
        found: Batch,
    ) -> None:
        """Adds to ``found`` what the packet whose IPv4 header is at ``start`` holds.

        ``end`` is where the frame ends in ``data``. The caller has looked at version, header
        length (20 bytes), fragment word and protocol (UDP). Lengths that contradict each other
        and payloads that do not begin as usual are left to the general way.
        """
        total, ident, check = _lengths(data, start)
        # The high half is the UDP length; 20 bytes of IP stand before it.
        length = 20 + (check >> 16)
        stop = start + length
        if stop <= end and length >= 28 and (total >= length or not total):
            payload = data[start + 28 : stop]
            head = payload[:4]
            if head == _STATUS_START or (head in _REQUEST_STARTS and _VERSION in payload):
                self.counts.sip_datagrams += 1
                key = data[start + 12 : start + 24]
                source, destination = self._flows.get(key) or self._learn(key)
                found.append(
                    _new(
                        Datagram,
                        (
                            time,
                            source,
                            destination,
                            "UDP",
                            payload,
                            interface,
                            number,
                            ident,
                            check,
                        ),
                    )
                )
                return
        packet = Packet(time, data[start:end], interface, number)
        self._guarded(self._datagram, packet, len(packet.data))
        found += packet.found

    def _learn(self, key: bytes) -> _Flow:
        """Endpoints of a flow from the addresses and ports as they stand in the packet."""
        if len(self._flows) >= _MAX_FLOWS:
            self._flows.clear()
        half = (len(key) - 4) // 2
        source_port, destination_port = _ports(key, 2 * half)
        flow = (key[:half], source_port), (key[half : 2 * half], destination_port)
        self._flows[key] = flow
        return flow

    # The general way

    def decode(
        self, time: float, frame: bytes, linktype: int, interface: str, number: int
    ) -> Batch:
        """What a frame of any kind holds; nothing on the wire makes it raise.

        ``time`` is in epoch seconds, ``number`` counts packets from 1 within ``interface``.
        """
        packet = Packet(time, frame, interface, number)
        link = linktypes.LINKS.get(linktype)
        if link is None:
            self.counts.not_decoded["link", linktypes.name(linktype)] += 1
            return packet.found
        self._guarded(self._link, packet, linktype)
        return packet.found

    def _guarded(self, step: Callable[[Packet, int], None], packet: Packet, argument: int) -> None:
        try:
            step(packet, argument)
        except Malformed as error:
            self.counts.malformed[packet.layer, str(error)] += 1
        except (struct.error, IndexError):
            self.counts.malformed[packet.layer, "too short"] += 1

    def _datagram(self, packet: Packet, end: int) -> None:
        self._ip(packet, 0, end)

    def _link(self, packet: Packet, linktype: int) -> None:
        ethertype, start = linktypes.LINKS[linktype](packet.data)
        self.frame(packet, ethertype, start, len(packet.data))

    def frame(self, packet: Packet, ethertype: int, start: int, end: int) -> None:
        """Passes on what stands behind an ethertype; tunnels of frames come back here."""
        layer = self.ethertypes.get(ethertype)
        if layer is None:
            self.counts.not_ip += 1
        elif layer.decode is None:
            self.counts.not_decoded["link", layer.name] += 1
        else:
            layer.decode(packet, start, end)

    def _ip(self, packet: Packet, start: int, end: int) -> None:
        """An IP header of either version; tunnels of IP come back here."""
        packet.layer = "ip"
        packet.depth += 1
        if packet.depth > MAX_DEPTH:
            raise Malformed("too many headers")
        header = ip.parse(packet.data, start, end)
        packet.source, packet.destination = header.source, header.destination
        packet.ip_id = header.ident if len(header.source) == 4 else -1
        if not header.is_fragment:
            self.transport(packet, header.protocol, header.start, header.end)
        elif self.reassemble is None:
            self.counts.not_decoded["ip", "fragment"] += 1
        else:
            self.reassemble(packet, header)

    def transport(self, packet: Packet, protocol: int, start: int, end: int) -> None:
        """Passes on the payload of an IP packet, or what was put together from fragments."""
        layer = self.protocols.get(protocol)
        if layer is None:
            self.counts.ip_other += 1
        elif layer.decode is None:
            self.counts.not_decoded["ip", layer.name] += 1
        else:
            layer.decode(packet, start, end)

    def _authentication_header(self, packet: Packet, start: int, end: int) -> None:
        """RFC 4302: steps over it, in IPv4; in IPv6 it is one of the extension headers."""
        protocol, size = packet.data[start], packet.data[start + 1]
        self.transport(packet, protocol, start + (size + 2) * 4, end)

    def _icmp(self, packet: Packet, start: int, end: int) -> None:
        self._unreachable(packet, start, end, 4)

    def _icmpv6(self, packet: Packet, start: int, end: int) -> None:
        self._unreachable(packet, start, end, 6)

    def _unreachable(self, packet: Packet, start: int, end: int, version: int) -> None:
        packet.layer = "icmp"
        report = icmp.unreachable(packet, start, end, version=version)
        if report is None:
            self.counts.ip_other += 1
        else:
            self.counts.unreachables += 1
            packet.found.append(report)

    def udp(self, packet: Packet, start: int, end: int) -> None:
        """UDP (RFC 768): SIP on any port, tunnels by their port."""
        packet.layer = "udp"
        data = packet.data
        source_port, destination_port, length, checksum = _udp_header(data, start)
        payload = start + 8
        # Zero: segmentation left to the card, or a jumbogram (RFC 2675 section 4).
        if length:
            if length < 8:
                raise Malformed("length")
            end = min(end, start + length)
        if payload >= end:
            self.counts.keep_alives += 1
            return
        kind = recognise.KIND[data[payload]]
        if kind == recognise.MEDIA:
            self.counts.udp_other += 1
            return
        text = data[payload:end]
        offset = recognise.start_of(text)
        if offset < 0:
            self._not_sip(packet, text, payload, end, source_port, destination_port)
            return
        self.counts.sip_datagrams += 1
        packet.found.append(
            Datagram(
                packet.time,
                (packet.source, source_port),
                (packet.destination, destination_port),
                "UDP",
                text[offset:],
                packet.interface,
                packet.number,
                packet.ip_id,
                length << 16 | checksum,
            )
        )

    def _not_sip(
        self, packet: Packet, text: bytes, start: int, end: int, source: int, destination: int
    ) -> None:
        layer = self.udp_ports.get(destination) or self.udp_ports.get(source)
        if layer is not None:
            if layer.decode is None:
                self.counts.not_decoded["udp", layer.name] += 1
            else:
                layer.decode(packet, start, end)
        elif recognise.is_keep_alive(text):
            self.counts.keep_alives += 1
        else:
            self.counts.udp_other += 1

    def _tcp(self, packet: Packet, start: int, end: int) -> None:
        """TCP without reassembly: says what is in the segment, and that it was not read."""
        packet.layer = "tcp"
        data = packet.data
        source_port, destination_port, offset = _tcp_header(data, start)
        payload = start + (offset >> 4) * 4
        if payload < start + 20 or payload > end:
            raise Malformed("header length")
        if recognise.is_tls(data[payload : payload + 3]):
            self.counts.tls[self._server_port(source_port, destination_port)] += 1
        elif recognise.start_of(data[payload:end]) >= 0:
            self.counts.not_decoded["tcp", "SIP over TCP"] += 1
        else:
            self.counts.tcp_other += 1

    def _server_port(self, source: int, destination: int) -> int:
        """Which of two ports is the well-known one."""
        if source in self.ports:
            return source
        return destination if destination in self.ports else min(source, destination)
