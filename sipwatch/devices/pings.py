"""OPTIONS pings: who answers whom, how fast, and since when not any more (RFC 3261 11).

Many pings are nothing else, so a ping costs a few byte searches and never a parse. Pings of one
destination are told apart by the user of the Request-URI: behind a proxy stand many devices.
"""

from __future__ import annotations

from collections.abc import Iterator

from sipwatch.devices.bounds import make_room, take_stale
from sipwatch.devices.types import Endpoint, Packet, Reach, Sighting
from sipwatch.devices.wire import from_user_of, transaction_of, user_in

#: Destinations that are remembered, the least recently pinged go first; pings under way.
MOST_PINGED = 50_000
MOST_UNDER_WAY = 20_000
#: Timer F: no answer comes any more (17.1.2.2).
TIMEOUT_SECONDS = 32.0
#: A ping this old and not answered was in vain: so long PBXs wait before they say so.
PATIENCE_SECONDS = 3.0
#: RFC 3261 17.1.2.1: what takes longer is sent again.
T1_SECONDS = 0.5
_SWEEP_SECONDS = 1.0

#: A proxy in between says these for a device that it cannot reach (16.7, 21.4.9, 21.5.4, 21.5.5).
_NO_ANSWERS = frozenset((408, 503, 504))


class Pings:
    """OPTIONS requests and their answers; bounded."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self._reach: dict[tuple[Endpoint, bytes], Reach] = {}
        #: Transaction to who is pinged, and when it was sent first and last.
        self._under_way: dict[bytes, tuple[Reach, float, float]] = {}
        self._sweep_at = 0.0
        #: Places that ping, and (address, user of From) to the latest of them: who is it.
        self._places: dict[Endpoint, None] = {}
        self._askers: dict[tuple[bytes, str], tuple[Endpoint, Sighting]] = {}

    def reach(self, endpoint: Endpoint, user: bytes) -> Reach | None:
        """How pings to this user at this place fare; pings to no user are the host's own."""
        return self._reach.get((endpoint, user)) or self._reach.get((endpoint, b""))

    def asker(self, address: bytes, user: str) -> tuple[Endpoint, Sighting] | None:
        """From which port at this address this user sends OPTIONS, and since when."""
        return self._askers.get((address, user))

    def all(self) -> Iterator[Reach]:
        """Everybody who was pinged."""
        return iter(self._reach.values())

    def entries(self) -> dict[str, int]:
        """How much is held, by kind."""
        return {
            "pinged": len(self._reach),
            "pinging": len(self._places),
            "pings": len(self._under_way),
        }

    def request(self, packet: Packet) -> None:
        """An OPTIONS request."""
        payload, now = packet.payload, packet.time
        transaction = transaction_of(payload)
        under_way = self._under_way
        known = under_way.get(transaction)
        if known is not None:
            under_way[transaction] = (known[0], known[1], now)
            return
        if now >= self._sweep_at:
            self._sweep(now)
        start = payload.find(b" ") + 1
        key = (packet.destination, user_in(payload[start : payload.find(b" ", start)]))
        reach = self._reach.get(key)
        if reach is None:
            if len(self._reach) >= MOST_PINGED:
                self._drop_oldest()
            reach = self._reach[key] = Reach(*key, packet.source)
        source = packet.source
        if reach.asker is not source:
            reach.asker = source
        if source not in self._places:
            self._new_place(packet)
        self.sent += 1
        reach.sent += 1
        reach.sent_at = now
        if not reach.unanswered:
            reach.unanswered_at = now
            reach.unanswered_packet = packet.number
        reach.unanswered += 1
        if len(under_way) >= MOST_UNDER_WAY:
            make_room(under_way, MOST_UNDER_WAY)
        under_way[transaction] = (reach, now, now)

    def response(self, packet: Packet, status: int) -> None:
        """A response to an OPTIONS request, of any status."""
        if status in _NO_ANSWERS:
            return
        known = self._under_way.pop(transaction_of(packet.payload), None)
        if known is None:
            return
        reach, first, last = known
        now = packet.time
        self.answered += 1
        reach.answered += 1
        reach.answered_at = now
        reach.answered_packet = packet.number
        reach.unanswered = 0
        reach.round_trip = now - first
        # Sent again, the answer may be to either: only what the last one took is certain.
        if now - last > T1_SECONDS:
            reach.slow, reach.slow_seconds = Sighting(now, packet.number), now - last

    def _sweep(self, now: float) -> None:
        """Wait no more for answers that cannot come any more."""
        self._sweep_at = now + _SWEEP_SECONDS
        take_stale(self._under_way, lambda ping: ping[1], now - TIMEOUT_SECONDS)

    def _new_place(self, packet: Packet) -> None:
        """Pings come from a place that has sent none before: who is it?"""
        make_room(self._places, MOST_PINGED)
        make_room(self._askers, MOST_PINGED)
        self._places[packet.source] = None
        key = (packet.source[0], from_user_of(packet.payload))
        self._askers[key] = (packet.source, Sighting(packet.time, packet.number))

    def _drop_oldest(self) -> None:
        """Make room: the half that was not pinged for longest goes."""
        by_time = sorted(self._reach.values(), key=lambda reach: reach.sent_at)
        for reach in by_time[: len(by_time) // 2 or 1]:
            del self._reach[reach.endpoint, reach.user]
