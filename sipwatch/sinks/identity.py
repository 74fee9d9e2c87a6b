"""Stable names of attempts and calls: the same from every capture that holds the same INVITE."""

from __future__ import annotations

# The same as hashlib's, which would load OpenSSL first.
from _blake2 import blake2b

from sipwatch.calls.types import Attempt, Call, InviteKey


def attempt_id(attempt: Attempt | InviteKey) -> str:
    """16 hexadecimal digits from what identifies the first leg (RFC 3261 17.1.3)."""
    key = b"%b\0%b\0%b\0%d" % (attempt.call_id, attempt.from_tag, attempt.branch, attempt.cseq)
    return blake2b(key, digest_size=8).hexdigest()


def call_id(call: Call) -> str:
    """The id of the attempt that the call began with."""
    return attempt_id(call.root)
