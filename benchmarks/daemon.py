#!/usr/bin/env python3
"""The daemon under load: whole calls over a veth pair, followed, recorded and scraped.

Looks for the highest rate at which nothing is dropped, holds it for a minute (a lower one when that
drops after all), then scrapes a daemon with 200 peers and 500 agents under 3,000 calls/s, or that
rate where it is lower. Exact counts are the gate: attempts, outcomes, messages and records must be
what the sender sent. `--soak` is ten minutes at 500 calls/s instead. Root or CAP_NET_ADMIN and
CAP_SYS_ADMIN. Prints JSON, and on standard error each figure against its aim; exit status 1 when a
count differs, or after a soak when memory grew or something was held.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import live

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
_LISTEN = "127.0.0.1:9742"
_SERIES = re.compile(r"^(\w+)(\{.*\})? (\S+)$", re.MULTILINE)
_PEERS, _AGENTS = 200, 500
#: Thirty times as often as Prometheus does by default.
_SCRAPE_EVERY = 0.5
#: Seconds after the last message until the last attempt is settled.
_SETTLE_SECONDS = 60
_TICKS = os.sysconf("SC_CLK_TCK")
#: What is aimed at: calls a second in one core and so many MiB; milliseconds of a scrape; MiB by
#: which a soak may grow.
_RATE_AIM, _CORE_AIM, _MEMORY_AIM = 3_000.0, 1.0, 150.0
_SCRAPE_AIM, _GROWTH_AIM = 50.0, 8.0


class Daemon:
    """One `sipwatch run` in the listener's namespace, with its own directory."""

    def __init__(self, pair: live.Link, folder: Path, config: str = "") -> None:
        self._pair = pair
        self.folder = folder
        live._ip("-n", pair.listener, "link", "set", "lo", "up")
        (folder / "sipwatch.toml").write_text(
            f'local_addresses = ["10.9.0.1"]\n{config}[records]\ndirectory = "{folder}"\n'
        )
        self._log = (folder / "log").open("w")
        options = ("-i", live._FAR, "--config", str(folder / "sipwatch.toml"))
        self.process = subprocess.Popen(
            pair.in_listener(sys.executable, "-m", "sipwatch", "run", *options),
            stderr=self._log,
            cwd=_ROOT,
        )
        until = time.monotonic() + 15
        while "watching" not in (folder / "log").read_text():
            if self.process.poll() is not None or time.monotonic() > until:
                raise OSError((folder / "log").read_text() or "the daemon did not start")
            time.sleep(0.05)

    def series(self) -> dict[str, float]:
        """All series by name and labels."""
        command = ("curl", "-sf", "--max-time", "10", f"http://{_LISTEN}/metrics")
        done = subprocess.run(
            self._pair.in_listener(*command), capture_output=True, text=True, check=True
        )
        return {name + labels: float(value) for name, labels, value in _SERIES.findall(done.stdout)}

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self, which: str = "VmHWM") -> float:
        """MiB; `VmRSS` is what it has now, without it the most that it had."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{which}:\s+(\d+) kB", text)
        assert found is not None
        return int(found[1]) / 1024

    def wait_until_idle(self) -> dict[str, float]:
        """The series when nothing is in progress any more and all records are written."""
        until = time.monotonic() + _SETTLE_SECONDS
        while True:
            found = self.series()
            left = (
                found["sipwatch_attempts_in_progress"]
                + found["sipwatch_dialogs_active"]
                + found['sipwatch_tracker_entries{kind="calls"}']
                + found['sipwatch_records_queue_length{sink="sqlite"}']
            )
            if not left or time.monotonic() > until:
                return found
            time.sleep(0.5)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            raise OSError("the daemon did not end within ten seconds") from None
        finally:
            self.process.kill()
            self._log.close()

    def records(self) -> dict[str, int]:
        """Attempts in the database by outcome."""
        with sqlite3.connect(self.folder / "records.sqlite") as database:
            rows = database.execute("SELECT outcome, count(*) FROM attempts GROUP BY outcome")
            return dict(rows.fetchall())


@contextmanager
def daemon(pair: live.Link, config: str = "") -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="sipwatch-bench-") as folder:
        running = Daemon(pair, Path(folder), config)
        try:
            yield running
        finally:
            running.stop()


def send(pair: live.Link, rate: float, seconds: float, mix: str) -> subprocess.Popen[str]:
    options = ("--rate", str(rate), "--seconds", str(seconds), "--mix", mix)
    return subprocess.Popen(
        pair.in_sender(sys.executable, str(live._SENDER), "--interface", live._NEAR, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sent_by(sender: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = sender.communicate()
    if sender.returncode != 0:
        raise OSError(errors.strip())
    found: dict[str, Any] = json.loads(out)
    return found


def differences(
    sent: dict[str, Any], series: dict[str, float], records: dict[str, int]
) -> list[str]:
    """What is not as it was sent; nothing when all counts are exact."""
    seen: dict[str, dict[str, float]] = {"attempts": {}, "records": dict(records), "messages": {}}
    for name, value in series.items():
        if name.startswith("sipwatch_attempts_total") and value:
            outcome = re.search(r'outcome="(\w+)"', name)
            assert outcome is not None
            seen["attempts"][outcome[1]] = seen["attempts"].get(outcome[1], 0) + value
        elif (
            name.startswith(("sipwatch_sip_requests_total", "sipwatch_sip_responses_total"))
            and value
        ):
            label = re.search(r'code="(\d+)"', name) or re.search(r'method="(\w+)"', name)
            assert label is not None
            seen["messages"][label[1]] = seen["messages"].get(label[1], 0) + value
    wanted = {
        "attempts": sent["outcomes"],
        "records": sent["outcomes"],
        "messages": sent["messages"],
    }
    found = [
        f"{what}: sent {wanted[what]}, found {seen[what]}"
        for what in wanted
        if wanted[what] != seen[what]
    ]
    for name in ('{interface="far",where="ring"}', '{interface="far",where="interface"}'):
        if series[f"sipwatch_capture_drops_total{name}"]:
            found.append(f"dropped {name}: {series[f'sipwatch_capture_drops_total{name}']:.0f}")
    for name in ("dropped_total", "errors_total"):
        if series[f'sipwatch_records_{name}{{sink="sqlite"}}']:
            found.append(f"records {name}")
    return found


def load(rate: float, seconds: float, mix: str = "full") -> dict[str, Any]:
    """One run: what was sent, what it cost, and whether all counts are exact."""
    with live.link() as pair, daemon(pair) as running:
        idle_cpu = running.cpu_seconds()
        sender = send(pair, rate, seconds, mix)
        longest_lag = 0.0
        busy = 0.0
        while sender.poll() is None:
            time.sleep(1)
            busy = running.cpu_seconds() - idle_cpu
            longest_lag = max(longest_lag, running.series()["sipwatch_processing_lag_seconds"])
        sent = sent_by(sender)
        series = running.wait_until_idle()
        memory = running.memory()
        running.stop()
        wrong = differences(sent, series, running.records())
    return {
        "asked_calls_per_second": rate,
        "calls_per_second": round(sent["calls_per_second"]),
        "messages_per_second": round(sent["frames"] / sent["seconds"]),
        "calls": sent["calls"],
        "messages": sent["frames"],
        "seconds": round(sent["seconds"], 1),
        "core_share": round(busy / sent["seconds"], 3),
        "microseconds_per_message": round(1e6 * busy / sent["frames"], 1),
        "memory_mebibytes": round(memory, 1),
        "longest_lag_seconds": round(longest_lag, 3),
        "wrong": wrong,
    }


def highest(rates: list[float], seconds: float) -> tuple[float, list[dict[str, Any]]]:
    """The highest of rising rates that is followed without a loss, and all the tries."""
    best, tries = 0.0, []
    for rate in rates:
        tries.append(load(rate, seconds))
        say(f"{rate:,.0f} calls/s for {seconds:g} s: {tries[-1]}")
        if tries[-1]["wrong"] or tries[-1]["calls_per_second"] < 0.97 * rate:
            break
        best = rate
    return best, tries


def held(rates: list[float], best: float, seconds: float) -> list[dict[str, Any]]:
    """Whole runs from the best rate downwards, the last of them without a loss if there is one."""
    runs = []
    for rate in sorted((rate for rate in rates if rate <= best), reverse=True):
        runs.append(load(rate, seconds))
        say(f"{rate:,.0f} calls/s for {seconds:g} s: {runs[-1]}")
        if not runs[-1]["wrong"]:
            break
    return runs


def scrape(rate: float, seconds: float) -> dict[str, Any]:
    """Scrape times with many peers and agents, under that load."""
    peers = "".join(f'peer{n} = ["10.{100 + n // 200}.{n % 200}.0/24"]\n' for n in range(_PEERS))
    config = f"[peers]\n{peers}[agents]\nmetrics = true\npattern = '^[0-9]+$'\nlimit = {_AGENTS}\n"
    with live.link() as pair, daemon(pair, config) as running:
        _meet_agents(pair)
        running.wait_until_idle()
        before = running.series()
        sender = send(pair, rate, seconds, "full")
        time.sleep(1)
        timer = subprocess.run(
            pair.in_listener(sys.executable, __file__, "--time-scrapes", str(seconds - 2)),
            capture_output=True,
            text=True,
            check=True,
        )
        sent = sent_by(sender)
        series = running.wait_until_idle()
        running.stop()
        records = running.records()
    # What introduced the agents is not the sender's.
    for name in before:
        if name.startswith(("sipwatch_attempts_total", "sipwatch_sip_re")):
            series[name] -= before[name]
    wrong = differences(sent, series, {"answered": records.get("answered", 0)})
    times = json.loads(timer.stdout)
    agents = {n for n in series if n.startswith("sipwatch_agent_attempts_total")}
    return {
        "calls_per_second": round(sent["calls_per_second"]),
        "peers": _PEERS,
        "agents": len({re.search(r'agent="([^"]*)"', name)[1] for name in agents}),  # type: ignore[index]
        "series": len(series),
        "scrapes": len(times),
        "p50_milliseconds": round(1000 * statistics.median(times), 1),
        "p99_milliseconds": round(1000 * statistics.quantiles(times, n=100)[98], 1),
        "longest_milliseconds": round(1000 * max(times), 1),
        "wrong": wrong,
    }


def _meet_agents(pair: live.Link) -> None:
    """One busy call to each of the agents."""
    subprocess.run(
        pair.in_sender(sys.executable, __file__, "--call-agents"), check=True, capture_output=True
    )


def call_agents() -> None:
    import templates
    from sender import FrameSocket

    flow = templates.busy()
    out = FrameSocket(live._NEAR)
    for stage in flow.stages:
        for number in range(_AGENTS):
            frames = stage.frames.replace(templates.MARK, b"a%07x" % number)
            # As long as the number of the template, so that no length changes.
            frames = frames.replace(b"+49302220100", b"%012d" % (10**11 + number))
            out.add(frames, stage.lengths)
            if number % 50 == 0:
                out.flush()
                time.sleep(0.01)
        out.flush()
        time.sleep(0.2)
    out.close()


def time_scrapes(seconds: float) -> list[float]:
    """Seconds of each scrape, over one connection as Prometheus keeps it."""
    from http.client import HTTPConnection

    connection = HTTPConnection(*_LISTEN.rsplit(":", 1), timeout=10)  # type: ignore[arg-type]
    headers = {"Accept": "application/openmetrics-text", "Accept-Encoding": "gzip"}
    times = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        times.append(time.perf_counter() - begun)
        if answer.status != 200 or not gzip.decompress(body).endswith(b"# EOF\n"):
            raise OSError(f"a scrape failed: {answer.status}")
        time.sleep(_SCRAPE_EVERY)
    return times


def soak(rate: float, seconds: float) -> dict[str, Any]:
    """Memory over a long time at a steady rate, and what is left when it is over."""
    with live.link() as pair, daemon(pair) as running:
        sender = send(pair, rate, seconds, "outcomes")
        samples: list[tuple[float, float]] = []
        begun = time.monotonic()
        while sender.poll() is None:
            time.sleep(5)
            samples.append((time.monotonic() - begun, running.memory("VmRSS")))
        sent = sent_by(sender)
        series = running.wait_until_idle()
        deadline = time.monotonic() + 60
        while _held(series) and time.monotonic() < deadline:
            time.sleep(1)
            series = running.series()
        running.stop()
        wrong = differences(sent, series, running.records())
    # What fills up, does so in two minutes: ended legs are remembered for 45 s, missed calls up to
    # 10,000, and the database has its cache and its log.
    settled = [memory for at, memory in samples if at >= min(120.0, seconds / 5)]
    growth = max(settled) - settled[0]
    if growth > _GROWTH_AIM:
        wrong.append(f"memory grew by {growth:.1f} MiB")
    if left := _held(series):
        wrong.append(f"still held: {left}")
    return {
        "calls_per_second": round(sent["calls_per_second"]),
        "seconds": round(sent["seconds"]),
        "calls": sent["calls"],
        "memory_first_mebibytes": round(samples[0][1], 1),
        "memory_mebibytes": [
            round(memory, 1) for _, memory in samples[:: max(1, len(samples) // 20)]
        ],
        "growth_mebibytes": round(growth, 1),
        "held_after": left,
        "wrong": wrong,
    }


def _held(series: dict[str, float]) -> dict[str, float]:
    """What the trackers still hold."""
    kind = re.compile(r'sipwatch_tracker_entries\{kind="(\w+)"\}')
    return {m[1]: value for name, value in series.items() if (m := kind.match(name)) and value}


def against_aims(result: dict[str, Any]) -> Iterator[str]:
    """A line for each figure: what was found, and what is aimed at."""
    if load_ := result.get("load"):
        exact = "exact" if not load_["wrong"] else "; ".join(load_["wrong"])
        yield _aim("calls/s followed", load_["calls_per_second"], _RATE_AIM, least=True)
        yield _aim("share of a core", load_["core_share"], _CORE_AIM)
        yield _aim("MiB at the most", load_["memory_mebibytes"], _MEMORY_AIM)
        yield f"counts of {load_['calls']:,} calls, {load_['messages']:,} messages: {exact}"
    if scrape_ := result.get("scrape"):
        exact = "exact" if not scrape_["wrong"] else "; ".join(scrape_["wrong"])
        yield _aim("ms of a scrape (p99)", scrape_["p99_milliseconds"], _SCRAPE_AIM)
        yield f"counts while {scrape_['scrapes']} scrapes came: {exact}"
    if soak_ := result.get("soak"):
        yield _aim("MiB of growth", soak_["growth_mebibytes"], _GROWTH_AIM)
        exact = "exact" if not soak_["wrong"] else "; ".join(soak_["wrong"])
        yield f"counts of {soak_['calls']:,} calls, and nothing held: {exact}"


def _aim(what: str, found: float, aim: float, *, least: bool = False) -> str:
    # The sender's own pace is a little off what it was asked for.
    met = found >= 0.97 * aim if least else found <= aim
    sign, said = ">=" if least else "<=", "met" if met else "MISSED"
    return f"{what:>22}  {found:>9,.6g}  aim {sign} {aim:,g}  {said}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", default="2000,2500,3000,3500,4000")
    parser.add_argument("--try-seconds", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the run that counts")
    parser.add_argument("--rate", type=float, help="only this rate, no search")
    parser.add_argument("--soak", action="store_true", help="ten minutes at 500 calls/s")
    parser.add_argument("--soak-seconds", type=float, default=600.0)
    parser.add_argument("--scrape", action="store_true", help="only the scrapes, at --rate")
    parser.add_argument("--time-scrapes", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--call-agents", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.time_scrapes is not None:
        print(json.dumps(time_scrapes(options.time_scrapes)))
        return 0
    if options.call_agents:
        call_agents()
        return 0
    # Ended from outside it still takes its daemon and its namespaces away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    result: dict[str, Any] = {}
    try:
        if options.soak:
            result["soak"] = soak(options.rate or 500.0, options.soak_seconds)
        else:
            rates = [options.rate or float(rate) for rate in options.rates.split(",")]
            rate = options.rate
            if rate is None:
                rate, result["tries"] = highest(rates, options.try_seconds)
                if not rate:
                    raise OSError(f"packets are lost at {rates[0]:g} calls/s already")
            if not options.scrape:
                *result["runs"], result["load"] = held(sorted(set(rates)), rate, options.seconds)
                rate = min(result["load"]["asked_calls_per_second"], _RATE_AIM)
            result["scrape"] = scrape(rate, options.seconds)
    except (OSError, subprocess.CalledProcessError) as error:
        say(str(getattr(error, "stderr", None) or error))
        return 2
    print(json.dumps(result, indent=1))
    for line in against_aims(result):
        say(line)
    wrong = [part["wrong"] for part in result.values() if isinstance(part, dict)]
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
