"""The call flows of the captures, how often each comes, and what becomes of each attempt.

Every flow writes a whole call: the caller's leg and the legs that it gave rise to. The outcomes
that it expects are docs/outcomes.md's, and flows are chosen so that a leg judged alone and a leg
judged beside the others of its call come out the same. Times are seconds from the call's start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from traffic.frames import Endpoint
from traffic.leg import Leg, Party, Step
from traffic.sites import MediaPorts, Site
from traffic.styles import CRLF, PHONE

_NAMES = (
    "",
    "Anna Berg",
    "Ayşe Yılmaz",
    "ACME GmbH",
    "Çağrı Merkezi",
    "J. O'Neil",
    "WIRELESS CALLER",
)
#: Timer A of RFC 3261 17.1.1.2, and FreeSWITCH's, which doubles from one second.
_RESENDS = {"asterisk": (0.5, 1.5, 3.5, 7.5, 15.5, 31.5), "freeswitch": (1.0, 3.0, 7.0, 15.0, 31.0)}
_RELIABLE = f"Require: 100rel{CRLF}RSeq: 7321{CRLF}"
_SCANNER = Party(Endpoint("192.0.2.99", 5071), PHONE, "friendly-scanner")
#: Golden ratio: its multiples modulo 1 lie evenly, so that no two of them cluster.
_EVEN = 0.6180339887498949


class Talk(NamedTuple):
    """RTP flows both ways between two endpoints from ``start`` to ``end``."""

    start: float
    end: float
    ends: tuple[Endpoint, Endpoint]


@dataclass(slots=True)
class Call:
    """One call in the making."""

    number: int
    start: float
    site: Site
    rng: Random
    ports: MediaPorts
    steps: list[Step] = field(default_factory=list)
    talks: list[Talk] = field(default_factory=list)
    #: Expected outcome of each attempt.
    outcomes: Counter[str] = field(default_factory=Counter)
    _phones: list[Party] = field(default_factory=list)
    #: Numbers of the two parties, and the name that goes with the first.
    caller: str = ""
    called: str = ""
    _name: str = ""

    def __post_init__(self) -> None:
        self.caller = f"+{self.rng.randrange(10**10, 10**11)}"
        self._name = self.rng.choice(_NAMES)
        self.called = f"+90850{self.rng.randrange(10**6, 10**7)}"

    def between(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    def spread(self, low: float, high: float) -> float:
        """Even over the calls: never a cluster that looks like somebody's timer."""
        return low + (high - low) * (self.number * _EVEN % 1)

    def phone(self) -> Party:
        phone = self.site.take_phone(self.start)
        self._phones.append(phone)
        return phone

    def finish(self) -> None:
        end = self.start + max(step.time for step in self.steps)
        for phone in self._phones:
            self.site.give_back(phone, end)

    def leg(
        self, caller: Party, callee: Party, from_user: str, to_user: str, parent: Leg | None = None
    ) -> Leg:
        media = self.ports.take(caller), self.ports.take(callee)
        name = self._name if parent is None else ""
        return Leg(
            self.steps,
            self.rng,
            caller,
            callee,
            from_user=from_user,
            to_user=to_user,
            display=name,
            media=media,
            parent=parent,
        )

    def inbound(self) -> Leg:
        """The carrier calls the site; the PBX says 100."""
        leg = self.leg(self.site.trunk, self.site.pbx, self.caller, self.called)
        leg.invite(0)
        leg.reply(self.between(0.0008, 0.002), 100)
        return leg

    def dial(self, at: float, phone: Party) -> Leg:
        """The PBX calls a phone, on behalf of the same caller; the phone says 100."""
        leg = self.leg(self.site.pbx, phone, self.caller, phone.user)
        leg.invite(at)
        leg.reply(at + self.between(0.003, 0.02), 100)
        return leg

    def ring(self, at: float) -> tuple[Leg, float]:
        """The PBX calls a phone that rings; the leg, and when it began to ring."""
        leg = self.dial(at, self.phone())
        rings = at + self.between(0.05, 0.3)
        leg.reply(rings, 180)
        return leg, rings

    def talk(self, leg: Leg, start: float, end: float) -> None:
        self.talks.append(Talk(start, end, leg.media))

    def hang_up(self, first: Leg, second: Leg, at: float, by_caller: bool) -> None:
        """One side of ``first`` says BYE and the PBX hands it on to ``second``."""
        reason = self.says("hangup")
        first.transact(at, "BYE", by_caller=by_caller)
        second.transact(at + 0.005, "BYE", reason, by_caller=second.caller is self.site.pbx)

    def says(self, key: str) -> str:
        """What the site's PBX writes into its Reason headers."""
        return _REASONS[self.site.name][key]

    def tells_caller(self, caller: Leg, at: float, key: str) -> None:
        """The final status that the site's PBX makes of an agent's outcome for the caller."""
        status, reason = _FINALS[self.site.name][key]
        caller.refuse(at, status, reason)

    def expect(self, outcome: str, attempts: int = 1) -> None:
        self.outcomes[outcome] += attempts


