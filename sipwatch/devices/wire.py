"""What a REGISTER or OPTIONS says, read from its bytes at a glance.

These messages are many and alike, so that the usual spelling is found by a few searches and what
repeats is remembered; everything else that RFC 3261 allows goes through `parse`.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from sipwatch.devices.types import Endpoint
from sipwatch.sip import grammar
from sipwatch.sip.message import SipError, parse
from sipwatch.sip.uri import parse_uri

_FOLD = (b" ", b"\t")
#: Longer values are no names of this world: they are read but never remembered.
LONGEST = 512
_DEFAULT_PORT = 5060


class Contact(NamedTuple):
    """One Contact value of a REGISTER or of its 2xx (RFC 3261 20.10)."""

    #: `user@host:port` as written, without scheme and parameters; `*` for all contacts.
    key: bytes
    #: The expires parameter in seconds; None without one.
    expires: int | None
    #: +sip.instance, empty without one.
    instance: bytes


def transaction_of(payload: bytes) -> bytes:
    """What a request and its responses share: the top Via branch (RFC 3261 17.1.3).

    Without the cookie a branch is not unique (some proxies ping with `branch=0`): then it is
    CSeq and Call-ID. Empty when nothing helps.
    """
    start = payload.find(b";branch=z9hG4bK") + 8
    if start > 8:
        end = payload.find(b"\r", start)
        if end > 0:
            branch = payload[start:end].partition(b";")[0].strip()
            return branch if len(branch) <= LONGEST else branch[:LONGEST]
    try:
        message = parse(payload)
    except SipError:
        return b""
    if message.branch.startswith(b"z9hG4bK"):
        return message.branch[:LONGEST]
    return b"%d %b" % (message.cseq, message.call_id[:LONGEST])


def value_of(payload: bytes, name: bytes) -> bytes:
    """The first value of a header with this full name; empty without one."""
    value = _usual_value(payload, b"\n" + name + b": ")
    if value is not None:
        return value
    try:
        return parse(payload).header(name.decode()) or b""
    except SipError:
        return b""


def _usual_value(payload: bytes, usual: bytes) -> bytes | None:
    """The value of a header that is written so, and in one line; None where it takes more."""
    start = payload.find(usual)
    if start < 0:
        return None
    end = payload.find(b"\r", start)
    if end < 0 or payload[end + 2 : end + 3] in _FOLD:
        return None
    return payload[start + len(usual) : end].strip()


def contact_line(payload: bytes) -> bytes:
    """The value of the only Contact line, in its usual spelling; empty where it takes more."""
    start = payload.find(b"\nContact: ")
    if start < 0:
        return b""
    end = payload.find(b"\r", start)
    if end < 0 or payload[end + 2 : end + 3] in _FOLD:
        return b""
    if payload.find(b"\nContact:", end) >= 0 or payload.find(b"\nm:") >= 0:
        return b""
    return payload[start + 10 : end]


def contacts_of(payload: bytes) -> tuple[Contact, ...]:
    """All Contact values in their order."""
    line = contact_line(payload)
    if line:
        return contacts_in(line)
    if b"ontact" not in payload and b"\nm" not in payload and b"\nM" not in payload:
        return ()
    try:
        return contacts_in(b",".join(parse(payload).headers("contact")))
    except SipError:
        return ()


def contacts_in(line: bytes) -> tuple[Contact, ...]:
    """The contacts of a header value."""
    return _known_contacts(line) if len(line) <= LONGEST else _contacts(line)


def _contacts(line: bytes) -> tuple[Contact, ...]:
    return tuple(map(_contact, grammar.split_commas([line]))) if line else ()


_known_contacts = lru_cache(maxsize=16_384)(_contacts)


def _contact(value: bytes) -> Contact:
    if value.strip() == b"*":
        return Contact(b"*", None, b"")
    name = grammar.parse_name_addr(value)
    instance = name.params.get("+sip.instance", "").encode("utf-8", "surrogateescape")
    uri = name.uri.encode("utf-8", "surrogateescape")
    return Contact(contact_key(uri), seconds_in(name.params.get("expires", "")), instance)


def contact_key(uri: bytes) -> bytes:
    """`user@host:port` of a URI: what two spellings of one contact share."""
    return uri.partition(b":")[2].partition(b"?")[0].partition(b";")[0]


def user_in(uri: bytes) -> bytes:
    """The user part of a URI as it is written; empty without one."""
    scheme, colon, rest = uri.partition(b":")
    user, at, _ = (rest if colon else scheme).partition(b"@")
    return user.partition(b";")[0][:LONGEST] if at else b""


def user_of(uri: bytes) -> str:
    """The user part of a URI as text, its escapes undone."""
    user = user_in(uri)
    if user.find(b"%") >= 0 or user.find(b":") >= 0:
        return parse_uri(uri.decode("utf-8", "replace")).user
    return user.decode("utf-8", "replace")


def from_user_of(payload: bytes) -> str:
    """The user part of From."""
    return parse_uri(grammar.parse_name_addr(value_of(payload, b"From")[:LONGEST]).uri).user


def seconds_in(text: str) -> int | None:
    """Delta-seconds (20.19); None when this is no number."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None


