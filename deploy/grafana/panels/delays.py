"""How long things take: from the INVITE to ringing, ringing, talking, hanging up."""

from __future__ import annotations

from typing import Any

from panels.kit import HOST, JOB, RATE, graph, heat, query, row

_QUANTILES = (("half", 0.5), ("95%", 0.95), ("99%", 0.99))


def delays() -> tuple[Any, list[Any]]:
    """Spread and quantiles of each histogram."""
    return row(
        "Delays",
        heat(
            "Session request delay (SRD), answered sessions",
            _buckets("session_request_delay_seconds", 'result="success"'),
            about="INVITE to the first 180, 183 or 2xx (RFC 6076 4.3.1).",
        ),
        graph(
            "Session request delay (SRD)",
            "s",
            *_quantiles("session_request_delay_seconds", 'result="success"', "answered "),
            *_quantiles("session_request_delay_seconds", 'result="failure"', "failed "),
            log=True,
        ),
        heat(
            "Post-dial delay (PDD)",
            _buckets("post_dial_delay_seconds"),
            about="INVITE to the first ringing: what the caller waits in silence.",
        ),
        graph("Post-dial delay (PDD)", "s", *_quantiles("post_dial_delay_seconds", ""), log=True),
        heat(
            "Ringing of what was answered",
            _buckets("ring_duration_seconds", 'outcome="answered"'),
        ),
        heat(
            "Ringing of what was not answered",
            _buckets("ring_duration_seconds", 'outcome=~"no_answer|abandoned"'),
            about="Lines that stand out are ring timers; callers who leave are spread.",
        ),
        graph(
            "Ringing until the end, median by outcome",
            "s",
            query(
                "histogram_quantile(0.5, sum by (outcome, le) (rate("
                f"sipwatch_ring_duration_seconds_bucket{{{HOST}}}[{RATE}]))) >= 0",
                "{{outcome}}",
            ),
        ),
        graph(
            "Setup until the end, median by outcome",
            "s",
            query(
                "histogram_quantile(0.5, sum by (outcome, le) (rate("
                f"sipwatch_session_setup_seconds_bucket{{{HOST}}}[{RATE}]))) >= 0",
                "{{outcome}}",
            ),
        ),
        graph(
            "Duration of conversations (SDT)",
            "s",
            query(f"job:sipwatch_session_duration_seconds:mean5m{{{JOB}}}", "mean"),
            query(f"job:sipwatch_session_duration_seconds:p50_5m{{{JOB}}}", "half"),
            log=True,
        ),
        graph(
            "Session disconnect delay (SDD)",
            "s",
            query(f"job:sipwatch_session_disconnect_delay_seconds:mean5m{{{JOB}}}", "mean"),
            query(f"job:sipwatch_session_disconnect_delay_seconds:p95_5m{{{JOB}}}", "95%"),
            about="BYE to its answer (RFC 6076 4.4).",
        ),
    )


def _buckets(name: str, more: str = "") -> str:
    labels = ", ".join(filter(None, (HOST, more)))
    return f"sum by (le) (increase(sipwatch_{name}_bucket{{{labels}}}[{RATE}]))"


def _quantiles(name: str, more: str, prefix: str = "") -> list[Any]:
    labels = ", ".join(filter(None, (HOST, more)))
    rates = f"sum by (le) (rate(sipwatch_{name}_bucket{{{labels}}}[{RATE}]))"
    return [
        query(f"histogram_quantile({share}, {rates}) >= 0", prefix + word)
        for word, share in _QUANTILES
    ]
