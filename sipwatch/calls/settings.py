"""What the tracker and the correlation need to be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

#: Every way to tie an agent's leg to its caller's, each separately switchable (outcomes.md 6).
CORRELATION_RULES = (
    "call_id",
    "session_id",
    "headers",
    "replaces",
    "referred_by",
    "diversion",
    "identity",
    "time",
    "party_id",
    "sdp_origin",
    "ends",
    "route",
    "siblings",
    "pickup",
)


def _nobody(user_agent: bytes) -> bool:
    return False


class TrackerSettings(NamedTuple):
    """Addresses, limits and switches. Addresses are raw bytes as in an endpoint."""

    #: The monitored host; learned from the traffic when empty.
    local_addresses: frozenset[bytes] = frozenset()
    #: Where the agents are; everything else is outside.
    local_networks: tuple[Network, ...] = ()
    #: Names of trunks for networks.
    peers: tuple[tuple[str, Network], ...] = ()
    #: Headers that carry the same value on both sides of a B2BUA.
    correlation_headers: tuple[str, ...] = ("X-CID", "X-Call-ID", "X-Asterisk-Call-ID")
    #: Whether a User-Agent names a PBX: used where no addresses are configured.
    is_pbx: Callable[[bytes], bool] = _nobody
    correlation_rules: frozenset[str] = frozenset(CORRELATION_RULES)
    #: Attempts held at once; the oldest goes first beyond it.
    max_attempts: int = 100_000
    #: Whether `AttemptOver` is said as soon as an attempt is over on the wire.
    provisional: bool = False
    #: Whether the lines of `message.SPENT_NAMES` are let go of as well as bodies: it costs time
    #: and saves memory.
    sheds: bool = False
    #: An answered call without a BYE is given up after this long.
    max_call_seconds: float = 14_400.0
    #: Call-IDs remembered after their end, so that late messages do not look like new calls.
    max_recent: int = 200_000


class Places:
    """Which side of the host an address is on; answers are cached, for addresses repeat."""

    def __init__(self, settings: TrackerSettings) -> None:
        self.settings = settings
        self._cache: dict[bytes, tuple[bool, str]] = {}

    def inside(self, address: bytes) -> bool:
        """Whether the address is the host's own or in a local network."""
        return self._look(address)[0]

    def peer(self, address: bytes) -> str:
        """The configured name of the network that holds the address, or `other`."""
        return self._look(address)[1]

    def _look(self, address: bytes) -> tuple[bool, str]:
        found = self._cache.get(address)
        if found is None:
            if len(self._cache) > 65_536:
                self._cache.clear()
            found = self._cache[address] = _place(
                address,
                self.settings.local_addresses,
                self.settings.local_networks,
                self.settings.peers,
            )
        return found


def _place(
    address: bytes,
    local: frozenset[bytes],
    networks: Sequence[Network],
    peers: Sequence[tuple[str, Network]],
) -> tuple[bool, str]:
    ip = _ip(address)
    inside = address in local or (ip is not None and any(ip in network for network in networks))
    name, longest = "other", -1
    for peer, network in peers:
        if ip is not None and ip in network and network.prefixlen > longest:
            name, longest = peer, network.prefixlen
    return inside, name


@lru_cache(maxsize=4096)
def _ip(address: bytes) -> IPv4Address | IPv6Address | None:
    return ip_address(address) if len(address) in (4, 16) else None
