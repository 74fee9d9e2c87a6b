"""The table of outcomes.md section 11: which situation explains a technical failure, and the proof.

Each row of `SITUATIONS` names a `cause_hint`, the outcomes it can explain, and the function that
returns the evidence, or None where it does not hold. First match wins: what the network itself
said, then what the device did, then its silence. Nothing later than the verdict is known, and
nothing that rests on an absence is said where packets were lost or only one direction is in view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NamedTuple, Protocol

from sipwatch.calls.types import T1_SECONDS, Attempt, Endpoint
from sipwatch.devices.types import Binding, Grant, Reach, Sighting
from sipwatch.devices.wire import user_in
from sipwatch.sip.reason import Reason

#: A ping this old and not answered was in vain: so long PBXs wait before they say so.
PATIENCE_SECONDS = 3.0
#: A device of which nothing was ever seen may have had no reason to speak: it must have missed
#: its renewal at the expiry that RFC 3261 10.2 proposes, or this many pings.
NEVER_SECONDS = 3600.0
NEVER_PINGS = 3
#: An answer this soon after the CANCEL had crossed it.
CROSSING_SECONDS = 0.05
#: A REGISTER that is not sent again by now was answered, and its sender has heard it.
TAKEN_SECONDS = T1_SECONDS + 0.05

_DEAD = frozenset(("device_not_responding",))
_LOST = _DEAD | {"connection_timeout"}
_ABSENT = _DEAD | {"unavailable"}
_TECHNICAL = _LOST | {"unavailable", "server_failure"}


class Devices(Protocol):
    """What is known of the devices: see `sipwatch.devices.watch`."""

    since: float | None
    lost_at: float | None

    def binding(self, registrar: bytes, uri: bytes, destination: Endpoint) -> Binding | None:
        """The registered contact that a request to this Request-URI at this place is for."""

    def contacts(self, registrar: bytes, uri: bytes) -> list[Binding]:
        """The contacts of the address-of-record that a Request-URI names."""

    def of_user(self, registrar: bytes, user: str) -> list[Binding]:
        """The contacts of a user."""

    def reach(self, endpoint: Endpoint, user: bytes) -> Reach | None:
        """How pings to this user at this place fare."""

    def asker(self, address: bytes, user: str) -> tuple[Endpoint, Sighting] | None:
        """From which port at this address this user sends OPTIONS, and since when."""

    def quiet_since(self, endpoint: Endpoint, time: float) -> bool:
        """Whether nothing came from this place at or after `time`."""

    def ever_heard(self, address: bytes) -> bool | None:
        """Whether anything ever came from this address; None when that was forgotten."""


class Case(NamedTuple):
    """A technical failure with all that is known of the device that was tried."""

    attempt: Attempt
    now: float
    devices: Devices
    #: The contact that was tried; of a caller's leg those that could have been, in `contacts`.
    binding: Binding | None
    contacts: Sequence[Binding]
    #: Said before what the contacts show: how the number that was called led to them.
    by: str = ""

    @property
    def sent_at(self) -> float:
        """When the INVITE was sent."""
        return self.attempt.started_at

    @property
    def to_device(self) -> bool:
        """Whether the INVITE itself went to the device."""
        return self.attempt.role != "caller"

    def watched_since(self, time: float) -> bool:
        """Whether an absence since then can be vouched for."""
        lost_at = self.devices.lost_at
        if self.attempt.losses or self.attempt.one_way:
            return False
        return lost_at is None or lost_at < time


class Situation(NamedTuple):
    """One row of section 11's table."""

    cause_hint: str
    when: str
    outcomes: frozenset[str]
    shows: Callable[[Case], str | None]


# --- what the network and the attempt itself say ----------------------------------------------


def _port_closed(case: Case) -> str | None:
    a = case.attempt
    if a.icmp_at is None:
        return None
    at = _at(Sighting(a.icmp_at, a.icmp_packet), case)
    return f"ICMP unreachable (code {a.icmp_code}) {at} for {_place(a.destination)}"


def _answer_too_late(case: Case) -> str | None:
    """An answer that came after the sender had given up, or took longer than T1."""
    a = case.attempt
    first = a.first_response_at
    if first is None:
        return None
    answer = _at(Sighting(first, a.first_response_packet), case)
    given_up = _given_up(a)
    if given_up is not None and first - given_up > CROSSING_SECONDS:
        late = first - given_up
        return f"first answer {answer}, {late:.2f} s after the sender had given up"
    if a.trying_at != first:
        return None  # only a 100 comes at once (RFC 3261 8.2.6.1); other answers take their time
    seconds = first - max((sent for sent in a.transmissions if sent <= first), default=first)
    if seconds <= T1_SECONDS:
        return None
    return f"100 {answer}, {seconds:.2f} s after the last INVITE before it: more than T1"


