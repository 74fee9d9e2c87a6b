"""The Reason header (RFC 3326): protocol, cause and text, as PBXs really write it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sipwatch.sip.grammar import parse_params


class Reason(NamedTuple):
    """One reason value. `protocol` is upper case (`SIP`, `Q.850`); `cause` None when absent."""

    protocol: str
    cause: int | None
    text: str


#: As much of a value is read: the texts of PBXs are short, and they are remembered.
_LONGEST = 512


def parse_reasons(values: list[bytes]) -> list[Reason]:
    """Reason values in their order; a value without a protocol is passed over.

    White space around the semicolons is legal (RFC 3261 25.1) and pjsip writes it.
    """
    reasons = []
    for value in values:
        reason = _parse(value[:_LONGEST])
        if reason is not None:
            reasons.append(reason)
    return reasons


@lru_cache(maxsize=1024)
def _parse(value: bytes) -> Reason | None:
    line = value.decode("utf-8", "replace")
    protocol, semicolon, rest = line.partition(";")
    protocol = protocol.strip().upper()
    if not protocol:
        return None
    params = parse_params(semicolon + rest)
    cause = params.get("cause", "")
    number = int(cause) if cause.isascii() and cause.isdigit() and len(cause) < 6 else None
    return Reason(protocol, number, params.get("text", ""))


def q850_cause(reasons: Sequence[Reason]) -> int | None:
    """The first Q.850 cause among `reasons`."""
    for reason in reasons:
        if reason.protocol == "Q.850" and reason.cause is not None:
            return reason.cause
    return None


def sip_cause(reasons: Sequence[Reason]) -> int | None:
    """The first SIP cause among `reasons`."""
    for reason in reasons:
        if reason.protocol == "SIP" and reason.cause is not None:
            return reason.cause
    return None
