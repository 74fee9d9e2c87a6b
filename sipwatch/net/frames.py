"""From frames to datagrams.

Two ways lead through. :meth:`FrameDecoder.plain` takes what a reader has already found to be
IPv4 without options and UDP, at known offsets: nearly everything. :meth:`FrameDecoder.decode`
takes any frame and goes from layer to layer (:mod:`sipwatch.net.dispatch`).
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import TypeAlias

from sipwatch.net import carriers, exported, linktypes, recognise
from sipwatch.net.dispatch import SIP_PORTS, Dispatch
from sipwatch.net.packet import Malformed, Packet
from sipwatch.net.types import Batch, Datagram, Endpoint

# Flows whose endpoints are kept; past that all are forgotten and found again.
_MAX_FLOWS = 65_536

_Flow: TypeAlias = tuple[Endpoint, Endpoint]

# Of an IPv4 header of 20 bytes and the UDP header behind it: total length, identification, and
# UDP length with the checksum in the low half.
_lengths = Struct(">2xHH18xI").unpack_from
# Of the same with TCP: total length, sequence, acknowledgement, header length, flags.
_segment = Struct(">2xH20xIIBB").unpack_from
_ports = Struct(">HH").unpack_from

# Bound here because they are looked up for every SIP packet.
_STATUS_START, _REQUEST_STARTS, _VERSION = (
    recognise.STATUS_START,
    recognise.REQUEST_STARTS,
    recognise.VERSION,
)
_new = tuple.__new__


class FrameDecoder(Dispatch):
    """Turns frames into datagrams and counts what it could not.

    One decoder serves all the interfaces or files that are read as one stream of packets: what
    is put together from pieces may cross from one file of a rotating set to the next.
    """

    def __init__(self, *, ports: frozenset[int] = SIP_PORTS) -> None:
        super().__init__()
        self._flows: dict[bytes, _Flow] = {}
        self._ports = ports
        carriers.Tunnels(self)
        carriers.Mirrors(self)
        self._tcp = carriers.Tcp(self, ports)
        #: Those that hold something back.
        self._carriers: tuple[carriers.Carrier, ...] = (
            carriers.Fragments(self),
            self._tcp,
            carriers.Sctp(self),
        )

    @property
    def ports(self) -> frozenset[int]:
        """Where SIP is expected; it is recognised by content on all others as well."""
        return self._ports

    @ports.setter
    def ports(self, ports: frozenset[int]) -> None:
        self._ports = ports
        for carrier in self._carriers:
            carrier.set_ports(ports)

    def advance(self, now: float) -> Batch:
        """What waited for more and has waited long enough at ``now``, in epoch seconds."""
        return [one for carrier in self._carriers for one in carrier.advance(now)]

    def finish(self) -> Batch:
        """What still waits for more when the input has ended."""
        return [one for carrier in self._carriers for one in carrier.finish()]

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
            if head == _STATUS_START or (head in _REQUEST_STARTS and payload.find(_VERSION) >= 0):
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
        self.guarded(self.ip, packet)
        found += packet.found

    def segment(
        self,
        time: float,
        data: bytes,
        start: int,
        end: int,
        interface: str,
        number: int,
        found: Batch,
    ) -> None:
        """The same as :meth:`plain` for TCP."""
        total, sequence, acknowledged, offset, flags = _segment(data, start)
        stop = start + total
        payload = start + 20 + (offset >> 4) * 4
        if stop <= end and start + 40 <= payload <= stop:
            key = data[start + 12 : start + 24]
            source, destination = self._flows.get(key) or self._learn(key)
            self._tcp.segment(
                time,
                source,
                destination,
                sequence,
                acknowledged,
                flags,
                data[payload:stop],
                interface,
                number,
                0,
                found,
            )
        else:
            packet = Packet(time, data[start:end], interface, number)
            self.guarded(self.ip, packet)
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
        if linktype == linktypes.EXPORTED_PDU:
            self.guarded(self._exported, packet)
            return packet.found
        link = linktypes.LINKS.get(linktype)
        if link is None:
            self.counts.not_decoded["link", linktypes.name(linktype)] += 1
            return packet.found
        try:
            ethertype, start = link(frame)
            self.frame(packet, ethertype, start, len(frame))
        except Malformed as error:
            self.counts.malformed[packet.layer, str(error)] += 1
        except (struct.error, IndexError):
            self.counts.malformed[packet.layer, "too short"] += 1
        return packet.found

    def _exported(self, packet: Packet, start: int, end: int) -> None:
        """A message that Wireshark took out of its packets, after decryption for instance."""
        pdu = exported.parse(packet.data)
        offset = recognise.start_of(pdu.payload)
        if offset < 0:
            self.counts.udp_other += 1
            return
        packet.source, packet.destination = pdu.source[0], pdu.destination[0]
        self.found(packet, pdu.transport, pdu.source[1], pdu.destination[1], pdu.payload[offset:])
