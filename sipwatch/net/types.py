"""The types that leave the network stage: datagrams and ICMP reports.

Both are tuples because millions of them pass; both carry where they were seen, so that a
verdict can name the packet that shows it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

#: IP address as 4 or 16 raw bytes, and port.
Endpoint: TypeAlias = tuple[bytes, int]


class Datagram(NamedTuple):
    """One transport payload that may hold a SIP message."""

    #: Epoch seconds from the capture.
    time: float
    source: Endpoint
    destination: Endpoint
    #: ``UDP``, ``TCP``, ``TLS``, ``WS``, ``WSS`` or ``SCTP``.
    transport: str
    payload: bytes
    #: The file of a replay, the interface name of a live capture.
    interface: str
    #: 1-based packet number within ``interface``.
    number: int
    #: IPv4 identification; -1 where there is none.
    ip_id: int = -1
    #: UDP length << 16 | checksum; -1 where it is not UDP.
    udp_check: int = -1


class Unreachable(NamedTuple):
    """An ICMP or ICMPv6 destination unreachable, told by what it quotes (RFC 792, RFC 4443 3.1)."""

    time: float
    #: Address of the host that sent the report.
    reporter: bytes
    #: Endpoints of the quoted datagram: ``source`` is who sent what could not be delivered.
    source: Endpoint
    destination: Endpoint
    #: As much of the quoted UDP payload as the report carries, often nothing.
    payload: bytes
    interface: str
    number: int
    ip_id: int
    udp_check: int
    #: ICMP code (3 = port unreachable); for ICMPv6 codes 4 and 1 are given as they stand.
    code: int


Batch: TypeAlias = "list[Datagram | Unreachable]"
