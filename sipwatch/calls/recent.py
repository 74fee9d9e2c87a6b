"""Legs that have ended a short while ago, so that late messages do not look like new calls.

Thousands of calls a second leave a hundred thousand of them, so each is three numbers: hashes take
the place of Call-ID and branch. They are Python's own for bytes, keyed anew with every start: two
meet by chance once in a century of 3,000 calls a second, and nobody can aim at it.

What came within a few seconds is one generation: a dictionary while it grows, then arrays in order
of the hash, which take a fifth of the memory. A generation goes as a whole, once the last of it
is old enough.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator

#: So long after its end a leg is remembered, in seconds: no message is repeated for longer than
#: 64 T1 (RFC 3261 17.1.1.2, 17.1.2.2), and what is captured may come late.
RECENT_SECONDS = 34.0
#: A generation grows for so many seconds, or until it is one of so many of all that may be.
_SPAN_SECONDS = 5.0
_SHARE = 16
#: A hash has 60 bits. An entry of a growing generation is the CSeq number before the hash of the
#: branch.
_HASH_BITS = 60
_HASH_MASK = (1 << _HASH_BITS) - 1
_NO_BRANCH = hash(b"") & _HASH_MASK
#: CSeq numbers have ten digits at most.
_CSEQ_MASK = (1 << 64) - 1
#: How many entries have the same low bits is counted: mostly none has those of a new call.
_SLOTS = 1 << 19
_SLOT_MASK = _SLOTS - 1
_MOST_COUNTED = 255


class Recent:
    """Ended legs by Call-ID; those of which others live or follow, by Call-ID and branch."""

    __slots__ = ("_began", "_closed", "_growing", "_most", "_newest", "_used")

    def __init__(self, most: int) -> None:
        """`most` is how many are remembered; the oldest go first."""
        self._growing: dict[int, int] = {}
        self._began = self._newest = 0.0
        self._closed: deque[_Generation] = deque()
        self._used = bytearray(_SLOTS)
        self._most = most

    def __len__(self) -> int:
        return len(self._growing) + sum(len(each.keys) for each in self._closed)

    def __contains__(self, call_id: bytes) -> bool:
        """Whether the last leg of this Call-ID has ended."""
        return self.cseq(call_id) is not None

    def cseq(self, call_id: bytes) -> int | None:
        """The CSeq number of the last leg of this Call-ID; None when it is not known."""
        key = hash(call_id) & _HASH_MASK
        if not self._used[key & _SLOT_MASK]:
            return None
        for cseq, _ in self._find(key):
            return cseq
        return None

    def has(self, call_id: bytes, branch: bytes) -> bool:
        """Whether a leg of this Call-ID and branch has ended."""
        key, mark = hash(call_id) & _HASH_MASK, hash(branch) & _HASH_MASK
        if any(not branch or found == mark for _, found in self._find(key)):
            return True
        return any(True for _ in self._find(_of_branch(key, mark)))

    def add(self, call_id: bytes, branch: bytes, cseq: int, now: float, *, is_last: bool) -> None:
        """A leg has ended at `now` (epoch seconds); `is_last`: no other of its Call-ID lives."""
        growing = self._growing
        if not growing:
            self._began = now
        self._newest = now
        call, mark = hash(call_id) & _HASH_MASK, hash(branch) & _HASH_MASK
        key = call if is_last or not branch else _of_branch(call, mark)
        before = growing.get(key)
        if before is None:
            self._count(key)
        elif before & _HASH_MASK not in (mark, _NO_BRANCH):
            other = _of_branch(call, before & _HASH_MASK)
            if other not in growing:
                self._count(other)
            growing[other] = before
        growing[key] = (cseq & _CSEQ_MASK) << _HASH_BITS | mark
        if len(growing) > self._most // _SHARE:
            self._close()
            # Room for the next generation.
            while len(self) + self._most // _SHARE >= self._most:
                self._drop()

    def prune(self, now: float) -> None:
        """Forget those whose time is over at `now`."""
        if self._growing and now - self._began >= _SPAN_SECONDS:
            self._close()
        while self._closed and self._closed[0].newest <= now - RECENT_SECONDS:
            self._drop()

    def _find(self, key: int) -> Iterator[tuple[int, int]]:
        """CSeq number and mark of each leg of this key, the latest first."""
        if not self._used[key & _SLOT_MASK]:
            return
        entry = self._growing.get(key)
        if entry is not None:
            yield entry >> _HASH_BITS, entry & _HASH_MASK
        for generation in reversed(self._closed):
            place = bisect_left(generation.keys, key)
            if place < len(generation.keys) and generation.keys[place] == key:
                yield generation.cseqs[place], generation.marks[place]

    def _count(self, key: int) -> None:
        slot = key & _SLOT_MASK
        if self._used[slot] < _MOST_COUNTED:
            self._used[slot] += 1

    def _close(self) -> None:
        """The growing generation is complete."""
        self._closed.append(_Generation(self._growing, self._newest))
        self._growing = {}

    def _drop(self) -> None:
        """The oldest generation goes. What was counted to the end is not counted back."""
        used = self._used
        for key in self._closed.popleft().keys:
            slot = key & _SLOT_MASK
            if used[slot] < _MOST_COUNTED:
                used[slot] -= 1


class _Generation:
    """Entries that stay as they are: what belongs together stands at the same place."""

    __slots__ = ("cseqs", "keys", "marks", "newest")

    def __init__(self, entries: dict[int, int], newest: float) -> None:
        """`newest` is the time of the last of them, in epoch seconds."""
        order = sorted(entries)
        self.keys = array("Q", order)
        self.marks = array("Q", [entries[key] & _HASH_MASK for key in order])
        self.cseqs = array("Q", [entries[key] >> _HASH_BITS for key in order])
        self.newest = newest


def _of_branch(call: int, mark: int) -> int:
    return hash((call, mark)) & _HASH_MASK
