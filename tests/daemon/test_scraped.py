"""The real things: SIPp calls, the daemon sniffs, Prometheus scrapes, Alertmanager is told.

What PromQL answers must be what the scenario dictates: so many calls of each kind, and no other.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from network_namespace import Namespace
from running import PATIENCE, Running, running
from sipp import Sipp, caller, phone, silent_caller
from web_client import get

PROMETHEUS, ALERTMANAGER, WEBHOOK = 9090, 9093, 9094
CARRIER, PBX = "10.9.0.50", "10.9.0.1"
#: Calls of each kind, and the port at which the PBX answers them so.
ANSWERED, BUSY, DECLINED, SILENT = 12, 7, 5, 2

CONFIG = f"""
local_addresses = ["{PBX}"]
ports = [5060, 5061, 5062, 5063]
[peers]
carrier = ["10.9.0.50/32"]
"""

PROMETHEUS_CONFIG = f"""
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: [rules.yml]
alerting:
  alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{ALERTMANAGER}"]}}]}}]
scrape_configs:
- job_name: sipwatch
  static_configs: [{{targets: ["127.0.0.1:9742"]}}]
"""

RULES = """
groups:
- name: sipwatch
  rules:
  - alert: DeviceNotResponding
    expr: sum by (peer) (sipwatch_attempts_total{outcome="device_not_responding"}) >= 2
    labels: {severity: page}
    annotations: {summary: "{{ $value }} calls got no answer at all"}
"""

ALERTMANAGER_CONFIG = f"""
route: {{receiver: test, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
- name: test
  webhook_configs: [{{url: "http://127.0.0.1:{WEBHOOK}/", send_resolved: false}}]
"""


class Pager(HTTPServer):
    """What Alertmanager calls when somebody shall get up."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", WEBHOOK), _Call)


class _Call(BaseHTTPRequestHandler):
    server: Pager

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.alerts += json.loads(body)["alerts"]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def pager(inside: Namespace) -> Iterator[Pager]:
    with inside.entered():
        server = Pager()
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def process(inside: Namespace, folder: Path, *command: str) -> Iterator[None]:
    with inside.entered(), (folder / f"{command[0]}.log").open("w") as log:
        running_ = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        running_.terminate()
        try:
            running_.wait(10)
        except subprocess.TimeoutExpired:
            running_.kill()
            running_.wait(10)


def promql(inside: Namespace, query: str) -> dict[str, float]:
    """The values by their labels' values; empty while Prometheus does not answer."""
    path = "/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with inside.entered():
            answer = get(PROMETHEUS, path)
    except OSError:
        return {}
    if answer.status != 200:
        return {}
    result = json.loads(answer.text)["data"]["result"]
    return {
        " ".join(
            v for k, v in sorted(one["metric"].items()) if k not in ("instance", "job")
        ): float(one["value"][1])
        for one in result
    }


def wait_promql(inside: Namespace, query: str, expected: dict[str, float]) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        found = promql(inside, query)
        if found == expected:
            return
        if time.monotonic() > until:
            pytest.fail(f"{query}: {found}, expected {expected}")
        time.sleep(0.2)


@pytest.fixture
def network(namespace: Namespace, other: Namespace) -> tuple[Namespace, Namespace]:
    """The PBX's host, and the carrier's at the other end of the cable."""
    namespace.veth()
    namespace.move("one", other)
    namespace.ip("addr", "add", f"{PBX}/24", "dev", "two")
    other.ip("addr", "add", f"{CARRIER}/24", "dev", "one")
    return namespace, other


def calls(pbx: Namespace, carrier: Namespace, folder: Path) -> Iterator[Sipp]:
    """Phones first, then those who call them."""
    kinds = (
        ("answered", 5060, ANSWERED, phone("200 OK", rings=True), caller(200)),
        ("busy", 5061, BUSY, phone("486 Busy Here", rings=False), caller(486)),
        ("declined", 5062, DECLINED, phone("603 Decline", rings=False), caller(603)),
    )
    for name, port, count, answering, _ in kinds:
        options = ("-i", PBX, "-p", str(port), "-m", str(count))
        yield Sipp(pbx, folder, f"{name}-phone", answering, *options)
    for place, (name, port, count, _, calling) in enumerate(kinds):
        options = (
            "-i",
            CARRIER,
            "-p",
            str(6060 + place),
            "-m",
            str(count),
            "-r",
            "10",
            "-s",
            "101",
        )
        yield Sipp(carrier, folder, f"{name}-caller", calling, f"{PBX}:{port}", *options)


