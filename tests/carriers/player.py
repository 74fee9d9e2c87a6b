"""Sends frames from interfaces at their times; a process of its own, so that nothing delays it.

Standard input holds a pickled list of (seconds from the start, interface, frame). It says ``ready``
when its sockets are open, begins when a line comes, and says ``done`` after the last frame.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from contextlib import suppress


def main() -> None:
    schedule: list[tuple[float, str, bytes]] = pickle.load(sys.stdin.buffer)
    # What is sent at the same moment stays in its order.
    schedule.sort(key=lambda one: one[0])
    sockets: dict[str, socket.socket] = {}
    for name in {interface for _, interface, _ in schedule}:
        sockets[name] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sockets[name].bind((name, 0))
    with suppress(OSError):
        # What else runs on the host must not decide when a packet is sent.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    print("ready", flush=True)
    os.read(0, 1)
    start = time.monotonic() + 0.05
    for when, interface, frame in schedule:
        wait = start + when - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        sockets[interface].send(frame)
    print("done", flush=True)


if __name__ == "__main__":
    main()
