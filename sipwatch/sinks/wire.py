"""Words from the wire as text: endpoints, parties and headers, each decoded once and remembered.

Values repeat from call to call, so every reader here keeps a bounded dictionary; on overflow it
is emptied, which costs a little time and never memory.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import NamedTuple, TypeVar

from sipwatch.calls.types import Attempt, Endpoint
from sipwatch.sip.grammar import parse_name_addr
from sipwatch.sip.message import Message
from sipwatch.sip.uri import parse_uri

_MAX_REMEMBERED = 2_048
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

#: The beginning of a Server or User-Agent line.
_SENDER = re.compile(rb"\n(?:[Ss][Ee][Rr][Vv][Ee][Rr]|[Uu][Ss][Ee][Rr]-[Aa][Gg][Ee][Nn][Tt])")


#: `"Display" <sip:user@host:port;params>` in ASCII, without escapes, passwords and headers.
_USUAL = re.compile(
    rb"""(?:"([ !#-\[\]-~]*)"|([A-Za-z0-9+][A-Za-z0-9+.-]*)|)[ ]*"""
    rb"""<sips?:([A-Za-z0-9+*#_.!~-]+)@([A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?:;[!#-;=A-~]*)?>"""
)


class Party(NamedTuple):
    """Who a From or To header names."""

    #: `user@host` of the URI; the number of a tel URI; empty when the header was unreadable.
    address: str
    user: str
    display: str


NOBODY = Party("", "", "")

_endpoints: dict[Endpoint, str] = {}
_parties: dict[bytes, Party] = {}
_users: dict[str, str] = {}


def endpoint_text(endpoint: Endpoint) -> str:
    """`10.9.0.1:5060`, `[2001:db8::1]:5060`."""
    found = _endpoints.get(endpoint)
    if found is None:
        address, port = endpoint
        text = f"[{IPv6Address(address)}]" if len(address) == 16 else ".".join(map(str, address))
        _remember(_endpoints, endpoint, found := f"{text}:{port}")
    return found


def party(value: bytes) -> Party:
    """The party that a From or To value names; its parameters (the tag) may be left out."""
    found = _parties.get(value)
    if found is None:
        found = _usual_party(value) or _any_party(value)
        _remember(_parties, value, found)
    return found


def _usual_party(value: bytes) -> Party | None:
    """What nearly every sender writes; None where the whole grammar is needed."""
    match = _USUAL.fullmatch(value)
    if match is None:
        return None
    quoted, plain, user, host = match.groups()
    user, host = user.decode(), host.decode().lower()
    return Party(f"{user}@{host}", user, (quoted or plain or b"").decode())


def _any_party(value: bytes) -> Party:
    name = parse_name_addr(value)
    uri = parse_uri(name.uri)
    return Party(_clean(uri.user_at_host), _clean(uri.user), _clean(name.display))


class HeaderName:
    """A header that is looked for in its usual spelling first, then in every legal one."""

    __slots__ = ("_needle", "_other", "_skip", "name")

    def __init__(self, name: str, *compact: str) -> None:
        self.name = name
        self._needle = b"\n" + name.encode() + b": "
        self._skip = len(self._needle)
        names = "|".join(re.escape(each) for each in (name, *compact))
        self._other = re.compile(rf"(?i)\n(?:{names})[ \t]*:".encode())

    def value(self, message: Message) -> bytes | None:
        """The first value, unfolded; None when there is no such header."""
        raw, stop = message.raw, message.head_end
        start = raw.find(self._needle, 0, stop)
        if start >= 0:
            # The last line ends where the head does.
            end = raw.find(b"\r", start, stop + 1)
            if end >= 0 and raw[end + 2 : end + 3] not in _FOLDED:
                value = raw[start + self._skip : end]
                if b"\n" not in value:  # some end lines with LF alone
                    return value
        elif self._other.search(raw, 0, stop) is None:
            return None
        return message.header(self.name)


#: What a line begins with that goes on with the one before (7.3.1).
_FOLDED = (b" ", b"\t")

FROM = HeaderName("From", "f")
TO = HeaderName("To", "t")
USER_AGENT = HeaderName("User-Agent")
SERVER = HeaderName("Server")


def party_value(message: Message, name: HeaderName) -> bytes:
    """The raw value of `From` or `To`, as far as possible without the tag behind the bracket."""
    value = name.value(message) or b""
    bracket = value.rfind(b">")
    return value[: bracket + 1] if bracket >= 0 else value


def header_text(message: Message | None, name: HeaderName) -> str | None:
    """The first value of a header as text, None when there is no such header or nothing in it."""
    value = None if message is None else name.value(message)
    return value.strip().decode("utf-8", "replace") if value else None


def last_response(attempt: Attempt) -> Message | None:
    """The final response that counts: the 2xx of an answered attempt, else the last final."""
    return attempt.answer if attempt.answered_at is not None else attempt.final


def server_value(attempt: Attempt) -> bytes | None:
    """Who answered: Server, else User-Agent, of the final response, else of the first ones."""
    for message in (last_response(attempt), attempt.ringing, attempt.provisional):
        if message is not None:
            value = _sender(message)
            if value:
                return value
    return None


def server_of(attempt: Attempt) -> str | None:
    """The same as text."""
    value = server_value(attempt)
    return value.decode("utf-8", "replace") if value else None


def _sender(message: Message) -> bytes | None:
    if _SENDER.search(message.raw, 0, message.head_end) is None:
        return None
    return SERVER.value(message) or USER_AGENT.value(message)


def speaker(attempt: Attempt) -> Message | None:
    """Any message of the attempt that carries From and To: the INVITE when there is one."""
    return (
        attempt.invite
        or attempt.final
        or attempt.answer
        or attempt.ringing
        or attempt.provisional
        or attempt.cancel
    )


def caller_of(attempt: Attempt) -> Party:
    """Who the From header names."""
    message = speaker(attempt)
    return NOBODY if message is None else party(party_value(message, FROM))


def called_of(attempt: Attempt) -> Party:
    """Who the To header names."""
    message = speaker(attempt)
    return NOBODY if message is None else party(party_value(message, TO))


def request_uri_of(attempt: Attempt) -> str | None:
    """The Request-URI of the INVITE, or of the CANCEL when the INVITE was not captured."""
    message = attempt.invite or attempt.cancel
    return None if message is None else message.request_uri.decode("utf-8", "replace")


def user_in_uri(uri: str) -> str:
    """The user part of a URI, the number of a tel URI; empty without one."""
    found = _users.get(uri)
    if found is None:
        _remember(_users, uri, found := _clean(parse_uri(uri).user))
    return found


def _clean(value: str) -> str:
    """Without the lone surrogates that stand for undecodable bytes."""
    if value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _remember(memory: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    if len(memory) >= _MAX_REMEMBERED:
        memory.clear()
    memory[key] = value