def _given_up(attempt: Attempt) -> float | None:
    """When the sender gave up: its CANCEL, or the end of its caller's leg."""
    if attempt.final_status == 487 and attempt.final_at == attempt.first_response_at:
        return None  # nothing before the CANCEL was answered: no sign of slowness
    caller = attempt.parent
    times = [attempt.cancel_at]
    if caller is not None:
        times += [caller.cancel_at, caller.final_at, caller.bye_at]
    return min((t for t in times if t is not None and t >= attempt.started_at), default=None)


def _slow_pings(case: Case) -> str | None:
    reach = _reach(case)
    if reach is None or reach.slow is None or reach.slow != reach.last_answer:
        return None
    return f"the last ping was answered after {reach.slow_seconds:.2f} s {_at(reach.slow, case)}"


# --- where the device is ----------------------------------------------------------------------


def _nat_binding_lost(case: Case) -> str | None:
    """The device speaks from another place than the INVITE went to."""
    went_to = case.attempt.destination
    for binding in case.contacts:
        if not _is_elsewhere(case, binding):
            continue
        registered = binding.grant.registered
        return (
            f"REGISTER from {_place(binding.source)} {_at(registered, case)}, "
            f"the INVITE went to {_place(went_to)}"
        )
    return _pings_from_elsewhere(case)


def _is_elsewhere(case: Case, binding: Binding) -> bool:
    """Whether the device that the INVITE was for has registered this contact, elsewhere.

    A phone that sends from one port and listens on another has always done so: it has not moved.
    Two phones of one user are told apart: the registrar still lists the contact of the first.
    """
    attempt, tried = case.attempt, case.binding
    place = attempt.destination
    if place in (binding.source, binding.public):
        return False
    if binding.moved_from(place) is not None:
        return True
    if binding.source[0] != place[0]:
        return False
    if binding is tried or binding.grant.valid_at(case.now) is False:
        return False
    if tried is None:
        # It was there before the watch began, and the registrar knows but the new contact.
        return binding.grant.alone and binding.grant.registered.time >= case.sent_at
    gone = tried.grant.gone
    return gone is not None and gone == binding.grant.granted


def _pings_from_elsewhere(case: Case) -> str | None:
    """The device was where the INVITE went to, and pings from another port since."""
    binding, place = case.binding, case.attempt.destination
    if binding is None or binding.source != place:
        return None
    asker = case.devices.asker(place[0], binding.user)
    if asker is None or asker[0] == place or asker[1].time <= binding.grant.registered.time:
        return None
    if any(asker[0] in (other.source, other.public) for other in case.contacts):
        return None  # another phone of this user
    return (
        f"OPTIONS from {_place(asker[0])} {_at(asker[1], case)}, the INVITE went to {_place(place)}"
    )


# --- what the device did not do -----------------------------------------------------------------


def _registration_expired(case: Case) -> str | None:
    contacts = case.contacts
    if case.to_device:
        if case.binding is None or case.attempt.first_response_at is not None:
            return None
        contacts = [case.binding]
    grants = [grant for b in contacts if (grant := b.grant_at(case.sent_at)) is not None]
    if not grants or any(grant.valid_at(case.sent_at) is not False for grant in grants):
        return None
    last = max(grants, key=lambda grant: grant.granted)
    if not case.watched_since(last.granted.time):
        return None
    return case.by + _expired(last, case)


def _expired(grant: Grant, case: Case) -> str:
    register = f"last REGISTER {_at(grant.registered, case)}"
    if grant.gone is not None and grant.gone.time <= case.sent_at:
        left = case.sent_at - grant.gone.time
        if grant.seconds == 0:
            return f"{register} gave the contact up, {_long(left)} before the INVITE"
        return (
            f"{register}, taken off the list {_at(grant.gone, case)}, "
            f"{_long(left)} before the INVITE"
        )
    over = case.sent_at - (grant.expires_at or case.sent_at)
    return f"{register}, granted {grant.seconds} s, ran out {_long(over)} before the INVITE"


def _device_went_away(case: Case) -> str | None:
    if case.to_device:
        return _gone_silent(case, case.attempt.destination, _reach(case))
    found = [
        _gone_silent(case, b.source, case.devices.reach(b.source, b.contact.partition(b"@")[0]))
        for b in case.contacts
        if b.grant.valid_at(case.sent_at) is not False
    ]
    if not found or None in found:
        return None
    return f"{case.by}{found[-1]}"


def _gone_silent(case: Case, place: Endpoint, reach: Reach | None) -> str | None:
    if reach is None or (last := reach.last_answer) is None or last.time > case.sent_at:
        return None
    missed = reach.in_vain(case.now, PATIENCE_SECONDS)
    if missed is None or not case.devices.quiet_since(place, missed.time):
        return None
    if not case.watched_since(missed.time):
        return None
    pings = "the ping" if reach.unanswered == 1 else f"{reach.unanswered} pings, the first"
    return f"last answered a ping {_at(last, case)}, not {pings} {_at(missed, case)}"


