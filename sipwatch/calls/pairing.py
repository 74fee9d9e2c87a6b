"""How well a caller's leg explains an agent's leg: scores from time, ends and names.

Positive and negative evidence is added up. The numbers say how much each fact was worth on real
traffic of B2BUAs; what counts is their order, not their size.
"""

from __future__ import annotations

from sipwatch.calls.identity import target_of
from sipwatch.calls.types import Attempt
from sipwatch.sip.message import Message

#: A PBX begins an agent's leg this soon after what caused it.
PROMPT_SECONDS = 0.1
#: What a delay after the cause is worth: seconds, score; between them a straight line.
_PROMPT = ((0.010, 3.5), (0.030, 3.0), (0.060, 2.5), (0.100, 2.0))
#: The least that a delay is worth which says something by itself.
PROMPT_WORTH = 2.0
#: Asterisk's queue waits half a second after its answer; FreeSWITCH's fifo and IVR up to 3.5 s.
_SLOW = ((0.490, 0.25), (0.540, 2.0), (0.6, 0.5), (3.5, 0.25))
#: What is left of a prompt cause that has already led to another leg.
_CONSUMED = 1.0
#: Legs of one ring group begin within this time of each other; a later one has another cause.
GROUP_SECONDS = 0.02
#: Legs this close together, for one identity and different targets, have one caller.
SAME_MOMENT_SECONDS = 0.01
#: Ends that a B2BUA hands from one leg to the other come within this time (FreeSWITCH polls
#: every 20 ms and was seen to need 70).
TOGETHER_SECONDS = 0.15
#: What most PBXs hand on comes within this time, and then it is worth this much more.
AT_ONCE_SECONDS = 0.005
_AT_ONCE_WORTH = 0.3
#: A 180 is handed on in this time.
RINGING_TOGETHER_SECONDS = 0.06
#: Clocks of two capture points may show an effect this long before its cause.
SKEW_SECONDS = 0.005
#: A living agent's leg ends within this time after its caller's, or it is not his.
OUTLIVES_SECONDS = 1.0

#: "Completed elsewhere" on a CANCEL, by SIP and by Q.850.
ELSEWHERE_CAUSES = frozenset((200, 26))

_NEVER = -1e18
#: Hops of one call that are all in view on one host.
_MOST_HOPS = 16


def end_of_leg(attempt: Attempt) -> float | None:
    """When this leg was ended by a CANCEL, a refusal or a BYE."""
    # Asked of every candidate of every leg, so without a list.
    first = attempt.cancel_at
    for at in (attempt.final_at, attempt.bye_at):
        if at is not None and (first is None or at < first):
            first = at
    return first


def is_over(attempt: Attempt) -> bool:
    """Whether this leg was ended, and not by a challenge that is about to be answered."""
    return attempt.dialog_over or (end_of_leg(attempt) is not None and not to_be_retried(attempt))


def long_gone(caller: Attempt, now: float) -> bool:
    """This caller's leg ended a while ago, and nobody was transferred: it causes no more legs."""
    end = end_of_leg(caller)
    return (
        end is not None
        and end < now - OUTLIVES_SECONDS
        and caller.refer_at is None
        and not to_be_retried(caller)
    )


def to_be_retried(attempt: Attempt) -> bool:
    """Whether its sender will send credentials."""
    return attempt.final_status in (401, 407) and not attempt.settled


def led_to(cause: Attempt, attempt: Attempt) -> bool:
    """Whether `attempt` is `cause`, or was caused by it over any number of hops."""
    step: Attempt | None = attempt
    for _ in range(_MOST_HOPS):
        if step is None:
            return False
        if step is cause:
            return True
        step = step.parent
    return True


def lifeless(attempt: Attempt) -> bool:
    """Never answered anything, or did not answer its CANCEL: a dead device's leg."""
    return attempt.first_response_at is None or (
        attempt.cancel_at is not None and attempt.cancel_answered_at is None
    )


def talking(caller: Attempt, now: float) -> bool:
    """An agent has answered this caller, and nobody has asked for a transfer since."""
    for child in caller.children:
        if child.answered_at is None or child.answered_at > now:
            continue
        if child.bye_at is not None and child.bye_at <= now:
            continue
        refer = max(child.refer_at or 0.0, caller.refer_at or 0.0)
        if refer < child.answered_at:
            return True
    return False


def ringing_elsewhere(caller: Attempt, attempt: Attempt) -> bool:
    """Another leg of this caller began clearly earlier and has not ended: a weak contradiction."""
    for child in caller.children:
        if child is attempt or child.started_at > attempt.started_at - PROMPT_SECONDS:
            continue
        end = end_of_leg(child)
        if end is None or end > attempt.started_at + PROMPT_SECONDS:
            return True
    return False


