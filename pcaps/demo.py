"""Replays every recorded capture of this folder, each as the host that it was recorded on.

    python pcaps/demo.py

One report over all of them, one call explained, and the count of verdicts that are what the
scenario did; exit status 1 when one is not. `sipwatch replay pcaps` reads the same files as the
traffic of one host, which they are not: in a capture of your own they would be.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sipwatch.calls.types import Attempt
from sipwatch.cli.reading import batches
from sipwatch.config import Config, parse_toml
from sipwatch.outcomes.guide.texts import Texts, default_language
from sipwatch.pipeline import Replay
from sipwatch.report.console import console_for
from sipwatch.report.reading import Reading
from sipwatch.report.summary import Summary
from sipwatch.report.table import print_report

FOLDER = Path(__file__).parent
#: The call that is explained: a status that says one thing where the phone's user did another.
EXPLAINED = "reject-486-after-3s"


def main() -> int:
    """Print it all; the exit status."""
    summary, reading = Summary(), Reading()
    attempts, wrong = 0, []
    for path in sorted(FOLDER.glob("*.truth.json")):
        truth = json.loads(path.read_text(encoding="utf-8"))
        replay = Replay([_shown(FOLDER / truth["pcap"])], configuration(truth))
        for attempt in _attempts(replay):
            summary.attempt(attempt)
            attempts += 1
            if not is_as_recorded(attempt, truth):
                wrong.append(f"{truth['pcap']}, packet {attempt.packet}")
        reading.add(Reading.of(replay))
    console = console_for(sys.stdout)
    print_report(console, summary, reading, Texts.load(default_language()), None)
    _explain(json.loads((FOLDER / f"{EXPLAINED}.truth.json").read_text(encoding="utf-8")))
    _say(f"{attempts - len(wrong)} of {attempts} verdicts are what the recorded scenarios did")
    _say("(pcaps/README.md; the truth of each capture stands in its .truth.json).")
    for place in wrong:
        _say(f"not as recorded: {place}")
    return 1 if wrong else 0


def configuration(truth: dict[str, Any]) -> Config:
    """What the scenario says of the host that was watched."""
    top = {"local_addresses": truth["local_addresses"], **truth.get("config", {})}
    # Strings, numbers and lists of them look the same in JSON and in TOML.
    lines = [f"{key} = {json.dumps(v)}" for key, v in top.items() if not isinstance(v, dict)]
    for table, values in top.items():
        if isinstance(values, dict):
            lines.append(f"[{table}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return parse_toml("\n".join(lines), truth["pcap"])


def is_as_recorded(attempt: Attempt, truth: dict[str, Any]) -> bool:
    """Whether the verdict is what the scenario did, by the packet that the attempt began with."""
    verdict = attempt.verdict
    outcome = verdict.outcome if verdict else "in_progress"
    said = (outcome, f"{outcome}/{verdict.detail}" if verdict and verdict.detail else outcome)
    for expected in truth["attempts"]:
        if expected["first_packet"] == attempt.packet:
            return any(each in said for each in (expected["expected"], *expected["acceptable"]))
    return False


def _attempts(replay: Replay) -> Iterator[Attempt]:
    for attempts, _ in batches(replay, progress=False):
        yield from attempts


def _explain(truth: dict[str, Any]) -> None:
    """Runs the command that a user would type."""
    command = ["explain", truth["attempts"][0]["call_id"], _shown(FOLDER / truth["pcap"])]
    _say(f"\n$ sipwatch {' '.join(command)}")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "sipwatch", *command], check=True)


def _shown(path: Path) -> str:
    """The path as a user would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
