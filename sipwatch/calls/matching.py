"""Which caller an agent's leg belongs to: candidates judged by all that speaks for them."""

from __future__ import annotations

from collections import Counter, OrderedDict

from sipwatch.calls.identity import HIDDEN, share_key, target_of
from sipwatch.calls.pairing import (
    PROMPT_WORTH,
    SKEW_SECONDS,
    group_score,
    named,
    prompt_score,
    ringing_elsewhere,
    rung_already,
    talking,
    together_score,
    tried_before,
)
from sipwatch.calls.types import Attempt

#: Two candidates whose scores differ by less fit equally.
MARGIN = 0.3
#: Least score of a pairing: time alone without a contradiction, or the same identity.
ENOUGH = 1.9
#: The same where most agents' legs have no caller in view: identity, or simultaneous ends.
CERTAIN = 3.4

#: Pairs that must have been certain before a called number's agents are believed.
_KNOWN_ROUTE = 3
_MOST_TARGETS = 32
_MOST_NUMBERS = 4096


class Matcher:
    """Scores candidates; remembers which called numbers lead to which agents."""

    def __init__(self, rules: frozenset[str]) -> None:
        self._rules = rules
        #: How many agents' legs had no caller in view, and how many had.
        self.orphaned = 0
        self.paired = 0
        #: Called numbers, and the agents that were tried for them.
        self._routes: OrderedDict[str, Counter[str]] = OrderedDict()

    def best(self, attempt: Attempt, final: bool) -> Attempt | None:
        """The caller that fits; None when none does, or when several fit equally."""
        attempt.ambiguous = 0
        candidates = attempt.candidates
        alone = len(candidates) == 1
        if alone and not final and is_plain(attempt, candidates[0]):
            return candidates[0]
        best: Attempt | None = None
        # Where most callers are out of view, one that is in view is hardly the right one.
        least = ENOUGH if self.orphaned <= self.paired + 1 else CERTAIN
        top = least
        scores = []
        for other in candidates:
            score = self.score(attempt, other, final, alone)
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

    def score(self, attempt: Attempt, caller: Attempt, final: bool, alone: bool) -> float:
        """How well this caller explains this leg; see the constants beside each line."""
        score = prompt_score(attempt, caller) if "time" in self._rules else 0.0
        mine, his = attempt.identity, caller.identity
        if mine and his:
            if share_key(mine, his):
                score += 4.0
            elif caller.role == "agent":
                score -= 4.0  # from another host in view, and not for the same caller
            elif not alone or score < PROMPT_WORTH:
                score -= 1.25  # numbers are rewritten: where the time is unique it is no refutation
        elif mine or his:
            # A PBX may hide a number; it hardly knows one that the caller hides.
            score -= 1.5 if mine else 1.0
            if not mine and not alone and _rather_hidden(attempt, caller):
                score -= 3.5
        elif attempt.display == caller.display:
            score += 2.0 if attempt.display == HIDDEN else 2.5
        if talking(caller, attempt.started_at):
            score -= 2.5
        elif not alone and ringing_elsewhere(caller, attempt):
            # A queue may ring another agent beside one that rings; a Dial or bridge hardly does.
            score -= 0.5 if caller.answered_at is not None else 1.5
        if rung_already(caller, attempt):
            score -= 4.0
        elif not alone and tried_before(caller, attempt):
            score += 0.75
        if final and "ends" in self._rules:
            score += together_score(attempt, caller) + group_score(attempt, caller)
        if not alone:
            if "party_id" in self._rules and named(caller, attempt):
                score += 2.0
            score += self._route_score(attempt, caller)
        if caller in attempt.linked:
            score += 3.0
        return score

    def _route_score(self, attempt: Attempt, caller: Attempt) -> float:
        """Whether the called number was seen to lead to this agent before: a dialplan's habit."""
        if attempt.invite is None or caller.invite is None or "route" not in self._rules:
            return 0.0
        seen = self._routes.get(target_of(caller.invite))
        if seen is None or sum(seen.values()) < _KNOWN_ROUTE:
            return 0.0
        return 1.0 if target_of(attempt.invite) in seen else -0.5

    def learn_route(self, attempt: Attempt, caller: Attempt) -> None:
        """A pair that is certain: this number leads to this agent."""
        if attempt.invite is None or caller.invite is None or caller.role == "agent":
            return
        number = target_of(caller.invite)
        seen = self._routes.get(number)
        if seen is None:
            if len(self._routes) >= _MOST_NUMBERS:
                self._routes.popitem(last=False)
            seen = self._routes[number] = Counter()
        if len(seen) < _MOST_TARGETS:
            seen[target_of(attempt.invite)] += 1


def _rather_hidden(attempt: Attempt, caller: Attempt) -> bool:
    """Whether a leg without a number is rather that of a candidate who hides his.

    Who is shown to one agent is hardly hidden from the next.
    """
    return any(
        child is not attempt and share_key(child.identity, caller.identity)
        for child in caller.children
    ) and any(
        not other.identity and other.display == attempt.display for other in attempt.candidates
    )


def is_plain(attempt: Attempt, caller: Attempt) -> bool:
    """The common case: the only candidate, of the same identity, who began before and waits.

    The identity alone is worth more than `CERTAIN` then, and nothing is held against it.
    """
    return (
        share_key(attempt.identity, caller.identity)
        and caller.started_at <= attempt.started_at + SKEW_SECONDS
        and not talking(caller, attempt.started_at)
        and not rung_already(caller, attempt)
    )
