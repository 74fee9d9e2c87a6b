#!/usr/bin/env python3
"""What the live capture alone costs: whole calls over a veth pair, read from the ring and counted.

The sender and the link are those of ``live.py``. Root, or CAP_NET_ADMIN and CAP_SYS_ADMIN. Prints
one line of JSON; the exit status is 1 when a message was lost.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import live

_SENDER = Path(__file__).parent / "sender.py"
_READY = "listening"


def listen(interface: str, quiet_seconds: float) -> dict[str, Any]:
    """Counts until nothing came for so long; times are those while messages came."""
    from sipwatch.capture.live import LiveCapture

    messages, latest, started, used = 0, 0.0, 0.0, 0.0
    with LiveCapture([interface], [5060]) as capture:
        print(_READY, flush=True)
        before = time.process_time()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            batch = capture.poll(0.25)
            if batch:
                now = time.time()
                started = started or batch[0].time
                messages += len(batch)
                latest = max(latest, now - batch[0].time)
                used, ended = time.process_time() - before, now
                until = time.monotonic() + quiet_seconds
        capture.refresh()
        stats = capture.stats().interfaces[0]
    seconds = ended - started if messages else 1.0
    return {
        "messages": messages,
        "messages_per_second": round(messages / seconds),
        "kernel_drops": stats.kernel_drops,
        "interface_drops": stats.interface_drops,
        "core_share": round(used / seconds, 3),
        "microseconds_per_message": round(1e6 * used / max(1, messages), 2),
        "longest_delay_seconds": round(latest, 3),
        "memory_mebibytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def run(rate: float, seconds: float) -> dict[str, Any]:
    """One run: what was sent and what the capture says of it."""
    with (
        live.link() as pair,
        subprocess.Popen(
            pair.in_listener(sys.executable, __file__, "--listen", live._FAR),
            stdout=subprocess.PIPE,
            text=True,
        ) as listener,
    ):
        assert listener.stdout is not None
        if listener.stdout.readline().strip() != _READY:
            raise OSError("the capture did not start")
        options = ("--rate", str(rate), "--seconds", str(seconds), "--mix", "full")
        sender = subprocess.run(
            pair.in_sender(sys.executable, str(_SENDER), "--interface", live._NEAR, *options),
            capture_output=True,
            text=True,
            check=True,
        )
        heard = json.loads(listener.stdout.read())
    sent = json.loads(sender.stdout)
    return {
        "calls_per_second": round(sent["calls_per_second"]),
        "sent": sent["frames"],
        **heard,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=3000.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--listen", metavar="INTERFACE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.listen:
        print(json.dumps(listen(options.listen, 1.5)))
        return 0
    try:
        result = run(options.rate, options.seconds)
    except (OSError, subprocess.CalledProcessError) as error:
        print(getattr(error, "stderr", None) or error, file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0 if result["sent"] == result["messages"] else 1


if __name__ == "__main__":
    sys.exit(main())
