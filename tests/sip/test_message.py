"""The message parser: what real devices send, and what is refused."""

from __future__ import annotations

import pytest

from sipwatch.sip.message import MAX_HEAD_BYTES, NotSip, SipError, parse

HEADERS = {
    "Via": "SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK77",
    "From": "<sip:a@b>;tag=1",
    "To": "<sip:101@10.0.0.1>",
    "Call-ID": "one@two",
    "CSeq": "1 INVITE",
}


def raw(start: str = "INVITE sip:101@10.0.0.1 SIP/2.0", **other: str | None) -> bytes:
    headers: dict[str, str | None] = {
        **HEADERS,
        **{k.replace("_", "-"): v for k, v in other.items()},
    }
    lines = [start, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_request() -> None:
    message = parse(raw())
    assert (message.method, message.status, message.is_request) == ("INVITE", 0, True)
    assert (message.call_id, message.cseq, message.branch) == (b"one@two", 1, b"z9hG4bK77")
    assert (message.from_tag, message.to_tag) == (b"1", b"")
    assert message.request_uri == b"sip:101@10.0.0.1"
    assert message.reason_phrase == ""


def test_a_response() -> None:
    message = parse(raw("SIP/2.0 486 Busy  Here", To="<sip:101@10.0.0.1>;tag=z"))
    assert (message.method, message.status, message.is_request) == ("INVITE", 486, False)
    assert message.to_tag == b"z"
    assert message.reason_phrase == "Busy  Here"
    assert message.request_uri == b""


@pytest.mark.parametrize(
    ("start", "status", "phrase"),
    [
        ("SIP/2.0 100", 100, ""),
        ("SIP/2.0 200 ", 200, ""),
        ("sip/2.0 180 Çalıyor", 180, "Çalıyor"),
        ("SIP/2.0  603  Decline", 603, "Decline"),
    ],
)
def test_status_lines(start: str, status: int, phrase: str) -> None:
    message = parse(raw(start))
    assert (message.status, message.reason_phrase) == (status, phrase)


@pytest.mark.parametrize(
    "start",
    [
        "", "GET / HTTP/1.1", "INVITE sip:a@b SIP/3.0", "SIP/2.0 99 Low", "SIP/2.0 700 High",
        "SIP/2.0 20 Short", "SIP/2.0 abc", "INVITE SIP/2.0",
        "SIP/2.0 2000 Long", "\0\0\0\0",
    ],
)  # fmt: skip
def test_no_sip(start: str) -> None:
    with pytest.raises(NotSip):
        parse(raw(start))


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("Call_ID", None, "no Call-ID"),
        ("Call_ID", "", "empty Call-ID"),
        ("CSeq", None, "no CSeq"),
        ("CSeq", "INVITE", "bad CSeq"),
        ("CSeq", "-1 INVITE", "bad CSeq"),
        ("CSeq", "99999999999 INVITE", "bad CSeq"),
        ("CSeq", "1", "bad CSeq"),
        ("CSeq", "1 BYE", "CSeq method differs from request method"),
        ("From", None, "no From"),
        ("To", None, "no To"),
        ("Via", None, "no Via"),
    ],
)
def test_what_decides_a_transaction_must_be_there(
    header: str, value: str | None, reason: str
) -> None:
    with pytest.raises(SipError) as caught:
        parse(raw(**{header: value}))
    assert caught.value.reason == reason


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(SipError) as caught:
        parse(raw().replace(b"\r\n\r\n", b"\r\nX: " + b"y" * MAX_HEAD_BYTES))
    assert caught.value.reason == "head too long"


def test_line_ends_of_both_kinds() -> None:
    message = parse(raw(User_Agent="x").replace(b"\r\nFrom", b"\nFrom"))
    assert (message.from_tag, message.header("user-agent")) == (b"1", b"x")


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("<sip:a@b>;tag=t1", b"t1"),
        ("<sip:a@b> ; tag = t1", b"t1"),
        ("<sip:a@b>;TAG=t1;x=y", b"t1"),
        ("sip:a@b;tag=t1", b"t1"),
        ("<sip:a;tag=no@b>;tag=t1", b"t1"),
        ("<sip:a@b;tag=no>", b""),
        ('"x;tag=no" <sip:a@b>;tag=t1', b"t1"),
        ('"a \\" <sip:evil;tag=no>" <sip:a@b>;tag=t1', b"t1"),
        ("Anna <sip:a@b>", b""),
        ("tel:+90532;tag=t1", b"t1"),
    ],
)
def test_tags(value: str, tag: bytes) -> None:
    assert parse(raw(From=value)).from_tag == tag
    assert parse(raw(To=value)).to_tag == tag


