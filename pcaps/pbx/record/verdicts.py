"""What a leg and a call came to, by what the parties did and the PBX's account of it.

Nothing here reads messages: a caller or an agent is judged by what he did, the PBX's CANCEL by
what its log says of the moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from account import Entry, Group, helps

BRIEF = 5.0  # seconds: default of brief_abandon_seconds
NO_ANSWER = 10.0  # seconds: default of no_answer_seconds
AT_ONCE = 0.5  # within which a PBX hangs up on an answer that came too late
LATE = 4.0  # how much later a lost message may reach a party by its retransmissions
SAME_MOMENT = 0.15  # what the PBX cannot be held to when two things happen at once
EFFECT = 1.0  # how long a cause may take to reach the other legs
BEST = (
    "declined",
    "no_answer",
    "agent_busy",
    "connection_timeout",
    "device_not_responding",
    "unavailable",
)
BY_STATUS = {
    404: "not_found",
    410: "not_found",
    484: "not_found",
    604: "not_found",
    485: "not_found",
    403: "unauthorized",
    407: "unauthorized",
    401: "unauthorized",
    415: "not_acceptable",
    488: "not_acceptable",
    606: "not_acceptable",
    500: "server_failure",
    502: "server_failure",
    503: "server_failure",
    504: "connection_timeout/server_timeout",
    302: "redirected/forwarded",
}


@dataclass(slots=True)
class Verdict:
    fact: str
    expected: str
    acceptable: list[str] = field(default_factory=list)

    def as_dict(self) -> Entry:
        kept = [word for word in dict.fromkeys(self.acceptable) if word != self.expected]
        return {"fact": self.fact, "expected": self.expected, "acceptable": kept}


# What a leg to a phone or carrier came to


def rang(leg: Entry) -> bool:
    return "ringing" in leg or "early" in leg


def first_ring(leg: Entry) -> float:
    return min(leg.get("ringing", float("inf")), leg.get("early", float("inf")))


def by_ring_state(leg: Entry) -> str:
    if rang(leg):
        return "no_answer"
    return "connection_timeout/after_trying" if "trying" in leg else "device_not_responding"


def left_at(group: Group) -> float | None:
    """When the caller gave up or hung up, None when he did not."""
    caller = group.caller
    if caller is None:
        return None
    if "cancel" in caller and caller.get("final") in (487, None):
        return caller["cancel"]
    return caller["bye"] if caller.get("bye_by") == "self" else None


def talked(leg: Entry) -> bool:
    """Whether an answer was in time: the PBX hangs up at once on one that was too late."""
    if leg.get("final") != 200 or "ack" not in leg:
        return False
    late = "cancel" in leg or leg.get("pbx_cause") == "26"
    return not (late and leg.get("bye_by") == "peer" and leg["bye"] - leg["final_at"] < AT_ONCE)


def waited(group: Group, until: float) -> float:
    """Seconds that the caller waited before he left: from the first 18x, else from the INVITE."""
    caller = group.caller
    assert caller is not None
    answered = caller.get("final") == 200 and caller["final_at"] < until
    start = caller["sent"] if answered else min(first_ring(caller), until)
    return until - (start if start < until else caller["sent"])


def left(group: Group, until: float) -> str:
    return "briefly_abandoned" if waited(group, until) <= BRIEF else "abandoned"


def both_when_near(group: Group, until: float) -> list[str]:
    near = abs(waited(group, until) - BRIEF) < SAME_MOMENT
    return ["abandoned", "briefly_abandoned"] if near else []


def called_leg(leg: Entry, group: Group) -> Verdict:
    verdict = judged_leg(leg, group)
    if "unheard" in leg:  # on the wire it never rang
        verdict.fact += "; its ringing was lost on the way"
        verdict.acceptable += UNHEARD.get(verdict.expected, [])
    return verdict


UNHEARD = {
    "no_answer": ["connection_timeout/after_trying", "device_not_responding", "unavailable"],
    "declined/manual": ["agent_busy", "declined/automatic", "unavailable"],
    "connection_timeout/after_ringing": ["connection_timeout/after_trying"],
}


def judged_leg(leg: Entry, group: Group) -> Verdict:
    kind, says, final = leg["behaviour"]["kind"], leg["behaviour"]["says"], leg.get("final")
    if final == 200:
        return answered_leg(leg, group, says)
    if kind == "silent":
        return Verdict(says, "device_not_responding")
    if kind == "dead" and "died" in leg and leg.get("cancel", float("inf")) > leg["died"]:
        state = "after_ringing" if rang(leg) else "after_trying"
        return Verdict(says, f"connection_timeout/{state}")
    if final == 487 or final is None:
        return cut_leg(leg, group)
    verdict = refused_leg(leg, says)
    if "cancel" in leg:  # the refusal and the PBX's CANCEL crossed
        why = cut_leg(leg, group)
        verdict.acceptable += [why.expected, *why.acceptable]
    return verdict


def answered_leg(leg: Entry, group: Group, says: str) -> Verdict:
    says += f" after {leg['final_at'] - leg['invite']:.1f} s"
    if talked(leg):
        return Verdict(says, "answered")
    if "ack" not in leg:
        return Verdict(f"{says}, never ACKed", "connection_timeout/no_ack", ["answered"])
    why = cut_leg(leg, group)
    return Verdict(f"{says}, too late: {why.fact}", "answered", [why.expected, *why.acceptable])


def refused_leg(leg: Entry, says: str) -> Verdict:
    final = leg["final"]
    length = leg["final_at"] - first_ring(leg) if rang(leg) else 0.0
    if rang(leg):
        says = f"rings {length:.1f} s, {says}"
    match leg["behaviour"]["kind"]:
        case "rejects":
            return Verdict(says, "declined/manual")
        case "busy":
            return Verdict(says, "agent_busy")
        case "disturbed":
            acceptable = ["unavailable"] if final == 480 else []
            return Verdict(says, "declined/automatic", acceptable)
        case "own-timer":
            return Verdict(says, "no_answer")
    if final == 408:
        if not rang(leg):
            return Verdict(says, "device_not_responding")
        near = "no_answer" if length >= NO_ANSWER else "connection_timeout/after_ringing"
        return Verdict(says, near)
    if final == 480:
        expected = (
            "no_answer"
            if length >= NO_ANSWER
            else "declined/manual"
            if rang(leg)
            else "unavailable"
        )
        return Verdict(says, expected)
    acceptable = ["unavailable"] if final == 404 and leg["user"].isdigit() else []
    return Verdict(says, BY_STATUS[final], acceptable)


def cut_leg(leg: Entry, group: Group) -> Verdict:
    """A leg that the PBX ended: why, by its account of the other legs."""
    at = at_the_pbx(leg, leg.get("cancel", leg.get("bye", leg.get("final_at", leg["invite"]))))
    length = at - leg["invite"]
    cause = {"at": at, "says": f"{'rings' if rang(leg) else 'tried'} {length:.1f} s"}
    winner = [
        other
        for other in group.called
        if other is not leg and talked(other) and at - EFFECT < other["final_at"] < at + 0.05
    ]
    if winner:
        return Verdict(
            f"{cause['says']}, {winner[0]['user']} answered", "redirected/answered_elsewhere"
        )
    decliner = [
        other
        for other in group.called
        if other is not leg
        and other["call_id"] == leg["call_id"]
        and other.get("final", 0) >= 600
        and abs(other["final_at"] - at) < 0.2
    ]
    if decliner:
        says = f"{cause['says']}, {decliner[0]['address']} declined for all"
        return Verdict(says, "redirected/declined_elsewhere")
    picked = group.pick_up
    if picked and abs(picked["final_at"] - at) < EFFECT:
        return Verdict(
            f"{cause['says']}, picked up by {picked['user']}",
            "redirected/picked_up",
            ["redirected/answered_elsewhere"],
        )
    return gone_or_timer(leg, group, at, cause["says"])


def at_the_pbx(leg: Entry, moment: float) -> float:
    """When the PBX ended a leg, where its message was lost or late: the PBX's own moment."""
    known = leg.get("pbx_end", moment)
    return known if abs(known - moment) < LATE else moment


