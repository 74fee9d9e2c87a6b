"""What is remembered of legs that have ended."""

from __future__ import annotations

import pytest

from sipwatch.calls.recent import RECENT_SECONDS, Recent

NOW = 1_776_934_800.25


def test_the_last_leg_is_known_by_its_call_id_alone() -> None:
    recent = Recent(100)
    recent.add(b"a@b", b"z9hG4bK1", 9_999_999_999, NOW, is_last=True)
    assert b"a@b" in recent
    assert b"a@c" not in recent
    assert recent.cseq(b"a@b") == 9_999_999_999
    assert recent.cseq(b"a@c") is None
    assert recent.has(b"a@b", b"z9hG4bK1")
    assert not recent.has(b"a@b", b"z9hG4bK2")
    # A request without a branch cannot be told from that leg's.
    assert recent.has(b"a@b", b"")
    assert not recent.has(b"a@c", b"")


def test_a_leg_that_others_outlive_is_known_by_its_branch() -> None:
    recent = Recent(100)
    recent.add(b"a@b", b"z9hG4bK1", 1, NOW, is_last=False)
    assert b"a@b" not in recent
    assert recent.has(b"a@b", b"z9hG4bK1")
    assert not recent.has(b"a@b", b"z9hG4bK2")


def test_the_next_last_leg_does_not_hide_the_one_before() -> None:
    recent = Recent(100)
    for number in (1, 2, 3):
        recent.add(b"a@b", b"z9hG4bK%d" % number, number, NOW + number, is_last=True)
    assert recent.cseq(b"a@b") == 3
    assert all(recent.has(b"a@b", b"z9hG4bK%d" % number) for number in (1, 2, 3))


def test_a_leg_is_known_by_what_came_of_its_call_id_long_before() -> None:
    recent = Recent(1_000)
    for number in range(100):
        recent.add(b"a@b", b"z9hG4bK%d" % number, number, NOW + number / 10, is_last=True)
        recent.add(b"%d@b" % number, b"z9hG4bK", 1, NOW + number / 10, is_last=True)
        recent.prune(NOW + number / 10)
    assert recent.cseq(b"a@b") == 99
    assert all(recent.has(b"a@b", b"z9hG4bK%d" % number) for number in range(100))
    assert not recent.has(b"a@b", b"z9hG4bK100")
    assert recent.has(b"a@b", b"")


@pytest.mark.parametrize("gap", [0.1, 0.3, 2.0, 60.0])
def test_it_forgets_not_before_its_time_and_soon_after(gap: float) -> None:
    recent = Recent(100_000)
    ended: list[float] = []
    for number in range(round(max(100, 120 / gap))):
        now = NOW + number * gap
        recent.add(b"%d" % number, b"z", number, now, is_last=True)
        ended.append(now)
        if number % 10 == 9:
            recent.prune(now)
            known = [at for number, at in enumerate(ended) if b"%d" % number in recent]
            assert known == ended[-len(known) :]
            assert len(recent) == len(known)
            assert sum(now - at < RECENT_SECONDS for at in ended) <= len(known)
            # A generation grows for 5 s, and from one pruning to the next.
            assert known[0] >= now - RECENT_SECONDS - 5.0 - 20 * gap
    recent.prune(now + RECENT_SECONDS)
    recent.prune(now + 2 * RECENT_SECONDS)
    assert len(recent) == 0
    assert b"0" not in recent


def test_many_legs_of_one_call_id_are_forgotten_as_others_are() -> None:
    recent = Recent(1_000)
    for number in range(20_000):
        recent.add(b"a", b"%d" % number, 1, NOW, is_last=True)
        recent.add(b"a", b"%d" % (number % 3), 1, NOW, is_last=False)
    assert recent.has(b"a", b"19999")
    assert not recent.has(b"a", b"100")


def test_the_oldest_go_when_there_are_too_many() -> None:
    recent = Recent(640)
    for number in range(2_000):
        recent.add(b"%d" % number, b"z", 1, NOW, is_last=True)
        assert len(recent) <= 640
    assert b"1999" in recent
    assert b"1450" in recent
    assert b"1300" not in recent
