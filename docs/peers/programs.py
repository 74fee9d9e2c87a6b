"""Runs the programs of others, and says clearly which of them is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Which Debian package has a program.
PACKAGES = {
    "tshark": "tshark",
    "capinfos": "wireshark-common",
    "mergecap": "wireshark-common",
    "sngrep": "sngrep",
    "tmux": "tmux",
}


class MissingProgramError(Exception):
    """A program is not installed; the message says how to get it."""


class ProgramError(Exception):
    """A program failed; the message is what it said."""


def need(*names: str) -> None:
    """Raises `MissingProgramError` when one of them is not installed."""
    missing = sorted({PACKAGES[name] for name in names if shutil.which(name) is None})
    if missing:
        raise MissingProgramError(f"not installed; on Debian: apt-get install {' '.join(missing)}")


def output_of(*command: str | Path, seconds: float = 120) -> str:
    """What a program prints. Raises `ProgramError` when it fails."""
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise ProgramError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def version_of(name: str) -> str:
    """`4.0.17`, from the first line that names one."""
    option = "-V" if name in ("sngrep", "tmux") else "--version"
    found = re.search(r"\d+(\.\d+)+", output_of(name, option))
    return found[0] if found else "unknown"


def packets_of(captures: Sequence[Path]) -> list[tuple[int, str]]:
    """Number of packets and kind of link of each capture, as capinfos says."""
    need("capinfos")
    lines = output_of("capinfos", "-T", "-r", "-M", "-c", "-E", *captures).splitlines()
    rows = [line.split("\t") for line in lines]
    return [(int(row[2]), row[1]) for row in rows]


def join(captures: Sequence[Path], target: Path, form: str = "pcapng") -> None:
    """Writes the captures one after the other into one. Raises `ProgramError`."""
    need("mergecap")
    output_of("mergecap", "-a", "-F", form, "-w", target, *captures)