def gone_or_timer(leg: Entry, group: Group, at: float, says: str) -> Verdict:
    gone = left_at(group)
    timer = by_ring_state(leg)
    caller = group.caller
    there = at_the_pbx(caller, gone) if caller and gone is not None else None
    if gone is None or there is None or not at - EFFECT < there < at + SAME_MOMENT:
        return Verdict(f"{says}, the PBX's timer", timer)
    abandoned = left(group, gone)
    if timer_won(leg, group, at):
        near = [abandoned] if abs(at - there) < SAME_MOMENT else []
        return Verdict(f"{says}, the PBX's timer when the caller left", timer, near)
    acceptable = both_when_near(group, gone)
    return Verdict(f"{says}, the caller left", abandoned, acceptable)


def timer_won(leg: Entry, group: Group, at: float) -> bool:
    """Whether the PBX says that a Dial or Queue had timed out in this very moment."""
    dial = any(
        result["what"] == "dial"
        and result["status"] == "NOANSWER"
        and abs(float(result["at"]) - at) < 0.4
        for result in group.results
    )
    # The queue's log has whole seconds.
    queue = any(
        agent == leg["user"] and at - 1.6 < when < at + 0.4 for when, agent in group.unanswered
    )
    return dial or queue


# What the caller's leg and the whole call came to


