"""Keeps dictionaries of what waits in bounds: the oldest go, many at a time.

A dictionary whose first entry is taken again and again is slow, for it steps over all that was
taken before; taking half of them at once costs little for each.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def make_room(table: dict[_Key, _Value], most: int) -> None:
    """Let one more entry into a table of at most `most`; the older half goes when it is full."""
    if len(table) >= most:
        for key in list(islice(table, (most + 1) // 2)):
            del table[key]


def take_stale(
    table: dict[_Key, _Value], when: Callable[[_Value], float], before: float
) -> list[_Value]:
    """Take out the entries, oldest first, whose time is `before` or earlier."""
    keys = []
    for key, value in table.items():
        if when(value) > before:
            break
        keys.append(key)
    return [table.pop(key) for key in keys]
