"""Devices and registrations, and the messages behind them."""

from __future__ import annotations

from typing import Any

from panels.kit import HOST, JOB, RATE, graph, query, row


def devices() -> tuple[Any, list[Any]]:
    """Who is registered, and how registering goes."""
    responses = f"sipwatch_sip_responses_total{{{HOST}"
    return row(
        "Devices and registrations",
        graph(
            "Registered contacts",
            "short",
            query(f"sipwatch_registrations_active{{{HOST}}}", "{{instance}}"),
            about="After a start they are learned one by one as they renew.",
        ),
        graph(
            "Registrations",
            "opm",
            query(
                "sum by (result) (rate("
                f"sipwatch_registration_attempts_total{{{HOST}}}[{RATE}])) * 60",
                "{{result}}",
            ),
            query(f"sum(rate(sipwatch_registration_moves_total{{{HOST}}}[{RATE}])) * 60", "moved"),
            about="moved: renewed from another address or port, as NAT and mobile devices do.",
        ),
        graph(
            "Registration request delay (RRD)",
            "s",
            query(f"job:sipwatch_registration_request_delay_seconds:mean5m{{{JOB}}}", "mean"),
            query(f"job:sipwatch_registration_request_delay_seconds:p95_5m{{{JOB}}}", "95%"),
            about="REGISTER to its 2xx (RFC 6076 4.1).",
        ),
        graph(
            "Ineffective registration attempts (IRA)",
            "percentunit",
            query(f"job:sipwatch_ira:ratio_rate5m{{{JOB}}}", "IRA"),
            about="Refused or never answered; challenges do not count (RFC 6076 4.2).",
        ),
        graph(
            "Pings (OPTIONS)",
            "opm",
            query(
                f'sum(rate(sipwatch_sip_requests_total{{{HOST}, method="OPTIONS"}}[{RATE}])) * 60',
                "sent",
            ),
            query(f'sum(rate({responses}, method="OPTIONS"}}[{RATE}])) * 60', "answered"),
            about="The gap between both is devices that do not answer (and retransmissions).",
        ),
        graph(
            "Technical causes that were seen",
            "opm",
            query(
                "sum by (cause_hint) (rate("
                f"sipwatch_attempt_cause_hints_total{{{HOST}}}[{RATE}])) * 60",
                "{{cause_hint}}",
            ),
            stacked=True,
        ),
    )


def messages() -> tuple[Any, list[Any]]:
    """SIP as such."""
    return row(
        "Messages",
        graph(
            "Requests",
            "reqps",
            query(
                f"sum by (method) (rate(sipwatch_sip_requests_total{{{HOST}}}[{RATE}])) > 0",
                "{{method}}",
            ),
        ),
        graph(
            "Responses",
            "reqps",
            query(
                f"sum by (method, code) (rate(sipwatch_sip_responses_total{{{HOST}}}[{RATE}])) > 0",
                "{{method}} {{code}}",
            ),
        ),
        graph(
            "Sent once more",
            "reqps",
            query(
                "sum by (method, kind) (rate("
                f"sipwatch_sip_retransmissions_total{{{HOST}}}[{RATE}]))",
                "{{method}} {{kind}}",
            ),
            about="INVITEs that were not answered within half a second, finals without an ACK.",
        ),
        graph(
            "Seen twice on this host",
            "reqps",
            query(f"sum(rate(sipwatch_duplicates_total{{{HOST}}}[{RATE}]))", "copies"),
            about="Loopback, bridges, and mirror ports of both sides; used once.",
        ),
    )
