"""The daemon itself: its configuration, its records, its bounds."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.model import Alert, numbered
from sipwatch.daemon.watch import PROBLEMS


def daemon() -> Iterator[Alert]:
    """Its configuration, what it keeps, its limits, its faults."""
    yield Alert(
        "SipwatchConfigNotTakenUp",
        "sipwatch_config_reload_success == 0",
        "ticket",
        "The configuration of {{ $labels.instance }} is not in use",
        "sipwatch.toml was changed and cannot be used; the old configuration stays in force.",
        numbered(
            "`sipwatch config check /etc/sipwatch/sipwatch.toml` names the key and the line.",
            "Then `systemctl reload sipwatch`.",
        ),
        wait="5m",
    )
    yield Alert(
        "SipwatchWebConfigNotTakenUp",
        "sipwatch_web_config_reload_success == 0",
        "ticket",
        "The web configuration of {{ $labels.instance }} is not in use",
        "web-config.yml or a certificate was changed and cannot be used; the old ones stay.",
        numbered("`journalctl -u sipwatch | grep 'web configuration'` names what is wrong."),
        wait="5m",
    )
    yield Alert(
        "SipwatchRecordsLost",
        "sum by (job, instance, sink) (increase(sipwatch_records_dropped_total[15m])) > 0",
        "ticket",
        "Records are lost at {{ $labels.instance }} ({{ $labels.sink }})",
        "{{ $value | humanize }} records of the last 15m could not be kept. "
        + PROBLEMS["records_lost"].capitalize()
        + ". Metrics are not affected.",
        numbered(
            "`df -h /var/lib/sipwatch`; make room, or keep records for fewer days "
            "(records.retention_days, records.max_megabytes).",
        ),
        linger="15m",
    )
    yield Alert(
        "SipwatchRecordsNotWritten",
        "sipwatch_records_writable == 0",
        "ticket",
        "Records cannot be written at {{ $labels.instance }} ({{ $labels.sink }})",
        "They wait in memory and are dropped when too many wait.",
        numbered("`journalctl -u sipwatch | grep records`; the disk, its rights, a lock."),
        wait="5m",
    )
    yield Alert(
        "SipwatchEvictions",
        "sum by (job, instance, kind) (increase(sipwatch_tracker_evictions_total[15m])) > 0",
        "ticket",
        "More is going on at {{ $labels.instance }} than may be remembered",
        "{{ $value | humanize }} attempts of the last 15m were given up early "
        "({{ $labels.kind }}).",
        numbered(
            "A flood of INVITEs from one place? `tcpdump -nc 500 port 5060`. Then it is for the "
            "firewall.",
            "Real traffic: raise tracker.max_entries in sipwatch.toml.",
        ),
        linger="15m",
    )
    yield Alert(
        "SipwatchSeriesLimit",
        "sum by (job, instance, metric) (increase(sipwatch_metric_overflow_total[1h])) > 0",
        "ticket",
        "{{ $labels.metric }} of {{ $labels.instance }} has reached its limit of series",
        "What is new is counted together as other; nothing is lost but the detail.",
        numbered(
            "Agents: narrow agents.pattern, or raise agents.limit in sipwatch.toml.",
            "Others: report it with the output of /metrics.",
        ),
        linger="1h",
    )
    yield Alert(
        "SipwatchFault",
        "increase(sipwatch_internal_errors_total[15m]) > 0",
        "ticket",
        "sipwatch at {{ $labels.instance }} has a fault",
        PROBLEMS["fault"].capitalize() + ".",
        numbered("`journalctl -u sipwatch -p err`; report it with these lines."),
        linger="15m",
    )
    yield Alert(
        "SipwatchRestarts",
        'changes(process_start_time_seconds{job="sipwatch"}[1h]) > 3',
        "ticket",
        "sipwatch at {{ $labels.instance }} restarts again and again",
        "{{ $value }} starts in the last hour; what is in progress at each end is not judged.",
        numbered(
            "`journalctl -u sipwatch -p warning` and `systemctl status sipwatch`: the watchdog, "
            "memory (MemoryMax= of the unit), or a fault.",
        ),
    )
