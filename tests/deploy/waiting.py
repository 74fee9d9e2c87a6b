"""Waits for what other programs bring about, and fails with what they said when they do not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def wait_for(
    condition: Callable[[], object], what: str, seconds: float, logs: Callable[[], str]
) -> None:
    """Asks again and again; one who is not up yet may raise OSError."""
    until = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > until:
            pytest.fail(f"{what} did not come to pass\n{logs()}")
        time.sleep(0.1)
