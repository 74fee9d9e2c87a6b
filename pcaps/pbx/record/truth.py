"""The truth of a capture, written from what the parties did and from the PBX's own account.

Nothing here reads the messages: the parties' log says what phones, carriers and callers did and
when, the PBX's log which legs were of one call and how each Dial and Queue ended. The capture is
only asked which Call-IDs have an INVITE in it, so that none is missing.
"""

from __future__ import annotations

import csv
import json
import re
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from message import tag_of
from observe import packets
from settings import CDR_FIELDS

Entry = dict[str, Any]
BRIEF = 5.0  # seconds: default of brief_abandon_seconds
NO_ANSWER = 10.0  # seconds: default of no_answer_seconds
AT_ONCE = 0.5  # within which a PBX hangs up on an answer that came too late
LATE = 4.0  # how much later a lost message may reach a party by its retransmissions
KEPT = ("src", "dst", "channel", "dstchannel", "lastapp", "duration", "billsec", "disposition")
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


@dataclass(slots=True)
class Account:
    """The PBX's own: by Call-ID the end of its channel, by call how Dial and Queue ended."""

    ends: dict[str, dict[str, str]]
    results: dict[str, list[dict[str, str]]]
    cdr: list[dict[str, str]]
    queue_log: list[str]
    picked: dict[str, str]  # the call that a channel picked up


LINE = re.compile(r"^\[([\d.]+)\] .*? TRUTH (\w+) (.*)$")


def read_account(folder: Path) -> Account:
    """Reads the logs of an Asterisk."""
    ends: dict[str, dict[str, str]] = {}
    results: dict[str, list[dict[str, str]]] = defaultdict(list)
    for line in (folder / "log/truth").read_text().splitlines():
        found = LINE.match(line)
        if not found:
            continue
        pairs = dict(part.partition("=")[::2] for part in found.group(3).split())
        pairs |= {"at": found.group(1), "what": found.group(2)}
        if pairs["what"] == "end":
            ends[pairs["callid"]] = pairs
        else:
            results[pairs["linked"]].append(pairs)
    master = folder / "log/cdr-custom/Master.csv"
    rows = csv.reader(master.read_text().splitlines()) if master.exists() else []
    cdr = [
        {key: value for key, value in zip(CDR_FIELDS, row, strict=True) if value and key in KEPT}
        for row in rows
    ]
    log = folder / "log/queue_log"
    lines = log.read_text().splitlines() if log.exists() else []
    kept = [line for line in lines if "QUEUESTART" not in line]
    return Account(ends, results, cdr, kept, read_pick_ups(folder))


def read_pick_ups(folder: Path) -> dict[str, str]:
    master = folder / "log/cel-custom/Master.csv"
    rows = csv.reader(master.read_text().splitlines()) if master.exists() else []
    return {
        json.loads(extra)["pickup_channel"]: linked
        for event, _, _, linked, extra in rows
        if event == "PICKUP"
    }


# The legs of one call


@dataclass(slots=True)
class Group:
    """The legs of one call, as the PBX ties them."""

    calling: list[Entry] = field(default_factory=list)
    called: list[Entry] = field(default_factory=list)
    results: list[dict[str, str]] = field(default_factory=list)
    dialstatus: str = ""
    unanswered: list[tuple[float, str]] = field(default_factory=list)  # queue's timer, agent
    parts: dict[str, Group] = field(default_factory=dict)  # consultations that came to nothing

    def add(self, leg: Entry) -> None:
        (self.calling if leg["role"] == "calling" else self.called).append(leg)

    def settle(self, linked: str, account: Account) -> None:
        """Takes what the PBX says of the call."""
        self.results = account.results.get(linked, [])
        for line in account.queue_log:
            at, unique, _, agent, event, *_ = line.split("|")
            if event == "RINGNOANSWER" and unique == linked:
                self.unanswered.append((float(at), agent))
        caller = self.caller
        if caller:
            self.dialstatus = account.ends.get(caller["call_id"], {}).get("dialstatus", "")

    def of(self, leg: Entry) -> Group:
        """The part of the call by which a leg is judged."""
        inner = (part for part in self.parts.values() if leg in (*part.calling, *part.called))
        return next(inner, self)

    @property
    def caller(self) -> Entry | None:
        """The leg of the one who called: neither a pick-up nor a consultation."""
        plain = [leg for leg in self.calling if not helps(leg)] or [
            leg for leg in self.calling if "consulting" in leg["behaviour"]
        ]
        return min(plain, key=lambda leg: leg["sent"]) if plain else None

    @property
    def pick_up(self) -> Entry | None:
        found = [
            leg for leg in self.calling if leg["to"].startswith("*8") and leg.get("final") == 200
        ]
        return found[0] if found else None

    @property
    def pick_up_alone(self) -> bool:
        return not self.called and all(leg["to"].startswith("*8") for leg in self.calling)

    @property
    def begin(self) -> float:
        return min(begin(leg) for leg in (*self.calling, *self.called))


