"""The truth of a capture, written from what the parties did and from the PBX's own account.

Nothing here reads the messages: the parties' log says what phones, carriers and callers did and
when, the PBX's log which legs were of one call and how each Dial and Queue ended. The capture is
only asked which Call-IDs have an INVITE in it, so that none is missing.
"""

from __future__ import annotations

from pathlib import Path

from account import Account, Entry, begin, groups, one_a_target
from observe import invites, ringing_seen
from verdicts import Verdict, call, called_leg, calling_leg, rang
from views import seen_from


def heard(leg: Entry, seen: set[tuple[str, str]]) -> Entry:
    """Marks a leg whose ringing was lost on the way, and one whose 200 came after a refusal."""
    if leg["role"] == "calling" and "ack" in leg:
        return leg | {"final": 200}
    lost = leg["role"] == "called" and rang(leg) and (leg["call_id"], leg["address"]) not in seen
    return leg | {"unheard": True} if lost else leg


def write(
    capture: Path,
    legs: list[Entry],
    account: Account,
    numbers: dict[str, Verdict],
    fact: str,
    sides: tuple[str, ...],
) -> Entry:
    """The truth of one capture; `views` of an attempt is what is right from one side alone."""
    seen = invites(capture)
    capture_says = ringing_seen(capture)
    legs = [heard(leg, capture_says) for leg in one_a_target(legs)]
    missing = set(seen) - {leg["call_id"] for leg in legs}
    if missing:
        raise RuntimeError(f"{capture.name}: nobody knows of {sorted(missing)}")
    start = min(begin(leg) for leg in legs)
    attempts, calls, views = [], [], []
    for group in groups(legs, account):
        whole = call(group, numbers)
        for leg in sorted((*group.calling, *group.called), key=begin):
            if leg["call_id"] not in seen:
                continue
            part = group.of(leg)
            judged = whole if part is group else call(part, numbers)
            verdict = (
                calling_leg(leg, part, judged)
                if leg["role"] == "calling"
                else called_leg(leg, part)
            )
            attempts.append(attempt(leg, verdict, seen, start, account))
            views.append({side: seen_from(side, leg, part) for side in sides})
        ids = [leg["call_id"] for leg in (*group.calling, *group.called) if leg["call_id"] in seen]
        ids = list(dict.fromkeys(ids))
        if ids:
            calls.append({"call_ids": ids, **whole.as_dict()})
    for one, view in zip(attempts, views, strict=True):
        one["views"] = view
    attempts.sort(key=lambda one: one["first_packet"])
    account_kept = {"cdr": account.cdr, "queue_log": account.queue_log}
    return {
        "pcap": capture.name,
        "fact": fact,
        "attempts": attempts,
        "calls": calls,
        "pbx": account_kept,
    }


def attempt(
    leg: Entry, verdict: Verdict, seen: dict[str, int], start: float, account: Account
) -> Entry:
    peer = leg.get("peer", "").rpartition(":")[0]
    calling = leg["role"] == "calling"
    end = account.ends.get(leg["call_id"], {})
    return {
        "call_id": leg["call_id"],
        "source": leg["address"] if calling else peer,
        "destination": "10.30.0.1" if calling else leg["address"],
        "from": f"sip:{leg['behaviour']['user']}@{leg['behaviour'].get('domain', leg['address'])}"
        if calling
        else leg["from"],
        "request_uri": f"sip:{leg['to']}@10.30.0.1" if calling else leg["uri"],
        "first_packet": seen[leg["call_id"]],
        "t": round(begin(leg) - start, 3),
        **verdict.as_dict(),
        "pbx_verdict": {
            key: end[key] for key in ("chan", "dialstatus", "cause", "source") if end.get(key)
        },
    }
