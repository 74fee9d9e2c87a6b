"""ICMP and ICMPv6 reports tied to the datagram that they quote."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Packet, Raw

from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Unreachable

RAW_IP = 101
INVITE = b"INVITE sip:101@192.0.2.8 SIP/2.0\r\nCall-ID: abc\r\n\r\n"
LOST = IP(src="192.0.2.1", dst="192.0.2.8", id=4711) / UDP(sport=5060, dport=5062) / Raw(INVITE)
LOST6 = IPv6(src="2001:db8::1", dst="2001:db8::8") / UDP(sport=5060, dport=5062) / Raw(INVITE)


def reports(packet: Packet | bytes) -> tuple[list[Unreachable], FrameDecoder]:
    decoder = FrameDecoder()
    found = decoder.decode(12.5, bytes(packet), RAW_IP, "file", 3)
    assert all(isinstance(one, Unreachable) for one in found)
    return [one for one in found if isinstance(one, Unreachable)], decoder


def quoting(quoted: bytes, kind: int = 3, code: int = 3) -> Packet:
    return IP(src="192.0.2.8", dst="192.0.2.1") / ICMP(type=kind, code=code) / Raw(quoted)


@pytest.mark.parametrize("code", [0, 1, 2, 3, 5, 9, 10, 13])
def test_all_that_is_said_of_the_quoted_datagram(code: int) -> None:
    (report,), decoder = reports(quoting(bytes(LOST), code=code))
    udp = bytes(LOST)[20:]
    assert report == Unreachable(
        time=12.5,
        reporter=ip_address("192.0.2.8").packed,
        source=(ip_address("192.0.2.1").packed, 5060),
        destination=(ip_address("192.0.2.8").packed, 5062),
        payload=INVITE,
        interface="file",
        number=3,
        ip_id=4711,
        udp_check=int.from_bytes(udp[4:8], "big"),
        code=code,
    )
    assert decoder.counts.unreachables == 1


@pytest.mark.parametrize("kept", [28, 29, 28 + 10])
def test_reports_that_quote_little(kept: int) -> None:
    (report,), _ = reports(quoting(bytes(LOST)[:kept]))
    assert report.destination[1] == 5062
    assert report.payload == INVITE[: kept - 28]


def test_a_report_that_quotes_no_whole_header_is_counted() -> None:
    found, decoder = reports(quoting(bytes(LOST)[:27]))
    assert not found
    assert decoder.counts.malformed == {("icmp", "quotes too little"): 1}


def test_extensions_behind_the_quote_are_not_taken_for_payload() -> None:
    # RFC 4884: the quote is padded to 128 bytes, its length in words stands in the sixth byte.
    quote = bytes(LOST)[:100].ljust(128, b"\0")
    icmp = bytearray(bytes(ICMP(type=3, code=3) / Raw(quote + b"extension" * 4)))
    icmp[5] = 32
    (report,), _ = reports(IP(src="192.0.2.8", dst="192.0.2.1", proto=1) / Raw(bytes(icmp)))
    assert report.payload == INVITE[: len(report.payload)]
    assert len(report.payload) == min(len(INVITE), 100)


@pytest.mark.parametrize("extension", [False, True])
@pytest.mark.parametrize("code", [0, 1, 3, 4])
def test_icmp_of_ipv6(code: int, extension: bool) -> None:
    quoted = LOST6
    if extension:
        quoted = (
            IPv6(src="2001:db8::1", dst="2001:db8::8")
            / IPv6ExtHdrDestOpt()
            / UDP(sport=5060, dport=5062)
            / Raw(INVITE)
        )
    packet = (
        IPv6(src="2001:db8::fe", dst="2001:db8::1")
        / ICMPv6DestUnreach(code=code)
        / Raw(bytes(quoted))
    )
    (report,), _ = reports(packet)
    assert report.reporter == ip_address("2001:db8::fe").packed
    assert report.source == (ip_address("2001:db8::1").packed, 5060)
    assert report.destination == (ip_address("2001:db8::8").packed, 5062)
    assert (report.payload, report.ip_id, report.code) == (INVITE, -1, code)


@pytest.mark.parametrize("total", [1, 8, 20, 0x1234, 65_535])
def test_a_quoted_total_length_is_not_trusted(total: int) -> None:
    quote = bytearray(bytes(LOST))
    quote[2:4] = total.to_bytes(2, "big")
    (report,), _ = reports(quoting(bytes(quote)))
    assert (report.payload, report.ip_id) == (INVITE, 4711)


OPTIONS6 = IPv6ExtHdrDestOpt()
HEADERS = {
    "hop by hop": IPv6ExtHdrHopByHop() / OPTIONS6,
    "routing": IPv6ExtHdrRouting(addresses=["2001:db8::9"]),
    "first fragment": IPv6ExtHdrFragment(m=1, id=77),
    "options before and behind the fragment header": OPTIONS6 / IPv6ExtHdrFragment(m=1) / OPTIONS6,
}


@pytest.mark.parametrize("name", list(HEADERS))
@pytest.mark.parametrize("kept", [8, 20, None])
def test_extension_headers_in_the_quote(name: str, kept: int | None) -> None:
    lost = IPv6(src="2001:db8::1", dst="2001:db8::8") / HEADERS[name]
    quote = bytes(lost / UDP(sport=5060, dport=5062) / Raw(INVITE))
    where = len(quote) - len(INVITE) - 8
    if kept is not None:
        quote = quote[: where + kept]
    packet = IPv6(src="2001:db8::fe", dst="2001:db8::1") / ICMPv6DestUnreach(code=4) / Raw(quote)
    (report,), _ = reports(packet)
    assert report.source == (ip_address("2001:db8::1").packed, 5060)
    assert report.destination == (ip_address("2001:db8::8").packed, 5062)
    assert report.payload == (INVITE if kept is None else INVITE[: kept - 8])
    assert report.udp_check >> 16 == 8 + len(INVITE)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_quote_that_ends_in_the_extension_headers(name: str) -> None:
    lost = IPv6(src="2001:db8::1", dst="2001:db8::8") / HEADERS[name]
    quote = bytes(lost / UDP(sport=5060, dport=5062) / Raw(INVITE))
    for end in range(40, len(quote) - len(INVITE)):
        packet = IPv6(dst="2001:db8::1") / ICMPv6DestUnreach(code=4) / Raw(quote[:end])
        found, decoder = reports(packet)
        assert not found
        assert sum(decoder.counts.malformed.values()) + decoder.counts.ip_other == 1


@pytest.mark.parametrize(
    "packet",
    [
        quoting(bytes(LOST), kind=8),
        # Too big: it is sent again in smaller pieces.
        quoting(bytes(LOST), code=4),
        quoting(bytes(LOST), kind=11, code=0),
        quoting(bytes(IP(src="192.0.2.1", dst="192.0.2.8") / TCP(dport=5060) / Raw(INVITE))),
        # A later fragment has no ports to quote.
        quoting(bytes(IP(src="192.0.2.1", dst="192.0.2.8", frag=5, proto=17) / Raw(INVITE))),
        IPv6() / ICMPv6EchoRequest(),
    ],
)
def test_other_messages_are_no_reports(packet: Packet) -> None:
    found, decoder = reports(packet)
    assert not found
    assert decoder.counts.ip_other == 1
    assert not decoder.counts.malformed
