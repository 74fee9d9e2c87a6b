"""The calls of `tests/sinks/call_flows.py` are used here too; reports are as wide as in a file."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "sinks"))
sys.path.append(str(Path(__file__).parents[1] / "devices"))


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The width of the terminal that the tests were started in is of no account."""
    monkeypatch.delenv("COLUMNS", raising=False)
