"""What a REGISTER or OPTIONS says, however it is spelled."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.devices.wire import (
    Contact,
    aor_of,
    contacts_of,
    endpoint_of,
    public_of,
    transaction_of,
    user_of,
    value_of,
)

HEAD = (
    b"REGISTER sip:pbx.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 10.9.1.101:5060;rport;branch=z9hG4bKabc\r\n"
    b"From: <sip:101@pbx.example>;tag=f\r\n"
    b"To: <sip:101@pbx.example>\r\n"
    b"Call-ID: one@play\r\n"
    b"CSeq: 7 REGISTER\r\n"
)
END = b"Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("via", "transaction"),
    [
        (b"Via: SIP/2.0/UDP h;branch=z9hG4bKabc", b"z9hG4bKabc"),
        (b"Via: SIP/2.0/UDP h;branch=z9hG4bKabc;rport=5060;received=10.9.1.1", b"z9hG4bKabc"),
        (b"v: SIP/2.0/UDP h ; Branch = z9hG4bKabc", b"z9hG4bKabc"),
        (b"Via:\r\n SIP/2.0/UDP h;rport;\r\n branch=z9hG4bKabc", b"z9hG4bKabc"),
        (b"Via: SIP/2.0/UDP h;branch=0", b"7 one@play"),
        (b"Via: SIP/2.0/UDP h", b"7 one@play"),
    ],
)
def test_what_request_and_response_share(via: bytes, transaction: bytes) -> None:
    message = HEAD.replace(b"Via: SIP/2.0/UDP 10.9.1.101:5060;rport;branch=z9hG4bKabc", via) + END
    assert transaction_of(message) == transaction


@pytest.mark.parametrize(
    ("lines", "contacts"),
    [
        (b"", ()),
        (b"Contact: <sip:101@h:5060>\r\n", (Contact(b"101@h:5060", None, b""),)),
        (b"Contact: sip:101@h;expires=60\r\n", (Contact(b"101@h", 60, b""),)),
        (b"m: <sip:101@h;ob>;expires=60\r\n", (Contact(b"101@h", 60, b""),)),
        (b"Contact: *\r\n", (Contact(b"*", None, b""),)),
        (
            b'Contact: "A, B" <sip:1@h>;expires=5, <sip:2@h>;expires=6\r\n',
            (Contact(b"1@h", 5, b""), Contact(b"2@h", 6, b"")),
        ),
        (
            b"Contact: <sip:1@h>;expires=5\r\nContact: <sip:2@h>;expires=6\r\n",
            (Contact(b"1@h", 5, b""), Contact(b"2@h", 6, b"")),
        ),
        (b"Contact: <sip:1@h>\r\n ;expires=5\r\n", (Contact(b"1@h", 5, b""),)),
        (
            b'Contact: <sip:1@h>;+sip.instance="<urn:uuid:9>";Expires=4\r\n',
            (Contact(b"1@h", 4, b"<urn:uuid:9>"),),
        ),
        (b"Contact: <sip:1@h>;expires=-1\r\n", (Contact(b"1@h", None, b""),)),
        (b"Contact: <sip:1@h>;expires=99999999999\r\n", (Contact(b"1@h", None, b""),)),
    ],
)
def test_contacts(lines: bytes, contacts: tuple[Contact, ...]) -> None:
    assert contacts_of(HEAD + lines + END) == contacts


@pytest.mark.parametrize(
    ("to", "aor"),
    [
        (b"To: <sip:101@pbx.example>;tag=t", ("101@pbx.example", "101")),
        (b't: "Ann" <sips:101@PBX.example:5061>', ("101@pbx.example", "101")),
        (b"To: sip:%31%30%31@pbx.example", ("101@pbx.example", "101")),
        (b"To: <tel:+49-30-111>", ("+4930111", "+4930111")),
        (b"To: <sip:" + b"1" * 600 + b"@h>", ("", "")),
    ],
)
def test_address_of_record(to: bytes, aor: tuple[str, str]) -> None:
    assert aor_of(HEAD.replace(b"To: <sip:101@pbx.example>", to) + END) == aor


@pytest.mark.parametrize(
    ("via", "place"),
    [
        (b"10.9.1.101:5060;rport=40001;received=203.0.113.9", ("203.0.113.9", 40001)),
        (b"10.9.1.101:5060;received=203.0.113.9;rport=40001", ("203.0.113.9", 40001)),
        (b"10.9.1.101:5060;rport=5060", ("10.9.1.101", 5060)),
        (b"10.9.1.101:5060;rport=40001, SIP/2.0/UDP 10.9.9.9;rport=1", ("10.9.1.101", 40001)),
        (b"[2001:db8::5];rport=40001;received=2001:db8::9", ("2001:db8::9", 40001)),
        (b"10.9.1.101:5060;rport", None),
        (b"10.9.1.101:5060;received=203.0.113.9", None),
        (b"phone.example;rport=5060", None),
        (b"10.9.1.101;rport=70000", None),
        (b";rport=5060", None),
    ],
)
def test_where_the_registrar_saw_it(via: bytes, place: tuple[str, int] | None) -> None:
    message = HEAD.replace(b"10.9.1.101:5060;rport", via) + END
    expected = None if place is None else (ip_address(place[0]).packed, place[1])
    assert public_of(message) == expected


@pytest.mark.parametrize(
    ("contact", "place"),
    [
        (b"101@10.9.1.101:5072", ("10.9.1.101", 5072)),
        (b"10.9.1.101", ("10.9.1.101", 5060)),
        (b"101@[2001:db8::5]:5080", ("2001:db8::5", 5080)),
        (b"101@phone.example", None),
        (b"", None),
    ],
)
def test_where_a_contact_is(contact: bytes, place: tuple[str, int] | None) -> None:
    expected = None if place is None else (ip_address(place[0]).packed, place[1])
    assert endpoint_of(contact) == expected


@pytest.mark.parametrize(
    ("uri", "user"),
    [
        (b"sip:101@h", "101"),
        (b"sip:101;phone-context=x@h", "101"),
        (b"sip:101:secret@h", "101"),
        (b"sip:%2A66@h", "*66"),
        (b"sip:h:5060", ""),
        (b"", ""),
    ],
)
def test_user_of_a_uri(uri: bytes, user: str) -> None:
    assert user_of(uri) == user


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_garbage_is_read_without_a_word(garbage: bytes) -> None:
    """Cut or scrambled messages give something or nothing, never an error."""
    for message in (garbage, HEAD + garbage, HEAD[: len(garbage)], garbage + HEAD):
        transaction_of(message)
        contacts_of(message)
        aor_of(message)
        public_of(message)
        assert isinstance(value_of(message, b"Expires"), bytes)
        assert isinstance(user_of(garbage), str)
        endpoint_of(garbage)
