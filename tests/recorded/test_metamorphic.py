"""What happened stays what happened, however it was named, shaped, timed and seen.

Recorded captures are rewritten, each change alone, and laid over each other; the truth is theirs.
Shared captures take part where they are there, of our own every fifth with each change.
"""

from __future__ import annotations

import random
import sys
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from rewriting import CHANGES, Unfit, identifiers, moved, users
from rewriting import addresses as readdress
from score import PERSON, TECHNICAL, Score, compare, load, settings
from wire_values import Recorded, read, write

from sipwatch.cli.reading import finished
from sipwatch.config import Config, parse_toml
from sipwatch.pipeline import Replay
from sipwatch.sinks.wire import endpoint_text

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/captures"
OWN = [ROOT / "pcaps/pbx" / name for name in ("asterisk", "kamailio", "sippy")]
THEIRS = [SHARED / name for name in ("asterisk", "freeswitch") if (SHARED / name).is_dir()]
#: A PBX without a name is known by the causes that it writes: not where it writes none.
_HIDDEN = ("a PBX that hides its name", "a PBX with another name", "much at once")
_NAMELESS = ("sippy", "no-reasons--trunkside")
#: Forks and next hops have one Call-ID and are told apart by their addresses.
_ADDRESSED = ("NAT", "other addresses", "IPv6")


@cache
def recorded(folder: Path) -> list[Recorded]:
    """The small captures of a folder, those over UDP."""
    truth = load(folder)
    found = []
    for name, capture in truth["captures"].items():
        packets = None if name.startswith("busy-hour") else read(folder / capture["pcap"])
        if packets:
            local = parse_toml(settings(truth, name)).local_addresses
            made = Recorded(
                f"{folder.name}/{name}", packets, capture["attempts"], capture["calls"],
                [str(address) for address in local],
            )  # fmt: skip
            found.append(made)
    return found


def judged(capture: Recorded, folder: Path, *, configured: bool = True) -> Score:
    """The score of a capture as the program judges it."""
    paths, size = [], -(-len(capture.packets) // capture.pieces)
    for start in range(0, len(capture.packets), size):
        path = folder / f"{start:06}.pcap"
        write(path, capture.packets[start : start + size], capture.link)
        paths.append(str(path))
    local = tuple(map(ip_address, capture.local)) if configured else ()
    attempts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for events in Replay(paths, Config(local_addresses=local)).events():
        over, ended = finished(events)
        attempts += [
            {
                "id": attempt.call_id.decode(), "call_id": attempt.call_id.decode(),
                "source": endpoint_text(attempt.source),
                "destination": endpoint_text(attempt.destination), **_said(attempt.verdict),
            }
            for attempt in over
        ]  # fmt: skip
        calls += [
            {
                "id": number, "attempts": [a.call_id.decode() for a in call.attempts],
                **_said(call.verdict),
            }
            for number, call in enumerate(ended, len(calls))
        ]  # fmt: skip
    for path in map(Path, paths):
        path.unlink()
    return compare(capture.name, {"attempts": capture.attempts, "calls": capture.calls},
                   attempts, calls)  # fmt: skip


def _said(verdict: Any) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome, "detail": verdict.detail, "evidence": list(verdict.evidence)
    }  # fmt: skip


def report(total: Score) -> str:
    return "\n".join([*map(str, total.misses), total.summary()])


def test_there_is_enough_to_rewrite() -> None:
    assert sum(len(recorded(folder)) for folder in OWN) > 200
    assert all(len(recorded(folder)) > 40 for folder in THEIRS)


@pytest.mark.parametrize("change", CHANGES)
def test_the_truth_stays(change: str, tmp_path: Path) -> None:
    turn = list(CHANGES).index(change)
    captures = [c for folder in THEIRS for c in recorded(folder)]
    captures += [c for folder in OWN for c in recorded(folder)][turn % 5 :: 5]
    total, tried = Score(), 0
    for capture in captures:
        if change in _HIDDEN and any(word in capture.name for word in _NAMELESS):
            continue
        try:
            rewritten = CHANGES[change](capture, random.Random(f"{change} {capture.name}"))
        except Unfit:
            continue
        total.add(judged(rewritten, tmp_path, configured=turn % 4 > 0 or change in _HIDDEN))
        tried += 1
    assert tried > 0.8 * len(captures)
    attempts = [miss for miss in total.misses if miss.what == "attempt"]
    assert not attempts, report(total)
    if turn % 4:  # without the addresses of the PBX nobody says that it sees all of its legs
        assert not total.misses, report(total)


