"""An ICMP unreachable belongs to the INVITE that it quotes, and to no other (outcomes.md 4).

Two INVITEs go to one device from the same port, and an OPTIONS between them. Reports quote as much
as their kind of host does: Linux 548 bytes and ICMPv6 all of it, so the Call-ID; routers eight
bytes of UDP, so the IP identification, or in IPv6 the UDP length and checksum. Both decoders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from play_runner import Outcome, run
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import PcapWriter

from sipwatch.calls.quoting import MOST_COMPARED, quoted
from sipwatch.calls.types import Attempt
from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.tshark import TsharkFile
from sipwatch.config import parse_toml
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch, Datagram, Unreachable

PBX = {4: "10.9.0.1", 6: "2001:db8::1"}
PHONE = {4: "10.9.1.101", 6: "2001:db8::101"}
ROUTER = {4: "10.9.0.254", 6: "2001:db8::fe"}
EPOCH = 1_700_000_000.0


def message(method: str, version: int, call: str, call_id_header: str = "Call-ID") -> bytes:
    pbx, phone = (f"[{a}]" if version == 6 else a for a in (PBX[version], PHONE[version]))
    colon = "" if call_id_header.endswith("\n") else ":"  # the value on a line of its own
    return (
        f"{method} sip:101@{phone} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {pbx}:5060;branch=z9hG4bK-{call}\r\n"
        f"From: <sip:0301110000@{pbx}>;tag=f-{call}\r\nTo: <sip:101@{phone}>\r\n"
        f"{call_id_header}{colon} {call}@pbx\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
        # The calls are told apart by the length of their datagrams where nothing else does it.
        f"Subject: {'x' * len(call) * 3}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def ringing(version: int, call: str) -> bytes:
    pbx = f"[{PBX[6]}]" if version == 6 else PBX[4]
    return (
        f"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP {pbx}:5060;branch=z9hG4bK-{call}\r\n"
        f"From: <sip:0301110000@{pbx}>;tag=f-{call}\r\nTo: <sip:101@x>;tag=t\r\n"
        f"Call-ID: {call}@pbx\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def sent(version: int, payload: bytes, ident: int, *, back: bool = False) -> Packet:
    ends = (PHONE[version], PBX[version]) if back else (PBX[version], PHONE[version])
    udp = UDP(sport=5060, dport=5060) / Raw(payload)
    if version == 4:
        return IP(src=ends[0], dst=ends[1], id=ident) / udp
    return IPv6(src=ends[0], dst=ends[1]) / udp


def report(version: int, packet: Packet, kept: int | None, code: int | None = None) -> Packet:
    """Quotes the IP header and so many bytes behind it, all without a number."""
    whole = bytes(packet)
    quote = whole if kept is None else whole[: (20 if version == 4 else 40) + kept]
    if version == 4:
        head = IP(src=ROUTER[4], dst=PBX[4]) / ICMP(type=3, code=3 if code is None else code)
    else:
        unreachable = ICMPv6DestUnreach(code=4 if code is None else code)
        head = IPv6(src=ROUTER[6], dst=PBX[6]) / unreachable
    return head / Raw(quote)


def packets(version: int, quoted: str, kept: int | None, header: str) -> Iterator[Packet]:
    """INVITE `first`, OPTIONS, INVITE `second`, then a report about one of them."""
    made = {
        "first": sent(version, message("INVITE", version, "first", header), 101),
        "options": sent(version, message("OPTIONS", version, "options-ping", header), 102),
        "second": sent(version, message("INVITE", version, "second-call", header), 103),
    }
    yield from made.values()
    yield report(version, made[quoted], kept)


DATAGRAM = Datagram(
    EPOCH, (b"\x0a\x09\x00\x01", 5060), (b"\x0a\x09\x01\x65", 5060), "UDP",
    message("INVITE", 4, "other"), "x", 1, 7, 500 << 16,
)  # fmt: skip


@pytest.fixture(params=["native", "tshark"])
def decoder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def judged(decoder: str, path: Path, made: Iterator[Packet]) -> tuple[Outcome, Batch]:
    with PcapWriter(str(path), linktype=1) as writer:
        for number, packet in enumerate(made):
            frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet
            frame.time = EPOCH + number * 0.1
            writer.write(frame)
    source = TsharkFile(str(path)) if decoder == "tshark" else CaptureFiles([str(path)])
    batch = [one for part in source.batches() for one in part]
    config = parse_toml('local_addresses = ["10.9.0.1", "2001:db8::1"]')
    return run(batch, config, quiet=5.0), batch


def told(outcome: Outcome) -> set[str]:
    """The calls that an ICMP report was tied to."""
    found = set()
    for attempt in outcome.attempts:
        assert attempt.verdict is not None
        if attempt.icmp_at is not None:
            said = attempt.verdict.outcome, attempt.verdict.confidence
            assert said == ("device_not_responding", "explicit")
            found.add(attempt.call_id.decode().partition("@")[0])
        else:
            assert attempt.verdict.outcome != "device_not_responding"
    return found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("header", ["Call-ID", "i", "call-id  ", "Call-ID:\r\n", "Call-ID: \r\n"])
@pytest.mark.parametrize("quoted", ["first", "second"])
def test_by_the_call_id(
    tmp_path: Path, decoder: str, version: int, quoted: str, header: str
) -> None:
    outcome, batch = judged(decoder, tmp_path / "x.pcap", packets(version, quoted, None, header))
    assert sum(isinstance(one, Unreachable) for one in batch) == 1
    assert told(outcome) == {"first" if quoted == "first" else "second-call"}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("quoted", ["first", "second"])
def test_by_identification_or_length_and_checksum(
    tmp_path: Path, decoder: str, version: int, quoted: str
) -> None:
    """Eight bytes of UDP: all that RFC 792 asks for."""
    outcome, _ = judged(decoder, tmp_path / "x.pcap", packets(version, quoted, 8, "Call-ID"))
    assert told(outcome) == {"first" if quoted == "first" else "second-call"}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kept", [None, 8, 40])
def test_that_of_an_options_is_no_invites(
    tmp_path: Path, decoder: str, version: int, kept: int | None
) -> None:
    outcome, batch = judged(
        decoder, tmp_path / "x.pcap", packets(version, "options", kept, "Call-ID")
    )
    assert sum(isinstance(one, Unreachable) for one in batch) == 1
    assert told(outcome) == set()


@pytest.mark.parametrize("version", [4, 6])
def test_of_a_call_that_was_not_seen_it_is_nobodys(
    tmp_path: Path, decoder: str, version: int
) -> None:
    def made() -> Iterator[Packet]:
        yield sent(version, message("INVITE", version, "first"), 101)
        unseen = sent(version, message("INVITE", version, "never-captured"), 102)
        yield report(version, unseen, None)

    outcome, _ = judged(decoder, tmp_path / "x.pcap", made())
    assert told(outcome) == set()


@pytest.mark.parametrize("version", [4, 6])
def test_where_the_numbers_were_changed_on_the_way_it_is_the_last_invite_of_the_flow(
    tmp_path: Path, decoder: str, version: int
) -> None:
    """What quotes the beginning of an INVITE is of an INVITE, whatever NAT did to its header."""

    def made() -> Iterator[Packet]:
        first = sent(version, message("INVITE", version, "first"), 101)
        yield first
        yield sent(version, message("OPTIONS", version, "options-ping"), 102)
        changed = first.copy()
        if version == 4:
            changed[IP].id = 999
        changed[UDP].chksum = 0x1234
        yield report(version, changed, 40)

    outcome, _ = judged(decoder, tmp_path / "x.pcap", made())
    assert told(outcome) == {"first"}


@pytest.mark.parametrize("version", [4, 6])
def test_a_retransmission_that_is_quoted(tmp_path: Path, decoder: str, version: int) -> None:
    def made() -> Iterator[Packet]:
        invite = message("INVITE", version, "first")
        yield sent(version, invite, 101)
        for ident in (102, 103, 104, 105, 106):
            yield sent(version, b"\r\n\r\n", ident)
        again = sent(version, invite, 107)
        yield again
        yield report(version, again, 8)

    outcome, _ = judged(decoder, tmp_path / "x.pcap", made())
    assert told(outcome) == {"first"}


def answer(version: int, packet: Packet) -> bytes:
    """A 200 to a call that came from the phone's side: it goes the way of the INVITEs."""
    text = bytes(packet[UDP].payload).replace(b"first", b"inbound")
    return b"SIP/2.0 200 OK\r\n" + text.partition(b"\r\n")[2]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kept", [None, 8, 11, 40])
