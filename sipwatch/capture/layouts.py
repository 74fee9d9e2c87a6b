"""Where the fields of a frame are when it is what nearly all are: IPv4 and UDP, no options.

A reader looks at the header of a record and the fixed part of its frame with one
``struct.unpack_from``, and most packets are dealt with after comparing what that gives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from sipwatch.net import linktypes

_Unpack: TypeAlias = Callable[[bytes, int], tuple[Any, ...]]

#: Readers put so many zeros behind a block, for a look at the last record to stay inside it.
PAD = bytes(128)


class _Layout(NamedTuple):
    """``struct`` formats of a frame up to the first payload byte, plain and behind one VLAN tag.

    Both give ethertype, version and header length, fragment word, protocol, first payload byte.
    ``ip`` is the offset of the IP header of an untagged frame.
    """

    plain: str
    tagged: str
    ip: int


_IPV4_UDP = "HB5xHxB18xB"

_LAYOUTS: dict[int, _Layout] = {
    linktypes.ETHERNET: _Layout("12x" + _IPV4_UDP, "16x" + _IPV4_UDP, 14),
    linktypes.LINUX_SLL: _Layout("14x" + _IPV4_UDP, "18x" + _IPV4_UDP, 16),
    # The protocol comes first here; that of a tagged frame stands behind the tag.
    linktypes.LINUX_SLL2: _Layout("H18xB5xHxB18xB", "22x" + _IPV4_UDP, 20),
    # Nothing names the protocol: an empty string stands for what is always IPv4's.
    linktypes.RAW: _Layout("0sB5xHxB18xB", "0sB5xHxB18xB", 0),
}
_LAYOUTS[linktypes.IPV4_ONLY] = _LAYOUTS[linktypes.RAW]

# Bytes from an IPv4 header to the first byte of the UDP payload.
_PAYLOAD_OFFSET = 28

#: The same for IPv6 without extension headers, and bytes to the number of the next header.
IPV6_PAYLOAD_OFFSET, IPV6_NEXT_HEADER = 48, 6


class Layout(NamedTuple):
    """How to look at the records of one interface. Numbers stand as read in the file's order."""

    unpack: _Unpack
    unpack_tagged: _Unpack
    #: Bytes from the start of the record to an IP header, without and with a VLAN tag.
    ip: int
    tagged_ip: int
    #: Frames up to this length may lack a payload byte.
    floor: int
    #: What the ethertype is for IPv4, for IPv6 and for a VLAN tag.
    ipv4: int | bytes
    ipv6: int
    tag: int
    #: Bits of the fragment word of which one is set in every fragment.
    fragment_bits: int


@cache
def layout(linktype: int, order: str, fields: str, header: int) -> Layout:
    """The layout of records whose header has ``fields`` (a format) and ``header`` bytes.

    ``order`` is the byte order of the file as :mod:`struct` writes it. A link type whose IP
    header is elsewhere than in the common ones gets a layout that no frame fits.
    """
    known = linktype in _LAYOUTS
    shape = _LAYOUTS.get(linktype, _LAYOUTS[linktypes.ETHERNET])
    named = known and shape.ip > 0
    return Layout(
        Struct(order + fields + shape.plain).unpack_from,
        Struct(order + fields + shape.tagged).unpack_from,
        header + shape.ip,
        header + shape.ip + 4,
        shape.ip + 4 + _PAYLOAD_OFFSET,
        as_read(linktypes.IPV4, order) if named else b"" if known else -1,
        as_read(linktypes.IPV6, order) if named else -1,
        as_read(linktypes.VLAN, order) if named else -1,
        as_read(0x3FFF, order),
    )


def as_read(number: int, order: str) -> int:
    """What 16 bits in network order look like when they are read in the order of the file."""
    return int.from_bytes(number.to_bytes(2, "big"), "little" if order == "<" else "big")
