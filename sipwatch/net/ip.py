"""IPv4 (RFC 791) and IPv6 (RFC 8200) headers, with the chain of extension headers."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sipwatch.net.packet import Malformed

HOP_BY_HOP, ICMP, IPV4, TCP, UDP, IPV6, ROUTING, FRAGMENT = 0, 1, 4, 6, 17, 41, 43, 44
GRE, ESP, AH, ICMPV6, NO_NEXT, DESTINATION, L2TP, SCTP, MOBILITY = (
    47,
    50,
    51,
    58,
    59,
    60,
    115,
    132,
    135,
)

#: Extension headers with a length in units of 8 bytes beyond the first 8 (RFC 8200 section 4,
#: RFC 6275, RFC 7401, RFC 5533).
EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, DESTINATION, MOBILITY, 139, 140})

_ipv4 = Struct(">BxHHHxB2x4s4s").unpack_from
_ipv6 = Struct(">IHBx16s16s").unpack_from
_extension = Struct(">BB").unpack_from
_fragment = Struct(">BxHI").unpack_from


class Header(NamedTuple):
    """An IP header: where it leads and what it says."""

    protocol: int
    source: bytes
    destination: bytes
    #: Identification: 16 bits in IPv4, those of the fragment header in IPv6, -1 without one.
    ident: int
    #: Offset of this fragment in bytes, and whether others follow.
    fragment_offset: int
    more_fragments: bool
    #: The payload in the packet's bytes.
    start: int
    end: int
    #: Bytes of the packet behind ``end`` that were on the wire.
    missing: int

    @property
    def is_fragment(self) -> bool:
        """Whether this is only a part of a datagram."""
        return self.more_fragments or self.fragment_offset > 0


def parse(data: bytes, start: int, end: int, *, quoted: bool = False) -> Header:
    """Reads the header at ``start`` of either version.

    Of a quoted one the length may be any. Raises
    :class:`~sipwatch.net.packet.Malformed`, ``struct.error`` or ``IndexError``.
    """
    version = data[start] >> 4
    if version == 4:
        return parse_ipv4(data, start, end, quoted=quoted)
    if version == 6:
        return parse_ipv6(data, start, end)
    raise Malformed("version")


def parse_ipv4(data: bytes, start: int, end: int, *, quoted: bool = False) -> Header:
    """Reads an IPv4 header; its options are stepped over."""
    first, total, ident, fragment, protocol, source, destination = _ipv4(data, start)
    if first >> 4 != 4:
        raise Malformed("version")
    header = (first & 15) * 4
    # With segmentation left to the card the length is zero for what exceeds 65,535 bytes.
    stop = start + total if total and not quoted else end
    if header < 20 or stop < start + header:
        raise Malformed("header length")
    return Header(
        protocol,
        source,
        destination,
        ident,
        (fragment & 0x1FFF) * 8,
        bool(fragment & 0x2000),
        start + header,
        min(stop, end),
        max(0, stop - end),
    )


def skip_extensions(data: bytes, protocol: int, start: int, end: int) -> tuple[int, int]:
    """Steps over extension headers behind a fragment header: the next protocol, and its place."""
    while protocol in EXTENSIONS and start + 2 <= end:
        protocol, size = _extension(data, start)
        start += (size + 1) * 8
    return protocol, start


def parse_ipv6(data: bytes, start: int, end: int) -> Header:
    """Reads an IPv6 header and all extension headers up to the payload or the fragment."""
    first, length, protocol, source, destination = _ipv6(data, start)
    if first >> 28 != 6:
        raise Malformed("version")
    offset = start + 40
    # Zero: a jumbogram (RFC 2675) or segmentation left to the card.
    stop = offset + length if length else end
    limit = min(stop, end)
    ident, fragment_offset, more = -1, 0, False
    while protocol in EXTENSIONS or protocol in (FRAGMENT, AH):
        if fragment_offset:
            break
        if protocol == FRAGMENT:
            protocol, fragment, ident = _fragment(data, offset)
            fragment_offset, more = fragment & 0xFFF8, bool(fragment & 1)
            offset += 8
        elif protocol == AH:
            protocol, size = _extension(data, offset)
            offset += (size + 2) * 4
        else:
            protocol, size = _extension(data, offset)
            offset += (size + 1) * 8
        if offset > limit:
            raise Malformed("extension header length")
        if more:
            break
    return Header(
        protocol,
        source,
        destination,
        ident,
        fragment_offset,
        more,
        offset,
        limit,
        max(0, stop - end),
    )
