"""The parser against messages whose meaning is known, and against bytes that mean nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from messages_strategy import Meant, headers_of, meant, spelled, start_line

from sipwatch.sip.message import (
    FEW_NAMES,
    Message,
    SipError,
    parse,
    parse_unless,
    render,
)

quick = settings(max_examples=80, deadline=None)
thorough = settings(max_examples=250, deadline=None)
VALID = render(
    b"INVITE sip:101@10.0.0.1 SIP/2.0",
    [
        (b"Via", b"SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK77"),
        (b"From", b'"x" <sip:a@b>;tag=1'),
        (b"To", b"<sip:101@10.0.0.1>"),
        (b"Call-ID", b"one@two"),
        (b"CSeq", b"1 INVITE"),
        (b"Reason", b'SIP;cause=200;text="x", Q.850;cause=26'),
        (b"Contact", b"<sip:a@b>"),
    ],
    b"v=0\r\n",
)


def said(message: Message) -> Meant:
    return Meant(
        message.method, message.status, message.call_id, message.cseq,
        message.from_tag, message.to_tag, message.branch,
    )  # fmt: skip


def ask_for_everything(message: Message) -> None:
    """Whatever a later stage may ask of a message."""
    assert message.index is message.index
    for name in ("via", "contact", "reason", "session-expires", "content-length", "user-agent"):
        message.header(name)
        message.headers(name)
        message.glimpse(name.title())
    message.reasons()
    assert isinstance(message.body, bytes)
    assert isinstance(message.has_sdp, bool)
    assert isinstance(message.request_uri, bytes)
    assert isinstance(message.reason_phrase, str)
    assert repr(message).startswith("<Message ")


def read_or_refused(raw: bytes) -> str:
    """`read`, or the reason why it is no message."""
    try:
        message = parse(raw)
    except SipError as error:
        return error.reason
    ask_for_everything(message)
    return "read"


@quick
@given(st.data(), meant())
def test_what_was_printed_is_parsed_back(data: st.DataObject, what: Meant) -> None:
    headers = data.draw(headers_of(what))
    body = data.draw(st.binary(max_size=60))
    message = parse(render(start_line(what), headers, body))
    assert said(message) == what
    assert message.body == body
    ask_for_everything(message)


@quick
@given(st.data(), meant())
def test_order_case_compact_names_and_folding_change_nothing(
    data: st.DataObject, what: Meant
) -> None:
    headers = data.draw(headers_of(what))
    message = parse(data.draw(spelled(what, headers)))
    assert said(message) == what
    assert message.headers("supported") == [b"timer", b"replaces"]


@quick
@given(st.data(), meant())
def test_of_methods_that_are_not_wanted_the_method_is_read_or_all(
    data: st.DataObject, what: Meant
) -> None:
    raw = data.draw(spelled(what, data.draw(headers_of(what))))
    found = parse_unless(raw, frozenset((what.method,)))
    assert found == what.method if isinstance(found, str) else said(found) == what
    wanted = parse_unless(raw, frozenset(("OPTIONS", "MESSAGE")) - {what.method})
    assert isinstance(wanted, Message)
    assert said(wanted) == what


def assert_few_are_of_the_index(raw: bytes) -> None:
    """What is picked out of a head is what an index of all of it says."""
    picked, indexed = parse(raw), parse(raw)
    for name in FEW_NAMES:
        assert picked.values(name) == indexed.index.get(name, [])


ASKED = st.sampled_from(
    [
        b"Authorization: Digest a=b",
        b"proxy-authorization : x",
        b"REPLACES:one;two",
        b"b: <sip:x@y>",
        b"B\t:  <sip:z@y> ",
        b"f: again",
        b"P-Asserted-Identity: <sip:1@h>,\r\n\t<tel:+1>",
        b"Session-ID: abc\r;remote=0",
        b"User-Agent:",
        b"User-Agents: none of ours",
        b"X-CID: 1\n folded",
        b"Diversion <x>",
        b"x-Call-ID: y: z",
    ]
)


@thorough
@given(st.lists(ASKED, max_size=5), st.sampled_from([b"\r\n", b"\n"]), st.integers(0, 7))
def test_headers_that_are_picked_out_are_those_of_the_index(
    lines: list[bytes], line_end: bytes, place: int
) -> None:
    head = VALID.split(b"\r\n\r\n")[0].split(b"\r\n")
    head[1 + place : 1 + place] = lines
    assert_few_are_of_the_index(line_end.join(head) + 2 * line_end + b"f: in the body")


@quick
@given(st.binary(max_size=600))
def test_any_bytes_are_a_message_or_a_named_error(data: bytes) -> None:
    assert read_or_refused(data)


@thorough
@given(st.data())
def test_damage_is_a_message_or_a_named_error(data: st.DataObject) -> None:
    raw = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        what = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if what == "flip":
            raw[at] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del raw[at : at + data.draw(st.integers(1, 40))]
        elif what == "insert":
            raw[at:at] = data.draw(st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b"\xff", b'"']))
        else:
            raw[at:at] = raw[at : at + data.draw(st.integers(1, 40))]
        if not raw:
            break
    if read_or_refused(bytes(raw)) == "read":
        assert_few_are_of_the_index(bytes(raw))


@quick
@given(st.integers(0, len(VALID)))
def test_a_message_that_was_cut_short_is_a_message_or_a_named_error(length: int) -> None:
    assert read_or_refused(VALID[:length])
