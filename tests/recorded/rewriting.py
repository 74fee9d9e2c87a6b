"""Changes of a capture that change nothing of what happened: other names, shapes, times, views.

Each takes a capture and a source of chance, and gives another capture with the same truth, its
Call-IDs and addresses renamed along. `Unfit` where one cannot be applied.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from typing import TypeAlias

from wire_values import Recorded, Text, Wire

Change: TypeAlias = Callable[[Recorded, random.Random], Recorded]


class Unfit(Exception):
    """This capture cannot be changed so."""


def _hash(text: str, length: int = 10) -> str:
    return md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()[:length]


# --- names ------------------------------------------------------------------------------------

_USER = re.compile(r'(sips?:|username=")([^@;>\s"]+)(?=[@"])')
_EXTENSION = re.compile(r"(\*8|\*\*)?(1\d\d)$")
_PEOPLE = ("alice.b", "bob_k", "carol-m", "dave", "eve.q", "frank", "grace.h", "heidi", "ivan")
_PBX = re.compile("Asterisk|FreeSWITCH|Sippy|kamailio", re.IGNORECASE)


def _people(number: str) -> str:
    turn, at = divmod(int(number), len(_PEOPLE))
    return _PEOPLE[at] + (str(turn) if turn > 11 else "")


def users(extension: Callable[[str], str], called: str, caller: Callable[[str], str]) -> Change:
    """Other extensions, called numbers with something before them, other callers."""

    def one(user: str) -> str:
        if found := _EXTENSION.match(user):
            return (found[1] or "") + extension(found[2])
        if re.match(r"[2-7]\d{3,4}$", user):
            return called + user
        return caller(user) if re.match(r"\+?\d{7,}$", user) else user

    def text(value: str) -> str:
        value = _USER.sub(lambda found: found[1] + one(found[2]), value)
        return re.sub(r'"(\d{3,5})"(?=\s*<sip)', lambda found: f'"{one(found[1])}"', value)

    def change(message: Text, _: Wire) -> None:
        message.start = text(message.start)
        for header in message.headers:
            header[1] = text(header[1])

    return lambda recorded, _: recorded.each(change)


def _digits(number: str) -> str:
    """The same prefix; equal endings stay equal."""
    return number[:-6] + "".join(str((int(digit) * 3 + 1) % 10) for digit in number[-6:])


def agents(rename: Callable[[str, Wire], str | None], *, pbx: bool) -> Change:
    """Other words in User-Agent and Server, of the PBX or of everybody's phones."""

    def change(message: Text, packet: Wire) -> None:
        for header in message.values("user-agent", "server"):
            carrier = "SBC" in header[1] or "carrier" in header[1]
            if bool(_PBX.search(header[1])) is pbx and not carrier:
                name = rename(header[1], packet)
                if name is None:
                    message.headers.remove(header)
                else:
                    header[1] = name

    return lambda recorded, _: recorded.each(change)


_SOFTPHONES = ("MicroSIP/3.21.3", "Linphone/5.2.3 (belle-sip/5.3.15)", "Fanvil X4U 2.4.5")


def _softphone(_: str, packet: Wire) -> str:
    return _SOFTPHONES[int(_hash(packet.source, 4), 16) % len(_SOFTPHONES)]


def identifiers(recorded: Recorded, chance: random.Random) -> Recorded:
    """Other Call-IDs, tags and branches."""
    seed = str(chance.random())

    def call_id(value: str) -> str:
        return f"{_hash(seed + value, 20)}@{_hash(value, 4)}.example"

    def other(found: re.Match[str]) -> str:
        return found[1] + _hash(seed + found[2])

    def change(message: Text, _: Wire) -> None:
        if message.values("replaces") or any("eplaces" in h[1] for h in message.values("refer-to")):
            raise Unfit
        for header in message.headers:
            name = header[0].lower()
            if name == "call-id":
                header[1] = call_id(header[1])
            elif name in ("from", "to"):
                header[1] = re.sub("(;tag=)([^;]+)", other, header[1])
            elif name == "via":
                header[1] = re.sub(r"(branch=z9hG4bK)([^;,\s]+)", other, header[1])

    return _renamed(recorded.each(change), call_id)


