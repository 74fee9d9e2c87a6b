"""Legs that have ended a short while ago, so that late messages do not look like new calls.

Thousands of calls a second leave a hundred thousand of them, so each is two integers: hashes take
the place of Call-ID and branch. They are Python's own for bytes, keyed anew with every start: two
meet by chance once in a century of 3,000 calls a second, and nobody can aim at it.
"""

from __future__ import annotations

from itertools import islice

#: So long after its end a leg is remembered, in seconds: no message is repeated for longer than
#: 64 T1 (RFC 3261 17.1.1.2, 17.1.2.2), and what is captured may come late.
RECENT_SECONDS = 34.0
#: One of so many goes when there are too many: one by one would cost a walk over the gaps each.
_SHARE = 64
# An entry is, from its high bits to its low ones: microseconds, CSeq number, hash of the branch.
#: 60 bits make an integer of 32 bytes, one more bit makes it 48.
_HASH_BITS = 60
_HASH_MASK = (1 << _HASH_BITS) - 1
_CSEQ_BITS = 34
_CSEQ_MASK = (1 << _CSEQ_BITS) - 1
_TIME_SHIFT = _HASH_BITS + _CSEQ_BITS
_NO_BRANCH = hash(b"") & _HASH_MASK


class Recent:
    """Ended legs by Call-ID; those of which others live or follow, by Call-ID and branch."""

    __slots__ = ("_entries", "_most")

    def __init__(self, most: int) -> None:
        """`most` is how many are remembered; the oldest go first."""
        self._entries: dict[int, int] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, call_id: bytes) -> bool:
        """Whether the last leg of this Call-ID has ended."""
        return hash(call_id) & _HASH_MASK in self._entries

    def cseq(self, call_id: bytes) -> int | None:
        """The CSeq number of the last leg of this Call-ID; None when it is not known."""
        entry = self._entries.get(hash(call_id) & _HASH_MASK)
        return None if entry is None else entry >> _HASH_BITS & _CSEQ_MASK

    def has(self, call_id: bytes, branch: bytes) -> bool:
        """Whether a leg of this Call-ID and branch has ended."""
        key, mark = hash(call_id) & _HASH_MASK, hash(branch) & _HASH_MASK
        entry = self._entries.get(key)
        if entry is not None and (not branch or entry & _HASH_MASK == mark):
            return True
        return _of_branch(key, mark) in self._entries

    def add(self, call_id: bytes, branch: bytes, cseq: int, now: float, *, is_last: bool) -> None:
        """A leg has ended at `now` (epoch seconds); `is_last`: no other of its Call-ID lives."""
        entries = self._entries
        call, mark = hash(call_id) & _HASH_MASK, hash(branch) & _HASH_MASK
        key = call if is_last or not branch else _of_branch(call, mark)
        before = entries.pop(key, None)
        if before is not None and before & _HASH_MASK not in (mark, _NO_BRANCH):
            entries[_of_branch(call, before & _HASH_MASK)] = before
        entries[key] = int(now * 1e6) << _TIME_SHIFT | (cseq & _CSEQ_MASK) << _HASH_BITS | mark
        if len(entries) > self._most:
            for oldest in list(islice(entries, 1 + self._most // _SHARE)):
                del entries[oldest]

    def prune(self, now: float) -> None:
        """Forget those whose time is over at `now`."""
        until = int((now - RECENT_SECONDS) * 1e6)
        entries = self._entries
        over = []
        for key, entry in entries.items():
            if entry >> _TIME_SHIFT > until:
                break
            over.append(key)
        for key in over:
            del entries[key]


def _of_branch(call: int, mark: int) -> int:
    return hash((call, mark)) & _HASH_MASK
