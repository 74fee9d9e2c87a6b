"""Prometheus metrics: plain integers while packets come, series when somebody asks."""

from sipwatch.sinks.metrics.calls import CallMetrics
from sipwatch.sinks.metrics.collector import SnapshotCollector
from sipwatch.sinks.metrics.exposition import exposition
from sipwatch.sinks.metrics.readings import Reading

__all__ = ["CallMetrics", "Reading", "SnapshotCollector", "exposition"]
