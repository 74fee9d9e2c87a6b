"""What programs that keep no log of ours (SIPp, baresip) did, taken from the capture.

What they were told to do is in the scenario; only the moments come from their packets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from message import Message, parse, tag_of, uri_of, user_of

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Packet:
    """A SIP message of a capture."""

    number: int  # from 1
    time: float  # epoch seconds
    source: Endpoint
    destination: Endpoint
    message: Message


def packets(capture: Path) -> Iterator[Packet]:
    """The messages of a pcap file: UDP, or whole in a TCP segment, over IPv4 over Ethernet."""
    data = capture.read_bytes()
    position, number = 24, 0
    while position + 16 <= len(data):
        seconds, micros, length = struct.unpack_from("<III", data, position)
        frame = data[position + 16 : position + 16 + length]
        position, number = position + 16 + length, number + 1
        if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] not in (6, 17):
            continue
        start = 14 + 4 * (frame[14] & 15)
        head = 8 if frame[23] == 17 else 4 * (frame[start + 12] >> 4)
        message = parse(frame[start + head :]) if b"SIP/2.0" in frame else None
        if message is None:
            continue
        ports = struct.unpack_from(">HH", frame, start)
        source, destination = (".".join(map(str, frame[at : at + 4])) for at in (26, 30))
        yield Packet(
            number,
            seconds + micros / 1e6,
            (source, ports[0]),
            (destination, ports[1]),
            message,
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """A party that is watched: by its address, and its port where the address has others."""

    user: str
    address: str
    role: str  # calling, called
    behaviour: dict[str, Any]
    port: int = 0

    def is_at(self, end: Endpoint) -> bool:
        return end[0] == self.address and self.port in (0, end[1])


def observe(capture: Path, parties: list[Observed]) -> list[dict[str, Any]]:
    """Entries as party.py logs them, for the INVITEs that the parties got or sent."""
    found: dict[str, dict[str, Any]] = {}
    for packet in packets(capture):
        for party in parties:
            outgoing = party.is_at(packet.source)
            if not outgoing and not party.is_at(packet.destination):
                continue
            message, call_id = packet.message, packet.message.get("Call-ID")
            opens = message.start.startswith("INVITE ") and not tag_of(message.get("To"))
            if opens and outgoing == (party.role == "calling") and call_id not in found:
                found[call_id] = _entry(party, packet, len(found))
            entry = found.get(call_id)
            if entry is not None and entry["address"] == party.address:
                _note(entry, packet, outgoing)
    return list(found.values())


def _entry(party: Observed, packet: Packet, number: int) -> dict[str, Any]:
    message = packet.message
    peer = packet.destination if party.role == "calling" else packet.source
    entry = {
        "role": party.role,
        "user": party.user,
        "address": party.address,
        "behaviour": {"user": party.user, **party.behaviour},
        "number": number,
        "call_id": message.get("Call-ID"),
        "peer": f"{peer[0]}:{peer[1]}",
        "from": uri_of(message.get("From")),
        "uri": message.uri,
    }
    if party.role == "calling":
        entry["behaviour"]["user"] = user_of(message.get("From"))
        return entry | {"to": user_of(message.uri), "sent": packet.time}
    return entry | {"invite": packet.time}


def _note(entry: dict[str, Any], packet: Packet, outgoing: bool) -> None:
    message = packet.message
    calling = entry["role"] == "calling"
    if message.status and message.method == "INVITE" and outgoing != calling:
        _response(entry, packet)
    elif not message.status and message.method in ("CANCEL", "ACK") and outgoing == calling:
        if message.method == "CANCEL" or entry.get("final") == 200:
            entry.setdefault(message.method.lower(), packet.time)
    elif not message.status and message.method == "BYE" and "bye" not in entry:
        entry |= {"bye": packet.time, "bye_by": "self" if outgoing else "peer"}


def _response(entry: dict[str, Any], packet: Packet) -> None:
    status = packet.message.status
    names = {100: "trying", 180: "ringing", 183: "early"}
    if status in names:
        entry.setdefault(names[status], packet.time)
    elif status >= 200 and status not in (401, 407) and "final" not in entry:
        entry |= {"final": status, "final_at": packet.time}


@dataclass(frozen=True, slots=True)
class Opening:
    """The first packet of an INVITE that begins a dialog, on one hop."""

    number: int
    time: float
    source: str
    destination: str
    call_id: str


def openings(capture: Path) -> list[Opening]:
    """The INVITEs of a capture, one for each hop."""
    found: dict[tuple[str, str, str], Opening] = {}
    for packet in packets(capture):
        message = packet.message
        if message.start.startswith("INVITE ") and not tag_of(message.get("To")):
            key = (packet.source[0], packet.destination[0], message.get("Call-ID"))
            found.setdefault(key, Opening(packet.number, packet.time, *key))
    return list(found.values())


def invites(capture: Path) -> dict[str, int]:
    """The number of the first packet of each Call-ID that begins in the capture."""
    found: dict[str, int] = {}
    for opening in openings(capture):
        found.setdefault(opening.call_id, opening.number)
    return found


def first_time(capture: Path, call_id: str) -> float:
    return next(opening.time for opening in openings(capture) if opening.call_id == call_id)


def ringing_seen(capture: Path) -> set[tuple[str, str]]:
    """Call-ID and address of the phones whose ringing is in the capture."""
    return {
        (packet.message.get("Call-ID"), packet.source[0])
        for packet in packets(capture)
        if packet.message.status in (180, 183)
    }
