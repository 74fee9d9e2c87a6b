"""Ties agents' legs to the caller's leg that caused them (outcomes.md section 6).

Proxies keep the Call-ID and some systems hand a header through; a plain B2BUA shares nothing, so
time and identity speak together. Candidates are noted when the leg begins, from indexes, and
judged again when it has ended: what ends together belongs together, and a leg that outlives its
caller by a second was never his. Only then does a record become final.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from sipwatch.calls.arrivals import Arrivals
from sipwatch.calls.identity import HIDDEN, display_of, key_of, keys_of, target_of
from sipwatch.calls.pairing import (
    PROMPT_SECONDS,
    SAME_MOMENT_SECONDS,
    SKEW_SECONDS,
    TOGETHER_SECONDS,
    answered_within,
    contradicted,
    end_of_leg,
    group_score,
    is_over,
    lifeless,
    named,
    pairing_evidence,
    prompt_score,
    ringing_elsewhere,
    same_target,
    talking,
    together_score,
)
from sipwatch.calls.settings import Places, TrackerSettings
from sipwatch.calls.types import Attempt, Call, CallEnded, Direction, Event
from sipwatch.calls.wheel import Wheel
from sipwatch.sip.message import Message

#: Legs of one hidden caller begin together.
SIBLINGS_SECONDS = 0.05
#: A pick-up is answered from this long before to TOGETHER after the ringing leg is cancelled.
PICKUP_SECONDS = 1.0

#: Two candidates whose scores differ by less fit equally.
MARGIN = 0.3
#: Least score of a pairing: time alone without a contradiction, or the same identity.
ENOUGH = 1.9
#: The same where most agents' legs have no caller in view: identity, or simultaneous ends.
CERTAIN = 3.4
#: A host that sees its agents' legs sees them for all but one in so many ringing calls.
_FEW = 4

#: "Completed elsewhere" by SIP and by Q.850; Asterisk writes 16 on the very leg that is taken.
#: Other causes on a CANCEL mean a timer, or a caller who left.
_ELSEWHERE_CAUSES = {200, 26}
_NORMAL_CAUSE = 16
#: A feature code without an extension behind it: "*8", "**", "*98".
_LONGEST_BARE_CODE = 3
#: Pairs that must have been certain before a called number's agents are believed.
_KNOWN_ROUTE = 3
_MOST_CANDIDATES = 32
_MOST_MEMBERS = 500
_MOST_PLACES = 4096


def _taker(attempt: Attempt, takers: list[Attempt], said: bool) -> Attempt | None:
    """Which of the callers that the PBX answered just then has taken the ringing leg.

    A feature code that ends with a ringing extension names it; a bare feature code may take
    any; another number only when the CANCEL says "completed elsewhere" and nobody else fits.
    """
    caller = attempt.parent
    rings = {
        target_of(child.invite)
        for child in (caller.children if caller is not None else [attempt])
        if child.invite is not None
    } - {""}
    named, bare = [], []
    for taker in takers:
        user = target_of(taker.invite) if taker.invite is not None else ""
        if any(user != target and user.endswith(target) for target in rings):
            named.append(taker)
        elif user.startswith(("*", "#")) and len(user) <= _LONGEST_BARE_CODE:
            bare.append(taker)
    for group in (named, bare, takers if said and not (named or bare) else []):
        if group:
            return group[0] if len(group) == 1 else None
    return None


def _calls_for(attempt: Attempt, other: Attempt) -> bool:
    """Whether this leg's caller is whom the other leg rang."""
    if other.invite is None:
        return False
    return key_of(target_of(other.invite)) in attempt.identity


def _said_beside(caller: Attempt, at: float) -> bool:
    """Whether another leg of this caller was cancelled with "completed elsewhere" just then."""
    return any(
        child.cancel_at is not None
        and abs(child.cancel_at - at) <= TOGETHER_SECONDS
        and any(reason.cause in _ELSEWHERE_CAUSES for reason in child.cancel_reasons)
        for child in caller.children
    )


