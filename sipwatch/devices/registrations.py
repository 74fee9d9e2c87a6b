"""Who is registered where and until when: REGISTERs and what the registrar granted.

Sans-I/O: `request` and `response` take one message with the packet that brought it. The grant is
read from the 2xx alone (RFC 3261 10.3 step 8 lists every contact of the address-of-record in it),
so a capture of one direction still tells; the request adds who asked, from where and how long it
took. Bounded: the least recently renewed address-of-record goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TypeVar

from sipwatch.devices.bounds import make_room, take_stale
from sipwatch.devices.counts import RegistrationCounts
from sipwatch.devices.grants import (
    Asked,
    granted_by,
    note_others,
    own_contact,
    renewed,
    same_device,
    wished,
)
from sipwatch.devices.types import Binding, Endpoint, Grant, Packet, Sighting
from sipwatch.devices.wire import (
    LONGEST,
    Contact,
    aor_of,
    contact_key,
    contact_line,
    contacts_in,
    contacts_of,
    endpoint_of,
    public_of,
    rport_of,
    to_of,
    transaction_of,
    user_of,
    value_of,
)
from sipwatch.sip.uri import parse_uri

#: Addresses that register, addresses-of-record, and contacts of each.
MOST_ADDRESSES = 100_000
MOST_AORS = 50_000
MOST_CONTACTS = 8
#: REGISTERs that wait for their response, challenges that wait for theirs, and those that were
#: answered of late; and the longest REGISTER that is waited with.
MOST_PENDING = 4096
LONGEST_REQUEST = 16_384
#: Timer F: a request that got no final response by now gets none (RFC 3261 17.1.2.2).
TIMEOUT_SECONDS = 32.0
#: How often what timed out is looked for.
_SWEEP_SECONDS = 1.0
#: Two sightings of one message closer than this are copies: a sender waits T1 (17.1.2.2).
COPY_SECONDS = 0.02
#: Renewals that are known word for word.
MOST_HABITS = 20_000
#: Contacts that are read of one 2xx.
_MOST_LISTED = 64
_CHALLENGES = frozenset((401, 407))
_Key = TypeVar("_Key")


class Registrations:
    """Addresses that sent REGISTERs, and the contacts that registrars granted; bounded."""

    def __init__(self, local_addresses: frozenset[bytes] = frozenset()) -> None:
        self.counts = RegistrationCounts()
        #: The addresses of the monitored host are one registrar.
        self.local = local_addresses
        self._registering: OrderedDict[bytes, None] = OrderedDict()
        #: (registrar, user) to contacts; a contact once dropped stays until others need its place.
        self._bindings: OrderedDict[tuple[bytes, str], dict[bytes, Binding]] = OrderedDict()
        #: (registrar, contact) to the contact's binding; None while it is of two users.
        self._by_contact: dict[tuple[bytes, bytes], Binding | None] = {}
        self._pending: dict[bytes, Asked] = {}
        #: Branches that were answered of late: when, and the contact that was granted.
        self._answered: dict[bytes, tuple[float, Binding | None]] = {}
        #: Call-ID of a challenged REGISTER to when its chain began and when it was challenged.
        self._challenged: dict[bytes, tuple[float, float]] = {}
        self._sweep_at = 0.0
        #: (registrar, To, Contact granted, Contact asked for) to whose renewal that is, and for
        #: how long: most REGISTERs say what the one before said.
        self._habits: dict[tuple[bytes, bytes, bytes, bytes], tuple[Binding, int]] = {}

    # --- what others ask ------------------------------------------------------------------------

    def registers(self, address: bytes) -> bool:
        """Whether REGISTERs came from this address."""
        return address in self._registering

    def registrar_of(self, address: bytes, user: str) -> bool:
        """Whether the host at this address answered this user's REGISTERs."""
        return (self._registrar(address), user) in self._bindings

    def of_user(self, registrar: bytes, user: str) -> list[Binding]:
        """The contacts of this user, gone ones too."""
        return list(self._bindings.get((self._registrar(registrar), user), {}).values())

    def contacts(self, registrar: bytes, uri: bytes) -> list[Binding]:
        """The contacts, gone ones too, of the address-of-record that a Request-URI names."""
        found = self.of_user(registrar, user_of(uri))
        if len({binding.aor for binding in found}) > 1:
            # One user name in several domains of this registrar.
            named = parse_uri(uri.decode("utf-8", "replace")).user_at_host
            found = [binding for binding in found if binding.aor == named]
        return found

    def binding(self, registrar: bytes, uri: bytes, destination: Endpoint) -> Binding | None:
        """The contact that a request to this Request-URI at this destination is for.

        By the contact itself, as a registrar sends it; else of the user's contacts the one that
        is at the destination. None when several or none are.
        """
        if not self._bindings:
            return None
        exact = self._by_contact.get((self._registrar(registrar), contact_key(uri)))
        if exact is not None:
            return exact
        found = self.contacts(registrar, uri)
        here = [b for b in found if destination in (b.source, endpoint_of(b.contact))]
        if len(here) != 1:
            here = [b for b in found if b.moved_from(destination) is not None]
        return here[0] if len(here) == 1 else None

    def all(self) -> Iterator[Binding]:
        """Every contact that is remembered, gone ones too."""
        for known in self._bindings.values():
            yield from known.values()

    def active(self, now: float) -> int:
        """How many contacts are registered now: granted, not given up, not expired."""
        return sum(binding.grant.valid_at(now) is True for binding in self.all())

    def entries(self) -> dict[str, int]:
        """How much is held, by kind."""
        return {
            "registering": len(self._registering),
            "aors": len(self._bindings),
            "contacts": sum(map(len, self._bindings.values())),
            "contact_index": len(self._by_contact),
            "habits": len(self._habits),
            "pending": len(self._pending) + len(self._challenged) + len(self._answered),
        }

    def _registrar(self, address: bytes) -> bytes:
        return b"" if address in self.local else address

    # --- messages -------------------------------------------------------------------------------

    def request(self, packet: Packet) -> None:
        """A REGISTER."""
        _remember(self._registering, packet.source[0])
        payload, now = packet.payload, packet.time
        branch = transaction_of(payload)
        asked = self._pending.get(branch)
        if asked is not None:
            asked.sent += now - asked.last > COPY_SECONDS
            asked.last = now
            return
        if now >= self._sweep_at:
            self.sweep(now)
        answered = self._answered.get(branch)
        if answered is not None:
            if answered[1] is not None and now - answered[0] > COPY_SECONDS:
                answered[1].heard = False
            return
        begun = now
        challenged = None
        if self._challenged:
            challenged = self._challenged.pop(value_of(payload, b"Call-ID")[:LONGEST], None)
        if challenged is None:
            self.counts.attempts += 1
        else:
            begun = challenged[0]
        if len(payload) <= LONGEST_REQUEST:
            if len(self._pending) >= MOST_PENDING:
                make_room(self._pending, MOST_PENDING)
            self._pending[branch] = Asked(packet, begun, challenged is not None)

    def response(self, packet: Packet, status: int) -> None:
        """A response to a REGISTER."""
        if status < 200:
            return
        payload, now = packet.payload, packet.time
        branch = transaction_of(payload)
        if branch in self._answered:
            return
        asked = self._pending.pop(branch, None)
        granted = None
        if 200 <= status < 300:
            granted = self._accepted(packet, asked)
        elif asked is not None and status in _CHALLENGES:
            make_room(self._challenged, MOST_PENDING)
            self._challenged[value_of(payload, b"Call-ID")[:LONGEST]] = (asked.begun, now)
        elif asked is not None and status >= 400:
            self.counts.ineffective += 1
        if len(self._answered) >= MOST_PENDING:
            make_room(self._answered, MOST_PENDING)
        self._answered[branch] = (now, granted)

    def sweep(self, now: float) -> None:
        """Give up REGISTERs that were not answered for Timer F, and challenges not retried."""
        self._sweep_at = now + _SWEEP_SECONDS
        before = now - TIMEOUT_SECONDS
        for asked in take_stale(self._pending, lambda asked: asked.packet.time, before):
            # Over UDP a request that nobody answers is sent again: if it was not, its response
            # took a way that is not in view.
            if asked.sent > 1 or asked.packet.transport != "UDP":
                self.counts.ineffective += 1
                self.counts.timeouts += 1
        take_stale(self._challenged, lambda challenged: challenged[1], before)
        take_stale(self._answered, lambda answered: answered[0], before)

    # --- what a 2xx says --------------------------------------------------------------------------

    def _accepted(self, packet: Packet, asked: Asked | None) -> Binding | None:
        if asked is None:
            return self._read(packet, None)
        self.counts.delayed(max(0.0, packet.time - asked.begun))
        registrar = self._registrar(packet.source[0])
        listed, wish = contact_line(packet.payload), contact_line(asked.packet.payload)
        key = (registrar, to_of(packet.payload), listed, wish)
        habit = self._habits.get(key)
        if habit is not None and self._is_current(registrar, habit[0], packet, asked):
            binding, seconds = habit
            seen = Sighting(packet.time, packet.number)
            registered = Sighting(asked.packet.time, asked.packet.number)
            grant = Grant(registered, seen, seconds, packet.time + seconds, None, True)
            renewed(binding, registered)
            self._grant(binding, grant, asked)
            self._bindings.move_to_end((registrar, binding.user))
            return binding
        found = self._read(packet, asked)
        if found is not None and listed and wish:
            self._note_habit(key, found)
        return found

    def _is_current(self, registrar: bytes, binding: Binding, packet: Packet, asked: Asked) -> bool:
        """Whether nothing but time has changed since this contact was read of such messages."""
        known = self._bindings.get((registrar, binding.user))
        return (
            known is not None
            and len(known) == 1
            and known.get(binding.contact) is binding
            and binding.grant.gone is None
            and binding.source == asked.packet.source
            and binding.rport == rport_of(packet.payload)
        )

    def _note_habit(self, key: tuple[bytes, bytes, bytes, bytes], binding: Binding) -> None:
        """Remember what was read, where the Contact alone says it all."""
        grant = binding.grant
        (said, *others) = contacts_in(key[2]) or (None,)
        if said is None or others or sum(map(len, key)) > 2 * LONGEST:
            return
        if grant.gone is None and grant.seconds and said.expires == grant.seconds:
            make_room(self._habits, MOST_HABITS)
            self._habits[key] = (binding, grant.seconds)

    def _read(self, packet: Packet, asked: Asked | None) -> Binding | None:
        """All that a 2xx says of the contacts of its address-of-record."""
        aor, user = aor_of(packet.payload)
        if not aor:
            return None
        registrar = self._registrar(packet.source[0])
        known = self._of_user(registrar, user)
        listed = {c.key: c for c in contacts_of(packet.payload)[:_MOST_LISTED]}
        own = contacts_of(asked.packet.payload) if asked is not None else ()
        given_up = asked is not None and bool(own) and wished(asked, own[0]) == 0
        mine = own_contact(packet, asked, own, listed, given_up)
        binding = None
        if mine is not None and len(mine.key) <= LONGEST:
            # A registrar that lists nothing at all still grants what was asked for.
            kept = mine.key in listed or not given_up
            grant = granted_by(mine, kept, len(listed) == 1, packet, asked)
            binding = known.get(mine.key)
            if binding is None:
                binding = self._new(registrar, known, (aor, user), mine, packet, asked, grant)
            elif binding.grant.gone is None and grant.gone is None:
                renewed(binding, grant.registered)
            self._grant(binding, grant, asked)
            _note_words(binding, packet, asked)
        if listed or given_up:
            note_others(known, binding, aor, listed, packet)
        return binding

    def _of_user(self, registrar: bytes, user: str) -> dict[bytes, Binding]:
        key = (registrar, user)
        known = self._bindings.get(key)
        if known is not None:
            self._bindings.move_to_end(key)
            return known
        if len(self._bindings) >= MOST_AORS:
            (oldest, _), contacts = self._bindings.popitem(last=False)
            for binding in list(contacts.values()):
                self._forget(oldest, contacts, binding)
        known = self._bindings[key] = {}
        return known

    def _new(
        self,
        registrar: bytes,
        known: dict[bytes, Binding],
        who: tuple[str, str],
        contact: Contact,
        packet: Packet,
        asked: Asked | None,
        grant: Grant,
    ) -> Binding:
        """A contact that was not known: a device's first, or its next one in another place."""
        source = packet.destination if asked is None else asked.packet.source
        binding = Binding(*who, contact.key, source, grant)
        binding.call_id = value_of(packet.payload, b"Call-ID")[:LONGEST]
        binding.instance = contact.instance[:LONGEST]
        if asked is not None:
            binding.asked = contacts_of(asked.packet.payload)[0].key[:LONGEST]
        before = [old for old in known.values() if same_device(old, binding)]
        if before:
            last = max(before, key=lambda old: old.grant.granted)
            binding.former = list(last.former)
            binding.moves, binding.reacted = last.moves, last.reacted
            if last.source != source:
                binding.moves += 1
                binding.former.append((last.source, last.grant.registered))
                self.counts.moves += 1
        if len(known) >= MOST_CONTACTS:
            first = min(known.values(), key=lambda b: (b.grant.gone is None, b.grant.granted))
            self._forget(registrar, known, first)
        known[contact.key] = binding
        place = (registrar, contact.key)
        other = self._by_contact.get(place, binding)
        clash = other is None or (
            other.aor != binding.aor and other.grant.valid_at(packet.time) is True
        )
        self._by_contact[place] = None if clash else binding
        return binding

    def _grant(self, binding: Binding, grant: Grant, asked: Asked | None) -> None:
        """Put down what the registrar says of this contact, and where the device is."""
        if asked is not None:
            source = asked.packet.source
            if source != binding.source:
                binding.leave()
                binding.source = source
                self.counts.moves += 1
            if asked.challenged:
                binding.reacted = grant.registered
        if grant is not binding.grant:
            binding.previous = binding.grant
            binding.grant = grant
        binding.heard = True

    # --- bounds -----------------------------------------------------------------------------------

    def _forget(self, registrar: bytes, known: dict[bytes, Binding], binding: Binding) -> None:
        del known[binding.contact]
        place = (registrar, binding.contact)
        if self._by_contact.get(place, self) in (binding, None):
            del self._by_contact[place]


def _note_words(binding: Binding, packet: Packet, asked: Asked | None) -> None:
    """What else the messages say of the device: its name, and where the registrar saw it."""
    binding.public = public_of(packet.payload)
    binding.rport = rport_of(packet.payload)
    if asked is not None:
        binding.user_agent = value_of(asked.packet.payload, b"User-Agent")[:LONGEST]
        binding.transport = asked.packet.transport


def _remember(table: OrderedDict[_Key, None], key: _Key) -> None:
    if key in table:
        table.move_to_end(key)
        return
    if len(table) >= MOST_ADDRESSES:
        table.popitem(last=False)
    table[key] = None
