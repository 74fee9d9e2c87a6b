"""Who goes first when there is no more room: floods must not push out what others need.

What waits for its other parts is held on account of an owner, the address that it came from::

    shares = Shares(share)
    shares.put(owner, key, cost, wanted, trusted)   # or again, with what it costs by now
    shares.drop(owner, key)
    owner, key = shares.next_to_go()

The owner that holds most gives first, as soon as it holds more than ``share``: a flood from one
address, or from a few, only pushes out itself. Where the addresses are forged none holds much;
then those give first who have nothing that is ``wanted``, then those who have, and last those who
are ``trusted``; which these are, the caller knows. Among equals the ones that began to hold first
give in turn. Of one owner the oldest goes first that is not wanted, then the oldest.

Every step takes the same time, however many owners there are.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")

#: How soon those give who hold no more than their share; above that comes the logarithm of what
#: the others hold.
_TRUSTED, _WANTED, _UNKNOWN = 0, 1, 2


class _Owner(Generic[Key]):
    __slots__ = ("cost", "level", "others", "trusted", "wanted")

    def __init__(self) -> None:
        #: Cost by key, the oldest first.
        self.wanted: dict[Key, int] = {}
        self.others: dict[Key, int] = {}
        self.cost = 0
        self.trusted = False
        self.level = -1

    def oldest(self) -> Key:
        return next(iter(self.others or self.wanted))


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
        self, owner: bytes, key: Key, cost: int, *, wanted: bool = False, trusted: bool = False
    ) -> None:
        """Hold ``key``, or note what it costs now; what was wanted or trusted once stays so."""
        holder = self._owners.get(owner)
        if holder is None:
            holder = self._owners[owner] = _Owner()
        if wanted and key not in holder.wanted:
            holder.wanted[key] = holder.others.pop(key, 0)
        items = holder.wanted if key in holder.wanted else holder.others
        more = cost - items.get(key, 0)
        items[key] = cost
        holder.cost += more
        self.cost += more
        holder.trusted = holder.trusted or trusted
        self._rank(owner, holder)

    def drop(self, owner: bytes, key: Key) -> None:
        """Hold ``key`` no longer, if it was held."""
        holder = self._owners.get(owner)
        if holder is None:
            return
        cost = holder.others.pop(key, 0) or holder.wanted.pop(key, 0)
        holder.cost -= cost
        self.cost -= cost
        if holder.others or holder.wanted:
            self._rank(owner, holder)
        else:
            del self._owners[owner]
            self._leave(owner, holder.level)

    def of(self, owner: bytes) -> tuple[int, int]:
        """How many things an owner has, and what they cost."""
        holder = self._owners.get(owner)
        if holder is None:
            return 0, 0
        return len(holder.wanted) + len(holder.others), holder.cost

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
        if holder.cost > self.share:
            level = _UNKNOWN + holder.cost.bit_length()
        elif holder.trusted:
            level = _TRUSTED
        else:
            level = _WANTED if holder.wanted else _UNKNOWN
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
