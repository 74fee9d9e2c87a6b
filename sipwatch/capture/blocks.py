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

from sipwatch.net.frames import FrameDecoder
from sipwatch.net.linktypes import ETHERNET, IPV4, RAW
from sipwatch.net.recognise import KIND, MEDIA
from sipwatch.net.types import Batch

# struct tpacket_block_desc: number of packets and offset of the first.
_block = struct.Struct("=12xII").unpack_from
# struct tpacket3_hdr: offset of the next, seconds, nanoseconds, bytes kept, bytes on the wire,
# status, offset of the packet.
_header = struct.Struct("=IIIIIIH").unpack_from
# The same header: tag and its type, which are valid as the status says.
_tag = struct.Struct("=32xIH").unpack_from
# struct sockaddr_ll behind the header: index of the interface.
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
_VLAN_TYPE = 0x8100
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
        *,
        cooked: bool,
    ) -> None:
        self.counts = BlockCounts()
        self.origin = origin
        self._origins = origins
        self._decoder = decoder
        self._cooked = cooked

    def read(self, memory: mmap.mmap, block: int, found: Batch) -> None:
        """Adds to ``found`` what the block at offset ``block`` of ``memory`` holds."""
        # A memory map unpacks and slices, to bytes, as bytes do.
        data = cast(bytes, memory)
        packets, first = _block(data, block)
        counts, origins, cooked = self.counts, self._origins, self._cooked
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
            time = seconds + fraction * 1e-9
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
                found += decoder.decode(
                    time,
                    data[start : start + kept]
                    if cooked or not status & _VLAN_VALID
                    else _with_tag(data, position, start, kept, status),
                    RAW if cooked else ETHERNET,
                    name,
                    number,
                )
            position += following
        decoder.counts.udp_other += media
        if packets:
            counts.packets = number
            counts.last_time = time
            counts.first_time = counts.first_time or time


def _with_tag(data: bytes, position: int, start: int, kept: int, status: int) -> bytes:
    """The frame with the VLAN tag, which the kernel keeps apart, where it was on the wire."""
    tag, kind = _tag(data, position)
    if not status & _VLAN_TYPE_VALID:
        kind = _VLAN_TYPE
    end_of_addresses = start + 12
    return (
        data[start:end_of_addresses]
        + _vlan(kind, tag & 0xFFFF)
        + data[end_of_addresses : start + kept]
    )


#: Not the usual packet: cut before the first byte of a payload.
_TOO_SHORT = (0, 0, 0, 0, 0)
_NOWHERE = Origin("", 0)