def rung_already(caller: Attempt, attempt: Attempt) -> bool:
    """The same device is ringing for this caller: nobody calls it twice at once for one."""
    return any(
        child is not attempt
        and child.started_at <= attempt.started_at
        and child.first_response_at is not None  # of a dead one no message says when it is given up
        and same_target(child, attempt)
        and ((end := end_of_leg(child)) is None or end > attempt.started_at)
        for child in caller.children
    )


def tried_before(caller: Attempt, attempt: Attempt) -> bool:
    """This caller waits in a queue that has tried the device for him: it will do so again."""
    if caller.answered_at is None:
        return False
    return any(
        child is not attempt
        and same_target(child, attempt)
        and (end := end_of_leg(child)) is not None
        and end <= attempt.started_at
        for child in caller.children
    )


def prompt_score(attempt: Attempt, caller: Attempt) -> float:
    """What the time from the nearest cause to this leg says for its caller."""
    now = attempt.started_at
    latest = now + SKEW_SECONDS
    cause = _NEVER
    for at in (caller.started_at, caller.transmissions[0], caller.answered_at, caller.refer_at):
        if at is not None and cause < at <= latest:
            cause = at
    siblings = [child for child in caller.children if child is not attempt]
    for child in siblings:
        if same_target(child, attempt):
            continue  # who is free again is tried for the next caller, not for the same
        for at in (child.cancel_at, child.final_at, child.refer_at):
            if at is not None and cause < at <= latest:
                cause = at
    if cause == _NEVER:
        return _NEVER
    delay = max(0.0, now - cause)
    if delay <= PROMPT_SECONDS and any(
        cause <= child.started_at < now - GROUP_SECONDS for child in siblings
    ):
        return _CONSUMED
    return _worth(delay)


def group_score(attempt: Attempt, caller: Attempt) -> float:
    """What the other legs of the ring group say for this caller."""
    score = 0.0
    for other in attempt.group:
        if other is attempt:
            continue
        if other.parent is not None and not other.candidates:
            score += 1.5 if other.parent is caller else -1.5
        else:
            score += 0.5 * max(0.0, together_score(other, caller))
    return score


def ended_by(attempt: Attempt, other: Attempt) -> bool:
    """The other leg's answer ended this one: both rang for one caller."""
    gone, taken = attempt.cancel_at, other.answered_at
    return gone is not None and taken is not None and 0.0 <= gone - taken <= TOGETHER_SECONDS


def _worth(delay: float) -> float:
    before, score = 0.0, _PROMPT[0][1]
    for until, value in _PROMPT:
        if delay <= until:
            share = (delay - before) / (until - before)
            return score + (value - score) * share
        before, score = until, value
    for until, value in _SLOW:
        if delay <= until:
            return value
    return 0.0


def together_score(attempt: Attempt, caller: Attempt) -> float:
    """What simultaneous answers and ends say for, and outliving says against, this pair."""
    score = 1.5 * _follows(caller.first_18x_at, attempt.first_18x_at, RINGING_TOGETHER_SECONDS)
    score += 4.0 * _follows(caller.answered_at, attempt.answered_at, TOGETHER_SECONDS)
    if says_elsewhere(attempt) and not any(ended_by(attempt, other) for other in attempt.group):
        # Nobody of its ring group was answered: its caller was, by a neighbour or a mailbox.
        score += 4.0 * _at_the_same_time(attempt.cancel_at, caller.answered_at)
    if _unheeded(attempt, caller) or _sent_away(attempt, caller):
        score -= 3.0
    ends = _ends_together(attempt, caller)
    if ends:
        return score + 4.0 * ends
    return score - 6.0 if _outlived(attempt, caller) else score


def says_elsewhere(attempt: Attempt) -> bool:
    """Whether its CANCEL says that the call was completed elsewhere: its caller has an answer."""
    return any(reason.cause in ELSEWHERE_CAUSES for reason in attempt.cancel_reasons)


def contradicted(attempt: Attempt, caller: Attempt) -> bool:
    """Whether the ends of the two legs speak against this pair."""
    return _unheeded(attempt, caller) or _outlived(attempt, caller)


def talks_on(attempt: Attempt) -> bool:
    """This leg was answered, and nothing has ended it yet."""
    return attempt.answered_at is not None and end_of_leg(attempt) is None


def put_through(attempt: Attempt, caller: Attempt) -> bool:
    """The caller's 2xx came at once after the agent's: no queue's or menu's, long before."""
    return _follows(caller.answered_at, attempt.answered_at, TOGETHER_SECONDS) > 0


def _unheeded(attempt: Attempt, caller: Attempt) -> bool:
    """The agent answered, and the caller was not put through."""
    at = attempt.answered_at
    if at is None or attempt.cancel_at is not None:
        return False
    return caller.answered_at is None or caller.answered_at > at + 1.0


