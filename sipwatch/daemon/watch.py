"""Notices what makes an empty or a wrong dashboard, and says it once.

Sans-I/O: `look` takes what was counted so far and a time of the monotonic clock; it answers which
problems began and which ended. Each is noticed within a minute of its beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sipwatch.capture.live import LiveStats

#: How long nothing must be heard before it is called nothing: devices ping every 30 s.
QUIET_SECONDS = 45.0
#: A problem that shows itself by single packets is over when none came for so long.
_LINGER_SECONDS = 300.0
_EVERY = 1.0


class Seen(NamedTuple):
    """What was counted since the start."""

    packets: int
    messages: int
    tls_packets: int
    snapped: int
    inflated: int
    drops: int
    records_lost: int
    only_one_direction: bool | None
    #: Configured interfaces that are not listened on now.
    deaf: tuple[str, ...]
    #: Seconds since the oldest packet not yet judged was stamped.
    lag: float
    faults: int = 0

    @classmethod
    def of(
        cls,
        stats: LiveStats,
        *,
        messages: int,
        tls_packets: int,
        records_lost: int,
        lag: float,
        faults: int,
    ) -> Seen:
        """From the statistics of a live capture."""
        return cls(
            stats.packets,
            messages,
            tls_packets,
            sum(each.snapped for each in stats.interfaces),
            sum(each.inflated for each in stats.interfaces),
            stats.drops,
            records_lost,
            stats.only_one_direction,
            tuple(each.name for each in stats.interfaces if each.state != "listening"),
            lag,
            faults,
        )


#: What each problem means and what to do about it.
PROBLEMS: Mapping[str, str] = {
    "no_traffic": "nothing passes the filter: is this the interface, are these the ports that the "
    "PBX uses? see sipwatch doctor --trial 10",
    "no_sip": "packets come on the configured ports, but no SIP that could be read",
    "one_direction": "only one direction of the traffic is seen, outcomes cannot be told: mirror "
    "both directions of the port",
    "encrypted_only": "all SIP is encrypted (TLS) and cannot be read: let the PBX send HEP, or "
    "give its TLS key log",
    "snapped": "packets are cut by a snap length: headers may be missing",
    "inflated": "packets are longer than the MTU, joined by offloads; what they hold is read whole",
    "drops": "packets are lost: outcomes that rest on an absence are incomplete; make the ring "
    "larger (--ring)",
    "interface_down": "an interface cannot be listened on now",
    "lag": "packets are judged late: this host has too little processor time for its traffic",
    "records_lost": "records are lost: see to the disk of the records' directory",
    "fault": "sipwatch itself has a fault and left messages out: see its log, and tell its makers",
}
#: Problems that are only worth knowing.
HARMLESS = frozenset(("inflated",))
_LATE_SECONDS = 2.0


class Change(NamedTuple):
    """A problem that began or ended."""

    kind: str
    began: bool


class Watch:
    """Keeps the last minute in view; one thread uses it."""

    def __init__(self, now: float) -> None:
        self.active: dict[str, bool] = dict.fromkeys(PROBLEMS, False)
        self._look_at = now
        #: (time, packets, messages, TLS packets) of each look within `QUIET_SECONDS`.
        self._past: deque[tuple[float, int, int, int]] = deque([(now, 0, 0, 0)])
        self._counted: dict[str, int] = {}
        self._happened: dict[str, float] = {}

    def look(self, now: float, seen: Seen) -> list[Change]:
        """Compares with what was seen before; called every second or more often."""
        changes = []
        for kind, holds in self._judge(now, seen):
            if holds != self.active[kind]:
                self.active[kind] = holds
                changes.append(Change(kind, holds))
        return changes

    def is_due(self, now: float) -> bool:
        """Whether it is time for another look."""
        if now < self._look_at:
            return False
        self._look_at = now + _EVERY
        return True

    def _judge(self, now: float, seen: Seen) -> Iterator[tuple[str, bool]]:
        yield from self._silence(now, seen)
        yield "one_direction", seen.only_one_direction is True
        yield "snapped", self._goes_on("snapped", now, seen.snapped)
        yield "inflated", self._goes_on("inflated", now, seen.inflated)
        yield "drops", self._goes_on("drops", now, seen.drops)
        yield "records_lost", self._goes_on("records_lost", now, seen.records_lost)
        yield "fault", self._goes_on("fault", now, seen.faults)
        yield "interface_down", bool(seen.deaf)
        yield "lag", seen.lag > _LATE_SECONDS

    def _silence(self, now: float, seen: Seen) -> Iterator[tuple[str, bool]]:
        """No packets, packets without SIP, or SIP that is all encrypted."""
        past = self._past
        past.append((now, seen.packets, seen.messages, seen.tls_packets))
        while len(past) > 1 and past[1][0] <= now - QUIET_SECONDS:
            past.popleft()
        began, packets, messages, encrypted = past[0]
        is_long = now - began >= QUIET_SECONDS
        heard = seen.packets > packets
        understood = seen.messages > messages
        hidden = seen.tls_packets > encrypted
        yield "no_traffic", self._once_long(is_long, "no_traffic", not heard)
        yield (
            "encrypted_only",
            self._once_long(is_long, "encrypted_only", hidden and not understood),
        )
        yield "no_sip", self._once_long(is_long, "no_sip", heard and not understood and not hidden)

    def _once_long(self, is_long: bool, kind: str, holds: bool) -> bool:
        """Silence must last to begin; it ends with the first packet."""
        return holds and (is_long or self.active[kind])

    def _goes_on(self, kind: str, now: float, count: int) -> bool:
        """Whether it was counted within the last minutes."""
        if count > self._counted.get(kind, 0):
            self._happened[kind] = now
        self._counted[kind] = count
        happened = self._happened.get(kind)
        return happened is not None and now - happened < _LINGER_SECONDS
