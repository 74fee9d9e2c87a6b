"""Captures of real PBXs, against what the parties did and the PBX's own account."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sipwatch.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from score import Score, compare, load, settings

ROOT = Path(__file__).resolve().parents[2]
OWN = sorted(path.parent for path in (ROOT / "pcaps/pbx").glob("*/truth.json"))
SHARED = ROOT.parent / "shared/captures"
FOLDERS = OWN + [
    SHARED / name for name in ("asterisk", "freeswitch") if (SHARED / name / "truth.json").exists()
]
# What is asked of the rules on traffic they have not seen, and so of them on this as well.
ATTEMPTS_RIGHT, CALLS_RIGHT = 0.995, 0.99


@cache
def truth_of(folder: Path) -> dict[str, Any]:
    return load(folder)


def records(capture: Path, config: Path, *more: str) -> list[dict[str, Any]]:
    arguments = ["replay", str(capture), "--format", "jsonl", "--config", str(config), *more]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Scores a capture, each once in a run."""
    folder_of_configs = tmp_path_factory.mktemp("config")

    @cache
    def score(folder: Path, name: str) -> Score:
        truth = truth_of(folder)
        config = folder_of_configs / f"{folder.name}-{name}.toml"
        config.write_text(settings(truth, name))
        capture = truth["captures"][name]
        path = folder / capture["pcap"]
        return compare(name, capture, records(path, config), records(path, config, "--calls"))

    return score


def test_there_are_recordings_of_our_own() -> None:
    names = {folder.name for folder in OWN}
    assert {"asterisk", "kamailio", "sippy"} <= names
    hours = [
        name
        for name in truth_of(ROOT / "pcaps/pbx/asterisk")["captures"]
        if name.startswith("busy-hour")
    ]
    assert len(hours) >= 3


@pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}"
)
def test_enough_is_right_and_nobody_is_blamed_for_technology(folder: Path, scored: Any) -> None:
    total = Score()
    for name in truth_of(folder)["captures"]:
        total.add(scored(folder, name))
    report = "\n".join([*map(str, total.misses), total.summary()])
    assert total.attempts > 0, folder
    assert not total.confused, report
    assert total.wrong("attempt") <= (1 - ATTEMPTS_RIGHT) * total.attempts, report
    assert total.wrong("call") <= (1 - CALLS_RIGHT) * total.calls, report


SMALL = [
    pytest.param(folder, name, id=f"{folder.parent.name}-{folder.name}-{name}")
    for folder in FOLDERS
    for name in truth_of(folder)["captures"]
    if not name.startswith("busy-hour")
]


@pytest.mark.parametrize(("folder", "name"), SMALL)
def test_small_capture_is_judged_as_it_happened(folder: Path, name: str, scored: Any) -> None:
    score = scored(folder, name)
    assert not score.misses, "\n".join(map(str, score.misses))
