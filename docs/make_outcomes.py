"""Writes docs/outcomes.md from the rules, the dialects and the guide, so that it cannot differ.

python docs/make_outcomes.py           # write it
python docs/make_outcomes.py --check   # exit 1 when the file is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from sipwatch.outcomes.calls import CALL_RULES
from sipwatch.outcomes.cancel import CANCEL_RULES
from sipwatch.outcomes.dialect import CancelLine, Dialect, FinalLine, load_dialects
from sipwatch.outcomes.guide import Guide, Texts
from sipwatch.outcomes.rules import RULES
from sipwatch.outcomes.taxonomy import DETAILS, OUTCOMES, Q850_OUTCOME

TARGET = Path(__file__).with_name("outcomes.md")

INTRODUCTION = """# How each verdict comes about

This page is written by `docs/make_outcomes.py` from the rules that run; do not edit it.

Every attempt gets exactly one outcome. The rules are asked in their order and the first that
holds decides; its number stands in `sipwatch explain`. `confidence` says what the verdict rests
on: `explicit` (the wire says it), `correlated` (another leg of the same call says it), `inferred`
(timing says it). The evidence of a verdict lists the facts with their times, so that a person can
check it from the evidence alone.
"""


def main() -> int:
    """Write the page, or compare it."""
    text = page()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.name} is not up to date: python docs/make_outcomes.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, _outcomes(), _attempts(), _cancels(), _dialects(), _causes(), _calls()]
    return "\n".join(parts)


def _outcomes() -> str:
    guide = Guide(Texts.load("en"))
    lines = ["## Outcomes", "", "| outcome | category | Q.850 | name | details | in short |"]
    lines.append("|---|---|---|---|---|---|")
    for outcome in OUTCOMES:
        causes = ", ".join(map(str, outcome.q850)) or "-"
        details = ", ".join(f"`{name}`" for name in DETAILS.get(outcome.name, ())) or "-"
        entry = guide.entry(outcome.name)
        level = " (calls only)" if outcome.level == "call" else ""
        lines.append(
            f"| `{outcome.name}`{level} | {outcome.category or '-'} | {causes} | {outcome.title} "
            f"| {details} | {_cell(entry.summary)} |"
        )
    return "\n".join(lines) + "\n"


def _attempts() -> str:
    lines = [
        "## One attempt",
        "",
        "Rang means a 180 in rules 8 to 10 and a 180 or 183 in rules 11 and 12.",
        "",
        "| rule | when |",
        "|---|---|",
    ]
    lines += [f"| {rule.number} | {_cell(rule.when)} |" for rule in RULES]
    return "\n".join(lines) + "\n"


def _cancels() -> str:
    lines = [
        "## Rule 13: a cancelled attempt (5.1)",
        "",
        "| rule | when |",
        "|---|---|",
    ]
    lines += [f"| 5.1/{rule.number} | {_cell(rule.when)} |" for rule in CANCEL_RULES]
    return "\n".join(lines) + "\n"


def _dialects() -> str:
    lines = ["## Dialects", "", "What a status or cause means depends on who says it."]
    for dialect in load_dialects().values():
        lines += ["", f"### {dialect.name}", "", *_dialect(dialect)]
    return "\n".join(lines) + "\n"


def _dialect(dialect: Dialect) -> list[str]:
    names = ", ".join(f"`{pattern.pattern}`" for pattern in dialect.user_agents)
    lines = [f"Known by Server or User-Agent: {names}.", "", "| on the wire | means |", "|---|---|"]
    lines += [f"| {_cell(line.line)} | {_final(line)} |" for line in dialect.finals]
    lines += [f"| {_cell(line.line)} | {_cancel(line)} |" for line in dialect.cancels]
    return lines


def _final(line: FinalLine) -> str:
    detail = f"/`{line.detail}`" if line.detail else ""
    return f"`{line.outcome}`{detail} ({line.confidence})"


def _cancel(line: CancelLine) -> str:
    meanings = {
        "caller": "the caller gave up, when he is seen leaving or is not in view",
        "ring_timer": "a ring timer of the PBX: by what the device had done",
        "no_progress": "`device_not_responding`, or `connection_timeout`/`after_trying`",
        "rerouted": "`redirected`/`rerouted`",
    }
    return f"{meanings[line.meaning]} ({line.confidence})"


def _causes() -> str:
    lines = ["## Rule 4: Q.850 causes", "", "| cause | outcome |", "|---|---|"]
    for cause, (outcome, detail) in sorted(Q850_OUTCOME.items()):
        lines.append(f"| {cause} | `{outcome}`" + (f"/`{detail}`" if detail else "") + " |")
    return "\n".join(lines) + "\n"


def _calls() -> str:
    lines = ["## A call", "", "| rule | when |", "|---|---|"]
    lines += [f"| call/{rule.number} | {_cell(rule.when)} |" for rule in CALL_RULES]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