def helps(leg: Entry) -> bool:
    return leg["to"].startswith("*8") or "consulting" in leg["behaviour"]


def begin(leg: Entry) -> float:
    return leg["sent"] if leg["role"] == "calling" else leg["invite"]


def one_a_target(legs: list[Entry]) -> list[Entry]:
    """A challenged INVITE and its retry are one attempt: the retry says how it went."""
    kept: dict[tuple[str, str, str], Entry] = {}
    for leg in legs:
        key = (leg["call_id"], leg["role"], leg["address"])
        if key in kept:
            leg = leg | {"invite": begin(kept[key])}
        kept[key] = leg
    return list(kept.values())


def groups(legs: list[Entry], account: Account) -> list[Group]:
    """Ties the legs by the PBX's linked ids, and consultations to the call they were for."""
    key = {}
    lone = Counter(leg["call_id"] for leg in legs)  # branches of a fork share theirs
    for leg in legs:
        end = account.ends.get(leg["call_id"], {})
        if end and lone[leg["call_id"]] == 1:
            leg |= {"pbx_end": float(end["at"]), "pbx_cause": end["cause"]}
        own = end.get("linked", leg["call_id"])
        key[leg["call_id"]] = account.picked.get(end.get("chan", ""), own)
    joined: dict[str, str] = {}
    for leg in legs:
        consulted_for = leg["behaviour"].get("consulting")
        if consulted_for in key and key[leg["call_id"]] != key[consulted_for]:
            joined[key[leg["call_id"]]] = key[consulted_for]
    found: dict[str, Group] = defaultdict(Group)
    for leg in legs:
        linked = key[leg["call_id"]]
        found[joined.get(linked, linked)].add(leg)
        if linked in joined:
            found[joined[linked]].parts.setdefault(linked, Group()).add(leg)
    for linked, group in found.items():
        group.settle(linked, account)
        for part, legs_of_part in group.parts.items():
            legs_of_part.settle(part, account)
    return sorted(found.values(), key=lambda group: group.begin)


# What a leg to a phone or carrier came to


def rang(leg: Entry) -> bool:
    return "ringing" in leg or "early" in leg


def first_ring(leg: Entry) -> float:
    return min(leg.get("ringing", float("inf")), leg.get("early", float("inf")))


def ringing_seen(capture: Path) -> set[tuple[str, str]]:
    """Call-ID and address of the phones whose ringing is in the capture."""
    return {
        (packet.message.get("Call-ID"), packet.source[0])
        for packet in packets(capture)
        if packet.message.status in (180, 183)
    }


def heard(leg: Entry, seen: set[tuple[str, str]]) -> Entry:
    """Marks a leg whose ringing was lost on the way, and one whose 200 came after a refusal."""
    if leg["role"] == "calling" and "ack" in leg:
        return leg | {"final": 200}
    lost = leg["role"] == "called" and rang(leg) and (leg["call_id"], leg["address"]) not in seen
    return leg | {"unheard": True} if lost else leg


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
        if other["call_id"] == leg["call_id"]
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


# The capture


@dataclass(frozen=True, slots=True)
class Opening:
    """The first packet of an INVITE that begins a dialog, on one hop."""

    number: int
    time: float
    source: str
    destination: str
    call_id: str


