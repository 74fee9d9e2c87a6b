"""A stage for scenarios that are played in real time, side by side, each on a cable of its own.

What is captured of each scenario is followed as the daemon does it: batches as they come, and the
clock going on in between. A host that is too busy plays out of time: `Played.lateness` tells.
"""

from __future__ import annotations

import json
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from carriers import CARRIERS, Frame
from network_namespace import Namespace
from play_runner import Outcome
from scenario_table import Scenario

from sipwatch.capture.live import LiveCapture
from sipwatch.capture.ring import Geometry
from sipwatch.net.types import Datagram
from sipwatch.pipeline import Pipeline

PLAYER = Path(__file__).with_name("player.py")

#: Small rings: a scenario has a hundred packets at most.
_GEOMETRY = Geometry(block_bytes=1 << 17, block_count=8)
_TUNNELS = ("vxlan", "hep")
#: Seconds after the last packet that a capture is polled for.
_AFTER = 0.6


@dataclass(frozen=True)
class Part:
    """One scenario in one carrier, and the datagrams of its play in order."""

    carrier: str
    scenario: Scenario
    datagrams: list[Datagram]

    @property
    def id(self) -> str:
        return f"{self.carrier}: {self.scenario.id}"


@dataclass
class Played:
    """What was captured of one scenario and said of it."""

    part: Part
    outcome: Outcome
    captured: list[Datagram] = field(default_factory=list)

    @property
    def lateness(self) -> float:
        """By how many seconds the time between packets differed from the play's, at most."""
        planned = [one.time for one in self.part.datagrams]
        seen = [one.time for one in self.captured]
        offsets = [b - a for a, b in zip(planned, seen, strict=True)]
        return max(offsets) - min(offsets)


class Stage:
    """A namespace with as many cables as there are scenarios."""

    def __init__(self, cables: int) -> None:
        self._namespace = Namespace()
        # No neighbour discovery that would mix with the play.
        self._namespace._quiet("default")
        self._namespace._quiet("all")
        lines = []
        for number in range(cables):
            here, there = _names(number)
            lines.append(f"link add {here} type veth peer name {there}")
            lines += [f"link set {name} mtu 9000 up" for name in (here, there)]
        with self._namespace.entered():
            subprocess.run(
                ["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, timeout=60
            )
        self._wait_for_carriers()

    def play(self, parts: Sequence[Part]) -> list[Played]:
        """Plays all parts at the same time, each on its cable."""
        schedule: list[tuple[float, str, bytes]] = []
        for number, part in enumerate(parts):
            frames: list[Frame] = sorted(
                CARRIERS[part.carrier](part.datagrams), key=lambda one: one.time
            )
            start = frames[0].time
            schedule += [(one.time - start, _names(number)[0], one.data) for one in frames]
        with ExitStack() as stack:
            captures = [
                stack.enter_context(self._capturing(_names(number)[1], part))
                for number, part in enumerate(parts)
            ]
            played = [Played(part, Outcome(Pipeline(part.scenario.config))) for part in parts]
            player = stack.enter_context(self._player(schedule))
            self._follow(captures, played, player)
        for one in played:
            one.outcome.take(
                one.outcome.pipeline.finish(
                    one.captured[-1].time + one.part.scenario.quiet, "end_of_capture"
                )
                if one.captured
                else []
            )
        return played

    def _wait_for_carriers(self) -> None:
        """Until the kernel has seen that both ends of a cable are up it drops what is sent."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            links = json.loads(self._namespace.ip("-j", "link", "show", "type", "veth"))
            if all(link["operstate"] == "UP" for link in links):
                return
            time.sleep(0.05)
        raise AssertionError("the cables do not come up")

    def close(self) -> None:
        self._namespace.close()

    @contextmanager
    def _capturing(self, name: str, part: Part) -> Iterator[LiveCapture]:
        ports = {end[1] for one in part.datagrams for end in (one.source, one.destination)}
        capture = LiveCapture([name], sorted(ports), tunnels=_TUNNELS, geometry=_GEOMETRY)
        with self._namespace.entered():
            capture.open()
            capture.start()
        try:
            yield capture
        finally:
            capture.close()

    @contextmanager
    def _player(
        self, schedule: list[tuple[float, str, bytes]]
    ) -> Iterator[subprocess.Popen[bytes]]:
        with self._namespace.entered():
            player = subprocess.Popen(
                [sys.executable, str(PLAYER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert player.stdin is not None
        assert player.stdout is not None
        try:
            pickle.dump(schedule, player.stdin)
            player.stdin.flush()
            assert player.stdout.readline() == b"ready\n"
            player.stdin.write(b"\n")
            player.stdin.flush()
            yield player
        finally:
            player.kill()
            player.wait()
            player.stdin.close()
            player.stdout.close()

    @staticmethod
    def _follow(
        captures: Sequence[LiveCapture], played: Sequence[Played], player: subprocess.Popen[bytes]
    ) -> None:
        assert player.stdout is not None
        poller = select.epoll()
        by_descriptor = {capture.fileno(): number for number, capture in enumerate(captures)}
        for descriptor in by_descriptor:
            poller.register(descriptor, select.EPOLLIN)
        poller.register(player.stdout.fileno(), select.EPOLLIN)
        give_up = time.monotonic() + 60.0
        look_at = 0.0
        ends: float | None = None
        while ends is None or time.monotonic() < ends:
            assert time.monotonic() < give_up, "the player does not come to an end"
            ready = {descriptor for descriptor, _ in poller.poll(0.05)}
            if player.stdout.fileno() in ready:
                assert player.stdout.readline() == b"done\n"
                poller.unregister(player.stdout.fileno())
                ends = time.monotonic() + _AFTER
            now = time.monotonic()
            if now >= look_at:
                # Time goes on without packets, too.
                look_at = now + 0.1
                ready = set(by_descriptor)
            for descriptor in ready & set(by_descriptor):
                number = by_descriptor[descriptor]
                _take(captures[number], played[number])
        poller.close()
        for capture, one in zip(captures, played, strict=True):
            _feed(one, [*capture.drain(), *capture.decoder.finish()])


def _take(capture: LiveCapture, one: Played) -> None:
    batch = capture.poll(0.0)
    _feed(one, batch)
    one.outcome.take(one.outcome.pipeline.advance(capture.now()))


def _feed(one: Played, batch: Sequence[object]) -> None:
    datagrams = [item for item in batch if isinstance(item, Datagram)]
    assert len(datagrams) == len(batch), "a play of datagrams alone"
    first = len(one.captured) + 1
    # Numbers that do not depend on how many packets a message takes.
    numbered = [item._replace(number=first + n) for n, item in enumerate(datagrams)]
    one.captured += numbered
    one.outcome.take(one.outcome.pipeline.feed(numbered))


def _names(number: int) -> tuple[str, str]:
    """The end that sends and the end that listens."""
    return f"a{number}", f"b{number}"
