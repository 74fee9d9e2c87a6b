"""Turns HEP packets that were received into datagrams: who may send, when it was, which node.

Nothing here reads a socket: `Intake.receive` takes the bytes of one packet and the wall clock.
"""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass, field

from sipwatch.net import hep, recognise
from sipwatch.net.types import Datagram

#: Nodes that have a name of their own; the interface of all others is ``hep:other``.
MAX_NODES = 64

_TRANSPORTS = frozenset(("UDP", "TCP", "TLS", "SCTP", "WS", "WSS"))

#: Reasons for which a packet is refused, beside those of `hep.REASONS`.
REASONS = (*hep.REASONS, "not_sip")


@dataclass(slots=True)
class IntakeCounts:
    """Packets by what became of them."""

    packets: int = 0
    #: SIP messages handed on.
    sip: int = 0
    #: Payloads of other kinds: RTCP reports, logs.
    other: int = 0
    #: Packets refused, by reason.
    refused: Counter[str] = field(default_factory=Counter)
    #: Packets whose time was not believed: it is too far from the clock of this host.
    wrong_time: int = 0
    #: SIP messages by interface, which names the node.
    nodes: Counter[str] = field(default_factory=Counter)
    #: When the first and the last message of each of them was, in epoch seconds.
    times: dict[str, tuple[float, float]] = field(default_factory=dict)


class Intake:
    """Judges packets; with an ``auth_key`` only those that carry it.

    A time that is more than ``max_skew_seconds`` from ``now`` is replaced by ``now``: one agent
    with a wrong clock must not make the timers of all calls run out.
    """

    def __init__(self, auth_key: bytes | None = None, *, max_skew_seconds: float = 10.0) -> None:
        self._auth_key = auth_key
        self._max_skew = max_skew_seconds
        self._labels: dict[int, str] = {}
        self.counts = IntakeCounts()

    def receive(self, now: float, data: bytes) -> Datagram | None:
        """The SIP message in a packet, None when there is none or it is refused."""
        counts = self.counts
        counts.packets += 1
        try:
            packet = hep.decode(data)
        except hep.HepError as error:
            counts.refused[error.reason] += 1
            return None
        if self._auth_key is not None and not hmac.compare_digest(
            packet.auth_key or b"", self._auth_key
        ):
            counts.refused["auth_key"] += 1
            return None
        if packet.protocol != hep.SIP:
            counts.other += 1
            return None
        start = recognise.start_of(packet.payload)
        if start < 0:
            counts.refused["not_sip"] += 1
            return None
        counts.sip += 1
        interface = self._label(packet.node_id)
        counts.nodes[interface] += 1
        time = self._believed(packet.time, now)
        first, last = counts.times.get(interface, (time, time))
        counts.times[interface] = (min(first, time), max(last, time))
        return Datagram(
            time,
            packet.source,
            packet.destination,
            packet.transport if packet.transport in _TRANSPORTS else "UDP",
            packet.payload[start:],
            interface,
            counts.nodes[interface],
        )

    def _believed(self, time: float | None, now: float) -> float:
        if time is None:
            return now
        if abs(time - now) > self._max_skew:
            self.counts.wrong_time += 1
            return now
        return time

    def _label(self, node_id: int) -> str:
        label = self._labels.get(node_id)
        if label is None:
            if len(self._labels) >= MAX_NODES:
                return "hep:other"
            label = self._labels[node_id] = f"hep:{node_id}"
        return label
