"""`sipwatch replay --follow`: a growing capture, provisional verdicts first, each settled once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapWriter

BRANCH = "z9hG4bK-follow"


def message(start: str, to_tag: str = "", cseq: str = "1 INVITE") -> bytes:
    lines = [
        start,
        f"Via: SIP/2.0/UDP 127.0.0.50:5060;branch={BRANCH}",
        "From: <sip:+49301110000@127.0.0.50>;tag=a",
        f"To: <sip:101@127.0.0.1>{to_tag}",
        "Call-ID: follow@127.0.0.50",
        f"CSeq: {cseq}",
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


class Writer:
    """A capture that grows message by message."""

    def __init__(self, path: Path) -> None:
        self._pcap = PcapWriter(str(path), sync=True, linktype=1)
        self._pcap.write_header(None)

    def send(self, at: float, forth: bool, data: bytes) -> None:
        here, there = ("127.0.0.50", "127.0.0.1") if forth else ("127.0.0.1", "127.0.0.50")
        frame = (
            Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / IP(src=here, dst=there)
            / UDP(sport=5060, dport=5060)
            / data
        )
        frame.time = at
        self._pcap.write(frame)


def test_a_growing_capture_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    writer = Writer(path)
    start = 1_800_000_000.0
    writer.send(start, True, message("INVITE sip:101@127.0.0.1 SIP/2.0"))
    process = subprocess.Popen(
        [sys.executable, "-m", "sipwatch", "replay", "--follow", str(path), "--format", "jsonl"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        time.sleep(0.5)
        writer.send(start + 0.01, False, message("SIP/2.0 486 Busy Here", ";tag=b"))
        writer.send(start + 0.02, True, message("ACK sip:101@127.0.0.1 SIP/2.0", ";tag=b", "1 ACK"))
        # Nothing more is written: time alone settles the attempt.
        first = json.loads(process.stdout.readline())
        second = json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(timeout=20)
    assert first["provisional"] is True
    assert second["provisional"] is False
    for record in (first, second):
        assert record["outcome"] == "agent_busy"
        assert record["call_id"] == "follow@127.0.0.50"
    assert first["id"] == second["id"]


def test_only_one_growing_file_can_be_followed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sipwatch", "replay", "--follow", "a.pcap", "b.pcap"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--follow: give one file" in done.stderr


def test_a_pipe_that_ends_is_followed_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "whole.pcap"
    writer = Writer(path)
    writer.send(0.0, True, message("INVITE sip:101@127.0.0.1 SIP/2.0"))
    writer.send(0.01, False, message("SIP/2.0 486 Busy Here", ";tag=b"))
    writer.send(0.02, True, message("ACK sip:101@127.0.0.1 SIP/2.0", ";tag=b", "1 ACK"))
    done = subprocess.run(
        [sys.executable, "-m", "sipwatch", "replay", "--follow", "-"],
        input=path.read_bytes(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 2
    assert "Agent busy" in lines[0]
    assert "provisional" in lines[0]
    assert "settled" in lines[1]
