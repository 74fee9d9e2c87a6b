"""SIP told from everything else by the first bytes of a payload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipwatch.net.recognise import BINARY, KIND, MEDIA, TEXT, is_keep_alive, is_tls, start_of

REQUEST = b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n"
STATUS = b"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP h\r\n\r\n"

#: Methods of the IANA registry.
METHODS = [
    "ACK",
    "BYE",
    "CANCEL",
    "INFO",
    "INVITE",
    "MESSAGE",
    "NOTIFY",
    "OPTIONS",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
    "UPDATE",
]


@pytest.mark.parametrize("method", METHODS)
def test_registered_methods_are_known(method: str) -> None:
    assert start_of(f"{method} sip:a@b SIP/2.0\r\n\r\n".encode()) == 0


@pytest.mark.parametrize(
    "payload",
    [
        STATUS,
        b"SERVICE sip:a@b SIP/2.0\r\n\r\n",
        b"x-my.method~ sip:a@b SIP/2.0\r\n\r\n",
        b"INVITE tel:+905551234567 SIP/2.0\r\n\r\n",
        b"PING sip:a b@c SIP/2.0\r\n\r\n",
        b"PING sip:a@b SIP/2.0",
        b"PING sip:a@b SIP/2.0 \n",
        b"PING sip:a@b sip/2.0\r\n",
        b"sip/2.0 200 OK\r\n\r\n",
        b"A" * 5000 + b" sip:a@b SIP/2.0\r\n",
        # A registered method whose version is damaged: the parser shall say so.
        b"INVITE sip:bob@example.com SIP/2,0\r\nVia: SIP/2.0/UDP h\r\n\r\n",
    ],
)
def test_what_is_sip(payload: bytes) -> None:
    assert start_of(payload) == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"S",
        b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nVia: SIP/2.0/UDP\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\n\r\n",
        b"INFO nothing to see",
        b"two words SIP",
        b" sip:a@b SIP/2.0\r\n",
        b"PING SIP/2.0\r\n",
        b"P(NG sip:a@b SIP/2.0\r\n",
        b"\x80\x00INVITE sip:a@b SIP/2.0\r\n",
        b"\0\0INVITE sip:a@b SIP/2.0\r\n",
        b"d1:ad2:id20:",
        b"a " * 4000,
        b"a" + b" " * 20_000,
    ],
)
def test_what_is_not(payload: bytes) -> None:
    assert start_of(payload) == -1


@pytest.mark.parametrize("message", [REQUEST, STATUS, b"PING sip:a@b SIP/2.0\r\n"])
@pytest.mark.parametrize("before", [b"\r\n", b"\n", b"\r\n\r\n\r\n"])
def test_line_ends_before_the_start_line_are_stepped_over(before: bytes, message: bytes) -> None:
    assert start_of(before + message) == len(before)


@pytest.mark.parametrize("payload", [b"", b"\r\n\r\n", b"\0", b"\0\0\0\0", b" \r\n"])
def test_keep_alives(payload: bytes) -> None:
    assert is_keep_alive(payload)
    assert start_of(payload) == -1


def test_media_is_no_keep_alive() -> None:
    assert not is_keep_alive(b"\x80\0\0\0")


def test_first_bytes_of_rtp_leave_at_once() -> None:
    assert all(KIND[first] == MEDIA for first in range(0x80, 0xC0))


def test_first_bytes_of_methods_are_text_and_of_tunnels_binary() -> None:
    assert {KIND[method.encode()[0]] for method in METHODS} == {TEXT}
    assert KIND[ord("S")] == KIND[ord("\r")] == KIND[ord("H")] == TEXT
    # GTP-U, VXLAN, Geneve, STUN
    assert KIND[0x30] == KIND[0x08] == KIND[0x00] == KIND[0x01] == BINARY


@given(st.binary(max_size=200))
def test_no_bytes_raise_and_the_offset_is_inside(payload: bytes) -> None:
    assert -1 <= start_of(payload) <= len(payload)


@pytest.mark.parametrize(
    ("payload", "tls"),
    [
        (b"\x16\x03\x01\x02\x00", True),
        (b"\x17\x03\x03", True),
        (b"\x16\x03", False),
        (b"", False),
        (b"\x16\x02\x01", False),
        (b"\x18\x03\x01", False),
        (REQUEST, False),
    ],
)
def test_tls_records(payload: bytes, tls: bool) -> None:
    assert is_tls(payload) is tls