@pytest.mark.parametrize(
    ("value", "branch"),
    [
        ("SIP/2.0/UDP h;branch=z9hG4bK1", b"z9hG4bK1"),
        ("SIP/2.0/UDP h;rport;branch=z9hG4bK1;received=1.2.3.4", b"z9hG4bK1"),
        ("SIP/2.0/UDP h ; branch = z9hG4bK1", b"z9hG4bK1"),
        ("SIP/2.0/UDP h;BRANCH=z9hG4bK1", b"z9hG4bK1"),
        ("SIP / 2.0 / UDP h;branch=z9hG4bK1, SIP/2.0/UDP i;branch=z9hG4bK2", b"z9hG4bK1"),
        ("SIP/2.0/UDP h", b""),
    ],
)
def test_top_branch(value: str, branch: bytes) -> None:
    assert parse(raw(Via=value)).branch == branch


def test_the_top_via_is_the_first_of_several_lines_whatever_their_form() -> None:
    lines = raw(Via=None).replace(
        b"\r\nFrom", b"\r\nv: SIP/2.0/UDP a;branch=z9hG4bKa\r\nVia: SIP/2.0/UDP b;branch=z9\r\nFrom"
    )
    assert parse(lines).branch == b"z9hG4bKa"


def test_reasons_of_two_lines_and_of_a_list() -> None:
    message = parse(raw(Reason='SIP ;cause=200 ;text="a, b", Q.850;cause=26'))
    assert [(r.protocol, r.cause, r.text) for r in message.reasons()] == [
        ("SIP", 200, "a, b"),
        ("Q.850", 26, ""),
    ]
    two = raw(Reason="SIP;cause=487").replace(b"\r\n\r\n", b"\r\nREASON : Q.850;cause=16\r\n\r\n")
    assert [(r.protocol, r.cause) for r in parse(two).reasons()] == [("SIP", 487), ("Q.850", 16)]


def test_folded_reason() -> None:
    message = parse(raw(Reason='Q.850\r\n ;cause=17\r\n\t;text="User busy"'))
    assert [(r.protocol, r.cause, r.text) for r in message.reasons()] == [
        ("Q.850", 17, "User busy")
    ]


def test_a_reason_in_the_body_is_none_of_the_message() -> None:
    assert parse(raw() + b"\r\nReason: Q.850;cause=17\r\n").reasons() == ()


@pytest.mark.parametrize(
    ("length", "body"),
    [("3", b"abc"), ("0", b""), ("99", b"abcdef"), ("x", b"abcdef"), (None, b"abcdef")],
)
def test_body_by_content_length(length: str | None, body: bytes) -> None:
    assert parse(raw(Content_Length=length) + b"abcdef").body == body


def test_bare_line_feeds() -> None:
    message = parse(raw().replace(b"\r\n", b"\n") + b"v=0")
    assert (message.call_id, message.branch, message.has_sdp) == (b"one@two", b"z9hG4bK77", True)


def test_utf8_and_bytes_that_are_none() -> None:
    message = parse(raw(From='"Ayşe Öz" <sip:a@b>;tag=1', Subject="Grüße"))
    assert message.header("subject") == "Grüße".encode()
    broken = raw(Subject="x").replace(b"Subject: x", b"Subject: \xff\xfe")
    assert parse(broken).header("Subject") == b"\xff\xfe"


def test_unknown_methods_are_parsed() -> None:
    assert parse(raw("XCON sip:a@b SIP/2.0", CSeq="4 XCON")).method == "XCON"


BODY = b"v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\n"


def test_a_message_without_its_body_says_the_same_of_its_head() -> None:
    message = parse(raw(Subject="x", Content_Length=str(len(BODY))) + BODY)
    assert message.has_sdp
    assert message.index[b"subject"] == [b"x"]
    message.drop_body()
    assert not message.has_sdp
    assert BODY not in message.raw
    assert message.index[b"subject"] == [b"x"]
    assert (message.request_uri, message.from_tag) == (b"sip:101@10.0.0.1", b"1")


