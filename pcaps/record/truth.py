"""The truth file of a capture: what the scenario did, with the Call-IDs that tshark finds.

tshark only says which INVITE is which; every outcome comes from the scenario's definition. The
form of an attempt is that of the PBX captures: call_id, source, destination, from, request_uri,
first_packet, t, fact, expected, acceptable.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Expect, Scenario

_FIELDS = (
    "frame.number", "frame.time_epoch", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "sip.Method",
    "sip.Status-Code", "sip.CSeq.method", "sip.Call-ID", "sip.r-uri", "sip.from.addr",
    "sip.to.addr", "sip.to.tag", "sip.from.tag", "sip.CSeq.seq",
)  # fmt: skip


@dataclass
class Chain:
    """The packets of one attempt: same parties, Call-ID and first target."""

    call_id: str
    source: str
    destination: str
    user: str
    request_uri: str
    sender: str
    first_packet: int
    time: float
    invites: int = 0
    users: set[str] = field(default_factory=set)
    last_destination: str = ""


def defined(scenario: Scenario, addresses: dict[str, str]) -> dict[str, Any]:
    """What the definition alone says of a truth file; ``addresses`` are those of the parties."""
    found: dict[str, Any] = {
        "fact": scenario.fact,
        "local_addresses": [addresses["pbx"]],
    }
    if scenario.config:
        network = addresses["pbx"].rpartition(".")[0]
        found["config"] = json.loads(json.dumps(scenario.config).replace("{net}", network))
    invites = scenario.copies * (sum(e.invites for e in scenario.attempts) + scenario.reinvites)
    found |= {"invites": invites, "reinvites": scenario.reinvites, "copies": scenario.copies}
    found["attempts"] = [_attempt(scenario, expect, addresses) for expect in scenario.attempts]
    return found


def _attempt(scenario: Scenario, expect: Expect, addresses: dict[str, str]) -> dict[str, Any]:
    attempt = {
        "source": addresses[expect.source],
        "destination": addresses[expect.destination],
        "invites": expect.invites,
        "fact": expect.fact or scenario.fact,
        "expected": expect.expected,
        "acceptable": list(expect.acceptable),
        "why": expect.why,
    }
    if expect.confidence:
        attempt["confidence"] = expect.confidence
    if expect.single_leg:
        attempt["single_leg"] = expect.single_leg
    return attempt


#: What tshark adds, to a file and to each of its attempts.
FOUND = frozenset(("pcap", "recorded_with"))
FOUND_IN_ATTEMPT = frozenset(("call_id", "from", "request_uri", "first_packet", "t", "retried_at"))


def only_defined(known: dict[str, Any]) -> dict[str, Any]:
    """A truth file without what tshark added: comparable with `defined`."""
    kept = {key: value for key, value in known.items() if key not in FOUND}
    kept["attempts"] = [
        {key: value for key, value in attempt.items() if key not in FOUND_IN_ATTEMPT}
        for attempt in known["attempts"]
    ]
    return kept


def content(
    scenario: Scenario, addresses: dict[str, str], capture: Path, tools: dict[str, str]
) -> str:
    """The text of NAME.truth.json: the scenario's attempts, matched with the capture.

    Raises RuntimeError when the capture does not hold what the scenario should have produced.
    """
    rows = _rows(capture)
    chains = _chains(rows, scenario, addresses)
    told = defined(scenario, addresses)
    attempts = []
    for expect, attempt in zip(scenario.attempts, told["attempts"], strict=True):
        chain = _take(scenario, expect, chains, addresses)
        attempts.append({**_identity(chain, float(rows[0]["frame.time_epoch"])), **attempt})
    if chains:
        left = [f"{c.source} > {c.destination} {c.request_uri}" for c in chains]
        raise RuntimeError(f"{scenario.name}: not in the definition: {left}")
    counted = sum(1 for row in rows if row["sip.Method"] == "INVITE")
    if counted != told["invites"]:
        raise RuntimeError(f"{scenario.name}: {counted} INVITEs, {told['invites']} defined")
    known = {"pcap": capture.name, "recorded_with": tools, **told, "attempts": attempts}
    return json.dumps(known, indent=1, ensure_ascii=False) + "\n"


def _identity(chain: Chain, start: float) -> dict[str, Any]:
    """How to find an attempt in the capture; ``t`` counts from the first SIP message."""
    found = {
        "call_id": chain.call_id,
        "from": chain.sender,
        "request_uri": chain.request_uri or None,
        "first_packet": chain.first_packet,
        "t": round(chain.time - start, 3),
    }
    if chain.last_destination != chain.destination:
        found["retried_at"] = chain.last_destination
    return found


def _take(
    scenario: Scenario, expect: Expect, chains: list[Chain], addresses: dict[str, str]
) -> Chain:
    """The first chain in time between these parties for this user; it is used up."""
    source, destination = addresses[expect.source], addresses[expect.destination]
    for chain in chains:
        if (chain.source, chain.destination) == (source, destination) and chain.user == expect.user:
            chains.remove(chain)
            return chain
    raise RuntimeError(
        f"{scenario.name}: no attempt {expect.source} > {expect.destination} {expect.user}"
    )


def _chains(
    rows: list[dict[str, str]], scenario: Scenario, addresses: dict[str, str]
) -> list[Chain]:
    """Gather what belongs to INVITEs outside dialogs, in order of the first packet.

    A retry (credentials, another CSeq, a redirect) has its attempt's source and Call-ID; whether
    it goes to another target in the same attempt is the definition's to say, so it is folded in
    when the definition lists no attempt of its own for that target.
    """
    wanted = {(addresses[e.source], addresses[e.destination], e.user) for e in scenario.attempts}
    real = {shown: addresses[party] for shown, party in scenario.aliases.items()}
    within = {_transaction(r) for r in rows if r["sip.Method"] == "INVITE" and r["sip.to.tag"]}
    chains: list[Chain] = []
    for row in rows:
        request = bool(row["sip.Method"])
        if row["sip.CSeq.method"] != "INVITE" and row["sip.Method"] != "CANCEL":
            continue
        if row["sip.Method"] == "ACK":
            continue
        if _transaction(row) in within:
            continue
        source = row["ip.src"] or row["ipv6.src"]
        destination = row["ip.dst"] or row["ipv6.dst"]
        if not request:
            source, destination = destination, source
        uri = row["sip.r-uri"]
        source, destination = real.get(source, source), real.get(destination, destination)
        user = _user(uri or row["sip.to.addr"])
        known = [c for c in chains if c.call_id == row["sip.Call-ID"] and c.source == source]
        chain = next((c for c in known if c.destination == destination and
                      (not request or user in c.users)), None)  # fmt: skip
        if chain is None and known and (not request or (source, destination, user) not in wanted):
            chain = known[-1]
        if chain is None:
            chain = Chain(row["sip.Call-ID"], source, destination, user, uri, row["sip.from.addr"],
                          int(row["frame.number"]), float(row["frame.time_epoch"]))  # fmt: skip
            chains.append(chain)
        chain.users.add(user)
        chain.invites += row["sip.Method"] == "INVITE"
        chain.last_destination = destination
    return chains


def _transaction(row: dict[str, str]) -> tuple[str, str, str]:
    return row["sip.Call-ID"], row["sip.from.tag"], row["sip.CSeq.seq"]


def _user(uri: str) -> str:
    """User part of an address, without what baresip adds to it in its Contact."""
    rest = uri.partition(":")[2] if uri.lower().startswith(("sip:", "sips:", "tel:")) else uri
    return rest.partition("@")[0].partition(";")[0].partition("-0x")[0]


def _rows(capture: Path) -> list[dict[str, str]]:
    command = [
        "tshark",
        "-n",
        "-r",
        str(capture),
        "-Y",
        "sip and not icmp and not icmpv6",
        "-T",
        "fields",
    ]
    command += ["-E", "separator=\t", "-E", "occurrence=f"]
    for name in _FIELDS:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [dict(zip(_FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]
