"""Who an attempt or a call is about, and how long its caller waited, heard ringing and talked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sipwatch.calls.types import Attempt, Call
from sipwatch.config import Agents
from sipwatch.sinks.wire import called_of, caller_of, request_uri_of, user_in_uri

#: The user of a contact that baresip makes up: the user and an address in its memory.
_MADE_UP = re.compile(r"(.+)-0x[0-9a-fA-F]{4,16}")
#: Browsers do not know their address: RFC 7118 (5) has such a host in their contacts, and the user
#: beside it is as random.
_INVENTED_HOST = ".invalid"


def agent_of(attempt: Attempt, agents: Agents, call: Call | None = None) -> str | None:
    """The agent that an attempt is about: who was tried, else who tried; None without one.

    When it was said who is an agent only those count; else it is the user that was called, or
    the phone that picked a call up. `call` is for attempts that were untied from theirs.
    """
    root = call.root if call is not None else attempt.root
    if attempt.role == "caller" and root is not None and root is not attempt:
        users: Iterable[str] = (caller_of(attempt).user,)
    elif agents.configured:
        users = (*_tried(attempt), caller_of(attempt).user)
    else:
        users = _tried(attempt)
    for user in users:
        if user and agents.include(user):
            return user
    return None


def _tried(attempt: Attempt) -> Iterator[str]:
    """Names of who was called, the best first: as it registered, in the Request-URI, in To.

    The Request-URI to a device has the user of its contact, which some make up anew whenever they
    start; what stands behind such a user is the name.
    """
    if attempt.device and not (attempt.role == "caller" and attempt.answered_at is not None):
        yield _of_contact(attempt.device)
    uri = request_uri_of(attempt) or ""
    user, called = user_in_uri(uri), called_of(attempt).user
    if _INVENTED_HOST in uri and called != user:
        yield called
    yield _of_contact(user)
    yield _of_contact(called)


def _of_contact(user: str) -> str:
    if "-0x" not in user:
        return user
    made_up = _MADE_UP.fullmatch(user)
    return made_up[1] if made_up else user


def agent_of_call(call: Call, agents: Agents) -> str | None:
    """Who answered first, else who was tried last."""
    tried = [each for each in call.attempts if each is not call.root] or [call.root]
    answered = [each for each in tried if _answered_at(each) is not None]
    if answered:
        return agent_of(min(answered, key=lambda each: each.answered_at or 0.0), agents, call)
    return agent_of(max(tried, key=lambda each: each.started_at), agents, call)


def waited(call: Call) -> float | None:
    """Seconds from the caller's INVITE until an agent answered or he waited no more."""
    root = call.root
    agents = [each for each in call.attempts if each is not root]
    answers = [at for at in map(_answered_at, agents) if at is not None]
    if answers:
        return max(0.0, min(answers) - root.started_at)
    end = root.rang_until
    if agents and root.answered_at is not None:
        # A queue or IVR had answered: who waits in it waits until he leaves.
        end = root.bye_at
    return None if end is None else max(0.0, end - root.started_at)


def rang(call: Call) -> float | None:
    """Seconds of ringing: what the caller's leg says, else while any agent's device rang."""
    if call.root.ring_duration is not None:
        return call.root.ring_duration
    return _covered((each.first_18x_at, each.rang_until) for each in call.attempts)


def talked(call: Call) -> float | None:
    """Seconds in which the caller and any agent were connected; None while they are."""
    agents = [each for each in call.attempts if each is not call.root]
    if not agents:
        return call.root.talk_duration
    return _covered((_answered_at(each), each.bye_at) for each in agents)


def _answered_at(attempt: Attempt) -> float | None:
    """When it was answered for good: an answer that crossed its CANCEL reached nobody."""
    return attempt.answered_at if attempt.cancel_at is None else None


def _covered(spans: Iterable[tuple[float | None, float | None]]) -> float | None:
    """Seconds that lie in at least one of the spans; None when none of them is known."""
    known = sorted((start, end) for start, end in spans if start is not None and end is not None)
    if not known:
        return None
    total, until = 0.0, known[0][0]
    for start, end in known:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
