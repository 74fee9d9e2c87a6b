"""RFC 6076 and ITU-T E.425, from the recording rules; and the peers by them."""

from __future__ import annotations

from typing import Any

from panels.kit import CALLS, HOST, JOB, PLACE, RANGE, RATE, graph, grid, outcomes_of, query, row

_SHARES = (
    ("SER", "ser"),
    ("SEER", "seer"),
    ("ISA", "isa"),
    ("SCR", "scr"),
    ("ASR", "asr"),
    ("NER", "ner"),
    ("ABR", "abr"),
)


def measures() -> tuple[Any, list[Any]]:
    """All peers of a job together."""
    rfc, itu = _SHARES[:4], _SHARES[4:]
    return row(
        "Measures (all hosts and peers of a job)",
        graph(
            "RFC 6076",
            "percentunit",
            *(query(f"job:sipwatch_{key}:ratio_rate5m{{{JOB}}}", f"{name}") for name, key in rfc),
            about="Session establishment, its effectiveness, ineffective attempts, completion. "
            "Formulas and codes: docs/measures.md.",
        ),
        graph(
            "ITU-T E.425",
            "percentunit",
            *(query(f"job:sipwatch_{key}:ratio_rate5m{{{JOB}}}", f"{name}") for name, key in itu),
            about="Answer-seizure ratio, network effectiveness ratio, answer-bid ratio.",
        ),
    )


def peers() -> tuple[Any, list[Any]]:
    """Trunks and directions side by side."""
    requests = f"sum by (direction, peer) (increase(sipwatch_attempts_total{{{CALLS}}}[{RANGE}]))"
    technical = _technical("direction, peer", RANGE, "increase")
    columns = {"Attempts": query(f"{requests} > 0", now=True)}
    columns |= {
        name: query(
            f"avg_over_time(job_direction_peer:sipwatch_{key}:ratio_rate1h{{{JOB}, {PLACE}}}"
            f"[{RANGE}])",
            now=True,
        )
        for name, key in _SHARES
        if name != "SCR"
    }
    columns["Technology"] = query(f"{technical} / ({requests} > 0)", now=True)
    return row(
        "Peers",
        grid(
            "Peers, in the time shown",
            columns,
            keys=("direction", "peer"),
            units={
                "Attempts": "short",
                **{name: "percentunit" for name in columns if name != "Attempts"},
            },
            about="Peers are the names that sipwatch.toml gives to networks; others are other.",
            sort="Attempts",
        ),
        graph(
            "Attempts by peer",
            "opm",
            query(
                f"sum by (direction, peer) (rate(sipwatch_attempts_total{{{CALLS}}}[{RATE}])) * 60",
                "{{direction}} {{peer}}",
            ),
        ),
        graph(
            "Technical failures by peer",
            "percentunit",
            query(
                f"{_technical('direction, peer', RATE, 'rate')} / (sum by (direction, peer) "
                f"(rate(sipwatch_attempts_total{{{CALLS}}}[{RATE}])) > 0)",
                "{{direction}} {{peer}}",
            ),
        ),
        graph(
            "Answer-seizure ratio by peer, one hour",
            "percentunit",
            query(
                f"job_direction_peer:sipwatch_asr:ratio_rate1h{{{JOB}, {PLACE}}}",
                "{{direction}} {{peer}}",
            ),
        ),
        graph(
            "How conversations end",
            "opm",
            query(
                f"sum by (end) (rate(sipwatch_dialogs_ended_total{{{HOST}}}[{RATE}])) * 60",
                "{{end}}",
            ),
            about="media_timeout, session_timer and lost are faults although the call was "
            "answered.",
            stacked=True,
        ),
    )


def _technical(by: str, window: str, function: str) -> str:
    return (
        f"sum by ({by}) ({function}(sipwatch_attempts_total"
        f'{{{CALLS}, outcome=~"{outcomes_of("technical")}"}}[{window}]))'
    )