def _renamed(recorded: Recorded, call_id: Callable[[str], str]) -> Recorded:
    for attempt in recorded.attempts:
        attempt["call_id"] = call_id(attempt["call_id"])
    for call in recorded.calls:
        call["call_ids"] = [call_id(value) for value in call["call_ids"]]
    return recorded


# --- addresses --------------------------------------------------------------------------------

_ADDRESS = re.compile(r"(?<![\d.])(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?!\d)")


def addresses(rename: Callable[[str], str], *, inside: bool = True) -> Change:
    """Other addresses of everybody; with `inside` in what messages say, too."""

    def in_uri(found: re.Match[str]) -> str:
        name = rename(found[1])
        return f"[{name}]" if ":" in name else name

    def in_call_id(value: str) -> str:
        return _ADDRESS.sub(lambda found: _hash(rename(found[1])), value)

    def change(message: Text, _: Wire) -> None:
        if message.values("replaces") or any("eplaces" in h[1] for h in message.values("refer-to")):
            raise Unfit
        message.start = _ADDRESS.sub(in_uri, message.start)
        for header in message.headers:
            name = header[0].lower()
            if name == "call-id":
                header[1] = in_call_id(header[1])
            elif name not in ("user-agent", "server"):
                header[1] = _ADDRESS.sub(in_uri, header[1])
        if message.body.startswith("v=0"):
            kind = "IP6" if ":" in rename("192.0.2.1") else "IP4"
            message.body = re.sub(
                "IN IP4 ([0-9.]+)", lambda found: f"IN {kind} {rename(found[1])}", message.body
            )

    def apply(recorded: Recorded, _: random.Random) -> Recorded:
        made = _renamed(recorded.each(change), in_call_id) if inside else recorded.copy()
        quoted = [p.quoted for p in made.packets if p.quoted is not None]
        for packet in {id(p): p for p in [*made.packets, *quoted]}.values():
            packet.source, packet.destination = rename(packet.source), rename(packet.destination)
        for attempt in made.attempts:
            for end in ("source", "destination"):
                attempt[end] = _ADDRESS.sub(in_uri, attempt[end])
        made.local = [rename(address) for address in made.local]
        return made

    return apply


def nat(recorded: Recorded, chance: random.Random) -> Recorded:
    """Phones and carriers say private addresses and port 5060; their packets come from others."""
    local = set(recorded.local)

    def public(address: str) -> str:
        return address if address in local else f"198.51.100.{address.rpartition('.')[2]}"

    made = addresses(public, inside=False)(recorded, chance)
    for packet in made.packets:
        if packet.source not in local:
            packet.source_port = 20_000 + int(packet.source.rpartition(".")[2])
        if packet.destination not in local:
            packet.destination_port = 20_000 + int(packet.destination.rpartition(".")[2])
    return made


def port_5160(recorded: Recorded, _: random.Random) -> Recorded:
    """The PBX on another port."""

    def change(message: Text, packet: Wire) -> None:
        if packet.source in recorded.local:
            packet.source_port = 5160
        if packet.destination in recorded.local:
            packet.destination_port = 5160
        for header in message.values("via", "contact", "route", "record-route"):
            for address in recorded.local:
                found = rf"(?<![\d.=]){re.escape(address)}(:5060)?(?![\d.:])"
                header[1] = re.sub(found, f"{address}:5160", header[1])

    return recorded.each(change)


def domain(recorded: Recorded, _: random.Random) -> Recorded:
    """The PBX has a realm: a name in URIs instead of its address."""
    hosts = "|".join(map(re.escape, recorded.local))
    found = re.compile(rf'(sips?:(?:[^@;>\s"]+@)?)(?:{hosts})(?::5060)?(?![\d.:])')

    def change(message: Text, packet: Wire) -> None:
        if packet.destination in recorded.local:
            message.start = found.sub(r"\1pbx.example.com", message.start)
        for header in message.values("from", "to", "remote-party-id", "p-asserted-identity"):
            header[1] = found.sub(r"\1pbx.example.com", header[1])

    return recorded.each(change)