def agents_outcome(group: Group) -> Verdict:
    """The outcome of the last attempt; of ring-all the best."""
    order = sorted(group.called, key=lambda leg: leg["invite"])
    last = order[-1]["invite"]
    together = [leg for leg in order if last - 1.0 <= leg["invite"] and ended(leg) > last]
    # A handset that was lifted too late counts for the call as what cut its ringing.
    verdicts = [
        cut_leg(leg, group) if leg.get("final") == 200 and "ack" in leg else called_leg(leg, group)
        for leg in together
    ]
    verdicts.sort(key=lambda verdict: rank(verdict.expected))
    best = verdicts[0]
    others = [
        word
        for verdict in verdicts
        if rank(verdict.expected) == rank(best.expected)
        for word in (verdict.expected, *verdict.acceptable)
    ]
    return Verdict(best.fact, best.expected, [*others, best.expected.split("/")[0]])


def rank(outcome: str) -> int:
    word = outcome.split("/")[0]
    return BEST.index(word) if word in BEST else len(BEST)


def ended(leg: Entry) -> float:
    moments = [leg[name] for name in ("final_at", "cancel") if name in leg]
    return min(moments) if moments else float("inf")


def call(group: Group, numbers: dict[str, Verdict]) -> Verdict:
    if group.pick_up_alone and group.calling[0].get("final") == 200:
        return Verdict(
            "the PBX answered the pick-up, which failed",
            "handled_by_system",
            ["answered", "other_failure"],
        )
    if group.pick_up_alone:
        return Verdict(
            "nothing was there to be picked up",
            "rejection_list",
            ["handled_by_system", "other_failure"],
        )
    caller, gone = group.caller, left_at(group)
    reached = [leg for leg in group.called if talked(leg)]
    if caller is None:
        return called_back(group, reached)
    accepted = caller.get("final") == 200
    if accepted and (reached or group.pick_up):
        who = " then ".join(leg["user"] for leg in sorted(reached, key=lambda leg: leg["final_at"]))
        who = who or f"{group.pick_up['user'] if group.pick_up else ''} by pick-up"
        acceptable = (
            ["connection_timeout/no_ack", "connection_timeout"] if "ack" not in caller else []
        )
        return Verdict(f"answered by {who}", "answered", acceptable)
    if gone is not None and not after_the_agents(group, gone):
        verdict = Verdict(
            f"the caller left after {waited(group, gone):.1f} s",
            left(group, gone),
            both_when_near(group, gone),
        )
        return with_race(verdict, group, gone)
    if group.called:
        verdict = agents_outcome(group)
        return Verdict(f"nobody was reached: {verdict.fact}", verdict.expected, verdict.acceptable)
    return nobody_tried(group, caller, numbers, accepted)


