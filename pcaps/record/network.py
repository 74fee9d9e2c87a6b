"""One network segment per scenario: a namespace for each party, joined by a bridge.

Each scenario has a /24 of its own, so that recordings run side by side and their captures can be
merged later without one host playing two parts. Nothing outside the namespaces is touched.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


@dataclass(frozen=True)
class Party:
    """A host of the scenario."""

    name: str
    namespace: str
    address: str


def address(network: tuple[int, int], host: int, ipv6: bool = False) -> str:
    """Address of a host number in the /24 (or /64) of a scenario."""
    second, third = network
    return f"fd00:{second}:{third}::{host}" if ipv6 else f"10.{second}.{third}.{host}"


class Segment:
    """Namespaces and addresses of one scenario; a context manager that removes them again."""

    def __init__(self, network: tuple[int, int], ipv6: bool = False) -> None:
        self.label = "sipw-{}-{}".format(*network)
        self.network = network
        self.ipv6 = ipv6
        self.switch = f"{self.label}-switch"
        self._namespaces: list[str] = []

    def __enter__(self) -> Segment:
        self._add_namespace(self.switch)
        _ip("-n", self.switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", self.switch, "link", "set", "br0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in self._namespaces:
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def address(self, host: int) -> str:
        return address(self.network, host, self.ipv6)

    def join(self, name: str, host: int, wired: bool = False) -> Party:
        """Add a host; ``wired`` leaves its port off the bridge, for a `wire.Wire` to join."""
        namespace = f"{self.label}-{name}"
        port = f"p{host}"
        self._add_namespace(namespace)
        peer = ["type", "veth", "peer", "name", port, "netns", self.switch]
        _ip("link", "add", "eth0", "netns", namespace, *peer)
        length = "64" if self.ipv6 else "24"
        extra = ["nodad"] if self.ipv6 else []
        _ip("-n", namespace, "addr", "add", f"{self.address(host)}/{length}", "dev", "eth0", *extra)
        _ip("-n", namespace, "link", "set", "eth0", "up")
        # Checksums must be on the wire: a capture should hold what a cable would carry.
        for place, interface in ((namespace, "eth0"), (self.switch, port)):
            run_in(place, ["ethtool", "-K", interface, "tx", "off"])
        if not wired:
            _ip("-n", self.switch, "link", "set", port, "master", "br0")
        _ip("-n", self.switch, "link", "set", port, "up")
        return Party(name, namespace, self.address(host))

    def add_uplink(self, port: str) -> str:
        """A veth pair inside the switch whose far end is on the bridge; returns the near end."""
        near, far = f"{port}a", f"{port}b"
        _ip("-n", self.switch, "link", "add", near, "type", "veth", "peer", "name", far)
        for interface in (near, far):
            run_in(self.switch, ["ethtool", "-K", interface, "tx", "off"])
            _ip("-n", self.switch, "link", "set", interface, "up")
        _ip("-n", self.switch, "link", "set", far, "master", "br0")
        return near

    def _add_namespace(self, namespace: str) -> None:
        subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")


def run_in(namespace: str, command: list[str]) -> None:
    """Run a short command in a namespace; raise CalledProcessError if it fails."""
    argv = ["ip", "netns", "exec", namespace, *command]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)


def inside(namespace: str, action: Callable[[], T]) -> T:
    """Call ``action`` on a thread that has entered the namespace: sockets made there stay there."""
    results: list[T] = []
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
            try:
                if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"setns {namespace}")
            finally:
                os.close(descriptor)
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
