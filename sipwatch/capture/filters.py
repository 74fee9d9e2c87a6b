"""What the kernel lets through: configured ports, what belongs to them, configured tunnels.

The program is made for one link layer. It lets a packet through when it is

- UDP, TCP or SCTP with a configured port at either end, over IPv4 with any options (RFC 791) or
  IPv6 with up to `_EXTENSION_HEADERS` extension headers (RFC 8200 section 4);
- a fragment other than the first, of those protocols: ports are in the first one only;
- an ICMP destination unreachable (RFC 792) or its ICMPv6 counterpart (RFC 4443 section 3.1);
- a configured tunnel, whatever is inside: the decoder looks there.

VLAN tags in the frame are stepped over, up to `_TAGS`; a tag that the kernel took out of the frame
is not seen by the program at all, so those packets look untagged and pass in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from sipwatch.capture import bpf
from sipwatch.capture.bpf import Assembler, Label, Program

#: Bytes of a packet that are kept when nothing else is asked for: more than any packet has.
WHOLE_PACKET = 262_144

_TAGS = 3
_EXTENSION_HEADERS = 4

_IPV4, _IPV6 = 0x0800, 0x86DD
_TAG_TYPES = (0x8100, 0x88A8, 0x9100)
_ICMP, _IPIP, _TCP, _UDP, _IPV6_IN_IP, _GRE, _ESP, _AUTHENTICATION, _ICMPV6, _SCTP = (
    1, 4, 6, 17, 41, 47, 50, 51, 58, 132,
)  # fmt: skip
_TRANSPORTS = (_UDP, _TCP, _SCTP)
_FRAGMENT_HEADER = 44
#: Hop-by-hop, routing, destination options, mobility: length in units of 8 bytes (RFC 8200 4.3).
_EIGHT_BYTE_HEADERS = (0, 43, 60, 135)

_FRAGMENT_OFFSET = 0x1FFF
_FRAGMENT_OFFSET_6 = 0xFFF8
_UNREACHABLE = 3
_UNREACHABLE_6 = 1

_OUTGOING = 4
_LOOPBACK_HARDWARE = 772

#: Scratch word that holds the protocol over the computing of an offset.
_PROTOCOL_WORD = 0


class LinkLayer(Enum):
    """What the program finds at offset 0 of a packet."""

    #: An Ethernet header, as on ``SOCK_RAW`` sockets of Ethernet-like interfaces.
    ETHERNET = "ethernet"
    #: The network header, as on ``SOCK_DGRAM`` sockets; its type is in the packet's metadata.
    COOKED = "cooked"


@dataclass(frozen=True, slots=True)
class Carrier:
    """How packets of one kind of tunnel are known from outside."""

    protocols: tuple[int, ...] = ()
    udp_ports: tuple[int, ...] = ()
    tcp_ports: tuple[int, ...] = ()
    ethertypes: tuple[int, ...] = ()


#: Tunnels by the names that a configuration gives them.
TUNNELS: dict[str, Carrier] = {
    "ipip": Carrier(protocols=(_IPIP, _IPV6_IN_IP)),
    "gre": Carrier(protocols=(_GRE,)),
    "etherip": Carrier(protocols=(97,)),
    "esp": Carrier(protocols=(_ESP,), udp_ports=(4500,)),
    "l2tp": Carrier(protocols=(115,), udp_ports=(1701,)),
    "mpls": Carrier(protocols=(137,), ethertypes=(0x8847, 0x8848)),
    "pppoe": Carrier(ethertypes=(0x8864,)),
    "vxlan": Carrier(udp_ports=(4789, 8472)),
    "vxlan-gpe": Carrier(udp_ports=(4790,)),
    "geneve": Carrier(udp_ports=(6081,)),
    "gtp-u": Carrier(udp_ports=(2152,)),
    "tzsp": Carrier(udp_ports=(37008,)),
    "hep": Carrier(udp_ports=(9060,), tcp_ports=(9060,)),
}


class FilterSettingError(ValueError):
    """A port or a tunnel that makes no sense; the message says which and what would."""


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """What shall be let through; made by `settings` from what a configuration holds."""

    #: Inclusive ranges in rising order that neither touch nor overlap.
    ports: tuple[tuple[int, int], ...]
    carriers: tuple[tuple[str, Carrier], ...] = ()
    #: Bytes of each packet that are kept.
    keep: int = WHOLE_PACKET


def settings(
    ports: Iterable[int | tuple[int, int]],
    tunnels: Iterable[str] = (),
    keep: int = WHOLE_PACKET,
) -> FilterSettings:
    """Checks and orders ports, ranges of ports and names of tunnels (``gre``, ``vxlan:8472``).

    Raises `FilterSettingError`.
    """
    ranges = _merged(ports)
    if not ranges:
        raise FilterSettingError("no ports to capture: give at least one, as in ports = [5060]")
    if not 1 <= keep <= WHOLE_PACKET:
        raise FilterSettingError(f"snap length {keep}: must be from 1 to {WHOLE_PACKET} bytes")
    return FilterSettings(ranges, tuple((name, _carrier(name)) for name in tunnels), keep)


def _merged(ports: Iterable[int | tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges in rising order, those that touch made one."""
    merged: list[tuple[int, int]] = []
    pairs = [(port, port) if isinstance(port, int) else port for port in ports]
    for low, high in sorted(pairs):
        if not 1 <= low <= high <= 0xFFFF:
            shown = low if low == high else f"{low}-{high}"
            raise FilterSettingError(f"port {shown}: must be from 1 to 65535, ranges in order")
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _carrier(name: str) -> Carrier:
    kind, _, port = name.partition(":")
    known = TUNNELS.get(kind.lower())
    if known is None:
        raise FilterSettingError(f"tunnel {name!r} is not known: use one of {', '.join(TUNNELS)}")
    if not port:
        return known
    if not known.udp_ports:
        raise FilterSettingError(f"tunnel {name!r}: {kind} has no port")
    if not port.isdecimal() or not 1 <= int(port) <= 0xFFFF:
        raise FilterSettingError(f"tunnel {name!r}: the port must be from 1 to 65535")
    chosen = (int(port),)
    return Carrier(known.protocols, chosen, chosen if known.tcp_ports else (), known.ethertypes)


