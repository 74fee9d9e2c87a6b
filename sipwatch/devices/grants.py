"""What a 2xx to a REGISTER says of the contacts of its address-of-record (RFC 3261 10.3).

Pure functions: which of the listed contacts is the sender's own, until when it is granted, what
became of the others, and whether two contacts are one device.
"""

from __future__ import annotations

from sipwatch.devices.types import Binding, Grant, Packet, Sighting
from sipwatch.devices.wire import Contact, endpoint_of, seconds_in, value_of
from sipwatch.sip import grammar


class Asked:
    """A REGISTER that waits for its final response."""

    __slots__ = ("begun", "challenged", "last", "packet", "sent")

    def __init__(self, packet: Packet, begun: float, challenged: bool) -> None:
        self.packet = packet
        #: When the first REGISTER of the chain was sent.
        self.begun = begun
        self.challenged = challenged
        self.sent = 1
        self.last = packet.time


def wished(asked: Asked, contact: Contact) -> int | None:
    """The seconds that a REGISTER asks for: of its contact, else of the whole (10.2.1.1)."""
    if contact.expires is not None:
        return contact.expires
    return seconds_in(grammar.text(value_of(asked.packet.payload, b"Expires")))


def own_contact(
    packet: Packet,
    asked: Asked | None,
    own: tuple[Contact, ...],
    listed: dict[bytes, Contact],
    given_up: bool,
) -> Contact | None:
    """The contact of the device itself, as the registrar has it; None where none can be told."""
    only = next(iter(listed.values())) if len(listed) == 1 else None
    if asked is None:
        return only
    if not own or own[0].key == b"*":
        return None
    for contact in own:
        if contact.key in listed:
            return listed[contact.key]
    if given_up or not listed:
        return own[0]
    # The registrar may write it anew, with the address that it sees.
    here = [c for c in listed.values() if endpoint_of(c.key) == asked.packet.source]
    return here[0] if len(here) == 1 else only


def note_others(
    known: dict[bytes, Binding],
    binding: Binding | None,
    aor: str,
    listed: dict[bytes, Contact],
    packet: Packet,
) -> None:
    """The 2xx lists every contact of the user: what it says of the others, and of the missing."""
    for contact, other in known.items():
        if other is binding or other.aor != aor:
            continue
        entry = listed.get(contact)
        if entry is None:
            if other.grant.gone is None:
                seen = Sighting(packet.time, packet.number)
                other.grant = other.grant._replace(gone=seen)
        elif entry.expires is not None:
            expires_at = packet.time + entry.expires
            other.grant = other.grant._replace(expires_at=expires_at, gone=None)


def granted_by(
    contact: Contact, kept: bool, alone: bool, packet: Packet, asked: Asked | None
) -> Grant:
    """What a 2xx says of a contact: until when it is granted, or that it is not any more."""
    granted = Sighting(packet.time, packet.number)
    registered = granted if asked is None else Sighting(asked.packet.time, asked.packet.number)
    seconds = contact.expires
    if seconds is None:
        seconds = seconds_in(grammar.text(value_of(packet.payload, b"Expires")))
    if not kept:
        seconds = 0  # given up with an expiry of 0 (10.2.2): the list is without it
    expires_at = None if seconds is None else packet.time + seconds
    gone = granted if seconds == 0 else None
    return Grant(registered, granted, seconds, expires_at, gone, alone)


def same_device(one: Binding, other: Binding) -> bool:
    """Whether two contacts of one user are one device, now here and now there.

    It keeps its instance for ever (RFC 5626 4.1) and its Call-ID while it runs (RFC 3261 10.2);
    behind a NAT it asks for the same contact, whatever the registrar makes of it.
    """
    if one.instance or other.instance:
        return one.instance == other.instance
    return one.call_id == other.call_id or one.asked == other.asked


def renewed(binding: Binding, again: Sighting) -> None:
    """A contact that was granted before is registered again: how regularly."""
    last = binding.grant
    gap = max(0.0, again.time - last.registered.time)
    binding.refreshes += 1
    binding.gap_total += gap
    binding.longest_gap = max(binding.longest_gap, gap)
    if last.expires_at is not None and again.time > last.expires_at:
        binding.late += 1
    if binding.heard:
        binding.reacted = again
