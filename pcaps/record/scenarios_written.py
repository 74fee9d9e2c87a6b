"""Spellings and paths that no program at hand produces, written by `generate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from generate import Packet
from lab import Expect, Scenario

Addresses = dict[str, str]
Writer = Callable[[Addresses], list[Packet]]

PUBLIC = "198.51.100.7"  # what the NAT shows of the phone
OUTSIDE = "203.0.113.5"  # a hosted PBX beyond it

COMPACT = (
    ("Via:", "v:"), ("From:", "f:"), ("To:", "t:"), ("Call-ID:", "i:"), ("Contact:", "m:"),
    ("Content-Length:", "l:"),
)  # fmt: skip

ODD = (
    # white space before the colon, any case, a folded line (RFC 3261 section 7.3.1)
    ("Via: ", "VIA :  "), ("From: ", "from\t: "), ("Call-ID: ", "CALL-id:"),
    ("CSeq: 1 ", "cSeq:\r\n   1   "), (";tag=", "\r\n ;TAG = "),
)  # fmt: skip


def message(
    start: str, call_id: str, caller: str, pbx: str, *, to_tag: str = "", method: str = "INVITE",
    branch: str = "z9hG4bKa1", display: str = "", sender: str = "sip:101@pbx.example",
) -> str:  # fmt: skip
    """One message of a dialog between two hosts, without a body."""
    name = f'"{display}" ' if display else ""
    lines = [
        start,
        f"Via: SIP/2.0/UDP {caller}:5060;branch={branch}",
        f"From: {name}<{sender}>;tag=c{call_id[:4]}",
        f"To: <sip:102@{pbx}>" + (f";tag={to_tag}" if to_tag else ""),
        f"Call-ID: {call_id}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:101@{caller}:5060>",
        "Max-Forwards: 70",
        "Content-Length: 0",
    ]
    return "\r\n".join(lines) + "\r\n\r\n"


def exchange(
    caller: str, pbx: str, call_id: str, uri: str, steps: Sequence[tuple[float, str, str]],
    **options: str,
) -> list[tuple[float, bool, str]]:  # fmt: skip
    """(time, from the caller, text) of steps (time, ``>`` or ``<``, method or status line)."""
    texts = []
    for time, side, what in steps:
        method = "CANCEL" if what.endswith("CANCEL") else what.split()[0]
        if side == ">":
            start = f"{what} {uri} SIP/2.0"
            tag = "p1" if what == "ACK" else ""
        else:
            start, tag = f"SIP/2.0 {what.removesuffix(' CANCEL')}", "p1"
            method = "CANCEL" if what.endswith("CANCEL") else "INVITE"
        text = message(start, call_id, caller, pbx, to_tag=tag, method=method, **options)
        texts.append((time, side == ">", text))
    return texts


def between(
    texts: list[tuple[float, bool, str]], caller: str, pbx: str, spelling: object = ()
) -> list[Packet]:
    """Packets of an exchange, respelled."""
    packets = []
    for time, outwards, text in texts:
        for plain, other in spelling:  # type: ignore[attr-defined]
            text = text.replace(plain, other)
        ends = ((caller, 5060), (pbx, 5060))
        source, destination = ends if outwards else ends[::-1]
        packets.append(Packet(time, source, destination, text.encode()))
    return packets


DECLINED = (
    (0.0, ">", "INVITE"), (0.01, "<", "100 Trying"), (0.05, "<", "180 Ringing"),
    (4.0, "<", "603 Decline"), (4.01, ">", "ACK"),
)  # fmt: skip
GIVEN_UP = (
    (0.0, ">", "INVITE"), (0.01, "<", "100 Trying"), (0.05, "<", "180 Ringing"),
    (8.0, ">", "CANCEL"), (8.01, "<", "200 OK CANCEL"), (8.02, "<", "487 Request Terminated"),
    (8.03, ">", "ACK"),
)  # fmt: skip
BUSY = ((0.0, ">", "INVITE"), (0.02, "<", "486 Busy Here"), (0.03, ">", "ACK"))


def respelled(spelling: object, steps: Sequence[tuple[float, str, str]], **options: str) -> Writer:
    def packets(addresses: Addresses) -> list[Packet]:
        pbx, phone = addresses["pbx"], addresses["101"]
        uri = f"sip:101@{phone}"
        texts = exchange(pbx, phone, "k3b2@written.example", uri, steps, **options)
        return between(texts, pbx, phone, spelling)

    return packets


def old_branches(addresses: Addresses) -> list[Packet]:
    """RFC 2543 peers: the same Via branch in two calls, and none at all in a third."""
    pbx, phone = addresses["pbx"], addresses["101"]
    found = []
    for number, (branch, steps) in enumerate(((";branch=1", BUSY), (";branch=1", DECLINED),
                                              ("", BUSY))):  # fmt: skip
        texts = exchange(pbx, phone, f"{number}call@written.example", f"sip:101@{phone}", steps)
        later = [(time + number, own, text) for time, own, text in texts]
        found += between(later, pbx, phone, ((";branch=z9hG4bKa1", branch),))
    return sorted(found, key=lambda packet: packet.time)


def both_sides_of_a_nat(addresses: Addresses) -> list[Packet]:
    """A router's capture: each packet before and after its address is translated."""
    phone = addresses["101"]
    texts = exchange(phone, OUTSIDE, "nat1@written.example", f"sip:102@{OUTSIDE}", GIVEN_UP)
    found = []
    for number, packet in enumerate(between(texts, phone, OUTSIDE), 1000):
        inner = replace(packet, identification=number)
        if packet.source[0] == phone:
            outer = replace(inner, time=packet.time + 0.0002, source=(PUBLIC, 40123))
            found += [inner, outer]
        else:
            outer = replace(inner, time=packet.time - 0.0002, destination=(PUBLIC, 40123))
            found += [outer, inner]
    return found


