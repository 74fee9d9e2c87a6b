"""Network namespaces for tests: made here, without a name, gone with the last descriptor.

Where they cannot be made the tests fail and say why; a live capture that was never tried proves
nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_CLONE_NEWNET = 0x40000000
_OURS = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace with its loopback up and IPv6 quiet."""

    def __init__(self) -> None:
        home = os.open(_OURS, os.O_RDONLY)
        if _libc.unshare(_CLONE_NEWNET):
            why = os.strerror(ctypes.get_errno())
            os.close(home)
            pytest.fail(f"cannot make a network namespace ({why}): run these tests as root")
        self._descriptor = os.open(_OURS, os.O_RDONLY)
        _set(home)
        os.close(home)
        self.ip("link", "set", "lo", "up")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread, and the processes that it starts, are inside."""
        home = os.open(_OURS, os.O_RDONLY)
        _set(self._descriptor)
        try:
            yield
        finally:
            _set(home)
            os.close(home)

    def ip(self, *arguments: str) -> str:
        return self.run("ip", *arguments)

    def run(self, *command: str) -> str:
        with self.entered():
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            pytest.fail(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def veth(self, one: str = "one", two: str = "two") -> None:
        """A cable whose two ends are both here, without addresses of its own."""
        # No neighbour discovery that would mix with what a test sends.
        self._quiet("default")
        self.ip("link", "add", one, "type", "veth", "peer", "name", two)
        for name in (one, two):
            self._quiet(name)
            self.ip("link", "set", name, "up")

    def _quiet(self, name: str) -> None:
        with self.entered():
            path = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
            if os.path.exists(path):
                with open(path, "w") as file:
                    file.write("1")

    def move(self, name: str, other: Namespace) -> None:
        """Hands an interface over to another namespace, where it is brought up."""
        path = f"/proc/{os.getpid()}/fd/{other._descriptor}"
        self.ip("link", "set", name, "netns", path)
        other._quiet(name)
        other.ip("link", "set", name, "up")

    def sender(self, name: str) -> socket.socket:
        """A socket that sends whole frames from an interface and receives none."""
        self._wait_for_carrier(name)
        with self.entered():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.bind((name, 0))
        return sock

    def _wait_for_carrier(self, name: str) -> None:
        """Until the kernel has seen that both ends are up it drops what is sent."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            [link] = json.loads(self.ip("-j", "link", "show", name))
            if link["operstate"] == "UP":
                return
            time.sleep(0.01)

    def in_thread(self, work, *arguments) -> threading.Thread:
        """Runs ``work`` inside, beside the test."""

        def inside() -> None:
            with self.entered():
                work(*arguments)

        thread = threading.Thread(target=inside, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        os.close(self._descriptor)


def _set(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Namespace]:
    """Another one."""
    made = Namespace()
    yield made
    made.close()


@pytest.fixture
def cable(namespace: Namespace) -> Namespace:
    """A namespace with a veth pair ``one`` and ``two``."""
    namespace.veth()
    return namespace