def _sent_away(attempt: Attempt, caller: Attempt) -> bool:
    """The PBX ended the agent's talk, as it does when his caller has left, but this one stayed."""
    at = attempt.bye_at
    if at is None or attempt.bye_by != "caller" or attempt.answered_at is None:
        return False
    if caller.refer_at is not None or attempt.refer_at is not None:
        return False
    his = end_of_leg(caller)
    return his is None or his > at + TOGETHER_SECONDS


def _outlived(attempt: Attempt, caller: Attempt) -> bool:
    """A living agent's leg went on after its caller's had ended."""
    his = end_of_leg(caller)
    if his is None or attempt.first_response_at is None:
        return False
    mine = end_of_leg(attempt)
    if mine is not None and mine <= his + OUTLIVES_SECONDS:
        return False
    transferred = caller.refer_at is not None or attempt.refer_at is not None
    return not transferred and not lifeless(attempt)


def _ends_together(attempt: Attempt, caller: Attempt) -> float:
    """1 for ends at the same moment down to 0 for ends that have nothing to do with each other."""
    mine = end_of_leg(attempt)
    if mine is None:
        mine = attempt.icmp_at  # nobody tells its sender anything else
    if mine is None:
        return 0.0
    left = caller.cancel_at
    if left is None and caller.bye_by == ("callee" if caller.begun_by_pbx else "caller"):
        left = caller.bye_at
    if left is not None:
        return _follows(mine, left, TOGETHER_SECONDS)
    if caller.final_at is not None:
        return _follows(caller.final_at, mine, TOGETHER_SECONDS)
    return _follows(caller.bye_at, mine, TOGETHER_SECONDS)


def _follows(later: float | None, earlier: float | None, seconds: float) -> float:
    """1 when the later thing comes at once, falling to 0 after `seconds`; 0 in wrong order."""
    if later is None or earlier is None:
        return 0.0
    gap = later - earlier
    if gap < -SKEW_SECONDS or gap > seconds:
        return 0.0
    # What is handed on at once comes within a few milliseconds, what is polled within tens.
    at_once = _AT_ONCE_WORTH if abs(gap) <= AT_ONCE_SECONDS else 0.0
    return (1.0 - _AT_ONCE_WORTH) * (1.0 - max(0.0, gap) / seconds) + at_once


def _at_the_same_time(one: float | None, other: float | None) -> float:
    """1 for the same moment, falling to 0 after `TOGETHER_SECONDS`, whichever came first."""
    if one is None or other is None:
        return 0.0
    return _follows(max(one, other), min(one, other), TOGETHER_SECONDS)


def named(caller: Attempt, attempt: Attempt) -> bool:
    """FreeSWITCH names the agent to the caller in Remote-Party-ID or P-Asserted-Identity."""
    if attempt.invite is None:
        return False
    target = target_of(attempt.invite).encode()
    if not target or any(
        other is not attempt and other.invite is not None and _tries(other.invite, target)
        for other in caller.children
    ):
        return False  # nobody, or one whose own leg explains the name
    for message in (caller.answer, caller.provisional, caller.ringing):
        if message is None or not message.names_party:
            continue
        for name in (b"remote-party-id", b"p-asserted-identity"):
            for value in message.values(name):
                if b":" + target + b"@" in value:
                    return True
    return False


def _tries(invite: Message, target: bytes) -> bool:
    return b":" + target + b"@" in invite.request_uri


def answered_within(child: Attempt, at: float) -> bool:
    """Whether this leg got its 2xx within 1 s of `at`."""
    return child.answered_at is not None and abs(child.answered_at - at) <= 1.0


def same_target(one: Attempt, other: Attempt) -> bool:
    """Whether both legs try the same device."""
    if one.invite is None or other.invite is None:
        return False
    return (
        one.destination == other.destination and one.invite.request_uri == other.invite.request_uri
    )


def pairing_evidence(attempt: Attempt, caller: Attempt, same_identity: bool) -> list[str]:
    """What a person can check of the pairing."""
    why = []
    delay = attempt.started_at - caller.transmissions[0]
    if 0 <= delay <= PROMPT_SECONDS:
        why.append(f"INVITE {delay * 1000:.0f} ms after the caller's")
    if same_identity:
        why.append("same caller identity")
    mine, his = end_of_leg(attempt), end_of_leg(caller)
    if mine is not None and his is not None and abs(mine - his) <= TOGETHER_SECONDS:
        why.append(f"ended within {abs(mine - his) * 1000:.0f} ms of the caller's leg")
    if attempt.answered_at is not None and caller.answered_at is not None:
        gap = caller.answered_at - attempt.answered_at
        if abs(gap) <= TOGETHER_SECONDS:
            why.append(f"answered within {abs(gap) * 1000:.0f} ms of the caller's leg")
    return why or ["the only caller that fits"]
