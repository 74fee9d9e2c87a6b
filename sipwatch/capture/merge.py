"""Several files as one stream in order of time.

The members of a rotating set follow one another: each is read at full speed, and its batches go
through as they are. Files that overlap are merged datagram by datagram.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sipwatch.net.types import Batch

#: Files that are read at the same time. More that overlap wait until one of them has ended, so
#: that neither descriptors nor memory run out; what they hold then comes late.
MAX_OPEN = 128

# Datagrams of a merged batch.
_BATCH = 1024


class Member(NamedTuple):
    """One file: no datagram of it is earlier than ``starts``; ``open`` gives its batches."""

    starts: float
    open: Callable[[], Iterator[Batch]]


@dataclass(slots=True)
class _Cursor:
    """An open member and how far into its present batch the merge has come."""

    batches: Iterator[Batch]
    batch: Batch
    position: int = 0

    @property
    def time(self) -> float:
        return self.batch[self.position].time


def insert(batch: Batch, late: Batch) -> None:
    """Puts what had to wait for other packets in its place by time; there is little of it."""
    for one in late:
        place = len(batch)
        while place and batch[place - 1].time > one.time:
            place -= 1
        batch.insert(place, one)


def merge(members: Sequence[Member], late: Callable[[], None]) -> Iterator[Batch]:
    """Batches of all members in order of time, those of a member in its own order.

    Empty batches pass too: they tell that something was read. ``late`` is called for each member
    that could not be opened before others were read past its beginning.
    """
    waiting = sorted(members, key=lambda member: member.starts, reverse=True)
    # (time of the next datagram, number that keeps the order of equals, member)
    heap: list[tuple[float, int, _Cursor]] = []
    opened = 0
    reached = float("-inf")
    merged: Batch = []
    while heap or waiting:
        due = waiting[-1].starts if waiting and len(heap) < MAX_OPEN else float("inf")
        if not heap or due <= heap[0][0]:
            member = waiting.pop()
            if reached > member.starts:
                late()
            opened += 1
            yield from _refill(_Cursor(member.open(), []), opened, heap)
            continue
        _, number, cursor = heap[0]
        taken = _until(cursor, min([due, *(entry[0] for entry in heap[1:3])]))
        reached = taken[-1].time
        merged = merged + taken if merged else taken
        ended = cursor.position == len(cursor.batch)
        if not ended:
            heapq.heapreplace(heap, (cursor.time, number, cursor))
            if len(merged) < _BATCH:
                continue
        else:
            heapq.heappop(heap)
        yield merged
        merged = []
        if ended:
            yield from _refill(cursor, number, heap)


def _refill(
    cursor: _Cursor, number: int, heap: list[tuple[float, int, _Cursor]]
) -> Iterator[Batch]:
    """Reads on until the member has datagrams, and puts it in; it is left out at its end."""
    for batch in cursor.batches:
        if batch:
            cursor.batch, cursor.position = batch, 0
            heapq.heappush(heap, (cursor.time, number, cursor))
            return
        yield batch


def _until(cursor: _Cursor, limit: float) -> Batch:
    """Takes the datagrams of a member up to a time, at least one of them."""
    batch, start = cursor.batch, cursor.position
    if batch[-1].time <= limit:
        stop = len(batch)
    else:
        stop = start + 1
        while stop < len(batch) and batch[stop].time <= limit:
            stop += 1
    cursor.position = stop
    return batch[start:stop] if start or stop < len(batch) else batch
