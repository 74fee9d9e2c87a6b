"""Header value grammar of RFC 3261 section 25: lists, quoted strings, name-addr, parameters.

Lenient on what real devices write, because a monitor must read what was sent; nothing here
raises on bad input: what makes no sense comes back empty.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PARAM = re.compile(
    r";\s*([^\s=;,\"<>]+)(?:\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;,\s\"<>]*))?", re.DOTALL
)
_DISPLAY_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class NameAddr(NamedTuple):
    """A From, To, Contact… value: display name, URI and the parameters behind it."""

    display: str
    uri: str
    #: Lower-case names; a parameter without a value maps to "".
    params: dict[str, str]


def text(value: bytes | None) -> str:
    """Header bytes as text: UTF-8 (section 25.1), undecodable bytes kept as U+FFFD."""
    return value.decode("utf-8", "replace") if value else ""


def split_commas(values: list[bytes], first: bool = False) -> list[bytes]:
    """Split header values at the commas between their list items (section 7.3.1).

    Commas in quoted strings and in angle brackets do not separate. With `first`, only the first
    item of the first value is returned (a list of one, possibly empty, value).
    """
    found: list[bytes] = []
    for value in values:
        if value.find(b",") < 0:
            found.append(value)
        else:
            found.extend(_split_value(value))
        if first:
            return found[:1] or [b""]
    return found or ([b""] if first else found)


def _split_value(value: bytes) -> list[bytes]:
    items: list[bytes] = []
    quoted = bracketed = False
    start = position = 0
    while position < len(value):
        char = value[position]
        if quoted:
            if char == 0x5C:
                position += 1
            elif char == 0x22:
                quoted = False
        elif char == 0x22:
            quoted = True
        elif char == 0x3C:
            bracketed = True
        elif char == 0x3E:
            bracketed = False
        elif char == 0x2C and not bracketed:
            items.append(value[start:position].strip())
            start = position + 1
        position += 1
    items.append(value[start:].strip())
    return [item for item in items if item]


def parse_params(value: str) -> dict[str, str]:
    """The `;name=value` parameters in `value`; quoted values are unquoted, first one wins."""
    params: dict[str, str] = {}
    for match in _PARAM.finditer(value):
        params.setdefault(match[1].lower(), unquote(match[2] or ""))
    return params


def unquote(value: str) -> str:
    """A quoted-string without its quotes and escapes; anything else as it is."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPE.sub(r"\1", value[1:-1])
    return value


def parse_name_addr(value: bytes) -> NameAddr:
    """Parse `"Display" <uri>;params` or `uri;params` (section 20.10)."""
    line = value.decode("utf-8", "surrogateescape").strip()
    display = ""
    quoted = _DISPLAY_QUOTED.match(line)
    start = 0
    if quoted:
        display = _ESCAPE.sub(r"\1", quoted[1])
        start = quoted.end()
    opening = line.find("<", start)
    if opening < 0:
        # addr-spec: without brackets every parameter belongs to the header (section 20.10).
        uri, semicolon, rest = line[start:].partition(";")
        return NameAddr(display, uri.strip(), parse_params(semicolon + rest))
    if not quoted:
        display = line[start:opening].strip()
    closing = line.find(">", opening)
    if closing < 0:
        return NameAddr(display, line[opening + 1 :].strip(), {})
    uri = line[opening + 1 : closing].strip()
    return NameAddr(display, uri, parse_params(line[closing + 1 :]))
