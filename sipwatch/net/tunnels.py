"""What is inside a tunnel or a label stack: offsets into the same bytes, nothing is copied.

Interface::

    inner = BY_UDP_PORT[4789].decode(data, offset, end)
    inner.kind, inner.offset, inner.end

``data[offset:end]``, all of which must be there, is what follows the carrying header: the payload
of the Ethernet type, of the IP protocol or of the UDP port under which the tunnel is registered in
`BY_ETHERTYPE`, `BY_IP_PROTOCOL` and `BY_UDP_PORT`. ``kind`` says how to go on at ``inner.offset``:

- ``"ethernet"``, ``"ipv4"``, ``"ipv6"``: a frame or a packet;
- ``"tcp"``, ``"udp"``, ``"sctp"``: a transport header of the same outer addresses (ESP transport
  mode without encryption).

MPLS, PPP and ERSPAN inside the others are walked through here. What cannot be decoded raises
`Refused` with one of `REASONS`. On a UDP port that is only conventional a refusal may also mean
that the port carries something else.

A tunnel may hold a tunnel: the caller counts, and stops somewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

#: Labels of one MPLS stack that are followed.
_MAX_LABELS = 16

#: Extension headers of one GTP-U packet, options of one TZSP packet.
_MAX_EXTENSIONS = 16

REASONS = (
    "cut",
    "control",
    "compressed",
    "encrypted",
    "gre_enhanced",
    "gre_routing",
    "unknown_inner",
    "version",
)


class Refused(ValueError):
    """The tunnel cannot be decoded; ``reason`` is one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Inner(NamedTuple):
    """Where the inner frame or packet is."""

    kind: str
    offset: int
    end: int


Decode: TypeAlias = Callable[[bytes, int, int], Inner]


class Tunnel(NamedTuple):
    """One decoder of the registry."""

    name: str
    reference: str
    decode: Decode


def _u16(data: bytes, offset: int) -> int:
    return data[offset] << 8 | data[offset + 1]


def _need(offset: int, count: int, end: int) -> None:
    if offset + count > end:
        raise Refused("cut")


def _ethernet(offset: int, end: int) -> Inner:
    _need(offset, 14, end)
    return Inner("ethernet", offset, end)


def _by_nibble(data: bytes, offset: int, end: int) -> Inner:
    """IPv4 or IPv6 as the version field of the packet itself says."""
    _need(offset, 1, end)
    version = data[offset] >> 4
    if version == 4:
        return Inner("ipv4", offset, end)
    if version == 6:
        return Inner("ipv6", offset, end)
    raise Refused("unknown_inner")


def ip_in_ip(data: bytes, offset: int, end: int) -> Inner:
    """IPv4 or IPv6 directly in IP (RFC 2003, RFC 2473, RFC 4213)."""
    return _by_nibble(data, offset, end)


def etherip(data: bytes, offset: int, end: int) -> Inner:
    """Ethernet in IP (RFC 3378): a 16 bit header whose first four bits are 3."""
    _need(offset, 2, end)
    if data[offset] >> 4 != 3:
        raise Refused("version")
    return _ethernet(offset + 2, end)


def mpls(data: bytes, offset: int, end: int) -> Inner:
    """A label stack (RFC 3032), over IP or an Ethernet pseudowire (RFC 4448).

    Nothing in the stack names what it carries. The first four bits tell: 4 and 6 are IP (RFC 4928
    section 3), 0 is a pseudowire control word, others are an Ethernet pseudowire without one.
    """
    for _ in range(_MAX_LABELS):
        _need(offset, 4, end)
        bottom = data[offset + 2] & 1
        offset += 4
        if bottom:
            break
    else:
        raise Refused("unknown_inner")
    _need(offset, 1, end)
    nibble = data[offset] >> 4
    if _looks_like_ip(data, offset, end):
        return _by_nibble(data, offset, end)
    if nibble == 0 and _looks_like_ethernet(data, offset + 4, end):
        return _ethernet(offset + 4, end)
    # A MAC address may begin with any four bits.
    if _looks_like_ethernet(data, offset, end):
        return _ethernet(offset, end)
    if nibble == 1:  # associated channel header, RFC 5586
        raise Refused("control")
    return _by_nibble(data, offset, end)


def _looks_like_ip(data: bytes, offset: int, end: int) -> bool:
    """Whether an IP header stands here whose length is that of the bytes that follow."""
    size = end - offset
    if size >= 20 and data[offset] >> 4 == 4:
        return 20 <= _u16(data, offset + 2) <= size
    return size >= 40 and data[offset] >> 4 == 6 and _u16(data, offset + 4) + 40 <= size


