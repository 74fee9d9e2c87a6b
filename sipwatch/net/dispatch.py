"""The way of a packet from layer to layer, by three registries.

Ethertypes, IP protocols and UDP ports each name a :class:`~sipwatch.net.packet.Layer`; a decoder
of one more protocol is one more entry, which :mod:`sipwatch.net.carriers` makes for all that is
not simply UDP in IP. What has an entry without a decoder is counted by name, because SIP may
hide in it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import TypeAlias

from sipwatch.net import icmp, ip, linktypes, recognise
from sipwatch.net.counts import NetCounts
from sipwatch.net.packet import Layer, Malformed, Packet
from sipwatch.net.types import Datagram

#: SIP, SIP over TLS, and the second port of many PBXs.
SIP_PORTS = frozenset({5060, 5061, 5080})

#: Headers and tunnels inside one another; deeper is no tunnel but a trap.
MAX_DEPTH = 32

#: Takes a fragment, and calls ``transport`` with the whole datagram when it has all of it.
Reassemble: TypeAlias = Callable[[Packet, ip.Header], None]
#: Looks into a UDP payload that is not SIP, by its content; whether it was its own.
Inspect: TypeAlias = Callable[[Packet, int, int], bool]

_udp_header = Struct(">HHHH").unpack_from


class Dispatch:
    """Passes packets from layer to layer, puts what is SIP into ``packet.found``, counts all."""

    def __init__(self) -> None:
        self.counts = NetCounts()
        self.ethertypes: dict[int, Layer] = {
            linktypes.IPV4: Layer("IPv4", self.ip),
            linktypes.IPV6: Layer("IPv6", self.ip),
            0x88E5: Layer("MACsec", None),
        }
        self.protocols: dict[int, Layer] = {
            ip.ICMP: Layer("ICMP", self._icmp),
            ip.UDP: Layer("UDP", self.udp),
            ip.AH: Layer("AH", self._authentication_header),
            ip.ICMPV6: Layer("ICMPv6", self._icmpv6),
        }
        # In the first bytes of what was put together from fragments of IPv6.
        for number in ip.EXTENSIONS:
            self.protocols[number] = Layer("IPv6 extension header", self._extension_header)
        self.udp_ports: dict[int, Layer] = {}
        #: Decoders of UDP payloads that are known by their content on any port.
        self.inspections: list[Inspect] = []
        #: Takes a part of a datagram; without one, fragments are counted as not decoded.
        self.reassemble: Reassemble | None = None

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

    def guarded(self, step: Callable[[Packet, int, int], None], packet: Packet) -> None:
        """Does one step on all of a packet's bytes; what makes no sense is counted."""
        try:
            step(packet, 0, len(packet.data))
        except Malformed as error:
            self.counts.malformed[packet.layer, str(error)] += 1
        except (struct.error, IndexError):
            self.counts.malformed[packet.layer, "too short"] += 1

    def enter(self, packet: Packet) -> None:
        """To be called for each header that may stand inside its own kind."""
        packet.depth += 1
        if packet.depth > MAX_DEPTH:
            raise Malformed("too many headers")

    def frame(self, packet: Packet, ethertype: int, start: int, end: int) -> None:
        """Passes on what stands behind an ethertype; tunnels of frames come back here."""
        layer = self.ethertypes.get(ethertype)
        if layer is None:
            self.counts.not_ip += 1
        elif layer.decode is None:
            self.counts.not_decoded["link", layer.name] += 1
        else:
            layer.decode(packet, start, end)

    def ip(self, packet: Packet, start: int, end: int) -> None:
        """An IP header of either version; tunnels of IP come back here."""
        packet.layer = "ip"
        self.enter(packet)
        header = ip.parse(packet.data, start, end)
        packet.source, packet.destination = header.source, header.destination
        packet.ip_id = header.ident if len(header.source) == 4 else -1
        packet.missing = header.missing
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
        self.enter(packet)
        protocol, size = packet.data[start], packet.data[start + 1]
        self.transport(packet, protocol, start + (size + 2) * 4, end)

    def _extension_header(self, packet: Packet, start: int, end: int) -> None:
        """RFC 8200 section 4: steps over one."""
        self.enter(packet)
        protocol, size = packet.data[start], packet.data[start + 1]
        self.transport(packet, protocol, start + (size + 1) * 8, end)

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
        self.found(
            packet, "UDP", source_port, destination_port, text[offset:], length << 16 | checksum
        )

    def found(
        self,
        packet: Packet,
        transport: str,
        source_port: int,
        destination_port: int,
        payload: bytes,
        udp_check: int = -1,
    ) -> None:
        """Hands on a SIP message that a packet holds."""
        self.counts.sip_datagrams += 1
        packet.found.append(
            Datagram(
                packet.time,
                (packet.source, source_port),
                (packet.destination, destination_port),
                transport,
                payload,
                packet.interface,
                packet.number,
                packet.ip_id,
                udp_check,
            )
        )

    def _not_sip(
        self, packet: Packet, text: bytes, start: int, end: int, source: int, destination: int
    ) -> None:
        if any(inspect(packet, start, end) for inspect in self.inspections):
            return
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
