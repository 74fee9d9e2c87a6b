"""Ties agents' legs to the caller's leg that caused them (outcomes.md section 6).

Proxies keep the Call-ID and some systems hand a header through; a plain B2BUA shares nothing, so
time and identity speak together. Candidates are noted when the leg begins, from indexes, and
judged again when it has ended: what ends together belongs together, and a leg that outlives its
caller by a second was never his. Only then does a record become final.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import islice

from sipwatch.calls.arrivals import Arrivals
from sipwatch.calls.identity import (
    display_of,
    key_of,
    keys_of,
    share_key,
    target_of,
    user_of,
)
from sipwatch.calls.matching import Matcher
from sipwatch.calls.membership import Calls
from sipwatch.calls.pairing import (
    PROMPT_SECONDS,
    SAME_MOMENT_SECONDS,
    SKEW_SECONDS,
    TOGETHER_SECONDS,
    contradicted,
    end_of_leg,
    ended_by,
    is_over,
    led_to,
    lifeless,
    long_gone,
    pairing_evidence,
    put_through,
    same_target,
    says_elsewhere,
    talking,
    talks_on,
)
from sipwatch.calls.pickup import taker_of
from sipwatch.calls.settings import Places, TrackerSettings
from sipwatch.calls.types import (
    UNANSWERED_CANCELS,
    Attempt,
    Call,
    Direction,
    Event,
    added,
    without,
)
from sipwatch.calls.wheel import Wheel
from sipwatch.sip.grammar import split_commas
from sipwatch.sip.message import Message

#: Legs of one hidden caller begin together.
SIBLINGS_SECONDS = 0.05

#: A host that sees its agents' legs sees them for all but one in so many ringing calls.
_FEW = 4
_MOST_CANDIDATES = 32
#: Causes that are looked at for one leg; a busy host has hundreds within PROMPT_SECONDS.
_MOST_CAUSES = 64
_MOST_PLACES = 4096
#: Headers that name somebody whom the caller was sent to before (RFC 3892, 5806, 7044).
_LINKS = (
    ("referred_by", (b"referred-by",)),
    ("diversion", (b"diversion", b"history-info")),
)


def _calls_for(attempt: Attempt, other: Attempt) -> bool:
    """Whether this leg's caller is whom the other leg rang, or was shown whom this leg calls."""
    if other.invite is None or attempt.invite is None:
        return False
    return (
        key_of(target_of(other.invite)) in attempt.identity
        or key_of(target_of(attempt.invite)) in other.identity
    )


def _same_caller(one: Attempt, other: Attempt) -> bool:
    return one.identity == other.identity and one.display == other.display


