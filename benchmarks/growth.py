"""How a cost grows with the number of packets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Growth(NamedTuple):
    """Least squares over (packets, cost): cost = start + each * packets ~ packets ** exponent."""

    start: float
    each: float
    exponent: float


def fit(packets: Sequence[int], costs: Sequence[float]) -> Growth:
    """The exponent is 1 where cost is linear and 0 where it does not grow; two points or more."""
    start, each = _line([float(number) for number in packets], costs)
    logs = [math.log(number) for number in packets], [math.log(cost) for cost in costs]
    return Growth(start, each, _line(*logs)[1])


def _line(places: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    if len(set(places)) < 2:
        raise ValueError("growth needs captures of two sizes or more")
    middle, mean = sum(places) / len(places), sum(values) / len(values)
    slope = sum((x - middle) * (y - mean) for x, y in zip(places, values, strict=True)) / sum(
        (x - middle) ** 2 for x in places
    )
    return mean - slope * middle, slope
