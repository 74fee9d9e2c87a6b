"""What a scrape shows of one metric: a prometheus-client `Metric` that is cheap to make.

The client's own metrics hold a sample object for each line; with many peers and agents making
and formatting those takes longer than a scrape may last beside a full core of packets. A `Reading`
holds the numbers as they were copied; lines are made from it directly, and samples only for who
asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import Exemplar
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from sipwatch.sinks.metrics.families import Family
from sipwatch.sinks.metrics.tables import CounterTable, Histogram
from sipwatch.sinks.metrics.texts import Labels, escaped, labelled, number

#: An exemplar's label set may have so many characters (OpenMetrics 1.0, "Exemplars").
_EXEMPLAR_CHARACTERS = 128
_EXEMPLAR_LABEL = "call_id"


class Witness(NamedTuple):
    """The call that raised a counter last."""

    call_id: str
    #: Epoch seconds.
    time: float


class Reading(Metric):
    """One family with the values of its series at one moment."""

    def __init__(
        self,
        family: Family,
        values: Mapping[Labels, float | Histogram],
        witnesses: Mapping[Labels, Witness] | None = None,
    ) -> None:
        name = family.name.removesuffix("_total") if family.kind == "counter" else family.name
        self.family = family
        self.values = values
        self.witnesses = witnesses or {}
        self.name = name
        self.documentation = family.help
        self.type = family.kind
        self.unit = family.unit if family.kind != "counter" else ""
        self._timestamps = False

    @property
    def samples(self) -> list[Sample]:  # type: ignore[override]
        """Every line as prometheus-client's own type."""
        return [
            Sample(name, labels, value, None, exemplar)
            for name, labels, value, exemplar in self._samples()
        ]

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float, Exemplar | None]]:
        name, names = self.family.name, self.family.labels
        for labels, value in self.values.items():
            named = dict(zip(names, labels, strict=True))
            if isinstance(value, Histogram):
                total = 0
                for bound, count in zip(bounds_of(self.family), value.counts, strict=True):
                    total += count
                    yield f"{name}_bucket", {**named, "le": bound}, total, None
                yield f"{name}_count", named, total, None
                yield f"{name}_sum", named, round(value.sum, 6), None
            else:
                witness = self.witnesses.get(labels)
                yield name, named, value, None if witness is None else _exemplar(witness)

    def lines(self, *, exemplars: bool = False) -> list[str]:
        """The lines of the exposition formats, without HELP and TYPE."""
        family = self.family
        if family.kind == "histogram":
            return self._histogram_lines()
        names, witnesses = family.labels, self.witnesses if exemplars else {}
        found = []
        for labels, value in self.values.items():
            line = f"{labelled(family.name, names, labels)} {number(value)}"  # type: ignore[arg-type]
            if labels in witnesses:
                line += _exemplar_text(witnesses[labels])
            found.append(line)
        return found

    def _histogram_lines(self) -> list[str]:
        family = self.family
        bucket, names = f"{family.name}_bucket", (*family.labels, "le")
        bounds = bounds_of(family)
        found = []
        for labels, value in self.values.items():
            assert isinstance(value, Histogram)
            total = 0
            for bound, count in zip(bounds, value.counts, strict=True):
                total += count
                found.append(f"{labelled(bucket, names, (*labels, bound))} {total}")
            found.append(f"{labelled(family.name + '_count', family.labels, labels)} {total}")
            text = labelled(family.name + "_sum", family.labels, labels)
            found.append(f"{text} {number(round(value.sum, 6))}")
        return found


class CounterReading(Reading):
    """A counter table at one moment, with its lines as they are kept there."""

    def __init__(
        self, table: CounterTable, witnesses: Mapping[Labels, Witness] | None = None
    ) -> None:
        super().__init__(table.family, table.values.copy(), witnesses)
        self._lines = table.lines()
        self._seen = {table.place(labels): each for labels, each in self.witnesses.items()}

    def lines(self, *, exemplars: bool = False) -> list[str]:
        """The lines of the exposition formats, without HELP and TYPE."""
        if not exemplars or not self._seen:
            return self._lines
        lines = self._lines.copy()
        for place, witness in self._seen.items():
            lines[place] += _exemplar_text(witness)
        return lines


def by_label(values: Mapping[str, float]) -> dict[Labels, float]:
    """Values of a family with one label."""
    return {(label,): value for label, value in values.items()}


def bounds_of(family: Family) -> tuple[str, ...]:
    """The values of `le`, in the client libraries' spelling."""
    return (*(repr(float(bound)) for bound in family.buckets), "+Inf")


def _call_id(witness: Witness) -> str:
    return witness.call_id[: _EXEMPLAR_CHARACTERS - len(_EXEMPLAR_LABEL)]


def _exemplar(witness: Witness) -> Exemplar:
    return Exemplar({_EXEMPLAR_LABEL: _call_id(witness)}, 1.0, round(witness.time, 3))


def _exemplar_text(witness: Witness) -> str:
    call_id = escaped(_call_id(witness))
    return f' # {{{_EXEMPLAR_LABEL}="{call_id}"}} 1 {witness.time:.3f}'
