"""Missed calls: how many, and whether somebody called back."""

from __future__ import annotations

from typing import Any

from panels.kit import HOST, RANGE, RATE, graph, number, query, row


def missed() -> tuple[Any, list[Any]]:
    """Callers who reached nobody, and what became of them."""
    return row(
        "Missed calls",
        number(
            "Missed",
            "short",
            _total("missed_calls_total"),
            about="Calls from outside that reached nobody, in the time shown.",
        ),
        number("Called back", "short", _total("missed_calls_returned_total")),
        number(
            "Never called back",
            "short",
            _total("missed_calls_never_returned_total"),
            about="The window of `callback` passed: `sipwatch report` has their numbers.",
            steps=((None, "green"), (1, "yellow")),
        ),
        number(
            "Not called back yet",
            "short",
            f"sum(sipwatch_missed_calls_pending{{{HOST}}})",
            about="Still within the window of `callback`.",
        ),
        graph(
            "Missed calls and what became of them",
            "opm",
            query(_rate("missed_calls_total"), "missed"),
            query(_rate("missed_calls_hidden_total"), "of hidden numbers"),
            query(_rate("callback_requests_total"), "asked to be called back"),
            query(_rate("missed_calls_returned_total"), "called back"),
            query(_rate("missed_calls_never_returned_total"), "never called back"),
        ),
    )


def _total(name: str) -> str:
    return f"sum(increase(sipwatch_{name}{{{HOST}}}[{RANGE}]))"


def _rate(name: str) -> str:
    return f"sum(rate(sipwatch_{name}{{{HOST}}}[{RATE}])) * 60"