def _looks_like_ethernet(data: bytes, offset: int, end: int) -> bool:
    """Whether an Ethernet header with an IP or tagged payload may stand here."""
    if offset + 15 > end:
        return False
    ethertype = _u16(data, offset + 12)
    if ethertype == 0x0800:
        return data[offset + 14] >> 4 == 4
    if ethertype == 0x86DD:
        return data[offset + 14] >> 4 == 6
    return ethertype in (0x8100, 0x88A8, 0x8847, 0x8864)


def pppoe(data: bytes, offset: int, end: int) -> Inner:
    """A PPPoE session packet (RFC 2516 section 4)."""
    _need(offset, 6, end)
    if data[offset] != 0x11:
        raise Refused("version")
    if data[offset + 1] != 0:
        raise Refused("control")
    length = _u16(data, offset + 4)
    return ppp(data, offset + 6, min(end, offset + 6 + length))


def ppp(data: bytes, offset: int, end: int) -> Inner:
    """A PPP frame (RFC 1661 section 2), with or without address and control (RFC 1662).

    The protocol field may be compressed to one byte, which is odd then (RFC 1661 section 6.5).
    """
    _need(offset, 2, end)
    if data[offset] == 0xFF and data[offset + 1] == 0x03:
        offset += 2
        _need(offset, 2, end)
    if data[offset] & 1:
        protocol = data[offset]
        offset += 1
    else:
        protocol = _u16(data, offset)
        offset += 2
    if protocol in (0x0021, 0x0057):
        return _by_nibble(data, offset, end)
    if protocol in (0x0281, 0x0283):
        return mpls(data, offset, end)
    if protocol in (0x002D, 0x002F, 0x00FD):
        raise Refused("compressed")
    if protocol == 0x0053:
        raise Refused("encrypted")
    if protocol >= 0x8000:
        raise Refused("control")
    raise Refused("unknown_inner")


def _by_ethertype(ethertype: int, data: bytes, offset: int, end: int) -> Inner:
    """What GRE and Geneve name by an Ethernet type."""
    if ethertype in (0x0800, 0x86DD):
        return _by_nibble(data, offset, end)
    if ethertype == 0x6558:  # transparent Ethernet bridging, RFC 1701
        return _ethernet(offset, end)
    if ethertype in (0x8847, 0x8848):
        return mpls(data, offset, end)
    if ethertype == 0x880B:
        return ppp(data, offset, end)
    raise Refused("unknown_inner")


def gre(data: bytes, offset: int, end: int) -> Inner:
    """GRE (RFC 2784) with checksum, key and sequence (RFC 2890), and ERSPAN inside it.

    Version 1, the enhanced GRE of PPTP (RFC 2637), and source routes (RFC 1701) are refused.
    """
    _need(offset, 4, end)
    flags = _u16(data, offset)
    if flags & 0x0007 == 1:
        raise Refused("gre_enhanced")
    if flags & 0x0007:
        raise Refused("version")
    if flags & 0x4000:
        raise Refused("gre_routing")
    ethertype = _u16(data, offset + 2)
    offset += 4
    offset += 4 * ((flags >> 15 & 1) + (flags >> 13 & 1) + (flags >> 12 & 1))
    _need(offset, 1, end)
    if ethertype == 0x88BE:
        # Type I has neither a sequence number nor a header of its own.
        return _erspan_2(data, offset, end) if flags & 0x1000 else _ethernet(offset, end)
    if ethertype == 0x22EB:
        return _erspan_3(data, offset, end)
    if ethertype == 0x883E and data[offset] >> 4 != 4:  # WCCP version 2 redirect header
        offset += 4
        return _by_nibble(data, offset, end)
    if ethertype == 0x883E:
        return _by_nibble(data, offset, end)
    return _by_ethertype(ethertype, data, offset, end)


def _erspan_2(data: bytes, offset: int, end: int) -> Inner:
    """ERSPAN type II (draft-foschiano-erspan-03 section 4.2): eight bytes, version 1."""
    _need(offset, 8, end)
    if data[offset] >> 4 != 1:
        raise Refused("version")
    return _ethernet(offset + 8, end)


def _erspan_3(data: bytes, offset: int, end: int) -> Inner:
    """ERSPAN type III (draft-foschiano-erspan-03 section 4.3): version 2, 12 or 20 bytes."""
    _need(offset, 12, end)
    if data[offset] >> 4 != 2:
        raise Refused("version")
    frame_type = data[offset + 10] >> 2 & 0x1F
    platform_header = data[offset + 11] & 1
    offset += 20 if platform_header else 12
    if frame_type == 0:
        return _ethernet(offset, end)
    if frame_type == 2:
        return _by_nibble(data, offset, end)
    raise Refused("unknown_inner")


