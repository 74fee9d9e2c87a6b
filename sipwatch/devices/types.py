"""What is remembered of a device: sightings, registrations, and how it answers pings."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

Endpoint: TypeAlias = tuple[bytes, int]

#: Earlier places of one registration that are remembered.
_MOST_FORMER = 4


class Packet(Protocol):
    """Where and when a message was seen: what is read of a datagram."""

    @property
    def time(self) -> float:
        """Epoch seconds."""

    @property
    def source(self) -> Endpoint:
        """Address and port of the sender."""

    @property
    def destination(self) -> Endpoint:
        """Address and port of the receiver."""

    @property
    def transport(self) -> str:
        """`UDP`, `TCP`, `TLS`, `WS`, `WSS` or `SCTP`."""

    @property
    def payload(self) -> bytes:
        """The SIP message."""

    @property
    def number(self) -> int:
        """Packet number, from 1."""


class Sighting(NamedTuple):
    """One packet that shows something."""

    #: Epoch seconds.
    time: float
    #: Packet number, from 1.
    packet: int


class Grant(NamedTuple):
    """What a registrar granted with one 2xx to a REGISTER (RFC 3261 10.3)."""

    #: The REGISTER (its 2xx where the request is not in view), and the 2xx.
    registered: Sighting
    granted: Sighting
    #: Granted seconds and the epoch second when they are over; None when the 2xx does not say.
    #: 0 seconds when the contact was given up.
    seconds: int | None
    expires_at: float | None
    #: The 2xx that showed that the registrar has it no more.
    gone: Sighting | None = None
    #: The 2xx lists no other contact of the user.
    alone: bool = False

    def valid_at(self, time: float) -> bool | None:
        """Whether the contact was registered at this time; None when that is not known."""
        if self.gone is not None and self.gone.time <= time:
            return False
        return None if self.expires_at is None else time < self.expires_at


class Binding:
    """One contact of an address-of-record (RFC 3261 10.2), as its registrar granted it."""

    __slots__ = (
        "aor",
        "asked",
        "call_id",
        "contact",
        "former",
        "gap_total",
        "grant",
        "heard",
        "instance",
        "late",
        "longest_gap",
        "moves",
        "previous",
        "public",
        "reacted",
        "refreshes",
        "rport",
        "source",
        "transport",
        "user",
        "user_agent",
    )

    #: `user@host` of the To header, and its user part.
    aor: str
    user: str
    #: `user@host:port` of the Contact as the registrar lists it, and as the device asked for it.
    contact: bytes
    asked: bytes
    #: +sip.instance of the Contact (RFC 5626 4.1); empty without one.
    instance: bytes
    #: Where the last REGISTER came from, and what the registrar saw (Via received and rport).
    source: Endpoint
    public: Endpoint | None
    rport: bytes
    transport: str
    call_id: bytes
    user_agent: bytes
    #: The last grant, and the one before.
    grant: Grant
    previous: Grant | None
    #: A packet with which the device showed that it hears what is sent to it; and whether it
    #: seems to have heard the last 2xx, for it did not ask again.
    reacted: Sighting | None
    heard: bool
    #: Renewals, how many came after the expiry, and the seconds between them.
    refreshes: int
    late: int
    gap_total: float
    longest_gap: float
    #: How often it registered from another place, and the last of those, oldest first.
    moves: int
    former: list[tuple[Endpoint, Sighting]]

    def __init__(self, aor: str, user: str, contact: bytes, source: Endpoint, grant: Grant) -> None:
        self.aor = aor
        self.user = user
        self.contact = self.asked = contact
        self.instance = self.call_id = self.user_agent = self.rport = b""
        self.source = source
        self.public = None
        self.transport = ""
        self.grant = grant
        self.previous = None
        self.reacted = None
        self.heard = True
        self.refreshes = self.late = self.moves = 0
        self.gap_total = self.longest_gap = 0.0
        self.former = []

    def __repr__(self) -> str:
        return f"<Binding {self.aor} {self.contact.decode('utf-8', 'replace')}>"

    @property
    def mean_gap(self) -> float | None:
        """Seconds between renewals in the mean; None before the first."""
        return self.gap_total / self.refreshes if self.refreshes else None

    def grant_at(self, time: float) -> Grant | None:
        """The last grant up to this time; None when it came later or was forgotten."""
        for grant in (self.grant, self.previous):
            if grant is not None and grant.granted.time <= time:
                return grant
        return None

    def moved_from(self, endpoint: Endpoint) -> Sighting | None:
        """The last REGISTER from that place, when it has registered from another one since."""
        if self.source == endpoint:
            return None
        return next((seen for place, seen in reversed(self.former) if place == endpoint), None)

    def leave(self) -> None:
        """It registers from another place than its last one."""
        self.moves += 1
        self.former.append((self.source, self.grant.registered))
        del self.former[:-_MOST_FORMER]


class Reach:
    """How one side answers the OPTIONS requests of another (RFC 3261 11).

    Written for every ping, so that times and packet numbers lie here one by one.
    """

    __slots__ = (
        "answered",
        "answered_at",
        "answered_packet",
        "asker",
        "endpoint",
        "round_trip",
        "sent",
        "sent_at",
        "slow",
        "slow_seconds",
        "unanswered",
        "unanswered_at",
        "unanswered_packet",
        "user",
    )

    #: Who is asked, by which user of the Request-URI (empty without one), and who asks.
    endpoint: Endpoint
    user: bytes
    asker: Endpoint
    #: Pings, without retransmissions, and how many of them were answered.
    sent: int
    answered: int
    sent_at: float
    #: Time and packet of the last answer; packet 0 before the first.
    answered_at: float
    answered_packet: int
    #: Seconds from the first transmission to the answer; of the last answered ping.
    round_trip: float | None
    #: How many pings were sent since the last answer, and the first of them.
    unanswered: int
    unanswered_at: float
    unanswered_packet: int
    #: The last answer that certainly took longer than T1, and how long at least.
    slow: Sighting | None
    slow_seconds: float

    def __init__(self, endpoint: Endpoint, user: bytes, asker: Endpoint) -> None:
        self.endpoint = endpoint
        self.user = user
        self.asker = asker
        self.sent = self.answered = self.unanswered = 0
        self.answered_packet = self.unanswered_packet = 0
        self.sent_at = self.answered_at = self.unanswered_at = 0.0
        self.round_trip = None
        self.slow = None
        self.slow_seconds = 0.0

    @property
    def last_answer(self) -> Sighting | None:
        """The last answered ping's answer; None before the first."""
        if not self.answered_packet:
            return None
        return Sighting(self.answered_at, self.answered_packet)

    def in_vain(self, now: float, patience: float) -> Sighting | None:
        """The first ping since the last answer, once it is `patience` seconds old."""
        if not self.unanswered or now - self.unanswered_at < patience:
            return None
        return Sighting(self.unanswered_at, self.unanswered_packet)

    def reachable(self, now: float, patience: float) -> bool | None:
        """Whether it answers; None before anything can be said."""
        if self.in_vain(now, patience) is not None:
            return False
        return True if self.answered else None
