"""SIP messages for the tests of carriers, made by hand, none of our code in between."""

from __future__ import annotations

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8\r\n"
)


def request(
    method: bytes = b"INVITE",
    number: int = 1,
    body: bytes = b"",
    length: bytes | None = b"Content-Length",
    extra: bytes = b"",
) -> bytes:
    """A request; ``length`` is the name under which the body's length stands, None for none."""
    lines = [
        method + b" sip:200@10.0.0.2 SIP/2.0",
        b"Via: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bK%d" % number,
        b"From: <sip:100@10.0.0.1>;tag=a%d" % number,
        b"To: <sip:200@10.0.0.2>",
        b"Call-ID: call-%d" % number,
        b"CSeq: %d " % number + method,
    ]
    if extra:
        lines.append(extra)
    if length is not None:
        lines.append(length + b": %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def response(status: bytes = b"200 OK", number: int = 1, body: bytes = b"") -> bytes:
    """A response to the INVITE of that number."""
    return (
        b"SIP/2.0 " + status + b"\r\n"
        b"Via: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bK%d\r\n"
        b"From: <sip:100@10.0.0.1>;tag=a%d\r\n"
        b"To: <sip:200@10.0.0.2>;tag=b%d\r\n"
        b"Call-ID: call-%d\r\n"
        b"CSeq: %d INVITE\r\n"
        b"Content-Length: %d\r\n\r\n" % (number, number, number, number, number, len(body))
    ) + body
