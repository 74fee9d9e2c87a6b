"""How products lay their SIP messages out: order of headers, features, identifiers, SDP.

The orders and values follow messages that Asterisk 22, FreeSWITCH 1.10, Kamailio 5.6 and common
desk phones put on the wire; the numbers and names in them are invented.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

CRLF = "\r\n"


@dataclass(frozen=True, slots=True)
class Style:
    """The hand of one product. Templates are %-formats over the names that `Leg` fills in."""

    request: str
    response: str
    #: Header lines that an INVITE and its 18x and 2xx carry besides the ones every message has.
    features: str
    sdp: str
    #: Whether a Via of this product asks for ``rport`` (RFC 3581), and whether it fills it in.
    rport: bool
    fills_rport: bool
    contact_user: str
    branch: Callable[[Random], str]
    tag: Callable[[Random], str]
    call_id: Callable[[Random, str], str]
    #: First CSeq number of a dialog, drawn from this range.
    first_sequence: tuple[int, int]


def _hexadecimal(rng: Random, digits: int) -> str:
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def _uuid(rng: Random) -> str:
    text = _hexadecimal(rng, 32)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _mixed(rng: Random, characters: int) -> str:
    """Letters of both cases and digits."""
    text = base64.b64encode(rng.randbytes(characters)).decode()
    return text.replace("+", "K").replace("/", "9")[:characters]


def _lines(*lines: str) -> str:
    return "".join(line + CRLF for line in lines)


_SDP_ASTERISK = _lines(
    "v=0",
    "o=- %(session)d %(version)d IN IP4 %(ip)s",
    "s=Asterisk",
    "c=IN IP4 %(ip)s",
    "t=0 0",
    "m=audio %(port)d RTP/AVP 0 8 101",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "a=ptime:20",
    "a=maxptime:140",
    "a=%(direction)s",
)

ASTERISK = Style(
    request=_lines(
        "%(method)s %(uri)s SIP/2.0",
        "%(via)sFrom: %(sender)s",
        "To: %(receiver)s",
        "%(contact)sCall-ID: %(call_id)s",
        "CSeq: %(sequence)d %(method)s",
        "%(record_route)s%(route)s%(features)s%(extra)sMax-Forwards: 70",
        "User-Agent: %(agent)s",
        "%(content_type)sContent-Length:  %(length)d",
        "",
    )
    + "%(body)s",
    response=_lines(
        "SIP/2.0 %(status)s",
        "%(via)s%(record_route)sCall-ID: %(call_id)s",
        "From: %(sender)s",
        "To: %(receiver)s",
        "CSeq: %(sequence)d %(method)s",
        "Server: %(agent)s",
        "%(extra)s%(features)s%(contact)s%(content_type)sContent-Length:  %(length)d",
        "",
    )
    + "%(body)s",
    features=_lines(
        "Allow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, "
        "UPDATE, PRACK, MESSAGE, INFO, REFER",
        "Supported: 100rel, timer, replaces, norefersub, histinfo",
        "Session-Expires: 1800",
        "Min-SE: 90",
    ),
    sdp=_SDP_ASTERISK,
    rport=True,
    fills_rport=True,
    contact_user="asterisk",
    branch=lambda rng: "z9hG4bKPj" + _uuid(rng),
    tag=_uuid,
    call_id=lambda rng, ip: _uuid(rng),
    first_sequence=(1000, 32000),
)

FREESWITCH = Style(
    request=_lines(
        "%(method)s %(uri)s SIP/2.0",
        "%(via)s%(record_route)s%(route)sMax-Forwards: 69",
        "From: %(sender)s",
        "To: %(receiver)s",
        "Call-ID: %(call_id)s",
        "CSeq: %(sequence)d %(method)s",
        "%(contact)sUser-Agent: %(agent)s",
        "%(features)s%(extra)s%(content_type)sContent-Length: %(length)d",
        "",
    )
    + "%(body)s",
    response=_lines(
        "SIP/2.0 %(status)s",
        "%(via)s%(record_route)sFrom: %(sender)s",
        "To: %(receiver)s",
        "Call-ID: %(call_id)s",
        "CSeq: %(sequence)d %(method)s",
        "%(contact)sUser-Agent: %(agent)s",
        "%(features)s%(extra)s%(content_type)sContent-Length: %(length)d",
        "",
    )
    + "%(body)s",
    features=_lines(
        "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY",
        "Supported: timer, path, replaces",
        "Allow-Events: talk, hold, conference, refer",
        "X-FS-Support: update_display,send_info",
    ),
    sdp=_lines(
        "v=0",
        "o=FreeSWITCH %(session)d %(version)d IN IP4 %(ip)s",
        "s=FreeSWITCH",
        "c=IN IP4 %(ip)s",
        "t=0 0",
        "m=audio %(port)d RTP/AVP 0 101 13",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:13 CN/8000",
        "a=%(direction)s",
        "a=ptime:20",
    ),
    rport=True,
    fills_rport=False,
    contact_user="mod_sofia",
    branch=lambda rng: "z9hG4bK" + _mixed(rng, 13),
    tag=lambda rng: _mixed(rng, 13),
    call_id=lambda rng, ip: f"{_hexadecimal(rng, 8)}-{_hexadecimal(rng, 8)}-0242{_ip_hex(ip)}",
    first_sequence=(100_000_000, 130_000_000),
)

KAMAILIO = Style(
    request=_lines(
        "%(method)s %(uri)s SIP/2.0",
        "%(via)sTo: %(receiver)s",
        "From: %(sender)s",
        "CSeq: %(sequence)d %(method)s",
        "Call-ID: %(call_id)s",
        "Max-Forwards: 70",
        "%(extra)s%(content_type)sContent-Length: %(length)d",
        "User-Agent: %(agent)s",
        "",
    )
    + "%(body)s",
    response=_lines(
        "SIP/2.0 %(status)s",
        "%(via)sFrom: %(sender)s",
        "To: %(receiver)s",
        "Call-ID: %(call_id)s",
        "CSeq: %(sequence)d %(method)s",
        "%(extra)s%(contact)sServer: %(agent)s",
        "Content-Length: %(length)d",
        "",
    )
    + "%(body)s",
    features="",
    sdp="",
    rport=False,
    fills_rport=True,
    contact_user="",
    branch=lambda rng: f"z9hG4bK{_hexadecimal(rng, 4)}.{_hexadecimal(rng, 32)}.0",
    tag=lambda rng: f"{_hexadecimal(rng, 32)}-{_hexadecimal(rng, 4)}",
    call_id=lambda rng, ip: f"{_hexadecimal(rng, 16)}-{rng.randrange(1000, 9999)}@{ip}",
    first_sequence=(10, 11),
)

#: A desk phone.
PHONE = Style(
    request=_lines(
        "%(method)s %(uri)s SIP/2.0",
        "%(via)s%(record_route)s%(route)sFrom: %(sender)s",
        "To: %(receiver)s",
        "Call-ID: %(call_id)s",
        "CSeq: %(sequence)d %(method)s",
        "%(contact)s%(extra)s%(content_type)s%(features)sMax-Forwards: 70",
        "User-Agent: %(agent)s",
        "Content-Length: %(length)d",
        "",
    )
    + "%(body)s",
    response=_lines(
        "SIP/2.0 %(status)s",
        "%(via)s%(record_route)sFrom: %(sender)s",
        "To: %(receiver)s",
        "Call-ID: %(call_id)s",
        "CSeq: %(sequence)d %(method)s",
        "%(contact)s%(extra)s%(content_type)s%(features)sUser-Agent: %(agent)s",
        "Content-Length: %(length)d",
        "",
    )
    + "%(body)s",
    features=_lines(
        "Allow: INVITE, INFO, PRACK, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REGISTER, SUBSCRIBE, "
        "REFER, PUBLISH, UPDATE, MESSAGE",
        "Supported: replaces",
        "Allow-Events: talk,hold,conference,refer,check-sync",
    ),
    sdp=_lines(
        "v=0",
        "o=- %(session)d %(version)d IN IP4 %(ip)s",
        "s=SDP data",
        "c=IN IP4 %(ip)s",
        "t=0 0",
        "m=audio %(port)d RTP/AVP 9 8 0 18 101",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:18 G729/8000",
        "a=fmtp:18 annexb=no",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=%(direction)s",
        "a=rtcp:%(rtcp)d",
    ),
    rport=True,
    fills_rport=False,
    contact_user="",
    branch=lambda rng: f"z9hG4bK{rng.randrange(10**9)}",
    tag=lambda rng: str(rng.randrange(10**9)),
    call_id=lambda rng, ip: f"{rng.randrange(10)}_{rng.randrange(10**9)}@{ip}",
    first_sequence=(1, 2),
)

#: A carrier's softswitch or session border controller.
SWITCH = Style(
    request=_lines(
        "%(method)s %(uri)s SIP/2.0",
        "%(record_route)s%(via)s%(route)sMax-Forwards: 67",
        "To: %(receiver)s",
        "From: %(sender)s",
        "Call-ID: %(call_id)s",
        "CSeq: %(sequence)d %(method)s",
        "%(contact)s%(features)s%(extra)sUser-Agent: %(agent)s",
        "%(content_type)sContent-Length: %(length)d",
        "",
    )
    + "%(body)s",
    response=_lines(
        "SIP/2.0 %(status)s",
        "%(via)s%(record_route)sTo: %(receiver)s",
        "From: %(sender)s",
        "Call-ID: %(call_id)s",
        "CSeq: %(sequence)d %(method)s",
        "%(contact)s%(features)s%(extra)sServer: %(agent)s",
        "%(content_type)sContent-Length: %(length)d",
        "",
    )
    + "%(body)s",
    features=_lines(
        "Allow: INVITE,BYE,CANCEL,ACK,OPTIONS,PRACK,UPDATE,INFO",
        "Supported: 100rel,timer,histinfo",
        "Privacy: none",
    ),
    sdp=_lines(
        "v=0",
        "o=SWITCH %(session)d %(version)d IN IP4 %(ip)s",
        "s=sip call",
        "c=IN IP4 %(ip)s",
        "t=0 0",
        "m=audio %(port)d RTP/AVP 8 0 18 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:18 G729/8000",
        "a=fmtp:18 annexb=no",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=%(direction)s",
        "a=ptime:20",
    ),
    rport=False,
    fills_rport=False,
    contact_user="",
    branch=lambda rng: f"z9hG4bK+{_hexadecimal(rng, 32)}1+sip+1+{_hexadecimal(rng, 8)}",
    tag=lambda rng: f"{rng.randrange(10**9)}-{rng.randrange(10**12)}-",
    call_id=lambda rng, ip: f"BW{rng.randrange(10**15)}-{rng.randrange(10**9)}@{ip}",
    first_sequence=(1, 9_000_000),
)


def _ip_hex(ip: str) -> str:
    return "".join(f"{int(part):02x}" for part in ip.split("."))
