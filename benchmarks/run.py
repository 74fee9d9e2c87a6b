#!/usr/bin/env python3
"""Time sipwatch beside sngrep, tshark and tcpdump on captures with known contents.

All programs run on one core, one after the other, in several rounds, so that whatever else the
machine does strikes all of them. Every record of sipwatch is counted: a run whose counts differ
from what the capture holds fails, however fast it was. Speeds and ratios are of CPU time, because
sngrep looks only every half second whether it has finished.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure
import programs
import tables
from captures import CACHE, SIZES, Capture, capture
from gate import differences
from growth import fit
from measure import Cost
from traffic.mix import MIXES

_PROFILE = """
import cProfile, pstats, sys
from sipwatch.cli import main
profile = cProfile.Profile()
try:
    profile.runcall(main)
except SystemExit:
    pass
pstats.Stats(profile).sort_stats("tottime").print_stats(45)
"""


@dataclass(slots=True)
class Results:
    baseline: str | None
    measured: list[tuple[Capture, dict[str, list[Cost]]]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[tuple[Capture, dict[str, list[Cost]]]]:
        return [(one, costs) for one, costs in self.measured if one.kind == kind]

    def growing_kinds(self) -> Iterator[str]:
        for kind in MIXES:
            if len({one.packets for one, _ in self.of_kind(kind)}) > 1:
                yield kind


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.profile:
        return _profile(options.profile, min(options.sizes))
    with ExitStack() as stack:
        chosen = [programs.sipwatch(), *programs.PEERS]
        if options.compare:
            tree = stack.enter_context(programs.revision(options.compare))
            chosen = [programs.sipwatch(), programs.sipwatch(tree, options.compare)]
        if options.programs:
            chosen = [program for program in chosen if program.name in options.programs]
        missing = [program.name for program in chosen if not program.is_installed()]
        if missing:
            names = ", ".join(missing)
            print(
                f"not installed: {names}; install them or name others with --programs",
                file=sys.stderr,
            )
            return 2
        results = _measure_all(chosen, options)
    _print_results(results)
    if options.json:
        options.json.write_text(json.dumps(_to_json(results, chosen), indent=1) + "\n")
    for line in results.wrong:
        print(f"WRONG COUNT: {line}", file=sys.stderr)
    return 1 if results.wrong else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="captures of 60,000 packets only")
    parser.add_argument("--sizes", type=_list_of(int), default=list(SIZES), metavar="N,N")
    parser.add_argument("--kinds", type=_list_of(str), default=list(MIXES), metavar="KIND,KIND")
    parser.add_argument("--programs", type=_list_of(str), metavar="NAME,NAME")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (3)")
    parser.add_argument("--core", type=int, default=measure.last_core(), help="core to run on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--compare", metavar="REVISION", help="beside another revision of sipwatch")
    parser.add_argument(
        "--profile",
        choices=sorted(MIXES),
        metavar="KIND",
        help="profile one replay of a small capture of that kind",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.sizes = [min(SIZES)]
    unknown = set(options.kinds) - set(MIXES)
    if unknown:
        parser.error(f"--kinds: no {', '.join(sorted(unknown))}; there are {', '.join(MIXES)}")
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    if min(options.sizes) < 1000:
        parser.error("--sizes: at least 1000 packets")
    return options


def _list_of(kind: type[int] | type[str]) -> Any:
    def parse(text: str) -> list[int] | list[str]:
        return [kind(part) for part in text.split(",")]  # type: ignore[return-value]

    parse.__name__ = f"list of {kind.__name__}"
    return parse


def _measure_all(chosen: Sequence[programs.Program], options: argparse.Namespace) -> Results:
    names = [program.name for program in chosen]
    results = Results(programs.OURS if programs.OURS in names else None)
    for kind in options.kinds:
        for packets in sorted(options.sizes):
            one = capture(kind, packets)
            measure.warm(one.path)
            costs: dict[str, list[Cost]] = {name: [] for name in names}
            for round_ in range(options.rounds):
                for program in chosen:
                    _tell(f"{kind} {packets:,} round {round_ + 1}: {program.name}")
                    costs[program.name].append(_measure_one(program, one, options.core, results))
            _tell("")
            results.measured.append((one, costs))
    return results


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def _measure_one(program: programs.Program, one: Capture, core: int, results: Results) -> Cost:
    output = CACHE / "records.jsonl"
    command = program.on(one.path, output)
    cost = measure.run(command, core=core, environment=program.environment)
    if program.records:
        for line in differences(one, output):
            if (complaint := f"{program.name}: {line}") not in results.wrong:
                results.wrong.append(complaint)
        output.unlink()
    return cost


def _print_results(results: Results) -> None:
    print(f"{_machine()}, load {os.getloadavg()[0]:.1f}; one core for each program")
    for one, costs in results.measured:
        print(f"\n{tables.costs_table(one, costs, results.baseline)}")
    for kind in results.growing_kinds():
        print(f"\n{tables.growth_table(kind, results.of_kind(kind))}")
    if results.baseline is not None:
        print(f"\n{tables.memory_line(results.measured, results.baseline)}")
    if results.baseline is not None and not results.wrong:
        print("records of every run: as many of each outcome as the captures hold")


def _to_json(results: Results, chosen: Sequence[programs.Program]) -> dict[str, Any]:
    return {
        "machine": _machine(),
        "versions": {program.name: programs.version(program) for program in chosen},
        "wrong": results.wrong,
        "captures": [
            {
                "kind": one.kind,
                "packets": one.packets,
                "bytes": one.path.stat().st_size,
                "truth": one.truth,
                "costs": {name: [cost._asdict() for cost in all_] for name, all_ in costs.items()},
                "medians": {name: measure.median(all_)._asdict() for name, all_ in costs.items()},
                "ratios": tables.ratios(costs, results.baseline),
            }
            for one, costs in results.measured
        ],
        "growth": {
            kind: {
                name: {
                    what: fit(
                        [one.packets for one, _ in results.of_kind(kind)],
                        [
                            getattr(measure.median(costs[name]), what)
                            for _, costs in results.of_kind(kind)
                        ],
                    )._asdict()
                    for what in ("cpu", "peak")
                }
                for name in results.measured[0][1]
            }
            for kind in results.growing_kinds()
        },
    }


def _machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _profile(kind: str, packets: int) -> int:
    one = capture(kind, packets)
    program = programs.sipwatch()
    arguments = program.on(one.path, CACHE / "records.jsonl")[3:]
    return subprocess.run(
        [sys.executable, "-c", _PROFILE, *arguments],
        env=os.environ | program.environment,
        check=False,
    ).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (measure.CommandFailedError, programs.UnknownRevisionError) as error:
        print(f"\n{error}", file=sys.stderr)
        sys.exit(1)
