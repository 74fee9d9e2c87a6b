"""A real `sipwatch run` in a namespace, and what is sent to it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from call_flows import Leg, _frame, in_order
from network_namespace import Namespace
from web_client import Answer, get

ROOT = Path(__file__).parents[2]
PORT = 9742
#: How long anything may take before a test gives up on it.
PATIENCE = 40.0
_SERIES = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)

Series = dict[str, float]


class Running:
    """One daemon; `folder` has its configuration, log and records."""

    def __init__(
        self,
        inside: Namespace,
        folder: Path,
        config: str = "",
        *arguments: str,
        interface: str = "two",
        records: Path | None = None,
        wrapper: tuple[str, ...] = (),
    ) -> None:
        self.inside = inside
        self.folder = folder
        self.records = records or folder
        self.config_file = folder / "sipwatch.toml"
        self.log_file = folder / "log"
        self.configure(config)
        # The path of a socket may not be long, and pytest's folders are.
        self._sockets = tempfile.TemporaryDirectory(prefix="sipwatch-")
        path = f"{self._sockets.name}/notify"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(path)
        os.chmod(self._sockets.name, 0o755)
        os.chmod(path, 0o777)
        self.told: list[str] = []
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SIPWATCH_")}
        environment["NOTIFY_SOCKET"] = path
        command = [
            *wrapper,
            *(sys.executable, "-m", "sipwatch", "run"),
            *("-i", interface, "--config", str(self.config_file), "--ring", "4"),
            *arguments,
        ]
        with inside.entered(), self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, stderr=log, stdout=log, cwd=ROOT, env=environment
            )

    def configure(self, config: str) -> None:
        """Writes the configuration file."""
        text = f'{config}\n[records]\ndirectory = "{self.records}"\njson_lines = true\n'
        self.config_file.write_text(text)

    def wait_ready(self, what: str = "READY=1") -> None:
        """Waits until systemd would know that it is ready."""
        until = time.monotonic() + PATIENCE
        while True:
            # What an ended process has said waits still.
            ended = self.process.poll() is not None
            self._notify.settimeout(0.2)
            try:
                self.told.append(self._notify.recv(4096).decode())
            except TimeoutError:
                if ended or time.monotonic() > until:
                    pytest.fail(f"the daemon did not say {what}:\n{self.log}")
            else:
                if self.told[-1].startswith(what):
                    return

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def get(self, path: str = "/metrics", **headers: str) -> Answer:
        with self.inside.entered():
            return get(PORT, path, **headers)

    def series(self) -> Series:
        """All series by name and labels, as they stand in the text."""
        return {name: float(value) for name, value in _SERIES.findall(self.get().text)}

    def wait_for(self, condition: Callable[[Series], object], what: str = "") -> Series:
        """Scrapes until the condition holds."""
        until = time.monotonic() + PATIENCE
        while True:
            found = self.series()
            if condition(found):
                return found
            if time.monotonic() > until:
                seen = {name: value for name, value in found.items() if value}
                pytest.fail(f"{what or 'it'} did not come to pass: {seen}\n{self.log}")
            time.sleep(0.1)

    def wait_settled(self) -> Series:
        """Scrapes until no call is open and all records are written."""

        def settled(found: Series) -> bool:
            return not (
                found["sipwatch_attempts_in_progress"]
                + found["sipwatch_dialogs_active"]
                + found['sipwatch_tracker_entries{kind="calls"}']
                + found['sipwatch_records_queue_length{sink="sqlite"}']
                + found['sipwatch_records_queue_length{sink="jsonl"}']
            )

        return self.wait_for(settled, "the end of all calls")

    def lines(self) -> list[dict[str, Any]]:
        """The records so far."""
        path = self.records / "records.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._notify.close()
        self._sockets.cleanup()


@contextmanager
def running(inside: Namespace, folder: Path, *arguments: Any, **options: Any) -> Iterator[Running]:
    """A daemon that is ready, and gone afterwards."""
    daemon = Running(inside, folder, *arguments, **options)
    try:
        daemon.wait_ready()
        yield daemon
    finally:
        daemon.close()


def refused(
    inside: Namespace, folder: Path, *arguments: Any, **options: Any
) -> tuple[int, list[str]]:
    """Exit status and lines of a daemon that cannot begin."""
    daemon = Running(inside, folder, *arguments, **options)
    try:
        status = daemon.process.wait(PATIENCE)
    finally:
        daemon.close()
    return status, daemon.log.splitlines()


def play(sock: socket.socket, frames: Iterable[tuple[float, bytes]]) -> None:
    """Sends frames at their times, in seconds from now."""
    begun = time.monotonic()
    for at, frame in frames:
        wait = begun + at - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        sock.send(frame)


def frames_of(legs: Iterable[Leg], *, gap: float | None = None) -> list[tuple[float, bytes]]:
    """The frames of some legs at their own times, or one after the other."""
    packets = in_order(legs)
    first = packets[0].time
    return [
        (packet.time - first if gap is None else number * gap, _frame(packet))
        for number, packet in enumerate(packets)
    ]


def total(found: Series, name: str, *labels: str) -> float:
    """The sum of the series of a name that have these labels."""
    return sum(
        value
        for series, value in found.items()
        if series.partition("{")[0] == name and all(label in series for label in labels)
    )
