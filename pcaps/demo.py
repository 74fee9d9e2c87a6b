"""Replays every recorded capture of this folder, each as the host that it was recorded on.

    python pcaps/demo.py

One report over all of them, one call explained, and the count of verdicts that are what the
scenario did; exit status 1 when one is not. `sipwatch replay pcaps` reads the same files as the
traffic of one host, which they are not: in a capture of your own they would be.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from truths import Recorded, recorded

from sipwatch.calls.types import Attempt
from sipwatch.cli.reading import batches
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
    total, wrong = 0, []
    captures = {one.name: one for one in recorded(FOLDER)}
    for capture in captures.values():
        replay = Replay([_shown(capture.path)], capture.config)
        for attempt in _attempts(replay):
            summary.attempt(attempt)
            total += 1
            if not is_as_recorded(attempt, capture):
                wrong.append(f"{capture.path.name}, packet {attempt.packet}")
        reading.add(Reading.of(replay))
    print_report(console_for(sys.stdout), summary, reading, Texts.load(default_language()), None)
    _explain(captures[EXPLAINED])
    _say(f"{total - len(wrong)} of {total} verdicts are what the recorded scenarios did")
    _say("(pcaps/README.md; the truth of each capture stands in its .truth.json).")
    for place in wrong:
        _say(f"not as recorded: {place}")
    return 1 if wrong else 0


def is_as_recorded(attempt: Attempt, capture: Recorded) -> bool:
    """Whether the verdict is what the scenario did."""
    expected, verdict = capture.expected_of(attempt), attempt.verdict
    if expected is None:
        return False
    if verdict is None:
        return expected.matches("in_progress", None)
    return expected.matches(verdict.outcome, verdict.detail)


def _attempts(replay: Replay) -> Iterator[Attempt]:
    for attempts, _ in batches(replay, progress=False):
        yield from attempts


def _explain(capture: Recorded) -> None:
    """Runs the command that a user would type."""
    command = ["explain", capture.attempts[0].call_id, _shown(capture.path)]
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
