"""The language of plays: a call flow as text, one message a line, made into datagrams.

    0.000 trunk>pbx INVITE a sdp            a new leg is called `a`
    0.001 pbx>trunk 100 a
    0.012 pbx>101 INVITE b from=0301110000
    +0.08 101>pbx 180 b                     after the line before
    12.01 pbx>101 CANCEL b reason="Q.850;cause=0" done

A line: time (seconds, sums allowed), sender>receiver, method or status, the leg, options.

| option | meaning |
|---|---|
| `from= name= user= uri= call= tag= cookie=` | of the INVITE that opens a leg: caller's number, |
| | display name, called user, Request-URI, leg whose Call-ID and From tag it shares, From tag, |
| | start of its branches (`none`: no branch at all) |
| `new` | INVITE: the next try of the leg (CSeq + 1, new branch); without it, a retransmission. |
| | With `call=`: a CSeq above that leg's |
| `auth` | the same, with credentials |
| `re` | INVITE, response or ACK: of the re-INVITE |
| `for=M` `turn=N` | response: of the last request M; of the leg's Nth |
| `tag=T` | response: To tag; request: the dialog's |
| `reason= h=` | Reason header; any other header; both may come several times |
| `phrase=` | response: its reason phrase |
| `sdp` `sdp=origin` | a session description, with this origin |
| `ack` `done` | response: ACK 1 ms later; CANCEL: 200, 487, ACK; BYE: 200 |
| `own` | CANCEL or ACK: a branch of its own |
| `again=0.5,1.5` | sent again after these times; `A`: Timer A, `B`: doubling from 1 s, `G`: a 2xx |
| `copy` | seen twice on this host, 0.1 ms later |
| `unseen` | sent, but not captured; what follows by `ack` or `done` is |

`icmp LABEL` is an ICMP unreachable of the receiver for the last INVITE of the leg (`quote=full`,
`ids` or `none`), `lost` a loss of the capture. Lines that start with `#` are remarks.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias
from zlib import crc32

from play_legs import CALLER, Header, Leg, Party, Transaction, party, session

from sipwatch.net.types import Datagram, Unreachable

EPOCH = 1_700_000_000.0
INTERFACE = "play"
#: Timer A (17.1.1.2); the doubling from 1 s of FreeSWITCH; a 2xx without ACK (13.3.1.4).
SERIES = {
    "A": (0.5, 1.5, 3.5, 7.5, 15.5, 31.5),
    "B": (1.0, 3.0, 7.0, 15.0, 31.0),
    "G": (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5),
    "C": (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5),
}
_DONE_SECONDS = 0.001
_FLAGS = frozenset(("new", "auth", "re", "sdp", "ack", "done", "own", "copy", "unseen"))
_VALUES = frozenset(
    ("from", "name", "user", "uri", "call", "tag", "cookie", "for", "turn", "reason", "h",
     "phrase", "sdp", "again", "quote", "code")
)  # fmt: skip


class Loss(NamedTuple):
    """The capture dropped packets here."""

    time: float


Item: TypeAlias = "Datagram | Unreachable | Loss"


class Seen(NamedTuple):
    """One thing on the wire, and what of the play it is."""

    item: Item
    label: str
    #: Whether a record must exist once it was seen: an initial INVITE, its response, its CANCEL.
    opens: bool


class Line(NamedTuple):
    """One line of a play."""

    time: float
    sender: str
    receiver: str
    what: str
    label: str
    options: dict[str, list[str]]

    def one(self, name: str, default: str = "") -> str:
        return self.options.get(name, [default])[0]

    def has(self, *names: str) -> bool:
        return any(name in self.options for name in names)


class PlayError(ValueError):
    """A line that cannot be played."""


def lines_of(text: str) -> Iterator[Line]:
    """The lines of a play, times made absolute."""
    before = 0.0
    for number, raw in enumerate(text.splitlines(), 1):
        words = shlex.split(raw, comments=True)
        if not words:
            continue
        try:
            first = words[0]
            time = sum(float(part) for part in first.removeprefix("+").split("+"))
            if first.startswith("+"):
                time += before
            before = time
            if words[1] == "lost":
                yield Line(time, "", "", "lost", "", {})
                continue
            sender, _, receiver = words[1].partition(">")
            yield Line(time, sender, receiver, words[2], words[3], _options(words[4:]))
        except (ValueError, IndexError) as error:
            raise PlayError(f"line {number}: {raw.strip()!r}: {error}") from error


def _options(words: list[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in (_VALUES if equals else _FLAGS):
            raise ValueError(f"no option {name!r}")
        options.setdefault(name, []).append(value)
    return options


@dataclass
class Play:
    """Plays lines: keeps the legs, gives what is seen on the wire in order of time."""

    name: str = "play"
    addresses: dict[str, str] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    transport: str = "UDP"
    legs: dict[str, Leg] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    _ids: int = 0

    def run(self, text: str) -> list[Seen]:
        for line in lines_of(text):
            try:
                self._play(line)
            except (ValueError, KeyError, IndexError) as error:
                raise PlayError(f"{self.name}: {line}: {error}") from error
        return self.in_order()

    def in_order(self) -> list[Seen]:
        """By time, numbered as a capture numbers its packets."""
        ordered = sorted(self.seen, key=lambda seen: seen.item.time)
        found = []
        for number, seen in enumerate(ordered, 1):
            item = seen.item
            if not isinstance(item, Loss):
                item = item._replace(number=number)
            found.append(seen._replace(item=item))
        return found

    def party(self, name: str) -> Party:
        return party(name, self.addresses, self.agents)

    # --- lines ------------------------------------------------------------------------------

    def _play(self, line: Line) -> None:
        if line.what == "lost":
            self.seen.append(Seen(Loss(EPOCH + line.time), "", False))
        elif line.what == "icmp":
            self._icmp(line)
        elif line.what.isdigit():
            self._respond(line, int(line.what))
        else:
            self._request(line)

    def _request(self, line: Line) -> None:
        sender, receiver = self.party(line.sender), self.party(line.receiver)
        leg = self.legs.get(line.label)
        method = line.what
        sdp = self._sdp(line, sender)
        headers = _headers(line)
        if leg is None:
            leg = self._leg(line, sender, receiver)
            made = leg.request(
                method, sender, receiver, uri=line.one("uri"), headers=headers, sdp=sdp
            )
        elif method == "INVITE" and line.has("new", "auth"):
            made = leg.request(
                method, sender, receiver, uri=line.one("uri"), headers=headers, sdp=sdp
            )
        elif method == "INVITE" and not line.has("re"):
            made = leg.last("INVITE")
        elif method == "CANCEL":
            made = leg.request(
                method, sender, receiver, like=leg.last("INVITE"), headers=headers,
                own_branch=line.has("own"),
            )  # fmt: skip
        elif method == "ACK":
            invite = leg.last("INVITE", again=line.has("re"), turn=int(line.one("turn", "0")))
            made = self._acknowledgement(leg, invite, line, headers)
        else:
            made = leg.request(
                method, sender, receiver, in_dialog=True, to_tag=line.one("tag"),
                headers=headers, sdp=sdp,
            )  # fmt: skip
        opens = method == "CANCEL" or (method == "INVITE" and made.method == "INVITE")
        self._sent(line, made, opens)
        if line.has("done"):
            self._done(line, leg, made)

    def _acknowledgement(
        self, leg: Leg, invite: Transaction, line: Line, headers: list[Header]
    ) -> Transaction:
        own = invite.final < 300 or line.has("own")
        tag = line.one("tag") or leg.to_tag
        return leg.request(
            "ACK", self.party(line.sender), self.party(line.receiver), like=invite,
            own_branch=own, to_tag=tag, headers=headers,
        )  # fmt: skip

    def _leg(self, line: Line, sender: Party, receiver: Party) -> Leg:
        shared = self.legs.get(line.one("call"))
        caller = line.one("from") or (shared.from_user if shared else "")
        if not caller:
            caller = sender.number if line.sender.isdigit() else CALLER
        leg = Leg(
            line.label,
            call_id=shared.call_id if shared else f"{line.label}-{self.name}@{sender.host}",
            from_tag=line.one("tag") or (shared.from_tag if shared else f"f-{line.label}"),
            caller=sender,
            callee=receiver,
            from_user=caller,
            to_user=line.one("user") or receiver.number,
            from_host=shared.from_host if shared else sender.host,
            display=line.one("name") or (shared.display if shared else ""),
            transport=self.transport,
            cookie=line.one("cookie", "z9hG4bK"),
        )
        if shared:
            opening = shared.last("INVITE")
            leg.cseq["caller"] = opening.cseq - (0 if line.has("new") else 1)
            if opening.receiver.endpoint[0] == sender.endpoint[0]:
                leg.inner_vias = opening.vias
        self.legs[line.label] = leg
        return leg

    def _respond(self, line: Line, status: int) -> None:
        leg = self.legs[line.label]
        method = line.one("for", "INVITE" if leg.sent[0].method == "INVITE" else leg.sent[0].method)
        of = leg.last(method, again=line.has("re"), turn=int(line.one("turn", "0")))
        sender = self.party(line.sender)
        payload = leg.response(
            status, of, sender, tag=line.one("tag"), phrase=line.one("phrase"),
            headers=_headers(line), sdp=self._sdp(line, sender),
        )  # fmt: skip
        self._emit(line, payload, line.time, line.label, of.method == "INVITE")
        if line.has("ack"):
            back = line._replace(time=line.time + _DONE_SECONDS, options=_only(line, "re", "tag"))
            back = back._replace(sender=line.receiver, receiver=line.sender)
            self._sent(back, self._acknowledgement(leg, of, back, []), False)

    def _done(self, line: Line, leg: Leg, made: Transaction) -> None:
        """What the other side says at once to a CANCEL or any other request."""
        back = line._replace(sender=line.receiver, receiver=line.sender, options={})
        receiver = self.party(line.receiver)
        at = line.time + _DONE_SECONDS
        self._emit(back, leg.response(200, made, receiver, headers=[]), at, line.label, False)
        if made.method != "CANCEL":
            return
        invite = leg.last("INVITE")
        payload = leg.response(487, invite, receiver, headers=[])
        self._emit(back, payload, at + _DONE_SECONDS, line.label, True)
        ack = line._replace(time=at + 2 * _DONE_SECONDS, options={})
        self._sent(ack, self._acknowledgement(leg, invite, ack, []), False)

    # --- onto the wire ----------------------------------------------------------------------

    def _sent(self, line: Line, made: Transaction, opens: bool) -> None:
        made.ip_id = self._emit(line, made.payload, line.time, line.label, opens)

    def _emit(self, line: Line, payload: bytes, time: float, label: str, opens: bool) -> int:
        again = line.one("again")
        series = SERIES.get(again) or tuple(float(word) for word in again.split(",") if word)
        source, destination = self.party(line.sender).endpoint, self.party(line.receiver).endpoint
        for delay in (0.0, *series):
            self._ids = self._ids % 65_535 + 1
            if line.has("unseen"):
                continue
            item = Datagram(
                EPOCH + time + delay, source, destination, self.transport, payload, INTERFACE, 0,
                self._ids, check_of(payload),
            )  # fmt: skip
            self.seen.append(Seen(item, label, opens))
            if line.has("copy"):
                self.seen.append(Seen(item._replace(time=item.time + 0.0001), label, opens))
        return self._ids

    def _icmp(self, line: Line) -> None:
        invite = self.legs[line.label].last("INVITE")
        quote = line.one("quote", "full")
        item = Unreachable(
            EPOCH + line.time,
            self.party(line.sender).endpoint[0],
            invite.sender.endpoint,
            invite.receiver.endpoint,
            invite.payload if quote == "full" else b"",
            INTERFACE,
            0,
            -1 if quote == "none" else invite.ip_id,
            -1 if quote == "none" else check_of(invite.payload),
            int(line.one("code", "3")),
        )
        self.seen.append(Seen(item, line.label, False))

    def _sdp(self, line: Line, sender: Party) -> bytes:
        if not line.has("sdp"):
            return b""
        return session(sender.host, line.one("sdp"))


def _only(line: Line, *names: str) -> dict[str, list[str]]:
    return {name: line.options[name] for name in names if name in line.options}


def _headers(line: Line) -> list[Header]:
    headers = [(b"Reason", value.encode()) for value in line.options.get("reason", ())]
    if line.has("auth"):
        headers.append((b"Authorization", b'Digest username="u", response="0"'))
    for value in line.options.get("h", ()):
        name, _, rest = value.partition(":")
        headers.append((name.strip().encode(), rest.strip().encode()))
    return headers


def check_of(payload: bytes) -> int:
    """A stand-in for UDP length and checksum: equal for equal datagrams."""
    return (len(payload) + 8) << 16 | crc32(payload) & 0xFFFF