def vxlan(data: bytes, offset: int, end: int) -> Inner:
    """VXLAN (RFC 7348 section 5); other flags, such as those of group policy, do not matter."""
    _need(offset, 8, end)
    if not data[offset] & 0x08:
        raise Refused("unknown_inner")
    return _ethernet(offset + 8, end)


def vxlan_gpe(data: bytes, offset: int, end: int) -> Inner:
    """VXLAN with a next protocol (draft-ietf-nvo3-vxlan-gpe section 3)."""
    _need(offset, 8, end)
    flags = data[offset]
    if flags & 0x30:
        raise Refused("version")
    if flags & 0x01:
        raise Refused("control")
    next_protocol = data[offset + 3]
    if not flags & 0x04 or next_protocol == 3:
        return _ethernet(offset + 8, end)
    if next_protocol in (1, 2):
        return _by_nibble(data, offset + 8, end)
    raise Refused("unknown_inner")


def geneve(data: bytes, offset: int, end: int) -> Inner:
    """Geneve (RFC 8926 section 3.4), options skipped."""
    _need(offset, 8, end)
    if data[offset] >> 6:
        raise Refused("version")
    if data[offset + 1] & 0x80:
        raise Refused("control")
    options = 4 * (data[offset] & 0x3F)
    return _by_ethertype(_u16(data, offset + 2), data, offset + 8 + options, end)


def gtp_u(data: bytes, offset: int, end: int) -> Inner:
    """GTP-U version 1, the user's packet in a G-PDU (3GPP TS 29.281 section 5)."""
    _need(offset, 8, end)
    flags = data[offset]
    if flags & 0xF0 != 0x30:
        raise Refused("version")
    if data[offset + 1] != 255:
        raise Refused("control")
    end = min(end, offset + 8 + _u16(data, offset + 2))
    offset += 8
    if flags & 0x07:
        _need(offset, 4, end)
        following = data[offset + 3] if flags & 0x04 else 0
        offset += 4
        offset = _gtp_extensions(following, data, offset, end)
    return _by_nibble(data, offset, end)


def _gtp_extensions(following: int, data: bytes, offset: int, end: int) -> int:
    """Where the extension headers end (3GPP TS 29.281 section 5.2.1)."""
    for _ in range(_MAX_EXTENSIONS):
        if not following:
            return offset
        _need(offset, 1, end)
        length = 4 * data[offset]
        if not length:
            break
        _need(offset, length, end)
        offset += length
        following = data[offset - 1]
    raise Refused("unknown_inner")


def l2tp(data: bytes, offset: int, end: int) -> Inner:
    """L2TP over UDP: version 2 (RFC 2661 section 3.1) with PPP, or version 3 (RFC 3931)."""
    _need(offset, 6, end)
    flags = _u16(data, offset)
    if flags & 0x8000:
        raise Refused("control")
    version = flags & 0x000F
    if version == 3:
        return _l2tp_3(data, offset + 8, end)
    if version != 2:
        raise Refused("version")
    at = offset + 2
    if flags & 0x4000:
        end = min(end, offset + _u16(data, at))
        at += 2
    at += 4
    if flags & 0x0800:
        at += 4
    if flags & 0x0200:
        _need(at, 2, end)
        at += 2 + _u16(data, at)
    return ppp(data, at, end)


def l2tp_over_ip(data: bytes, offset: int, end: int) -> Inner:
    """L2TP version 3 directly in IP (RFC 3931 section 4.1.1); session 0 is the control channel."""
    _need(offset, 4, end)
    if data[offset : offset + 4] == b"\0\0\0\0":
        raise Refused("control")
    return _l2tp_3(data, offset + 4, end)


def _l2tp_3(data: bytes, offset: int, end: int) -> Inner:
    """The payload after a session number: Ethernet (RFC 4719) or PPP.

    Length of the cookie (0, 4, 8) and of the sublayer (0, 4) were agreed when the session was set
    up; the place where a frame makes sense shows them.
    """
    for skipped in (0, 4, 8, 12):
        at = offset + skipped
        if _looks_like_ethernet(data, at, end):
            return _ethernet(at, end)
        if data[at : at + 4] in (b"\xff\x03\x00\x21", b"\xff\x03\x00\x57"):
            return ppp(data, at, end)
    raise Refused("unknown_inner")


