"""The configuration as the program sees it: typed, complete, frozen. One field a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sipwatch.config import kinds
from sipwatch.config.errors import WrongValue
from sipwatch.config.hep import Hep
from sipwatch.config.hours import Hours
from sipwatch.config.kinds import Address, HeaderRule, Network
from sipwatch.config.setting import takes

_SECONDS = kinds.number("a number of seconds, 0 or more", 0, 10_000_000)
_SOME_SECONDS = kinds.number("a number of seconds above 0", 0, 10_000_000, above=True)

#: Dialects there are files for (outcomes.md section 12).
DIALECTS = ("asterisk", "freeswitch", "sippy")

_NETWORKS_BY_NAME = kinds.table_of(kinds.NAME, kinds.list_of(kinds.NETWORK))


def _parse_peers(value: Any) -> Mapping[str, tuple[Network, ...]]:
    """Names to networks: one network is one peer's, and "other" is everybody else."""
    peers: Mapping[str, tuple[Network, ...]] = _NETWORKS_BY_NAME.parse(value)
    owners: dict[Network, str] = {}
    for name, networks in peers.items():
        if name == "other":
            raise WrongValue('a name but "other", which stands for unknown peers', name, (name,))
        for position, network in enumerate(networks):
            owner = owners.setdefault(network, name)
            if owner != name:
                expected = f"a network that is not {owner}'s already"
                raise WrongValue(expected, str(network), (name, position))
    return peers


_PEERS = kinds.Kind(_NETWORKS_BY_NAME.expected, _parse_peers, kinds.inline)

#: Rules of outcomes.md section 6 that can be switched off one by one.
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


@dataclass(frozen=True, slots=True)
class Timers:
    """Times that divide one outcome from another (outcomes.md section 5), in seconds."""

    brief_abandon_seconds: float = field(default=5.0, metadata=takes(_SECONDS))
    no_answer_seconds: float = field(default=10.0, metadata=takes(_SOME_SECONDS))
    ring_timeouts_seconds: tuple[float, ...] = field(
        default=(), metadata=takes(kinds.list_of(_SOME_SECONDS))
    )
    #: An answered call without a BYE is given up after that long.
    max_call_seconds: float = field(default=14_400.0, metadata=takes(_SOME_SECONDS))
    #: Talk time below it is a short answer; 0 = nothing is.
    short_answer_seconds: float = field(default=0.0, metadata=takes(_SECONDS))


@dataclass(frozen=True, slots=True)
class Callback:
    """How callers ask to be called back, and how long a return call counts as one."""

    feature_codes: tuple[str, ...] = field(default=(), metadata=takes(kinds.list_of(kinds.TEXT)))
    headers: tuple[HeaderRule, ...] = field(
        default=(), metadata=takes(kinds.list_of(kinds.HEADER_RULE))
    )
    return_window_seconds: float = field(default=86_400.0, metadata=takes(_SECONDS))


@dataclass(frozen=True, slots=True)
class Rejection:
    """What else than 607 and 608 says that a caller is on a rejection list."""

    codes: tuple[int, ...] = field(
        default=(),
        metadata=takes(kinds.list_of(kinds.integer("a final status from 300 to 699", 300, 699))),
    )
    #: Found anywhere in a Reason text, in any case.
    reason_texts: tuple[str, ...] = field(default=(), metadata=takes(kinds.list_of(kinds.TEXT)))
    headers: tuple[HeaderRule, ...] = field(
        default=(), metadata=takes(kinds.list_of(kinds.HEADER_RULE))
    )


@dataclass(frozen=True, slots=True)
class Correlation:
    """How legs are joined to calls."""

    headers: tuple[str, ...] = field(
        default=("X-CID", "X-Call-ID", "X-Asterisk-Call-ID"),
        metadata=takes(kinds.list_of(kinds.HEADER_NAME)),
    )
    #: Rules that are switched off.
    disabled: tuple[str, ...] = field(
        default=(), metadata=takes(kinds.list_of(kinds.choice(*CORRELATION_RULES)))
    )


