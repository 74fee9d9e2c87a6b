"""Real programs over TCP, TLS, WebSocket and secure WebSocket: pcaps/carriers against its truth.

SIPp, baresip and JsSIP in Chromium, through Kamailio. Each capture is replayed by the command that
a user types: by our own decoder, which reads all that is not encrypted and says how much was, and
by tshark with the key log, which reads all of it. The truth files are written from the definitions
of the recordings; tshark only said which INVITE is which.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "pcaps" / "carriers"
NAMES = sorted(path.name.removesuffix(".truth.json") for path in FOLDER.glob("*.truth.json"))
TRANSPORTS = {"TCP", "TLS", "WS", "WSS"}
LARGEST_FOLDER = 400_000  # bytes

Attempt = dict[str, Any]


@cache
def truth_of(name: str) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((FOLDER / f"{name}.truth.json").read_text())
    return known


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "sipwatch.toml"


def replayed(name: str, config: Path, *options: str) -> tuple[list[Attempt], str, int]:
    """Records, standard error and exit status."""
    truth = truth_of(name)
    # Secure WebSocket has no port of its own: the configuration says which it is here.
    config.write_text(
        f"local_addresses = {json.dumps(truth['local_addresses'])}\n"
        "ports = [5060, 5061, 8080, 8443]\n"
    )
    command = [sys.executable, "-m", "sipwatch", "replay", str(FOLDER / truth["pcap"])]
    command += ["--format", "jsonl", "--config", str(config), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr, done.returncode


def identity(attempt: Attempt) -> tuple[Any, ...]:
    """What an attempt is found by, in a truth file and in a record."""
    source, destination = (attempt[end].rpartition(":") for end in ("source", "destination"))
    return (
        attempt["first_packet"],
        attempt["call_id"],
        source[0] or source[2],
        destination[0] or destination[2],
        attempt["transport"],
        attempt["request_uri"].removeprefix("sip:"),
    )


def compare(records: list[Attempt], attempts: list[Attempt], *, alone: bool = False) -> None:
    """Each expected attempt once, with its verdict, and no other.

    ``alone``: the other leg of the call is not readable.
    """
    records = sorted(records, key=lambda record: record["first_packet"])
    attempts = sorted(attempts, key=lambda attempt: attempt["first_packet"])
    assert [identity(one) for one in records] == [identity(one) for one in attempts]
    for record, attempt in zip(records, attempts, strict=True):
        said = "/".join(filter(None, (record["outcome"], record["detail"])))
        accepted = [attempt["expected"], *attempt["acceptable"]]
        assert said in accepted, f"{said}: {record['evidence']}; {attempt['why']}"
        sure = attempt.get("confidence")
        if alone:
            sure = attempt.get("confidence_alone", sure)
        assert sure in (None, record["confidence"]), record["evidence"]


@pytest.mark.parametrize("name", NAMES)
def test_our_decoder_reads_what_is_in_the_clear_and_counts_the_rest(
    name: str, config: Path
) -> None:
    truth = truth_of(name)
    records, errors, status = replayed(name, config)
    unread = truth["tls_connections"]
    in_the_clear = [one for one in truth["attempts"] if not one["encrypted"]]
    compare(records, in_the_clear, alone=bool(unread))
    if unread:
        noun = "connection" if unread == 1 else "connections"
        line = f"sipwatch: {unread} SIP/TLS {noun} could not be read: give --keylog\n"
        assert (errors, status) == (line, 1)
    else:
        assert (errors, status) == ("", 0)


@pytest.mark.parametrize("name", NAMES)
def test_tshark_with_the_key_log_reads_all_of_it(name: str, config: Path) -> None:
    truth = truth_of(name)
    keylog = truth.get("keylog")
    options = ["--keylog", str(FOLDER / keylog)] if keylog else []
    records, errors, status = replayed(name, config, "--decoder", "tshark", *options)
    readable = [one for one in truth["attempts"] if keylog or not one["encrypted"]]
    compare(records, readable)
    if keylog or not truth["tls_connections"]:
        assert (errors, status) == ("", 0)
    else:
        assert re.search(r"\d+ SIP/TLS connections? could not be read: give --keylog", errors)
        assert status == 1


def test_every_transport_is_there() -> None:
    assert {one["transport"] for name in NAMES for one in truth_of(name)["attempts"]} == TRANSPORTS


def test_nothing_is_there_without_its_truth() -> None:
    captures = {path.name for path in FOLDER.glob("*.pcap*")}
    keylogs = {path.name for path in FOLDER.glob("*.keys.log")}
    assert captures == {truth_of(name)["pcap"] for name in NAMES}
    assert keylogs == {truth_of(name)["keylog"] for name in NAMES if "keylog" in truth_of(name)}


def test_the_definitions_say_what_the_truth_files_say() -> None:
    """Nobody edits a truth file by hand, and nobody changes a definition without its truth."""
    command = [sys.executable, str(FOLDER / "record" / "record.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_captures_stay_small() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST_FOLDER
