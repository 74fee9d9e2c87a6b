"""The closed lists of outcomes.md section 2: outcomes, categories, details, status codes."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """One row of the taxonomy. `q850` lists the causes that stand for it."""

    name: str
    category: str | None
    q850: tuple[int, ...]
    title: str
    #: `attempt`, `call` or `both`: the level on which it can be said.
    level: str = "both"


OUTCOMES: tuple[Outcome, ...] = (
    Outcome("answered", "success", (16,), "Answered"),
    Outcome("agent_busy", "user", (17,), "Agent busy"),
    Outcome("no_answer", "user", (19,), "No answer"),
    Outcome("declined", "user", (21,), "Call declined"),
    Outcome("device_not_responding", "technical", (18,), "Device not responding"),
    Outcome("connection_timeout", "technical", (102,), "Connection timeout"),
    Outcome("unavailable", "technical", (20,), "Device not registered"),
    Outcome("redirected", "system", (31,), "Call redirected by system"),
    Outcome("abandoned", "caller", (), "Abandoned"),
    Outcome("briefly_abandoned", "caller", (), "Briefly abandoned"),
    Outcome("rejection_list", "policy", (21,), "Rejection list"),
    Outcome("outside_hours", "policy", (), "Outside working hours", "call"),
    Outcome("callback", "policy", (), "Call back", "call"),
    Outcome("handled_by_system", "system", (), "Handled by the system", "call"),
    Outcome("not_found", "routing", (1, 3, 28), "Number not found"),
    Outcome("unauthorized", "routing", (57,), "Not authorised"),
    Outcome("not_acceptable", "routing", (88,), "Media not acceptable"),
    Outcome("server_failure", "technical", (38, 41, 42), "Server failure"),
    Outcome("other_failure", "other", (), "Other failure"),
    Outcome("in_progress", None, (), "In progress"),
    Outcome("incomplete", None, (), "Incomplete"),
)

CATEGORY: dict[str, str | None] = {outcome.name: outcome.category for outcome in OUTCOMES}

DETAILS: dict[str, tuple[str, ...]] = {
    "declined": ("manual", "automatic"),
    "connection_timeout": ("after_trying", "after_ringing", "no_ack", "server_timeout"),
    "redirected": (
        "answered_elsewhere",
        "declined_elsewhere",
        "forwarded",
        "picked_up",
        "rerouted",
    ),
}

#: Outcomes that are not failures: they are shown beside, never among, the failed attempts.
NOT_FAILED = frozenset(("answered", "in_progress", "incomplete"))

#: Rule 16: what a final status says where no earlier rule spoke (section 2's table).
STATUS_OUTCOME: dict[int, str] = {
    **dict.fromkeys((404, 410, 484, 485, 604), "not_found"),
    **dict.fromkeys((401, 403, 407), "unauthorized"),
    **dict.fromkeys((415, 420, 421, 488, 606), "not_acceptable"),
    **dict.fromkeys((482, 483), "server_failure"),
}


def outcome_of_status(status: int) -> str:
    """The outcome of a final status by itself."""
    known = STATUS_OUTCOME.get(status)
    if known is not None:
        return known
    return "server_failure" if 500 <= status < 600 else "other_failure"


#: Section 8: Q.850 cause to outcome and detail; causes that are not here say nothing.
Q850_OUTCOME: dict[int, tuple[str, str | None]] = {
    **dict.fromkeys((1, 2, 3, 22, 28), ("not_found", None)),
    17: ("agent_busy", None),
    18: ("device_not_responding", None),
    19: ("no_answer", None),
    20: ("unavailable", None),
    21: ("declined", None),
    23: ("redirected", "forwarded"),
    26: ("redirected", "answered_elsewhere"),
    27: ("unavailable", None),
    31: ("redirected", "rerouted"),
    **dict.fromkeys((34, 38, 41, 42, 44, 47), ("server_failure", None)),
    **dict.fromkeys((50, 55, 57), ("unauthorized", None)),
    **dict.fromkeys((58, 65, 79, 88), ("not_acceptable", None)),
    102: ("connection_timeout", None),
}