def _reason(*values: str) -> str:
    return "".join(f"Reason: {value}{CRLF}" for value in values)


_ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'
_REASONS = {
    "asterisk": {
        "hangup": _reason("Q.850;cause=16"),
        "ring_timer": _reason("Q.850;cause=0"),
        "caller_left": _reason("Q.850;cause=127"),
        "elsewhere": _reason(_ELSEWHERE, "Q.850;cause=26"),
    },
    "freeswitch": {
        "hangup": _reason('Q.850;cause=16;text="NORMAL_CLEARING"'),
        "ring_timer": _reason('Q.850;cause=19;text="NO_ANSWER"'),
        "caller_left": _reason('SIP;cause=487;text="ORIGINATOR_CANCEL"'),
        "elsewhere": _reason(_ELSEWHERE),
    },
}
_FINALS = {
    "asterisk": {
        "agent_busy": (486, _reason("Q.850;cause=17")),
        "declined": (403, _reason("Q.850;cause=21")),
        "no_answer": (603, _reason("Q.850;cause=16")),
        "device_not_responding": (603, _reason("Q.850;cause=16")),
        "server_failure": (503, _reason("Q.850;cause=34")),
        "connection_timeout": (603, _reason("Q.850;cause=102")),
    },
    "freeswitch": {
        "agent_busy": (486, _reason('Q.850;cause=17;text="USER_BUSY"')),
        "declined": (603, _reason('Q.850;cause=21;text="CALL_REJECTED"')),
        "no_answer": (480, _reason('Q.850;cause=19;text="NO_ANSWER"')),
        "device_not_responding": (480, _reason('Q.850;cause=16;text="NORMAL_CLEARING"')),
        "server_failure": (503, _reason('Q.850;cause=41;text="NORMAL_TEMPORARY_FAILURE"')),
        "connection_timeout": (504, _reason('Q.850;cause=102;text="RECOVERY_ON_TIMER_EXPIRE"')),
    },
}


def answered(call: Call, *, holds: bool = False) -> None:
    caller = call.inbound()
    agent, rings = call.ring(0.006)
    caller.reply(rings + 0.002, 180)
    picked_up = rings + call.between(2, 12)
    agent.answer(picked_up)
    caller.answer(picked_up + 0.004)
    ends = picked_up + call.between(8, 30)
    if holds:
        middle = (picked_up + ends) / 2
        agent.reinvite(middle - 2, "sendonly")
        agent.reinvite(middle + 2, "sendrecv")
    call.talk(caller, picked_up, ends)
    call.talk(agent, picked_up, ends)
    if call.number % 2:
        call.hang_up(agent, caller, ends, by_caller=False)
    else:
        call.hang_up(caller, agent, ends, by_caller=True)
    call.expect("answered", 2)


def answered_with_hold(call: Call) -> None:
    answered(call, holds=True)


def outbound(call: Call) -> tuple[Leg, Leg]:
    """A phone calls out: the PBX asks for credentials, then calls the carrier."""
    phone = call.phone()
    agent = call.leg(phone, call.site.pbx, phone.user, call.called)
    challenge = 401 if call.site.name == "asterisk" else 407
    agent.invite(0)
    agent.refuse(0.001, challenge)
    agent.invite(0.03, credentials=challenge)
    agent.reply(0.032, 100)
    trunk = call.leg(call.site.pbx, call.site.trunk, call.caller, call.called)
    trunk.invite(0.04)
    trunk.reply(0.06, 100)
    return agent, trunk


