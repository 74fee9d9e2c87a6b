"""What a report says of its input: what was read of it, and what of it was lost or given up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipwatch.capture.stats import CaptureStats

if TYPE_CHECKING:
    from sipwatch.pipeline import Replay


@dataclass(slots=True)
class Reading:
    """The counts of one replay, or of several that a report takes together."""

    stats: CaptureStats = field(default_factory=CaptureStats)
    #: SIP messages that could not be understood, by reason.
    malformed: Counter[str] = field(default_factory=Counter)
    #: Attempts that were given up because too many were open.
    evictions: int = 0
    #: SIP/TLS connections without keys.
    unread_connections: int = 0

    @classmethod
    def of(cls, replay: Replay) -> Reading:
        """What a replay has counted so far."""
        pipeline = replay.pipeline
        stats = replay.stats
        return cls(
            stats,
            pipeline.sip.malformed,
            pipeline.tracker.counts["evictions"],
            stats.unread_connections(pipeline.config.ports),
        )

    def add(self, other: Reading) -> None:
        """Takes in what another replay has counted."""
        self.stats.add(other.stats)
        self.malformed.update(other.malformed)
        self.evictions += other.evictions
        self.unread_connections += other.unread_connections