def test_from_sipp_to_promql_and_the_pager(
    network: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    pbx, carrier = network
    (tmp_path / "prometheus.yml").write_text(PROMETHEUS_CONFIG)
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "alertmanager.yml").write_text(ALERTMANAGER_CONFIG)
    started: list[Sipp] = []
    with (
        pager(pbx) as server,
        process(
            pbx,
            tmp_path,
            *("prometheus-alertmanager", "--config.file=alertmanager.yml"),
            *(f"--web.listen-address=127.0.0.1:{ALERTMANAGER}", "--cluster.listen-address="),
            f"--storage.path={tmp_path}/alerts",
        ),
        process(
            pbx,
            tmp_path,
            *("prometheus", "--config.file=prometheus.yml"),
            f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
            f"--storage.tsdb.path={tmp_path}/tsdb",
        ),
        running(pbx, tmp_path, CONFIG) as daemon,
        pbx.entered(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody,
    ):
        # A device that is there and never says a word.
        nobody.bind((PBX, 5063))
        wait_promql(pbx, 'up{job="sipwatch"}', {"up": 1})
        silent = Sipp(
            carrier,
            tmp_path,
            "silent-caller",
            silent_caller(),
            *(f"{PBX}:5063", "-i", CARRIER, "-p", "6070", "-m", str(SILENT), "-s", "105"),
        )
        try:
            for one in calls(pbx, carrier, tmp_path):
                started.append(one)
            for one in started:
                one.finish()
            _check_calls(pbx, daemon)
            silent.finish(expected=(0, 1))
            _check_alert(pbx, server)
        finally:
            for one in (silent, *started):
                one.close()
        _check_all(pbx, daemon)


def _check_calls(pbx: Namespace, daemon: Running) -> None:
    """Numbers that the scenario dictates, as PromQL gives them."""
    answered = 'sipwatch_attempts_total{outcome!="device_not_responding"}'
    by_outcome = f"sum by (peer, outcome, code) ({answered}) > 0"
    wait_promql(
        pbx,
        by_outcome,
        {
            "200 answered carrier": ANSWERED,
            "486 agent_busy carrier": BUSY,
            "603 declined carrier": DECLINED,
        },
    )
    wait_promql(pbx, "sum(sipwatch_session_duration_seconds_count)", {"": ANSWERED})
    wait_promql(
        pbx,
        'sum by (direction) (sipwatch_attempts_total{direction!="inbound"})',
        {"internal": 0, "outbound": 0, "unknown": 0},
    )
    # Series were there before the first call: their increase is the whole number.
    wait_promql(
        pbx,
        'sum(sipwatch_attempts_total{outcome="agent_busy"}) '
        '- sum(sipwatch_attempts_total{outcome="agent_busy"} offset 5m or vector(0))',
        {"": BUSY},
    )
    wait_promql(
        pbx,
        "histogram_quantile(0.5, sum by (le) ("
        'sipwatch_ring_duration_seconds_bucket{outcome="answered"})) <= bool 1',
        {"": 1},
    )


def _check_alert(pbx: Namespace, server: Pager) -> None:
    """A silent device: the alert fires, Alertmanager knows it, and somebody is called."""
    wait_promql(
        pbx,
        'sum by (outcome, code) (sipwatch_attempts_total{outcome="device_not_responding"}) > 0',
        {"none device_not_responding": SILENT},
    )
    until = time.monotonic() + PATIENCE
    while not server.alerts:
        assert time.monotonic() < until, "nobody was called"
        time.sleep(0.2)
    alert = server.alerts[0]
    assert alert["status"] == "firing"
    assert alert["labels"]["alertname"] == "DeviceNotResponding"
    assert alert["labels"]["peer"] == "carrier"
    assert alert["annotations"]["summary"] == f"{SILENT} calls got no answer at all"
    with pbx.entered():
        known = json.loads(get(ALERTMANAGER, "/api/v2/alerts").text)
    assert [one["labels"]["alertname"] for one in known] == ["DeviceNotResponding"]


def _check_all(pbx: Namespace, daemon: Running) -> None:
    """Messages, too, are as many as were sent; nothing was lost and nothing is held."""
    found = daemon.wait_settled()
    asked = ANSWERED + BUSY + DECLINED
    requests = {
        "INVITE": found['sipwatch_sip_requests_total{method="INVITE"}'],
        "ACK": found['sipwatch_sip_requests_total{method="ACK"}'],
        "BYE": found['sipwatch_sip_requests_total{method="BYE"}'],
    }
    again = found['sipwatch_sip_retransmissions_total{method="INVITE",kind="request"}']
    # SIPp sends an INVITE five times more, and gives up.
    assert again == 5 * SILENT
    assert requests["INVITE"] - again == asked + SILENT
    assert requests["ACK"] >= asked
    assert requests["BYE"] >= ANSWERED
    assert found['sipwatch_capture_drops_total{interface="two",where="ring"}'] == 0
    assert promql(pbx, "max_over_time(up[10m])") == {"": 1}
    attempts = [line for line in daemon.lines() if line["kind"] == "attempt"]
    assert len(attempts) == asked + SILENT
    assert {line["peer"] for line in attempts} == {"carrier"}
    assert daemon.stop() == 0
