#!/usr/bin/env python3
"""What it costs to join legs to calls: in throughput of a replay, and in memory.

Every call goes through a B2BUA whose legs share nothing. The capture is replayed to records with
correlation and with every rule of `[correlation]` switched off, in turns, and counted in CPU time.
Memory is what Python allocates at its peak (tracemalloc): against the number of calls at the same
rate, and against the number of calls that are open at once.

Exit status 1 when a count is wrong: with correlation as many calls as there were, without it as
many as there were legs, and of each outcome as many attempts as were written.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import measure
import pbx_calls
from growth import fit
from programs import ROOT

sys.path.insert(0, str(ROOT))

from sipwatch.cli.reading import finished
from sipwatch.config import CORRELATION_RULES, Config
from sipwatch.config.model import Correlation
from sipwatch.pipeline import Replay
from sipwatch.sinks.jsonl import JsonLines

#: The share of throughput that correlation may cost.
AIM = 0.30
_LOCAL = (ip_address(pbx_calls.PBX),)
WITH = Config(local_addresses=_LOCAL)
WITHOUT = Config(local_addresses=_LOCAL, correlation=Correlation(disabled=CORRELATION_RULES))
#: Calls a second, for some 280 calls open at once.
_RATE = 12.0
_SEEN = (2_000, 6_000, 12_000)
#: Rates whose calls open at once are as 1 to 8, and how many calls there are of each.
_RATES = (6.0, 12.0, 24.0, 48.0)
_CALLS_OF_RATES = 3_000


class Found(NamedTuple):
    """What a replay said."""

    calls: int
    outcomes: Counter[str]


class Peak(NamedTuple):
    """Traced bytes at the peak of a replay of calls."""

    calls: int
    open_at_once: int
    bytes: int


def replay(path: Path, config: Config) -> Found:
    """All of the way to records, of attempts and of calls."""
    sink = JsonLines(io.StringIO())
    calls, outcomes = 0, Counter[str]()
    for events in Replay([str(path)], config).events():
        attempts, ended = finished(events)
        for attempt in attempts:
            sink.attempt(attempt)
            outcomes[attempt.verdict.outcome if attempt.verdict else ""] += 1
        calls += len(ended)
    sink.close()
    return Found(calls, outcomes)


def seconds(path: Path, config: Config) -> tuple[float, Found]:
    """CPU seconds of a replay, and what it said."""
    gc.collect()
    begun = time.process_time()
    found = replay(path, config)
    return time.process_time() - begun, found


def wrong(made: pbx_calls.Made, joined: Found, single: Found) -> list[str]:
    """What was not counted as it was written."""
    complaints = []
    if joined.calls != made.calls:
        complaints.append(f"{made.calls:,} calls were written, {joined.calls:,} found")
    if single.calls != made.attempts:
        complaints.append(f"{made.attempts:,} legs were written, {single.calls:,} stand alone")
    for name, found in (("with", joined), ("without", single)):
        if found.outcomes != made.outcomes:
            complaints.append(f"{name} correlation: {found.outcomes}, written: {made.outcomes}")
    return complaints


def throughput(directory: Path, calls: int, rounds: int) -> list[str]:
    """Print the table; returns what was counted wrongly."""
    path = directory / "throughput.pcap"
    made = pbx_calls.write(path, calls, _RATE)
    measure.warm(path)
    costs: dict[str, list[float]] = {"with correlation": [], "without": []}
    said = {}
    turns = list(zip(costs, (WITH, WITHOUT), strict=True))
    for number in range(rounds):
        for name, config in turns if number % 2 else reversed(turns):
            cost, said[name] = seconds(path, config)
            costs[name].append(cost)
    joined, single = said["with correlation"], said["without"]
    print(
        f"{made.packets:,} packets, {made.calls:,} calls with {made.attempts:,} legs, "
        f"{made.open_at_once:,} calls open at once; medians of {rounds}"
    )
    print(f"  {'':18}{'CPU s':>8}{'spread':>14}{'packets/s':>12}")
    for name, taken in costs.items():
        middle = statistics.median(taken)
        spread = f"{min(taken):.2f}-{max(taken):.2f}"
        print(f"  {name:18}{middle:8.2f}{spread:>14}{made.packets / middle:12,.0f}")
    with_, without = map(statistics.median, costs.values())
    share = 1 - without / with_
    verdict = "met" if share <= AIM else "missed"
    print(f"  correlation costs {share:.1%} of the throughput (aim: at most {AIM:.0%}, {verdict})")
    return wrong(made, joined, single)


def peak(directory: Path, calls: int, per_second: float) -> Peak:
    """The peak of a replay of answered calls, without what was there before."""
    path = directory / "memory.pcap"
    made = pbx_calls.write(path, calls, per_second, pbx_calls.ANSWERED)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in Replay([str(path)], WITH).events():
            pass
        return Peak(calls, made.open_at_once, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def memory(directory: Path, seen: Sequence[int]) -> None:
    """Print both tables and what they follow."""
    peak(directory, 200, _RATE)  # what is made once and stays is made now
    _table("at the same rate", [peak(directory, calls, _RATE) for calls in seen], "calls")
    _table("faster", [peak(directory, _CALLS_OF_RATES, rate) for rate in _RATES], "open_at_once")


def _table(title: str, peaks: Sequence[Peak], by: str) -> None:
    print(f"\nmemory, calls come {title}:")
    print(f"  {'calls':>8}{'open at once':>14}{'peak MB':>10}{'kB a call open':>16}")
    for one in peaks:
        each = one.bytes / one.open_at_once / 1e3
        print(f"  {one.calls:8,}{one.open_at_once:14,}{one.bytes / 1e6:10.2f}{each:16.1f}")
    sizes, growth_of = [getattr(one, by) for one in peaks], [float(one.bytes) for one in peaks]
    growth = fit(sizes, growth_of)
    what = "call seen" if by == "calls" else "call open"
    print(
        f"  {growth.start / 1e6:.2f} MB and {growth.each / 1e3:.2f} kB a {what}; "
        f"peak ~ {by.replace('_', ' ')} ^ {growth.exponent:.2f}"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=3_000, help="calls of the throughput")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer calls, three rounds")
    options = parser.parse_args(arguments)
    if options.calls < 1 or options.rounds < 1:
        parser.error("--calls, --rounds: at least 1")
    calls, rounds, seen = options.calls, options.rounds, _SEEN
    if options.quick:
        calls, rounds, seen = 1_000, 3, _SEEN[:2]
    os.sched_setaffinity(0, {measure.last_core()})
    # As the command has it: what is loaded stays, and young objects are collected seldom.
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        complaints = throughput(directory, calls, rounds)
        memory(directory, seen)
    for complaint in complaints:
        print(f"\n{complaint}", file=sys.stderr)
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
