"""Missed calls: outside working hours, asked to be called back, called back or not (section 7).

`hint` says of a call, before it is judged, that it came outside hours or asks for a call back;
`call` remembers it when it was missed; `attempt` sees when somebody calls its caller. Numbers are
compared as `calls.identity` does. Who hides his number is remembered for nobody to call back.
Bounded: the oldest missed calls go first.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol, TypeVar
from weakref import ReferenceType, ref

from sipwatch.calls.identity import key_of, keys_of, target_of, user_of
from sipwatch.calls.types import Attempt, Call, InviteKey
from sipwatch.config.hours import Hours
from sipwatch.sip import grammar
from sipwatch.sip.message import Message

#: Missed calls that are remembered, and callers who asked while their call was not over yet.
MOST_MISSED = 10_000
MOST_ASKING = 1_000
#: Calls to a number that are remembered, should a missed call of it turn out later.
MOST_RETURNING = 2_000
#: The shortest number that is compared as one: feature codes are compared as they are written.
_NUMBER_DIGITS = 7
#: What became of a caller who reached nobody though somebody was to be reached. Not here: who was
#: turned away on purpose, dialled wrongly, or was forwarded to where he is out of view.
MISSED = frozenset(
    (
        "agent_busy",
        "no_answer",
        "declined",
        "device_not_responding",
        "connection_timeout",
        "unavailable",
        "server_failure",
        "abandoned",
        "briefly_abandoned",
        "outside_hours",
        "callback",
        "other_failure",
    )
)
#: Calls of which nothing can be said yet.
_OPEN = frozenset(("in_progress", "incomplete"))
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class HeaderRule(Protocol):
    """A header, lower case, and what its value must match; without a pattern its presence."""

    @property
    def name(self) -> str:
        """Its full name."""

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """What is found in its value."""


class CallbackRules(Protocol):
    """How callers ask to be called back: see `sipwatch.config.model.Callback`."""

    @property
    def feature_codes(self) -> Sequence[str]:
        """Numbers whose call is such a wish."""

    @property
    def headers(self) -> Sequence[HeaderRule]:
        """Headers of an INVITE that say so."""

    @property
    def return_window_seconds(self) -> float:
        """How long after a missed call a call to its caller returns it."""


class MissedCall:
    """One missed call, and what became of it."""

    __slots__ = (
        "_call",
        "callback_requested",
        "called",
        "caller",
        "ended_at",
        "inbound",
        "invite",
        "keys",
        "outcome",
        "returned_at",
        "returned_by",
        "started_at",
    )

    def __init__(self, call: Call, outcome: str, keys: frozenset[str], inbound: bool) -> None:
        root = call.root
        #: What identifies the call's record.
        self.invite = invite_key(root)
        self.started_at = root.started_at
        self.ended_at = max(root.started_at, root.ended_at or 0.0)
        self.outcome = outcome
        #: Comparable keys of the caller; empty when he hides.
        self.keys = keys
        #: The caller and the called number as they are written.
        self.caller = _caller(root)
        self.called = "" if root.invite is None else target_of(root.invite)
        #: It came from outside.
        self.inbound = inbound
        self.callback_requested = call.callback_requested
        #: When somebody called its caller, and who; None until then.
        self.returned_at: float | None = None
        self.returned_by: str | None = None
        self._call: ReferenceType[Call] = ref(call)

    def returned(self, at: float, by: str | None) -> None:
        """Somebody calls its caller."""
        self.returned_at, self.returned_by = at, by
        call = self._call()
        if call is not None:
            call.returned_at, call.returned_by = at, by

    def requested(self) -> None:
        """Its caller asks to be called back."""
        self.callback_requested = True
        call = self._call()
        if call is not None:
            call.callback_requested = True


class _Returning(NamedTuple):
    """A call to a number, that may return one which turns out missed later."""

    at: float
    by: str | None


class _Asking(NamedTuple):
    """A caller asked for completion of a call that may not be judged yet (RFC 6910)."""

    at: float
    called: frozenset[str]


class MissedCalls:
    """Remembers what was missed, in order of its end; driven by what is judged."""

    def __init__(
        self,
        hours: Hours,
        rules: CallbackRules,
        networks_configured: bool,
        from_device: Callable[[bytes], bool],
    ) -> None:
        self.reconfigure(hours, rules, networks_configured)
        #: Whether this address is an agent's device.
        self._from_device = from_device
        #: Calls of the window, in order of their ends; and those whose window passed in vain.
        self._waiting: OrderedDict[InviteKey, MissedCall] = OrderedDict()
        self._never: deque[MissedCall] = deque(maxlen=MOST_MISSED)
        self._by_caller: dict[str, list[MissedCall]] = {}
        self._returning: OrderedDict[str, _Returning] = OrderedDict()
        self._asking: OrderedDict[str, _Asking] = OrderedDict()
        #: Calls from outside that were missed; of them those of hidden numbers, those called
        #: back, those whose window passed without, and those that asked for it.
        self.missed = 0
        self.hidden = 0
        self.returned = 0
        self.never_returned = 0
        self.callbacks_requested = 0
        self.forgotten = 0

    def reconfigure(self, hours: Hours, rules: CallbackRules, networks_configured: bool) -> None:
        """Go on with other hours and rules; what was missed stays."""
        self._hours = hours
        self._rules = rules
        self._networks_configured = networks_configured

    # --- what others ask --------------------------------------------------------------------------

    def not_returned(self) -> list[MissedCall]:
        """Calls from outside whose caller was not called back, oldest first.

        Those of hidden numbers are not among them: nobody can call them back.
        """
        return [call for call in (*self._never, *self._waiting.values()) if _is_due(call)]

    def pending(self, now: float) -> int:
        """How many wait to be called back: missed within the window, not called back yet."""
        self._expire(now)
        return sum(map(_is_due, self._waiting.values()))

    def entries(self) -> dict[str, int]:
        """How much is held, by kind."""
        return {
            "missed": len(self._waiting) + len(self._never),
            "callers": len(self._by_caller),
            "returning": len(self._returning),
            "asking": len(self._asking),
        }

    # --- before the call is judged ----------------------------------------------------------------

    def hint(self, call: Call) -> None:
        """Say what the configuration makes of this call: section 6, rule 2."""
        root = call.root
        invite = root.invite
        if invite is None or root.role == "agent":
            return
        rules = self._rules
        fact = None
        if rules.feature_codes or rules.headers or self._asking:
            fact = self._asks_for_callback(root, invite)
        if fact is not None:
            call.outcome_hint, call.hint_fact = "callback", fact
            return
        if not self._hours.configured or not self._is_inbound(root) or _is_open(root):
            return
        if not self._hours.is_open(root.started_at, target_of(invite)):
            call.outcome_hint = "outside_hours"
            call.hint_fact = f"came at {self._local(root.started_at)}, outside working hours"

    def _asks_for_callback(self, root: Attempt, invite: Message) -> str | None:
        called = target_of(invite)
        if any(_is_code(called, code) for code in self._rules.feature_codes):
            return f"{called} is a feature code for a call back"
        for rule in self._rules.headers:
            for value in invite.index.get(rule.name.encode(), ()):
                if rule.pattern is None or rule.pattern.search(grammar.text(value)):
                    return f"its header {rule.name} asks for a call back"
        for key in _keys(invite):
            asking = self._asking.get(key)
            if asking is None or asking.at < root.started_at:
                continue
            if key_of(called) in asking.called or not asking.called:
                del self._asking[key]
                return "SUBSCRIBE for its completion (RFC 6910)"
        return None

    def _local(self, time: float) -> str:
        at = datetime.fromtimestamp(time, UTC).astimezone(self._hours.timezone)
        return at.strftime("%a %H:%M %Z").strip()

    # --- a call is judged -------------------------------------------------------------------------

    def call(self, call: Call, now: float) -> None:
        """Remember a judged call that was missed."""
        self._expire(now)
        verdict, root = call.verdict, call.root
        if verdict is None or verdict.outcome not in MISSED:
            return
        if root.invite is None or root.role == "agent":
            return
        keys, inbound = _keys(root.invite), self._is_inbound(root)
        if verdict.outcome == "callback":
            earlier = self._last_missed(keys, root.started_at)
            if earlier is not None:
                self._request(earlier)
                call.callback_for = earlier.invite
            if earlier is not None or not inbound:
                return
            # Nothing came before it: this call itself is to be returned.
            call.callback_requested = True
        missed = MissedCall(call, verdict.outcome, keys, inbound)
        call.missed = missed
        self._remember(missed)

    def _remember(self, missed: MissedCall) -> None:
        self._waiting[missed.invite] = missed
        if missed.inbound:
            self.missed += 1
            self.hidden += not missed.keys
            self.callbacks_requested += missed.callback_requested
        for key in missed.keys:
            self._by_caller.setdefault(key, []).append(missed)
            returning = self._returning.get(key)
            if missed.inbound and returning is not None and returning.at >= missed.started_at:
                self._return(missed, returning)
        if len(self._waiting) > MOST_MISSED:
            self.forgotten += 1
            self._forget(next(iter(self._waiting.values())))

    def _expire(self, now: float) -> None:
        """Calls whose window passed will not be called back any more."""
        window = self._rules.return_window_seconds
        while self._waiting:
            first = next(iter(self._waiting.values()))
            if now - first.ended_at <= window:
                return
            if _is_due(first):
                self.never_returned += 1
                self._never.append(first)
            self._forget(first)

    def _forget(self, missed: MissedCall) -> None:
        del self._waiting[missed.invite]
        for key in missed.keys:
            same = self._by_caller.get(key)
            if same is not None:
                same.remove(missed)
                if not same:
                    del self._by_caller[key]

    # --- somebody calls back ----------------------------------------------------------------------

    def attempt(self, attempt: Attempt) -> None:
        """See whether a judged attempt calls somebody whose call was missed."""
        invite, call = attempt.invite, attempt.call
        if invite is None or call is None or not self._goes_out(attempt, call.root):
            return
        key = key_of(target_of(invite))
        if not key:
            return
        found = _Returning(attempt.started_at, _who_calls(attempt, call))
        _keep(self._returning, key, found, MOST_RETURNING)
        window = self._rules.return_window_seconds
        for missed in self._by_caller.get(key, ()):
            since = attempt.started_at - missed.ended_at
            if missed.inbound and attempt.started_at >= missed.started_at and since <= window:
                call.returns = missed.invite
                if missed.returned_at is None:
                    self._return(missed, found)

    def _return(self, missed: MissedCall, found: _Returning) -> None:
        missed.returned(found.at, found.by)
        self.returned += 1

    def _goes_out(self, attempt: Attempt, root: Attempt) -> bool:
        """Whether this leg can call a missed caller back.

        The agents' legs of a call that came in forward it, at most. Where no networks are
        configured, a phone that never registered looks like a caller from outside.
        """
        if not self._is_inbound(root):
            return True
        return attempt is root and not self._networks_configured

    # --- somebody asks for it ---------------------------------------------------------------------

    def subscribe(self, message: Message, now: float) -> None:
        """A SUBSCRIBE: for the completion of a call (RFC 6910 9), or nothing to us."""
        event = grammar.text(message.header("event")).partition(";")[0].strip().lower()
        expires = grammar.text(message.header("expires")).strip()
        if event != "call-completion" or message.to_tag or expires == "0":
            return
        keys = _keys(message)
        to = user_of(message.header("to") or b"")
        called = frozenset(filter(None, (key_of(target_of(message)), key_of(to))))
        missed = self._last_missed(keys, now, called)
        if missed is not None:
            self._request(missed)
            if key_of(missed.called) in called:
                return
        for key in keys:
            _keep(self._asking, key, _Asking(now, called), MOST_ASKING)

    def _last_missed(
        self, keys: frozenset[str], now: float, called: frozenset[str] = frozenset()
    ) -> MissedCall | None:
        """The last missed call that waits, to one of these numbers if there is one."""
        window = self._rules.return_window_seconds
        found = [
            missed
            for key in keys
            for missed in self._by_caller.get(key, ())
            if now - missed.ended_at <= window and missed.returned_at is None
        ]
        there = [missed for missed in found if key_of(missed.called) in called]
        return max(there or found, key=lambda missed: missed.started_at, default=None)

    def _request(self, missed: MissedCall) -> None:
        if not missed.callback_requested:
            missed.requested()
            self.callbacks_requested += missed.inbound

    # --- whose call it is -------------------------------------------------------------------------

    def _is_inbound(self, root: Attempt) -> bool:
        """Whether a call comes from outside: by the networks, else by who is known as a device.

        Where nothing tells which of both ends is the PBX, a call comes to it.
        """
        if root.role == "agent":
            return False
        if self._networks_configured:
            return root.direction == "inbound"
        return not self._from_device(root.source[0])


def invite_key(attempt: Attempt) -> InviteKey:
    """What identifies the first leg of an attempt."""
    return InviteKey(attempt.call_id, attempt.from_tag, attempt.branch, attempt.cseq)


def _is_due(missed: MissedCall) -> bool:
    return missed.inbound and bool(missed.keys) and missed.returned_at is None


def _is_open(root: Attempt) -> bool:
    return root.verdict is not None and root.verdict.outcome in _OPEN


def _is_code(called: str, code: str) -> bool:
    if called == code:
        return True
    digits = sum(sign.isdigit() for sign in code)
    return digits >= _NUMBER_DIGITS and key_of(called) == key_of(code)


def _keys(message: Message) -> frozenset[str]:
    """The keys of who sends this; none for who hides, even where the network knows better."""
    if not key_of(user_of(message.from_value)):
        return frozenset()
    return keys_of(message)


def _caller(root: Attempt) -> str:
    return "" if root.invite is None else user_of(root.invite.from_value)


def _who_calls(attempt: Attempt, call: Call) -> str | None:
    """The agent who calls: the phone that the PBX called first, else who sent the call."""
    root = call.root
    if root.role == "agent" and root is not attempt and root.invite is not None:
        return target_of(root.invite) or None
    return _caller(root) or None


def _keep(table: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    table.pop(key, None)
    if len(table) >= most:
        table.popitem(last=False)
    table[key] = value
