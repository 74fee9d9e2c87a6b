"""Compares what sipwatch says of a folder of captures with the truth kept beside them.

    python tests/recorded/score.py DIR [--only PATTERN] [--quiet]

DIR holds truth.json (and perhaps *.truth.json.gz): per capture `attempts` (call_id, expected,
acceptable) and `calls` (call_ids, expected, acceptable). Misses are printed, then totals; the
exit status is 1 when there are any.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

Record = dict[str, Any]
PERSON = {"agent_busy", "declined", "no_answer"}
TECHNICAL = {"device_not_responding", "connection_timeout", "unavailable", "server_failure"}


@dataclass(slots=True)
class Miss:
    """One difference from the truth."""

    capture: str
    what: str  # attempt, call, legs
    key: str
    fact: str
    expected: str
    acceptable: list[str]
    said: str
    evidence: list[str] = field(default_factory=list)

    @property
    def confused(self) -> bool:
        """Whether a person is blamed for what technology did, or the other way round."""
        expected, said = self.expected.split("/")[0], self.said.split("/")[0]
        return (expected in PERSON and said in TECHNICAL) or (
            expected in TECHNICAL and said in PERSON
        )

    def __str__(self) -> str:
        mark = " PERSON/TECHNOLOGY" if self.confused else ""
        more = f" (or {', '.join(self.acceptable)})" if self.acceptable else ""
        lines = [f"{self.capture}: {self.what} {self.key}{mark}", f"    fact: {self.fact}",
                 f"    expected: {self.expected}{more}", f"    said: {self.said}"]  # fmt: skip
        lines += [f"      {line}" for line in self.evidence]
        return "\n".join(lines)


@dataclass(slots=True)
class Score:
    """Totals over captures."""

    attempts: int = 0
    calls: int = 0
    partial: int = 0  # calls of the truth whose record has other legs, too, or lacks some
    misses: list[Miss] = field(default_factory=list)

    def add(self, other: Score) -> None:
        self.attempts += other.attempts
        self.calls += other.calls
        self.partial += other.partial
        self.misses += other.misses

    def wrong(self, what: str) -> int:
        return sum(miss.what == what for miss in self.misses)

    @property
    def confused(self) -> int:
        return sum(miss.confused for miss in self.misses)

    def summary(self) -> str:
        parts = []
        for what, total in (("attempt", self.attempts), ("call", self.calls)):
            wrong = self.wrong(what)
            share = 100 * (total - wrong) / total if total else 100.0
            parts.append(f"{what}s {total - wrong}/{total} right ({share:.2f} %)")
        parts.append(f"calls with other legs {self.partial}")
        parts.append(f"person/technology confused {self.confused}")
        return ", ".join(parts)


def matches(expected: str, outcome: str, detail: str | None) -> bool:
    """Whether a verdict is what is expected: a detail counts where the truth names one."""
    wanted, _, narrower = expected.partition("/")
    return wanted == outcome and (not narrower or narrower == detail)


def right(record: Record, truth: Record) -> bool:
    words = [truth["expected"], *truth["acceptable"]]
    return any(matches(word, record["outcome"], record["detail"]) for word in words) or (
        "ambiguous" in words and any("ambiguous" in line for line in record["evidence"])
    )


def said(record: Record) -> str:
    detail = f"/{record['detail']}" if record["detail"] else ""
    return f"{record['outcome']}{detail}"


def load(folder: Path) -> Record:
    """The truth of a folder: truth.json, and what is kept compressed beside it."""
    truth: Record = json.loads((folder / "truth.json").read_text())
    for more in sorted(folder.glob("*.truth.json.gz")):
        truth["captures"] |= json.loads(gzip.decompress(more.read_bytes()))["captures"]
    return truth


def settings(truth: Record, name: str) -> str:
    """The configuration by which a capture is judged."""
    usual = truth.get("local_addresses", [truth["pbx_address"]])
    addresses = truth["captures"][name].get("local_addresses", usual)
    return f"local_addresses = {json.dumps(addresses)}\n"


def replay(capture: Path, config: Path, calls: bool) -> list[Record]:
    """Runs the program on a capture, as a user does."""
    command = [sys.executable, "-m", "sipwatch", "replay", str(capture), "--format", "jsonl",
               "--config", str(config), *(["--calls"] if calls else [])]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:]
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}: {''.join(why)}")
    return [json.loads(line) for line in done.stdout.splitlines() if line]


def compare(name: str, truth: Record, attempts: list[Record], calls: list[Record]) -> Score:
    """The score of one capture."""
    score = Score()
    score.misses += attempt_misses(name, truth, attempts)
    score.attempts = len(truth["attempts"])
    call_of = {attempt["id"]: attempt["call_id"] for attempt in attempts}
    legs = {call["id"]: {call_of.get(key, key) for key in call["attempts"]} for call in calls}
    by_leg = {leg: call for call in calls for leg in legs[call["id"]]}
    for wanted in truth["calls"]:
        score.calls += 1
        record = by_leg.get(wanted["call_ids"][0])
        if record is None:
            if "absent" not in wanted["acceptable"]:
                score.misses.append(_miss(name, "call", wanted["call_ids"][0], wanted, None))
            continue
        if legs[record["id"]] != set(wanted["call_ids"]):
            score.partial += 1
        if not right(record, wanted):
            score.misses.append(_miss(name, "call", wanted["call_ids"][0], wanted, record))
    return score


def attempt_misses(name: str, truth: Record, attempts: list[Record]) -> Iterator[Miss]:
    found: dict[str, list[Record]] = defaultdict(list)
    for attempt in attempts:
        found[attempt["call_id"]].append(attempt)
    for wanted in truth["attempts"]:
        record = same_hop(found.get(wanted["call_id"], []), wanted)
        if record is None:
            if "absent" not in (wanted["expected"], *wanted["acceptable"]):
                yield _miss(name, "attempt", wanted["call_id"], wanted, None)
        elif not right(record, wanted):
            yield _miss(name, "attempt", wanted["call_id"], wanted, record)
    known = {wanted["call_id"] for wanted in truth["attempts"]}
    for call_id in found.keys() - known:
        record = found[call_id][0]
        nothing = {"fact": "nothing of the kind", "expected": "no record", "acceptable": []}
        yield _miss(name, "attempt", call_id, nothing, record)


def same_hop(records: list[Record], wanted: Record) -> Record | None:
    """The record of the truth's hop: forks and spirals have one Call-ID on several."""

    def fits(record: Record) -> tuple[bool, bool]:
        ends = (record[end].rpartition(":")[0] == wanted[end] for end in ("destination", "source"))
        there, here = ends
        return there, here

    return max(records, key=fits, default=None)


