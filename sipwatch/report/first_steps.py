"""What the admin should do first: the guide's advice for the gravest causes of failure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sipwatch.outcomes.guide.entries import URGENCIES, Entry, Guide, UnknownEntryError
from sipwatch.report.console import command, wire
from sipwatch.report.summary import OTHERS, Cause, Concerned, Summary

_CAUSES = 3
_STEPS = 3
_AGENTS = 6
_INDENT, _DEEPER = 2, 5


def first_steps(summary: Summary, guide: Guide) -> list[RenderableType]:
    """An indented paragraph for each of the gravest causes; empty when nothing needs doing."""
    found = []
    for cause, concerned in summary.causes.items():
        entry = advice_for(cause, guide)
        urgency = URGENCIES.index(entry.urgency)
        if urgency:
            found.append((-urgency, -concerned.count, cause, entry, concerned))
    found.sort(key=lambda item: (item[0], item[1], str(item[2])))
    # Where something must be looked at now, what is only a trend can wait.
    grave = [item for item in found if item[0] == found[0][0]][:_CAUSES]
    return [
        _paragraph(number, item[3], item[4], summary, guide) for number, item in enumerate(grave, 1)
    ]


def advice_for(cause: Cause, guide: Guide) -> Entry:
    """The guide's entry for a cause, as exactly as the guide speaks of it."""
    for detail, hint in ((cause.detail, cause.cause_hint), (cause.detail, None), (None, None)):
        try:
            return guide.advice(cause.outcome, detail, hint)
        except UnknownEntryError:
            continue
    return guide.outcome("other_failure")


def _paragraph(
    number: int, entry: Entry, concerned: Concerned, summary: Summary, guide: Guide
) -> RenderableType:
    texts = guide.texts
    unit = "report.n_calls" if summary.of_calls else "report.n_attempts"
    count = texts.n(unit, concerned.count)
    share = texts.percent(concerned.count / summary.failed)
    table = Table.grid(padding=(0, 1, 0, 0))
    for line in entry.steps[:_STEPS]:
        table.add_row("-", Text(line))
    title = Text.assemble((f"{number}. {entry.name}", "bold"), f": {count}, {share}")
    lines: list[RenderableType] = [Padding(title, (0, 0, 0, _INDENT))]
    names = list(_names(concerned, guide))
    if names:
        agents = wire(f"{texts.t('report.agents')}: {', '.join(names)}")
        lines.append(Padding(agents, (0, 0, 0, _DEEPER)))
    lines.append(Padding(table, (0, 0, 0, _DEEPER)))
    file = "FILE" if concerned.file == "-" else shlex.quote(concerned.file)
    explain = f"sipwatch explain {concerned.example} {file}"
    check = texts.t("view.check", command=explain)
    # Not in a Padding, which would cut it.
    lines.append(command(" " * _DEEPER + check, "dim"))
    return Group(*lines)


def _names(concerned: Concerned, guide: Guide) -> Iterator[str]:
    texts = guide.texts
    for name, count in concerned.agents.most_common(_AGENTS):
        yield f"{texts.t('report.others') if name == OTHERS else name} ({texts.number(count)})"
    more = len(concerned.agents) - _AGENTS
    if more > 0:
        yield texts.t("view.more", count=texts.number(more))
