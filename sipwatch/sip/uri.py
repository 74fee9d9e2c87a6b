"""SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966)."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_TEL_SEPARATORS = re.compile(r"[-.() ]")


class Uri(NamedTuple):
    """The parts of a URI; `host` keeps the brackets of an IPv6 reference, `port` 0 = none."""

    scheme: str
    user: str
    host: str
    port: int
    params: str

    @property
    def user_at_host(self) -> str:
        """`user@host`, the host alone without a user, the number of a tel URI."""
        if not self.host:
            return self.user
        return f"{self.user}@{self.host}" if self.user else self.host


def parse_uri(value: str) -> Uri:
    """Parse a URI. Never raises: what is not understood comes back as the host."""
    scheme, colon, rest = value.strip().partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in ("sip", "sips", "tel"):
        return Uri("", "", value.strip(), 0, "")
    if scheme == "tel":
        number, _, params = rest.partition(";")
        return Uri(scheme, _TEL_SEPARATORS.sub("", number), "", 0, params)
    rest = rest.partition("?")[0] if "@" not in rest.partition("?")[2] else rest
    user, at, rest = rest.rpartition("@")
    if at:
        # A password is deprecated (19.1.1) and nobody's business; user parameters are not a name.
        user = user.partition(":")[0].partition(";")[0]
        user = _unescape(user)
    host, _, params = rest.partition(";")
    host = host.partition("?")[0]
    port = 0
    if host.startswith("["):
        host, bracket, after = host.partition("]")
        host += bracket
        port = _port(after.removeprefix(":"))
    elif ":" in host:
        host, _, digits = host.partition(":")
        port = _port(digits)
    return Uri(scheme, user, host.lower(), port, params)


def _unescape(user: str) -> str:
    if "%" not in user:
        return user
    return unquote_to_bytes(user.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def _port(digits: str) -> int:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
