"""Cause hints on recorded captures: what is said, and that the packets it names show it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from sipwatch.calls.types import Attempt, AttemptEnded, DialogEnded
from sipwatch.capture.files import CaptureFiles
from sipwatch.config import Config
from sipwatch.net.types import Datagram, Unreachable
from sipwatch.pipeline import Replay

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "pcaps" / "pbx" / "asterisk"
SHARED = ROOT.parent / "shared" / "captures"

#: Capture, PBX, leg (by role, and from which call on when there are several), device, cause hint.
SAID = [
    ("closed-port-9", "caller", 0, "101", "port_closed"),
    ("closed-port-9", "agent", 0, "101", "port_closed"),
    ("pings-then-dies", "agent", 0, "101", "registered_but_silent"),
    ("pings-then-dies", "caller", 0, "101", "registered_but_silent"),
    # It registers from its new port 2 s after the record was out.
    ("moves-to-another-port", "agent", 0, "101", "registered_but_silent"),
    ("registration-expired", "caller", 1, "101", "registration_expired"),
    # Nothing in view says whose device the called number stands for.
    ("registration-removed", "caller", 0, "32001", None),
    ("never-registered", "caller", 0, "32001", None),
    ("dies-ringing-10", "agent", 0, "101", None),
]
SAID_SHARED = [
    ("asterisk/closed-port-8", "agent", 0, "101", "port_closed"),
    ("asterisk/answered-media-timeout", "caller", 0, "+49301110000", "media_lost"),
    ("freeswitch/closed-port-12", "agent", 0, "101", "port_closed"),
    ("freeswitch/answered-media-timeout-agent", "agent", 0, "101", "media_lost"),
    ("asterisk/never-registered", "caller", 0, None, None),
    ("asterisk/silent-8", "agent", 0, "101", None),
]
#: What a packet that evidence names after these words must begin with.
SHOWN = {
    r"REGISTER (?:from \S+ )?at \S+ UTC \(packet (\d+)\)": b"REGISTER ",
    r"registered at \S+ UTC \(packet (\d+)\)": b"REGISTER ",
    r"answered a ping at \S+ UTC \(packet (\d+)\)": b"SIP/2.0 ",
    r"BYE at \S+ UTC \(packet (\d+)\)": b"BYE ",
    r"since the INVITE \(packet (\d+)\)": b"INVITE ",
}


def file_of(folder: Path, name: str) -> Path:
    found = [
        path for path in (folder / f"{name}.pcap", folder / f"{name}.pcap.gz") if path.exists()
    ]
    return found[0]


def judged(path: Path, pbx: str) -> list[Attempt]:
    """The attempts, each with all that was said of it."""
    config = Config(local_addresses=(ip_address(pbx),))
    found: dict[int, Attempt] = {}
    for events in Replay([str(path)], config).events():
        for event in events:
            if isinstance(event, (AttemptEnded, DialogEnded)):
                found[event.attempt.serial] = event.attempt
    return [found[serial] for serial in sorted(found)]


def packets(path: Path) -> dict[int, Datagram | Unreachable]:
    return {item.number: item for batch in CaptureFiles([str(path)]).batches() for item in batch}


def check(
    path: Path, pbx: str, role: str, place: int, device: str | None, hint: str | None
) -> None:
    attempt = [each for each in judged(path, pbx) if each.role == role][place]
    verdict = attempt.verdict
    assert verdict is not None
    assert verdict.cause_hint == hint, verdict.evidence
    if device is not None:
        assert attempt.device == device


@pytest.mark.parametrize(("name", "role", "place", "device", "hint"), SAID)
def test_said(name: str, role: str, place: int, device: str | None, hint: str | None) -> None:
    check(file_of(RECORDED, name), "10.30.0.1", role, place, device, hint)


@pytest.mark.parametrize(
    ("name", "role", "place", "device", "hint"), SAID_SHARED if SHARED.exists() else []
)
def test_said_of_shared_captures(
    name: str, role: str, place: int, device: str | None, hint: str | None
) -> None:
    folder, _, name = name.partition("/")
    check(file_of(SHARED / folder, name), "10.9.0.1", role, place, device, hint)


@pytest.mark.parametrize("name", sorted({row[0] for row in SAID if row[-1] is not None}))
def test_the_packets_that_are_named_show_it(name: str) -> None:
    path = file_of(RECORDED, name)
    wire = packets(path)
    hinted = [a for a in judged(path, "10.30.0.1") if a.verdict and a.verdict.cause_hint]
    assert hinted
    for attempt in hinted:
        assert attempt.verdict is not None
        fact = next(line for line in reversed(attempt.verdict.evidence) if "(packet" in line)
        named = [int(number) for number in re.findall(r"\(packet (\d+)\)", fact)]
        assert named
        assert all(number in wire for number in named)
        if attempt.verdict.cause_hint == "port_closed":
            assert isinstance(wire[named[0]], Unreachable)
        for words, start in SHOWN.items():
            for number in re.findall(words, fact):
                item = wire[int(number)]
                assert isinstance(item, Datagram)
                assert item.payload.startswith(start), (words, fact)
