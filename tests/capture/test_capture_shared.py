"""Captures from the field: the messages that their index lists, and the frames that tshark sees."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from capture_files import read

from sipwatch.net.types import Datagram, Unreachable

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
INDEX: list[dict[str, Any]] = (
    [json.loads(line) for line in (CAPTURES / "INDEX.jsonl").read_text().splitlines()]
    if CAPTURES.is_dir()
    else []
)
pytestmark = pytest.mark.skipif(not INDEX, reason="the shared captures are not beside the project")

#: Bytes were changed at random, start lines among them; those are given to the parser, which the
#: index, made with tshark, does not count.
FUZZED = "nDPI-fuzz-2006-06-26-2594.pcap"

#: What makes a capture worth a second opinion.
UNUSUAL = {
    "duplicated-packets",
    "erf",
    "esp",
    "file-cut-short",
    "gre",
    "gtp-u",
    "icmp-unreachable",
    "ip-in-ip",
    "ipv6",
    "netmon-2",
    "null",
    "pcap-be",
    "pcap-ns",
    "sctp",
    "several-interfaces",
    "sll2",
    "tcp",
    "unrelated-or-incomplete-fragments",
    "vlan",
    "websocket",
}


def start_line(datagram: Datagram) -> tuple[str, str]:
    """("response", code) or ("request", method), as the index names long methods."""
    line = datagram.payload.split(b"\n", 1)[0].decode("latin-1")
    if line.startswith("SIP/"):
        return "response", line[8:11]
    method = line.split(" ", 1)[0]
    return "request", method if len(method) <= 40 else f"{method[:24]}...({len(method)})"


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_the_messages_of_the_index(entry: dict[str, Any]) -> None:
    found, stats = read(CAPTURES / entry["file"])
    datagrams = [one for one in found if isinstance(one, Datagram)]
    lines = Counter(map(start_line, datagrams))
    expected = Counter({("request", name): n for name, n in entry["requests"].items()})
    expected.update({("response", code): n for code, n in entry["responses"].items()})
    assert stats.packets == entry["packets"]
    assert bool(stats.damage) == ("file-cut-short" in entry["features"])
    assert stats.sip_datagrams == len(datagrams)
    if entry["file"] == FUZZED:
        assert not expected - lines
        return
    assert lines == expected
    assert len(datagrams) == entry["sip_messages"]
    assert stats.first_time is not None
    assert stats.last_time is not None
    assert stats.last_time - stats.first_time <= entry["duration"] + 1e-5


@pytest.mark.parametrize(
    "entry",
    [entry for entry in INDEX if UNUSUAL & set(entry["features"])],
    ids=lambda entry: entry["file"],
)
def test_the_frames_that_tshark_sees(entry: dict[str, Any]) -> None:
    assert shutil.which("tshark"), "install tshark: it is the second opinion of this test"
    path = CAPTURES / entry["file"]
    found, _ = read(path)
    ours = {one.number for one in found if isinstance(one, Datagram)}
    fields = frames(path, entry["decode_as"])
    theirs = {number for number, icmp in fields if not icmp}
    if entry["file"] == FUZZED:
        assert theirs <= ours
    else:
        assert ours == theirs
    # Reports that quote SIP are given as such.
    reports = {one.number for one in found if isinstance(one, Unreachable)}
    assert {number for number, icmp in fields if icmp} <= reports


def frames(path: Path, decode_as: list[str]) -> set[tuple[int, bool]]:
    """Numbers of the frames that hold SIP by tshark, and whether inside an ICMP report."""
    command = ["tshark", "-r", str(path), "-Y", "sip", "-T", "fields", "-e", "frame.number"]
    command += ["-o", "esp.enable_null_encryption_decode_heuristic:TRUE"]
    command += ["-e", "frame.protocols", *(part for rule in decode_as for part in ("-d", rule))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    result = set()
    for line in done.stdout.splitlines():
        number, protocols = line.split("\t")
        result.add((int(number), "icmp" in protocols))
    return result


@pytest.mark.parametrize("folder", ["asterisk", "freeswitch"])
def test_recorded_pbx_captures_are_read_whole(folder: str) -> None:
    found, stats = read(CAPTURES / folder)
    assert len(found) > 500
    assert len(stats.files) > 30
    assert not stats.damage
    assert not stats.malformed
    times = [one.time for one in found]
    assert times == sorted(times)
