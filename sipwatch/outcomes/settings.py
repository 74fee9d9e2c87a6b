"""What an operator may tell the rules (outcomes.md sections 5 to 7)."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

#: A header and what is found in its value; without a pattern its presence is enough.
HeaderRule: TypeAlias = tuple[str, re.Pattern[str] | None]


class RuleSettings(NamedTuple):
    """Seconds and lists that move the borders of the rules."""

    brief_abandon_seconds: float = 5.0
    no_answer_seconds: float = 10.0
    ring_timeouts_seconds: tuple[float, ...] = ()
    rejection_codes: frozenset[int] = frozenset()
    rejection_reason_texts: tuple[str, ...] = ()
    #: Headers of a final that mark a refusal by policy.
    rejection_headers: tuple[HeaderRule, ...] = ()
    #: A 2xx to the caller's leg counts as early end of a conversation below this.
    short_answer_seconds: float = 0.0
    #: Whether the host's own addresses or its networks are configured, and whether its networks
    #: are (rule 3b).
    places_configured: bool = False
    networks_configured: bool = False
