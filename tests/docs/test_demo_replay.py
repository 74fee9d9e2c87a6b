"""The first half of `make demo`: it ends well, and it would say when a verdict is wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pcaps"))
import demo
from truths import recorded

ROOT = Path(__file__).resolve().parents[2]
PCAPS = ROOT / "pcaps"


def test_every_verdict_is_what_was_recorded() -> None:
    done = subprocess.run(
        [sys.executable, "pcaps/demo.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-500:]
    right, total = map(int, re.findall(r"^(\d+) of (\d+) verdicts", done.stdout, re.MULTILINE)[0])
    assert right == total == sum(len(capture.attempts) for capture in recorded(PCAPS))
    assert done.stdout.startswith("Why calls fail\n")
    assert f"$ sipwatch explain {demo_call_id()} pcaps/{demo.EXPLAINED}.pcap" in done.stdout
    assert "Message ladder" in done.stdout


def demo_call_id() -> str:
    truth = json.loads((PCAPS / f"{demo.EXPLAINED}.truth.json").read_text())
    call_id: str = truth["attempts"][0]["call_id"]
    return call_id


@pytest.mark.parametrize(
    ("change", "is_right"),
    [
        ({}, True),
        ({"expected": "agent_busy"}, False),
        ({"expected": "agent_busy", "acceptable": ["declined"]}, True),
        ({"expected": "declined/automatic"}, False),
        ({"call_id": "somebody else's"}, False),
    ],
)
def test_a_verdict_that_is_not_as_recorded_is_said(
    change: dict[str, object],
    is_right: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(PCAPS / f"{demo.EXPLAINED}.pcap", tmp_path)
    truth = json.loads((PCAPS / f"{demo.EXPLAINED}.truth.json").read_text())
    truth["attempts"][0].update(change)
    (tmp_path / f"{demo.EXPLAINED}.truth.json").write_text(json.dumps(truth))
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    monkeypatch.setattr(demo, "_explain", lambda capture: None)
    monkeypatch.chdir(tmp_path)
    assert demo.main() == (0 if is_right else 1)
    said = capsys.readouterr().out
    assert f"{int(is_right)} of 1 verdicts" in said
    assert (f"not as recorded: {demo.EXPLAINED}.pcap, packet 1" in said) is not is_right