@pytest.mark.parametrize("body", [b"", BODY])
@pytest.mark.parametrize("last", ["Server", "Allow"])
def test_without_what_is_spent_the_other_headers_stay(last: str, body: bytes) -> None:
    rest = {
        "Record-Route": "<sip:10.0.0.3;lr>,\r\n\t<sip:10.0.0.4;lr>",
        "Allowed": "no",
        "Contact": "<sip:101@10.0.0.7>",
        "Viability": "good",
        "P-Asserted-Identity": "<sip:101@10.0.0.1>",
        "Content-Length": str(len(body)),
        last: "INVITE, ACK",
    }
    lines = [f"{name}: {value}" for name, value in {**HEADERS, **rest}.items()]
    head = ("SIP/2.0 180 Ringing\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()
    message = parse(head + body)
    message.drop_spent()
    kept = ["From", "To", "Allowed", "Viability", "P-Asserted-Identity"]
    kept += ["Server"] * (last == "Server")
    assert list(parse(head).index) != list(message.index)
    assert list(message.index) == [name.lower().encode() for name in kept]
    assert message.raw.endswith(b"\r\n\r\n" + body)
    assert message.raw[message.head_end :] == b"\r\n\r\n" + body
    assert (message.reason_phrase, message.names_party) == ("Ringing", True)
    message.drop_spent()
    assert list(message.index) == [name.lower().encode() for name in kept]


def test_from_of_a_response_goes_where_its_request_says_it() -> None:
    answer, invite = parse(raw("SIP/2.0 200 OK", Server="x")), parse(raw())
    answer.drop_spent(sender_known=True)
    invite.drop_spent(sender_known=True)
    assert list(answer.index) == [b"to", b"server"]
    assert (answer.call_id, answer.cseq, answer.to_tag) == (b"one@two", 1, parse(raw()).to_tag)
    assert list(invite.index) == [b"from", b"to"]
    assert invite.from_value == parse(raw()).from_value


def test_heads_that_are_written_oddly_stay_whole() -> None:
    odd = raw(Allow="INVITE\nServer: x\n y", Subject="z")
    message = parse(odd)
    message.drop_spent()
    assert message.raw == odd
    # Without a blank line behind it, the head ends with the bytes.
    cut = parse(raw("SIP/2.0 200 OK", Allow="INVITE")[:-4])
    cut.drop_spent()
    assert cut.head_end == len(cut.raw)
    assert cut.header("cseq") == b"1 INVITE"


def test_without_its_headers_the_start_line_is_left() -> None:
    message = parse(raw(P_Asserted_Identity="<sip:1@b>") + BODY)
    message.drop_headers()
    assert message.request_uri == b"sip:101@10.0.0.1"
    assert message.start_line == b"INVITE sip:101@10.0.0.1 SIP/2.0"
    assert message.index == {}
    assert not message.names_party
    assert message.call_id == b"one@two"


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ({}, b"<sip:a@b>;tag=1"),
        ({"From": None, "f": "<sip:c@d>;tag=2"}, b"<sip:c@d>;tag=2"),
        ({"From": '"A\r\n B" <sip:a@b>;tag=3'}, b'"A B" <sip:a@b>;tag=3'),
    ],
)
def test_the_value_of_from(headers: dict[str, str | None], value: bytes) -> None:
    assert parse(raw(**headers)).from_value == value


def test_of_a_monstrous_head_only_the_beginning_is_kept() -> None:
    message = parse(raw(Server="x", Subject="a" * 40_000, Via="SIP/2.0/UDP h;branch=z9hG4bK1"))
    message.drop_body()
    assert len(message.raw) <= 8_192
    assert message.head_end <= len(message.raw)
    assert message.request_uri == b"sip:101@10.0.0.1"
    assert message.header("server") == b"x"
    endless = parse(b"INVITE sip:" + b"1" * 40_000 + b"@h" + raw()[raw().index(b" SIP/2.0") :])
    endless.drop_body()
    assert len(endless.raw) <= 8_192
    assert endless.request_uri.startswith(b"sip:111")


@pytest.mark.parametrize(
    "headers", [{"Call_ID": "c" * 3000}, {"Via": "SIP/2.0/UDP h;branch=z9hG4bK" + "b" * 3000}]
)
@pytest.mark.parametrize("spelling", ["", "x"])
def test_keys_that_nobody_makes_are_refused(headers: dict[str, str], spelling: str) -> None:
    message = raw(**headers)
    if spelling:
        message = message.replace(b"CSeq:", b"CSeq :")  # not as it is usually written
    with pytest.raises(SipError, match="too long"):
        parse(message)
