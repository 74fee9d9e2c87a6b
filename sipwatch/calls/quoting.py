"""Which INVITE an ICMP unreachable quotes (outcomes.md section 4).

In this order: by the branch of its Via or by Call-ID, where the quote reaches them; by UDP length
and checksum or IP identification, which eight bytes of UDP hold (RFC 792); else the last INVITE
sent on that flow, unless something says that another datagram is quoted: an OPTIONS, a response or
media may go the same way.

Anybody can send an ICMP message. One that quotes what was never seen is nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from sipwatch.calls.types import Attempt, Report

#: Open attempts that are compared with one report, the newest first: a flood of reports must not
#: cost a walk through all calls each.
MOST_COMPARED = 1000

#: Bytes that tell an INVITE from all other methods (INFO begins alike).
_TELLING = 3

#: RFC 3261 section 20.8 and 20.42, with their short forms; white space may stand before the colon
#: (25.1), and a folded line before the value (7.3.1). The value must have ended: a quote may be cut
#: anywhere.
_CALL_ID = re.compile(
    rb"\n(?:call-id|i)[ \t]*:[ \t]*(?:\r?\n[ \t])?[ \t]*([^\r\n]*?)[ \t]*[\r\n]", re.IGNORECASE
)
_VIA = re.compile(rb"\n(?:via|v)[ \t]*:(?:[^\r\n,]|\r?\n[ \t])*[\r\n,]", re.IGNORECASE)
_BRANCH = re.compile(rb";\s*branch[ \t]*=[ \t]*(z9hG4bK[^\s;,]*)", re.IGNORECASE)


def quoted(
    report: Report,
    by_call_id: Mapping[bytes, Sequence[Attempt]],
    newest_first: Iterable[Attempt],
    last: Attempt | None,
) -> Attempt | None:
    """The attempt whose INVITE could not be delivered; ``last`` is the flow's last one."""
    text = report.payload.lstrip(b"\r\n")
    if not b"INVITE ".startswith(text[:7]) or (report.payload and not text):
        return None
    named = _CALL_ID.search(text)
    if named is not None:
        return _by_name(report, text, by_call_id.get(named[1], ()))
    if last is None or last.invite is None:
        return None
    for number, attempt in enumerate(newest_first):
        if number == MOST_COMPARED:
            break
        if _is_of_flow(attempt, report) and _is_numbered(attempt, report):
            return attempt
    if len(text) >= _TELLING or _may_be(last, report):
        return last
    return None


def _by_name(report: Report, text: bytes, legs: Sequence[Attempt]) -> Attempt | None:
    """Of the legs with the Call-ID of the quote the one that it is of.

    The branch tells, whatever NAT made of the addresses. Without one to compare (RFC 2543) they
    must be those of the leg, the destination at least.
    """
    top = _VIA.search(text)
    branch = _BRANCH.search(top[0]) if top is not None else None
    if branch is not None:
        return next((leg for leg in legs if leg.leg_branch == branch[1]), None)
    there = [leg for leg in legs if leg.destination == report.destination]
    return next((leg for leg in there if leg.source == report.source), there[0] if there else None)


def _is_of_flow(attempt: Attempt, report: Report) -> bool:
    """Whether its INVITE was seen to go that way; of others only an answer or a CANCEL was."""
    return (
        attempt.destination == report.destination
        and attempt.source == report.source
        and attempt.invite is not None
    )


def _is_numbered(attempt: Attempt, report: Report) -> bool:
    """Whether one of its transmissions has the numbers of the quoted datagram."""
    return any(
        _has_length(check, report)
        and ((ip_id > 0 and ip_id == report.ip_id) or (check >= 0 and check == report.udp_check))
        for ip_id, check in attempt.ip_ids
    )


def _has_length(check: int, report: Report) -> bool:
    """Whether nothing contradicts that the lengths of the datagrams are the same."""
    return check < 0 or report.udp_check < 0 or check >> 16 == report.udp_check >> 16


def _may_be(last: Attempt, report: Report) -> bool:
    """Whether nothing says that the quoted datagram is another one.

    An identification of zero says nothing (RFC 6864 section 4.1), and IPv6 has none. A datagram of
    the same length may be it then: checksums are filled in behind the capture where cards do that.
    """
    return any(
        _has_length(check, report) and (ip_id <= 0 or report.ip_id <= 0)
        for ip_id, check in last.ip_ids
    )
