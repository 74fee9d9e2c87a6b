"""What makes a dashboard empty or wrong: noticed within a minute, and said once."""

from __future__ import annotations

import pytest

from sipwatch.daemon.watch import PROBLEMS, Change, Seen, Watch

NOTHING = Seen(0, 0, 0, 0, 0, 0, 0, None, (), 0.0)


class Line:
    """A capture whose counters move as told, looked at every second."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.seen = NOTHING
        self.watch = Watch(self.now)
        self.changes: list[tuple[float, Change]] = []

    def run(self, seconds: int, **per_second: int) -> None:
        for _ in range(seconds):
            self.now += 1
            more = {name: getattr(self.seen, name) + n for name, n in per_second.items()}
            self.seen = self.seen._replace(**more)
            for change in self.watch.look(self.now, self.seen):
                self.changes.append((self.now - 1000.0, change))

    def said(self) -> list[tuple[str, bool]]:
        return [(change.kind, change.began) for _, change in self.changes]


def test_good_traffic_is_nothing_to_speak_of() -> None:
    line = Line()
    line.run(300, packets=10, messages=10)
    assert line.said() == []
    assert not any(line.watch.active.values())
    assert set(line.watch.active) == set(PROBLEMS)


@pytest.mark.parametrize(
    ("kind", "traffic"),
    [
        ("no_traffic", {}),
        ("no_sip", {"packets": 5}),
        ("encrypted_only", {"packets": 5, "tls_packets": 3}),
    ],
)
def test_silence_of_each_kind(kind: str, traffic: dict[str, int]) -> None:
    """From the start, and after a good hour; over with the first message."""
    for good in (0, 3600):
        line = Line()
        line.run(good, packets=3, messages=3)
        line.run(59, **traffic)
        assert line.said() == [(kind, True)]
        assert 30 <= line.changes[0][0] - good <= 60
        line.run(600, **traffic)
        line.run(1, packets=1, messages=1)
        assert line.said() == [(kind, True), (kind, False)]


def test_a_ping_each_half_minute_is_traffic() -> None:
    line = Line()
    for _ in range(20):
        line.run(29)
        line.run(1, packets=2, messages=2)
    assert line.said() == []


@pytest.mark.parametrize(
    ("kind", "counter"),
    [
        ("snapped", "snapped"),
        ("inflated", "inflated"),
        ("drops", "drops"),
        ("records_lost", "records_lost"),
        ("fault", "faults"),
    ],
)
def test_what_single_packets_show(kind: str, counter: str) -> None:
    line = Line()
    line.run(10, packets=1, messages=1)
    line.run(1, packets=1, messages=1, **{counter: 1})
    assert line.said() == [(kind, True)]
    # More of it is the same problem; it is over when none comes for some minutes.
    line.run(200, packets=1, messages=1, **{counter: 1})
    line.run(290, packets=1, messages=1)
    assert line.said() == [(kind, True)]
    line.run(20, packets=1, messages=1)
    assert line.said() == [(kind, True), (kind, False)]


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("one_direction", {"only_one_direction": True}),
        ("interface_down", {"deaf": ("eth0",)}),
        ("lag", {"lag": 3.5}),
    ],
)
def test_states(kind: str, state: dict) -> None:
    line = Line()
    good = line.seen
    line.seen = good._replace(**state)
    line.run(5, packets=1, messages=1)
    assert line.said() == [(kind, True)]
    line.seen = line.seen._replace(**{name: getattr(NOTHING, name) for name in state})
    line.run(5, packets=1, messages=1)
    assert line.said() == [(kind, True), (kind, False)]


def test_it_is_looked_at_once_a_second() -> None:
    watch = Watch(50.0)
    assert [watch.is_due(now) for now in (50.0, 50.2, 50.9, 51.0, 51.5, 60.0)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
