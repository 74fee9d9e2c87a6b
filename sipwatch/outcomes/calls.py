"""The outcome of a call from those of its attempts (outcomes.md section 6, end)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sipwatch.calls.types import T1_SECONDS, TIMEOUT_SECONDS, Attempt, Call, Verdict
from sipwatch.outcomes.scene import left_at
from sipwatch.outcomes.taxonomy import CATEGORY

#: Attempts begun this close before the last one are one round of ringing.
ROUND_SECONDS = 1.0
#: Leaving a mailbox or an announcement this long after the last agent is not abandoning.
MAILBOX_SECONDS = 10.0

#: For ring-all, the best of the round: what a person did before what technology did.
_ORDER = (
    "declined",
    "no_answer",
    "agent_busy",
    "connection_timeout",
    "device_not_responding",
    "unavailable",
)


def last_round(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The last agent attempt, with those begun within 1 s before it and still open then."""
    if not attempts:
        return []
    last = max(attempts, key=lambda a: a.started_at)
    return [
        a
        for a in attempts
        if last.started_at - a.started_at <= ROUND_SECONDS
        and (a is last or _end(a) > last.started_at)
    ]


def _end(attempt: Attempt) -> float:
    times = [t for t in (attempt.cancel_at, attempt.final_at, attempt.answered_at) if t is not None]
    return min(times) if times else float("inf")


def _tried_until(agent: Attempt, root: Attempt) -> float:
    """When the trying of this agent ended; of a dead device no message says it."""
    end = _end(agent)
    if end != float("inf"):
        return end
    if root.answered_at is not None and root.answered_at > agent.started_at:
        return root.answered_at  # a mailbox or announcement took over
    sent = agent.transmissions
    interval = sent[-1] - sent[-2] if len(sent) > 1 else T1_SECONDS
    return min(sent[-1] + 2 * interval, sent[0] + TIMEOUT_SECONDS)


def best_of(attempts: Sequence[Attempt]) -> tuple[Attempt, Verdict] | None:
    """The attempt that speaks for a round of ringing."""
    judged = [(a, a.verdict) for a in attempts if a.verdict is not None]
    if not judged:
        return None
    return min(judged, key=lambda pair: (_rank(pair[1].outcome), -pair[0].started_at))


def last_facts(attempt: Attempt, verdict: Verdict) -> list[str]:
    """The last two facts of a verdict, without what ties its leg to its caller's."""
    return [fact for fact in verdict.evidence if fact not in attempt.correlation][-2:]


def sent_on(verdict: Verdict, root: Attempt) -> bool:
    """Whether a 302 sent the caller to where he was refused: what happened there is not in view."""
    return verdict.detail == "forwarded" and root.final_status >= 400


def _rank(outcome: str) -> int:
    return _ORDER.index(outcome) if outcome in _ORDER else len(_ORDER)


class CallScene(NamedTuple):
    """A call, and whether its host sees the agents' legs."""

    call: Call
    sees_agents: bool
    #: Nothing has shown yet whether it does, but its addresses are configured.
    may_see_agents: bool
    #: The caller is an agent's device, or has a password here: such call services of the PBX, too.
    from_device: bool
    brief_seconds: float

    @property
    def root(self) -> Attempt:
        """The caller's leg."""
        return self.call.root

    @property
    def agents(self) -> list[Attempt]:
        """The agents' legs: the last hops, for a leg between two hosts is only a way."""
        root = self.call.root
        return [
            a
            for a in self.call.attempts
            if not a.children and not _is_pickup(a) and not (a is root and self.caller_in_view)
        ]

    @property
    def host_sees(self) -> bool:
        """Whether an agent's leg would have been seen.

        Where none ever was, a call that rang may well have reached one that is out of view.
        """
        return self.sees_agents or (self.may_see_agents and self.call.root.first_18x_at is None)

    @property
    def caller_in_view(self) -> bool:
        """Whether the call begins with its caller's leg, or with the one the PBX calls for."""
        root = self.call.root
        return root.role != "agent" or bool(root.children)


class CallRule(NamedTuple):
    """One row of the table; the function returns None where it does not decide."""

    number: str
    when: str
    finds: Callable[[CallScene], Verdict | None]


def _is_pickup(attempt: Attempt) -> bool:
    return (
        attempt.role != "agent"
        and attempt.parent is None
        and attempt.serial != 0
        and (attempt.call is not None and attempt.call.root is not attempt)
    )


def _verdict(
    outcome: str, detail: str | None, confidence: str | None, rule: str, *evidence: str
) -> Verdict:
    return Verdict(outcome, CATEGORY[outcome], detail, confidence, evidence, f"call/{rule}")


def _answered(scene: CallScene) -> Verdict | None:
    root = scene.root
    if scene.caller_in_view and root.answered_at is None:
        return None
    takers = [a for a in scene.call.attempts if a is not root and _is_pickup(a)]
    for attempt in [*scene.agents, *takers]:
        if attempt.answered_at is None:
            continue
        if (
            attempt.cancel_at is not None
            and attempt.cancel_at <= attempt.answered_at
            and not _put_through(attempt, root)
        ):
            continue  # its 200 crossed the CANCEL: nobody was there any more
        if attempt.verdict is not None and attempt.verdict.outcome != "answered":
            continue
        return _verdict("answered", None, "correlated", "1", f"answered by {_who(attempt)}")
    return None