def test_what_was_rewritten_is_another_capture(tmp_path: Path) -> None:
    """So that the test above is not one of unchanged captures."""
    capture = recorded(OWN[0])[0]
    write(tmp_path / "before.pcap", capture.packets, capture.link)
    before = (tmp_path / "before.pcap").read_bytes()
    for name, change in CHANGES.items():
        rewritten = change(capture, random.Random(name))
        write(tmp_path / "after.pcap", rewritten.packets, rewritten.link)
        changed = (tmp_path / "after.pcap").read_bytes() != before
        assert changed or rewritten.pieces > 1 or name == "neighbours swapped", name


# --- laid over each other ---------------------------------------------------------------------

_CUT = ("side", "earlyend", "latestart")


def beside(captures: list[Recorded], chance: random.Random, most: int) -> Recorded:
    """Several captures of one PBX at once, each with agents, callers and addresses of its own."""
    legs: list[Recorded] = []
    for capture in captures:
        at, local = len(legs), set(capture.local)
        own = users(
            lambda e, at=at: f"{1000 + at * 100 + int(e) - 100}", f"6{at:02}",
            lambda number, at=at: f"{number[:-6]}{at:02}{number[-4:]}",
        )(capture, chance)  # fmt: skip
        try:
            own = identifiers(own, chance)
            own = readdress(
                lambda a, at=at, local=local: (
                    a if a in local else "10.{}.{}.{}".format(100 + at, *a.split(".")[2:])
                )
            )(own, chance)
        except Unfit:
            continue
        # The fraction of the second stays: FreeSWITCH's timers run by the clock on the wall.
        start = 1_790_000_000 - own.packets[0].time // 1_000_000
        legs.append(moved(own, start + chance.randrange(8)))
        if len(legs) == most:
            break
    whole = legs[0]
    for other in legs[1:]:
        whole.packets += other.packets
        whole.attempts += other.attempts
        whole.calls += other.calls
    whole.name = f"{most} captures of {captures[0].name.partition('/')[0]}"
    return whole.sort()


@pytest.mark.parametrize("most", [3, 12])
@pytest.mark.parametrize("folder", [OWN[0], *THEIRS], ids=lambda f: f"{f.parent.name}-{f.name}")
def test_calls_at_the_same_time_do_not_mix(folder: Path, most: int, tmp_path: Path) -> None:
    whole = [c for c in recorded(folder) if not any(word in c.name for word in _CUT)]
    total = Score()
    for turn in range(24 // most):
        chance = random.Random(f"{folder.name} {most} {turn}")
        total.add(judged(beside(chance.sample(whole, len(whole)), chance, most), tmp_path))
    assert total.attempts > 40
    assert not total.misses, report(total)


# --- less in view -----------------------------------------------------------------------------


def one_side(capture: Recorded, *, agents: bool) -> Recorded | None:
    """Only the agents' legs, or only the callers'."""
    made = capture.copy()
    kept = {
        attempt["call_id"].encode()
        for attempt in made.attempts
        if (attempt["source"].partition(":")[0] in made.local) is agents
    }
    made.attempts = [a for a in made.attempts if a["call_id"].encode() in kept]
    made.calls = []
    made.packets = [
        packet
        for packet in made.packets
        if any(i in (packet.quoted or packet).payload for i in kept)
        or b" REGISTER\r\n" in packet.payload
    ]
    return made if made.attempts else None


@pytest.mark.parametrize("agents", [True, False], ids=["agents", "callers"])
@pytest.mark.parametrize("folder", [OWN[0], *THEIRS], ids=lambda f: f"{f.parent.name}-{f.name}")
def test_one_side_alone_says_less(folder: Path, agents: bool, tmp_path: Path) -> None:
    """The agents' side blames no person for technology, nor it for him; the callers' may guess."""
    total = Score()
    for capture in recorded(folder):
        made = one_side(capture, agents=agents)
        if made is not None:
            total.add(judged(made, tmp_path))
    assert total.attempts > 40
    assert not agents or not total.confused, report(total)
    assert total.wrong("attempt") <= 0.1 * total.attempts, report(total)


@pytest.mark.parametrize("folder", [OWN[0], *THEIRS], ids=lambda f: f"{f.parent.name}-{f.name}")
def test_a_lost_packet_blames_nobody(folder: Path, tmp_path: Path) -> None:
    """One packet of each capture is lost: the same is said, or less; not whose fault it was."""
    total = Score()
    for capture in recorded(folder):
        chance = random.Random(f"lost {capture.name}")
        made = capture.copy()
        # Whether it rang is what a 180 says, and nothing else where a PBX hands it on at once.
        lost = [p for p in made.packets if not p.payload.startswith((b"SIP/2.0 18", b"INVITE"))]
        made.packets.remove(chance.choice(lost))
        total.add(judged(made, tmp_path))
    known = [m for m in total.misses if m.said.split("/")[0] in PERSON | TECHNICAL]
    assert not [miss for miss in known if miss.confused], report(total)
    assert total.wrong("attempt") <= 0.15 * total.attempts, report(total)
