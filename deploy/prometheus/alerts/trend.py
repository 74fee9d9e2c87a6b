"""When a share of a day is more than that of the week before it: too much to be chance."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import indent

#: So many times the share of the week before, and so many points more.
FACTOR, POINTS = 1.5, 0.05

#: A number of a window and an offset, such as `1d` and ` offset 1d`, as PromQL.
Counted = Callable[[str, str], str]

RISEN = f"at least {FACTOR} times the share of the week before, and {POINTS * 100:.0f} percentage "
RISEN += "points more"


def risen(ours: Counted, all_: Counted, least_day: int, least_week: int) -> str:
    """The expression, whose value is the share of the last day; enough must have been counted."""
    last, before = ("1d", ""), ("7d", " offset 1d")
    day, week = (_share(ours(*span), all_(*span)) for span in (last, before))
    return (
        f"{day}\n>= {FACTOR} *\n{week}\n"
        f"and\n{day}\n-\n{week}\n>= {POINTS}\n"
        f"and\n{all_(*last)}\n>= {least_day}\n"
        f"and\n{all_(*before)}\n>= {least_week}"
    )


def _share(ours: str, all_: str) -> str:
    inner = indent(f"{ours}\n/\n{all_}", "  ")
    return f"(\n{inner}\n)"
