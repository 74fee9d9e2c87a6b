"""What the network stage has seen, in plain integers, so that nothing is dropped in silence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class NetCounts:
    """Packets by what became of them. Keys of the dictionaries are ``(layer, reason)``."""

    #: Datagrams and stream messages handed on as SIP.
    sip_datagrams: int = 0
    #: ICMP and ICMPv6 reports handed on.
    unreachables: int = 0
    #: UDP that is not SIP: media, DNS, STUN and the like.
    udp_other: int = 0
    #: UDP payloads that only keep a NAT binding open.
    keep_alives: int = 0
    #: TCP packets that completed no SIP message and are not TLS.
    tcp_other: int = 0
    #: Packets of other IP protocols that carry no SIP: IGMP, OSPF, echo requests.
    ip_other: int = 0
    #: Frames that are not IP: ARP, spanning tree, LLDP.
    not_ip: int = 0
    #: What came on the port of a tunnel or in a tunnel and is its signalling or something else.
    tunnel_other: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: What may hide SIP and could not be looked into.
    not_decoded: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: What makes no sense and was skipped.
    malformed: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: TCP packets that begin with a TLS record, by the port of the server.
    tls: Counter[int] = field(default_factory=Counter)
    #: TLS connections by the port of the server.
    tls_connections: Counter[int] = field(default_factory=Counter)

    def add(self, other: NetCounts) -> None:
        """Adds the counts of another part of the input."""
        for name in self.__slots__:
            mine = getattr(self, name)
            theirs = getattr(other, name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, name, mine + theirs)