def openings(capture: Path) -> list[Opening]:
    """The INVITEs of a capture, one for each hop."""
    found: dict[tuple[str, str, str], Opening] = {}
    for packet in packets(capture):
        message = packet.message
        if message.start.startswith("INVITE ") and not tag_of(message.get("To")):
            key = (packet.source[0], packet.destination[0], message.get("Call-ID"))
            found.setdefault(key, Opening(packet.number, packet.time, *key))
    return list(found.values())


def invites(capture: Path) -> dict[str, int]:
    """The number of the first packet of each Call-ID that begins in the capture."""
    found: dict[str, int] = {}
    for opening in openings(capture):
        found.setdefault(opening.call_id, opening.number)
    return found


def first_time(capture: Path, call_id: str) -> float:
    return next(opening.time for opening in openings(capture) if opening.call_id == call_id)


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


def seen_from(side: str, leg: Entry, group: Group) -> list[str]:
    """What else may be said of a leg when the legs of the other side are not in view."""
    if side == "agent":
        return _agents_view(leg, group) if leg["role"] == "called" else []
    if leg["role"] == "called" or leg.get("final") == 200:
        return []
    if "cancel" in leg:
        dead = [] if rang(leg) else ["connection_timeout/after_trying", "device_not_responding"]
        return ["abandoned", "briefly_abandoned", *dead]
    return TRUNK_VIEW.get(leg.get("final", 0), [])


TRUNK_VIEW = {
    603: ["no_answer", "device_not_responding", "connection_timeout", "rejection_list"],
    486: ["agent_busy", "declined", "no_answer"],
    403: ["declined", "rejection_list"],
    480: ["no_answer", "declined", "unavailable"],
    408: ["no_answer", "device_not_responding", "connection_timeout"],
    404: ["not_found", "unavailable"],
    503: ["server_failure", "unavailable"],
}


def _agents_view(leg: Entry, group: Group) -> list[str]:
    """Timer or caller, and what option c makes of both: only other legs would tell."""
    if leg.get("final") != 487:
        return []
    if called_leg(leg, group).expected.startswith("redirected/answered"):
        return []
    caller = group.caller
    number = PREFIX.sub("", caller["to"]) if caller else ""
    elsewhere = number.startswith("4") or number in ("2203", "2312") or group.pick_up is not None
    more = ["redirected/answered_elsewhere"] if elsewhere else []
    return [by_ring_state(leg), "abandoned", "briefly_abandoned", *more]


def cut_capture(capture: Path, target: Path, kind: str, seconds: float) -> float:
    """Writes the part of a capture before or after a moment; gives the moment."""
    data = capture.read_bytes()
    kept, position, moment = [data[:24]], 24, 0.0
    while position + 16 <= len(data):
        whole, micros, length = struct.unpack_from("<III", data, position)
        time, end = whole + micros / 1e6, position + 16 + length
        moment = moment or time + seconds
        if (time < moment) == (kind == "earlyend"):
            kept.append(data[position:end])
        position = end
    target.write_bytes(b"".join(kept))
    return moment


def cut_attempts(
    target: Path, attempts: list[Entry], legs: list[Entry], kind: str, moment: float
) -> list[Entry]:
    """What is right when the capture ends before an attempt did, or begins within it."""
    by_leg = {(leg["call_id"], leg["role"] == "called"): leg for leg in legs}
    seen = {packet.message.get("Call-ID") for packet in packets(target)}
    first = invites(target)
    kept = []
    for one in attempts:
        leg = by_leg[one["call_id"], one["source"] == "10.30.0.1"]
        if one["call_id"] not in seen:
            continue
        words = [one["expected"], *one["acceptable"]]
        if kind == "earlyend" and ended(leg) > moment - 0.1:
            near = words if ended(leg) < moment + 0.1 else []
            one = one | {"expected": "in_progress", "acceptable": near}
            if leg["behaviour"].get("kind") == "silent":  # the retransmissions may tell already
                one["acceptable"] = [*near, "device_not_responding"]
        elif kind == "latestart" and begin(leg) < moment + 0.01:
            one = one | {"expected": "incomplete", "acceptable": [*words, "absent"]}
        elif kind == "latestart":  # the caller may not be in view
            one = one | {"acceptable": [*one["acceptable"], *one["views"].get("agent", [])]}
        number = first.get(one["call_id"], 1)
        kept.append(one | {"first_packet": number, "t": round(begin(leg) - moment, 3)})
    return kept


