"""The two formats that scrapers ask for: Prometheus text 0.0.4 and OpenMetrics 1.0.

Which one, prometheus-client decides from the Accept header; it also writes metrics that are not
our own. Our `Reading`s write their own lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from sipwatch.sinks.metrics.readings import Reading

_END = "# EOF\n"
_OPENMETRICS = "application/openmetrics-text"


def exposition(metrics: Iterable[Metric], accept: str = "") -> tuple[str, bytes]:
    """Content type and body for a scraper with this Accept header."""
    _, content_type = choose_encoder(accept)
    openmetrics = content_type.startswith(_OPENMETRICS)
    parts: list[str] = []
    for metric in metrics:
        if isinstance(metric, Reading):
            parts.append(_own(metric, openmetrics))
        else:
            parts.append(_foreign(metric, openmetrics))
    if openmetrics:
        parts.append(_END)
    return content_type, "".join(parts).encode()


def _own(reading: Reading, openmetrics: bool) -> str:
    family = reading.family
    name = reading.name if openmetrics else family.name
    lines = [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
    if openmetrics and reading.unit:
        lines.append(f"# UNIT {name} {reading.unit}")
    lines += reading.lines(exemplars=openmetrics)
    lines.append("")
    return "\n".join(lines)


class _One(CollectorRegistry):
    """A registry of one metric that is there already."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self.register(_Given(metric))


class _Given(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def _foreign(metric: Metric, openmetrics: bool) -> str:
    registry = _One(metric)
    text = generate_openmetrics(registry) if openmetrics else generate_latest(registry)  # type: ignore[no-untyped-call]
    return bytes(text).decode().removesuffix(_END)
