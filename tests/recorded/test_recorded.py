"""The captures of pcaps/ against what the scenarios that made them did.

Every truth file is written from the definition of its scenario; tshark only said which INVITE is
which. A capture is replayed by the command that a user types, as a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PCAPS = ROOT / "pcaps"
TRUTHS = sorted(PCAPS.glob("*.truth.json"))
NAMES = [path.name.removesuffix(".truth.json") for path in TRUTHS]
CAPTURES = sorted(p for ending in ("pcap", "pcapng", "pcap.gz") for p in PCAPS.glob(f"*.{ending}"))

#: What the recorded scenarios must cover, whatever else they do (section 2 of the outcomes).
OUTCOMES = {
    "answered", "agent_busy", "no_answer", "declined/manual", "declined/automatic",
    "device_not_responding", "connection_timeout/after_trying",
    "connection_timeout/after_ringing", "connection_timeout/no_ack",
    "connection_timeout/server_timeout", "unavailable", "redirected/answered_elsewhere",
    "redirected/declined_elsewhere", "redirected/forwarded", "abandoned", "briefly_abandoned",
    "rejection_list", "not_found", "unauthorized", "not_acceptable", "server_failure",
    "other_failure", "in_progress", "incomplete",
}  # fmt: skip

LARGEST_FOLDER = 3_000_000  # bytes, captures and truth together

Key = tuple[str, str, str, str]


@cache
def truth_of(name: str) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((PCAPS / f"{name}.truth.json").read_text())
    return known


@pytest.fixture
def replayed(tmp_path: Path) -> Any:
    """Attempt records of a capture, by the command as a process of its own."""

    def replay(name: str) -> list[dict[str, Any]]:
        truth = truth_of(name)
        config = tmp_path / "sipwatch.toml"
        config.write_text(as_toml(truth))
        command = [sys.executable, "-m", "sipwatch", "replay", str(PCAPS / truth["pcap"])]
        command += ["--format", "jsonl", "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return replay


def as_toml(truth: dict[str, Any]) -> str:
    """What the scenario says of the host that was watched, as a configuration file."""
    top = {"local_addresses": truth["local_addresses"], **truth.get("config", {})}
    # Strings, numbers and lists of them look the same in JSON and in TOML.
    lines = [f"{k} = {json.dumps(v)}" for k, v in top.items() if not isinstance(v, dict)]
    for table, values in top.items():
        if isinstance(values, dict):
            lines.append(f"[{table}]")
            lines += [f"{k} = {json.dumps(v)}" for k, v in values.items()]
    return "\n".join(lines) + "\n"


def host(endpoint: str) -> str:
    """Address of ``ip:port`` or ``[ip]:port``."""
    return endpoint.rpartition(":")[0].strip("[]")


def called(uri: str | None) -> str:
    """User and host of a Request-URI, "" for none."""
    return (uri or "").removeprefix("sip:").partition(";")[0]


def expected_key(attempt: dict[str, Any]) -> Key:
    uri = called(attempt["request_uri"])
    return attempt["call_id"], attempt["source"], attempt["destination"], uri


def record_key(record: dict[str, Any], truth: dict[str, Any]) -> Key:
    """A chain that a 3xx led elsewhere may name the host where it began or where it ended."""
    uri = called(record["request_uri"])
    source, destination = host(record["source"]), host(record["destination"])
    for attempt in truth["attempts"]:
        if attempt["call_id"] == record["call_id"] and attempt.get("retried_at") == destination:
            destination = attempt["destination"]
    return record["call_id"], source, destination, uri


def in_order(items: list[dict[str, Any]], key: Any) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: (key(item), item["first_packet"]))


@pytest.mark.parametrize("name", NAMES)
def test_replay_says_what_the_scenario_did(name: str, replayed: Any) -> None:
    """Each expected attempt exactly once, from the packet that tshark names, and no other."""
    truth = truth_of(name)
    attempts = in_order(truth["attempts"], expected_key)
    records = in_order(replayed(name), lambda record: record_key(record, truth))
    assert [(*record_key(r, truth), r["first_packet"]) for r in records] == [
        (*expected_key(a), a["first_packet"]) for a in attempts
    ]
    wrong = [
        f"{attempt['request_uri']} at {attempt['destination']}: {verdict(record)} "
        f"({record['confidence']}), expected {attempt['expected']} "
        f"({attempt.get('confidence', 'any')}): {attempt['why']}; evidence {record['evidence']}"
        for attempt, record in zip(attempts, records, strict=True)
        if not agrees(attempt, record)
    ]
    assert not wrong, "\n".join(wrong)


def verdict(record: dict[str, Any]) -> str:
    return record["outcome"] + (f"/{record['detail']}" if record["detail"] else "")


def agrees(attempt: dict[str, Any], record: dict[str, Any]) -> bool:
    """The expected verdict with its confidence, where given, or one that is acceptable."""
    if says(attempt["expected"], record):
        return attempt.get("confidence") in (None, record["confidence"])
    return any(says(other, record) for other in attempt["acceptable"])


def says(outcome: str, record: dict[str, Any]) -> bool:
    """``outcome/detail`` is the whole verdict, ``outcome`` alone allows any detail."""
    return outcome in (verdict(record), record["outcome"])


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_belongs_to_its_capture(name: str) -> None:
    """tshark finds as many INVITEs as the scenario made, and each attempt where it should begin."""
    truth = truth_of(name)
    rows = tshark(PCAPS / truth["pcap"])
    invites = [row for row in rows if row["sip.Method"] == "INVITE"]
    inside = [row for row in invites if row["sip.to.tag"]]
    begun = sum(attempt["invites"] for attempt in truth["attempts"])
    assert len(invites) == truth["invites"] == truth["copies"] * (begun + truth["reinvites"])
    assert len(inside) == truth["reinvites"] * truth["copies"]
    call_ids = {int(row["frame.number"]): row["sip.Call-ID"] for row in rows}
    for attempt in truth["attempts"]:
        assert call_ids[attempt["first_packet"]] == attempt["call_id"]


def tshark(capture: Path) -> list[dict[str, str]]:
    """The SIP messages of a capture, those quoted by ICMP left out."""
    fields = ("frame.number", "sip.Method", "sip.Call-ID", "sip.to.tag")
    command = ["tshark", "-n", "-r", str(capture), "-Y", "sip and not icmp and not icmpv6"]
    command += ["-T", "fields", "-E", "separator=/t", "-E", "occurrence=f"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    return [dict(zip(fields, line.split("\t"), strict=True)) for line in lines]


def test_every_capture_has_its_truth() -> None:
    assert {path.name for path in CAPTURES} == {truth_of(name)["pcap"] for name in NAMES}


def test_the_readme_names_every_capture() -> None:
    page = (PCAPS / "README.md").read_text()
    assert [path.name for path in CAPTURES if f"[{path.name}]" not in page] == []


def test_the_scenarios_reach_every_outcome_that_one_call_can_have() -> None:
    reached = {a["expected"] for name in NAMES for a in truth_of(name)["attempts"]}
    assert OUTCOMES - reached == set()


def test_the_definitions_say_what_the_truth_files_say() -> None:
    """Nobody edits a truth file by hand, and nobody changes a scenario without its truth."""
    command = [sys.executable, str(PCAPS / "record/record.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_captures_stay_small() -> None:
    assert sum(path.stat().st_size for path in [*CAPTURES, *TRUTHS]) < LARGEST_FOLDER
