"""What lists all captures: the table of ``pcaps/README.md`` and ``pcaps/demo.toml``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import scenarios

BEGIN, END = "<!-- captures -->", "<!-- end of captures -->"


def write(folder: Path) -> None:
    """Replace the table between the two marks, and the configuration of the demo."""
    truths = [
        json.loads((folder / f"{scenario.name}.truth.json").read_text())
        for scenario in scenarios.ALL
    ]
    page = folder / "README.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table(truths)}{END}{after}")
    (folder / "demo.toml").write_text(configuration(truths))


def configuration(truths: list[dict[str, Any]]) -> str:
    """TOML that names every PBX of the captures, to replay them all together."""
    addresses = sorted({address for truth in truths for address in truth["local_addresses"]})
    rows = [addresses[start : start + 6] for start in range(0, len(addresses), 6)]
    lines = ["    " + ", ".join(json.dumps(address) for address in row) + "," for row in rows]
    listed = "\n".join(lines)
    return (
        "# All captures of this folder at once. Each was recorded on a PBX of its own.\n"
        f"local_addresses = [\n{listed}\n]\n"
    )


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
