"""Fixtures of the deployment's tests; a daemon in a namespace as the daemon's tests run it."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1]
sys.path += [str(_TESTS / part) for part in ("deploy", "daemon", "capture", "sinks")]
