"""Run a command on one core and see what it cost: wall time, CPU time, peak resident memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_LAUNCHER = Path(__file__).parent / "launch.py"


class Cost(NamedTuple):
    """Seconds and bytes; ``peak`` is never below the launcher's own, some 9 MB."""

    wall: float
    cpu: float
    peak: int


class CommandFailedError(Exception):
    """The measured command did not end as it should."""

    def __init__(self, command: Sequence[str], status: int, complaint: str) -> None:
        super().__init__(f"{' '.join(command)}: exit status {status}: {complaint.strip()[-2000:]}")


def last_core() -> int:
    """The core that measured commands get, away from the first one, which most work lands on."""
    return max(os.sched_getaffinity(0))


def run(
    command: Sequence[str],
    *,
    core: int | None = None,
    output: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Cost:
    """Cost of ``command`` from start to exit, its threads and children included.

    ``output`` takes its standard output.
    """
    place = "-" if core is None else str(core)
    done = subprocess.run(
        [sys.executable, "-I", "-S", _LAUNCHER, place, output or os.devnull, *command],
        capture_output=True,
        text=True,
        env=os.environ | (environment or {}),
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailedError(command, done.returncode, done.stderr)
    status, wall, cpu, peak = done.stdout.split()
    if status != "0":
        raise CommandFailedError(command, int(status), done.stderr)
    return Cost(float(wall), float(cpu), int(peak))


def median(costs: Sequence[Cost]) -> Cost:
    """Median of each figure on its own."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        round(statistics.median(cost.peak for cost in costs)),
    )


def warm(path: Path) -> None:
    """Read a file once, so that every command finds it in the page cache."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
