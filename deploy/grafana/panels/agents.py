"""Agents: whose phone does not work, and who does not answer. Empty unless agents.metrics is on."""

from __future__ import annotations

from typing import Any

from panels.kit import HOST, RANGE, bars, graph, grid, outcome_colours, outcomes_of, query, row

_AGENT = f'{HOST}, agent=~"$agent"'
_COLUMNS = (
    ("Answered", "answered"),
    ("No answer", "no_answer"),
    ("Declined", "declined"),
    ("Busy", "agent_busy"),
    ("Technology", outcomes_of("technical")),
    ("Redirected", "redirected"),
)


def agents() -> tuple[Any, list[Any]]:
    """Tables and the worst of each kind."""
    columns = {"Attempts": query(f"{_count('.+')} > 0", now=True)}
    columns |= {name: query(_count(which), now=True) for name, which in _COLUMNS}
    technical, people = outcomes_of("technical"), outcomes_of("user")
    return row(
        "Agents (with agents.metrics = true)",
        grid(
            "Agents, in the time shown",
            columns,
            keys=("agent",),
            units=dict.fromkeys(columns, "short"),
            about="Numbers for a talk, never for a ranking alone: see `sipwatch guide`.",
            sort="Attempts",
        ),
        bars(
            "Devices with the most technical failures",
            "short",
            query(f"topk(15, {_count(technical)} > 0)", "{{agent}}", now=True),
            about="A phone, a headset, a line at home: the admin's.",
        ),
        bars(
            "Agents with the most calls not taken",
            "short",
            query(f"topk(15, {_count(people)} > 0)", "{{agent}}", now=True),
            about="No answer, declined, busy.",
        ),
        graph(
            "Outcomes of the chosen agents, by hour",
            "short",
            query(
                f"sum by (outcome) (increase(sipwatch_agent_attempts_total{{{_AGENT}}}[1h])) > 0",
                "{{outcome}}",
            ),
            width=24,
            stacked=True,
            colours=outcome_colours(),
        ),
    )


def _count(outcomes: str) -> str:
    return (
        f"sum by (agent) (increase(sipwatch_agent_attempts_total"
        f'{{{_AGENT}, outcome=~"{outcomes}"}}[{RANGE}]))'
    )
