"""Fixtures of the daemon's tests: namespaces, as the capture tests make them."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1]
sys.path += [str(_TESTS / "capture"), str(_TESTS / "sinks")]

from network_namespace import cable, namespace, other  # noqa: E402

__all__ = ["cable", "namespace", "other"]