class Correlator:
    """Attempts of one host in, calls out. Driven by the tracker, which owns the timers."""

    def __init__(self, settings: TrackerSettings, wheel: Wheel, events: list[Event]) -> None:
        self.counts: Counter[str] = Counter()
        #: How many callers' legs rang without an agent's leg in view.
        self.without_agents = 0
        #: How many talked without one: to a queue, a menu, a mailbox, or to an agent out of view.
        self.talked_without = 0
        self.reconfigure(settings)
        self._rules = settings.correlation_rules
        self._wheel = wheel
        self._events = events
        self._arrivals: OrderedDict[bytes, Arrivals] = OrderedDict()
        self._pbx: set[bytes] = set()
        #: Addresses that agents' legs went to, with the users that were tried there.
        self._targets: OrderedDict[bytes, set[bytes]] = OrderedDict()
        self._matcher = Matcher(self._rules)
        self._calls = Calls(events)

    def reconfigure(self, settings: TrackerSettings) -> None:
        """Go on with other settings; which rules hold stays as it was at the start."""
        self.settings = settings
        self.places = Places(settings)
        self._shared_headers = [name.lower().encode() for name in settings.correlation_headers]

    def entries(self) -> dict[str, int]:
        """How much is held, by kind."""
        return {
            "calls": self._calls.open,
            "callers": sum(len(arrivals.live) for arrivals in self._arrivals.values()),
        }

    @property
    def sees_agents(self) -> bool:
        """Whether agents' legs are in view on this host (rule 3b)."""
        seen = self._calls.with_agents
        return seen > 0 and self.without_agents * _FEW <= seen

    def is_device(self, address: bytes) -> bool:
        """Whether agents' legs went to this address for one user or two: no trunk's numbers."""
        return 0 < len(self._targets.get(address, ())) <= 2

    def _called(self, address: bytes, uri: bytes) -> None:
        users = self._targets.get(address)
        if users is None:
            if len(self._targets) >= _MOST_PLACES:
                self._targets.popitem(last=False)
            users = self._targets[address] = set()
        if len(users) <= 2:
            users.add(uri.partition(b"@")[0])

    # --- beginnings ---------------------------------------------------------------------------

    def begin(self, attempt: Attempt, known: list[Attempt] | None, target: Attempt | None) -> None:
        """A new attempt: which side of the host it is on, and whose call it belongs to.

        `known` are the attempts that share its Call-ID, itself included as the last; `target` is
        the attempt whose dialog its Replaces header names.
        """
        source, destination = attempt.source[0], attempt.destination[0]
        invite = attempt.invite
        assert invite is not None
        to_pbx, from_pbx = self._sides(attempt, invite)
        if from_pbx:
            attempt.role = "agent"
            attempt.peer = self.places.peer(destination)
            self._called(destination, invite.request_uri)
        else:
            attempt.role = "caller" if to_pbx else "unknown"
            attempt.peer = self.places.peer(source)
        attempt.direction = self._direction(attempt)
        placed = False
        if known is not None and len(known) > 1 and "call_id" in self._rules:
            placed = self._same_call_id(attempt, known[:-1])
        if target is not None and not placed and "replaces" in self._rules:
            placed = self._replaces(attempt, target)
        if not placed and (from_pbx or not self.settings.local_addresses):
            placed = self._caused(attempt, invite, self._source(source))
        if attempt.call is None:
            self._calls.begin(attempt)
        if not from_pbx or to_pbx:
            self._arrive(attempt, invite, self._place(destination))

    def adopt(self, attempt: Attempt) -> None:
        """An attempt without its INVITE: nothing is known that could tie it to another."""
        local = self.settings.local_addresses
        if attempt.source[0] in local:
            attempt.role = "agent"
        elif attempt.destination[0] in local:
            attempt.role = "caller"
        attempt.direction = self._direction(attempt)
        self._calls.begin(attempt)

    def _sides(self, attempt: Attempt, invite: Message) -> tuple[bool, bool]:
        source, destination = attempt.source[0], attempt.destination[0]
        local = self.settings.local_addresses
        if local:
            return destination in local, source in local
        if source not in self._pbx and self.settings.is_pbx(invite.header("user-agent") or b""):
            self._learn(source)
        return destination in self._pbx, source in self._pbx

    def _learn(self, address: bytes) -> None:
        if len(self._pbx) < _MOST_PLACES:
            self._pbx.add(address)

    def _direction(self, attempt: Attempt) -> Direction:
        inside = self.places.inside
        source, destination = attempt.source[0], attempt.destination[0]
        if self.settings.local_networks:
            if inside(source):
                return "internal" if inside(destination) else "outbound"
            return "inbound" if inside(destination) else "unknown"
        if attempt.role == "unknown":
            return "unknown"
        return "inbound" if attempt.role == "caller" else "outbound"

    def _place(self, address: bytes) -> Arrivals:
        arrivals = self._arrivals.get(address)
        if arrivals is None:
            if len(self._arrivals) >= _MOST_PLACES:
                self._arrivals.popitem(last=False)
            arrivals = self._arrivals[address] = Arrivals()
        return arrivals

    def _source(self, address: bytes) -> Arrivals:
        """Where the callers arrive for whom this address sends legs.

        Mostly at the same address. A host whose agents are on an inner network receives none
        there: then its callers came in at another of its addresses.
        """
        arrivals = self._place(address)
        local = self.settings.local_addresses
        if arrivals.received or len(local) < 2 or address not in local:
            return arrivals
        others = [self._arrivals[a] for a in local if a != address and a in self._arrivals]
        receiving = [other for other in others if other.received]
        return receiving[0] if len(receiving) == 1 else arrivals

    def _arrive(self, attempt: Attempt, invite: Message, arrivals: Arrivals) -> None:
        self._identify(attempt, invite)
        values = attempt.values or self._values(invite)
        if "headers" in self._rules:
            attempt.values = (invite.call_id, *values)
        else:
            attempt.values = tuple(values)
        arrivals.live[attempt.serial] = attempt
        for key in attempt.identity or ((attempt.display,) if attempt.display else ()):
            same = arrivals.by_identity.get(key)
            if same is None:
                same = arrivals.by_identity[key] = {}
            same[attempt.serial] = attempt
        for value in attempt.values:
            arrivals.by_value[value] = attempt
        attempt.arrivals = arrivals
        attempt.arrived = True
        arrivals.received += 1
        arrivals.name(key_of(target_of(invite)), attempt)
        arrivals.cause(attempt.started_at, attempt)

    def _identify(self, attempt: Attempt, invite: Message) -> None:
        if not attempt.identity and "identity" in self._rules:
            keys = keys_of(invite)
            attempt.identity = tuple(keys if len(keys) < 2 else sorted(keys))
            if not attempt.identity:
                attempt.display = display_of(invite)

    def _depart(self, attempt: Attempt) -> None:
        arrivals = attempt.arrivals
        if arrivals is None:
            return
        attempt.arrivals = None
        arrivals.live.pop(attempt.serial, None)
        for key in attempt.identity or ((attempt.display,) if attempt.display else ()):
            same = arrivals.by_identity.get(key)
            if same is not None:
                same.pop(attempt.serial, None)
                if not same:
                    del arrivals.by_identity[key]
        arrivals.forget_names(attempt)
        for value in attempt.values:
            if arrivals.by_value.get(value) is attempt:
                del arrivals.by_value[value]

    def _values(self, invite: Message) -> list[bytes]:
        """Values that are equal on both sides when a B2BUA hands them through."""
        values: list[bytes] = []
        few = invite.few
        if "headers" in self._rules:
            for name in self._shared_headers:
                values += invite.values(name)
        if "session_id" in self._rules:
            for value in few.get(b"session-id", ()):
                local, _, rest = value.partition(b";")
                values.append(b"session:" + local.strip())
                remote = rest.partition(b"remote=")[2].partition(b";")[0].strip()
                if remote.strip(b"0"):
                    values.append(b"session:" + remote)
        if "sdp_origin" in self._rules:
            start = invite.raw.find(b"\no=", invite.head_end)
            if start >= 0:
                end = invite.raw.find(b"\n", start + 1)
                values.append(invite.raw[start + 1 : end if end > 0 else None].strip())
        return values

    # --- pairing ------------------------------------------------------------------------------

    def _same_call_id(self, attempt: Attempt, known: list[Attempt]) -> bool:
        for other in reversed(known):
            if other.destination[0] == attempt.source[0] and not is_over(other):
                self._pair(attempt, other, ("same Call-ID as the caller's leg",))
                return True
        for other in known:
            if other.from_tag == attempt.from_tag and other.call is not None:
                if other.parent is attempt:
                    continue  # its INVITE is seen after what it has led to
                if other.source[0] == attempt.source[0]:
                    attempt.correlation += ("same Call-ID as its sibling",)
                    attempt.hidden_parent = other.hidden_parent = other.parent is None
                    self._calls.join(attempt, other.parent, other.call)
                else:
                    # The other hop was captured later, or its first INVITE was lost.
                    attempt.correlation += ("same Call-ID on another hop",)
                    self._calls.join(attempt, None, other.call)
                return True
        return False

    def _replaces(self, attempt: Attempt, target: Attempt) -> bool:
        if target.call is None:
            return False
        target.replaced_by = attempt
        attempt.correlation += ("Replaces names a dialog of this call",)
        self._calls.join(attempt, target.parent if attempt.role == "agent" else None, target.call)
        return True

    def _caused(self, attempt: Attempt, invite: Message, arrivals: Arrivals) -> bool:
        """Look for the caller's leg that made the PBX send this one."""
        attempt.values = self._values(invite)
        for value in attempt.values:
            other = arrivals.by_value.get(value)
            if other is not None and other is not attempt and not is_over(other):
                what = "same SDP origin" if value.startswith(b"o=") else "same header value"
                self._pair(attempt, other, (f"{what} as the caller's leg",))
                return True
        now = attempt.started_at
        self._identify(attempt, invite)
        self._gather(attempt, arrivals)
        found: dict[int, Attempt] = {}
        if "time" in self._rules:
            for at, other in islice(reversed(arrivals.triggers), _MOST_CAUSES):
                if at < now - PROMPT_SECONDS:
                    break
                if other is not attempt and not is_over(other):
                    found[other.serial] = other
        for key in attempt.identity or ((attempt.display,) if attempt.display else ()):
            same = arrivals.by_identity.get(key)
            if same:
                for serial, other in islice(reversed(same.items()), _MOST_CANDIDATES):
                    if other is not attempt and not long_gone(other, now):
                        found[serial] = other
        for other in self._linked(invite, arrivals):
            if other is not attempt:
                found[other.serial] = other
                attempt.linked = (*attempt.linked, other)
        if not found and attempt.role == "agent" and len(arrivals.live) == 1:
            (only,) = arrivals.live.values()
            if only is not attempt and not talking(only, now):
                found[only.serial] = only
        if found:
            attempt.candidates = list(found.values())[:_MOST_CANDIDATES]
            for other in attempt.candidates:
                other.suitors = added(other.suitors, attempt)
            best = self._matcher.best(attempt, final=False)
            if best is not None:
                self._pair(attempt, best, ())
                return True
        if attempt.role == "agent":
            self._orphan(attempt, arrivals)
        return False

    def _linked(self, invite: Message, arrivals: Arrivals) -> list[Attempt]:
        """Callers whom Referred-By, Diversion or History-Info name by where they were sent."""
        names = []
        few = invite.few
        for rule, headers in _LINKS:
            if rule in self._rules:
                for header in headers:
                    if values := few.get(header):
                        names += [key_of(user_of(value)) for value in split_commas(values)]
        found: list[Attempt] = []
        for name in names[:_MOST_CANDIDATES]:
            same = arrivals.by_name.get(name) if name else None
            if same:
                found.extend(islice(reversed(same.values()), _MOST_CANDIDATES))
        return [other for other in found if not is_over(other)]

    def _gather(self, attempt: Attempt, arrivals: Arrivals) -> None:
        """Find the ring group that this leg belongs to."""
        if attempt.role != "agent":
            return
        group: Sequence[Attempt] = ()
        for other in reversed(arrivals.legs):
            if attempt.started_at - other.started_at > SAME_MOMENT_SECONDS:
                break
            if _same_caller(attempt, other) and not same_target(attempt, other):
                group = other.group
                break
        attempt.group = added(group, attempt)
        arrivals.legs.append(attempt)

    def _learned(self, attempt: Attempt, caller: Attempt) -> None:
        """Without configured addresses, an address that hands calls on is the PBX."""
        self._learn(attempt.source[0])
        attempt.role = "agent"
        attempt.direction = self._direction(attempt)
        if caller.role == "unknown":
            caller.role = "caller"
            caller.direction = self._direction(caller)

    def _orphan(self, attempt: Attempt, arrivals: Arrivals) -> None:
        """No caller in view: legs begun together for the same caller are one call."""
        for other in reversed(arrivals.orphans):
            at = other.answered_at
            if at is None or other.bye_at is not None or other.call is None:
                continue
            if 0 <= attempt.started_at - at <= PROMPT_SECONDS and _calls_for(attempt, other):
                # Click to call: the PBX rings a phone and, once it answers, calls on for it.
                delay = attempt.started_at - at
                why = f"begun {delay * 1000:.0f} ms after the PBX's own call was answered"
                self._pair(attempt, other, (why,))
                return
        attempt.hidden_parent = True
        if "siblings" in self._rules:
            for other in reversed(arrivals.orphans):
                delay = attempt.started_at - other.started_at
                if delay > SIBLINGS_SECONDS:
                    break
                same = _same_caller(attempt, other) and not same_target(attempt, other)
                if same and other.call is not None:
                    attempt.correlation += (
                        f"begun {delay * 1000:.0f} ms after a leg for the same caller",
                    )
                    self._calls.join(attempt, None, other.call)
                    break
        arrivals.orphans.append(attempt)

    def _pair(self, attempt: Attempt, caller: Attempt, why: Sequence[str]) -> None:
        if led_to(attempt, caller):
            return  # what it caused cannot be its cause
        call = caller.call
        if call is None or call.ended:
            return  # what was said of it stands
        attempt.correlation = tuple(why)
        if not self.settings.local_addresses:
            self._learned(attempt, caller)  # who is a caller's leg must be known when it is joined
        self._calls.join(attempt, caller, call)
        if caller.arrivals is not None and attempt.invite is not None:
            caller.arrivals.name(key_of(target_of(attempt.invite)), caller)

    # --- what happens to a leg ------------------------------------------------------------------

    def retried(self, attempt: Attempt, now: float) -> None:
        """The caller sent his INVITE again with credentials: from now on it may cause legs."""
        self._trigger(attempt, now)

    def answered(self, attempt: Attempt, now: float) -> None:
        """A 2xx: of a caller's leg it may begin a queue, of an agent's leg it ends the search."""
        arrivals = attempt.arrivals
        if arrivals is not None:
            arrivals.cause(now, attempt)
            arrivals.mark(now, attempt)
        if attempt.parent is not None:
            self._trigger(attempt.parent, now)
        elif attempt.hidden_parent:
            self._source(attempt.source[0]).answer(now, attempt)

    def referred(self, attempt: Attempt, now: float) -> None:
        """An accepted REFER: the next leg may be the transfer's."""
        self._trigger(attempt, now)
        if attempt.parent is not None:
            self._trigger(attempt.parent, now)
        for child in attempt.children:
            self._trigger(child, now)

    def consulted(self, attempt: Attempt, other: Attempt) -> None:
        """A REFER in this attempt's dialog names the other dialog in Replaces (RFC 3891): the
        caller is handed to whom was consulted, and both calls become one."""
        call, joined = attempt.call, other.call
        if call is None or joined is None or call is joined or "replaces" not in self._rules:
            return
        for member in list(joined.attempts):
            member.correlation += ("consulted for this call: REFER with Replaces",)
            parent = member.parent
            self._calls.join(member, parent, call)

    def ended(self, attempt: Attempt, now: float) -> None:
        """A CANCEL, a final of 300 and more, or a BYE."""
        if attempt.arrivals is not None:
            attempt.arrivals.mark(now, attempt)
        if attempt.parent is not None:
            self._trigger(attempt.parent, now)

    def _trigger(self, attempt: Attempt, now: float) -> None:
        if attempt.arrivals is not None:
            attempt.arrivals.cause(now, attempt)

    def wait_until(self, attempt: Attempt, now: float) -> float | None:
        """When to look again, or None when no open leg can change the outcome any more."""
        # The end of a talk tells which of several was its caller, or that a caller who talked to
        # somebody else was put through afterwards: a consultation.
        unsure = len(attempt.candidates) > 1 or (attempt.candidates and attempt.parent is None)
        open_ended = unsure and talks_on(attempt) and "ends" in self._rules
        if open_ended and (attempt.parent is None or not put_through(attempt, attempt.parent)):
            self._reconsider(attempt)
        elif attempt.candidates or (attempt.role == "agent" and attempt.parent is None):
            self.resolve(attempt)
        if "pickup" in self._rules and attempt.cancel_at is not None:
            self._take(attempt)
        if attempt.answered_at is None:
            self._part(attempt, now)
        if attempt.answered_at is not None or attempt.cancel_at is not None:
            return None
        if attempt.final_at is None and not attempt.incomplete:
            return None
        waiting = False
        for child in list(attempt.children):
            if child.settled:
                continue
            if child.terminal_at is not None:
                waiting = True
            elif child.first_response_at is None and (child.retransmissions or child.icmp_at):
                # Its call is over and it never answered: rule 14 needs no more of it.
                child.terminal_at = now
                child.closed_by = "timer"
                self._wheel.set(child, now)
                waiting = True
            elif end_of_leg(child) is None and child.first_response_at is not None:
                child.candidates = [c for c in child.candidates if c is not attempt]
                self._release_child(child)
            else:
                waiting = True
        return now + 60.0 if waiting else None

    def _take(self, attempt: Attempt) -> None:
        """A neighbour may have answered by feature code while this leg rang."""
        caller = attempt.parent
        if caller is None or attempt.replaced_by is not None:
            return
        taker = taker_of(attempt, self._source(attempt.source[0]).marks)
        if taker is None:
            return
        attempt.replaced_by = taker
        if taker.call is not caller.call and caller.call is not None:
            taker.correlation += ("answered in the moment when the ringing leg was taken",)
            self._calls.join(taker, None, caller.call)

    def _part(self, caller: Attempt, now: float) -> None:
        """This caller is over: legs that wait for more to be known are his now, or never."""
        for suitor in list(caller.suitors):
            end = end_of_leg(suitor)
            if end is not None and end > now - 2 * TOGETHER_SECONDS:
                continue  # it has just ended; its own time to be judged comes
            over = end is not None or suitor.answered_at is not None or lifeless(suitor)
            if over and not (
                talks_on(suitor) and len(suitor.candidates) > 1 and contradicted(suitor, caller)
            ):
                self.resolve(suitor)
            else:
                self._refuse(suitor, caller)

    def _refuse(self, suitor: Attempt, caller: Attempt) -> None:
        """This caller is not the one; the others may be."""
        caller.suitors = without(caller.suitors, suitor)
        suitor.candidates = without(suitor.candidates, caller)
        if suitor.parent is caller:
            self._release_child(suitor)

    def _release_child(self, child: Attempt) -> None:
        best = self._matcher.best(child, final=True)
        if best is not None:
            self._pair(child, best, ())
        else:
            self._calls.leave(child)
            self._calls.begin(child)

    def _reconsider(self, attempt: Attempt) -> None:
        """Judge the pairing with what is known, but not for good: the end of the talk will tell."""
        best = self._matcher.best(attempt, final=True)
        if best is not None and best is not attempt.parent:
            self._pair(attempt, best, ())

    def resolve(self, attempt: Attempt) -> None:
        """Judge the pairing with all that is known by now, for good."""
        if not attempt.candidates and attempt.parent is not None:
            return
        if self._confirmed(attempt) or self._with_answerer(attempt):
            return
        best = self._matcher.best(attempt, final=True)
        if best is None and not attempt.ambiguous and attempt.role == "agent":
            for other in self._ended_with(attempt):
                if other not in attempt.candidates:
                    attempt.candidates = added(attempt.candidates, other)
            best = self._matcher.best(attempt, final=True)
        if best is None and attempt.parent is None:
            self._find_answerer(attempt)
        if not attempt.candidates:
            return
        why: Sequence[str] = ()
        if best is not None:
            why = pairing_evidence(attempt, best, self._shared_identity(attempt, best))
        if best is not attempt.parent:
            if best is not None:
                self._pair(attempt, best, why)
            else:
                self._calls.leave(attempt)
                self._calls.begin(attempt)
                attempt.hidden_parent = not attempt.ambiguous
                self._find_answerer(attempt)
        if best is not None:
            attempt.correlation = tuple(why)
            if len(attempt.candidates) == 1:
                self._matcher.learn_route(attempt, best)
            self._follow(attempt, best)
        elif attempt.ambiguous:
            attempt.correlation = (f"ambiguous: {attempt.ambiguous} callers fit",)
            self.counts["ambiguous"] += 1
        self._decided(attempt)

    def _decided(self, attempt: Attempt) -> None:
        for other in attempt.candidates:
            other.suitors = without(other.suitors, attempt)
        attempt.candidates = ()

    def _with_answerer(self, attempt: Attempt) -> bool:
        """A leg begun together with this one, for the same caller, was answered and ended it."""
        if "siblings" not in self._rules:
            return False
        for other in attempt.group:
            if other is attempt or other.call is None or not ended_by(attempt, other):
                continue
            if other.call is not attempt.call:
                self._calls.join(attempt, other.parent, other.call)
                attempt.hidden_parent = other.parent is None
            attempt.correlation = ("another leg for the same caller was answered just then",)
            self._decided(attempt)
            return True
        return False

    def _follow(self, attempt: Attempt, caller: Attempt) -> None:
        """Legs that this one's answer ended go where it goes."""
        if attempt.answered_at is None or caller.call is None or caller.call.ended:
            return
        if "siblings" not in self._rules:
            return
        for other in attempt.group:
            if other is not attempt and other.call is not caller.call and ended_by(other, attempt):
                self._calls.join(other, caller, caller.call)

    def _confirmed(self, attempt: Attempt) -> bool:
        """The common case: one candidate, the same identity, and nothing against it."""
        caller = attempt.parent
        if caller is None or len(attempt.candidates) != 1 or attempt.candidates[0] is not caller:
            return False
        if not share_key(attempt.identity, caller.identity):
            return False
        if "ends" in self._rules and contradicted(attempt, caller):
            return False
        attempt.correlation = tuple(pairing_evidence(attempt, caller, same_identity=True))
        self._matcher.learn_route(attempt, caller)
        attempt.candidates = ()
        caller.suitors = without(caller.suitors, attempt)
        return True

    def _shared_identity(self, attempt: Attempt, caller: Attempt) -> bool:
        return share_key(attempt.identity, caller.identity)

    def _find_answerer(self, attempt: Attempt) -> None:
        """The caller is out of view: a leg for him that was answered as this one was cancelled."""
        at = attempt.cancel_at
        if at is None or not attempt.hidden_parent or "siblings" not in self._rules:
            return
        if not says_elsewhere(attempt):
            return
        found = [
            other
            for when, other in self._source(attempt.source[0]).answers
            if 0 <= at - when <= TOGETHER_SECONDS
            and other.call is not attempt.call
            and other.call is not None
            and _same_caller(attempt, other)
        ]
        if len(found) == 1 and found[0].call is not None:
            attempt.correlation += ("another leg for the same caller was answered just then",)
            self._calls.join(attempt, None, found[0].call)

    def _ended_with(self, attempt: Attempt) -> list[Attempt]:
        """Callers whose leg was answered or ended together with this one."""
        if "ends" not in self._rules:
            return []
        times = [t for t in (attempt.answered_at, end_of_leg(attempt)) if t is not None]
        if not times:
            return []
        found: dict[int, Attempt] = {}
        earliest = min(times) - TOGETHER_SECONDS
        for at, other in reversed(self._source(attempt.source[0]).marks):
            if at < earliest:
                break
            if other.started_at <= attempt.started_at + SKEW_SECONDS and any(
                abs(at - t) <= TOGETHER_SECONDS for t in times
            ):
                found[other.serial] = other
        return list(found.values())[:_MOST_CANDIDATES]

    # --- ends ---------------------------------------------------------------------------------

    def root_of(self, attempt: Attempt) -> Attempt | None:
        """The leg with which this one's call begins; None while that may still change."""
        if attempt.call is None:
            return None
        if attempt.hidden_parent and any(
            ended_by(attempt, o) and o.candidates for o in attempt.group
        ):
            return None  # it goes where the leg goes that was answered
        return attempt.call.root

    def settled(self, attempt: Attempt, now: float) -> None:
        """Its verdict stands: its caller may be waiting for it."""
        self._calls.end_left(now)
        parent = attempt.parent
        if parent is not None and parent.terminal_at is not None and not parent.settled:
            self._wheel.set(parent, max(now, parent.terminal_at))
        if attempt.dialog_over:
            self.over(attempt, now)

    def over(self, attempt: Attempt, now: float) -> None:
        """Neither transaction nor dialog is left of this attempt."""
        if attempt.candidates:
            self.resolve(attempt)
        self._part(attempt, now)
        self._depart(attempt)
        if attempt.role == "caller":
            if not attempt.children:
                self.without_agents += attempt.first_180_at is not None
                self.talked_without += attempt.answered_at is not None
        elif attempt.role == "agent":
            self._matcher.orphaned += attempt.parent is None
            self._matcher.paired += attempt.parent is not None
        if attempt.call is not None:
            if attempt.call.root is attempt and attempt.role != "agent":
                self._give_up_dead(attempt.call, now)
            self._calls.end_if_over(attempt.call, now)
        self._calls.end_left(now)

    def _give_up_dead(self, call: Call, now: float) -> None:
        """The caller is gone: a dead device's leg is judged now, not when its sender gives up."""
        for leg in call.attempts:
            if leg.terminal_at is not None or leg.parent is None or not lifeless(leg):
                continue
            silent = leg.cancel_at is None and leg.retransmissions > 0
            if silent or leg.cancel_count >= UNANSWERED_CANCELS:
                leg.terminal_at = now
                leg.closed_by = "timer"
                self._wheel.set(leg, now)

    def release(self, attempt: Attempt) -> None:
        """Evicted: nobody waits for it, and it waits for nobody."""
        self._decided(attempt)
        attempt.suitors = ()

    def finish(self, now: float) -> None:
        """The capture ends: judge every pairing with what there is."""
        for arrivals in self._arrivals.values():
            for attempt in list(arrivals.live.values()):
                for suitor in list(attempt.suitors):
                    self.resolve(suitor)

    def close(self, now: float) -> None:
        """After `finish`, when all attempts are over."""
        self._arrivals.clear()
