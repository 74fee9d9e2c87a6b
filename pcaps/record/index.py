"""What lists all captures: the table of ``pcaps/README.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import scenarios

BEGIN, END = "<!-- captures -->", "<!-- end of captures -->"


def write(folder: Path) -> None:
    """Replace the table between the two marks."""
    truths = [
        json.loads((folder / f"{scenario.name}.truth.json").read_text())
        for scenario in scenarios.ALL
    ]
    page = folder / "README.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table(truths)}{END}{after}")


def table(truths: list[dict[str, Any]]) -> str:
    """Markdown: one row for each capture, in the order of the definitions."""
    lines = [
        "| capture | what happened | expected of its attempts | played by |",
        "|---|---|---|---|",
    ]
    for truth in truths:
        attempts = ", ".join(_runs([a["expected"] for a in truth["attempts"]])) or "none"
        tools = ", ".join(name for name in truth["recorded_with"] if name != "tcpdump")
        name = truth["pcap"]
        lines.append(f"| [{name}]({name}) | {truth['fact']} | {attempts} | {tools} |")
    return "\n".join(lines) + "\n"


def _runs(outcomes: list[str]) -> list[str]:
    """Outcomes in order, repetitions counted."""
    runs: list[tuple[str, int]] = []
    for outcome in outcomes:
        if runs and runs[-1][0] == outcome:
            runs[-1] = (outcome, runs[-1][1] + 1)
        else:
            runs.append((outcome, 1))
    return [f"{outcome} ×{count}" if count > 1 else outcome for outcome, count in runs]
