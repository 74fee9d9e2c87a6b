"""What is remembered of legs that have ended."""

from __future__ import annotations

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


def test_it_forgets_after_its_time() -> None:
    recent = Recent(100)
    for number in range(10):
        recent.add(b"%d" % number, b"z", 1, NOW + number, is_last=True)
    recent.prune(NOW + RECENT_SECONDS + 4.5)
    assert [b"%d" % number in recent for number in range(10)] == [False] * 5 + [True] * 5
    recent.prune(NOW + RECENT_SECONDS + 9)
    assert len(recent) == 0


def test_the_oldest_go_when_there_are_too_many() -> None:
    recent = Recent(640)
    for number in range(2_000):
        recent.add(b"%d" % number, b"z", 1, NOW, is_last=True)
        assert len(recent) <= 640
    assert b"1999" in recent
    assert b"1400" in recent
    assert b"1300" not in recent
