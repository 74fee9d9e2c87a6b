"""Messages whose meaning is known, in every spelling that RFC 3261 allows (hypothesis)."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

CRLF = b"\r\n"
_TOKEN = st.text("ABCdef0123456789.-_~!*'%", min_size=1, max_size=20).map(str.encode)
_WORD = st.text("ABCdef0123456789.-_~@{}?/[]<>:'\"\\", min_size=1, max_size=30).map(str.encode)
_SPACE = st.sampled_from([b"", b" ", b"\t", b"  "])
COMPACT = {b"Via": b"v", b"From": b"f", b"To": b"t", b"Call-ID": b"i", b"Contact": b"m",
           b"Content-Length": b"l", b"Supported": b"k"}  # fmt: skip


class Meant(NamedTuple):
    """What a message says of its transaction."""

    method: str
    status: int
    call_id: bytes
    cseq: int
    from_tag: bytes
    to_tag: bytes
    branch: bytes


_METHOD = st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "REFER"])
_DISPLAY = st.one_of(
    st.just(b""),
    st.just(b"Anna "),
    st.text(max_size=12).map(
        lambda t: b'"' + "".join(c for c in t if c.isprintable()).replace("\\", "\\\\")
        .replace('"', '\\"').encode() + b'" '
    ),
    st.just(b'"a;tag=wrong <sip:x@y>" '),
)  # fmt: skip
_URI = st.sampled_from(
    [b"sip:101@10.0.0.1", b"sips:a.b@[2001:db8::1]:5061;transport=tls", b"tel:+90-532-111",
     b"sip:user;tag=no@host", b"sip:%61%6c@example.com;lr"]
)  # fmt: skip


@st.composite
def meant(draw: st.DrawFn) -> Meant:
    return Meant(
        draw(_METHOD),
        draw(st.one_of(st.just(0), st.integers(100, 699))),
        draw(_WORD),
        draw(st.integers(0, 2**31 - 1)),
        draw(_TOKEN),
        draw(st.one_of(st.just(b""), _TOKEN)),
        draw(st.one_of(_TOKEN.map(lambda t: b"z9hG4bK" + t), st.just(b""))),
    )


@st.composite
def headers_of(draw: st.DrawFn, what: Meant) -> list[tuple[bytes, bytes]]:
    """The headers of such a message, in their usual order and spelling."""
    branch = b";branch=" + what.branch if what.branch else b""
    to_tag = b";tag=" + what.to_tag if what.to_tag else b""
    address = b"SIP/2.0/UDP 10.0.0.1:5060"
    headers = [(b"Via", address + b";rport" + branch)]
    headers += [(b"Via", address + b";branch=z9hG4bKother")] * draw(st.integers(0, 2))
    headers += [
        (b"From", draw(_DISPLAY) + b"<" + draw(_URI) + b">;tag=" + what.from_tag),
        (b"To", draw(_DISPLAY) + b"<" + draw(_URI) + b">" + to_tag),
        (b"Call-ID", what.call_id),
        (b"CSeq", str(what.cseq).encode() + b" " + what.method.encode()),
        (b"Supported", b"timer, replaces"),
        (b"X-Note", b"a: b; tag=none, branch=none"),
    ]
    return headers


def start_line(what: Meant) -> bytes:
    if what.status:
        return b"SIP/2.0 %d Whatever it is" % what.status
    return what.method.encode() + b" sip:101@10.0.0.1 SIP/2.0"


def _any_case(draw: st.DrawFn, name: bytes) -> bytes:
    return draw(st.sampled_from([name, name.upper(), name.lower(), name.swapcase()]))


def _folded(value: bytes, where: int) -> bytes:
    """Fold at a space of the value, if there is one (7.3.1)."""
    spaces = [i for i, byte in enumerate(value) if byte == 0x20]
    if not spaces or b'"' in value:
        return value
    at = spaces[where % len(spaces)]
    return value[:at] + CRLF + b" " + value[at + 1 :]


@st.composite
def spelled(draw: st.DrawFn, what: Meant, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The same headers in another order and spelling, with a body."""
    vias = [h for h in headers if h[0] == b"Via"]
    others = draw(st.permutations([h for h in headers if h[0] != b"Via"]))
    at = draw(st.integers(0, len(others)))
    lines = [start_line(what)]
    for name, value in [*others[:at], *vias, *others[at:]]:
        name = COMPACT[name] if name in COMPACT and draw(st.booleans()) else name
        name = _any_case(draw, name)
        if draw(st.booleans()) and name not in (b"Call-ID", b"i", b"I"):
            value = _folded(value, draw(st.integers(0, 9)))
        lines.append(name + draw(_SPACE) + b":" + draw(_SPACE) + value + draw(_SPACE))
    body = draw(st.binary(max_size=40))
    return CRLF.join(lines) + CRLF + CRLF + body
