"""One attempt with all that a rule may look at: its facts, its call, what is known of the PBX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sipwatch.calls.pairing import end_of_leg
from sipwatch.calls.types import Attempt
from sipwatch.outcomes.dialect import LONGEST_AGENT, UNKNOWN, Dialect, Dialects
from sipwatch.outcomes.phones import is_phone
from sipwatch.outcomes.ring_timers import Learned, RingTimers
from sipwatch.outcomes.settings import RuleSettings
from sipwatch.sip import grammar
from sipwatch.sip.message import Message
from sipwatch.sip.reason import Reason

#: The first of two things was caused by the second within this time (5.1 rules 1 to 3).
AROUND_SECONDS = 1.0
#: A PBX that tells its caller of ringing by itself does so this soon after it calls a device.
AT_ONCE_SECONDS = 0.01


class Finding(NamedTuple):
    """What a rule says."""

    outcome: str
    detail: str | None = None
    confidence: str | None = "explicit"
    #: What the rule saw beyond the bare facts, for the evidence.
    notes: tuple[str, ...] = ()
    #: The part of the rule that spoke, "5.1/4" for rule 13; empty for the rule's own number.
    rule: str = ""


class Registrations(Protocol):
    """What is known of the devices' registrations."""

    def registers(self, address: bytes) -> bool:
        """Whether REGISTERs came from this address."""

    def registrar_of(self, address: bytes, user: str) -> bool:
        """Whether the host at this address answered this user's REGISTERs."""


class Host(Protocol):
    """What is known of the monitored host."""

    @property
    def sees_agents(self) -> bool:
        """Whether agents' legs are in view."""

    @property
    def without_agents(self) -> int:
        """How many callers' legs rang without one."""

    @property
    def talked_without(self) -> int:
        """How many callers' legs talked without one."""

    def is_device(self, address: bytes) -> bool:
        """Whether this address was called as one agent's device, not as a trunk."""