def _put_through(agent: Attempt, root: Attempt) -> bool:
    """Whether an answer that crossed its CANCEL was handed on, and the two talked (9.1).

    Not to a caller who had given up himself: he is gone, whatever his phone says.
    """
    at, his = agent.answered_at, root.answered_at
    if (
        at is None
        or his is None
        or root.cancel_at is not None
        or agent is root
        or abs(his - at) > ROUND_SECONDS
    ):
        return False
    ends = [end for end in (agent.bye_at, root.bye_at) if end is not None]
    return not ends or min(ends) - at > ROUND_SECONDS


def _who(attempt: Attempt) -> str:
    if attempt.invite is None:
        return "a leg whose INVITE was not captured"
    uri = attempt.invite.request_uri.decode("utf-8", "replace")
    return uri.partition(":")[2].partition("@")[0].partition(";")[0] or uri


def _hinted(scene: CallScene) -> Verdict | None:
    hint = scene.call.outcome_hint
    if hint is None:
        return None
    return _verdict(hint, None, "explicit", "2", scene.call.hint_fact or "as configured")


def _caller_left(scene: CallScene) -> Verdict | None:
    root = scene.root
    if not scene.caller_in_view:
        return None
    if root.cancel_at is not None and root.answered_at is None:
        if not scene.agents and not scene.sees_agents:
            return None
        gone = root.cancel_at
        since = root.first_18x_at if root.first_18x_at is not None else root.started_at
    elif root.answered_at is not None and (gone_at := left_at(root)) is not None:
        ends = [_tried_until(a, root) for a in scene.agents]
        if ends and gone_at - max(ends) > MAILBOX_SECONDS:
            return None  # he left a mailbox or an announcement
        if not scene.agents and not (scene.host_sees and not scene.from_device):
            return None
        gone, since = gone_at, root.started_at
    else:
        return None
    seconds = max(0.0, gone - since)
    outcome = "briefly_abandoned" if seconds <= scene.brief_seconds + 0.0005 else "abandoned"
    return _verdict(outcome, None, "correlated", "3", f"the caller left after {seconds:.1f} s")


def _by_system(scene: CallScene) -> Verdict | None:
    root = scene.root
    if not scene.caller_in_view or scene.agents or root.answered_at is None:
        return None
    if root.bye_by == "callee" and scene.host_sees:
        return _verdict(
            "handled_by_system",
            None,
            "correlated",
            "4",
            "the PBX answered, tried no agent and ended the call",
        )
    return None


def _rejected(scene: CallScene) -> Verdict | None:
    verdict = scene.root.verdict
    if verdict is not None and verdict.outcome == "rejection_list":
        return verdict._replace(rule="call/5")
    return None


def _crossed(attempt: Attempt) -> Verdict | None:
    """What 5.1 would have said of the CANCEL that a late 200 crossed."""
    return attempt.crossed_verdict if attempt.answered_at is not None else None


def _agents(scene: CallScene) -> Verdict | None:
    agents = scene.agents
    if not agents:
        return None
    found = best_of(last_round(agents))
    if found is None:
        return None
    attempt, verdict = found
    crossed = _crossed(attempt)
    if verdict.outcome == "answered" and crossed is not None:
        verdict = crossed
    if verdict.outcome == "answered" and scene.caller_in_view:
        return None
    if scene.caller_in_view and sent_on(verdict, scene.root):
        return None
    evidence = (f"the last agent tried was {_who(attempt)}", *last_facts(attempt, verdict))
    confidence = verdict.confidence and "correlated"
    return Verdict(
        verdict.outcome,
        verdict.category,
        verdict.detail,
        confidence,
        evidence,
        "call/6",
        verdict.cause_hint,
    )


def _own(scene: CallScene) -> Verdict | None:
    verdict = scene.root.verdict
    return None if verdict is None else verdict._replace(rule="call/7")


CALL_RULES: tuple[CallRule, ...] = (
    CallRule("1", "an agent's leg answered and the caller's leg has its 2xx", _answered),
    CallRule("2", "callback or outside hours, as configured", _hinted),
    CallRule("3", "the caller left before that", _caller_left),
    CallRule("4", "the PBX answered, tried no agent and ended the call itself", _by_system),
    CallRule("5", "the system rejected the caller", _rejected),
    CallRule("6", "the outcome of the last agent attempt, of ring-all the best", _agents),
    CallRule("7", "no agent attempt: the caller's own outcome", _own),
)


def judge_call(scene: CallScene) -> Verdict:
    """The first row that decides."""
    for rule in CALL_RULES:
        verdict = rule.finds(scene)
        if verdict is not None:
            return verdict
    return _verdict("incomplete", None, None, "7", "nothing of it can be judged")
