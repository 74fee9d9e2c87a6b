"""Text from the wire on a terminal, and words of the wire."""

from __future__ import annotations

import unicodedata

import pytest
from call_flows import Leg, attempt_of
from hypothesis import given
from hypothesis import strategies as st

from sipwatch.sinks import wire
from sipwatch.sinks.printable import printable
from sipwatch.sinks.wire import (
    FROM,
    SERVER,
    USER_AGENT,
    called_of,
    caller_of,
    endpoint_text,
    party,
    user_in_uri,
)
from sipwatch.sip.message import SipError, parse

#: What may never reach a terminal: control characters, and what reverses or hides text.
HIDDEN = {"\u200b", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\u2028", "\ufeff"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Çağrı ☎ 電話", "Çağrı ☎ 電話"),
        ("\x1b[31mred\x1b[0m", "�red�"),
        ("\x1b]0;title\x07rest", "�rest"),
        ("\x1b]8;;http://x\x1b\\link", "�link"),
        ("\x9b2Jclear", "�clear"),
        ("a\r\nb\tc\x00\x7f", "a��b�c��"),
        ("abc\u202edcb", "abc�dcb"),
        ("zero\u200bwidth", "zero�width"),
        ("lone \udcff", "lone �"),
        ("\x1bc reset", "� reset"),
    ],
)
def test_known_tricks(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_dangerous_comes_through(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert not HIDDEN & set(shown)
    assert printable(shown) == shown


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S", "Zs"))))
def test_honest_text_is_left_alone(text: str) -> None:
    assert printable(text) == text


def test_endpoints() -> None:
    assert endpoint_text((b"\x0a\x09\x00\x01", 5060)) == "10.9.0.1:5060"
    assert endpoint_text((b"\x20\x01\x0d\xb8" + bytes(11) + b"\1", 5061)) == "[2001:db8::1]:5061"


@pytest.mark.parametrize(
    ("header", "user_at_host", "user", "display"),
    [
        (b'"Anna" <sip:100@h:5060;transport=udp>', "100@h", "100", "Anna"),
        (b"<sip:+90532@h>", "+90532@h", "+90532", ""),
        (b"sip:100@h", "100@h", "100", ""),
        (b"<tel:+90-532>", "+90532", "+90532", ""),
        (b"<sip:h.example>", "h.example", "", ""),
        (b'"<fake>" <sip:1@h>', "1@h", "1", "<fake>"),
        (b"", "", "", ""),
    ],
)
def test_parties(header: bytes, user_at_host: str, user: str, display: str) -> None:
    assert party(header) == (user_at_host, user, display)


@pytest.mark.parametrize(
    ("uri", "user"),
    [
        ("sip:101@10.9.0.11:5060;ob", "101"),
        ("sips:%31%30%31@h", "101"),
        ("tel:+49 30-555", "+4930555"),
        ("sip:h", ""),
        ("", ""),
    ],
)
def test_users_in_uris(uri: str, user: str) -> None:
    assert user_in_uri(uri) == user


@pytest.mark.parametrize(
    "from_", ["From: ", "f: ", "FROM :", "from:\r\n ", "From: \t"], ids=lambda text: repr(text)
)
def test_every_legal_spelling_of_a_header_is_found(from_: str) -> None:
    leg = Leg(server="")
    leg.request(0, "INVITE").reply(0.1, "486 Busy Here").request(0.2, "ACK")
    raw = leg.packets[0].payload.replace(b"From: ", from_.encode())
    raw = raw.replace(b"User-Agent: Snom 4.5", b"USER-agent:Snom 4.5\r\n more")
    leg.packets[0] = leg.packets[0]._replace(payload=raw)
    attempt = attempt_of(leg)
    assert caller_of(attempt).user == "+49301110000"
    assert called_of(attempt).user == "101"
    assert attempt.invite is not None
    assert USER_AGENT.value(attempt.invite) == b"Snom 4.5 more"
    assert SERVER.value(attempt.invite) is None


_NAMES = st.sampled_from(
    [b"", b'"Anna"', b'"A\\"b"', b"Anna", b"Anna B", b'"\xc3\x85"', b'"<x>"', b'"a;b"', b"+90-532"]
)
_USERS = st.sampled_from([b"101", b"+4930", b"a%20b", b"a:pw", b"a;b=c", b"*66", b"", b"x#y", b"-"])
_HOSTS = st.sampled_from([b"H.Example", b"10.9.0.1", b"[::1]", b"h:5060", b"h:", b"h:70000", b"h>"])
_TAILS = st.sampled_from([b"", b";ob", b";a=b;c", b"?x=y", b";a=?", b";a=b>;tag=x", b" "])


@given(_NAMES, st.sampled_from([b"", b" ", b"\t"]), _USERS, _HOSTS, _TAILS)
def test_the_quick_way_to_a_party_is_the_grammars(
    name: bytes, gap: bytes, user: bytes, host: bytes, tail: bytes
) -> None:
    value = name + gap + b"<sip:" + user + (b"@" if user else b"") + host + tail + b">"
    quick = wire._usual_party(value)
    assert quick is None or quick == wire._any_party(value)


def test_the_usual_form_takes_the_quick_way() -> None:
    for value in (b'"Anna" <sip:101@h:5060;ob>', b"<sip:+4930@10.9.0.1>", b"101 <sip:101@h>"):
        assert wire._usual_party(value) is not None


@given(st.binary(max_size=300))
def test_any_header_value_is_read_without_an_error(value: bytes) -> None:
    raw = Leg().request(0, "INVITE").packets[0].payload.replace(b'"Anna Berg" ', value)
    try:
        message = parse(raw)
    except SipError:
        return
    found = FROM.value(message)
    assert found is not None
    for text in party(found):
        text.encode("utf-8")  # no lone surrogate is left
