"""What is in a block of the ring: packets one after the other, read in place.

The usual packet, Ethernet or bare IP with IPv4 and UDP, is told by its bytes at fixed offsets and
goes to the decoder without being cut out of the ring; all others are copied, get back the VLAN tag
that the kernel took off, and go the general way. Layouts are those of linux/if_packet.h.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

from sipwatch.capture.clock import PacketClock
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.linktypes import ETHERNET, IPV4, IPV6, LINUX_SLL, RAW, VLAN, VLAN_TAGS
from sipwatch.net.recognise import KIND, MEDIA
from sipwatch.net.types import Batch

# struct tpacket_block_desc: number of packets and offset of the first.
_block = struct.Struct("=12xII").unpack_from
# struct tpacket3_hdr: offset of the next, seconds, nanoseconds, bytes kept, bytes on the wire,
# status, offset of the packet.
_header = struct.Struct("=IIIIIIH").unpack_from
# The same header: tag and its type, which are valid as the status says.
_tag = struct.Struct("=32xIH").unpack_from
# struct sockaddr_ll behind the header: protocol in network order, index of the interface.
_protocol = struct.Struct(">50xH").unpack_from
_index = struct.Struct("=52xi").unpack_from
# From the Ethernet type on: type, version and header length, fragment word, protocol, and the
# first byte of a UDP payload behind 20 bytes of IP.
_usual = struct.Struct(">HB5xHxB18xB").unpack_from
_vlan = struct.Struct(">HH").pack

_USUAL_BYTES = 29
_PLAIN_VERSION = 0x45
_FRAGMENT = 0x3FFF
_UDP = 17

_VLAN_VALID, _VLAN_TYPE_VALID = 0x10, 0x40
#: Header of a Linux cooked capture up to the protocol, with nothing in it.
_SLL = bytes(14)
#: Ethernet header with two VLAN tags: no packet within the MTU is longer than both together.
LONGEST_LINK_HEADER = 22


class Origin(NamedTuple):
    """Where packets come from."""

    name: str
    #: No packet of this interface is longer, unless an offload joined several.
    longest: int


@dataclass(slots=True)
class BlockCounts:
    """What was read from a ring; times are epoch seconds, 0 before the first packet."""

    packets: int = 0
    #: Packets of which only the beginning was kept.
    snapped: int = 0
    #: Packets longer than the MTU: several that GRO, LRO or TSO made one.
    inflated: int = 0
    first_time: float = 0.0
    last_time: float = 0.0


class BlockReader:
    """Reads the blocks of one ring.

    ``origin`` is the interface of all packets; ``None`` for a ring that hears all interfaces, whose
    packets are then looked up in ``origins`` by index. Packets are numbered within the ring.
    """

    def __init__(
        self,
        decoder: FrameDecoder,
        origin: Origin | None,
        origins: Mapping[int, Origin],
        clock: PacketClock,
        *,
        cooked: bool,
    ) -> None:
        self.counts = BlockCounts()
        self.origin = origin
        self._origins = origins
        self._clock = clock
        self._decoder = decoder
        self._cooked = cooked

    def read(self, memory: mmap.mmap, block: int, found: Batch) -> None:
        """Adds to ``found`` what the block at offset ``block`` of ``memory`` holds."""
        # A memory map unpacks and slices, to bytes, as bytes do.
        data = cast(bytes, memory)
        packets, first = _block(data, block)
        counts, origins, cooked = self.counts, self._origins, self._cooked
        whole = _cooked_frame if cooked else _ethernet_frame
        shift, uncertain, steady = self._clock.shift, self._clock.is_uncertain, self._clock.steady
        shared = self.origin is None
        name, longest = self.origin or _NOWHERE
        link = 0 if cooked else 14
        least = link + _USUAL_BYTES
        decoder, plain, kinds = self._decoder, self._decoder.plain, KIND
        number = before = counts.packets
        media = 0
        position = block + first
        time = counts.last_time
        for number in range(before + 1, before + packets + 1):
            following, seconds, fraction, kept, length, status, offset = _header(data, position)
            start = position + offset
            time = seconds + fraction * 1e-9 + shift
            if uncertain:
                time = steady(seconds + fraction * 1e-9)
            if shared:
                name, longest = origins[_index(data, position)[0]]
            if length > longest:
                counts.inflated += 1
            network = start + link
            # Before a bare IP header stand two bytes that mean nothing; the filter has looked.
            kind, version, fragment, protocol, payload = (
                _usual(data, network - 2) if kept >= least else _TOO_SHORT
            )
            if (
                protocol == _UDP
                and version == _PLAIN_VERSION
                and (kind == IPV4 or cooked)
                and not fragment & _FRAGMENT
                and kept == length
            ):
                if kinds[payload] == MEDIA:
                    media += 1
                else:
                    plain(time, data, network, start + kept, name, number, found)
            else:
                if kept < length:
                    counts.snapped += 1
                frame, linktype = whole(data, position, start, kept, status)
                found += decoder.decode(time, frame, linktype, name, number)
            position += following
        decoder.counts.udp_other += media
        if packets:
            if not before:
                _, seconds, fraction, *_ = _header(data, block + first)
                counts.first_time = steady(seconds + fraction * 1e-9)
            counts.packets = number
            counts.last_time = time


def _ethernet_frame(
    data: bytes, position: int, start: int, kept: int, status: int
) -> tuple[bytes, int]:
    """The frame, with the VLAN tag that the kernel keeps apart where it was on the wire."""
    end = start + kept
    if not status & _VLAN_VALID:
        return data[start:end], ETHERNET
    tag, kind = _tag(data, position)
    if not status & _VLAN_TYPE_VALID:
        kind = VLAN
    addresses = start + 12
    return data[start:addresses] + _vlan(kind, tag & 0xFFFF) + data[addresses:end], ETHERNET


def _cooked_frame(
    data: bytes, position: int, start: int, kept: int, status: int
) -> tuple[bytes, int]:
    """The packet as it is, or behind a header that says what it begins with.

    A received packet with two VLAN tags begins with the inner one. Kernels before 6.11 name the
    tag as its protocol then, later ones what is inside of it, so the bytes must tell.
    """
    packet = data[start : start + kept]
    protocol = _protocol(data, position)[0]
    if protocol not in (IPV4, IPV6) and protocol not in VLAN_TAGS:
        return _SLL + protocol.to_bytes(2, "big") + packet, LINUX_SLL
    if _begins_with_ip(packet, _header(data, position)[4]):
        return packet, RAW
    return _SLL + VLAN.to_bytes(2, "big") + packet, LINUX_SLL


def _begins_with_ip(packet: bytes, length: int) -> bool:
    """Whether an IP header is here, and not a VLAN tag whose bits look like its version.

    Where the length would be, a tag has an Ethernet type, or what follows it: larger numbers.
    """
    if len(packet) < 20:
        return False
    version = packet[0] >> 4
    if version == 4:
        return int.from_bytes(packet[2:4], "big") <= length
    return version == 6 and int.from_bytes(packet[4:6], "big") <= length


#: Not the usual packet: cut before the first byte of a payload.
_TOO_SHORT = (0, 0, 0, 0, 0)
_NOWHERE = Origin("", 0)
