"""Asterisk's own account: which legs were of one call, and how its Dials and Queues ended."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from settings import CDR_FIELDS

Entry = dict[str, Any]  # of the parties' log
KEPT = ("src", "dst", "channel", "dstchannel", "lastapp", "duration", "billsec", "disposition")


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
