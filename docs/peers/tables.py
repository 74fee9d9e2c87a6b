"""The tables of docs/confusion.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from peers.codes import NEITHER, PEOPLE, TECHNOLOGY
from peers.rows import READINGS, Row
from sipwatch.outcomes.taxonomy import OUTCOMES

NAMES = {"sipwatch": "sipwatch", "code": "code", "sngrep": "sngrep", "wireshark": "Wireshark"}

#: Capture and expected outcome; the first attempt that fits.
CHOSEN = (
    ("busy-486-at-once", "agent_busy"),
    ("reject-486-after-3s", "declined/manual"),
    ("no-answer-486-after-30s", "no_answer"),
    ("unavailable-480-at-once", "unavailable"),
    ("dnd-480-named-phone", "declined/automatic"),
    ("no-answer-480-after-12s", "no_answer"),
    ("timeout-408-no-ringing", "device_not_responding"),
    ("no-answer-408-after-12s", "no_answer"),
    ("reject-603-after-3s", "declined/manual"),
    ("ring-timeout-10--trunkside", "no_answer"),
    ("closed-port-9", "device_not_responding"),
    ("phone-504", "connection_timeout/server_timeout"),
    ("at-once-603", "declined/automatic"),
    ("refused-403-agents-known", "rejection_list"),
    ("abandoned-after-9s", "abandoned"),
    ("ring-timeout-10--agentside", "no_answer"),
    ("ring-all-one-answers", "redirected/answered_elsewhere"),
    ("lost-after-ringing", "connection_timeout/after_ringing"),
    ("cancelled-after-trying-9s", "connection_timeout/after_trying"),
    ("silent-device", "device_not_responding"),
    ("fork-one-silent", "device_not_responding"),
    ("caller-never-acks", "connection_timeout/no_ack"),
    ("group-busy-after", "no_answer"),
    ("gateway-causes", "not_found"),
)


def sides(rows: Sequence[Row]) -> str:
    """How often each reading tells people from technology."""
    asked = [row for row in rows if row.truth_side != NEITHER]
    people = sum(row.truth_side == PEOPLE for row in asked)
    lines = [
        f"{len(asked):,} attempts: {people:,} of people, {len(asked) - people:,} of technology.",
        "",
        "| reading | names the right side | names the other side | names neither | wrong at best |",
        "|---|---:|---:|---:|---:|",
    ]
    for reading in READINGS:
        said = Counter(_judged(row, reading) for row in asked)
        numbers = [said[key] for key in ("right", "other", NEITHER)] + [at_best(asked, reading)]
        shares = " | ".join(f"{n:,} ({n / len(asked):.1%})" for n in numbers)
        lines.append(f"| {NAMES[reading]} | {shares} |")
    return "\n".join(lines) + "\n"


def at_best(rows: Iterable[Row], reading: str) -> int:
    """Attempts that no fixed meaning of the reading's words puts on the right side."""
    words: dict[str, Counter[str]] = {}
    for row in rows:
        words.setdefault(row.word(reading), Counter())[row.truth_side] += 1
    return sum(min(found[PEOPLE], found[TECHNOLOGY]) for found in words.values())


def _judged(row: Row, reading: str) -> str:
    side = row.side(reading)
    if side == NEITHER:
        return NEITHER
    return "right" if side == row.truth_side else "other"


def matrix(rows: Sequence[Row], reading: str, heading: str = "###") -> str:
    """sipwatch's outcomes by the words of another reading."""
    counts = Counter((row.outcome, row.word(reading)) for row in rows)
    words = [word for word, _ in Counter(row.word(reading) for row in rows).most_common()]
    words.sort(key=lambda word: (-sum(counts[o.name, word] for o in OUTCOMES), word))
    lines = [
        f"{heading} {NAMES[reading]}",
        "",
        "| sipwatch | " + " | ".join(words) + " |",
        "|---|" + "---:|" * len(words),
    ]
    for outcome in OUTCOMES:
        numbers = [counts[outcome.name, word] for word in words]
        if any(numbers):
            cells = " | ".join(f"{number:,}" if number else "" for number in numbers)
            lines.append(f"| `{outcome.name}` | {cells} |")
    return "\n".join(lines) + "\n"


def instructive(rows: Sequence[Row]) -> str:
    """The captures that show best how a word misleads. Raises LookupError for one that has gone."""
    lines = [
        "| capture | what happened | sipwatch | code | sngrep | Wireshark |",
        "|---|---|---|---|---|---|",
    ]
    for capture, outcome in CHOSEN:
        row = next((r for r in rows if r.capture == capture and r.truth == outcome), None)
        if row is None:
            raise LookupError(f"no attempt of {capture} is expected to be {outcome}")
        status = "-" if row.code is None else str(row.code)
        lines.append(
            f"| {capture} | {_cell(row.fact)} | `{row.said}` "
            f"| {status} {row.word('code')} | {row.sngrep} | {row.wireshark} |"
        )
    return "\n".join(lines) + "\n"


def misses(rows: Sequence[Row]) -> str:
    """What sipwatch itself gets wrong about people and technology."""
    wrong = [r for r in rows if r.truth_side != NEITHER and r.side("sipwatch") != r.truth_side]
    if not wrong:
        return "None.\n"
    kinds = Counter((r.capture, r.fact, r.truth, r.acceptable, r.said) for r in wrong)
    lines = ["| capture | what happened | truth | sipwatch | attempts |", "|---|---|---|---|---:|"]
    for (capture, fact, truth, acceptable, said), count in kinds.items():
        allowed = "".join(f", or `{other}`" for other in acceptable)
        lines.append(f"| {capture} | {_cell(fact)} | `{truth}`{allowed} | `{said}` | {count} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
