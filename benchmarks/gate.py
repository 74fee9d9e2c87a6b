"""The gate before any figure counts: the records of a run are exactly those that were put in."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from captures import Capture


def differences(capture: Capture, records: Path) -> list[str]:
    """What the JSON Lines in ``records`` say otherwise than the capture's truth, a line each."""
    found: Counter[str] = Counter()
    other = 0
    with records.open() as lines:
        for line in lines:
            record = json.loads(line)
            if record["kind"] == "attempt":
                found[record["outcome"]] += 1
            else:
                other += 1
    expected = Counter(capture.truth["outcomes"])
    name = f"{capture.kind} {capture.packets:,}"
    wrong = [
        f"{name}: {outcome}: {found[outcome]:,} records, {expected[outcome]:,} expected"
        for outcome in sorted(expected | found)
        if found[outcome] != expected[outcome]
    ]
    if found.total() != expected.total():
        wrong.append(f"{name}: {found.total():,} records, {expected.total():,} expected")
    if other:
        wrong.append(f"{name}: {other:,} records that are no attempts")
    return wrong
