"""Who goes first when there is no more room: floods must not push out what others need.

What waits for its other parts is held on account of an owner, the address that it came from::

    shares = Shares(share)
    shares.put(owner, key, cost, worth, trusted)    # or again, with what it costs by now
    shares.drop(owner, key)
    owner, key = shares.next_to_go()

The owner that holds most gives first, as soon as it holds more than ``share``: a flood from one
address, or from a few, only pushes out itself. Where the addresses are forged none holds much;
then those give first whose best is of least `Worth`, and last those who are ``trusted``; what is
worth what, the caller knows. Among equals the ones that began to hold first give in turn. Of one
owner the oldest goes first of what is worth least.

Every step takes the same time, however many owners there are.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Worth(IntEnum):
    """What is known of something that is held."""

    #: Not what anybody waits for.
    UNWANTED = 0
    UNKNOWN = 1
    WANTED = 2


_TRUSTED = len(Worth)


class _Owner(Generic[Key]):
    __slots__ = ("cost", "items", "level", "trusted")

    def __init__(self) -> None:
        #: Cost by key, the oldest first, for each worth.
        self.items: tuple[dict[Key, int], ...] = tuple({} for _ in Worth)
        self.cost = 0
        self.trusted = False
        self.level = -1

    def count(self) -> int:
        return sum(map(len, self.items))

    def oldest(self) -> Key:
        return next(key for items in self.items for key in items)

    def standing(self) -> int:
        """The worth of the best it has, more where it is trusted."""
        return _TRUSTED if self.trusted else max(worth for worth in Worth if self.items[worth])


class Shares(Generic[Key]):
    """What is held, by owner; see the module's docstring. Costs are integers above zero."""

    def __init__(self, share: int) -> None:
        self.share = share
        #: Of everything held.
        self.cost = 0
        self._owners: dict[bytes, _Owner[Key]] = {}
        #: Owners by how soon they have to give; there are few levels.
        self._levels: dict[int, dict[bytes, None]] = {}

    def __len__(self) -> int:
        """Owners of something."""
        return len(self._owners)

    def put(
        self,
        owner: bytes,
        key: Key,
        cost: int,
        *,
        worth: Worth = Worth.UNKNOWN,
        trusted: bool = False,
    ) -> None:
        """Hold ``key``, or note what is known of it now. Who was trusted stays so."""
        holder = self._owners.get(owner)
        if holder is None:
            holder = self._owners[owner] = _Owner()
        items = holder.items[worth]
        before = items.get(key, 0) or _take(holder.items, key)
        items[key] = cost
        holder.cost += cost - before
        self.cost += cost - before
        holder.trusted = holder.trusted or trusted
        self._rank(owner, holder)

    def drop(self, owner: bytes, key: Key) -> None:
        """Hold ``key`` no longer, if it was held."""
        holder = self._owners.get(owner)
        if holder is None:
            return
        cost = _take(holder.items, key)
        holder.cost -= cost
        self.cost -= cost
        if holder.cost:
            self._rank(owner, holder)
        else:
            del self._owners[owner]
            self._leave(owner, holder.level)

    def of(self, owner: bytes) -> tuple[int, int]:
        """How many things an owner has, and what they cost."""
        holder = self._owners.get(owner)
        return (holder.count(), holder.cost) if holder else (0, 0)

    def first_of(self, owner: bytes) -> Key:
        """What the owner of something would give first."""
        return self._owners[owner].oldest()

    def next_to_go(self) -> tuple[bytes, Key]:
        """Who has to give, and what; something must be held."""
        owners = self._levels[max(self._levels)]
        owner = next(iter(owners))
        # The next time it is another one's turn.
        del owners[owner]
        owners[owner] = None
        return owner, self.first_of(owner)

    def _rank(self, owner: bytes, holder: _Owner[Key]) -> None:
        level = _TRUSTED - holder.standing()
        if holder.cost > self.share:
            # By the logarithm of what it holds, above all who hold less than a share.
            level = _TRUSTED + holder.cost.bit_length()
        if level != holder.level:
            self._leave(owner, holder.level)
            holder.level = level
            self._levels.setdefault(level, {})[owner] = None

    def _leave(self, owner: bytes, level: int) -> None:
        owners = self._levels.get(level)
        if owners is not None:
            owners.pop(owner, None)
            if not owners:
                del self._levels[level]


def _take(items: tuple[dict[Key, int], ...], key: Key) -> int:
    """Takes a key out wherever it is; what it cost, 0 if it is nowhere."""
    return sum(by_worth.pop(key, 0) for by_worth in items)
