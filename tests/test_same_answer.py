"""The same answer, live and replayed: how packets are portioned and when time passes is no fact.

Every scenario and every recorded capture is fed one by one, in sevens, all at once, and as the
live path feeds them: with the clock going on every quarter of a second of an idle line. What is
said of attempts and calls must be identical, evidence included.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "scenarios"))
from play_runner import Outcome, fingerprint, run
from playbook import Item
from scenario_table import scenarios

from sipwatch.capture.files import CaptureFiles
from sipwatch.config import Config

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared/captures"
IDLE_SECONDS = 0.25
WAYS = {"sevens": (7, 0.0), "at once": (1_000_000, 0.0), "live": (1, IDLE_SECONDS),
        "live in sevens": (7, IDLE_SECONDS)}  # fmt: skip

ALL = scenarios()


@pytest.mark.parametrize("number", range(len(ALL)), ids=[s.id for s in ALL])
def test_scenario_is_judged_alike(number: int) -> None:
    scenario = ALL[number]
    plain = fingerprint(scenario.run())
    for way, (batch, idle) in WAYS.items():
        assert fingerprint(scenario.run(batch, idle)) == plain, way


def recorded() -> list[Path]:
    own = [path for path in (ROOT / "pcaps").rglob("*.pcap*") if path.suffix != ".json"]
    shared = [
        path for name in ("asterisk", "freeswitch") for path in (SHARED / name).glob("*.pcap")
    ]
    return sorted(own) + sorted(shared)


CAPTURES = recorded()


@cache
def packets(path: Path) -> list[Item]:
    return [item for batch in CaptureFiles([str(path)]).batches() for item in batch]


def judged(path: Path, batch: int, idle: float) -> Outcome:
    return run(packets(path), Config(), quiet=5.0, batch=batch, idle=idle)


def test_there_are_captures() -> None:
    assert len(CAPTURES) >= 50


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_capture_is_judged_alike(path: Path) -> None:
    plain = judged(path, 1, 0.0)
    wanted = fingerprint(plain)
    for way, (batch, idle) in WAYS.items():
        assert fingerprint(judged(path, batch, idle)) == wanted, way
