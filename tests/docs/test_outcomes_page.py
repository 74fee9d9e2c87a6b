"""The page of outcomes is what the rules, the dialects and the guide would write today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sipwatch.config import CORRELATION_RULES

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make_outcomes.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_outcome_and_rule_of_the_specification_is_on_it() -> None:
    text = (ROOT / "docs" / "outcomes.md").read_text(encoding="utf-8")
    for outcome in (
        "answered agent_busy no_answer declined device_not_responding connection_timeout "
        "unavailable redirected abandoned briefly_abandoned rejection_list outside_hours callback "
        "handled_by_system not_found unauthorized not_acceptable server_failure other_failure "
        "in_progress incomplete"
    ).split():
        assert f"| `{outcome}`" in text
    for rule in "0 1 2 2b 3 3a 3b 3c 4 5 6 7 8 8b 9 10 11 11b 11c 11d 12 12b 13b 14 15 16".split():
        assert f"| {rule} |" in text
    for rule in "0 0b 1 2 3 4 5 5b 6".split():
        assert f"| 5.1/{rule} |" in text
    for rule in CORRELATION_RULES:
        assert f"| `{rule}` | " in text
    for rule in range(1, 8):
        assert f"| call/{rule} |" in text
