"""The page of other readings: up to date, and the readings themselves as their programs work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
from peers.codes import NEITHER, PEOPLE, TECHNOLOGY, word_of
from peers.rows import Row
from peers.tables import at_best, matrix, misses, sides
from peers.wireshark import SipMessage, voip_states
from truths import Expected

ROOT = Path(__file__).resolve().parents[2]
CALLER, CALLED, SECOND = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def make(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        [sys.executable, "docs/make_confusion.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_page_is_up_to_date() -> None:
    done = make("--check")
    assert done.returncode == 0, done.stderr


def test_missing_programs_are_named(tmp_path: Path) -> None:
    done = make("--check", path=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "apt-get install tshark wireshark-common" in done.stderr


# --- Wireshark's VoIP Calls dialog --------------------------------------------------------------


def call(*steps: str, to: str = CALLED) -> list[SipMessage]:
    """`INVITE`, `486`, `< BYE` (from the called side) and so on, CSeq number after a slash."""
    messages = []
    for number, step in enumerate(steps, 1):
        what, _, cseq = step.removeprefix("< ").partition("/")
        status = int(what) if what.isdigit() else 0
        backwards = bool(status) != step.startswith("< ")
        source, destination = (to, CALLER) if backwards else (CALLER, to)
        method = "INVITE" if status else what
        messages.append(
            SipMessage(
                number, float(number), source, destination, method, status, "c", int(cseq or 1),
                "b", "",
            )
        )  # fmt: skip
    return messages


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        (["INVITE"], "CALL SETUP"),
        (["INVITE", "100", "180"], "CALL SETUP"),
        (["INVITE", "180", "486", "ACK"], "REJECTED"),
        (["INVITE", "302", "ACK"], "REJECTED"),
        (["INVITE", "180", "CANCEL", "487", "ACK"], "CANCELLED"),
        (["INVITE", "200"], "CALL SETUP"),
        (["INVITE", "200", "ACK"], "IN CALL"),
        (["INVITE", "200", "ACK", "BYE/2"], "COMPLETED"),
        (["INVITE", "200", "ACK", "< BYE"], "COMPLETED"),
        # A BYE ends a call that was never answered as well.
        (["INVITE", "180", "CANCEL", "BYE/2"], "COMPLETED"),
        (["INVITE", "407", "ACK", "INVITE/2"], "CALL SETUP"),
        (["INVITE", "407", "ACK", "INVITE/2", "200/2", "ACK/2"], "IN CALL"),
        # An answer that crosses the CANCEL stays cancelled until the BYE.
        (["INVITE", "180", "CANCEL", "200", "ACK"], "CANCELLED"),
        # A re-INVITE of the caller begins anew; one of the called side does not.
        (["INVITE", "200", "ACK", "INVITE/2"], "CALL SETUP"),
        (["INVITE", "200", "ACK", "< INVITE/7"], "IN CALL"),
        # An answer to another CSeq number is none.
        (["INVITE", "486/9"], "CALL SETUP"),
    ],
    ids=" ".join,
)
def test_the_dialogs_state(steps: list[str], state: str) -> None:
    assert voip_states(call(*steps)) == {"c": state}


def test_branches_of_a_fork_share_one_state() -> None:
    first = call("INVITE", "180", "CANCEL", "487")
    second = call("INVITE", "200", "ACK", to=SECOND)
    assert voip_states([*first[:2], *second[:2], *first[2:], second[2]]) == {"c": "CANCELLED"}


def test_what_begins_without_an_invite_is_no_call() -> None:
    assert voip_states(call("BYE", "200")) == {}
    assert voip_states(call("180", "200")) == {}


# --- codes and tables ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (None, "no final response"), (200, "answered"), (302, "redirected"), (403, "forbidden"),
        (404, "not found"), (408, "timeout"), (480, "unavailable"), (486, "busy"),
        (487, "cancelled"), (503, "server failure"), (504, "server timeout"), (600, "busy"),
        (603, "declined"), (699, "other failure"),
    ],
)  # fmt: skip
def test_words_of_codes(status: int | None, word: str) -> None:
    assert word_of(status) == word


def row(truth: str, said: str, code: int | None, sngrep: str = "CANCELLED") -> Row:
    expected = Expected("c", CALLER, CALLED, 1, f"{truth} happened", truth, ())
    outcome, _, detail = said.partition("/")
    return Row("capture", expected, outcome, detail or None, code, sngrep, "CANCELLED")


ROWS = [
    row("agent_busy", "agent_busy", 486, "BUSY"),
    row("declined/manual", "declined/manual", 486, "BUSY"),
    row("no_answer", "no_answer", 487),
    row("no_answer", "abandoned", 487),
    row("device_not_responding", "device_not_responding", None, "CALL SETUP"),
    row("connection_timeout/after_ringing", "connection_timeout/after_ringing", 487),
    row("connection_timeout/server_timeout", "no_answer", 603),
    row("abandoned", "abandoned", 487),
    row("answered", "answered", 200),
]


def test_sides_of_truth_and_words() -> None:
    assert [one.truth_side for one in ROWS] == [PEOPLE] * 4 + [TECHNOLOGY] * 3 + [NEITHER] * 2
    by_code = [one.side("code") for one in ROWS[:7]]
    assert by_code == [PEOPLE, PEOPLE, NEITHER, NEITHER, TECHNOLOGY, NEITHER, PEOPLE]


def test_the_table_of_sides() -> None:
    lines = sides(ROWS).splitlines()
    assert lines[0] == "7 attempts: 4 of people, 3 of technology."
    cells = {line.split(" | ")[0]: line.split(" | ")[1:] for line in lines[4:]}
    assert [cell.split()[0] for cell in cells["| sipwatch"]] == ["5", "1", "1", "1"]
    # 487 stands for two of people and one of technology: one is wrong whatever it is taken for.
    assert [cell.split()[0] for cell in cells["| code"]] == ["3", "1", "3", "1"]
    assert [cell.split()[0] for cell in cells["| sngrep"]] == ["2", "0", "5", "2"]
    assert [cell.split()[0] for cell in cells["| Wireshark"]] == ["0", "0", "7", "3"]


def test_no_reading_does_better_than_the_majority_of_each_word() -> None:
    asked = [one for one in ROWS if one.truth_side != NEITHER]
    assert at_best(asked, "wireshark") == 3
    assert at_best(asked, "code") == 1
    assert at_best([], "code") == 0


def test_the_matrix_counts_every_attempt_once() -> None:
    cells = [
        cell.strip()
        for line in matrix(ROWS, "sngrep").splitlines()[4:]
        for cell in line.strip("|").split("|")[1:]
    ]
    assert sum(int(cell) for cell in cells if cell) == len(ROWS)


def test_own_misses_are_listed() -> None:
    text = misses(ROWS)
    assert "| `no_answer` | `abandoned` | 1 |" in text
    assert "| `connection_timeout/server_timeout` | `no_answer` | 1 |" in text
    assert text.count("\n") == 4
    assert misses(ROWS[:3]) == "None.\n"
