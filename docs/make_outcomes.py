"""Writes docs/outcomes.md from the rules, the dialects and the guide, so that it cannot differ.

python docs/make_outcomes.py           # write it
python docs/make_outcomes.py --check   # exit 1 when the file is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from sipwatch.config import CORRELATION_RULES
from sipwatch.outcomes.calls import CALL_RULES
from sipwatch.outcomes.cancel import CANCEL_RULES
from sipwatch.outcomes.dialect import CancelLine, Dialect, FinalLine, Mark, load_dialects
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
    parts = [INTRODUCTION, _outcomes(), _attempts(), _cancels(), _dialects(), _causes()]
    parts += [_correlation(), _calls()]
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
    known = [f"Known by Server or User-Agent: {names}."]
    if dialect.headers:
        known.append(f"Or by a header: {', '.join(f'`{name}`' for name in dialect.headers)}.")
    known += [f"Where that is hidden or changed, by {_mark(mark)}." for mark in dialect.marks]
    lines = [*known, "", "| on the wire | means |", "|---|---|"]
    lines += [f"| {_cell(line.line)} | {_final(line)} |" for line in dialect.finals]
    lines += [f"| {_cell(line.line)} | {_cancel(line)} |" for line in dialect.cancels]
    return lines


def _mark(mark: Mark) -> str:
    parts = [f"{name} `{pattern.pattern}`" for name, pattern in mark.headers]
    if mark.tag is not None:
        parts.append(f"its tag `{mark.tag.pattern}`")
    return " with ".join(parts)


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


#: What each name in `[correlation] disabled` switches off.
CORRELATION = {
    "call_id": "the same Call-ID on another hop or branch: forks, spirals, and the next hop",
    "session_id": "the same Session-ID (RFC 7989) on both legs",
    "headers": "the same value in one of `[correlation] headers`",
    "replaces": "a Replaces header (RFC 3891) that names a dialog of the call",
    "referred_by": "a Referred-By header (RFC 3892) that names somebody of the call",
    "diversion": "Diversion or History-Info (RFC 5806, 7044) that name a number of the call",
    "identity": "the same caller in From, P-Asserted-Identity or Remote-Party-ID, compared as "
    "the last seven digits; a display name where the number is hidden",
    "time": "the leg begins promptly after what may cause it: the caller's INVITE, his answer by "
    "a queue or menu, the end of another leg, a REFER",
    "party_id": "the PBX names the agent to the caller (Remote-Party-ID, P-Asserted-Identity)",
    "sdp_origin": "the same origin line in both SDPs: the PBX passes media by",
    "ends": "answers and ends of both legs at the same moment; speaks against a pair whose leg "
    "goes on for more than a second after its caller's",
    "route": "a habit of the dialplan: once three pairs of a called number were certain, it is "
    "known which agents it leads to, and among several callers that fit, one who called a number "
    "that leads to this agent fits better, one whose number leads to others less well",
    "siblings": "legs of one caller who is out of view, begun within 50 ms for different targets",
    "pickup": "a phone's call to a feature code that is answered in the moment in which another "
    "caller's agent's leg is cancelled as completed elsewhere",
}


def _correlation() -> str:
    lines = [
        "## Which legs are one call",
        "",
        "What speaks for a caller's leg is added up, and what speaks against it taken off. Two "
        "callers that fit equally are said (`ambiguous`), not chosen from. Each rule can be "
        "switched off by its name in `[correlation] disabled`.",
        "",
        "| rule | what it looks at |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | {_cell(CORRELATION[name])} |" for name in CORRELATION_RULES]
    return "\n".join(lines) + "\n"


def _calls() -> str:
    lines = ["## A call", "", "| rule | when |", "|---|---|"]
    lines += [f"| call/{rule.number} | {_cell(rule.when)} |" for rule in CALL_RULES]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
