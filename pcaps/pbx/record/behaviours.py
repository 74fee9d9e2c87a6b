"""What phones and carriers do with an INVITE: the words of the scenarios.

Each is a dictionary that party.py plays; `kind` and `says` are for the truth alone.
"""

from __future__ import annotations

from typing import Any

Behaviour = dict[str, Any]
Moment = Any  # seconds, or {"from": a, "to": b} to be drawn
RING = 0.06  # post-dial delay of a phone on the same network


def between(low: float, high: float) -> dict[str, float]:
    return {"from": low, "to": high}


def rings(ring: Moment = RING, **more: Any) -> Behaviour:
    return {"kind": "rings", "ring": ring, "says": "rings, nobody picks up", **more}


def answers(after: Moment, ring: Moment = RING, **more: Any) -> Behaviour:
    return {"kind": "answers", "ring": ring, "answer": after, "says": "picks up", **more}


def hangs_up(after: Moment, talk: Moment, **more: Any) -> Behaviour:
    return answers(after, talk=talk, **more) | {"says": "picks up, hangs up later"}


def holds(after: Moment, hold: Moment, **more: Any) -> Behaviour:
    return answers(after, hold=hold, **more) | {"says": "picks up, puts the call on hold"}


def transfers(after: Moment, to: str, delay: float = 2.0, **more: Any) -> Behaviour:
    return answers(after, transfer=[to, delay], **more) | {"says": f"picks up, REFERs to {to}"}


def consults(after: Moment, to: str, delay: float = 2.0, length: float = 3.0) -> Behaviour:
    says = f"picks up, consults {to}, joins the two by REFER with Replaces"
    return answers(after, consult=[to, delay, length]) | {"says": says}


def rejects(after: Moment, code: int = 486, ring: Moment = RING) -> Behaviour:
    """The user presses the reject key."""
    says = f"user presses reject: {code}"
    return {"kind": "rejects", "ring": ring, "reject": [code, after], "says": says}


def busy(code: int = 486, after: Moment = 0.01, **more: Any) -> Behaviour:
    return {"kind": "busy", "reject": [code, after], "says": f"in a call: {code} at once", **more}


def disturbed(code: int = 603, after: Moment = 0.01) -> Behaviour:
    """Do not disturb."""
    says = f"do not disturb: {code} at once"
    return {"kind": "disturbed", "reject": [code, after], "says": says}


def own_timer(after: Moment, code: int = 480) -> Behaviour:
    """The phone's own ring timer ends it."""
    says = f"rings to the phone's own timer: {code}"
    return {"kind": "own-timer", "ring": RING, "reject": [code, after], "says": says}


def fails(code: int, after: Moment = 0.02, **more: Any) -> Behaviour:
    """A device or carrier answers with an error."""
    says = f"fails with {code}"
    return {"kind": "fails", "reject": [code, after], "says": says, **more}


def forwards(to: str, after: Moment, **more: Any) -> Behaviour:
    says = f"302 to {to}"
    return {"kind": "forwards", "redirect": [to, after], "says": says, **more}


def silent() -> Behaviour:
    return {"kind": "silent", "silent": True, "says": "never answers anything"}


def dies_trying() -> Behaviour:
    return {"kind": "dead", "dead_after": 0.03, "says": "100, then dead"}


def dies_ringing(after: Moment = 1.0) -> Behaviour:
    return {"kind": "dead", "ring": RING, "dead_after": after, "says": "rings, then dead"}


def crosses(ring: Moment = RING) -> Behaviour:
    """The handset is lifted in the instant of the CANCEL."""
    says = "200 in the instant of the CANCEL"
    return {"kind": "rings", "ring": ring, "answer_on_cancel": True, "says": says}


def far_answers(after: Moment, early: Moment | None = None, **more: Any) -> Behaviour:
    """A called party behind a carrier picks up."""
    media: Behaviour = {"early": early} if early is not None else {"ring": 0.3}
    return {"kind": "answers", "answer": after, "says": "far side picks up", **media, **more}


def far_refuses(code: int, after: Moment, early: Moment | None = None, **more: Any) -> Behaviour:
    media: Behaviour = {"early": early} if early is not None else {}
    kind = "busy" if code in (486, 600) else "fails"
    says = f"the carrier answers {code}"
    return {"kind": kind, "reject": [code, after], "says": says, **media, **more}


def far_rings(early: Moment | None = None) -> Behaviour:
    media: Behaviour = {"early": early} if early is not None else {"ring": 0.4}
    return {"kind": "rings", "says": "far side rings, nobody picks up", **media}
