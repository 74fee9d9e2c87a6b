"""The calls of `tests/sinks/call_flows.py`, as capture files, and the command line on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.append(str(Path(__file__).parents[1] / "sinks"))

from call_flows import Leg, pcap

from sipwatch.cli import main


@pytest.fixture
def sipwatch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command line in this process, in English and without this shell's settings."""
    for name in ("SIPWATCH_CONFIG", "LC_ALL", "LC_MESSAGES", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")

    def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(main, list(map(str, arguments)), input=stdin)

    return run


@pytest.fixture
def capture(tmp_path: Path) -> Callable[[Sequence[Leg]], Path]:
    """Writes calls to a capture file."""

    def write(legs: Sequence[Leg], name: str = "calls.pcap") -> Path:
        path = tmp_path / name
        path.write_bytes(pcap(legs))
        return path

    return write
