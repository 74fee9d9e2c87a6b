"""Signals and calls of other threads as one descriptor that the loop can wait for."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from types import FrameType

_STOP = (signal.SIGTERM, signal.SIGINT)


class Wakeup:
    """Readable when a signal came or `wake` was called; the main thread makes it."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self.stop = False
        self.reload = False
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in _STOP:
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def fileno(self) -> int:
        """Returns the descriptor to wait for."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """Makes the descriptor readable; for any thread."""
        # A full buffer wakes as well.
        with suppress(BlockingIOError):
            self._sender.send(b"\0")

    def clear(self) -> None:
        """Forgets what has woken, until the next time."""
        with suppress(BlockingIOError):
            while self._receiver.recv(4096):
                pass

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self.stop:
            # Asked a second time: at once.
            os._exit(128 + number)
        self.stop = True

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self.reload = True