@pytest.mark.parametrize("ident", [0, 9])
@pytest.mark.parametrize("what", ["options", "answer", "keep-alive", "media"])
def test_what_is_no_invite_is_no_invites(
    tmp_path: Path, version: int, kept: int | None, ident: int, what: str
) -> None:
    """Where all identifications are zero, as with DF, they tell nothing (RFC 6864)."""

    def made() -> Iterator[Packet]:
        invite = sent(version, message("INVITE", version, "first"), ident)
        payload = {
            "options": message("OPTIONS", version, "options-ping"),
            "answer": answer(version, invite),
            "keep-alive": b"\r\n\r\n",
            "media": b"\x80\x00" + bytes(170),
        }[what]
        other = sent(version, payload, ident and 10)
        yield invite
        yield other
        yield report(version, other, kept)

    outcome, batch = judged("native", tmp_path / "x.pcap", made())
    assert sum(isinstance(one, Unreachable) for one in batch) == 1
    assert told(outcome) == set()


@pytest.mark.parametrize("quoted", ["first", "second-call"])
def test_by_length_and_checksum_where_identifications_are_zero(
    tmp_path: Path, decoder: str, quoted: str
) -> None:
    def made() -> Iterator[Packet]:
        invites = {
            name: sent(4, message("INVITE", 4, name), 0) for name in ("first", "second-call")
        }
        yield from invites.values()
        yield report(4, invites[quoted], 8)

    outcome, _ = judged(decoder, tmp_path / "x.pcap", made())
    assert told(outcome) == {quoted}


