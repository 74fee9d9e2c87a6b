#!/usr/bin/env python3
"""Send calls over a veth pair between two network namespaces, and count what a listener gets.

The namespaces are this program's own and go away with it. Root, or CAP_NET_ADMIN and CAP_SYS_ADMIN.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import templates

_SENDER = Path(__file__).parent / "sender.py"
_NEAR, _FAR = "near", "far"


class Link(NamedTuple):
    """A veth pair: ``near`` in the sender's namespace, ``far`` in the listener's."""

    sender: str
    listener: str

    def in_sender(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.sender, *command]

    def in_listener(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.listener, *command]


class Heard(NamedTuple):
    frames: int
    dropped: int


@contextmanager
def link() -> Iterator[Link]:
    pair = Link(*(f"sipwatch-bench-{os.getpid()}-{end}" for end in ("a", "b")))
    try:
        for name in pair:
            _ip("netns", "add", name)
        peer = ("peer", "name", _FAR, "netns", pair.listener)
        _ip("link", "add", _NEAR, "netns", pair.sender, "type", "veth", *peer)
        for namespace, interface in ((pair.sender, _NEAR), (pair.listener, _FAR)):
            # No address of either family: nothing but the calls shall pass.
            _ip("-n", namespace, "link", "set", interface, "addrgenmode", "none")
            _ip("-n", namespace, "link", "set", interface, "up")
        yield pair
    finally:
        for name in pair:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


class Listener:
    """tcpdump with a large buffer, as long as the daemon's own benchmark is not asked for."""

    _READY = "listening on"
    _COUNTS = re.compile(r"(\d+) packets? (received by filter|dropped by kernel)")

    def __init__(self, pair: Link) -> None:
        command = ("tcpdump", "-n", "-B", "65536", "-i", _FAR, "-w", "/dev/null")
        self._process = subprocess.Popen(
            pair.in_listener(*command), stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        self._said = self._process.stderr
        for line in self._said:
            if self._READY in line:
                return
        raise OSError(f"tcpdump ended with status {self._process.wait()} before it listened")

    def finish(self) -> Heard:
        self._process.send_signal(signal.SIGINT)
        counts = {what: int(count) for count, what in self._COUNTS.findall(self._said.read())}
        self._process.wait(timeout=10)
        return Heard(counts["received by filter"], counts["dropped by kernel"])


def run(rate: float, seconds: float, mix: str) -> dict[str, Any]:
    """One run: what was sent, what was heard, and what the sender's CPU did."""
    with link() as pair:
        listener = Listener(pair)
        options = ("--rate", str(rate), "--seconds", str(seconds), "--mix", mix)
        before = os.times()
        sender = subprocess.run(
            pair.in_sender(sys.executable, str(_SENDER), "--interface", _NEAR, *options),
            capture_output=True,
            text=True,
            check=False,
        )
        after = os.times()
        time.sleep(0.2)
        heard = listener.finish()
    if sender.returncode != 0:
        raise OSError(sender.stderr.strip())
    cpu = after.children_user - before.children_user + after.children_system
    return {
        "asked": rate,
        "sent": json.loads(sender.stdout),
        "heard": heard._asdict(),
        "sender_cpu_seconds": cpu - before.children_system,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=500.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mix", choices=sorted(templates.MIXES), default="full")
    parser.add_argument("--json", action="store_true", help="print every figure")
    options = parser.parse_args(arguments)
    try:
        result = run(options.rate, options.seconds, options.mix)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(result, indent=1))
        return 0
    sent, heard = result["sent"], result["heard"]
    print(
        f"asked for {result['asked']:,.0f} calls/s: {sent['calls']:,} calls, "
        f"{sent['calls_per_second']:,.0f} a second, {sent['frames']:,} messages sent, "
        f"{heard['frames']:,} heard, {heard['dropped']:,} dropped by the listener; "
        f"sender {result['sender_cpu_seconds']:.1f} s of CPU"
    )
    return 0 if sent["frames"] == heard["frames"] else 1


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