def telephone_uri(addresses: Addresses) -> list[Packet]:
    """A trunk that writes tel: URIs, and a display name with an escaped quote and a bracket."""
    carrier, pbx = addresses["carrier"], addresses["pbx"]
    texts = exchange(carrier, pbx, "tel1@written.example", "tel:+493022210;phone-context=+49",
                     GIVEN_UP, sender="tel:+441632960000", display='A \\"B\\" <C>')  # fmt: skip
    return between(texts, carrier, pbx)


def leg(expected: str, confidence: str, why: str) -> Expect:
    return Expect("pbx", "101", "101", expected, why, confidence)


def written(name: str, fact: str, packets: Writer, *attempts: Expect, copies: int = 1,
            aliases: dict[str, str] | None = None) -> Scenario:  # fmt: skip
    return Scenario(name, fact, None, attempts, copies=copies, packets=packets, tools="",
                    aliases=aliases or {})  # fmt: skip


SCENARIOS: list[Scenario] = [
    written("written-compact-forms", "compact header names (section 7.3.3), declined after 4 s",
            respelled(COMPACT, DECLINED), leg("declined/manual", "explicit", "rule 10")),
    written("written-odd-spelling", "white space before colons, any case, folded lines; declined "
            "after 4 s", respelled(ODD, DECLINED), leg("declined/manual", "explicit", "rule 10")),
    written("written-old-branches", "RFC 2543 peers: two calls with one branch, a third without",
            old_branches, leg("agent_busy", "explicit", "rule 8"),
            leg("declined/manual", "explicit", "rule 10"),
            leg("agent_busy", "explicit", "rule 8")),
    written("written-both-sides-of-a-nat", "every packet before and after translation: one leg",
            both_sides_of_a_nat,
            Expect("101", "outside", "102", "abandoned", "5.1 rule 6: 8 s after the 180",
                   "inferred"), copies=2, aliases={PUBLIC: "101"}),
    written("written-tel-uri", "tel: URIs, a display name with quotes and brackets; given up",
            telephone_uri,
            Expect("carrier", "pbx", "+493022210", "abandoned", "5.1 rule 6: 8 s after the 180",
                   "inferred")),
]  # fmt: skip