def describe(wanted: FilterSettings) -> str:
    """Returns in words what the filter of these settings lets through."""
    ports = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in wanted.ports)
    parts = [f"UDP, TCP, SCTP port {ports}", "later IP fragments", "ICMP unreachable"]
    if wanted.carriers:
        parts.append("tunnels " + ", ".join(name for name, _ in wanted.carriers))
    return "; ".join(parts)


def compile_filter(
    wanted: FilterSettings, link: LinkLayer, *, drop_outgoing_on_loopback: bool
) -> Program:
    """Returns the program for one link layer.

    Every packet on a loopback interface comes twice, once as it leaves and once as it arrives;
    ``drop_outgoing_on_loopback`` keeps the second one. Raises `bpf.FilterTooLong`.
    """
    return _Compiler(wanted, link, drop_outgoing_on_loopback).compile()


class _Compiler:
    """Writes one program; X holds the offset of the header at hand all the way."""

    def __init__(self, wanted: FilterSettings, link: LinkLayer, drop_outgoing: bool) -> None:
        self._wanted = wanted
        self._link = link
        self._drop_outgoing = drop_outgoing
        carriers = [carrier for _, carrier in wanted.carriers]
        self._tunnel_protocols = sorted({p for c in carriers for p in c.protocols})
        self._ethertypes = sorted({e for c in carriers for e in c.ethertypes})
        self._tunnel_ports = {
            _UDP: sorted({p for c in carriers for p in c.udp_ports}),
            _TCP: sorted({p for c in carriers for p in c.tcp_ports}),
        }
        self._out = Assembler()
        self._accept = self._out.label()
        self._reject = self._out.label()
        self._ipv4 = self._out.label()
        self._ipv6 = self._out.label()
        self._ports = self._out.label()

    def compile(self) -> Program:
        out = self._out
        if self._drop_outgoing:
            self._loopback()
        if self._link is LinkLayer.ETHERNET:
            self._ethernet()
        else:
            self._cooked()
        self._ipv4_header()
        self._ipv6_headers()
        self._transport_ports()
        out.place(self._reject)
        out.emit(bpf.RETURN, 0)
        out.place(self._accept)
        out.emit(bpf.RETURN, self._wanted.keep)
        return out.assemble()

    def _any_of(self, values: Sequence[int], target: Label) -> None:
        """Jumps when the accumulator is one of ``values``, else goes on."""
        for value in values:
            self._out.branch(bpf.IF_EQUAL, value, if_true=target)

    def _loopback(self) -> None:
        out = self._out
        elsewhere = out.label()
        out.emit(bpf.LD_WORD, bpf.ANCILLARY_HARDWARE_TYPE)
        out.branch(bpf.IF_EQUAL, _LOOPBACK_HARDWARE, if_false=elsewhere)
        out.emit(bpf.LD_WORD, bpf.ANCILLARY_PACKET_TYPE)
        out.branch(bpf.IF_EQUAL, _OUTGOING, if_true=self._reject)
        out.place(elsewhere)

    def _ethernet(self) -> None:
        self._behind_tags(14, _TAGS)

    def _cooked(self) -> None:
        """The protocol is that of a VLAN tag where one is left in the frame.

        The tag stands at the beginning of a packet that has been received. One that is sent begins
        with the network header, as the interface or the raw socket that sent it has left it.
        """
        out = self._out
        tagged, tag = out.label(), out.label()
        out.emit(bpf.LDX_CONSTANT, 0)
        out.emit(bpf.LD_WORD, bpf.ANCILLARY_PROTOCOL)
        self._any_of(_TAG_TYPES, tagged)
        self._network()
        out.place(tagged)
        out.emit(bpf.LD_WORD, bpf.ANCILLARY_PACKET_TYPE)
        out.branch(bpf.IF_EQUAL, _OUTGOING, if_false=tag)
        out.emit(bpf.LD_BYTE, 0)
        out.emit(bpf.SHIFT_RIGHT, 4)
        out.branch(bpf.IF_EQUAL, 4, if_true=self._ipv4)
        out.branch(bpf.IF_EQUAL, 6, if_true=self._ipv6)
        out.place(tag)
        self._behind_tags(4, _TAGS - 1)

    def _behind_tags(self, offset: int, tags: int) -> None:
        """Steps over so many tags at most; the first Ethernet type ends at ``offset``."""
        out = self._out
        dispatch = out.label()
        for _ in range(tags):
            tagged = out.label()
            out.emit(bpf.LDX_CONSTANT, offset)
            out.emit(bpf.LD_HALF, offset - 2)
            self._any_of(_TAG_TYPES, tagged)
            out.jump(dispatch)
            out.place(tagged)
            offset += 4
        out.emit(bpf.LDX_CONSTANT, offset)
        out.emit(bpf.LD_HALF, offset - 2)
        out.place(dispatch)
        self._network()

    def _network(self) -> None:
        """Goes by the Ethernet type in the accumulator."""
        self._out.branch(bpf.IF_EQUAL, _IPV4, if_true=self._ipv4)
        self._out.branch(bpf.IF_EQUAL, _IPV6, if_true=self._ipv6)
        self._any_of(self._ethertypes, self._accept)
        self._out.jump(self._reject)

    def _ipv4_header(self) -> None:
        out = self._out
        icmp, wanted, authentication = out.label(), out.label(), out.label()
        out.place(self._ipv4)
        out.emit(bpf.LD_BYTE_X, 9)
        out.emit(bpf.ST, _PROTOCOL_WORD)
        self._any_of(self._tunnel_protocols, self._accept)
        out.branch(bpf.IF_EQUAL, _ICMP, if_true=icmp)
        self._any_of(_TRANSPORTS, wanted)
        out.branch(bpf.IF_EQUAL, _AUTHENTICATION, if_true=authentication, if_false=self._reject)

        out.place(wanted)
        self._if_later_fragment(self._accept)
        self._step_over_ipv4()
        out.jump(self._ports)

        out.place(icmp)
        self._if_later_fragment(self._reject)
        self._step_over_ipv4()
        out.emit(bpf.LD_BYTE_X, 0)
        out.branch(bpf.IF_EQUAL, _UNREACHABLE, if_true=self._accept, if_false=self._reject)

        out.place(authentication)
        self._if_later_fragment(self._accept)
        self._step_over_ipv4()
        self._skip_extension(2)
        self._any_of(_TRANSPORTS, self._ports)
        out.jump(self._reject)

    def _if_later_fragment(self, target: Label) -> None:
        """Jumps for an IPv4 fragment other than the first, else goes on."""
        self._out.emit(bpf.LD_HALF_X, 6)
        self._out.branch(bpf.IF_ANY_BIT, _FRAGMENT_OFFSET, if_true=target)

    def _step_over_ipv4(self) -> None:
        """Moves X past the header and its options (RFC 791: length in words of 4 bytes)."""
        out = self._out
        out.emit(bpf.LD_BYTE_X, 0)
        out.emit(bpf.AND, 0x0F)
        out.emit(bpf.SHIFT_LEFT, 2)
        self._move()

    def _move(self) -> None:
        """Moves X on by the accumulator."""
        self._out.emit(bpf.ADD_X)
        self._out.emit(bpf.TAX)

    def _ipv6_headers(self) -> None:
        out = self._out
        icmp = out.label()
        out.place(self._ipv6)
        out.emit(bpf.LD_BYTE_X, 6)
        out.emit(bpf.ST, _PROTOCOL_WORD)
        self._skip(40)
        for _ in range(_EXTENSION_HEADERS):
            self._ipv6_step(icmp)
        self._ipv6_payload(icmp)
        out.jump(self._reject)

        out.place(icmp)
        out.emit(bpf.LD_BYTE_X, 0)
        out.branch(bpf.IF_EQUAL, _UNREACHABLE_6, if_true=self._accept, if_false=self._reject)

    def _ipv6_step(self, icmp: Label) -> None:
        """Goes by the next-header value in the accumulator; X moves past an extension header."""
        out = self._out
        eight_bytes, fragment, later, authentication, following = (out.label() for _ in range(5))
        self._ipv6_payload(icmp)
        self._any_of(_EIGHT_BYTE_HEADERS, eight_bytes)
        out.branch(bpf.IF_EQUAL, _FRAGMENT_HEADER, if_true=fragment)
        out.branch(bpf.IF_EQUAL, _AUTHENTICATION, if_true=authentication, if_false=self._reject)

        out.place(eight_bytes)
        self._skip_extension(3)
        out.jump(following)

        out.place(authentication)  # units of 4 bytes, less 2 (RFC 4302 section 2.2)
        self._skip_extension(2)
        out.jump(following)

        out.place(fragment)
        out.emit(bpf.LD_HALF_X, 2)
        out.branch(bpf.IF_ANY_BIT, _FRAGMENT_OFFSET_6, if_true=later)
        out.emit(bpf.LD_BYTE_X, 0)
        out.emit(bpf.ST, _PROTOCOL_WORD)
        self._skip(8)
        out.jump(following)

        out.place(later)
        out.emit(bpf.LD_BYTE_X, 0)
        out.branch(bpf.IF_EQUAL, _ICMPV6, if_true=self._reject, if_false=self._accept)
        out.place(following)

    def _ipv6_payload(self, icmp: Label) -> None:
        self._any_of(self._tunnel_protocols, self._accept)
        self._any_of(_TRANSPORTS, self._ports)
        self._out.branch(bpf.IF_EQUAL, _ICMPV6, if_true=icmp)

    def _skip_extension(self, shift: int) -> None:
        """Moves X by 8 bytes and the header's own length, which is in units of 2**shift."""
        out = self._out
        out.emit(bpf.LD_BYTE_X, 0)
        out.emit(bpf.ST, _PROTOCOL_WORD)
        out.emit(bpf.LD_BYTE_X, 1)
        out.emit(bpf.SHIFT_LEFT, shift)
        out.emit(bpf.ADD, 8)
        self._move()
        out.emit(bpf.LD_MEM, _PROTOCOL_WORD)

    def _skip(self, size: int) -> None:
        """Moves X on by a constant and loads the protocol of what follows."""
        self._out.emit(bpf.TXA)
        self._out.emit(bpf.ADD, size)
        self._out.emit(bpf.TAX)
        self._out.emit(bpf.LD_MEM, _PROTOCOL_WORD)

    def _transport_ports(self) -> None:
        """Source and destination port are the first four bytes of UDP, TCP and SCTP alike."""
        out = self._out
        out.place(self._ports)
        for offset in (0, 2):
            out.emit(bpf.LD_HALF_X, offset)
            for low, high in self._wanted.ports:
                self._in_range(low, high)
        for protocol, ports in self._tunnel_ports.items():
            if ports:
                other = out.label()
                out.emit(bpf.LD_MEM, _PROTOCOL_WORD)
                out.branch(bpf.IF_EQUAL, protocol, if_false=other)
                out.emit(bpf.LD_HALF_X, 2)
                self._any_of(ports, self._accept)
                out.place(other)

    def _in_range(self, low: int, high: int) -> None:
        if low == high:
            self._out.branch(bpf.IF_EQUAL, low, if_true=self._accept)
            return
        above = self._out.label()
        self._out.branch(bpf.IF_AT_LEAST, low, if_false=above)
        self._out.branch(bpf.IF_GREATER, high, if_false=self._accept)
        self._out.place(above)
