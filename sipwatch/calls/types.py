"""What the tracker knows of an attempt and of a call, and the events that say it is over.

An `Attempt` is the bag of facts of outcomes.md section 4: times are epoch seconds of the
capture, `None` until the fact is seen. It grows while messages come and is left alone after it
was settled. Verdicts are put on it by the outcomes stage, which reads nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from sipwatch.sip.message import Message
from sipwatch.sip.reason import Reason

if TYPE_CHECKING:
    from sipwatch.calls.arrivals import Arrivals

_Member = TypeVar("_Member")

Endpoint: TypeAlias = tuple[bytes, int]
Side: TypeAlias = Literal["caller", "callee"]
Role: TypeAlias = Literal["caller", "agent", "unknown"]
Direction: TypeAlias = Literal["inbound", "outbound", "internal", "unknown"]
ClosedBy: TypeAlias = Literal["packet", "timer", "eviction", "shutdown", "end_of_capture"]

#: RFC 3261 17.1.1.1; the other timers follow from it.
T1_SECONDS = 0.5
#: Timers B, F, H and the answerer's wait for an ACK (17.1.1.2, 17.1.2.2, 17.2.1, 13.3.1.4).
TIMEOUT_SECONDS = 64 * T1_SECONDS
#: Timer D for unreliable transports (17.1.1.2).
TIMER_D_SECONDS = 32.0
#: Timer C of a proxy (16.6 item 11): longest silence between provisional responses.
TIMER_C_SECONDS = 180.0
#: A CANCEL sent this often without any answer reached nobody (outcomes.md 5.1 rule 0).
UNANSWERED_CANCELS = 3


class Packet(Protocol):
    """Where and when a message was seen: what the tracker reads of a datagram."""

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
    def interface(self) -> str:
        """File or interface."""

    @property
    def number(self) -> int:
        """Packet number, from 1."""

    @property
    def ip_id(self) -> int:
        """IPv4 identification, -1 without one."""

    @property
    def udp_check(self) -> int:
        """UDP length << 16 | checksum, -1 without one."""


_NO_TAGS: frozenset[bytes] = frozenset()


class Report(Protocol):
    """An ICMP unreachable: what the tracker reads of it."""

    @property
    def time(self) -> float:
        """Epoch seconds."""

    @property
    def source(self) -> Endpoint:
        """Who sent the datagram that could not be delivered."""

    @property
    def destination(self) -> Endpoint:
        """Where it was sent."""

    @property
    def payload(self) -> bytes:
        """As much of it as is quoted."""

    @property
    def number(self) -> int:
        """Packet number, from 1."""

    @property
    def ip_id(self) -> int:
        """Quoted IPv4 identification, -1 without one."""

    @property
    def udp_check(self) -> int:
        """Quoted UDP length << 16 | checksum, -1 without one."""

    @property
    def code(self) -> int:
        """ICMP code."""


class Verdict(NamedTuple):
    """Why an attempt or a call ended as it did, and what shows it."""

    outcome: str
    category: str | None
    detail: str | None
    #: `explicit`, `correlated`, `inferred`; None for `in_progress` and `incomplete`.
    confidence: str | None
    evidence: tuple[str, ...]
    #: The rule of outcomes.md that decided, e.g. "8b" or "5.1/4".
    rule: str
    #: Which of section 11's situations explains a technical outcome; None when nothing shows one.
    cause_hint: str | None = None


class Attempt:
    """One try to reach one target: an INVITE and its automatic retries, with all that followed."""

    __slots__ = (
        "ack_at",
        "acked",
        "ambiguous",
        "answer",
        "answer_count",
        "answer_last_at",
        "answered_at",
        "arrivals",
        "arrived",
        "branch",
        "bye_at",
        "bye_by",
        "bye_ok_at",
        "bye_packet",
        "bye_reasons",
        "call",
        "call_id",
        "call_root",
        "caller_request_at",
        "cancel",
        "cancel_answered_at",
        "cancel_at",
        "cancel_count",
        "cancel_last_at",
        "cancel_reasons",
        "candidates",
        "challenged",
        "children",
        "closed_by",
        "copies",
        "correlation",
        "credentials",
        "crossed_verdict",
        "cseq",
        "deadline",
        "destination",
        "device",
        "dialog_over",
        "direction",
        "display",
        "due",
        "early_bye_at",
        "early_media_at",
        "end",
        "ended_at",
        "final",
        "final_at",
        "final_count",
        "final_reasons",
        "final_status",
        "first_18x_at",
        "first_180_at",
        "first_response_at",
        "first_response_packet",
        "forks",
        "from_tag",
        "group",
        "hidden_parent",
        "icmp_at",
        "icmp_code",
        "icmp_packet",
        "identity",
        "interface",
        "invite",
        "ip_ids",
        "last_at",
        "last_packet",
        "last_provisional_at",
        "leg_branch",
        "leg_cseq",
        "legs",
        "linked",
        "losses",
        "names",
        "one_way",
        "packet",
        "parent",
        "peer",
        "provisional",
        "provisional_reasons",
        "refer_at",
        "refer_by",
        "reinvite_at",
        "replaced_by",
        "retransmissions",
        "ringing",
        "rivals",
        "role",
        "serial",
        "session_expires",
        "settled",
        "source",
        "started_at",
        "suitors",
        "terminal_at",
        "transmissions",
        "transport",
        "trying_at",
        "values",
        "verdict",
    )

    # --- identity -------------------------------------------------------------------------
    #: Order of appearance in this tracker, from 1.
    serial: int
    call_id: bytes
    from_tag: bytes
    #: Top Via branch and CSeq number of the first INVITE of the chain (section 17.1.3).
    branch: bytes
    cseq: int
    transport: str
    source: Endpoint
    destination: Endpoint
    interface: str
    #: Packet numbers of the first and the last message, from 1.
    packet: int
    last_packet: int
    #: The first INVITE of the chain; None when it was not captured.
    invite: Message | None
    started_at: float
    #: Time of the last message of any kind.
    last_at: float

    # --- the chain of legs ----------------------------------------------------------------
    #: The leg that counts now: its branch, CSeq number, and when its INVITE was sent each time.
    leg_branch: bytes
    leg_cseq: int
    transmissions: list[float]
    #: (IPv4 identification, UDP length and checksum) of the last transmissions, for ICMP.
    ip_ids: list[tuple[int, int]]
    legs: int
    retransmissions: int
    #: Messages seen twice on this host.
    copies: int
    #: A 401 or 407 was retried; an INVITE carried credentials.
    challenged: bool
    credentials: bool

    # --- responses --------------------------------------------------------------------------
    first_response_at: float | None
    #: Its packet number; 0 while there is none.
    first_response_packet: int
    #: First 100; first 180; first 180 or 183; first 18x with a session description.
    trying_at: float | None
    first_180_at: float | None
    first_18x_at: float | None
    early_media_at: float | None
    last_provisional_at: float | None
    #: The first 18x message (who rings, which names it carries), and the last provisional.
    ringing: Message | None
    provisional: Message | None
    provisional_reasons: Sequence[Reason]
    #: To tags of answers that came beside the first one: a proxy downstream has forked.
    forks: frozenset[bytes]
    final: Message | None
    final_status: int
    final_at: float | None
    final_count: int
    final_reasons: Sequence[Reason]
    #: ACK to a final of 300 and more.
    acked: bool

    # --- CANCEL -----------------------------------------------------------------------------
    cancel: Message | None
    cancel_at: float | None
    cancel_last_at: float | None
    cancel_count: int
    #: First response to the CANCEL, of any status.
    cancel_answered_at: float | None
    cancel_reasons: Sequence[Reason]

    # --- answer and dialog ------------------------------------------------------------------
    answer: Message | None
    answered_at: float | None
    answer_count: int
    answer_last_at: float | None
    #: ACK to the 2xx; first in-dialog request of the caller after it other than ACK.
    ack_at: float | None
    caller_request_at: float | None
    reinvite_at: float | None
    bye_at: float | None
    bye_by: Side | None
    bye_ok_at: float | None
    bye_packet: int
    bye_reasons: Sequence[Reason]
    early_bye_at: float | None
    #: An accepted REFER, and who sent it.
    refer_at: float | None
    refer_by: Side | None
    #: Session-Expires of the 2xx in seconds (RFC 4028); None without one.
    session_expires: int | None
    #: The attempt whose Replaces header names this dialog.
    replaced_by: Attempt | None

    # --- the network ------------------------------------------------------------------------
    icmp_at: float | None
    icmp_code: int
    icmp_packet: int
    #: Packets were dropped by the capture while this attempt was open.
    losses: bool
    #: Only the requests of this flow are in view.
    one_way: bool

    # --- the call -----------------------------------------------------------------------------
    #: Seen from the monitored host: `caller` was received by it, `agent` was sent by it.
    role: Role
    direction: Direction
    #: Comparable keys of who calls, his display name where they are hidden, and header values
    #: that both sides of a B2BUA may share; kept while the leg can be paired.
    identity: tuple[str, ...]
    display: str
    values: Sequence[bytes]
    #: Where the caller's leg waits for the legs that it causes.
    arrivals: Arrivals | None
    #: By whom it called there and was sent to.
    names: tuple[str, ...]
    #: Whether it was received by a PBX in view, on which it may cause further legs.
    arrived: bool
    peer: str
    parent: Attempt | None
    children: Sequence[Attempt]
    call: Call | None
    #: The leg with which its call begins, as it was when the record was complete; None where that
    #: cannot be told yet.
    call_root: Attempt | None
    #: Callers that may have caused this agent's leg, best first, until the pairing is settled.
    candidates: Sequence[Attempt]
    #: Those of them that a header of this leg names.
    linked: Sequence[Attempt]
    #: Agents' legs that have this caller among their candidates.
    suitors: Sequence[Attempt]
    #: How the pairing was made: facts for the evidence.
    correlation: tuple[str, ...]
    #: How many callers fitted equally; 0 when the pairing is clear or there is none.
    ambiguous: int
    #: Those callers: what is true of all of them is true of this leg's caller.
    rivals: Sequence[Attempt]
    #: Legs begun in the same moment for the same caller, this one included: a ring group.
    group: Sequence[Attempt]
    #: An agent's leg of a call whose caller's leg is out of view.
    hidden_parent: bool

    # --- life -----------------------------------------------------------------------------------
    #: When the tracker looks at it next, and the wheel's slot where it waits.
    deadline: float
    due: float
    #: When no message could change the outcome any more, and whether it was said.
    terminal_at: float | None
    settled: bool
    dialog_over: bool
    ended_at: float | None
    closed_by: ClosedBy | None
    #: How an answered call ended, section 9.
    end: str | None
    device: str | None
    verdict: Verdict | None
    #: What 5.1 says of the CANCEL that the answer crossed: it counts for the call.
    crossed_verdict: Verdict | None

    def __init__(
        self, serial: int, packet: Packet, message: Message, invite: Message | None
    ) -> None:
        now = packet.time
        self.serial = serial
        self.call_id = message.call_id
        self.from_tag = message.from_tag
        self.branch = self.leg_branch = message.branch
        self.cseq = self.leg_cseq = message.cseq
        self.transport = packet.transport
        self.source = packet.source
        self.destination = packet.destination
        self.interface = packet.interface
        self.packet = self.last_packet = packet.number
        self.invite = invite
        self.started_at = self.last_at = now
        self.transmissions = [now]
        self.ip_ids = [(packet.ip_id, packet.udp_check)]
        self.legs = 1
        self.retransmissions = self.copies = 0
        self.challenged = self.credentials = False
        self.first_response_at = self.trying_at = self.first_180_at = self.first_18x_at = None
        self.early_media_at = self.last_provisional_at = None
        self.ringing = self.provisional = self.final = self.cancel = self.answer = None
        self.provisional_reasons = ()
        self.forks = _NO_TAGS
        self.final_status = self.final_count = 0
        self.final_at = None
        self.final_reasons = ()
        self.acked = False
        self.cancel_at = self.cancel_last_at = self.cancel_answered_at = None
        self.cancel_count = 0
        self.cancel_reasons = ()
        self.answered_at = self.answer_last_at = self.ack_at = None
        self.answer_count = 0
        self.caller_request_at = self.reinvite_at = self.bye_at = self.bye_ok_at = None
        self.bye_by = self.refer_by = None
        self.bye_reasons = ()
        self.early_bye_at = self.refer_at = None
        self.replaced_by = None
        self.session_expires = None
        self.icmp_at = None
        self.icmp_packet = self.bye_packet = self.first_response_packet = 0
        self.icmp_code = 0
        self.losses = self.one_way = False
        self.role = self.direction = "unknown"
        self.peer = "other"
        self.identity = ()
        self.display = ""
        self.values = ()
        self.arrivals = None
        self.names = ()
        self.arrived = False
        self.parent = self.call = self.call_root = None
        self.children = self.candidates = self.linked = self.suitors = self.group = ()
        self.correlation = ()
        self.ambiguous = 0
        self.rivals = ()
        self.hidden_parent = False
        self.deadline = self.due = float("inf")
        self.terminal_at = self.ended_at = None
        self.settled = self.dialog_over = False
        self.closed_by = self.end = self.device = None
        self.verdict = self.crossed_verdict = None

    def __repr__(self) -> str:
        return f"<Attempt {self.serial} {self.call_id.decode('utf-8', 'replace')}>"

    def keeps(self, message: Message, *, sheds: bool = False) -> Message:
        """The message as it stays with this leg: without its body, and without copies of words.

        With `sheds` without the headers either that routed it, or that the INVITE has too.
        """
        message.drop_body()
        if sheds:
            message.drop_spent(sender_known=self.invite is not None)
        message.call_id = self.call_id
        if message.branch == self.leg_branch and message.cseq == self.leg_cseq:
            message.branch = self.leg_branch
            message.cseq = self.leg_cseq
        return message

    def shed(self) -> None:
        """Let go of what only verdicts and records read, after both were made and taken.

        What is left is what other legs are compared with: times, addresses and identity, who was
        tried, and who was named to the caller.
        """
        if self.invite is not None:
            self.invite.drop_headers()
        self.answer = _naming(self.answer)
        self.ringing = _naming(self.ringing)
        self.provisional = _naming(self.provisional)
        self.final = self.cancel = None
        self.values = ()

    @property
    def is_alone(self) -> bool:
        """Whether no other leg points at this one, or is pointed at by it."""
        call = self.call
        return not (
            self.parent
            or self.children
            or self.candidates
            or self.suitors
            or self.linked
            or self.rivals
            or self.replaced_by
            or len(self.group) > 1
            or (call is not None and len(call.attempts) > 1)
        )

    def part(self, past: Call) -> None:
        """Let go of its ended call, of which it is the only leg; any ended call stands for it."""
        self.group = ()
        self.call_root = None
        self.call = past

    def untie(self) -> None:
        """Let go of the other legs of the call, after all of it was said."""
        self.parent = self.call = self.call_root = self.replaced_by = None
        self.children = self.candidates = self.linked = self.suitors = self.group = ()
        self.rivals = ()

    @property
    def root(self) -> Attempt | None:
        """The leg with which its call begins, as its record says it."""
        if self.dialog_over:
            return self.call_root
        return None if self.call is None else self.call.root

    @property
    def incomplete(self) -> bool:
        """Whether the INVITE itself was not captured."""
        return self.invite is None

    @property
    def begun_by_pbx(self) -> bool:
        """Whether the PBX began it by itself: then who waits is at the other end of this leg."""
        return self.role == "agent" and not self.arrived

    def has_tag(self, tag: bytes) -> bool:
        """Whether a dialog of this attempt has this tag on the called side."""
        for message in (self.answer, self.ringing):
            if message is not None and message.to_tag == tag:
                return True
        return tag in self.forks

    @property
    def rang_until(self) -> float | None:
        """When ringing or waiting ended: the answer, the CANCEL, or the final response."""
        if self.answered_at is not None and self.cancel_at is None:
            return self.answered_at
        if self.cancel_at is not None:
            return self.cancel_at
        return self.final_at

    @property
    def ring_duration(self) -> float | None:
        """Seconds from the first 180 or 183 to the final response or the CANCEL."""
        end = self.rang_until
        if self.first_18x_at is None or end is None:
            return None
        return max(0.0, end - self.first_18x_at)

    @property
    def post_dial_delay(self) -> float | None:
        """Seconds from the first INVITE of the chain to the first 18x or 2xx."""
        at = self.first_18x_at if self.first_18x_at is not None else self.answered_at
        return None if at is None else max(0.0, at - self.started_at)

    @property
    def setup_duration(self) -> float | None:
        """Seconds from the first INVITE of the chain to the 2xx (RFC 6076 4.3)."""
        return None if self.answered_at is None else max(0.0, self.answered_at - self.started_at)

    @property
    def talk_duration(self) -> float | None:
        """Seconds from the 2xx to the BYE; None while it lasts."""
        if self.answered_at is None or self.bye_at is None:
            return None
        return max(0.0, self.bye_at - self.answered_at)


def added(members: Sequence[_Member], one: _Member) -> Sequence[_Member]:
    """The members and one more: the same list when they are one.

    Of the sequences of an attempt nearly all stay empty: a list is made for the first member.
    """
    if isinstance(members, list):
        members.append(one)
        return members
    return [*members, one]


def without(members: Sequence[_Member], one: _Member) -> Sequence[_Member]:
    """The members without this one, which need not be among them."""
    if one not in members:
        return members
    left = list(members)
    left.remove(one)
    return left


def _naming(message: Message | None) -> Message | None:
    """The message where it names somebody."""
    return message if message is not None and message.names_party else None


class InviteKey(NamedTuple):
    """What identifies the first leg of an attempt (RFC 3261 17.1.3)."""

    call_id: bytes
    from_tag: bytes
    branch: bytes
    cseq: int


class Missed(Protocol):
    """What is remembered of a missed call: see `sipwatch.outcomes.missed`."""

    inbound: bool
    keys: frozenset[str]
    callback_requested: bool
    returned_at: float | None
    returned_by: str | None


class Call:
    """Everything one caller experienced: the caller's attempt and those it gave rise to."""

    __slots__ = (
        "__weakref__",
        "attempts",
        "callback_for",
        "callback_requested",
        "ended",
        "hint_fact",
        "missed",
        "outcome_hint",
        "returned_at",
        "returned_by",
        "returns",
        "root",
        "serial",
        "verdict",
    )

    def __init__(self, serial: int, root: Attempt) -> None:
        self.serial = serial
        #: The caller's attempt; the first agent's leg when the caller's is out of view.
        self.root = root
        #: In order of their first INVITE; the root first.
        self.attempts = [root]
        self.ended = False
        self.verdict: Verdict | None = None
        #: What is remembered of it when it reached nobody.
        self.missed: Missed | None = None
        #: A missed call: whether its caller asked to be called back, and when and by whom he was.
        self.callback_requested = False
        self.returned_at: float | None = None
        self.returned_by: str | None = None
        #: The missed call that this one returns, or asks a return of.
        self.returns: InviteKey | None = None
        self.callback_for: InviteKey | None = None
        #: What the configuration makes of it (section 6, rule 2), and what shows it.
        self.outcome_hint: str | None = None
        self.hint_fact = ""


class AttemptEnded(NamedTuple):
    """No message can change the outcome of this attempt any more. Said once per attempt."""

    attempt: Attempt
    time: float


class DialogEnded(NamedTuple):
    """The conversation of an answered attempt is over, or the watching of it."""

    attempt: Attempt
    time: float


class CallEnded(NamedTuple):
    """All attempts of a call are settled and its conversation is over."""

    call: Call
    time: float


class AttemptOver(NamedTuple):
    """The attempt is over on the wire; other legs may still change what is said of it.

    Said only where somebody follows (`TrackerSettings.provisional`). `verdict` is what would be
    said now; the tracker leaves it to the stage that judges.
    """

    attempt: Attempt
    time: float
    verdict: Verdict | None = None


Event: TypeAlias = AttemptEnded | DialogEnded | CallEnded | AttemptOver