def add_hops(entry: Entry, capture: Path, hops: tuple[str, str]) -> None:
    """The legs between proxy and PBX: what came of them is what came of those beyond."""
    proxy, pbx = hops
    fork_or_hop(entry, proxy)
    whole = {call_id: one["expected"] for one in entry["calls"] for call_id in one["call_ids"]}
    by_call_id: dict[str, list[Entry]] = defaultdict(list)
    for one in entry["attempts"]:
        by_call_id[one["call_id"]].append(one)
    for opening in openings(capture):
        if {opening.source, opening.destination} != set(hops):
            continue
        known = by_call_id[opening.call_id]
        inward = known[0]["source"] not in (proxy, pbx)
        for one in known:
            one["destination" if inward else "source"] = proxy
        best = known[0] if inward else best_branch(known)
        source, destination = (proxy, pbx) if inward else (pbx, proxy)
        hop = best | {"source": source, "destination": destination}
        hop["first_packet"] = opening.number
        if not inward and best["expected"] != "answered":
            more = [whole[opening.call_id], *AFTER_RINGING.get(best["expected"], [])]
            hop["acceptable"] = [*hop["acceptable"], *more]
        entry["attempts"].append(hop | {"fact": f"between proxy and PBX: {best['fact']}"})
    numbers = {(one.call_id, one.destination): one.number for one in openings(capture)}
    for one in entry["attempts"]:
        if one["destination"] == pbx and one["source"] != proxy:
            one["destination"] = proxy
        one["first_packet"] = numbers[one["call_id"], one["destination"]]
    entry["attempts"].sort(key=lambda one: one["first_packet"])


# A proxy hands on one refusal of several, after the ringing of another branch.
AFTER_RINGING = {"agent_busy": ["declined"], "no_answer": ["declined"]}


def fork_or_hop(entry: Entry, proxy: str) -> None:
    """Of a call that nobody took, the best branch or what the proxy told the PBX is right."""
    branches: dict[str, list[str]] = defaultdict(list)
    for one in entry["attempts"]:
        if one["source"] == proxy:
            branches[one["call_id"]] += [one["expected"], *AFTER_RINGING.get(one["expected"], [])]
    refused = ("declined", "no_answer", "agent_busy", "device_not", "connection", "unavail")
    for wanted in entry["calls"]:
        words = [word for call_id in wanted["call_ids"] for word in branches[call_id]]
        callers = [one for one in entry["attempts"] if one["call_id"] in wanted["call_ids"]]
        for one in (wanted, *(leg for leg in callers if leg["source"] != proxy)):
            if one["expected"].startswith(refused):
                one["acceptable"] = list(dict.fromkeys([*one["acceptable"], *words]))


def best_branch(branches: list[Entry]) -> Entry:
    """The branch of a fork whose outcome is that of the whole.

    An answer is that; then what the PBX's CANCEL cut short, then the best refusal. A proxy may
    hand on any of several failures: all of them are acceptable.
    """

    def order(one: Entry) -> tuple[bool, bool, int]:
        refused = one["expected"].split("/")[0] in ("declined", "agent_busy", "unavailable")
        late = one["expected"] != "answered" or bool(one["acceptable"])
        return (
            late,
            refused or one["expected"].endswith("declined_elsewhere"),
            rank(one["expected"]),
        )

    best = min(branches, key=order)
    words = [word for one in branches for word in (one["expected"], *one["acceptable"])]
    others = [] if not order(best)[0] else [word for word in words if word != best["expected"]]
    return best | {"acceptable": list(dict.fromkeys([*best["acceptable"], *others]))}


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
