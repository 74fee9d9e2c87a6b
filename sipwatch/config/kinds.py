"""Kinds of values that keys take: how to read them from TOML, and from an environment variable."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sipwatch.config.errors import WrongValue

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Kind(NamedTuple):
    """One kind of value."""

    #: What is expected, to end the sentence "expected …".
    expected: str
    #: The typed value of what TOML gives. Raises WrongValue.
    parse: Callable[[Any], Any]
    #: What TOML would have given for the text of an environment variable. Raises ValueError.
    from_text: Callable[[str], Any]


class HeaderRule(NamedTuple):
    """A SIP header and what its value must match; without a pattern its presence is enough."""

    name: str
    pattern: re.Pattern[str] | None


def _text(value: str) -> str:
    return value


def _number(value: str) -> float:
    return int(value) if re.fullmatch(r"[+-]?\d+", value.strip()) else float(value)


def _boolean(value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    try:
        return words[value.strip().lower()]
    except KeyError:
        raise ValueError(value) from None


def _split(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def inline(value: str) -> Any:
    """The value of TOML text, for tables and lists of tables."""
    return tomllib.loads(f"value = {value}")["value"]


def number(expected: str, low: float, high: float, *, above: bool = False) -> Kind:
    """A number within bounds; with `above` the lower bound itself is excluded."""

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongValue(expected, value)
        if not low <= value <= high or (above and value == low):
            raise WrongValue(expected, value)
        return float(value)

    return Kind(expected, parse, _number)


def integer(expected: str, low: int, high: int) -> Kind:
    """A whole number within bounds."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise WrongValue(expected, value)
        return value

    return Kind(expected, parse, _number)


def string(expected: str = "a text", pattern: str = r"[^\x00-\x1f\x7f]+") -> Kind:
    """A text that matches `pattern` as a whole."""
    accepted = re.compile(pattern)

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not accepted.fullmatch(value):
            raise WrongValue(expected, value)
        return value

    return Kind(expected, parse, _text)


def choice(*names: str) -> Kind:
    """One of a few words."""
    expected = "one of " + ", ".join(f'"{name}"' for name in names)

    def parse(value: Any) -> str:
        if value not in names:
            raise WrongValue(expected, value)
        return str(value)

    return Kind(expected, parse, _text)


def from_string(expected: str, read: Callable[[str], Any]) -> Kind:
    """What `read` makes of a text; its ValueError and KeyError mean that the text is wrong."""

    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            raise WrongValue(expected, value)
        try:
            return read(value)
        except (ValueError, KeyError, re.error):
            raise WrongValue(expected, value) from None

    return Kind(expected, parse, _text)


def list_of(kind: Kind) -> Kind:
    """A list, read as a tuple without repetitions, in its order."""
    expected = f"a list, each item {kind.expected}"

    def parse(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise WrongValue(expected, value)
        items = []
        for position, item in enumerate(value):
            try:
                items.append(kind.parse(item))
            except WrongValue as error:
                raise error.under(position) from None
        return tuple(dict.fromkeys(items))

    def from_text(value: str) -> list[Any]:
        return [kind.from_text(item) for item in _split(value)]

    return Kind(expected, parse, from_text)


def table_of(names: Kind, values: Kind) -> Kind:
    """A table whose keys are free within `names`, read as a dictionary in its order."""
    expected = f"a table from {names.expected} to {values.expected}"

    def parse(value: Any) -> Mapping[Any, Any]:
        if not isinstance(value, dict):
            raise WrongValue(expected, value)
        found = {}
        for name, item in value.items():
            try:
                found[names.parse(name)] = values.parse(item)
            except WrongValue as error:
                raise error.under(name) from None
        return found

    return Kind(expected, parse, inline)


def _network(value: str) -> Network:
    return ip_network(value, strict=True)


def _date(value: Any) -> date:
    # TOML has dates of its own: 2026-04-23 without quotes is as good.
    if type(value) is date:
        return value
    return date.fromisoformat(value)


def _parse_date(value: Any) -> date:
    try:
        return _date(value)
    except (TypeError, ValueError):
        raise WrongValue('a date such as "2026-04-23"', value) from None


def _zone(value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(value) from error


def _header_rule(value: str) -> HeaderRule:
    name, colon, pattern = value.partition(":")
    name = name.strip().lower()
    if not re.fullmatch(r"[a-z0-9.!%*_+`'~-]+", name):
        raise ValueError(value)
    return HeaderRule(name, re.compile(pattern.strip(), re.IGNORECASE) if colon else None)


def _listen(value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(value)
    if ":" in bare and bare == host:
        raise ValueError(value)
    ip_address(bare)
    return bare, int(port)


def _parse_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongValue("true or false", value)
    return value


BOOLEAN = Kind("true or false", _parse_boolean, _boolean)

ADDRESS = from_string('an IP address such as "10.9.0.1"', ip_address)
NETWORK = from_string('a network such as "10.9.0.0/24", without host bits', _network)
PORT = integer("a port from 1 to 65535", 1, 65_535)
PATTERN = from_string('a regular expression such as "^1[0-9]{2}$"', re.compile)
ZONE = from_string('an IANA time zone such as "Europe/Istanbul"', _zone)
DATE = Kind('a date such as "2026-04-23"', _parse_date, _text)
HEADER_RULE = from_string('a header, or a header and a pattern ("X-Group: ^vip")', _header_rule)
HEADER_NAME = string('a header name such as "X-Call-ID"', r"[A-Za-z0-9.!%*_+`'~-]{1,128}")
LISTEN = from_string('an address and a port such as "127.0.0.1:9742" or "[::1]:9742"', _listen)
NAME = string("a name of up to 64 letters, digits and -_. signs", r"[\w.-]{1,64}")
TEXT = string()
