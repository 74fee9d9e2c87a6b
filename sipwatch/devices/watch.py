"""What is known of every device and trunk besides its calls: one answer for all who ask.

`receive` takes REGISTER and OPTIONS messages, and `heard` the time of every SIP message by who
sent it. That dictionary is written once for each message, so it is a plain one: it costs what an
assignment costs, and `begin` bounds it between batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

from sipwatch.devices.pings import PATIENCE_SECONDS, Pings
from sipwatch.devices.registrations import Registrations
from sipwatch.devices.types import Binding, Endpoint, Packet, Reach, Sighting

#: Places that were heard of, and their addresses.
MOST_HEARD = 65_536
MOST_ADDRESSES = 200_000


class Reachability(NamedTuple):
    """Whether somebody answers pings."""

    #: The user of the registered contact, else of the Request-URI; empty for a host.
    device: str
    endpoint: Endpoint
    #: None before anything can be said.
    reachable: bool | None
    #: Seconds, of the last answered ping.
    round_trip: float | None


class _Timed(Protocol):
    @property
    def time(self) -> float: ...


_Item = TypeVar("_Item", bound=_Timed)


class Devices:
    """Registrations, pings, and when which place was heard last. Driven by time of packets."""

    def __init__(self, local_addresses: frozenset[bytes] = frozenset()) -> None:
        self.registrations = Registrations(local_addresses)
        self.pings = Pings()
        #: When the last SIP message came from a place; written for every message, by whoever
        #: reads the packets.
        self.heard: dict[Endpoint, float] = {}
        #: Time of the first packet that was watched, and of the last loss of packets.
        self.since: float | None = None
        self.lost_at: float | None = None
        self._addresses: set[bytes] = set()
        #: How many places of `heard` have their address in `_addresses`.
        self._taken = 0
        #: Who was heard before this and not since may have been forgotten.
        self._forgotten_at = float("-inf")
        self._forgot_addresses = False

    def reconfigure(self, local_addresses: frozenset[bytes]) -> None:
        """Go on with other addresses of the host; what was learned stays."""
        self.registrations.local = local_addresses

    # --- what the rules ask ---------------------------------------------------------------------

    def registers(self, address: bytes) -> bool:
        """Whether REGISTERs came from this address."""
        return self.registrations.registers(address)

    def registrar_of(self, address: bytes, user: str) -> bool:
        """Whether the host at this address answered this user's REGISTERs."""
        return self.registrations.registrar_of(address, user)

    def binding(self, registrar: bytes, uri: bytes, destination: Endpoint) -> Binding | None:
        """The registered contact that a request to this Request-URI at this place is for."""
        return self.registrations.binding(registrar, uri, destination)

    def contacts(self, registrar: bytes, uri: bytes) -> list[Binding]:
        """The contacts, gone ones too, of the address-of-record that a Request-URI names."""
        return self.registrations.contacts(registrar, uri)

    def of_user(self, registrar: bytes, user: str) -> list[Binding]:
        """The contacts of a user, gone ones too."""
        return self.registrations.of_user(registrar, user)

    def reach(self, endpoint: Endpoint, user: bytes) -> Reach | None:
        """How pings to this user at this place fare."""
        return self.pings.reach(endpoint, user)

    def asker(self, address: bytes, user: str) -> tuple[Endpoint, Sighting] | None:
        """From which port at this address this user sends OPTIONS, and since when."""
        return self.pings.asker(address, user)

    def quiet_since(self, endpoint: Endpoint, time: float) -> bool:
        """Whether nothing came from this place at or after `time`, as far as can be vouched for."""
        last = self.heard.get(endpoint)
        if last is not None:
            return last < time
        return self._forgotten_at < time

    def ever_heard(self, address: bytes) -> bool | None:
        """Whether anything ever came from this address; None when that was forgotten."""
        self._take_addresses()
        if address in self._addresses:
            return True
        return None if self._forgot_addresses else False

    def reachability(self, now: float) -> Iterator[Reachability]:
        """How everybody who is pinged answers, at the time `now`."""
        users = {
            (binding.source, binding.contact.partition(b"@")[0]): binding.user
            for binding in self.registrations.all()
        }
        for reach in self.pings.all():
            name = users.get((reach.endpoint, reach.user))
            if name is None:
                name = reach.user.decode("utf-8", "replace")
            reachable = reach.reachable(now, PATIENCE_SECONDS)
            yield Reachability(name, reach.endpoint, reachable, reach.round_trip)

    def entries(self) -> dict[str, int]:
        """How much is held, by kind."""
        return {
            "heard": len(self.heard),
            **self.registrations.entries(),
            **self.pings.entries(),
        }

    # --- input ------------------------------------------------------------------------------------

    def receive(self, packet: Packet, method: str, status: int) -> None:
        """Take a REGISTER or OPTIONS message; `status` 0 is a request. Others are passed over."""
        if method == "OPTIONS":
            if status:
                self.pings.response(packet, status)
            else:
                self.pings.request(packet)
        elif method == "REGISTER":
            if status:
                self.registrations.response(packet, status)
            else:
                self.registrations.request(packet)

    def lost(self, now: float) -> None:
        """The capture dropped packets: no absence before now can be vouched for."""
        self.lost_at = now

    def begin(self, batch: Iterable[_Item]) -> Iterable[_Item]:
        """To be called with each batch before its packets: keeps memory bounded between them."""
        if self.since is None:
            batch = list(batch)
            if batch:
                self.since = batch[0].time
        if len(self.heard) > MOST_HEARD:
            self._trim()
        return batch

    def _trim(self) -> None:
        """The half that was not heard for longest goes."""
        heard = self.heard
        self._take_addresses()
        by_time = sorted(heard.items(), key=lambda item: item[1])
        half = len(by_time) // 2
        self._forgotten_at = max(self._forgotten_at, by_time[half - 1][1])
        heard.clear()
        heard.update(by_time[half:])
        self._taken = len(heard)

    def _take_addresses(self) -> None:
        """Note the addresses of places that are new: a dictionary has them at its end."""
        heard, addresses = self.heard, self._addresses
        new = len(heard) - self._taken
        if not new:
            return
        if len(addresses) + new > MOST_ADDRESSES:
            addresses.clear()
            self._forgot_addresses = True
        addresses.update(endpoint[0] for endpoint in islice(reversed(heard), new))
        self._taken = len(heard)
