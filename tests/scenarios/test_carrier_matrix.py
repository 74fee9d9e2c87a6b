"""The same verdict for the same call, whatever carried it: every scenario in every carrier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import pytest
from carriers import CARRIERS, Carrier, Frame
from play_runner import fingerprint, run
from scenario_table import Scenario, scenarios

from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch, Datagram

Said: TypeAlias = tuple[list[object], list[object]]


@cache
def plays() -> list[tuple[Scenario, list[Datagram], Said]]:
    """Scenarios of datagrams alone (no ICMP, nothing lost by the capture), what is said of them."""
    found = []
    for scenario in scenarios():
        items = [one.item for one in scenario.seen()]
        datagrams = [one for one in items if isinstance(one, Datagram)]
        if len(datagrams) == len(items):
            said = fingerprint(run(numbered(datagrams), scenario.config, scenario.quiet))
            found.append((scenario, datagrams, said))
    return found


def decoded(frames: Sequence[Frame]) -> Batch:
    """What our decoder finds in frames, in the order of their times."""
    decoder = FrameDecoder()
    found: Batch = []
    last = 0.0
    for number, frame in enumerate(sorted(frames, key=lambda one: one.time), 1):
        found += decoder.decode(frame.time, frame.data, 1, "play", number)
        last = frame.time
    found += decoder.advance(last + 60.0)
    found += decoder.finish()
    return found


def numbered(batch: Batch | list[Datagram]) -> Batch:
    """With numbers that do not depend on how many packets a message takes; evidence names them."""
    return [one._replace(number=number) for number, one in enumerate(batch, 1)]


def content(batch: Sequence[object]) -> list[tuple[object, ...]]:
    return [
        (one.source, one.destination, one.payload) for one in batch if isinstance(one, Datagram)
    ]


@pytest.mark.parametrize("name", CARRIERS)
def test_every_scenario(name: str) -> None:
    """What is said of plain datagrams is held against the table elsewhere."""
    carrier: Carrier = CARRIERS[name]
    wrong: list[str] = []
    for scenario, datagrams, said in plays():
        batch = decoded(carrier(datagrams))
        assert content(batch) == content(datagrams), scenario.id
        assert [one.time for one in batch] == pytest.approx([one.time for one in datagrams])
        if fingerprint(run(numbered(batch), scenario.config, scenario.quiet)) != said:
            wrong.append(scenario.id)
    assert not wrong


def test_there_are_enough_scenarios() -> None:
    assert len(plays()) > 100
