"""Puts on a judged attempt which device was tried, and what explains its failure (section 11)."""

from __future__ import annotations

from collections import OrderedDict

from sipwatch.calls.identity import target_of, user_of
from sipwatch.calls.types import Attempt, Verdict
from sipwatch.devices.types import Binding, Sighting
from sipwatch.outcomes.calls import best_of, last_round
from sipwatch.outcomes.situations import SITUATIONS, Case, Devices, reasons_text, seen_at

__all__ = ["Devices", "Hints"]

#: Details of a timeout that say nothing of the device that was called.
_NOT_THE_DEVICE = frozenset(("no_ack", "server_timeout"))
_MOST_ROUTES = 10_000
_LONGEST_URI = 512


class Hints:
    """Puts the device and the cause hint on attempts that are judged."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        #: (PBX, Request-URI) to the one user whose device it led to; None when to several.
        self._routes: OrderedDict[tuple[bytes, bytes], tuple[str, Sighting] | None] = OrderedDict()

    def attempt(self, attempt: Attempt, now: float) -> None:
        """Say of a judged attempt which device was tried, and of a failure what explains it."""
        verdict, invite = attempt.verdict, attempt.invite
        if verdict is None or invite is None:
            return
        binding = None
        if attempt.role != "caller":
            binding = self._devices.binding(
                attempt.source[0], invite.request_uri, attempt.destination
            )
            if binding is not None:
                attempt.device = binding.user
                _note_answer(attempt, binding)
                self._learn(attempt, binding)
        if verdict.category != "technical":
            return
        if verdict.rule == "3c":
            _inherit(attempt, verdict)
            return
        case = self._case(attempt, now, binding)
        if attempt.device is None:
            attempt.device = target_of(invite) or None
        if verdict.detail in _NOT_THE_DEVICE:
            return
        for situation in SITUATIONS:
            if verdict.outcome in situation.outcomes:
                fact = situation.shows(case)
                if fact is not None:
                    _put(attempt, verdict, situation.cause_hint, fact)
                    return

    def dialog(self, attempt: Attempt) -> None:
        """Say of an answered attempt that is over whether it lost its media."""
        verdict = attempt.verdict
        if verdict is None or attempt.end != "media_timeout" or attempt.bye_at is None:
            return
        if attempt.device is None and attempt.invite is not None:
            attempt.device = _media_device(attempt)
        seen = Sighting(attempt.bye_at, attempt.bye_packet)
        fact = f"BYE {seen_at(seen, attempt)}: {reasons_text(attempt.bye_reasons)}"
        _put(attempt, verdict, "media_lost", fact)

    # --- who was tried --------------------------------------------------------------------------

    def _case(self, attempt: Attempt, now: float, binding: Binding | None) -> Case:
        devices, invite = self._devices, attempt.invite
        assert invite is not None
        if binding is not None:
            contacts = devices.of_user(attempt.source[0], binding.user)
            return Case(attempt, now, devices, binding, contacts)
        if attempt.role == "agent":
            contacts = devices.contacts(attempt.source[0], invite.request_uri)
            return Case(attempt, now, devices, None, contacts)
        pbx = attempt.destination[0]
        contacts = devices.contacts(pbx, invite.request_uri)
        by = ""
        if not contacts and (route := self._routes.get((pbx, invite.request_uri))):
            user, seen = route
            contacts = devices.of_user(pbx, user)
            by = f"this number led to one device alone, last {seen_at(seen, attempt)}; "
        if contacts:
            attempt.device = contacts[0].user
        return Case(attempt, now, devices, None, contacts, by)

    def _learn(self, attempt: Attempt, binding: Binding) -> None:
        """Note where a called number leads, for callers whom the PBX refuses for their device."""
        caller = attempt.parent
        if caller is None or caller.invite is None or attempt.ambiguous:
            return
        key = (caller.destination[0], caller.invite.request_uri)
        if key in self._routes:
            known = self._routes[key]
            if known is None or known[0] != binding.user:
                self._routes[key] = None
                return
        elif len(key[1]) > _LONGEST_URI:
            return
        elif len(self._routes) >= _MOST_ROUTES:
            self._routes.popitem(last=False)
        self._routes[key] = (binding.user, Sighting(attempt.started_at, attempt.packet))


def _put(attempt: Attempt, verdict: Verdict, cause_hint: str, fact: str) -> None:
    attempt.verdict = verdict._replace(cause_hint=cause_hint, evidence=(*verdict.evidence, fact))


def _note_answer(attempt: Attempt, binding: Binding) -> None:
    """The device answers calls: that is remembered for the next one, which it may not answer."""
    at, last = attempt.first_response_at, binding.reacted
    if at is not None and (last is None or last.time < at):
        binding.reacted = Sighting(at, attempt.first_response_packet)


def _inherit(attempt: Attempt, verdict: Verdict) -> None:
    """A caller's leg that has its agent's outcome (rule 3c) has its device and cause, too."""
    found = best_of(last_round(attempt.children))
    if found is None:
        return
    agent, his = found
    attempt.device = agent.device
    if his.cause_hint is not None and his.outcome == verdict.outcome:
        attempt.verdict = verdict._replace(cause_hint=his.cause_hint)


def _media_device(attempt: Attempt) -> str | None:
    """Whose media was lost: the phone at the other end of the leg of the PBX."""
    invite = attempt.invite
    assert invite is not None
    if attempt.role == "caller":
        return user_of(invite.header("from") or b"") or None
    return target_of(invite) or None
