"""The page of differences lists what differs in the recorded PBX captures, and nothing else."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "recorded"))

from score import compare, load, replay, settings

ROOT = Path(__file__).resolve().parents[2]
_KEY = re.compile(r"\b[0-9a-f]{8}\b")


def listed() -> set[tuple[str, str]]:
    """Captures and the beginnings of Call-IDs on the page."""
    found = set()
    for line in (ROOT / "docs/differences.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1].startswith("busy-hour"):
            found |= {(cells[1], key) for key in _KEY.findall(cells[2])}
    return found


def test_the_page_lists_what_differs(tmp_path: Path) -> None:
    found = set()
    for folder in sorted((ROOT / "pcaps/pbx").glob("*/truth.json")):
        truth = load(folder.parent)
        for name, capture in truth["captures"].items():
            if not name.startswith("busy-hour"):
                continue  # these have no differences at all: see tests/recorded/test_pbx.py
            config = tmp_path / f"{name}.toml"
            config.write_text(settings(truth, name))
            path = folder.parent / capture["pcap"]
            attempts, calls = (replay(path, config, calls) for calls in (False, True))
            misses = compare(name, capture, attempts, calls).misses
            assert not any(miss.confused for miss in misses)
            found |= {(name, miss.key[:8]) for miss in misses}
    assert found == listed()


@pytest.mark.parametrize("words", ["No person is blamed for what technology"])
def test_it_says_what_the_test_above_holds(words: str) -> None:
    assert words in (ROOT / "docs/differences.md").read_text(encoding="utf-8")
