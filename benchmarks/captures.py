#!/usr/bin/env python3
"""Make the captures that the benchmarks read, once, in a directory that git does not see.

Beside each ``KIND-PACKETS-FINGERPRINT.pcap`` lies a JSON file with what it holds: messages by
method and status, attempts by outcome. The fingerprint is of the code that made it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from traffic.mix import MIXES, write_capture

CACHE = Path(__file__).parent / ".cache"
SIZES = (60_000, 200_000, 1_000_000)


class Capture(NamedTuple):
    kind: str
    packets: int
    path: Path
    #: See `traffic.mix.Truth`.
    truth: dict[str, Any]


def capture(kind: str, packets: int, directory: Path = CACHE) -> Capture:
    """The capture of that kind and size, made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{kind}-{packets}-{_fingerprint()}.pcap"
    beside = path.with_suffix(".json")
    if not beside.exists():
        for stale in directory.glob(f"{kind}-{packets}-*"):
            stale.unlink()
        truth = write_capture(kind, packets, path).to_json()
        # Written last: where it stands, the capture is whole.
        beside.write_text(json.dumps(truth, indent=1) + "\n")
    return Capture(kind, packets, path, json.loads(beside.read_text()))


def _fingerprint() -> str:
    sources = sorted((Path(__file__).parent / "traffic").glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kind", choices=sorted(MIXES), action="append")
    parser.add_argument("--packets", type=int, action="append")
    parser.add_argument("--directory", type=Path, default=CACHE)
    options = parser.parse_args(arguments)
    if any(packets < 1000 for packets in options.packets or ()):
        parser.error("--packets: at least 1000, less holds no whole mix of calls")
    for kind in options.kind or sorted(MIXES):
        for packets in options.packets or SIZES:
            made = capture(kind, packets, options.directory)
            size = made.path.stat().st_size / 1e6
            print(
                f"{made.path}: {packets:,} packets, {size:,.0f} MB, {made.truth['calls']:,} calls, "
                f"{made.truth['attempts']:,} attempts in {made.truth['seconds']:,.0f} s"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
