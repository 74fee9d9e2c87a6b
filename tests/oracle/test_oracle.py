"""tshark, through pyshark, as the independent oracle of every capture at hand.

For each capture: the same INVITE messages packet by packet (requests and responses, with Call-ID,
CSeq number and branch), and records that say as much as tshark's transactions: as many legs, their
retransmissions, the same finals. A capture that is read otherwise stands in KNOWN with the reason,
and must differ as long as it stands there.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from both import ONLY, Ours, Seen, by_pyshark, by_us, differences, theirs, transactions
from peers.wireshark import SipMessage, messages_of

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/captures"
_CAPTURE = (".pcap", ".pcapng", ".cap", ".libpcap", ".pcap.gz")


class Known(NamedTuple):
    """Why tshark and sipwatch differ on a capture, and in what: messages, branches, records."""

    what: frozenset[str]
    reason: str


KNOWN = {
    "written-odd-spelling.pcap": Known(
        frozenset({"branches"}),
        "tshark finds no branch where white space stands around the =, which RFC 3261 allows",
    ),
    "nDPI-fuzz-2006-06-26-2594.pcap": Known(
        frozenset({"messages", "records"}),
        "bytes were changed at random: tshark takes what has no start line for SIP by its port, "
        "and drops messages with a damaged header that we read past",
    ),
    "snort3_demo-digium.pcap": Known(
        frozenset({"messages", "records"}),
        'tshark stops at From: "200"<sip:...> (no blank) and finds neither Call-ID nor CSeq',
    ),
    "trex-core-udp_sip.cap": Known(
        frozenset({"records"}),
        "a traffic generator plays one call again and again from other addresses, with the same "
        "Call-ID and branch: one leg for us",
    ),
    "trex-core-sim_astf-udp_sip.pcap": Known(frozenset({"records"}), "the same generator"),
}


def folders() -> list[Path]:
    """Folders with captures: of the project, and beside it."""
    own = {path.parent for path in (ROOT / "pcaps").rglob("*.pcap*")}
    return sorted(own) + [f for f in (SHARED / "asterisk", SHARED / "freeswitch") if f.is_dir()]


def captures_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(_CAPTURE))


def decode_as() -> dict[str, list[str]]:
    """Captures from the field whose ports tshark must be told, with the rules."""
    index = SHARED / "INDEX.jsonl"
    if not index.exists():
        return {}
    entries = [json.loads(line) for line in index.read_text().splitlines()]
    return {entry["file"]: entry["decode_as"] for entry in entries if entry["decode_as"]}


def verdict(capture: Path, messages: list[SipMessage], ours: Ours) -> list[str]:
    """What is wrong with a capture; nothing when both agree, or differ as is known."""
    found: dict[str, list[str]] = {"messages": [], "branches": [], "records": []}
    expected = theirs(messages)
    if expected != ours.messages:
        kind = "messages"
        if without_branches(expected) == without_branches(ours.messages):
            kind = "branches"
        found[kind] = [
            f"only tshark: {sorted((expected - ours.messages).elements())[:3]}",
            f"only sipwatch: {sorted((ours.messages - expected).elements())[:3]}",
        ]
    found["records"] = list(differences(transactions(messages), ours.records))
    known = KNOWN.get(capture.name, Known(frozenset(), ""))
    lines = [line for kind, lines in found.items() if kind not in known.what for line in lines]
    lines += [f"no longer differs in its {kind}" for kind in known.what if not found[kind]]
    return lines


def without_branches(messages: Counter[Seen]) -> list[Seen]:
    return sorted(
        seen._replace(branch="") for seen, count in messages.items() for _ in range(count)
    )


def disagreements(captures: list[Path]) -> list[str]:
    """All that is wrong with these captures; what reads ill among others is read alone as well."""
    lines = []
    for capture, messages in messages_of(captures, only=ONLY, reader=by_pyshark).items():
        ours = by_us(capture)
        if verdict(capture, messages, ours):
            alone = list(by_pyshark(capture, ONLY, ()))
            lines += [f"{capture.name}: {line}" for line in verdict(capture, alone, ours)]
    return lines


def name_of(folder: Path) -> str:
    return str(folder.relative_to(ROOT if folder.is_relative_to(ROOT) else SHARED.parent))


@pytest.mark.parametrize("folder", folders(), ids=name_of)
def test_tshark_and_sipwatch_agree(folder: Path) -> None:
    captures = captures_of(folder)
    assert captures
    assert disagreements(captures) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="the captures from the field are not here")
def test_tshark_and_sipwatch_agree_on_captures_from_the_field() -> None:
    told = decode_as()
    captures = [path for path in captures_of(SHARED) if path.name not in told]
    assert len(captures) > 100
    assert disagreements(captures) == []
    for name, rules in told.items():
        capture = SHARED / name
        messages = list(by_pyshark(capture, ONLY, rules))
        assert messages
        assert verdict(capture, messages, by_us(capture)) == []


def test_every_known_difference_is_of_a_capture_that_is_read() -> None:
    names = {path.name for folder in [*folders(), SHARED] if folder.is_dir()
             for path in captures_of(folder)}  # fmt: skip
    own = {name for name in KNOWN if name.startswith("written-")}
    assert own <= names
    assert not SHARED.is_dir() or set(KNOWN) <= names


def test_the_comparison_sees_what_differs() -> None:
    capture = ROOT / "pcaps/lossy-busy.pcap"
    messages, ours = list(by_pyshark(capture, ONLY, ())), by_us(capture)
    assert verdict(capture, messages, ours) == []
    final = next(m for m in messages if m.status >= 200)
    invites = [m for m in messages if m.is_invite]
    assert len(invites) > 1  # sent again: the first ones are lost
    for changed in (
        messages[1:],
        [m for m in messages if m.status < 200],
        [replace(m, status=603) if m is final else m for m in messages],
        [replace(m, branch="z9hG4bKother") if m is invites[-1] else m for m in messages],
        [replace(m, call_id="another") for m in messages],
    ):
        assert verdict(capture, changed, ours)
        assert list(differences(transactions(changed), ours.records))