def tzsp(data: bytes, offset: int, end: int) -> Inner:
    """TaZmen Sniffer Protocol, version 1, as routers use it to mirror Ethernet frames."""
    _need(offset, 4, end)
    if data[offset] != 1:
        raise Refused("version")
    if data[offset + 1] not in (0, 1):
        raise Refused("control")
    if _u16(data, offset + 2) != 1:
        raise Refused("unknown_inner")
    offset += 4
    for _ in range(_MAX_EXTENSIONS):
        _need(offset, 1, end)
        tag = data[offset]
        offset += 1
        if tag == 1:
            return _ethernet(offset, end)
        if tag:
            _need(offset, 1, end)
            offset += 1 + data[offset]
    raise Refused("unknown_inner")


#: Transport protocols that ESP without encryption shows, and whole packets in its tunnel mode.
_ESP_INNER = {4: "ipv4", 41: "ipv6", 6: "tcp", 17: "udp", 132: "sctp"}

#: Lengths of the integrity check value: HMAC-96 (RFC 2403, RFC 2404), HMAC-SHA-256-128 (RFC 4868)
#: and AES-GMAC (RFC 4543), HMAC-SHA-384-192, HMAC-SHA-512-256, none.
_ESP_CHECK_LENGTHS = (12, 16, 24, 32, 0)


def esp_null(data: bytes, offset: int, end: int) -> Inner:
    """ESP with the NULL cipher (RFC 4303, RFC 2410), as IMS uses it; other ciphers are refused.

    Nothing in the packet names the cipher. Padding that counts 1, 2, 3 (RFC 4303 section 2.4)
    before a known protocol at one of the usual places of the trailer shows that it is plain.
    """
    _need(offset, 8, end)
    for check in _ESP_CHECK_LENGTHS:
        trailer = end - check - 2
        if trailer < offset + 8:
            continue
        padding = data[trailer]
        kind = _ESP_INNER.get(data[trailer + 1])
        inner_end = trailer - padding
        if kind is None or inner_end < offset + 8:
            continue
        if data[inner_end:trailer] == _PADDING[:padding] and _fits(
            kind, data, offset + 8, inner_end
        ):
            return Inner(kind, offset + 8, inner_end)
    raise Refused("encrypted")


def esp_in_udp(data: bytes, offset: int, end: int) -> Inner:
    """ESP behind a NAT (RFC 3948 section 2); four zero bytes mark the key exchange instead."""
    _need(offset, 8, end)
    if data[offset : offset + 4] == b"\0\0\0\0":
        raise Refused("control")
    return esp_null(data, offset, end)


_PADDING = bytes(range(1, 256))


def _fits(kind: str, data: bytes, offset: int, end: int) -> bool:
    """Whether the lengths of the inner header agree with where the payload ends."""
    size = end - offset
    if kind == "udp":
        return size >= 8 and _u16(data, offset + 4) == size
    if kind == "tcp":
        return size >= 20 and 20 <= (data[offset + 12] >> 4) * 4 <= size
    if kind == "ipv4":
        return size >= 20 and data[offset] >> 4 == 4 and _u16(data, offset + 2) == size
    if kind == "ipv6":
        return size >= 40 and data[offset] >> 4 == 6 and _u16(data, offset + 4) + 40 == size
    return size >= 16


_MPLS = Tunnel("MPLS", "RFC 3032", mpls)
_VXLAN = Tunnel("VXLAN", "RFC 7348", vxlan)

BY_ETHERTYPE: dict[int, Tunnel] = {
    0x8847: _MPLS,
    0x8848: _MPLS,
    0x8864: Tunnel("PPPoE", "RFC 2516", pppoe),
    0x880B: Tunnel("PPP", "RFC 1661", ppp),
}

BY_IP_PROTOCOL: dict[int, Tunnel] = {
    4: Tunnel("IP in IP", "RFC 2003", ip_in_ip),
    41: Tunnel("IPv6 in IP", "RFC 4213", ip_in_ip),
    47: Tunnel("GRE, ERSPAN", "RFC 2784", gre),
    50: Tunnel("ESP without encryption", "RFC 2410", esp_null),
    97: Tunnel("EtherIP", "RFC 3378", etherip),
    115: Tunnel("L2TPv3", "RFC 3931", l2tp_over_ip),
    137: Tunnel("MPLS in IP", "RFC 4023", mpls),
}

BY_UDP_PORT: dict[int, Tunnel] = {
    1701: Tunnel("L2TP", "RFC 2661", l2tp),
    2152: Tunnel("GTP-U", "3GPP TS 29.281", gtp_u),
    4500: Tunnel("ESP without encryption in UDP", "RFC 3948", esp_in_udp),
    4789: _VXLAN,
    4790: Tunnel("VXLAN-GPE", "draft-ietf-nvo3-vxlan-gpe", vxlan_gpe),
    6081: Tunnel("Geneve", "RFC 8926", geneve),
    8472: _VXLAN,  # what Linux used before the port was assigned
    37008: Tunnel("TZSP", "", tzsp),
}
