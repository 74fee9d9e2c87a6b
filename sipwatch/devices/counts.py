"""The measures of registrations, RFC 6076 4.1 and 4.2, as plain numbers."""

from __future__ import annotations

from bisect import bisect_left

#: Upper edges of the histogram of the registration request delay, in seconds.
DELAY_EDGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RegistrationCounts:
    """What was asked of registrars, and how it went."""

    __slots__ = (
        "attempts",
        "delay_buckets",
        "delay_seconds",
        "ineffective",
        "moves",
        "successful",
        "timeouts",
    )

    def __init__(self) -> None:
        #: REGISTERs, neither retransmitted nor sent again with credentials.
        self.attempts = 0
        self.successful = 0
        #: IRA: refused (challenges are no refusals) or never answered; the latter alone.
        self.ineffective = 0
        self.timeouts = 0
        #: RRD: from the first REGISTER, challenge included, to its 2xx. Sum, and how many lay at
        #: or below each of `DELAY_EDGES` but above the one before; the last is beyond all.
        self.delay_seconds = 0.0
        self.delay_buckets = [0] * (len(DELAY_EDGES) + 1)
        #: Registrations renewed from another address or port.
        self.moves = 0

    def delayed(self, seconds: float) -> None:
        """One more successful registration that took so long."""
        self.successful += 1
        self.delay_seconds += seconds
        self.delay_buckets[bisect_left(DELAY_EDGES, seconds)] += 1
