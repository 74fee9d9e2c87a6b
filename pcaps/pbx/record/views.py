"""What is right of a recording when only a part of it is in view, or a hop more."""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path

from account import Entry, Group, begin
from observe import invites, openings, packets
from verdicts import PREFIX, by_ring_state, called_leg, ended, rang, rank


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
    500: ["no_answer", "device_not_responding", "connection_timeout"],  # a B2BUA's timer
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