def outbound_answered(call: Call) -> None:
    agent, trunk = outbound(call)
    rings = call.between(0.8, 2.5)
    trunk.reply(rings, 183, _RELIABLE)
    trunk.transact(rings + 0.002, "PRACK", f"RAck: 7321 {trunk.sequence} INVITE{CRLF}")
    agent.reply(rings + 0.003, 183)
    picked_up = rings + call.between(3, 15)
    trunk.answer(picked_up)
    agent.answer(picked_up + 0.004)
    ends = picked_up + call.between(8, 30)
    call.talk(trunk, rings, ends)
    call.talk(agent, rings, ends)
    call.hang_up(agent, trunk, ends, by_caller=True)
    call.expect("answered", 2)


def outbound_refused(call: Call, status: int, outcome: str) -> None:
    agent, trunk = outbound(call)
    refused = call.between(0.1, 0.4)
    trunk.refuse(refused, status)
    call.tells_caller(agent, refused + 0.004, outcome)
    call.expect(outcome, 2)


def server_failure(call: Call) -> None:
    outbound_refused(call, 503, "server_failure")


def server_timeout(call: Call) -> None:
    outbound_refused(call, 504, "connection_timeout")


def busy(call: Call) -> None:
    caller = call.inbound()
    agent = call.dial(0.006, call.phone())
    refused = call.between(0.03, 0.2)
    agent.refuse(refused, 486)
    call.tells_caller(caller, refused + 0.004, "agent_busy")
    call.expect("agent_busy", 2)


def declined(call: Call) -> None:
    caller = call.inbound()
    agent, rings = call.ring(0.006)
    caller.reply(rings + 0.002, 180)
    refused = rings + call.between(2, 7)
    agent.refuse(refused, 603)
    call.tells_caller(caller, refused + 0.004, "declined")
    call.expect("declined", 2)


def no_answer(call: Call) -> None:
    caller = call.inbound()
    agent, rings = call.ring(0.006)
    caller.reply(rings + 0.002, 180)
    # A Dial timer of 20 s counts from the INVITE.
    gives_up = 0.006 + 20.008
    agent.cancel(gives_up, call.says("ring_timer"))
    call.tells_caller(caller, gives_up + 0.004, "no_answer")
    call.expect("no_answer", 2)


def second_agent_answers(call: Call) -> None:
    """A queue takes the call, the first agent lets it ring, the second answers."""
    caller = call.inbound()
    caller.answer(0.05)
    first, _ = call.ring(0.56)
    gives_up = 0.56 + 15.007
    first.cancel(gives_up, call.says("ring_timer"))
    second, rings = call.ring(gives_up + 1.0)
    picked_up = rings + call.between(2, 8)
    second.answer(picked_up)
    ends = picked_up + call.between(8, 25)
    call.talk(caller, 0.05, ends)
    call.talk(second, picked_up, ends)
    call.hang_up(caller, second, ends, by_caller=True)
    call.expect("answered", 2)
    call.expect("no_answer")


def _abandoned(call: Call, low: float, high: float, outcome: str) -> None:
    caller = call.inbound()
    agent, rings = call.ring(0.006)
    caller.reply(rings + 0.002, 180)
    leaves = rings + call.spread(low, high)
    caller.cancel(leaves)
    agent.cancel(leaves + 0.004, call.says("caller_left"))
    call.expect(outcome, 2)


def abandoned(call: Call) -> None:
    _abandoned(call, 7, 19, "abandoned")


def briefly_abandoned(call: Call) -> None:
    _abandoned(call, 1.2, 4.2, "briefly_abandoned")


def silent(call: Call) -> None:
    """The phone is gone: nothing answers the INVITE, and the caller is told after 20 s."""
    caller = call.inbound()
    phone = call.site.take_dead_phone()
    agent = call.leg(call.site.pbx, phone, call.caller, phone.user)
    agent.invite(0.006)
    agent.resend_invite(*(0.006 + later for later in _RESENDS[call.site.name]))
    call.tells_caller(caller, 20.02, "device_not_responding")
    call.expect("device_not_responding", 2)


def ring_all(call: Call) -> None:
    """Three phones ring, one answers, the PBX cancels the others."""
    caller = call.inbound()
    legs = [call.ring(0.006 + 0.001 * place) for place in range(3)]
    caller.reply(min(rings for _, rings in legs) + 0.002, 180)
    winner = legs[call.number % 3][0]
    picked_up = call.between(2, 10)
    winner.answer(picked_up)
    for leg, _ in legs:
        if leg is not winner:
            leg.cancel(picked_up + 0.004, call.says("elsewhere"))
    caller.answer(picked_up + 0.008)
    ends = picked_up + call.between(8, 30)
    call.talk(caller, picked_up, ends)
    call.talk(winner, picked_up, ends)
    call.hang_up(caller, winner, ends, by_caller=True)
    call.expect("answered", 2)
    call.expect("redirected", 2)