def to_of(payload: bytes) -> bytes:
    """The To value without the parameters behind the bracket, as far as there is one."""
    value = _usual_value(payload, b"\nTo: ")
    if value is None:
        value = value_of(payload, b"To")
    bracket = value.rfind(b">")
    return value[: bracket + 1] if bracket >= 0 else value


def aor_of(payload: bytes) -> tuple[str, str]:
    """The address-of-record that the To header names: `user@host` and the user.

    Empty where it is longer than any that is used.
    """
    value = to_of(payload)
    return _aor(value) if len(value) <= LONGEST else ("", "")


@lru_cache(maxsize=16_384)
def _aor(value: bytes) -> tuple[str, str]:
    uri = parse_uri(grammar.parse_name_addr(value).uri)
    aor, user = uri.user_at_host, uri.user
    if not aor.isascii():
        # Undecodable bytes would not survive being written.
        aor = aor.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        user = user.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return aor, user


def public_of(payload: bytes) -> Endpoint | None:
    """Where the registrar saw the request come from: received and rport of the top Via.

    RFC 3261 18.2.1, RFC 3581 4. None without an rport value.
    """
    start = payload.find(b"\nVia: ") + 6
    end = payload.find(b"\r", start)
    port = _parameter(payload, b";rport=", start, end)
    if start < 6 or not port:
        return None
    host = _parameter(payload, b";received=", start, end)
    if not host:
        sent_by = payload[start:end].partition(b";")[0].split()
        host = sent_by[-1] if sent_by else b""
    return _seen_at(host, port) if len(host) <= LONGEST else None


def rport_of(payload: bytes) -> bytes:
    """The rport value of the top Via as it is written; empty without one."""
    start = payload.find(b"\nVia: ")
    return _parameter(payload, b";rport=", start, payload.find(b"\r", start + 1))


def _parameter(payload: bytes, name: bytes, start: int, end: int) -> bytes:
    """The value of a Via parameter between two places, to the next separator; empty without."""
    found = payload.find(name, start, end)
    if found < 0:
        return b""
    found += len(name)
    stop = payload.find(b";", found, end)
    value = payload[found : stop if stop >= 0 else end]
    return value.partition(b",")[0].strip()


@lru_cache(maxsize=16_384)
def _seen_at(host: bytes, port: bytes) -> Endpoint | None:
    number = seconds_in(port.decode("utf-8", "replace"))
    address = _address(parse_uri("sip:" + _bracketed(host.decode("utf-8", "replace"))).host)
    return None if address is None or not number or number > 65_535 else (address, number)


def _bracketed(host: str) -> str:
    """An IPv6 address as a URI has it; `received` may come without brackets (RFC 5118 4.5)."""
    return host if host.startswith("[") or host.count(":") < 2 else f"[{host}]"


@lru_cache(maxsize=16_384)
def endpoint_of(contact: bytes) -> Endpoint | None:
    """The address and port of a contact; None when it names a host."""
    uri = parse_uri("sip:" + contact.decode("utf-8", "replace"))
    address = _address(uri.host)
    return None if address is None else (address, uri.port or _DEFAULT_PORT)


def _address(host: str) -> bytes | None:
    try:
        return ip_address(host.strip("[]")).packed
    except ValueError:
        return None
