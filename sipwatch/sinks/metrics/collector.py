"""The custom collector that a prometheus-client registry asks at scrape time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sipwatch.sinks.metrics.readings import Reading


class SnapshotCollector(Collector):
    """Asks for a snapshot, all of one moment, and hands it out."""

    def __init__(self, take: Callable[[], Iterable[Reading]]) -> None:
        self._take = take

    def describe(self) -> list[Metric]:
        """Nothing: registering shall not take a snapshot."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of one snapshot."""
        yield from self._take()