# --- shapes -----------------------------------------------------------------------------------

_COMPACT = {
    "call-id": "i", "contact": "m", "content-length": "l", "content-type": "c", "from": "f",
    "supported": "k", "to": "t", "via": "v", "refer-to": "r", "referred-by": "b", "event": "o",
}  # fmt: skip


def compact_in_other_order(recorded: Recorded, chance: random.Random) -> Recorded:
    def change(message: Text, _: Wire) -> None:
        by_name: dict[str, list[list[str]]] = {}
        for header in message.headers:
            header[0] = _COMPACT.get(header[0].lower(), header[0])
            by_name.setdefault(header[0], []).append(header)
        names = [header[0] for header in message.headers]
        chance.shuffle(names)
        # Of one name the first stays the first.
        message.headers = [by_name[name].pop(0) for name in names]

    return recorded.each(change)


def folded_in_capitals(recorded: Recorded, _: random.Random) -> Recorded:
    def change(message: Text, _: Wire) -> None:
        for header in message.headers:
            if header[0].lower() in ("call-id", "from", "to", "via", "reason", "user-agent"):
                header[1] = "\r\n\t" + header[1]
            elif header[0].lower() == "cseq":
                header[1] = header[1].replace(" ", "\r\n ")
            header[0] = header[0].upper()

    return recorded.each(change)


def with_more_headers(recorded: Recorded, _: random.Random) -> Recorded:
    """Headers that say nothing; the carriers' own proxies below their Via; rport and received."""
    local = set(recorded.local)

    def change(message: Text, packet: Wire) -> bytes:
        response = message.is_response
        via, call_id = message.values("via")[-1], message.values("call-id")[0][1]
        if response and ";received" not in via[1]:
            via[1] = re.sub(r";rport(=\d+)?(?=;|$)", "", via[1])
            via[1] += f";received={packet.destination};rport={packet.destination_port}"
        if (packet.destination if response else packet.source) not in local:
            via[1] += f", SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK{_hash(call_id)};rport"
        if message.start.startswith("INVITE") and "anonymous" not in message.values("from")[0][1]:
            asserted = message.values("from")[0][1].partition(";tag")[0]
            message.headers.append(["P-Asserted-Identity", asserted])
        message.headers.insert(0, ["X-Trace", "tag=abc; branch=z9hG4bKfake Call-ID: x"])
        message.headers.append(["Accept-Language", "de"])
        return message.raw(" : ")

    return recorded.each(change)


# --- times and views --------------------------------------------------------------------------


def moved(recorded: Recorded, seconds: int) -> Recorded:
    made = recorded.copy()
    for packet in made.packets:
        packet.time += seconds * 1_000_000
    return made