def forked(call: Call, branches: int = 2) -> None:
    """A proxy forks one INVITE, Call-ID and all, to several phones; the first answers."""
    caller = call.inbound()
    legs = []
    for place in range(branches):
        phone = call.phone()
        leg = call.leg(call.site.pbx, phone, call.caller, phone.user, parent=caller)
        leg.invite(0.003 + 0.001 * place)
        leg.reply(0.02 + 0.001 * place, 100)
        rings = call.between(0.05, 0.3)
        leg.reply(rings, 180)
        caller.follow(leg)
        caller.reply(rings + 0.001, 180)
        legs.append(leg)
    winner = legs[0]
    caller.follow(winner)
    picked_up = call.between(2, 10)
    winner.reply(picked_up, 200)
    caller.answer(picked_up + 0.001)
    winner.ack(picked_up + 0.005)
    for loser in legs[1:]:
        loser.cancel(picked_up + 0.002, _reason(_ELSEWHERE))
        call.expect("redirected")
    ends = picked_up + call.between(8, 30)
    # Behind a proxy the media goes straight from end to end.
    call.talk(caller, picked_up, ends)
    caller.transact(ends, "BYE", took=0.004)
    winner.transact(ends + 0.001, "BYE")
    call.expect("answered", 2)


def proxied(call: Call) -> None:
    forked(call, branches=1)


def not_found(call: Call) -> None:
    caller = call.leg(call.site.trunk, call.site.pbx, call.caller, call.called)
    caller.invite(0)
    caller.refuse(call.between(0.001, 0.004), 404, own=call.site.pbx.relay)
    call.expect("not_found")


def _refused_by_site(call: Call, status: int, outcome: str, headers: str = "") -> None:
    caller = call.inbound()
    caller.refuse(call.between(0.004, 0.012), status, headers, own=call.site.pbx.relay)
    call.expect(outcome)


def unavailable(call: Call) -> None:
    known = call.site.name == "freeswitch"
    headers = _reason('SIP;cause=806;text="USER_NOT_REGISTERED"') if known else ""
    _refused_by_site(call, 480, "unavailable", headers)


def unwanted(call: Call) -> None:
    _refused_by_site(call, 607, "rejection_list")


def moved(call: Call) -> None:
    elsewhere = f"Contact: <sip:{call.called}@203.0.113.250>;q=1.0{CRLF}"
    _refused_by_site(call, 302, "redirected", elsewhere)


def not_acceptable(call: Call) -> None:
    _refused_by_site(call, 488, "not_acceptable")


def unauthorized(call: Call) -> None:
    """A scanner without credentials."""
    caller = call.leg(_SCANNER, call.site.pbx, "100", call.called)
    caller.invite(0)
    caller.refuse(0.001, 401)
    call.expect("unauthorized")


class Flow(NamedTuple):
    write: Callable[[Call], None]
    #: How many of a hundred calls.
    share: int
    #: The sites at which it comes.
    sites: tuple[str, ...]


_B2BUA = ("asterisk", "freeswitch")
_ANY = ("asterisk", "freeswitch", "kamailio")
FLOWS = (
    Flow(answered, 20, _B2BUA),
    Flow(answered_with_hold, 6, _B2BUA),
    Flow(outbound_answered, 13, _B2BUA),
    Flow(ring_all, 6, _B2BUA),
    Flow(second_agent_answers, 3, _B2BUA),
    Flow(proxied, 6, ("kamailio",)),
    Flow(forked, 5, ("kamailio",)),
    Flow(busy, 7, _B2BUA),
    Flow(declined, 5, _B2BUA),
    Flow(no_answer, 8, _B2BUA),
    Flow(abandoned, 6, _B2BUA),
    Flow(briefly_abandoned, 2, _B2BUA),
    Flow(silent, 3, _B2BUA),
    Flow(not_found, 2, _ANY),
    Flow(unavailable, 2, ("freeswitch", "kamailio")),
    Flow(server_failure, 1, _B2BUA),
    Flow(server_timeout, 1, _B2BUA),
    Flow(unauthorized, 1, _B2BUA),
    Flow(unwanted, 1, ("kamailio",)),
    Flow(moved, 1, ("kamailio",)),
    Flow(not_acceptable, 1, _B2BUA),
)
