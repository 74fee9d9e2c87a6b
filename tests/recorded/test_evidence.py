"""What verdicts say as evidence, over every capture that there is."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

import pytest
from score import load

from sipwatch.calls.types import Attempt, Call
from sipwatch.cli.reading import finished
from sipwatch.config import Config
from sipwatch.pipeline import Replay

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/captures"
_ENDINGS = ("*.pcap", "*.pcapng", "*.pcap.gz", "*.cap")
_RANG = re.compile(r"\brang\b.*\d")


def _captures() -> list[tuple[Path, tuple[str, ...]]]:
    """Captures with the addresses of their PBX, where it is known."""
    found: list[tuple[Path, tuple[str, ...]]] = []
    for folder in (ROOT / "pcaps/pbx/asterisk", ROOT / "pcaps/pbx/kamailio",
                   SHARED / "asterisk", SHARED / "freeswitch"):  # fmt: skip
        if folder.is_dir():
            truth = load(folder)
            local = tuple(truth.get("local_addresses") or [truth["pbx_address"]])
            found += [(folder / each["pcap"], local) for each in truth["captures"].values()]
    for folder in ROOT / "pcaps", SHARED:
        found += [(path, ()) for ending in _ENDINGS for path in sorted(folder.glob(ending))]
    return found


CAPTURES = _captures()


def said_of(path: Path, local: tuple[str, ...]) -> list[Attempt | Call]:
    replay = Replay([str(path)], Config(local_addresses=tuple(map(ip_address, local))))
    said: list[Attempt | Call] = []
    for events in replay.events():
        attempts, calls = finished(events)
        said += [*attempts, *calls]
    return said


@pytest.mark.parametrize(
    ("path", "local"),
    CAPTURES,
    ids=lambda value: f"{value.parent.name}-{value.name}" if isinstance(value, Path) else "",
)
def test_nothing_is_said_twice(path: Path, local: tuple[str, ...]) -> None:
    for each in said_of(path, local):
        verdict = each.verdict
        assert verdict is not None
        facts = verdict.evidence
        assert len(set(facts)) == len(facts), facts
        # Of its own leg, and once more of the agent's at most.
        rang = [fact for fact in facts if _RANG.search(fact)]
        assert sum(fact.startswith("agent: ") for fact in rang) <= 1, facts
        assert sum(not fact.startswith("agent: ") for fact in rang) <= 1, facts


def test_the_captures_are_there() -> None:
    """So that the test above does not pass for want of any."""
    names = {path.parent.name for path, _ in CAPTURES}
    assert {"pcaps", "asterisk", "kamailio"} <= names
