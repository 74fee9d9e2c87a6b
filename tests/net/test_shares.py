"""Who gives first: against a plain model that looks through all owners each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipwatch.net.shares import Shares, Worth

A, B, C, D = b"a", b"b", b"c", b"d"


def order(shares: Shares[int]) -> list[tuple[bytes, int]]:
    """All that is held, in the order in which it goes."""
    gone = []
    while len(shares):
        gone.append(shares.next_to_go())
        shares.drop(*gone[-1])
    return gone


def test_who_holds_more_than_a_share_gives_first() -> None:
    shares: Shares[int] = Shares(100)
    shares.put(A, 1, 10)
    shares.put(B, 2, 80, trusted=True)
    shares.put(B, 3, 80)
    assert shares.of(B) == (2, 160)
    # Once B is down to a share it is as good as anybody, and better: it is trusted.
    assert order(shares) == [(B, 2), (A, 1), (B, 3)]
    assert shares.cost == 0


def test_the_greatest_of_them_before_the_great() -> None:
    shares: Shares[int] = Shares(100)
    shares.put(A, 1, 300)
    shares.put(B, 2, 3000)
    shares.put(C, 3, 600)
    assert order(shares) == [(B, 2), (C, 3), (A, 1)]


def test_unwanted_then_unknown_then_wanted_then_trusted() -> None:
    shares: Shares[int] = Shares(100)
    shares.put(C, 1, 10, worth=Worth.UNWANTED, trusted=True)
    shares.put(B, 2, 10, worth=Worth.WANTED)
    shares.put(D, 3, 10)
    shares.put(A, 4, 10, worth=Worth.UNWANTED)
    assert order(shares) == [(A, 4), (D, 3), (B, 2), (C, 1)]


def test_of_one_owner_the_oldest_and_the_wanted_last() -> None:
    shares: Shares[int] = Shares(100)
    shares.put(A, 1, 10, worth=Worth.WANTED)
    shares.put(A, 2, 10)
    shares.put(A, 3, 10)
    shares.put(A, 4, 10, worth=Worth.UNWANTED)
    shares.put(A, 2, 12, worth=Worth.WANTED)
    assert shares.first_of(A) == 4
    assert shares.of(A) == (4, 42)
    assert order(shares) == [(A, 4), (A, 3), (A, 1), (A, 2)]


def test_equals_give_in_turn() -> None:
    shares: Shares[int] = Shares(100)
    for key in range(6):
        shares.put((A, B)[key % 2], key, 10)
    assert order(shares) == [(A, 0), (B, 1), (A, 2), (B, 3), (A, 4), (B, 5)]


def test_what_was_not_held_is_not_dropped() -> None:
    shares: Shares[int] = Shares(100)
    shares.drop(A, 1)
    shares.put(A, 1, 10)
    shares.drop(A, 2)
    shares.drop(B, 1)
    assert (shares.of(A), shares.of(B), shares.cost) == ((1, 10), (0, 0), 10)


_STEP = st.tuples(
    st.sampled_from([A, B, C]),
    st.integers(0, 6),
    st.integers(0, 90),
    st.sampled_from(Worth),
    st.booleans(),
)


@given(st.lists(_STEP, max_size=60))
def test_any_use_agrees_with_a_plain_model(
    steps: list[tuple[bytes, int, int, Worth, bool]],
) -> None:
    shares: Shares[int] = Shares(100)
    held: dict[bytes, dict[int, int]] = {}
    for owner, key, cost, worth, trusted in steps:
        if cost:
            shares.put(owner, key, cost, worth=worth, trusted=trusted)
            held.setdefault(owner, {})[key] = cost
        else:
            shares.drop(owner, key)
            held.get(owner, {}).pop(key, None)
    held = {owner: items for owner, items in held.items() if items}
    total = {owner: sum(items.values()) for owner, items in held.items()}
    assert shares.cost == sum(total.values())
    assert {owner: shares.of(owner) for owner in (A, B, C)} == {
        owner: (len(held.get(owner, ())), total.get(owner, 0)) for owner in (A, B, C)
    }
    if held:
        owner, key = shares.next_to_go()
        assert key in held[owner]
        most = max(total.values())
        if most > 100:
            assert total[owner].bit_length() == most.bit_length()
    gone = order(shares)
    assert sorted(gone) == sorted((owner, key) for owner, items in held.items() for key in items)
