"""Who calls: the numbers and names of an INVITE, made comparable across a B2BUA.

PBXs rewrite numbers: `+49301110000`, `0049301110000`, `0301110000` are one caller. Digits are
compared from the right, so that prefixes and country codes do not matter (outcomes.md 6).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from functools import lru_cache

from sipwatch.sip import grammar
from sipwatch.sip.message import Message
from sipwatch.sip.uri import parse_uri

#: Digits that must agree from the right when both numbers are at least this long.
_SIGNIFICANT_DIGITS = 7
#: What is longer is no name of anybody, and would fill the caches.
_LONGEST_USER = 80
_LONGEST_VALUE = 256
_NOT_DIGITS = re.compile(r"[^0-9]")
_NUMBER = re.compile(r"\+?[0-9 ().-]+$")
#: Users that hide a number or stand for none.
_HIDDEN = frozenset(
    ("", "anonymous", "restricted", "unavailable", "unknown", "private", "asterisk", "freeswitch")
)

#: Stands for everybody who shows neither number nor name.
HIDDEN = "?"


@lru_cache(maxsize=2048)
def key_of(user: str) -> str:
    """A user part as a comparable key; empty when it hides who it is.

    Numbers become their last seven digits (all of them when shorter), names lower case.
    """
    user = user.strip().lower()
    if user in _HIDDEN:
        return ""
    if _NUMBER.match(user):
        digits = _NOT_DIGITS.sub("", user)
        if len(digits) >= _SIGNIFICANT_DIGITS:
            return digits[-_SIGNIFICANT_DIGITS:]
        return digits
    return user


def user_of(value: bytes) -> str:
    """The user part of a name-addr value."""
    # Without the tag, which is another in every call, the same value comes again and again.
    end = value.rfind(b">") + 1
    if end:
        value = value[:end]
    return _known_user(value) if len(value) <= _LONGEST_VALUE else _user(value)


def _user(value: bytes) -> str:
    start = value.find(b"sip:")
    # A search is much faster than `in`, which first asks whether the bytes are a number.
    if start >= 0 and value.find(b"%") < 0 and value.find(b'"', start) < 0:
        end = value.find(b"@", start)
        if 0 < end < start + _LONGEST_USER:
            return (
                value[start + 4 : end]
                .partition(b":")[0]
                .partition(b";")[0]
                .decode("utf-8", "replace")
            )
    return parse_uri(grammar.parse_name_addr(value).uri).user[:_LONGEST_USER]


_known_user = lru_cache(maxsize=2048)(_user)


def keys_of(message: Message) -> frozenset[str]:
    """All keys under which the caller of this INVITE is known."""
    few = message.few
    keys = set()
    for name in (b"from", b"p-asserted-identity", b"remote-party-id", b"p-preferred-identity"):
        for value in few.get(name, ()):
            key = key_of(user_of(value))
            if key:
                keys.add(key)
    return frozenset(keys)


def share_key(one: Iterable[str], other: Container[str]) -> bool:
    """Whether two are known under the same key."""
    for key in one:  # noqa: SIM110 - twice as fast as any(): it is asked for each pair of legs
        if key in other:
            return True
    return False


def display_of(message: Message) -> str:
    """The display name of From, for callers who hide their number; `HIDDEN` without one."""
    values = message.values(b"from")
    if not values:
        return HIDDEN
    name = grammar.parse_name_addr(values[0]).display.strip().lower()
    return HIDDEN if name in _HIDDEN else name


def target_of(message: Message) -> str:
    """The user part of the Request-URI: who is tried."""
    uri = message.request_uri
    return _known_target(uri) if len(uri) <= _LONGEST_VALUE else _target(uri)


def _target(uri: bytes) -> str:
    return _user(b"<" + uri + b">")


_known_target = lru_cache(maxsize=2048)(_target)