class Scene:
    """The view of one attempt. `now` is when it is judged; nothing later is known."""

    __slots__ = (
        "_responder",
        "_sender",
        "attempt",
        "dialects",
        "host",
        "now",
        "registrations",
        "settings",
        "timers",
    )

    def __init__(
        self,
        attempt: Attempt,
        now: float,
        settings: RuleSettings,
        dialects: Dialects,
        timers: RingTimers,
        registrations: Registrations,
        host: Host,
    ) -> None:
        self.attempt = attempt
        self.now = now
        self.settings = settings
        self.dialects = dialects
        self.timers = timers
        self.registrations = registrations
        self.host = host
        self._responder: Dialect | None = None
        self._sender: Dialect | None = None

    def of(self, attempt: Attempt) -> Scene:
        """The same view of another attempt."""
        return Scene(
            attempt,
            self.now,
            self.settings,
            self.dialects,
            self.timers,
            self.registrations,
            self.host,
        )

    # --- who speaks ---------------------------------------------------------------------------

    @property
    def responder(self) -> Dialect:
        """The dialect of who answered the INVITE."""
        if self._responder is None:
            a = self.attempt
            self._responder = self.dialects.of(
                a.destination[0], a.final, a.provisional, a.ringing, a.answer
            )
        return self._responder

    @property
    def sender(self) -> Dialect:
        """The dialect of who sent the INVITE and its CANCEL."""
        if self._sender is None:
            a = self.attempt
            self._sender = self.dialects.of(a.source[0], a.cancel, a.invite)
        return self._sender

    @property
    def responder_agent(self) -> str:
        """Server or User-Agent of who answered the INVITE; empty when unknown."""
        a = self.attempt
        for message in (a.final, a.answer, a.ringing, a.provisional):
            name = agent_of(message)
            if name:
                return name
        return ""

    @property
    def responder_is_phone(self) -> bool:
        """Whether the one that answered is a phone: by its name, or because it registers here."""
        if self.responder is not UNKNOWN:
            return False
        if self.registrations.registers(self.attempt.destination[0]):
            return True
        agent = self.responder_agent
        return bool(agent) and is_phone(agent)

    # --- ringing --------------------------------------------------------------------------------

    @property
    def rang(self) -> bool:
        """A 180 or 183 came (rules 11, 12 and 5.1)."""
        return self.attempt.first_18x_at is not None or self.handed_on_at is not None

    @property
    def handed_on_at(self) -> float | None:
        """When the caller was told of a ringing that this leg's capture lacks; None elsewhere.

        The only device that was tried for him lived to the end: it answered the CANCEL or refused.
        A PBX that makes its callers' 180 itself does so at once, not after it has heard from one.
        """
        a, caller = self.attempt, self.attempt.parent
        heard = a.first_response_at
        if a.first_18x_at is not None or caller is None or heard is None or a.role != "agent":
            return None
        at, end = caller.first_180_at, end_of_leg(a)
        if at is None or end is None or not max(heard, a.started_at + AT_ONCE_SECONDS) < at < end:
            return None
        if a.cancel_answered_at is None and a.final_at is None:
            return None
        for other in caller.children:
            if other is not a and other.started_at <= at and (end_of_leg(other) or at) >= at:
                return None
        return at

    @property
    def ring_seconds(self) -> float:
        """Seconds from the first 180 or 183 to the end; 0 when neither came."""
        return self.attempt.ring_duration or self._handed_on_seconds

    @property
    def _handed_on_seconds(self) -> float:
        at = self.handed_on_at
        return 0.0 if at is None else (end_of_leg(self.attempt) or at) - at

    @property
    def ring_180_seconds(self) -> float:
        """Seconds from the first 180 to the final (rules 8 to 10); 0 without a 180."""
        a = self.attempt
        if a.final_at is None:
            return 0.0
        if a.first_180_at is None:
            return self._handed_on_seconds
        return max(0.0, a.final_at - a.first_180_at)

    @property
    def final_seconds(self) -> float:
        """Seconds from the INVITE of the last leg to the final."""
        a = self.attempt
        return 0.0 if a.final_at is None else a.final_at - a.transmissions[0]

    @property
    def cancel_seconds(self) -> float:
        """Seconds from the INVITE of the last leg to the CANCEL."""
        a = self.attempt
        return 0.0 if a.cancel_at is None else a.cancel_at - a.transmissions[0]

    @property
    def elapsed_seconds(self) -> float:
        """Seconds from the INVITE of the last leg until now."""
        return self.now - self.attempt.transmissions[0]

    # --- the call -------------------------------------------------------------------------------

    @property
    def caller(self) -> Attempt | None:
        """The caller's leg of an agent's leg, when it is in view."""
        return self.attempt.parent

    @property
    def possible_callers(self) -> Sequence[Attempt]:
        """The caller's leg, or those that fit equally."""
        a = self.attempt
        if a.parent is not None:
            return [a.parent]
        return a.rivals if a.ambiguous else []

    @property
    def siblings(self) -> list[Attempt]:
        """The other agents' legs of the same caller."""
        a = self.attempt
        if a.parent is not None:
            return [other for other in a.parent.children if other is not a]
        if a.call is None or (a.role == "caller" and not a.hidden_parent):
            return []
        return [o for o in a.call.attempts if o is not a and o.parent is None and o.role == a.role]

    @property
    def alone(self) -> bool:
        """No other leg of its call is in view."""
        a = self.attempt
        return a.parent is None and not a.children and not self.siblings

    def left_seconds(self, caller: Attempt) -> float | None:
        """How long this caller had waited when he gave up; None when he did not.

        From his first 18x; from his INVITE when none came or when queue or IVR had answered.
        """
        gone = left_at(caller)
        if gone is None:
            return None
        since = caller.first_18x_at
        if since is None or caller.answered_at is not None:
            since = caller.started_at
        return max(0.0, gone - since)

    def abandoned(self, seconds: float) -> str:
        """The outcome of a caller who gave up after `seconds`."""
        # Half a millisecond: the border is a time that people and PBXs aim at.
        brief = seconds <= self.settings.brief_abandon_seconds + 0.0005
        return "briefly_abandoned" if brief else "abandoned"

    # --- reasons ----------------------------------------------------------------------------------

    @property
    def cancel_reasons(self) -> Sequence[Reason]:
        """Reasons of the CANCEL, and of its 487."""
        a = self.attempt
        if a.final_status == 487:
            return (*a.cancel_reasons, *a.final_reasons)
        return a.cancel_reasons

    # --- known ring timers ----------------------------------------------------------------

    def known_timer(self, key: object, seconds: float, whole_seconds: bool) -> str | None:
        """A ring timer, configured or learned, that explains an end after `seconds`: its fact."""
        if whole_seconds:
            early, late = 1.0, 0.1
        else:
            early, late = 0.3, 0.3
        for value in self.settings.ring_timeouts_seconds:
            if value - early <= seconds <= value + late:
                return f"{seconds:.1f} s matches the configured ring timer of {value:g} s"
        learned: Learned | None = self.timers.match(key, seconds, whole_seconds)
        if learned is None:
            return None
        return (
            f"{learned.seconds:.1f} s matches {learned.agreeing} of the last {learned.of} "
            "ends of this sender"
        )


def agent_of(message: Message | None) -> str:
    """The Server or User-Agent of a message; empty when it has neither."""
    if message is None:
        return ""
    agent = message.glimpse("Server") or message.glimpse("User-Agent") or b""
    return grammar.text(agent[:LONGEST_AGENT])


def left_at(caller: Attempt) -> float | None:
    """When this caller gave up: his CANCEL, or his BYE after queue or IVR had answered."""
    if caller.cancel_at is not None:
        return caller.cancel_at
    # Where the PBX began the call itself, the one who waits is at the other end of its leg.
    himself = "callee" if caller.begun_by_pbx else "caller"
    if caller.bye_at is not None and caller.bye_by == himself:
        return caller.bye_at
    return None