def test_a_checksum_that_the_card_fills_in_leaves_the_length(tmp_path: Path) -> None:
    """What was captured has another checksum than what was sent; that of the second INVITE."""

    def made() -> Iterator[Packet]:
        for name in ("first", "second-call"):
            captured = sent(4, message("INVITE", 4, name), 0)
            captured[UDP].chksum = 0x1A2B
            yield captured
        del captured[UDP].chksum
        yield report(4, captured, 8)

    outcome, _ = judged("native", tmp_path / "x.pcap", made())
    assert told(outcome) == {"second-call"}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("header", ["Call-ID", "i"])
def test_a_quote_may_be_cut_anywhere(version: int, header: str) -> None:
    """It is tied to its own INVITE or to none, the more surely the more there is of it."""
    texts = [message("INVITE", version, name, header) for name in ("first", "second-call")]
    packets = [sent(version, text, 101 + number) for number, text in enumerate(texts)]
    decode = FrameDecoder().decode
    head = [decode(EPOCH + n, bytes(p), 101, "x", n + 1) for n, p in enumerate(packets)]
    invites = [one for found in head for one in found]
    for kept in range(8, 8 + len(texts[0]) + 1):
        found = decode(EPOCH + 2.0, bytes(report(version, packets[0], kept)), 101, "x", 3)
        assert len(found) == 1
        assert told(run([*invites, *found], parse_toml(""), quiet=5.0)) == {"first"}