def into_the_hour_that_comes_twice(recorded: Recorded, _: random.Random) -> Recorded:
    start = 1_792_889_995  # five seconds before summer time ends, 2026-10-25 in Europe
    return moved(recorded, start - recorded.packets[0].time // 1_000_000)


def jittered(recorded: Recorded, chance: random.Random) -> Recorded:
    made, last = recorded.copy(), 0
    for packet in made.packets:
        last = packet.time = max(last + 1, packet.time + chance.randrange(2_000))
    return made


_CALL_ID = re.compile(rb"\r\nCall-ID: *([^\r]+)")


def _call_id(packet: Wire) -> bytes:
    found = _CALL_ID.search(packet.payload)
    return found[1] if found else b""


def neighbours_swapped(recorded: Recorded, _: random.Random) -> Recorded:
    """Packets of two legs at nearly the same time, the other way round."""
    made = recorded.copy()
    packets = made.packets
    for at in range(0, len(packets) - 1, 2):
        one, other = packets[at : at + 2]
        if one.code >= 0 or other.code >= 0:
            continue  # no report comes before what it is of
        if other.time - one.time < 1_000 and _call_id(one) != _call_id(other):
            one.time, other.time = other.time, one.time
            packets[at : at + 2] = [other, one]
    return made


def seen_twice(recorded: Recorded, chance: random.Random) -> Recorded:
    made = recorded.copy()
    made.packets += [
        replace(packet, time=packet.time + chance.randrange(10, 12_000))
        for packet in made.packets
        if packet.code < 0
    ]
    return made.sort()


def among_others(recorded: Recorded, chance: random.Random) -> Recorded:
    """Other phones register, are pinged and talk."""
    made = recorded.copy()
    pbx, first, last = made.local[0], made.packets[0].time, made.packets[-1].time
    for number in range(40):
        at, phone = chance.randrange(first, last + 1), f"10.77.0.{number + 1}"
        if number % 4 == 3:
            made.packets.append(Wire(at, phone, 16_000, pbx, 14_000, b"\x80\x00" + bytes(170)))
            continue
        method, there = ("REGISTER", True) if number % 2 else ("OPTIONS", False)
        ends = (phone, pbx) if there else (pbx, phone)
        lines = (
            f"Via: SIP/2.0/UDP {ends[0]}:5060;branch=z9hG4bKn{number}\r\n"
            f"From: <sip:n{number}@{pbx}>;tag=n{number}\r\nTo: <sip:n{number}@{pbx}>\r\n"
            f"Call-ID: n{number}@others\r\nCSeq: 1 {method}\r\nContact: <sip:n{number}@{phone}>\r\n"
            "Expires: 60\r\nContent-Length: 0\r\n\r\n"
        )
        request = f"{method} sip:{ends[1]} SIP/2.0\r\n{lines}".encode()
        made.packets.append(Wire(at, ends[0], 5060, ends[1], 5060, request, number))
        answer = f"SIP/2.0 200 OK\r\n{lines}".encode()
        made.packets.append(Wire(at + 1500, ends[1], 5060, ends[0], 5060, answer, number))
    return made.sort()


def on(link: str) -> Change:
    def apply(recorded: Recorded, _: random.Random) -> Recorded:
        made = recorded.copy()
        made.link = link
        return made

    return apply


def in_pieces(recorded: Recorded, _: random.Random) -> Recorded:
    made = recorded.copy()
    made.pieces = 4
    return made


CHANGES: dict[str, Change] = {
    "agents and numbers in E.164": users(lambda e: f"+4989555{e}", "+49895550", _digits),
    "agents by name": users(_people, "sales", lambda number: number),
    "agents of four digits, callers as 00…": users(
        lambda e: f"40{e[1:]}", "8", lambda number: number.replace("+", "00")
    ),
    "other softphones": agents(_softphone, pbx=False),
    "phones without a name": agents(lambda _, __: None, pbx=False),
    "a PBX that hides its name": agents(lambda _, __: None, pbx=True),
    "a PBX with another name": agents(lambda _, __: "ACME Telephony", pbx=True),
    "other Call-IDs, tags and branches": identifiers,
    "other addresses, in the other order": addresses(
        lambda a: "172.20.{}.{}".format(*(255 - int(part) for part in a.split(".")[2:]))
    ),
    "IPv6": addresses(lambda a: "2001:db8:1{}::{}".format(*a.split(".")[2:])),
    "NAT": nat,
    "the PBX on port 5160": port_5160,
    "a realm": domain,
    "compact forms in another order": compact_in_other_order,
    "folded lines in capitals": folded_in_capitals,
    "more headers and Vias": with_more_headers,
    "the hour that comes twice": into_the_hour_that_comes_twice,
    "jitter": jittered,
    "neighbours swapped": neighbours_swapped,
    "seen twice": seen_twice,
    "among others": among_others,
    "VLAN": on("vlan"),
    "cooked": on("cooked"),
    "in pieces": in_pieces,
}


def combined(*names: str) -> Change:
    def apply(recorded: Recorded, chance: random.Random) -> Recorded:
        for name in names:
            recorded = CHANGES[name](recorded, chance)
        return recorded

    return apply


# Not with other tags: where it hides its name, Asterisk is known by them.
CHANGES["much at once"] = combined(
    "agents by name", "other addresses, in the other order", "a PBX that hides its name",
    "other softphones", "compact forms in another order", "jitter", "cooked",
)  # fmt: skip
