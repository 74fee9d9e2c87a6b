"""What became of attempts and calls: outcomes, people against technology, causes."""

from __future__ import annotations

from typing import Any

from panels.kit import (
    CALLS,
    COLOURS,
    HOST,
    RANGE,
    RATE,
    UNJUDGED,
    bars,
    graph,
    number,
    outcome_colours,
    outcomes_of,
    query,
    row,
)

_ATTEMPTS = "sipwatch_attempts_total"
#: The sides that the guide divides outcomes into, and how they are called on the page.
SIDES = (
    ("answered", "success", ("success",)),
    ("people", "user", ("user",)),
    ("technology", "technical", ("technical",)),
    ("caller left", "caller", ("caller",)),
    ("system and policy", "system", ("system", "policy")),
    ("routing", "routing", ("routing", "other")),
)


def overview() -> tuple[Any, list[Any]]:
    """The numbers to look at first."""
    all_ = f"sum(rate({_ATTEMPTS}{{{CALLS}, {UNJUDGED}}}[{RATE}]))"
    technical = _rate(outcomes_of("technical"))
    people = _rate(outcomes_of("user"))
    return row(
        "Now",
        number("Attempts", "opm", f"{all_} * 60", about="Attempts a minute that came to an end."),
        number(
            "Answered",
            "percentunit",
            f"{_rate('answered')} / ({all_} > 0)",
            about="Of all attempts whose outcome is known.",
        ),
        number(
            "Technology",
            "percentunit",
            f"{technical} / ({all_} > 0)",
            about="Attempts that failed for technical reasons: for the admin.",
            steps=((None, "green"), (0.02, "yellow"), (0.05, "red")),
        ),
        number(
            "People",
            "percentunit",
            f"{people} / ({all_} > 0)",
            about="Busy, not answered, declined: for whoever leads the agents.",
        ),
        number("In progress", "short", f"sum(sipwatch_attempts_in_progress{{{HOST}}})"),
        number("Conversations", "short", f"sum(sipwatch_dialogs_active{{{HOST}}})"),
        number("Registered", "short", f"sum(sipwatch_registrations_active{{{HOST}}})"),
        number(
            "Problems",
            "short",
            f'sum(sipwatch_problem{{{HOST}, kind!="inflated"}})',
            about="What keeps the numbers from meaning what they should; see Capture health.",
            steps=((None, "green"), (1, "red")),
        ),
    )


def outcomes() -> tuple[Any, list[Any]]:
    """How outcomes are distributed, and whose doing they are."""
    colours = outcome_colours()
    by_outcome = f"sum by (outcome) (rate({_ATTEMPTS}{{{CALLS}}}[{RATE}])) * 60"
    sides = [query(f"{_rate(outcomes_of(*which))} * 60", name) for name, _, which in SIDES]
    side_colours = {name: COLOURS[colour] for name, colour, _ in SIDES}
    return row(
        "Outcomes",
        graph(
            "Outcomes of attempts",
            "opm",
            query(f"{by_outcome} > 0", "{{outcome}}"),
            about="One attempt is one try to reach one target: a call to five phones is six.",
            stacked=True,
            colours=colours,
        ),
        bars(
            "Outcomes of attempts, in the time shown",
            "short",
            query(
                f"sort_desc(sum by (outcome) (increase({_ATTEMPTS}{{{CALLS}}}[{RANGE}])) > 0)",
                "{{outcome}}",
                now=True,
            ),
            colours=colours,
        ),
        graph(
            "People against technology",
            "opm",
            *sides,
            about="Shares of the sides: who has to do something about it.",
            stacked=True,
            shares=True,
            colours=side_colours,
        ),
        bars(
            "People against technology, in the time shown",
            "short",
            *(
                query(
                    f'sum(increase({_ATTEMPTS}{{{CALLS}, outcome=~"{outcomes_of(*which)}"}}'
                    f"[{RANGE}]))",
                    name,
                    now=True,
                )
                for name, _, which in SIDES
            ),
            colours=side_colours,
        ),
        graph(
            "Outcomes of whole calls",
            "opm",
            query(
                f"sum by (outcome) (rate(sipwatch_calls_total{{{CALLS}}}[{RATE}])) * 60 > 0",
                "{{outcome}}",
            ),
            about="What callers experienced, with all attempts of a call taken together.",
            stacked=True,
            colours=colours,
        ),
        bars(
            "Technical causes that were seen, in the time shown",
            "short",
            query(
                "sort_desc(sum by (cause_hint) "
                f"(increase(sipwatch_attempt_cause_hints_total{{{HOST}}}[{RANGE}])))",
                "{{cause_hint}}",
                now=True,
            ),
            about="Which of the guide's situations it was: `sipwatch guide CAUSE`.",
        ),
        bars(
            "Details, in the time shown",
            "short",
            query(
                "sort_desc(sum by (outcome, detail) "
                f"(increase(sipwatch_attempt_details_total{{{HOST}}}[{RANGE}])))",
                "{{outcome}}/{{detail}}",
                now=True,
            ),
        ),
        bars(
            "Final statuses of what failed, in the time shown",
            "short",
            query(
                f'topk(15, sum by (code) (increase({_ATTEMPTS}{{{CALLS}, outcome!="answered", '
                f"{UNJUDGED}}}[{RANGE}])) > 0)",
                "{{code}}",
                now=True,
            ),
            about="none: the attempt ended without a final status.",
        ),
        graph(
            "How sure the verdicts are",
            "percentunit",
            query(
                f"sum by (confidence) (rate(sipwatch_attempt_confidence_total{{{HOST}}}[{RATE}])) "
                f"/ ignoring (confidence) group_left sum(rate("
                f"sipwatch_attempt_confidence_total{{{HOST}}}[{RATE}]))",
                "{{confidence}}",
            ),
            about="explicit: the wire says it; correlated: another leg of the call says it; "
            "inferred: timing says it.",
            stacked=True,
        ),
        graph(
            "Attempts that cannot be judged",
            "percentunit",
            query(
                f'sum(rate({_ATTEMPTS}{{{CALLS}, outcome="incomplete"}}[{RATE}])) '
                f"/ (sum(rate({_ATTEMPTS}{{{CALLS}}}[{RATE}])) > 0)",
                "incomplete",
            ),
            query(
                f"sum(rate(sipwatch_ambiguous_attempts_total{{{HOST}}}[{RATE}])) "
                f"/ (sum(rate({_ATTEMPTS}{{{CALLS}}}[{RATE}])) > 0)",
                "ambiguous",
            ),
        ),
    )


def _rate(outcomes: str) -> str:
    return f'sum(rate({_ATTEMPTS}{{{CALLS}, outcome=~"{outcomes}"}}[{RATE}]))'
