"""The whole /metrics of each bundled capture, kept in `golden/`, checked before it is kept.

    python tests/daemon/golden.py [NAME...]

writes what is new or has changed and prints what differs from the witnesses; the exit status is 1
then, and that capture's file stays as it was. Witnesses are the truth beside the capture (what the
phones and callers did) and tshark, which counts the messages and times single calls.

`golden/start.prom` is the whole page before the first packet; the file of a capture holds the lines
that differ from it.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.live import InterfaceStats, LiveStats
from sipwatch.capture.stats import CaptureStats
from sipwatch.config import Config, parse_toml
from sipwatch.daemon.self_metrics import SelfReport
from sipwatch.daemon.snapshot import Sources, snapshot
from sipwatch.daemon.watch import PROBLEMS
from sipwatch.pipeline import Pipeline
from sipwatch.sinks.metrics import CallMetrics, exposition
from sipwatch.sinks.metrics.labels import METHODS

PCAPS = Path(__file__).parents[2] / "pcaps"
GOLDEN = Path(__file__).parent / "golden"
_SERIES = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Labels = dict[str, str]


class Capture(NamedTuple):
    """One bundled capture and what is known of it."""

    name: str
    path: Path
    config: str
    truth: list[dict[str, Any]]


def captures() -> list[Capture]:
    """All that lie in `pcaps` with their truth."""
    found = []
    for file in sorted(PCAPS.glob("*.truth.json")):
        truth = json.loads(file.read_text())
        name = file.name.removesuffix(".truth.json")
        found.append(Capture(name, PCAPS / truth["pcap"], as_toml(truth), truth["attempts"]))
    return found


def as_toml(truth: dict[str, Any]) -> str:
    """The configuration that belongs to a capture."""
    settings = {"local_addresses": truth.get("local_addresses", []), **truth.get("config", {})}
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(v)}" for key, v in settings.items() if key not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


# --- the page -----------------------------------------------------------------------------------


def page(capture: Capture | None) -> str:
    """What a daemon shows when it has seen all of a capture and no call is open any more."""
    config = parse_toml(capture.config) if capture else Config()
    pipeline, metrics = Pipeline(config), CallMetrics(config)
    stats = CaptureStats()
    now = 0.0
    if capture is not None:
        files = CaptureFiles([str(capture.path)])
        for batch in files.batches():
            metrics.take(pipeline.feed(batch))
        stats = files.stats()
        now = stats.last_time or 0.0
        metrics.take(pipeline.finish(now, "end_of_capture"))
    sources = Sources(
        calls=metrics,
        pipeline=pipeline,
        stats=_stats(stats),
        net=stats.net,
        events={},
        now=now,
        lag=0.0,
        problems=dict.fromkeys(PROBLEMS, False),
        report=SelfReport(reloaded_at=0.0, version="0", python="0"),
    )
    return exposition(snapshot(sources))[1].decode()


def _stats(stats: CaptureStats) -> LiveStats:
    interface = InterfaceStats(
        name="capture",
        state="listening",
        packets=stats.packets,
        kernel_drops=0,
        interface_drops=0,
        freezes=0,
        snapped=stats.snapped,
        inflated=0,
        first_time=stats.first_time or 0.0,
        last_time=round(stats.last_time or 0.0, 6),
        ring_bytes=0,
    )
    return LiveStats((interface,), None, 0.0)


def difference(start: str, whole: str) -> str:
    """The lines that a page has and the first page has not."""
    known = set(start.splitlines())
    return "".join(f"{line}\n" for line in whole.splitlines() if line not in known)


def rebuilt(start: str, lines: str) -> str:
    """The whole page again: lines of known series in their places, new ones behind their kind."""
    values = {line.rpartition(" ")[0]: line for line in lines.splitlines()}
    blocks = re.split(r"(?m)^(?=# HELP )", start)
    found = []
    for block in blocks:
        if not block:
            continue
        own = block.splitlines()
        name = own[0].split()[2]
        own = [values.pop(line.rpartition(" ")[0], line) for line in own]
        more = [series for series in values if series.partition("{")[0] == name]
        found += own + [values.pop(series) for series in more]
    assert not values, f"series of no metric: {list(values)}"
    return "\n".join(found) + "\n"


# --- witnesses ------------------------------------------------------------------------------------


def series(whole: str, name: str) -> Iterator[tuple[Labels, float]]:
    """Labels and value of each series of a name that is not zero."""
    for line in whole.splitlines():
        match = _SERIES.fullmatch(line)
        if match and match[1] == name and float(match[3]):
            yield dict(_LABEL.findall(match[2] or "")), float(match[3])


def doubts(capture: Capture, whole: str) -> list[str]:
    """What the witnesses say otherwise."""
    packets = _packets(capture.path)
    return [
        *_outcomes_differ(capture, whole),
        *_messages_differ(packets, whole),
        *_times_differ(capture, packets, whole),
    ]


def _outcomes_differ(capture: Capture, whole: str) -> Iterator[str]:
    said = Counter[str]()
    for labels, value in series(whole, "sipwatch_attempts_total"):
        said[labels["outcome"]] += int(value)
    wanted = [
        {word.partition("/")[0] for word in (one["expected"], *one["acceptable"])}
        for one in capture.truth
    ]
    if not _agree(wanted, said):
        yield f"outcomes {dict(said)}, the truth allows {wanted}"


def _agree(wanted: list[set[str]], said: Counter[str]) -> bool:
    """Whether each attempt of the truth can have one of the outcomes, and none is left over."""
    if not wanted:
        return not said.total()
    first, *rest = sorted(wanted, key=len)
    for word in first:
        if word == "absent" and _agree(rest, said):
            return True
        if said[word] and _agree(rest, said - Counter([word])):
            return True
    return False


class Packet(NamedTuple):
    """One SIP message as tshark reads it."""

    time: float
    call_id: str
    method: str
    status: str


def _packets(path: Path) -> list[Packet]:
    fields = ("frame.time_epoch", "sip.Call-ID", "sip.CSeq.method", "sip.Status-Code")
    command = ["tshark", "-n", "-r", str(path), "-Y", "sip && !icmp && !icmpv6", "-T", "fields"]
    command += [part for field in fields for part in ("-e", field)]
    command += ["-E", "occurrence=a", "-E", "aggregator=|"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = []
    for line in done.stdout.splitlines():
        at, *rest = line.split("\t")
        call_ids, methods, statuses = (cell.split("|") for cell in rest)
        # Statuses stand only for responses: with several messages in a packet it takes both.
        if len(methods) > 1 and any(statuses) and len(statuses) != len(methods):
            raise ValueError(f"{path}: requests and responses in one packet")
        for place, method in enumerate(methods):
            status = statuses[place] if place < len(statuses) else ""
            found.append(Packet(float(at), call_ids[place], method, status))
    return found


def _messages_differ(packets: list[Packet], whole: str) -> Iterator[str]:
    heard = Counter((_method(p.method), p.status or "request") for p in packets if p.method)
    counted = Counter[tuple[str, str]]()
    for labels, value in series(whole, "sipwatch_sip_requests_total"):
        counted[labels["method"], "request"] += int(value)
    for labels, value in series(whole, "sipwatch_sip_responses_total"):
        counted[labels["method"], labels["code"]] += int(value)
    if heard != counted:
        yield f"messages: tshark also {dict(heard - counted)}, we also {dict(counted - heard)}"


def _method(name: str) -> str:
    return name.upper() if name.upper() in METHODS else "other"


def _times_differ(capture: Capture, packets: list[Packet], whole: str) -> Iterator[str]:
    """Durations of a capture that holds one attempt, taken from tshark's times."""
    if len(capture.truth) != 1:
        return
    invites = [p for p in packets if (p.method, p.status) == ("INVITE", "")]
    mine = [p for p in packets if invites and p.call_id == invites[0].call_id]
    if not invites or len({p.call_id for p in packets if p.method == "INVITE"}) != 1:
        return
    answers = [p for p in mine if p.method == "INVITE" and p.status]
    rings = [p for p in answers if p.status in ("180", "183")]
    oks = [p for p in answers if p.status.startswith("2")]
    byes = [p for p in mine if (p.method, p.status) == ("BYE", "")]
    challenged = any(p.status in ("401", "407") or p.status.startswith("3") for p in answers)
    if rings and not challenged:
        expected = rings[0].time - invites[0].time
        yield from _sum_differs(whole, "post_dial_delay_seconds", expected)
    if oks and not challenged:
        yield from _sum_differs(whole, "session_setup_seconds", oks[0].time - invites[0].time)
    if oks and byes:
        yield from _sum_differs(whole, "session_duration_seconds", byes[0].time - oks[0].time)


def _sum_differs(whole: str, name: str, expected: float) -> Iterator[str]:
    found = sum(value for _, value in series(whole, f"sipwatch_{name}_sum"))
    if not math.isclose(found, max(0.0, expected), abs_tol=2e-5):
        yield f"{name}: {found}, by tshark {expected:.6f}"


# --- keeping --------------------------------------------------------------------------------------


def main(names: list[str]) -> int:
    GOLDEN.mkdir(exist_ok=True)
    start = page(None)
    (GOLDEN / "start.prom").write_text(start)
    doubtful = 0
    known = captures()
    for capture in known:
        if names and capture.name not in names:
            continue
        whole = page(capture)
        found = doubts(capture, whole)
        for doubt in found:
            print(f"{capture.name}: {doubt}")
        doubtful += bool(found)
        if not found:
            (GOLDEN / f"{capture.name}.prom").write_text(difference(start, whole))
    for file in GOLDEN.glob("*.prom"):
        if file.stem != "start" and file.stem not in {capture.name for capture in known}:
            file.unlink()
    return 1 if doubtful else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