def _registered_but_silent(case: Case) -> str | None:
    binding, a = case.binding, case.attempt
    if binding is None or not case.to_device or not _silent(case):
        return None
    grant = binding.grant_at(case.sent_at)
    if grant is None or grant.valid_at(case.sent_at) is not True:
        return None
    answered = _answered_before(case, binding)
    if answered is None:
        return None
    left = (grant.expires_at or case.sent_at) - case.sent_at
    return (
        f"registered {_at(grant.registered, case)}, valid for another {_long(left)}, {answered}; "
        f"nothing from {_place(a.destination)} since the INVITE (packet {a.packet})"
    )


def _answered_before(case: Case, binding: Binding) -> str | None:
    """What shows that the device had heard and answered before the INVITE."""
    reach = _reach(case)
    answer = None if reach is None else reach.last_answer
    if answer is not None and answer.time <= case.sent_at:
        return f"answered a ping {_at(answer, case)}"
    reacted = binding.reacted
    if reacted is not None and reacted.time <= case.sent_at:
        return f"reacted to what was sent to it {_at(reacted, case)}"
    grant = binding.grant
    if (
        binding.heard
        and binding.transport == "UDP"
        and grant.granted.time + TAKEN_SECONDS <= case.sent_at
    ):
        # Without its 2xx it would have sent the REGISTER again (RFC 3261 17.1.2.2).
        return f"took the 2xx to its REGISTER {_at(grant.granted, case)}"
    return None


def _never_seen(case: Case) -> str | None:
    a, since = case.attempt, case.devices.since
    if since is None or not case.to_device or not _silent(case):
        return None
    if case.contacts or case.devices.ever_heard(a.destination[0]) is not False:
        return None
    if not case.watched_since(since):
        return None
    watched = case.sent_at - since
    reach = _reach(case)
    pings = 0 if reach is None else reach.unanswered
    if watched < NEVER_SECONDS and pings < NEVER_PINGS:
        return None
    asked = f", {pings} pings unanswered" if pings else ""
    return (
        f"nothing from {_host(a.destination[0])} in all that was watched{asked}: from "
        f"{_clock(since, case)} on, {_long(watched)} before the INVITE (packet {a.packet})"
    )


def _silent(case: Case) -> bool:
    """Nothing came from where the INVITE went since it was sent."""
    a = case.attempt
    return (
        a.first_response_at is None
        and case.devices.quiet_since(a.destination, case.sent_at)
        and case.watched_since(case.sent_at)
    )


def _reach(case: Case) -> Reach | None:
    """How the place that the INVITE went to answers pings."""
    invite = case.attempt.invite
    user = b"" if invite is None else user_in(invite.request_uri)
    return case.devices.reach(case.attempt.destination, user)


SITUATIONS: tuple[Situation, ...] = (
    Situation("port_closed", "ICMP unreachable", _TECHNICAL, _port_closed),
    Situation(
        "slow_network",
        "the answer came after the sender had given up, or took longer than T1",
        _LOST,
        _answer_too_late,
    ),
    Situation(
        "nat_binding_lost",
        "the device registers from another port or address than the INVITE went to",
        _LOST,
        _nat_binding_lost,
    ),
    Situation(
        "registration_expired",
        "the last granted expiry had passed when the INVITE was sent",
        _ABSENT,
        _registration_expired,
    ),
    Situation(
        "device_went_away",
        "it answered pings until some moment before the INVITE and none after",
        _LOST | {"unavailable"},
        _device_went_away,
    ),
    Situation(
        "registered_but_silent",
        "registration valid, nothing from the device since the INVITE, it had answered before",
        _DEAD,
        _registered_but_silent,
    ),
    Situation(
        "never_seen", "no packet from that device in all that was watched", _DEAD, _never_seen
    ),
    Situation("slow_network", "its pings took longer than T1", _LOST, _slow_pings),
)


# --- words ----------------------------------------------------------------------------------------


def _at(seen: Sighting, case: Case) -> str:
    return seen_at(seen, case.attempt)


def seen_at(seen: Sighting, attempt: Attempt) -> str:
    """The time and the packet of a sighting, for evidence of this attempt."""
    return f"at {_time(seen.time, attempt.started_at)} (packet {seen.packet})"


def _clock(time: float, case: Case) -> str:
    return _time(time, case.sent_at)


def _time(time: float, beside: float) -> str:
    """The time of day, with the date where it is another than that of the attempt."""
    at, other = datetime.fromtimestamp(time, UTC), datetime.fromtimestamp(beside, UTC)
    form = "%H:%M:%S UTC" if at.date() == other.date() else "%Y-%m-%d %H:%M:%S UTC"
    return at.strftime(form)


def _long(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _place(endpoint: Endpoint) -> str:
    host = _host(endpoint[0])
    return f"[{host}]:{endpoint[1]}" if len(endpoint[0]) == 16 else f"{host}:{endpoint[1]}"


def _host(address: bytes) -> str:
    return str(ip_address(address))


def reasons_text(reasons: Sequence[Reason]) -> str:
    """Reason values as they stand on the wire, more or less."""
    said = []
    for reason in reasons:
        cause = "" if reason.cause is None else f";cause={reason.cause}"
        text = f" {reason.text}" if reason.text else ""
        said.append(f"{reason.protocol}{cause}{text}")
    return ", ".join(said)
