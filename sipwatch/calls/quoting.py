"""Which INVITE an ICMP unreachable quotes (outcomes.md section 4).

In this order: by Call-ID, where the quote reaches it; by IP identification or UDP length and
checksum, which eight bytes of UDP hold (RFC 792); else the last INVITE sent on that flow, unless
the numbers that are there say that another datagram is quoted: an OPTIONS goes the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from sipwatch.calls.types import Attempt, Report

#: Open attempts that are compared with one report, the newest first: a flood of reports must not
#: cost a walk through all calls each.
MOST_COMPARED = 1000

#: RFC 3261 section 20.8, with its short form; white space may stand before the colon (25.1).
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:([^\r\n]*)\r", re.IGNORECASE)


def quoted(
    report: Report,
    by_call_id: Mapping[bytes, Sequence[Attempt]],
    newest_first: Iterable[Attempt],
    last: Attempt | None,
) -> Attempt | None:
    """The attempt whose INVITE could not be delivered; ``last`` is the flow's last one."""
    payload = report.payload
    is_text = payload[:1].isalpha()
    if is_text and not b"INVITE ".startswith(payload[:7]):
        return None
    named = _CALL_ID.search(payload)
    if named is not None:
        legs = by_call_id.get(named[1].strip(), ())
        return next((leg for leg in legs if leg.destination == report.destination), None)
    if last is None:
        return None
    for number, attempt in enumerate(newest_first):
        if number == MOST_COMPARED:
            break
        if _is_of_flow(attempt, report) and _is_numbered(attempt, report):
            return attempt
    if is_text or _may_be(last, report):
        return last
    return None


def _is_of_flow(attempt: Attempt, report: Report) -> bool:
    return attempt.destination == report.destination and attempt.source == report.source


def _is_numbered(attempt: Attempt, report: Report) -> bool:
    """Whether one of its transmissions has the numbers of the quoted datagram."""
    return any(
        (ip_id >= 0 and ip_id == report.ip_id) or (check >= 0 and check == report.udp_check)
        for ip_id, check in attempt.ip_ids
    )


def _may_be(last: Attempt, report: Report) -> bool:
    """Whether nothing says that the quoted datagram is another one.

    Without an identification (IPv6) a datagram of the same length may be it: checksums are filled
    in behind the capture where cards do that.
    """
    if report.ip_id >= 0:
        return False
    if report.udp_check < 0:
        return True
    return any(check < 0 or check >> 16 == report.udp_check >> 16 for _, check in last.ip_ids)
