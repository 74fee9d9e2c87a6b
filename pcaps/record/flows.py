"""Pieces of ladders that many scenarios share."""

from __future__ import annotations

RING = "> INVITE\n< 100\n< 180\n"
PROGRESS = "> INVITE\n< 100\n< 183\n"
TRY = "> INVITE\n< 100\n"
HANG_UP = "> ACK\nwait 2\n> BYE\n< 200 BYE\n"
CANCELLED = "< 200 CANCEL\n< 487\n> ACK\n"


def refusal(code: int, after: float | None = None, headers: str = "") -> str:
    """The device answers with a failure, ``after`` seconds of ringing or without any."""
    begin = TRY if after is None else f"{RING}wait {after}\n"
    return f"{begin}< {code} {headers}\n> ACK\n"


def cancelled(after: float, headers: str = "") -> str:
    """It rings, and after so many seconds the PBX takes the call back."""
    return f"{RING}wait {after}\n> CANCEL {headers}\n{CANCELLED}"


def answered(after: float, talk: float = 2) -> str:
    """It rings, is answered, and the caller hangs up."""
    return f"{RING}wait {after}\n< 200\n> ACK\nwait {talk}\n> BYE\n< 200 BYE\n"
