"""The closed lists that label values come from: nothing that was read off the wire is one."""

from __future__ import annotations

import re
from typing import get_args

from sipwatch.calls.types import Direction
from sipwatch.outcomes.taxonomy import OUTCOMES

OTHER = "other"
NONE = "none"

#: Methods of the IANA registry "Session Initiation Protocol (SIP) Parameters".
METHODS: tuple[str, ...] = (
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "UPDATE",
    "INFO",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "PUBLISH",
)
METHOD_LABELS = (*METHODS, OTHER)
_METHODS = frozenset(METHODS)

#: Status to label; what is not among them is `other`.
_CODES: dict[int, str] = {code: str(code) for code in range(100, 700)}

DIRECTIONS: tuple[str, ...] = get_args(Direction)
#: Directions of what has to do with a configured peer, which is always outside.
PEER_DIRECTIONS: tuple[str, ...] = ("inbound", "outbound")

ATTEMPT_OUTCOMES: tuple[str, ...] = tuple(o.name for o in OUTCOMES if o.level != "call")
CALL_OUTCOMES: tuple[str, ...] = tuple(o.name for o in OUTCOMES)
CONFIDENCES = ("explicit", "correlated", "inferred")
#: Outcomes of which nothing is claimed, and therefore with no confidence.
UNCERTAIN = frozenset(("in_progress", "incomplete"))

#: The final status that an outcome mostly has: the series that exist from the start.
USUAL_CODE: dict[str, str] = {
    "answered": "200",
    "agent_busy": "486",
    "no_answer": "487",
    "declined": "603",
    "device_not_responding": NONE,
    "connection_timeout": NONE,
    "unavailable": "480",
    "redirected": "487",
    "abandoned": "487",
    "briefly_abandoned": "487",
    "rejection_list": "603",
    "not_found": "404",
    "unauthorized": "403",
    "not_acceptable": "488",
    "server_failure": "503",
    "other_failure": "400",
    "in_progress": NONE,
    "incomplete": NONE,
}

#: How a conversation ended (outcomes.md section 9).
ENDS = (
    "caller_hangup",
    "callee_hangup",
    "media_timeout",
    "session_timer",
    "transferred",
    "lost",
    "open",
)

#: Which of the guide's situations explains a technical outcome (outcomes.md section 11).
CAUSE_HINTS = (
    "registration_expired",
    "registered_but_silent",
    "nat_binding_lost",
    "device_went_away",
    "never_seen",
    "port_closed",
    "slow_network",
    "media_lost",
)

_AGENT = re.compile(r"[A-Za-z0-9+*#._~-]{1,64}")


def method_label(method: str) -> str:
    """The method, or `other`."""
    return method if method in _METHODS else OTHER


def code_label(status: int) -> str:
    """The status, `none` for 0, `other` for what no SIP status can be."""
    return _CODES.get(status, OTHER) if status else NONE


def agent_label(user: str) -> str:
    """The user where it looks like an extension or an account, else `other`."""
    return user if _AGENT.fullmatch(user) else OTHER