def with_race(verdict: Verdict, group: Group, gone: float) -> Verdict:
    """When the timer ended the last legs in the moment in which the caller left, both are true."""
    for leg in group.called:
        if leg.get("final") == 487 and abs(at_the_pbx(leg, leg["cancel"]) - gone) < SAME_MOMENT:
            cut = called_leg(leg, group)
            if cut.expected == by_ring_state(leg):
                verdict.acceptable += [cut.expected]
    return verdict


def after_the_agents(group: Group, gone: float) -> bool:
    """Whether the caller left a mailbox more than 10 s after the last agent attempt."""
    ends = [ended(leg) for leg in group.called]
    return bool(ends) and max(ends) < gone - 10.0


def called_back(group: Group, reached: list[Entry]) -> Verdict:
    """A call that the PBX itself began (click to call)."""
    order = sorted(group.called, key=lambda leg: leg["invite"])
    last = called_leg(order[-1], group)
    acceptable = ["answered"] if reached else []
    return Verdict(f"begun by the PBX: {last.fact}", last.expected, [*acceptable, *last.acceptable])


PREFIX = re.compile(r"^(\+49305555|0049305555|0305555|\*6[1-4])")  # of the dialplan


def nobody_tried(
    group: Group, caller: Entry, numbers: dict[str, Verdict], accepted: bool
) -> Verdict:
    for key in (PREFIX.sub("", caller["to"]), caller["behaviour"]["user"]):
        if key in numbers:
            return numbers[key]
    if accepted:
        return Verdict(
            "the PBX answered, tried nobody and hung up", "handled_by_system", ["answered"]
        )
    final = caller.get("final", 0)
    if any(result["what"] == "blacklist" for result in group.results):
        return Verdict("the caller is on the blacklist", "rejection_list")
    if group.dialstatus == "CHANUNAVAIL":
        return Verdict("the agent's device has no contact", "unavailable", ["not_found"])
    if group.dialstatus == "NOANSWER":
        others = ["connection_timeout", "unavailable", "no_answer", "other_failure"]
        return Verdict("the agent's device is off the network", "device_not_responding", others)
    return Verdict(f"refused with {final}, nobody tried", BY_STATUS.get(final, "other_failure"))


def calling_leg(leg: Entry, group: Group, whole: Verdict) -> Verdict:
    says = f"calls {leg['to']}"
    final = leg.get("final")
    if final == 200:
        if leg["behaviour"].get("never_ack"):
            return Verdict(f"{says}, never ACKs the 200", "connection_timeout/no_ack")
        nobody = not any(talked(other) for other in group.called) and not helps(leg)
        return Verdict(
            f"{says}, the PBX answered",
            "answered",
            [whole.expected, *whole.acceptable] if nobody else [],
        )
    if "cancel" in leg and final in (487, None):
        own = Group(calling=[leg])
        if helps(leg):
            return Verdict(f"{says}, cancelled", "abandoned", ["briefly_abandoned"])
        return Verdict(
            f"{says}, cancels after {leg['cancel'] - leg['sent']:.1f} s",
            left(own, leg["cancel"]),
            both_when_near(own, leg["cancel"]),
        )
    return Verdict(f"{says}, refused with {final}: {whole.fact}", whole.expected, whole.acceptable)