def _same_caller(one: Attempt, other: Attempt) -> bool:
    return one.identity == other.identity and one.display == other.display


class Correlator:
    """Attempts of one host in, calls out. Driven by the tracker, which owns the timers."""

    def __init__(self, settings: TrackerSettings, wheel: Wheel, events: list[Event]) -> None:
        self.settings = settings
        self.counts: Counter[str] = Counter()
        #: How many callers' legs had an agent's leg in view, and how many rang without one.
        self.with_agents = 0
        self.without_agents = 0
        #: How many agents' legs had no caller in view, and how many had.
        self._orphaned = 0
        self._paired = 0
        self.places = Places(settings)
        self._rules = settings.correlation_rules
        self._wheel = wheel
        self._events = events
        self._arrivals: OrderedDict[bytes, Arrivals] = OrderedDict()
        self._pbx: set[bytes] = set()
        #: Addresses that agents' legs went to, with the users that were tried there.
        self._targets: OrderedDict[bytes, set[bytes]] = OrderedDict()
        #: Called numbers, and the agents that were tried for them.
        self._routes: OrderedDict[str, Counter[str]] = OrderedDict()
        self._calls = 0
        self._open_calls = 0

    def entries(self) -> dict[str, int]:
        """How much is held, by kind."""
        return {
            "calls": self._open_calls,
            "callers": sum(len(arrivals.live) for arrivals in self._arrivals.values()),
        }

    @property
    def sees_agents(self) -> bool:
        """Whether agents' legs are in view on this host (rule 3b)."""
        return self.with_agents > 0 and self.without_agents * _FEW <= self.with_agents

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
            placed = self._caused(attempt, invite, self._place(source))
        if attempt.call is None:
            self._new_call(attempt)
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
        self._new_call(attempt)

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
        # The addresses of the monitored host are one PBX.
        key = b"local" if address in self.settings.local_addresses else address
        arrivals = self._arrivals.get(key)
        if arrivals is None:
            if len(self._arrivals) >= _MOST_PLACES:
                self._arrivals.popitem(last=False)
            arrivals = self._arrivals[key] = Arrivals()
        return arrivals

    def _arrive(self, attempt: Attempt, invite: Message, arrivals: Arrivals) -> None:
        self._identify(attempt, invite)
        attempt.values = self._values(invite, caller=True)
        arrivals.live[attempt.serial] = attempt
        for key in attempt.identity or ((attempt.display,) if attempt.display else ()):
            same = arrivals.by_identity.get(key)
            if same is None:
                same = arrivals.by_identity[key] = {}
            same[attempt.serial] = attempt
        for value in attempt.values:
            arrivals.by_value[value] = attempt
        attempt.arrivals = arrivals
        arrivals.cause(attempt.started_at, attempt)

    def _identify(self, attempt: Attempt, invite: Message) -> None:
        if not attempt.identity and "identity" in self._rules:
            attempt.identity = keys_of(invite)
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
        for value in attempt.values:
            if arrivals.by_value.get(value) is attempt:
                del arrivals.by_value[value]

    def _values(self, invite: Message, caller: bool) -> list[bytes]:
        """Values that are equal on both sides when a B2BUA hands them through."""
        values: list[bytes] = []
        index = invite.index
        if "headers" in self._rules:
            if caller:
                values.append(invite.call_id)
            for name in self.settings.correlation_headers:
                values.extend(index.get(name.lower().encode(), ()))
        if "session_id" in self._rules:
            for value in index.get(b"session-id", ()):
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
                self._pair(attempt, other, ["same Call-ID as the caller's leg"])
                return True
        for other in known:
            if other.from_tag == attempt.from_tag and other.call is not None:
                if other.source[0] == attempt.source[0]:
                    attempt.correlation.append("same Call-ID as its sibling")
                    attempt.hidden_parent = other.hidden_parent = other.parent is None
                    self._join(attempt, other.parent, other.call)
                else:
                    # The other hop was captured later, or its first INVITE was lost.
                    attempt.correlation.append("same Call-ID on another hop")
                    self._join(attempt, None, other.call)
                return True
        return False

    def _replaces(self, attempt: Attempt, target: Attempt) -> bool:
        if target.call is None:
            return False
        target.replaced_by = attempt
        attempt.correlation.append("Replaces names a dialog of this call")
        self._join(attempt, target.parent if attempt.role == "agent" else None, target.call)
        return True

    def _caused(self, attempt: Attempt, invite: Message, arrivals: Arrivals) -> bool:
        """Look for the caller's leg that made the PBX send this one."""
        values = self._values(invite, caller=False)
        for value in values:
            other = arrivals.by_value.get(value)
            if other is not None and other is not attempt and not is_over(other):
                what = "same SDP origin" if value.startswith(b"o=") else "same header value"
                self._pair(attempt, other, [f"{what} as the caller's leg"])
                return True
        now = attempt.started_at
        self._identify(attempt, invite)
        self._gather(attempt, arrivals)
        found: dict[int, Attempt] = {}
        if "time" in self._rules:
            for at, other in reversed(arrivals.triggers):
                if at < now - PROMPT_SECONDS:
                    break
                if other is not attempt and not is_over(other):
                    found[other.serial] = other
        for key in attempt.identity or ((attempt.display,) if attempt.display else ()):
            same = arrivals.by_identity.get(key)
            if same:
                for serial, other in list(reversed(same.items()))[:_MOST_CANDIDATES]:
                    if other is not attempt:
                        found[serial] = other
        if not found and attempt.role == "agent" and len(arrivals.live) == 1:
            (only,) = arrivals.live.values()
            if only is not attempt and not talking(only, now):
                found[only.serial] = only
        if found:
            attempt.candidates = list(found.values())[:_MOST_CANDIDATES]
            for other in attempt.candidates:
                other.suitors.append(attempt)
            best = self._best(attempt, final=False)
            if best is not None:
                self._pair(attempt, best, [])
                if not self.settings.local_addresses:
                    self._learned(attempt, best)
                return True
        if attempt.role == "agent":
            self._orphan(attempt, arrivals)
        return False

    def _gather(self, attempt: Attempt, arrivals: Arrivals) -> None:
        """Find the ring group that this leg belongs to."""
        if attempt.role != "agent":
            return
        for other in reversed(arrivals.legs):
            if attempt.started_at - other.started_at > SAME_MOMENT_SECONDS:
                break
            if _same_caller(attempt, other) and not same_target(attempt, other):
                attempt.group = other.group
                break
        attempt.group.append(attempt)
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
                self._pair(attempt, other, [why])
                return
        attempt.hidden_parent = True
        if "siblings" in self._rules:
            for other in reversed(arrivals.orphans):
                delay = attempt.started_at - other.started_at
                if delay > SIBLINGS_SECONDS:
                    break
                same = _same_caller(attempt, other) and not same_target(attempt, other)
                if same and other.call is not None:
                    attempt.correlation.append(
                        f"begun {delay * 1000:.0f} ms after a leg for the same caller"
                    )
                    self._join(attempt, None, other.call)
                    break
        arrivals.orphans.append(attempt)

    def _best(self, attempt: Attempt, final: bool) -> Attempt | None:
        """The caller that fits; None when none does, or when several fit equally."""
        attempt.ambiguous = 0
        candidates = attempt.candidates
        alone = len(candidates) == 1
        best: Attempt | None = None
        # Where most callers are out of view, one that is in view is hardly the right one.
        least = ENOUGH if self._orphaned <= self._paired + 1 else CERTAIN
        top = least
        scores = []
        for other in candidates:
            score = self._score(attempt, other, final, alone)
            scores.append(score)
            if score >= top:
                best, top = other, score
        if not alone and best is not None:
            equal = [
                other
                for score, other in zip(scores, candidates, strict=True)
                if score > top - MARGIN and score >= least
            ]
            if len(equal) > 1:
                attempt.ambiguous = len(equal)
                attempt.rivals = equal
                return None
        return best

    def _score(self, attempt: Attempt, caller: Attempt, final: bool, alone: bool) -> float:
        """How well this caller explains this leg; see the constants beside each line."""
        score = prompt_score(attempt, caller) if "time" in self._rules else 0.0
        mine, his = attempt.identity, caller.identity
        if mine and his:
            score += -1.25 if mine.isdisjoint(his) else 4.0
        elif mine or his:
            # A PBX may hide a number; it hardly knows one that the caller hides.
            score -= 1.5 if mine else 1.0
        elif attempt.display == caller.display:
            score += 1.5 if attempt.display == HIDDEN else 2.5
        if talking(caller, attempt.started_at):
            score -= 2.5
        elif not alone and ringing_elsewhere(caller, attempt):
            # A queue may ring another agent beside one that rings; a Dial or bridge hardly does.
            score -= 0.5 if caller.answered_at is not None else 1.5
        if final and "ends" in self._rules:
            score += together_score(attempt, caller) + group_score(attempt, caller)
        if not alone:
            if "party_id" in self._rules and named(caller, attempt):
                score += 2.0
            score += self._route_score(attempt, caller)
        return score

    def _route_score(self, attempt: Attempt, caller: Attempt) -> float:
        """Whether the called number was seen to lead to this agent before: a dialplan's habit."""
        if attempt.invite is None or caller.invite is None or "route" not in self._rules:
            return 0.0
        seen = self._routes.get(target_of(caller.invite))
        if seen is None or sum(seen.values()) < _KNOWN_ROUTE:
            return 0.0
        return 1.0 if target_of(attempt.invite) in seen else -0.5

    def _learn_route(self, attempt: Attempt, caller: Attempt) -> None:
        if attempt.invite is None or caller.invite is None or caller.role == "agent":
            return
        number = target_of(caller.invite)
        seen = self._routes.get(number)
        if seen is None:
            if len(self._routes) >= _MOST_PLACES:
                self._routes.popitem(last=False)
            seen = self._routes[number] = Counter()
        if len(seen) < _MOST_CANDIDATES:
            seen[target_of(attempt.invite)] += 1

    def _pair(self, attempt: Attempt, caller: Attempt, why: list[str]) -> None:
        attempt.correlation = why
        call = caller.call
        if call is None:
            call = self._new_call(caller)
        self._join(attempt, caller, call)
        if attempt.role != "agent" and not self.settings.local_addresses:
            self._learned(attempt, caller)

    def _join(self, attempt: Attempt, parent: Attempt | None, call: Call) -> None:
        self._leave(attempt)
        attempt.parent = parent
        if parent is not None:
            if not parent.children and parent.role == "caller":
                self.with_agents += 1
            parent.children.append(attempt)
            attempt.hidden_parent = False
        attempt.call = call
        if len(call.attempts) >= _MOST_MEMBERS:
            self._thin(call)
        call.attempts.append(attempt)

    def _thin(self, call: Call) -> None:
        """A call of hundreds of legs keeps the latest: a queue may hold a caller for hours."""
        for other in call.attempts[1:]:
            if other.settled and other.dialog_over:
                call.attempts.remove(other)
                if other.parent is not None and other in other.parent.children:
                    other.parent.children.remove(other)
                self.counts["thinned"] += 1
                return

    def _leave(self, attempt: Attempt) -> None:
        if attempt.parent is not None:
            if attempt in attempt.parent.children:
                attempt.parent.children.remove(attempt)
            attempt.parent = None
        call = attempt.call
        if call is not None:
            call.attempts.remove(attempt)
            if not call.attempts:
                self._open_calls -= 1
            elif call.root is attempt:
                call.root = call.attempts[0]
            attempt.call = None

    def _new_call(self, attempt: Attempt) -> Call:
        self._calls += 1
        self._open_calls += 1
        call = attempt.call = Call(self._calls, attempt)
        return call

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
            self._place(attempt.source[0]).answer(now, attempt)

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
            member.correlation.append("consulted for this call: REFER with Replaces")
            parent = member.parent
            self._join(member, parent, call)

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
        if attempt.candidates or (attempt.role == "agent" and attempt.parent is None):
            self.resolve(attempt)
        if "pickup" in self._rules:
            self._picked_up(attempt)
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

    def _part(self, caller: Attempt, now: float) -> None:
        """This caller is over: legs that wait for more to be known are his now, or never."""
        for suitor in list(caller.suitors):
            end = end_of_leg(suitor)
            if end is not None and end > now - 2 * TOGETHER_SECONDS:
                continue  # it has just ended; its own time to be judged comes
            if end is not None or suitor.answered_at is not None or lifeless(suitor):
                self.resolve(suitor)
                continue
            caller.suitors.remove(suitor)
            if caller in suitor.candidates:
                suitor.candidates.remove(caller)
            if suitor.parent is caller:
                self._release_child(suitor)

    def _release_child(self, child: Attempt) -> None:
        best = self._best(child, final=True)
        if best is not None:
            self._pair(child, best, [])
        else:
            self._leave(child)
            self._new_call(child)

    def resolve(self, attempt: Attempt) -> None:
        """Judge the pairing with all that is known by now, for good."""
        if not attempt.candidates and attempt.parent is not None:
            return
        if self._confirmed(attempt):
            return
        best = self._best(attempt, final=True)
        if best is None and not attempt.ambiguous and attempt.role == "agent":
            for other in self._ended_with(attempt):
                if other not in attempt.candidates:
                    attempt.candidates.append(other)
            best = self._best(attempt, final=True)
        if best is None and attempt.parent is None:
            self._find_answerer(attempt)
        if not attempt.candidates:
            return
        why = []
        if best is not None:
            why = pairing_evidence(attempt, best, self._shared_identity(attempt, best))
        if best is not attempt.parent:
            if best is not None:
                self._pair(attempt, best, why)
            else:
                self._leave(attempt)
                self._new_call(attempt)
                attempt.hidden_parent = not attempt.ambiguous
                self._find_answerer(attempt)
        if best is not None:
            attempt.correlation = why
            if len(attempt.candidates) == 1:
                self._learn_route(attempt, best)
        elif attempt.ambiguous:
            attempt.correlation = [f"ambiguous: {attempt.ambiguous} callers fit"]
            self.counts["ambiguous"] += 1
        for other in attempt.candidates:
            if attempt in other.suitors:
                other.suitors.remove(attempt)
        attempt.candidates = []

    def _confirmed(self, attempt: Attempt) -> bool:
        """The common case: one candidate, the same identity, and nothing against it."""
        caller = attempt.parent
        if caller is None or len(attempt.candidates) != 1 or attempt.candidates[0] is not caller:
            return False
        if attempt.identity.isdisjoint(caller.identity):
            return False
        if "ends" in self._rules and contradicted(attempt, caller):
            return False
        attempt.correlation = pairing_evidence(attempt, caller, same_identity=True)
        self._learn_route(attempt, caller)
        attempt.candidates = []
        if attempt in caller.suitors:
            caller.suitors.remove(attempt)
        return True

    def _shared_identity(self, attempt: Attempt, caller: Attempt) -> bool:
        return not attempt.identity.isdisjoint(caller.identity)

    def _find_answerer(self, attempt: Attempt) -> None:
        """The caller is out of view: a leg for him that was answered as this one was cancelled."""
        at = attempt.cancel_at
        if at is None or not attempt.hidden_parent or "siblings" not in self._rules:
            return
        if not any(reason.cause in _ELSEWHERE_CAUSES for reason in attempt.cancel_reasons):
            return
        found = [
            other
            for when, other in self._place(attempt.source[0]).answers
            if 0 <= at - when <= TOGETHER_SECONDS
            and other.call is not attempt.call
            and other.call is not None
            and _same_caller(attempt, other)
        ]
        if len(found) == 1 and found[0].call is not None:
            attempt.correlation.append("another leg for the same caller was answered just then")
            self._join(attempt, None, found[0].call)

    def _ended_with(self, attempt: Attempt) -> list[Attempt]:
        """Callers whose leg was answered or ended together with this one."""
        if "ends" not in self._rules:
            return []
        times = [t for t in (attempt.answered_at, end_of_leg(attempt)) if t is not None]
        if not times:
            return []
        found: dict[int, Attempt] = {}
        earliest = min(times) - TOGETHER_SECONDS
        for at, other in reversed(self._place(attempt.source[0]).marks):
            if at < earliest:
                break
            if other.started_at <= attempt.started_at + SKEW_SECONDS and any(
                abs(at - t) <= TOGETHER_SECONDS for t in times
            ):
                found[other.serial] = other
        return list(found.values())[:_MOST_CANDIDATES]

    def _picked_up(self, attempt: Attempt) -> None:
        """A neighbour answered by feature code while this leg rang (outcomes.md 6)."""
        caller, at = attempt.parent, attempt.cancel_at
        if caller is None or at is None or attempt.replaced_by is not None:
            return
        if caller.answered_at is None or caller.answered_at > at + PICKUP_SECONDS:
            return
        if any(answered_within(child, at) for child in caller.children):
            return
        causes = {reason.cause for reason in attempt.cancel_reasons}
        said = bool(causes & _ELSEWHERE_CAUSES)
        if causes and not said and _NORMAL_CAUSE not in causes:
            return
        waited = caller.answered_at < at - PICKUP_SECONDS
        if waited and not said and not _said_beside(caller, at):
            return  # a queue's own timer: nothing but the code dialled would speak for a pick-up
        if (end := end_of_leg(caller)) is not None and end < at:
            return
        takers = [
            other
            for when, other in self._place(attempt.source[0]).marks
            if other is not caller
            and other.answered_at == when
            and at - PICKUP_SECONDS <= when <= at + TOGETHER_SECONDS
            and other.started_at > attempt.started_at
            and not other.children
            and other.invite is not None
        ]
        taker = _taker(
            attempt, takers, said=any(r.cause in (200, 26) for r in attempt.cancel_reasons)
        )
        if taker is None:
            return
        attempt.replaced_by = taker
        if taker.call is not caller.call and caller.call is not None:
            taker.correlation.append("answered in the moment when the ringing leg was taken")
            self._join(taker, None, caller.call)

    # --- ends ---------------------------------------------------------------------------------

    def settled(self, attempt: Attempt, now: float) -> None:
        """Its verdict stands: its caller may be waiting for it."""
        parent = attempt.parent
        if parent is not None and parent.terminal_at is not None and not parent.settled:
            self._wheel.set(parent, max(now, parent.terminal_at))
        if attempt.dialog_over:
            self.over(attempt, now)

    def over(self, attempt: Attempt, now: float) -> None:
        """Neither transaction nor dialog is left of this attempt."""
        self._part(attempt, now)
        self._depart(attempt)
        if attempt.role == "caller":
            self.without_agents += attempt.first_180_at is not None and not attempt.children
        elif attempt.role == "agent":
            self._orphaned += attempt.parent is None
            self._paired += attempt.parent is not None
        if attempt.call is not None:
            self._maybe_end(attempt.call, now)

    def release(self, attempt: Attempt) -> None:
        """Evicted: nobody waits for it, and it waits for nobody."""
        for other in attempt.candidates:
            if attempt in other.suitors:
                other.suitors.remove(attempt)
        attempt.candidates = []
        attempt.suitors.clear()

    def _maybe_end(self, call: Call, now: float) -> None:
        root = call.root
        if call.ended or not root.dialog_over:
            return
        left = root.cancel_at is not None or root.answered_at is not None
        for attempt in call.attempts:
            if attempt.dialog_over:
                continue
            if left and not attempt.settled and lifeless(attempt):
                continue
            return
        call.ended = True
        self._open_calls -= 1
        self._events.append(CallEnded(call, now))

    def finish(self, now: float) -> None:
        """The capture ends: judge every pairing with what there is."""
        for arrivals in self._arrivals.values():
            for attempt in list(arrivals.live.values()):
                for suitor in list(attempt.suitors):
                    self.resolve(suitor)

    def close(self, now: float) -> None:
        """After `finish`, when all attempts are over."""
        self._arrivals.clear()
