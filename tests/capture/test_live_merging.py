"""Order of time over several rings, and the hint that only one direction is seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sipwatch.capture.directions import Directions
from sipwatch.capture.merging import Merger
from sipwatch.net.types import Batch, Datagram, Unreachable


def at(time: float, source: bytes = b"aaaa", destination: bytes = b"bbbb") -> Datagram:
    return Datagram(time, (source, 5060), (destination, 5060), "UDP", b"", "eth0", 1)


def times(batch: Batch) -> list[float]:
    return [item.time for item in batch]


def test_waits_for_what_another_ring_has_of_the_same_time() -> None:
    merger = Merger(0.125)
    merger.add(10.00, [at(5.0), at(5.2)])
    assert merger.take(10.0625) == []
    merger.add(10.0625, [at(5.1), at(5.3)])
    assert times(merger.take(10.125)) == [5.0, 5.1, 5.2]
    assert merger.due(10.125) is not None
    assert times(merger.take(10.1875)) == [5.3]
    assert merger.due(10.1875) is None


def test_due() -> None:
    merger = Merger(0.125)
    assert merger.due(1.0) is None
    merger.add(1.0, [])
    assert merger.due(1.0) is None
    merger.add(1.0, [at(5.0)])
    assert merger.due(1.0) == 0.125
    assert merger.due(2.0) == 0.0


def test_a_clock_that_was_set_back_holds_nothing() -> None:
    merger = Merger(0.125)
    merger.add(10.0, [at(5000.0)])
    merger.add(10.0625, [at(1.0)])
    merger.add(10.09375, [at(1.1)])
    assert times(merger.take(10.125)) == [1.0, 1.1, 5000.0]


def test_drained_at_the_end() -> None:
    merger = Merger(10)
    merger.add(1.0, [at(2.0), at(1.0)])
    assert times(merger.drain()) == [1.0, 2.0]
    assert merger.drain() == []
    assert merger.due(1.0) is None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.integers(0, 1)), max_size=60))
def test_no_packet_is_lost_and_late_by_less_than_the_hold_is_in_order(packets) -> None:
    """Stamp, delay until it is read, and ring; the hold is ten."""
    arrivals = sorted(
        (stamp + delay, stamp, number) for number, (stamp, delay, _) in enumerate(packets)
    )
    merger = Merger(10)
    got: list[float] = []
    for now in range(80):
        merger.add(float(now), [at(float(stamp)) for read, stamp, _ in arrivals if read == now])
        got += times(merger.take(float(now)))
    assert got == sorted(float(stamp) for stamp, _, _ in packets)


def test_nothing_is_said_before_there_is_enough() -> None:
    directions = Directions()
    directions.observe([at(1.0)] * 10)
    assert directions.only_one() is None


def test_one_direction() -> None:
    directions = Directions()
    for second in range(30):
        directions.observe([at(float(second)), at(float(second), b"cccc", b"bbbb")])
    assert directions.only_one() is True


def test_both_directions_of_one_pair_are_enough() -> None:
    directions = Directions()
    directions.observe([at(1.0)] * 15)
    directions.observe([at(2.0, b"bbbb", b"aaaa")])
    directions.observe([at(3.0)] * 15)
    assert directions.only_one() is False


def test_a_direction_that_is_lost_later_is_noticed_within_a_minute() -> None:
    directions = Directions()
    directions.observe([at(0.0), at(0.0, b"bbbb", b"aaaa")])
    seen = []
    for second in range(1, 62):
        directions.observe([at(float(second))])
        seen.append(directions.only_one())
    assert seen[0] is False
    assert seen[-1] is True


def test_a_host_that_talks_to_itself_is_no_complaint() -> None:
    directions = Directions()
    directions.observe([at(1.0, b"aaaa", b"aaaa")] * 16)
    directions.observe([at(1.0, b"aaaa", b"aaaa")] * 16)
    assert directions.only_one() is False


def test_reports_are_no_direction_and_pairs_are_bounded() -> None:
    directions = Directions()
    report = Unreachable(1.0, b"aaaa", (b"a", 1), (b"b", 2), b"", "eth0", 1, 1, 1, 3)
    directions.observe([report])
    for number in range(5000):
        directions.observe([at(1.0, number.to_bytes(4, "big"), b"\xff" * 4)])
    assert len(directions._pairs) <= 256
    assert directions.only_one() is True
