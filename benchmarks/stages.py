#!/usr/bin/env python3
"""Time the stages of a replay one on top of the other, in this process.

Each line is a whole replay up to and with that stage; the difference to the line before is what
the stage costs. Figures are of CPU time, the least of several rounds.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
from captures import capture
from programs import ROOT
from traffic.mix import MIXES

sys.path.insert(0, str(ROOT))

from sipwatch.capture.files import CaptureFiles
from sipwatch.cli.reading import finished
from sipwatch.config import Config
from sipwatch.pipeline import Pipeline, Replay
from sipwatch.sinks.jsonl import JsonLines

_IMPORTS = "import sipwatch.cli.replay, sipwatch.pipeline, sipwatch.sinks.jsonl"


class _Idle:
    """Stands in for a stage: whatever is asked of it, nothing happens."""

    now = 0.0
    next_due = float("inf")
    events: tuple[object, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *arguments: object) -> None:
        return None


def datagrams(path: str) -> None:
    for _ in CaptureFiles([path]).batches():
        pass


def messages(path: str) -> None:
    pipeline = Pipeline(Config())
    pipeline.tracker = _Idle()  # type: ignore[assignment]
    for batch in CaptureFiles([path]).batches():
        pipeline.feed(batch)


def tracker(path: str) -> None:
    replay = Replay([path], Config())
    replay.pipeline.classifier = _Idle()  # type: ignore[assignment]
    for _ in replay.events():
        pass


def verdicts(path: str) -> None:
    for _ in Replay([path], Config()).events():
        pass


def records(path: str) -> None:
    sink = JsonLines(io.StringIO())
    for events in Replay([path], Config()).events():
        attempts, _ = finished(events)
        for attempt in attempts:
            sink.attempt(attempt)
    sink.close()


STAGES: tuple[tuple[str, Callable[[str], None]], ...] = (
    ("capture to datagrams", datagrams),
    ("+ messages", messages),
    ("+ tracker", tracker),
    ("+ verdicts", verdicts),
    ("+ records", records),
)


def least(path: Path, rounds: int) -> dict[str, float]:
    """CPU seconds of each stage's quickest round; the stages take turns."""
    seconds = {name: float("inf") for name, _ in STAGES}
    for _ in range(rounds):
        for name, stage in STAGES:
            gc.collect()
            begun = time.process_time()
            stage(str(path))
            seconds[name] = min(seconds[name], time.process_time() - begun)
    return seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=sorted(MIXES), action="append")
    parser.add_argument("--packets", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {measure.last_core()})
    # As the command has it: what is loaded stays, and young objects are collected seldom.
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    paths = {"PYTHONPATH": str(ROOT)}
    start = min(
        measure.run([sys.executable, "-c", _IMPORTS], environment=paths).cpu
        for _ in range(options.rounds)
    )
    print(f"start of the interpreter and imports: {start:.3f} s")
    for kind in options.kind or sorted(MIXES):
        one = capture(kind, options.packets)
        measure.warm(one.path)
        print(f"\n{kind}, {one.packets:,} packets, {one.truth['sip_messages']:,} SIP messages")
        print(f"  {'':22}{'CPU s':>8}{'stage s':>9}{'us/packet':>11}{'packets/s':>12}")
        before = 0.0
        for name, seconds in least(one.path, options.rounds).items():
            each = (seconds - before) / one.packets * 1e6
            rate = one.packets / seconds
            print(f"  {name:22}{seconds:8.3f}{seconds - before:9.3f}{each:11.2f}{rate:12,.0f}")
            before = seconds
    return 0


if __name__ == "__main__":
    sys.exit(main())
