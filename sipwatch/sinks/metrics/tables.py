"""Series in plain integers: counters and histograms by label values, bounded in number.

One thread counts. `copy` gives what another thread may read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice

from sipwatch.sinks.metrics.families import Family
from sipwatch.sinks.metrics.labels import OTHER
from sipwatch.sinks.metrics.texts import Labels, labelled


class CounterTable:
    """Counters of one family.

    `known` label values are there from the start at zero. Beyond `limit` series the last label
    of new ones becomes `other`: no count is lost. The line of each series is kept and written anew
    when it has changed, for between two scrapes most have not.
    """

    __slots__ = ("_changed", "_fold", "_lines", "_places", "family", "limit", "overflow", "values")

    def __init__(
        self,
        family: Family,
        known: Iterable[Labels] = (),
        *,
        limit: int = 1000,
        folded: int | None = None,
    ) -> None:
        """`folded` is the position of the label that becomes `other`, the last one by default."""
        self.family = family
        self.values: dict[Labels, int] = dict.fromkeys(known, 0)
        self.limit = max(limit, len(self.values))
        #: How often there was no room for a series.
        self.overflow = 0
        self._fold = len(family.labels) - 1 if folded is None else folded
        self._lines: list[str] = []
        self._places: dict[Labels, int] = {}
        self._changed: set[Labels] = set(self.values)

    def add(self, labels: Labels, number: int = 1) -> Labels:
        """Counts; returns the labels under which it was."""
        values = self.values
        if labels not in values:
            labels = self._admit(labels)
        values[labels] += number
        self._changed.add(labels)
        return labels

    def _admit(self, labels: Labels) -> Labels:
        if len(self.values) < self.limit or OTHER in labels[self._fold : self._fold + 1]:
            self.values.setdefault(labels, 0)
            return labels
        self.overflow += 1
        return self._admit((*labels[: self._fold], OTHER, *labels[self._fold + 1 :]))

    def expect(self, known: Iterable[Labels]) -> None:
        """Makes series exist from now on."""
        for labels in known:
            if labels not in self.values:
                self.values[labels] = 0
                self._changed.add(labels)
        self.limit = max(self.limit, len(self.values))

    def lines(self) -> list[str]:
        """A copy of the lines of all series, in the order of `values`."""
        if len(self._places) < len(self.values):
            for labels in islice(self.values, len(self._places), None):
                self._places[labels] = len(self._lines)
                self._lines.append("")
        family, lines, places = self.family, self._lines, self._places
        for labels in self._changed:
            text = labelled(family.name, family.labels, labels)
            lines[places[labels]] = f"{text} {self.values[labels]}"
        self._changed.clear()
        return lines.copy()

    def place(self, labels: Labels) -> int:
        """Where in `lines` a series stands."""
        return self._places[labels]


class Histogram:
    """Observations of one series."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        #: Observations at or below each bound and above the one before; the last is above all.
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Takes in one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def copy(self) -> Histogram:
        """The same numbers, apart from what comes later."""
        found = Histogram.__new__(Histogram)
        found.bounds, found.counts, found.sum = self.bounds, self.counts.copy(), self.sum
        return found


class HistogramTable:
    """Histograms of one family; their labels come from closed lists and are all there at once."""

    __slots__ = ("family", "values")

    def __init__(self, family: Family, known: Iterable[Labels] = ((),)) -> None:
        self.family = family
        self.values = {labels: Histogram(family.buckets) for labels in known}

    def observe(self, labels: Labels, seconds: float) -> None:
        """Takes in one duration."""
        self.values[labels].observe(seconds)

    def copy(self) -> dict[Labels, Histogram]:
        """All of them, apart from what comes later."""
        return {labels: histogram.copy() for labels, histogram in self.values.items()}
