"""The parser against messages whose meaning is known, and against bytes that mean nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from messages_strategy import Meant, headers_of, meant, spelled, start_line

from sipwatch.sip.message import Message, SipError, method_of, parse, render

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
def test_the_method_at_a_glance_is_the_parsed_one_or_unknown(
    data: st.DataObject, what: Meant
) -> None:
    raw = data.draw(spelled(what, data.draw(headers_of(what))))
    assert method_of(raw) in ("", what.method)


@quick
@given(st.binary(max_size=600))
def test_any_bytes_are_a_message_or_a_named_error(data: bytes) -> None:
    assert read_or_refused(data)
    assert isinstance(method_of(data), str)


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
    assert read_or_refused(bytes(raw))


@quick
@given(st.integers(0, len(VALID)))
def test_a_message_that_was_cut_short_is_a_message_or_a_named_error(length: int) -> None:
    assert read_or_refused(VALID[:length])