@dataclass(frozen=True, slots=True)
class Agents:
    """Which users are agents."""

    metrics: bool = field(default=False, metadata=takes(kinds.BOOLEAN))
    pattern: re.Pattern[str] | None = field(default=None, metadata=takes(kinds.PATTERN))
    users: tuple[str, ...] = field(default=(), metadata=takes(kinds.list_of(kinds.TEXT)))
    limit: int = field(
        default=500, metadata=takes(kinds.integer("a number from 1 to 100000", 1, 100_000))
    )

    @property
    def configured(self) -> bool:
        """Whether it was said who is an agent."""
        return self.pattern is not None or bool(self.users)

    def include(self, user: str) -> bool:
        """Whether this user is an agent; everybody is when nothing was said."""
        if not self.configured:
            return bool(user)
        return user in self.users or (
            self.pattern is not None and self.pattern.search(user) is not None
        )


@dataclass(frozen=True, slots=True)
class Records:
    """Where finished attempts and calls are kept, and for how long."""

    directory: str = field(default="/var/lib/sipwatch", metadata=takes(kinds.TEXT))
    retention_days: float = field(
        default=30.0,
        metadata=takes(kinds.number("a number of days above 0", 0, 36_500, above=True)),
    )
    max_megabytes: int = field(
        default=1024,
        metadata=takes(kinds.integer("a number of megabytes, 1 or more", 1, 1_000_000_000)),
    )
    json_lines: bool = field(default=False, metadata=takes(kinds.BOOLEAN))


@dataclass(frozen=True, slots=True)
class Privacy:
    """How telephone numbers appear in everything that is written."""

    numbers: str = field(default="full", metadata=takes(kinds.choice("full", "mask", "hash")))
    #: With "hash": makes the hashes of several runs comparable. Without it each run has its own.
    key: str = field(
        default="",
        metadata=takes(kinds.string("a secret of 16 characters or more", r".{16,}|"), secret=True),
    )


@dataclass(frozen=True, slots=True)
class Web:
    """Where the daemon answers."""

    listen: tuple[str, int] = field(default=("127.0.0.1", 9742), metadata=takes(kinds.LISTEN))


@dataclass(frozen=True, slots=True)
class Tracker:
    """Bounds of what is remembered at once."""

    max_entries: int = field(
        default=50_000,
        metadata=takes(kinds.integer("a number from 100 to 10000000", 100, 10_000_000)),
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; `Config()` is what holds when nothing was said."""

    local_addresses: tuple[Address, ...] = field(
        default=(), metadata=takes(kinds.list_of(kinds.ADDRESS))
    )
    local_networks: tuple[Network, ...] = field(
        default=(), metadata=takes(kinds.list_of(kinds.NETWORK))
    )
    interfaces: tuple[str, ...] = field(
        default=(),
        metadata=takes(
            kinds.list_of(
                kinds.string('an interface name such as "eth0"', r"[^\s/\x00-\x1f]{1,15}")
            )
        ),
    )
    ports: tuple[int, ...] = field(
        default=(5060, 5061, 5080), metadata=takes(kinds.list_of(kinds.PORT))
    )
    peers: Mapping[str, tuple[Network, ...]] = field(default_factory=dict, metadata=takes(_PEERS))
    #: Networks whose dialect is known better than their User-Agent says.
    dialects: Mapping[Network, str] = field(
        default_factory=dict, metadata=takes(kinds.table_of(kinds.NETWORK, kinds.choice(*DIALECTS)))
    )
    timers: Timers = field(default_factory=Timers)
    hours: Hours = field(default_factory=Hours)
    callback: Callback = field(default_factory=Callback)
    rejection: Rejection = field(default_factory=Rejection)
    correlation: Correlation = field(default_factory=Correlation)
    agents: Agents = field(default_factory=Agents)
    records: Records = field(default_factory=Records)
    privacy: Privacy = field(default_factory=Privacy)
    web: Web = field(default_factory=Web)
    hep: Hep = field(default_factory=Hep)
    tracker: Tracker = field(default_factory=Tracker)
    #: Where each key's value came from; a key that is absent has its default.
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def origin(self, key: str) -> str:
        """Where the value of a dotted key came from, in words."""
        return self.origins.get(key, "default")