@pytest.mark.parametrize("version", [4, 6])
def test_a_quote_with_the_addresses_of_the_other_side_of_a_nat(
    tmp_path: Path, decoder: str, version: int
) -> None:
    """The branch of the Via is the same on both sides."""

    def made() -> Iterator[Packet]:
        first = sent(version, message("INVITE", version, "first"), 101)
        yield first
        yield sent(version, message("INVITE", version, "second-call"), 102)
        outside = first.copy()
        layer = IP if version == 4 else IPv6
        outside[layer].src, outside[layer].dst = (
            ("198.51.100.7", "203.0.113.9") if version == 4 else ("2001:db8:7::7", "2001:db8:9::9")
        )
        outside[UDP].sport, outside[UDP].dport = 40_001, 61_234
        yield report(version, outside, None)

    outcome, _ = judged(decoder, tmp_path / "x.pcap", made())
    assert told(outcome) == {"first"}


@pytest.mark.parametrize("version", [4, 6])
def test_the_invite_within_a_dialog_is_no_attempt(tmp_path: Path, version: int) -> None:
    """Another transaction of the same Call-ID, between the same addresses."""

    def made() -> Iterator[Packet]:
        first = sent(version, message("INVITE", version, "first"), 101)
        yield first
        text = message("INVITE", version, "first").replace(b"z9hG4bK-first", b"z9hG4bK-again")
        yield report(version, sent(version, text, 102), None)

    outcome, _ = judged("native", tmp_path / "x.pcap", made())
    assert told(outcome) == set()


def test_a_peer_without_branches_is_told_by_its_addresses(tmp_path: Path) -> None:
    """RFC 2543: no branch at all in the topmost Via, and one in that of another hop."""
    text = message("INVITE", 4, "first").replace(b";branch=z9hG4bK-first", b"")
    text = text.replace(b"From:", b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-far\r\nFrom:", 1)

    def made() -> Iterator[Packet]:
        invite = sent(4, text, 101)
        yield invite
        yield report(4, invite, None)

    outcome, _ = judged("native", tmp_path / "x.pcap", made())
    assert told(outcome) == {"first"}


@pytest.mark.parametrize("kept", [None, 8, 9, 40])
@pytest.mark.parametrize("ident", [0, 77])
def test_a_forged_report_needs_to_know_what_was_sent(
    tmp_path: Path, kept: int | None, ident: int
) -> None:
    """Ports and addresses can be guessed; names, lengths and numbers cannot."""

    def made() -> Iterator[Packet]:
        yield sent(4, message("INVITE", 4, "first"), 101)
        yield sent(4, message("INVITE", 4, "second-call"), 102)
        guessed = message("BYE" if kept == 40 else "INVITE", 4, "guessed-by-somebody")
        yield report(4, sent(4, guessed, ident), kept)

    outcome, _ = judged("native", tmp_path / "x.pcap", made())
    assert told(outcome) == set()


def test_too_big_is_not_unreachable(tmp_path: Path) -> None:
    """The sender cuts the INVITE and sends it again (RFC 1191)."""

    def made() -> Iterator[Packet]:
        invite = sent(4, message("INVITE", 4, "first"), 101)
        yield invite
        yield report(4, invite, None, code=4)

    outcome, batch = judged("native", tmp_path / "x.pcap", made())
    assert not any(isinstance(one, Unreachable) for one in batch)
    assert told(outcome) == set()


def test_a_report_costs_no_walk_through_all_calls() -> None:
    """A flood of reports while very many calls are open."""
    walked = 0

    def many() -> Iterator[Attempt]:
        nonlocal walked
        while True:
            walked += 1
            yield other

    (other,) = run([DATAGRAM], parse_toml("")).attempts
    report = Unreachable(
        EPOCH + 1, b"\x0a\x09\x00\xfe", (b"\x0a\x09\x00\x01", 5060), (b"\x0a\x09\x01\x66", 5060),
        b"", "x", 2, 4711, 600 << 16, 3,
    )  # fmt: skip
    assert quoted(report, {}, many(), other) is None
    assert walked <= MOST_COMPARED + 1
