"""Destination unreachable of ICMP (RFC 792) and ICMPv6 (RFC 4443 section 3.1)."""

from __future__ import annotations

from struct import Struct

from sipwatch.net import ip
from sipwatch.net.packet import Malformed, Packet
from sipwatch.net.types import Unreachable

_V4_UNREACHABLE = 3
_V6_UNREACHABLE = 1

# Too big for the next link: the sender cuts it and sends again (RFC 1191), as ICMPv6 says with a
# type of its own.
_V4_TOO_BIG = 4

_udp = Struct(">HHHH").unpack_from

# The quoted datagram follows type, code, checksum and four bytes more.
_HEADER = 8


def unreachable(packet: Packet, start: int, end: int, *, version: int) -> Unreachable | None:
    """The report at ``start``, None when it is another ICMP message or does not quote UDP.

    The total length in a quoted IPv4 header is not trusted: some hosts quote it as they had it in
    memory. A report that quotes too little or what makes no sense raises as parsers do.
    """
    data = packet.data
    kind, code = data[start], data[start + 1]
    if kind != (_V4_UNREACHABLE if version == 4 else _V6_UNREACHABLE):
        return None
    if version == 4 and code == _V4_TOO_BIG:
        return None
    # With extensions (RFC 4884 section 3) the quoted datagram has a length of its own, in
    # words of 4 bytes (ICMP) or 8 (ICMPv6), and zeros may pad it.
    length = data[start + 5] * 4 if version == 4 else data[start + 4] * 8
    quote = start + _HEADER
    limit = min(end, quote + length) if length else end
    header = ip.parse(data, quote, limit, quoted=True)
    protocol, udp = ip.skip_extensions(data, header.protocol, header.start, limit)
    if protocol != ip.UDP or header.fragment_offset:
        return None
    if udp + 8 > limit:
        raise Malformed("quotes too little")
    source_port, destination_port, udp_length, checksum = _udp(data, udp)
    payload = udp + 8
    return Unreachable(
        packet.time,
        packet.source,
        (header.source, source_port),
        (header.destination, destination_port),
        data[payload : min(limit, max(payload, udp + udp_length))],
        packet.interface,
        packet.number,
        header.ident if version == 4 else -1,
        udp_length << 16 | checksum,
        code,
    )
