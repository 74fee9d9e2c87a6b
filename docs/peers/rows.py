"""One row for each attempt of captures with a truth: the truth, sipwatch, and the others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from peers import codes, sngrep, wireshark
from sipwatch.calls.types import Attempt
from sipwatch.cli.reading import batches
from sipwatch.config import Config
from sipwatch.outcomes.taxonomy import CATEGORY
from sipwatch.pipeline import Replay
from sipwatch.sinks.record import attempt_record

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "pcaps"))
from truths import Expected, Recorded, recorded

#: What is said of a Call-ID that a program does not list as a call.
NOT_LISTED = "not listed"
_SIDE_OF = {"user": codes.PEOPLE, "technical": codes.TECHNOLOGY}

#: Literally, Wireshark's and sngrep's words name no technology; one of sngrep's names a person.
_LITERALLY = {"sngrep": {"BUSY": codes.PEOPLE}, "wireshark": {}, "code": codes.SIDES}
READINGS = ("sipwatch", "code", "sngrep", "wireshark")


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt; `expected` is None where nobody wrote down what happened."""

    capture: str
    expected: Expected | None
    outcome: str
    detail: str | None
    code: int | None
    sngrep: str
    wireshark: str

    @property
    def truth_side(self) -> str:
        """Whose doing it was."""
        return side_of(self.truth.partition("/")[0])

    @property
    def truth(self) -> str:
        """The expected outcome; "" where it is not known."""
        return self.expected.outcome if self.expected else ""

    @property
    def fact(self) -> str:
        """What happened, in a sentence."""
        return self.expected.fact if self.expected else ""

    @property
    def acceptable(self) -> tuple[str, ...]:
        """What else the truth allows, where this leg alone cannot tell."""
        return self.expected.acceptable if self.expected else ()

    @property
    def said(self) -> str:
        """sipwatch's verdict: `outcome` or `outcome/detail`."""
        return f"{self.outcome}/{self.detail}" if self.detail else self.outcome

    def word(self, reading: str) -> str:
        """What one of READINGS says."""
        if reading == "sipwatch":
            return self.outcome
        if reading == "code":
            return codes.word_of(self.code)
        return self.sngrep if reading == "sngrep" else self.wireshark

    def side(self, reading: str) -> str:
        """The side that its word names, taken literally."""
        word = self.word(reading)
        if reading == "sipwatch":
            return side_of(word)
        return _LITERALLY[reading].get(word, codes.NEITHER)


def side_of(outcome: str) -> str:
    """The side of an outcome of the taxonomy."""
    return _SIDE_OF.get(CATEGORY.get(outcome) or "", codes.NEITHER)


def rows_of(folders: Sequence[Path], *, without: str = "", only: str = "*") -> list[Row]:
    """All attempts of the captures in these folders, in order; patterns of names narrow them.

    Raises MissingProgramError and ProgramError.
    """
    captures = [
        capture
        for folder in folders
        for capture in recorded(folder)
        if _wanted(capture, without, only)
    ]
    messages = wireshark.messages_of([capture.path for capture in captures])
    dialogs = {path: wireshark.call_ids_of(found) for path, found in messages.items()}
    by_sngrep = sngrep.call_states({path: found for path, found in dialogs.items() if found})
    rows: list[Row] = []
    for capture in captures:
        states = wireshark.voip_states(messages[capture.path])
        rows += _of_capture(capture, by_sngrep.get(capture.path, {}), states)
    return rows


def rows_without_truth(
    path: Path, by_sngrep: dict[str, str], by_wireshark: dict[str, str]
) -> list[Row]:
    """All attempts of a capture of which nothing else is known."""
    return [
        _row(path.name, None, attempt, by_sngrep, by_wireshark)
        for attempts, _ in batches(Replay([str(path)], Config()), progress=False)
        for attempt in attempts
    ]


def _wanted(capture: Recorded, without: str, only: str) -> bool:
    return fnmatch(capture.name, only) and not (without and fnmatch(capture.name, without))


def _of_capture(
    capture: Recorded, by_sngrep: dict[str, str], by_wireshark: dict[str, str]
) -> list[Row]:
    rows = [
        (expected, _row(capture.name, expected, attempt, by_sngrep, by_wireshark))
        for attempts, _ in batches(Replay([str(capture.path)], capture.config), progress=False)
        for attempt in attempts
        if (expected := capture.expected_of(attempt)) is not None
    ]
    order = {id(one): place for place, one in enumerate(capture.attempts)}
    return [row for _, row in sorted(rows, key=lambda pair: order[id(pair[0])])]


def _row(
    capture: str,
    expected: Expected | None,
    attempt: Attempt,
    by_sngrep: dict[str, str],
    by_wireshark: dict[str, str],
) -> Row:
    record = attempt_record(attempt)
    call_id = record["call_id"]
    return Row(
        capture,
        expected,
        record["outcome"],
        record["detail"],
        record["code"],
        by_sngrep.get(call_id, NOT_LISTED),
        by_wireshark.get(call_id, NOT_LISTED),
    )
