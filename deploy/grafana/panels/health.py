"""Whether the capture can be trusted, and how sipwatch itself does."""

from __future__ import annotations

from typing import Any

from panels.kit import HOST, RATE, graph, grid, query, row, states


def capture() -> tuple[Any, list[Any]]:
    """An empty dashboard must say why it is empty."""
    return row(
        "Capture health",
        states(
            "Problems",
            query(f"sipwatch_problem{{{HOST}}}", "{{kind}} ({{instance}})"),
            about="Said by the daemon itself; its log and its landing page say what to do.",
        ),
        graph(
            "Packets",
            "pps",
            query(
                "sum by (instance, interface) (rate("
                f"sipwatch_capture_packets_total{{{HOST}}}[{RATE}]))",
                "{{instance}} {{interface}}",
            ),
            about="What passed the kernel's filter.",
        ),
        graph(
            "Packets lost",
            "pps",
            query(
                "sum by (instance, interface, where) (rate("
                f"sipwatch_capture_drops_total{{{HOST}}}[{RATE}]))",
                "{{instance}} {{interface}}, {{where}}",
            ),
            about="ring: no room in the capture ring. interface: before it, by the card.",
        ),
        graph(
            "How late packets are judged",
            "s",
            query(f"sipwatch_processing_lag_seconds{{{HOST}}}", "{{instance}}"),
        ),
        graph(
            "Since the last packet",
            "s",
            query(
                f"time() - (sipwatch_last_packet_timestamp_seconds{{{HOST}}} > 0)", "{{instance}}"
            ),
        ),
        states(
            "Interfaces (red: not listened on)",
            query(f"1 - sipwatch_interface_up{{{HOST}}}", "{{instance}} {{interface}}"),
        ),
        graph(
            "What could not be read",
            "pps",
            query(
                f"sum by (layer, reason) (rate(sipwatch_decode_errors_total{{{HOST}}}[{RATE}]))",
                "{{layer}}: {{reason}}",
            ),
        ),
        graph(
            "Encrypted, cut, joined",
            "pps",
            query(f"sum(rate(sipwatch_tls_packets_total{{{HOST}}}[{RATE}]))", "TLS"),
            query(f"sum(rate(sipwatch_capture_snapped_total{{{HOST}}}[{RATE}]))", "cut"),
            query(f"sum(rate(sipwatch_capture_inflated_total{{{HOST}}}[{RATE}]))", "joined"),
            about="joined by offloads of the interface: harmless.",
        ),
    )


def itself() -> tuple[Any, list[Any]]:
    """What sipwatch costs, remembers, keeps and leaves out."""
    return row(
        "sipwatch itself",
        graph(
            "Processor",
            "percentunit",
            query(
                f'rate(process_cpu_seconds_total{{{HOST}, job=~"sipwatch.*"}}[{RATE}])',
                "{{instance}}",
            ),
            about="Of one core.",
        ),
        graph(
            "Memory",
            "bytes",
            query(f"process_resident_memory_bytes{{{HOST}}}", "{{instance}}"),
            query(
                f"sum by (instance) (sipwatch_capture_ring_bytes{{{HOST}}})",
                "{{instance}} capture ring",
            ),
        ),
        graph(
            "Remembered, of what may be",
            "percentunit",
            query(
                f"sipwatch_tracker_entries{{{HOST}}} "
                f"/ on (job, instance, kind) sipwatch_tracker_entries_limit{{{HOST}}}",
                "{{instance}} {{kind}}",
            ),
            query(
                f"sum by (instance) (rate(sipwatch_tracker_evictions_total{{{HOST}}}[{RATE}]))",
                "{{instance}} given up early, a second",
            ),
        ),
        graph(
            "Series, of what may be",
            "percentunit",
            query(
                f"sipwatch_metric_series{{{HOST}}} "
                f"/ on (job, instance, metric) sipwatch_metric_series_limit{{{HOST}}}",
                "{{metric}}",
            ),
        ),
        graph(
            "Records",
            "short",
            query(
                f"sum by (sink) (rate(sipwatch_records_written_total{{{HOST}}}[{RATE}])) * 60",
                "{{sink}} written a minute",
            ),
            query(
                f"sum by (sink) (rate(sipwatch_records_dropped_total{{{HOST}}}[{RATE}])) * 60",
                "{{sink}} lost a minute",
            ),
            query(f"sum by (sink) (sipwatch_records_queue_length{{{HOST}}})", "{{sink}} waiting"),
        ),
        graph(
            "Size of the records",
            "bytes",
            query(f"sum by (instance, sink) (sipwatch_records_bytes{{{HOST}}})", "{{sink}}"),
        ),
        states(
            "Configuration (red: not in use)",
            query(f"1 - sipwatch_config_reload_success{{{HOST}}}", "{{instance}} sipwatch.toml"),
            query(
                f"1 - sipwatch_web_config_reload_success{{{HOST}}}", "{{instance}} web-config.yml"
            ),
        ),
        grid(
            "What is running",
            {
                "Version": query(f"sipwatch_build_info{{{HOST}}}", now=True),
                "Started": query(f"process_start_time_seconds{{{HOST}}} * 1000", now=True),
            },
            keys=("instance", "version", "python"),
            units={"Started": "dateTimeAsIso"},
            width=12,
        ),
    )
