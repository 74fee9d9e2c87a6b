"""Tells systemd how the daemon is doing (sd_notify(3)); without systemd nothing happens."""

from __future__ import annotations

import os
import time

from sdnotify import SystemdNotifier

#: How many signs of life go into the time that systemd waits for one.
_SHARE = 3


class Systemd:
    """The notification socket and the watchdog of the unit, where there are any."""

    def __init__(self) -> None:
        self._notifier = SystemdNotifier()
        self._every = _watchdog_seconds() / _SHARE
        self._alive_at = 0.0

    def ready(self, status: str) -> None:
        """Started, or done with reloading."""
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        """One line that `systemctl status` shows."""
        self._notifier.notify(f"STATUS={text}")

    def reloading(self) -> None:
        """The configuration is being read again."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """The daemon is about to end."""
        self._notifier.notify("STOPPING=1")

    def alive(self, now: float) -> None:
        """A sign of life, not more often than is useful; `now` is of the monotonic clock."""
        if self._every and now >= self._alive_at:
            self._alive_at = now + self._every
            self._notifier.notify("WATCHDOG=1")


def _watchdog_seconds() -> float:
    """What the unit's WatchdogSec= says; 0 without a watchdog, or when another process is meant."""
    pid = os.environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return 0.0
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
