"""Header values, URIs and Reasons: RFC 3261 25.1 and 19.1, RFC 3326, RFC 3966."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipwatch.sip.grammar import parse_name_addr, parse_params, split_commas, text, unquote
from sipwatch.sip.reason import Reason, parse_reasons, q850_cause, sip_cause
from sipwatch.sip.uri import Uri, parse_uri


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (b"", [b""]),
        (b"a", [b"a"]),
        (b"a, b ,c", [b"a", b"b", b"c"]),
        (b'"a, b" <sip:x>, c', [b'"a, b" <sip:x>', b"c"]),
        (b"<sip:a,b@c>;p=1, <sip:d>", [b"<sip:a,b@c>;p=1", b"<sip:d>"]),
        (b'"a \\", b", c', [b'"a \\", b"', b"c"]),
        (b"a,,b,", [b"a", b"b"]),
        (b'"never closed, x', [b'"never closed, x']),
    ],
)
def test_lists(value: bytes, items: list[bytes]) -> None:
    assert split_commas([value]) == items


def test_the_first_of_a_list() -> None:
    assert split_commas([b"a, b", b"c"], first=True) == [b"a"]
    assert split_commas([b",,"], first=True) == [b""]
    assert split_commas([], first=True) == [b""]


@pytest.mark.parametrize(
    ("value", "display", "uri", "params"),
    [
        (b"<sip:a@b>", "", "sip:a@b", {}),
        (b"Anna  <sip:a@b>;x=1", "Anna", "sip:a@b", {"x": "1"}),
        (b'"A \\"B\\" C" <sip:a@b>', 'A "B" C', "sip:a@b", {}),
        (b'"<sip:no>" <sip:a@b>;tag=1', "<sip:no>", "sip:a@b", {"tag": "1"}),
        (b"sip:a@b;tag=1;lr", "", "sip:a@b", {"tag": "1", "lr": ""}),
        (b"<sip:a@b;lr>;tag=1", "", "sip:a@b;lr", {"tag": "1"}),
        ('"Ayşe" <sip:a@b>'.encode(), "Ayşe", "sip:a@b", {}),
        (b"<sip:a@b", "", "sip:a@b", {}),
        (b"", "", "", {}),
        (b"<sip:[2001:db8::1]:5060>;tag=1", "", "sip:[2001:db8::1]:5060", {"tag": "1"}),
    ],
)
def test_name_addr(value: bytes, display: str, uri: str, params: dict[str, str]) -> None:
    assert parse_name_addr(value) == (display, uri, params)


@pytest.mark.parametrize(
    ("value", "params"),
    [
        (";a=1;B=2", {"a": "1", "b": "2"}),
        (" ; a = 1 ; b", {"a": "1", "b": ""}),
        (';text="x;y=1";z=2', {"text": "x;y=1", "z": "2"}),
        (';text="a \\"b\\""', {"text": 'a "b"'}),
        (";a=1;a=2", {"a": "1"}),
        ("", {}),
        (";;=;", {}),
    ],
)
def test_params(value: str, params: dict[str, str]) -> None:
    assert parse_params(value) == params


def test_quotes_and_text() -> None:
    assert unquote('"a\\\\b"') == "a\\b"
    assert unquote('"') == '"'
    assert unquote("plain") == "plain"
    assert text(b"\xc3\xb6") == "ö"
    assert text(b"\xff") == "�"
    assert text(None) == ""


@pytest.mark.parametrize(
    ("value", "uri", "short"),
    [
        ("sip:101@10.0.0.1", Uri("sip", "101", "10.0.0.1", 0, ""), "101@10.0.0.1"),
        ("sip:101@Host.Example:5062;transport=tcp",
         Uri("sip", "101", "host.example", 5062, "transport=tcp"), "101@host.example"),
        ("SIPS:a:secret@b", Uri("sips", "a", "b", 0, ""), "a@b"),
        ("sip:a;phone-context=x@b", Uri("sip", "a", "b", 0, ""), "a@b"),
        ("sip:%40home@b", Uri("sip", "@home", "b", 0, ""), "@home@b"),
        ("sip:b", Uri("sip", "", "b", 0, ""), "b"),
        ("sip:a@[2001:db8::1]:5061", Uri("sip", "a", "[2001:db8::1]", 5061, ""),
         "a@[2001:db8::1]"),
        ("sip:a@b?Subject=x%40y", Uri("sip", "a", "b", 0, ""), "a@b"),
        ("sip:a?b@c", Uri("sip", "a?b", "c", 0, ""), "a?b@c"),
        ("tel:+90-532-111.22(33);phone-context=x",
         Uri("tel", "+905321112233", "", 0, "phone-context=x"), "+905321112233"),
        ("http://x", Uri("", "", "http://x", 0, ""), "http://x"),
        ("sip:a@b:999999", Uri("sip", "a", "b", 0, ""), "a@b"),
        ("", Uri("", "", "", 0, ""), ""),
    ],
)  # fmt: skip
def test_uris(value: str, uri: Uri, short: str) -> None:
    assert parse_uri(value) == uri
    assert parse_uri(value).user_at_host == short


@given(st.text(max_size=80))
def test_any_text_is_some_uri(value: str) -> None:
    assert isinstance(parse_uri(value), Uri)


@given(st.binary(max_size=120))
def test_any_bytes_are_some_name_addr(value: bytes) -> None:
    assert isinstance(parse_name_addr(value).params, dict)
    assert all(isinstance(item, bytes) for item in split_commas([value]))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"Q.850;cause=16", Reason("Q.850", 16, "")),
        (b'SIP ;cause=200 ;text="Call completed elsewhere"',
         Reason("SIP", 200, "Call completed elsewhere")),
        (b"q.850 ; CAUSE = 17", Reason("Q.850", 17, "")),
        (b"SIP;text=x", Reason("SIP", None, "x")),
        (b"SIP;cause=abc", Reason("SIP", None, "")),
        (b"SIP;cause=-5", Reason("SIP", None, "")),
        (b"SIP;cause=99999999999999999999", Reason("SIP", None, "")),
        (b"X.int;reason-code=0x1;add-info=1", Reason("X.INT", None, "")),
    ],
)  # fmt: skip
def test_reason(value: bytes, reason: Reason) -> None:
    assert parse_reasons([value]) == [reason]


def test_reasons_without_a_protocol_are_passed_over() -> None:
    assert parse_reasons([b";cause=16", b"", b"Q.850;cause=3"]) == [Reason("Q.850", 3, "")]


def test_the_first_cause_of_its_protocol() -> None:
    reasons = parse_reasons([b"SIP;text=x", b"SIP;cause=486", b"Q.850;cause=17", b"SIP;cause=1"])
    assert (sip_cause(reasons), q850_cause(reasons)) == (486, 17)
    assert (sip_cause([]), q850_cause([])) == (None, None)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_reasons_or_none(values: list[bytes]) -> None:
    assert len(parse_reasons(values)) <= len(values)