def _miss(name: str, what: str, key: str, wanted: Record, record: Record | None) -> Miss:
    known = said(record) if record else "no record"
    evidence = record["evidence"] if record else []
    return Miss(
        name, what, key, wanted["fact"], wanted["expected"], wanted["acceptable"], known, evidence
    )


def score_folder(folder: Path, only: str = "*") -> Score:
    """The score of a folder with a truth.json; captures side by side on all cores."""
    truth = load(folder)
    total = Score()
    with tempfile.TemporaryDirectory() as scratch:

        def one(item: tuple[str, Record]) -> Score:
            name, capture = item
            config = Path(scratch) / f"{name}.toml"
            config.write_text(settings(truth, name))
            path = folder / capture["pcap"]
            return compare(name, capture, replay(path, config, False), replay(path, config, True))

        wanted = [item for item in truth["captures"].items() if fnmatch(item[0], only)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for score in pool.map(one, wanted):
                total.add(score)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="*", help="pattern of capture names")
    parser.add_argument("--quiet", action="store_true", help="only the totals")
    arguments = parser.parse_args()
    total = score_folder(arguments.folder, arguments.only)
    if not arguments.quiet:
        for miss in total.misses:
            print(miss)
    print(total.summary())
    raise SystemExit(1 if total.misses else 0)


if __name__ == "__main__":
    main()
