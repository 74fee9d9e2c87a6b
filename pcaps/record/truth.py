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


def content(
    scenario: Scenario, addresses: dict[str, str], capture: Path, tools: dict[str, str]
) -> str:
    """The text of NAME.truth.json: the scenario's attempts, matched with the capture.

    ``addresses`` are those of the parties. Raises RuntimeError when the capture does not hold what
    the scenario should have produced.
    """
    rows = _rows(capture)
    chains = _chains(rows, scenario, addresses)
    attempts = []
    for expect in scenario.attempts:
        chain = _take(scenario, expect, chains, addresses)
        attempts.append(_attempt(scenario, expect, chain, float(rows[0]["frame.time_epoch"])))
    if chains:
        left = [f"{c.source} > {c.destination} {c.request_uri}" for c in chains]
        raise RuntimeError(f"{scenario.name}: not in the definition: {left}")
    counted = sum(1 for row in rows if row["sip.Method"] == "INVITE")
    defined = scenario.copies * (sum(e.invites for e in scenario.attempts) + scenario.reinvites)
    if counted != defined:
        raise RuntimeError(f"{scenario.name}: {counted} INVITEs captured, {defined} defined")
    found: dict[str, object] = {
        "pcap": capture.name,
        "fact": scenario.fact,
        "recorded_with": tools,
        "local_addresses": [addresses["pbx"]],
    }
    if scenario.config:
        network = addresses["pbx"].rpartition(".")[0]
        found["config"] = json.loads(json.dumps(scenario.config).replace("{net}", network))
    found |= {"invites": defined, "reinvites": scenario.reinvites, "copies": scenario.copies}
    found["attempts"] = attempts
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _attempt(scenario: Scenario, expect: Expect, chain: Chain, start: float) -> dict[str, object]:
    attempt: dict[str, object] = {
        "call_id": chain.call_id,
        "source": chain.source,
        "destination": chain.destination,
        "from": chain.sender,
        "request_uri": chain.request_uri or None,
        "first_packet": chain.first_packet,
        "t": round(chain.time - start, 3),
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
