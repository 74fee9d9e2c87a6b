"""A PBX's busy hour in quick motion, watched by a real daemon that a real Prometheus scrapes."""

from __future__ import annotations

import gzip
import heapq
import json
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from network_namespace import Namespace
from places import CAPTURES, DEPLOY, program
from running import Running, play, running
from waiting import wait_for
from web_client import get

PORT, ALERTMANAGER = 9090, 9093
#: Recorded calls, registrations and pings of Asterisk; on one host, all begun together.
RECORDED = (
    "pbx/asterisk/busy-hour-1.pcap.gz",
    "pbx/asterisk/pings-then-dies.pcap.gz",
    "pbx/asterisk/moves-to-another-port.pcap.gz",
)
#: So much faster than it was. Longer than a minute is not worth a test's time.
SPEED, LONGEST = 4.0, 150.0
CONFIG = """
local_addresses = ["10.30.0.1"]
local_networks = ["10.30.0.0/27"]
[peers]
carrier = ["10.30.0.50/32"]
backup = ["10.30.0.53/32"]
[agents]
metrics = true
pattern = "^1[0-9]{2}$"
# Within the test it is seen who was never called back.
[callback]
return_window_seconds = 20
"""


class Prometheus:
    """One that scrapes and evaluates each second, with the deployed configuration otherwise."""

    def __init__(self, inside: Namespace, folder: Path) -> None:
        self.inside = inside
        #: The moment that questions are about, in epoch seconds; None is now.
        self.at: float | None = None
        shutil.copytree(DEPLOY / "prometheus" / "rules", folder / "rules")
        for file in (folder / "rules").iterdir():
            # Trends are looked at every ten minutes; here at once.
            file.write_text(file.read_text().replace("    interval: 10m\n", ""))
        shipped = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        (folder / "prometheus.yml").write_text(shipped.replace("_interval: 15s", "_interval: 1s"))
        self.log = folder / "prometheus.log"
        command = [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{PORT}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]
        manager = [
            program("prometheus-alertmanager"),
            f"--config.file={DEPLOY}/alertmanager/alertmanager.yml",
            f"--storage.path={folder}/alertmanager",
            f"--web.listen-address=127.0.0.1:{ALERTMANAGER}",
            "--cluster.listen-address=",
        ]
        with inside.entered(), self.log.open("wb") as log:
            quiet = subprocess.DEVNULL
            self.manager = subprocess.Popen(manager, stdout=quiet, stderr=quiet)
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def is_ready(self) -> bool:
        with self.inside.entered():
            return get(PORT, "/-/ready").status == 200

    def api(self, path: str, **parameters: str) -> Any:
        """The data of an answer; the test fails with the error when it is one."""
        query = urllib.parse.urlencode(parameters)
        with self.inside.entered():
            answer = get(PORT, f"/api/v1/{path}?{query}")
        said = json.loads(answer.text)
        if said["status"] != "success":
            pytest.fail(f"{path} {parameters}: {said['error']}")
        return said["data"]

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query, at the moment in question."""
        time_of = {} if self.at is None else {"time": str(self.at)}
        result: list[dict[str, Any]] = self.api("query", query=expr, **time_of)["result"]
        return result

    def alerts(self) -> list[dict[str, Any]]:
        """What Alertmanager, with the deployed configuration, has been told."""
        with self.inside.entered():
            told: list[dict[str, Any]] = json.loads(get(ALERTMANAGER, "/api/v2/alerts").text)
        return told

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 30) -> None:
        wait_for(condition, what, seconds, self.log.read_text)

    def close(self) -> None:
        for process in (self.process, self.manager):
            process.terminate()
            process.wait(20)


def frames() -> list[tuple[float, bytes]]:
    """All recorded frames with the second at which each is to be sent."""
    parts = [list(_frames(CAPTURES / name)) for name in RECORDED]
    return [
        (at / SPEED, frame) for at, frame in heapq.merge(*parts, key=lambda f: f[0]) if at < LONGEST
    ]


def _frames(path: Path) -> Iterator[tuple[float, bytes]]:
    """Seconds since the first frame and the bytes of each; classic pcap, Ethernet."""
    data = gzip.decompress(path.read_bytes())
    order: Literal["little", "big"] = "big" if data[0] == 0xA1 else "little"

    def number(offset: int) -> int:
        return int.from_bytes(data[offset : offset + 4], order)

    fraction = {0xA1B2C3D4: 1e6, 0xA1B23C4D: 1e9}[number(0)]
    offset, first = 24, None
    while offset + 16 <= len(data):
        at = number(offset) + number(offset + 4) / fraction
        first = at if first is None else first
        length = number(offset + 8)
        yield at - first, data[offset + 16 : offset + 16 + length]
        offset += 16 + length


@contextmanager
def watched(folder: Path) -> Iterator[tuple[Running, Prometheus]]:
    """The daemon and Prometheus, after everything was sent, judged and scraped."""
    inside = Namespace()
    try:
        inside.veth()
        # Room for the seconds in which a busy machine leaves the daemon no processor.
        with running(inside, folder, CONFIG, "--ring", "128") as daemon:
            prometheus = Prometheus(inside, folder)
            try:
                prometheus.wait_for(prometheus.is_ready, "readiness")
                prometheus.wait_for(lambda: prometheus.ask('up{job="sipwatch"} == 1'), "a scrape")
                sender = inside.sender("one")
                play(sender, frames())
                sender.close()
                daemon.wait_for(_is_over, "the end of the calls")
                # What was judged last is scraped, and the rules have seen it.
                end = time.time() + 1
                for series in ('up{job="sipwatch"}', "job:sipwatch_abr:ratio_rate5m"):
                    newer = f"timestamp({series}) > {end}"
                    prometheus.wait_for(lambda newer=newer: prometheus.ask(newer), newer)
                # However long the questions take, they are about this moment.
                prometheus.at = time.time()
                yield daemon, prometheus
            finally:
                prometheus.close()
    finally:
        inside.close()


def _is_over(found: dict[str, float]) -> bool:
    """A few attempts wait for timers of half a minute; nobody needs them here."""
    return found["sipwatch_attempts_in_progress"] < 20
