"""What systemd is told, over a socket as it makes one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipwatch.daemon.notify import Systemd


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield sock


def test_the_states(told: socket.socket) -> None:
    systemd = Systemd()
    systemd.ready("watching eth0")
    systemd.reloading()
    systemd.status("x")
    systemd.stopping()
    assert told.recv(4096) == b"READY=1\nSTATUS=watching eth0"
    reloading = told.recv(4096).decode().splitlines()
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    assert reloading[1].partition("=")[2].isdecimal()
    assert told.recv(4096) == b"STATUS=x"
    assert told.recv(4096) == b"STOPPING=1"


def test_signs_of_life_as_often_as_the_unit_asks(
    told: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    systemd = Systemd()
    for now in range(100, 131):
        systemd.alive(float(now))
    told.setblocking(False)
    signs = 0
    try:
        while told.recv(4096) == b"WATCHDOG=1":
            signs += 1
    except BlockingIOError:
        pass
    assert signs == 4


@pytest.mark.parametrize("pid", ["1", None])
def test_no_signs_without_a_watchdog_of_ours(
    told: socket.socket, monkeypatch: pytest.MonkeyPatch, pid: str | None
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        monkeypatch.setenv("WATCHDOG_PID", pid)
    Systemd().alive(100.0)
    told.setblocking(False)
    with pytest.raises(BlockingIOError):
        told.recv(4096)


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd = Systemd()
    systemd.ready("x")
    systemd.alive(1.0)
    systemd.stopping()
