"""The live part of `make demo`: what it shows is what was called, and it says when it cannot."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_namespace import Namespace
from places import DEPLOY, program

SCRIPT = str(DEPLOY / "demo")


@pytest.fixture
def inside() -> Iterator[Namespace]:
    """A loopback of its own, so that nothing else is on it."""
    made = Namespace()
    yield made
    made.close()


def test_shows_what_was_called(inside: Namespace) -> None:
    program("sipp")
    with inside.entered():
        done = subprocess.run(
            [sys.executable, SCRIPT], capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.findall(r'agent="(\d+)",outcome="(\w+)"\}\s+(\d+)', done.stdout)
    assert counted == [
        ("101", "answered", "15"),
        ("102", "agent_busy", "15"),
        ("103", "declined", "15"),
        ("104", "unavailable", "15"),
    ]
    # 15 times 600 ms and 15 times 1200 ms of ringing.
    [ringing] = re.findall(r"ring_duration_seconds\s+([\d.]+) ms ringing, mean of 30", done.stdout)
    assert float(ringing) > 890
    assert "http://127.0.0.1:9742/" in done.stdout
    assert "0 lost, 0 problems" in done.stdout
    # Everything that it started has ended: nothing listens any more.
    assert inside.run("ss", "-Hltun").strip() == ""


def test_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    """Without sipp, as on a machine where only `make demo` was ever run."""
    done = subprocess.run(
        [sys.executable, SCRIPT],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert done.returncode == 0
    [line] = done.stdout.splitlines()
    assert line.startswith("The live demonstration is left out: it needs sipp")
    assert done.stderr == ""
