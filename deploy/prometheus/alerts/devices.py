"""Single devices, many devices, trunks, and what happens after the answer."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent

from alerts.model import Alert, numbered, steps_of
from sipwatch.outcomes.guide import Guide
from sipwatch.outcomes.taxonomy import OUTCOMES

#: One agent's phone: so many technical failures, and not one answer for each three of them.
DEVICE_FAILURES, DEVICE_WINDOW, FAILURES_AN_ANSWER = 3, "15m", 3
#: A cause that was seen so often is worth a look even where few calls failed of it.
HINTS, HINT_WINDOW = 10, "15m"


def devices(guide: Guide) -> Iterator[Alert]:
    """Phones, registrations, trunks, sound."""
    yield _agent_device(guide)
    yield _cause_hint(guide)
    yield _media_lost(guide)
    yield Alert(
        "SipwatchDevicesGone",
        "sipwatch_registrations_active\n< 0.7 * max_over_time(sipwatch_registrations_active[1h])\n"
        "and\nmax_over_time(sipwatch_registrations_active[1h]) >= 20\n"
        # After a start contacts are learned one by one as they renew.
        "and\ntime() - process_start_time_seconds > 3600",
        "page",
        "Many devices are not registered any more: {{ $value }} are left",
        "{{ $value }} contacts are registered at {{ $labels.instance }}: less than 70% of the "
        "most of the last hour.",
        numbered(
            "Devices that went away together share something: a site's line, a switch, a VPN, "
            "DNS. Find what they share before you look at any phone.",
            "See who is gone: `pjsip show contacts` (Asterisk), `sofia status profile internal "
            "reg` (FreeSWITCH), `kamcmd ul.dump` (Kamailio).",
            "Do REGISTERs arrive (panel Registrations)? If they arrive and are refused, look at "
            "the passwords and the PBX; if they do not, at the network.",
        ),
        wait="2m",
        linger="5m",
        impact="Calls to these devices fail: their agents look available and nothing rings.",
    )
    failed = _registrations('result!="success"')
    yield Alert(
        "SipwatchRegistrationsFailing",
        f"{failed}\n/\n{_registrations()}\n>= 0.2\nand\n{_registrations()}\n>= 50",
        "ticket",
        "{{ $value | humanizePercentage }} of the registrations fail",
        "{{ $value | humanizePercentage }} of the REGISTERs of the last 15m were refused or never "
        "answered, seen by {{ $labels.instance }} (IRA of RFC 6076; challenges do not count).",
        numbered(
            "Refused or unanswered? `sipwatch_registration_attempts_total` by result. Unanswered: "
            "the registrar is down or a firewall is between.",
            "Refused with 403 or 404 by many addresses that you do not know: somebody guesses "
            "passwords; let fail2ban or the firewall stop them.",
            "Refused and known: a changed password, domain or certificate.",
        ),
        wait="5m",
        linger="5m",
    )
    yield Alert(
        "SipwatchAnswersFewer",
        'job_direction_peer:sipwatch_asr:ratio_rate1h{direction="outbound"}\n'
        "< 0.6 * (job_direction_peer:sipwatch_asr:ratio_rate1h offset 1w)\nand\n"
        "avg_over_time(job_direction_peer:sipwatch_seizures:rate5m[1h]) * 3600 >= 100",
        "ticket",
        "Only {{ $value | humanizePercentage }} of the calls over {{ $labels.peer }} are answered",
        "The answer-seizure ratio over {{ $labels.peer }} is {{ $value | humanizePercentage }} "
        "in the last hour: less than 60% of what it was at this hour a week ago.",
        numbered(
            "Which outcomes grew? Panel Outcomes by peer. Technology: the trunk. People: the "
            "numbers that are called, or the hour.",
            "Calls that are answered and last a second or two: false answers of a cheap route.",
            "Ask the carrier with three Call-IDs; `sipwatch explain CALL-ID` has the evidence.",
        ),
        wait="30m",
    )
    yield Alert(
        "SipwatchRingbackLate",
        "histogram_quantile(\n  0.95,\n  sum by (job, instance, le) ("
        "rate(sipwatch_post_dial_delay_seconds_bucket[15m]))\n) > 8\nand\n"
        "sum by (job, instance) (increase(sipwatch_post_dial_delay_seconds_count[15m])) >= 20",
        "ticket",
        "Callers wait {{ $value | humanizeDuration }} for a ringing tone",
        "One call in twenty needs more than {{ $value | humanizeDuration }} from the INVITE to "
        "the first ringing, seen by {{ $labels.instance }}.",
        numbered(
            "One trunk or all? Compare `post_dial_delay` of peers and directions in the records.",
            "All: DNS or database lookups of the PBX. One: the carrier, or a route that fails "
            "over only after a timeout (look for server_failure before the answer).",
        ),
        wait="5m",
        linger="5m",
    )


def _agent_device(guide: Guide) -> Alert:
    entry = guide.entry("device_not_responding")
    failed = "|".join(o.name for o in OUTCOMES if o.category == "technical")
    failures = _since(f'outcome=~"{failed}", agent!="other"')
    answers = _since('outcome="answered"')
    return Alert(
        "SipwatchAgentDeviceFailing",
        f"(\n{indent(failures, '  ')}\n) >= {DEVICE_FAILURES}\nunless\n"
        f"(\n{indent(answers, '  ')}\n) * {FAILURES_AN_ANSWER}\n>=\n"
        f"(\n{indent(failures, '  ')}\n)",
        "page",
        "The device of agent {{ $labels.agent }} does not take calls",
        "{{ $value }} calls to agent {{ $labels.agent }} failed for technical reasons in the last "
        f"{DEVICE_WINDOW}, and not one was answered for each {FAILURES_AN_ANSWER} that failed, "
        "seen by {{ $labels.instance }}.",
        steps_of(entry),
        linger="5m",
        impact="The agent looks available, every call that is offered there is lost time.",
    )


def _since(selector: str) -> str:
    """What was counted in the window, also by series that began within it.

    `increase` does not see the first count of a new series, and agents' series begin with it.
    """
    now = f"sum by (job, instance, agent) (sipwatch_agent_attempts_total{{{selector}}})"
    before = (
        "sum by (job, instance, agent) (sipwatch_agent_attempts_total"
        f"{{{selector}}} offset {DEVICE_WINDOW})"
    )
    return f"{now}\n- (\n{indent(before, '  ')}\n  or\n{indent(now, '  ')} * 0\n)"


def _cause_hint(guide: Guide) -> Alert:
    hints = guide.cause_hints()
    texts = "\n".join(
        f'{{{{ if eq $labels.cause_hint "{hint.cause_hint}" }}}}{hint.name}: {hint.means}\n'
        f"{steps_of(hint)}{{{{ end }}}}"
        for hint in hints
    )
    return Alert(
        "SipwatchCauseSeen",
        "sum by (job, instance, cause_hint) (\n"
        f"  increase(sipwatch_attempt_cause_hints_total[{HINT_WINDOW}])\n)\n>= {HINTS}",
        "ticket",
        "{{ $value | humanize }} attempts failed with the cause {{ $labels.cause_hint }}",
        f"{{{{ $value | humanize }}}} attempts of the last {HINT_WINDOW} failed because of "
        "{{ $labels.cause_hint }}, seen by {{ $labels.instance }}.",
        texts,
        linger="5m",
    )


def _media_lost(guide: Guide) -> Alert:
    entry = guide.entry("media_lost")
    ours = (
        'sum by (job, instance) (increase(sipwatch_dialogs_ended_total{end="media_timeout"}[30m]))'
    )
    all_ = "sum by (job, instance) (increase(sipwatch_dialogs_ended_total[30m]))"
    return Alert(
        "SipwatchMediaLost",
        f"{ours}\n/\n{all_}\n>= 0.05\nand\n{all_}\n>= 40",
        "page",
        "{{ $value | humanizePercentage }} of the conversations ended because their sound stopped",
        "{{ $value | humanizePercentage }} of the conversations of the last 30m were ended by a "
        "media watchdog, seen by {{ $labels.instance }}; 5% of at least 40 is too much.",
        steps_of(entry),
        wait="2m",
        linger="5m",
        impact=entry.means,
    )


def _registrations(selector: str = "") -> str:
    series = "sipwatch_registration_attempts_total" + (f"{{{selector}}}" if selector else "")
    return f"sum by (job, instance) (increase({series}[15m]))"
