"""The decision procedure for one attempt: outcomes.md section 5, first match wins.

Each rule has its number in the specification, the words of when it holds, a predicate over the
scene and what it finds. A finding function may return None: then the rule does not hold after
all and the next one is asked. Rule 13 is section 5.1, in `cancel.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import NamedTuple

from sipwatch.calls.types import T1_SECONDS, TIMEOUT_SECONDS, TIMER_C_SECONDS, Attempt
from sipwatch.outcomes.calls import best_of, last_facts, last_round, sent_on
from sipwatch.outcomes.cancel import judge_cancel
from sipwatch.outcomes.dialect import FinalLine
from sipwatch.outcomes.scene import Finding, Scene
from sipwatch.outcomes.settings import HeaderRule
from sipwatch.outcomes.taxonomy import Q850_OUTCOME, outcome_of_status
from sipwatch.sip import grammar
from sipwatch.sip.message import Message
from sipwatch.sip.reason import q850_cause, sip_cause

#: Ring timers that phones come with (rule 8b), and how close to one the ringing must end.
PHONE_TIMERS_SECONDS = (30.0, 45.0, 60.0, 90.0, 120.0, 180.0)
PHONE_TIMER_SPREAD_SECONDS = 0.5
#: From here on somebody had time to press a key.
REJECT_KEY_SECONDS = 1.0
DECLINE_KEY_SECONDS = 0.7
#: A refusal by the PBX itself comes within this time, or after its announcement.
OWN_REFUSAL_SECONDS = 1.0
#: Where agents' legs may be out of view: the longest announcement before a refusal.
ANNOUNCEMENT_SECONDS = 8.0
#: Span of the retransmissions of a 2xx that was never acknowledged (13.3.1.4); the last comes
#: at 31.5 s, that of stacks which count to ten at 27.5 s.
UNACKNOWLEDGED_SECONDS = 27.0
#: An answerer without its ACK sends the 2xx again after T1, or after the second that some take for
#: it: by now he did.
ANSWERED_AGAIN_SECONDS = 3 * T1_SECONDS
#: Timer A's last retransmission (17.1.1.2) comes at 31.5 s, at 31 s where T1 is a second.
LAST_RETRANSMISSION_SECONDS = 30.9


class Rule(NamedTuple):
    """One row of the procedure."""

    number: str
    #: In which states of the attempt it is asked: final statuses, or one of the sets below.
    states: Collection[int]
    when: str
    holds: Callable[[Scene], bool]
    finds: Callable[[Scene], Finding | None]


#: States of an attempt beside its final status.
_OPEN, _CANCELLED, _ANSWERED = 0, -1, -2
_LATER = float("inf")
OPEN = (_OPEN, _CANCELLED)
CANCELLED = (_CANCELLED, 487)
ANSWERED = (_ANSWERED,)
REFUSED = range(300, 700)
ALWAYS = range(_ANSWERED, 700)


def _state(attempt: Attempt) -> int:
    if attempt.answered_at is not None:
        return _ANSWERED
    if attempt.cancel_at is not None and attempt.cancel_at <= (attempt.final_at or _LATER):
        # Whatever the final says, the CANCEL ended it: a proxy hands on its best branch's refusal.
        return _CANCELLED
    return attempt.final_status or _OPEN


@cache
def _asked(state: int) -> tuple[Rule, ...]:
    """The rules for this state, in their order."""
    return tuple(rule for rule in RULES if state in rule.states)


def _says(
    outcome: str, detail: str | None = None, confidence: str | None = "explicit", *notes: str
) -> Callable[[Scene], Finding]:
    finding = Finding(outcome, detail, confidence, notes)
    return lambda scene: finding


# --- predicates -----------------------------------------------------------------------------------


def _always(scene: Scene) -> bool:
    """The state alone decides."""
    return True


def _no_final(scene: Scene) -> bool:
    a = scene.attempt
    return a.final_status == 0 and a.answered_at is None


def _answered(scene: Scene) -> bool:
    return scene.attempt.answered_at is not None


def _proven_answer(scene: Scene) -> bool:
    a = scene.attempt
    return (a.bye_at is not None and a.cancel_at is None) or (
        a.reinvite_at is not None or a.ack_at is not None
    )


def _one_way(scene: Scene) -> bool:
    """One direction only, and no final was seen: nothing but a proven answer can be said.

    Where both directions are in view and only that final is not, a CANCEL says what ended it.
    """
    a = scene.attempt
    if not a.one_way or not _no_final(scene):
        return False
    return a.cancel_at is None or a.first_response_at is None or _proven_answer(scene)


def _confirmed(scene: Scene) -> bool:
    a = scene.attempt
    return _answered(scene) and (a.ack_at is not None or a.caller_request_at is not None)


def _never_acknowledged(scene: Scene) -> bool:
    a = scene.attempt
    if a.answered_at is None or a.answer_last_at is None:
        return False
    if a.answer_last_at - a.answered_at >= UNACKNOWLEDGED_SECONDS:
        return True
    if a.bye_by != "callee" or a.bye_at is None:
        return False
    # A 2xx is sent again until its ACK comes (13.3.1.4): one that was not was acknowledged.
    return a.answer_count > 1 or a.bye_at - a.answered_at < ANSWERED_AGAIN_SECONDS


def _configured_rejection(scene: Scene) -> Finding | None:
    """Rule 3a: the refusal bears a mark of policy that the configuration names."""
    a, settings = scene.attempt, scene.settings
    if a.final is None or a.answered_at is not None:
        return None
    fact = None
    if a.final_status in settings.rejection_codes:
        fact = f"{a.final_status} is configured as a policy's"
    elif settings.rejection_headers:
        fact = _configured_header(a.final, settings.rejection_headers)
    if fact is None and settings.rejection_reason_texts:
        texts = [reason.text.lower() for reason in a.final_reasons]
        fact = next(
            (
                f'its Reason says "{wanted}"'
                for wanted in settings.rejection_reason_texts
                if any(wanted.lower() in text for text in texts)
            ),
            None,
        )
    return None if fact is None else Finding("rejection_list", None, "explicit", (fact,))


def _configured_header(final: Message, rules: Sequence[HeaderRule]) -> str | None:
    for name, pattern in rules:
        for value in final.index.get(name.lower().encode(), ()):
            if pattern is None or pattern.search(grammar.text(value)):
                return f"its header {name} is configured as a policy's"
    return None


def _refused_by_pbx(scene: Scene) -> bool:
    """Rule 3b: the PBX refused its caller before any agent was tried."""
    a = scene.attempt
    received = a.role == "caller" or (a.role == "unknown" and scene.responder.is_pbx)
    if (
        not received
        or a.answered_at is not None
        or a.children
        or not (a.final_status in (403, 603) or a.final_status in scene.settings.rejection_codes)
        or a.first_180_at is not None
        or a.credentials
        or a.challenged
        or q850_cause(a.final_reasons) == 102
    ):
        return False
    announced = a.early_media_at is not None
    if not announced and scene.final_seconds > OWN_REFUSAL_SECONDS:
        return False
    if scene.responder.name and a.trying_at is None and not a.final_reasons:
        return False  # refused before the dialplan saw it: only a channel's end has a cause
    if scene.host.sees_agents:
        return True
    # Nothing has shown yet whether this host's agents' legs are in view. The speed of a refusal
    # tells the dialplan of a PBX that we know from a phone whose leg we do not see.
    settings, prompt = scene.settings, scene.responder.refusal_seconds
    if prompt and not announced:
        return scene.final_seconds < prompt
    if scene.host.without_agents or not (prompt or settings.networks_configured):
        return False
    if not prompt and scene.host.talked_without:
        return False
    # An announcement is over soon; early media that goes on is somebody's phone.
    return not announced or scene.final_seconds < ANNOUNCEMENT_SECONDS


def _inherits(scene: Scene) -> bool:
    a = scene.attempt
    return (
        # Also a leg between two hops that are both in view: what follows it tells more.
        (a.role == "caller" or a.parent is not None)
        and bool(a.children)
        and a.final_status >= 300
        and a.cancel_at is None
        and a.answered_at is None
    )


def _has_cause(scene: Scene) -> bool:
    a = scene.attempt
    if a.final_status < 300 or a.final_status == 487 or a.answered_at is not None:
        return False
    return bool(a.final_reasons or a.provisional_reasons or scene.responder.finals)


def _ring_timer_of_device(scene: Scene) -> bool:
    return _device_timer(scene) is not None


def _device_timer(scene: Scene) -> str | None:
    seconds = scene.ring_180_seconds
    for values, whose in (
        (PHONE_TIMERS_SECONDS, "a phone's"),
        (scene.settings.ring_timeouts_seconds, "the configured"),
    ):
        for value in values:
            if abs(seconds - value) <= PHONE_TIMER_SPREAD_SECONDS:
                return f"{whose} ring timer of {value:g} s ended the ringing"
    for key in _device_keys(scene):
        fact = scene.known_timer(key, seconds, whole_seconds=False)
        if fact:
            return fact
    return None


def _device_keys(scene: Scene) -> list[tuple[str, object]]:
    keys: list[tuple[str, object]] = [("refusal", scene.attempt.destination[0])]
    agent = scene.responder_agent
    if agent:
        keys.append(("refusal", agent))
    return keys


def _silent(scene: Scene) -> bool:
    """Rule 14: nothing at all came back, for long enough to say so."""
    a = scene.attempt
    if not _no_final(scene) or a.cancel_at is not None or a.first_response_at is not None:
        return False
    return silence(scene) is not None


def silence(scene: Scene) -> Finding | None:
    """Why it can be said that the device does not respond; None when it cannot yet."""
    a = scene.attempt
    if a.icmp_at is not None:
        return Finding(
            "device_not_responding",
            None,
            "explicit",
            (f"ICMP unreachable (code {a.icmp_code}) at +{a.icmp_at - a.started_at:.3f} s",),
        )
    sent = a.transmissions
    span = sent[-1] - sent[0]
    if span >= LAST_RETRANSMISSION_SECONDS:
        return Finding("device_not_responding", None, "inferred", ("all of Timer A was sent",))
    if scene.elapsed_seconds >= TIMEOUT_SECONDS - 0.01:
        return Finding("device_not_responding", None, "inferred", ("64*T1 = 32 s passed",))
    if len(sent) > 1 and scene.now - sent[-1] > 2 * (sent[-1] - sent[-2]) + 0.5:
        return Finding(
            "device_not_responding",
            None,
            "inferred",
            (f"the next retransmission did not come, {scene.now - sent[-1]:.1f} s passed",),
        )
    if len(sent) > 1 and _call_is_over(a):
        return Finding("device_not_responding", None, "correlated", ("its call is over",))
    return None


def _call_is_over(attempt: Attempt) -> bool:
    caller = attempt.parent
    if caller is None:
        return False
    ended = caller.cancel_at is not None or caller.final_at is not None or caller.bye_at is not None
    return ended or any(
        other is not attempt and other.answered_at is not None for other in caller.children
    )


def _lost_after_provisional(scene: Scene) -> bool:
    a = scene.attempt
    if not _no_final(scene) or a.cancel_at is not None or a.first_response_at is None:
        return False
    heard = max(a.last_provisional_at or 0.0, a.transmissions[0])
    if a.last_provisional_at is None:
        # Its challenge was answered, the INVITE with credentials never was.
        return scene.elapsed_seconds >= TIMEOUT_SECONDS - 0.01
    return scene.now - heard >= TIMER_C_SECONDS - 0.01


def _unfinished(scene: Scene) -> bool:
    return _no_final(scene) and scene.attempt.cancel_at is None


# --- findings -------------------------------------------------------------------------------------


def _inherited(scene: Scene) -> Finding | None:
    """Rule 3c: what became of the agents is what became of the caller."""
    children = scene.attempt.children
    line = _dialect_line(scene)
    if line is not None and line.own:
        return None
    if any(child.verdict is None for child in children):
        return None
    verdicts = best_of(last_round(children))
    if verdicts is None:
        return None
    agent, verdict = verdicts
    if verdict.outcome == "answered" and agent.crossed_verdict is not None:
        verdict = agent.crossed_verdict  # the caller had his final before that late answer
    if verdict.outcome in ("abandoned", "briefly_abandoned", "answered", "in_progress"):
        return None
    if verdict.outcome == "incomplete" or sent_on(verdict, scene.attempt):
        return None
    note = f"{len(children)} agents' legs in view; decisive: attempt {agent.serial}"
    if len(children) == 1:
        note = "the agent's leg is in view"
    return Finding(
        verdict.outcome,
        verdict.detail,
        "correlated",
        (f"{note}: {verdict.outcome}", *(f"agent: {fact}" for fact in last_facts(agent, verdict))),
    )


def _by_cause(scene: Scene) -> Finding | None:
    """Rule 4: the dialect's lines first, then section 8's map."""
    a = scene.attempt
    line = _dialect_line(scene)
    if line is not None:
        detail = _declined_how(scene) if line.detail == "by_ringing" else line.detail
        note = f"{scene.responder.name}: {line.line}"
        return Finding(line.outcome, detail, line.confidence, (note,))
    q850 = q850_cause(a.final_reasons or a.provisional_reasons)
    if q850 is None:
        q850 = q850_cause(a.provisional_reasons)  # gateways put the true cause in a 183
    if q850 is None or (scene.responder.causes_from_status and a.final_reasons):
        return None
    return _mapped(scene, q850)


def _dialect_line(scene: Scene) -> FinalLine | None:
    """The line of section 12 that speaks of this final."""
    a, dialect = scene.attempt, scene.responder
    if not dialect.finals:
        return None
    reasons = a.final_reasons or a.provisional_reasons
    q850, sip = q850_cause(reasons), sip_cause(reasons)
    timer = scene.rang and _caller_timer(scene) is not None
    return next((line for line in dialect.finals if line.fits(a, q850, sip, timer)), None)


def _mapped(scene: Scene, cause: int) -> Finding | None:
    a = scene.attempt
    note = (f"Q.850 cause {cause}",)
    if cause == 31 and a.first_180_at is not None:
        return None  # unspecified: what it rang says more
    if cause == 31 and scene.rang and a.final_status in (480, 408):
        return None
    if cause == 102:
        if a.final_status == 504:
            return Finding("connection_timeout", "server_timeout", "explicit", note)
        detail = "after_ringing" if scene.rang else "after_trying"
        return Finding("connection_timeout", detail, "explicit", note)
    found = Q850_OUTCOME.get(cause)
    if found is None:
        return None
    outcome, mapped = found
    if cause == 21:
        mapped = _declined_how(scene)
    return Finding(outcome, mapped, "explicit", note)


def _caller_timer(scene: Scene) -> str | None:
    """A ring timer that the PBX let run out on its caller's leg."""
    a = scene.attempt
    whole = scene.responder.whole_seconds
    return scene.known_timer(("sent", a.destination[0]), scene.ring_seconds, whole) or (
        scene.known_timer(("sent-invite", a.destination[0]), scene.final_seconds, whole)
    )


def _declined_how(scene: Scene) -> str:
    return "manual" if scene.ring_180_seconds >= DECLINE_KEY_SECONDS else "automatic"


def _device_timer_ran_out(scene: Scene) -> Finding | None:
    fact = _device_timer(scene)
    return None if fact is None else Finding("no_answer", None, "inferred", (fact,))


def _pressed_reject(scene: Scene) -> Finding:
    return Finding(
        "declined",
        "manual",
        "inferred",
        ("refused while its device rang: a ringing device is not busy",),
    )


def _declined(scene: Scene) -> Finding:
    return Finding("declined", _declined_how(scene), "explicit")


def _by_status(scene: Scene) -> Finding:
    a = scene.attempt
    if a.final_status == 404 and a.invite is not None:
        user = scene_user(a)
        if user and scene.registrations.registrar_of(a.destination[0], user):
            return Finding(
                "unavailable", None, "explicit", (f"this host answered {user}'s REGISTERs before",)
            )
    return Finding(outcome_of_status(a.final_status))


def scene_user(attempt: Attempt) -> str:
    """The user part of the Request-URI."""
    if attempt.invite is None:
        return ""
    uri = attempt.invite.request_uri
    return uri.partition(b":")[2].partition(b"@")[0].decode("utf-8", "replace")


def _lost(scene: Scene) -> Finding:
    detail = "after_ringing" if scene.rang else "after_trying"
    a = scene.attempt
    heard = a.last_provisional_at
    note = (f"nothing for {scene.now - heard:.0f} s after it",) if heard is not None else ()
    return Finding("connection_timeout", detail, "inferred", note)


def _one_direction(scene: Scene) -> Finding:
    if _proven_answer(scene):
        return Finding(
            "answered", None, "inferred", ("one direction only; the dialog proves its 2xx",)
        )
    if scene.attempt.first_response_at is None:
        return Finding("incomplete", None, None, ("only one direction of this flow is in view",))
    note = "its final was not captured, only the ACK to it"
    found = _inherited(scene) if scene.attempt.acked and scene.attempt.children else None
    if found is not None:
        return found._replace(notes=(note, *found.notes))
    return Finding("incomplete", None, None, (note,))


# --- the procedure --------------------------------------------------------------------------------

RULES: tuple[Rule, ...] = (
    Rule(
        "-",
        ALWAYS,
        "the INVITE was not captured",
        lambda s: s.attempt.incomplete,
        lambda s: Finding("incomplete", None, None, ("the INVITE was not captured",)),
    ),
    Rule(
        "0",
        OPEN,
        "only one direction of this flow is in view, or its final was not captured: `answered` "
        "when a 2xx is proven by a BYE without a CANCEL before it, a re-INVITE, or an ACK with a "
        "branch of its own, the agents' outcome when his leg was refused in view of theirs, else "
        "`incomplete`",
        _one_way,
        _one_direction,
    ),
    Rule(
        "1",
        ANSWERED,
        "2xx and ACK, or 2xx and an in-dialog request of the caller",
        _confirmed,
        _says("answered"),
    ),
    Rule(
        "2",
        ANSWERED,
        "2xx, no ACK, no request of the caller, and the 2xx was retransmitted for 64*T1 or the "
        "answerer himself sent BYE: at once, or after he had sent the 2xx again",
        _never_acknowledged,
        _says("connection_timeout", "no_ack", "inferred"),
    ),
    Rule("2b", ANSWERED, "2xx otherwise", _answered, _says("answered")),
    Rule("3", (607, 608), "607 or 608", _always, _says("rejection_list")),
    Rule(
        "3a",
        REFUSED,
        "the refusal has a status (`rejection.codes`), a Reason text (`rejection.reason_texts`) or "
        "a header, with or without a pattern for its value (`rejection.headers`), that the "
        "configuration names as a policy's: before everything that looks at agents",
        _always,
        _configured_rejection,
    ),
    Rule(
        "3b",
        REFUSED,
        "the PBX itself refused its caller (403, 603 or a configured code) and no agent's leg was "
        "made: no 180, within 1 s or right after an announcement, no cause 102, no credentials",
        _refused_by_pbx,
        lambda s: Finding("rejection_list", None, "correlated", ("no agent's leg was made",)),
    ),
    Rule(
        "3c",
        REFUSED,
        "a caller's leg that he did not cancel and whose agents' legs are known and settled "
        "inherits the agents' outcome; not that of a 302 whose new target is out of view",
        _inherits,
        _inherited,
    ),
    Rule(
        "4",
        REFUSED,
        "a final of 300 or more other than 487 with a Reason: the dialect's lines, then the "
        "Q.850 map; where the dialect makes its causes from the status they add nothing",
        _has_cause,
        _by_cause,
    ),
    Rule(
        "5",
        range(300, 400),
        "3xx not retried by the sender",
        _always,
        _says("redirected", "forwarded"),
    ),
    Rule(
        "6",
        (401, 407),
        "401 or 407 last in the chain",
        _always,
        _says("unauthorized"),
    ),
    Rule("7", (504,), "504", _always, _says("connection_timeout", "server_timeout")),
    Rule(
        "8",
        (486, 600),
        "486 or 600, and no 180 came 1 s or more before it",
        lambda s: s.ring_180_seconds < REJECT_KEY_SECONDS,
        _says("agent_busy"),
    ),
    Rule(
        "8b",
        (486, 600, 603),
        "486, 600 or 603 whose ringing ended on a ring timer of the device: within 0.5 s of 30, "
        "45, 60, 90, 120 or 180 s, or of a value configured or learned",
        _ring_timer_of_device,
        _device_timer_ran_out,
    ),
    Rule(
        "9",
        (486, 600),
        "486 or 600, 1 s or more after a 180: its user pressed reject",
        _always,
        _pressed_reject,
    ),
    Rule(
        "10",
        (603,),
        "603: rang at least 0.7 s is manual, else automatic",
        _always,
        _declined,
    ),
    Rule(
        "11",
        (480, 408),
        "480 or 408, rang at least `no_answer_seconds`",
        lambda s: s.rang and s.ring_seconds >= s.settings.no_answer_seconds,
        _says("no_answer", None, "inferred"),
    ),
    Rule(
        "11b",
        (480,),
        "480, rang less than that",
        lambda s: s.rang,
        _says("declined", "manual", "inferred"),
    ),
    Rule(
        "11c",
        (480,),
        "480, no 18x, from a device that registers through this host or whose name is a phone's",
        lambda s: s.responder_is_phone,
        lambda s: Finding(
            "declined",
            "automatic",
            "inferred",
            (f"the device is alive and refuses: {s.responder_agent or 'it registers here'}",),
        ),
    ),
    Rule("11d", (480,), "480, no 18x, otherwise", _always, _says("unavailable")),
    Rule(
        "12",
        (408,),
        "408, no 18x",
        lambda s: not s.rang,
        _says("device_not_responding"),
    ),
    Rule(
        "12b",
        (408,),
        "408, rang less than `no_answer_seconds`",
        _always,
        _says("connection_timeout", "after_ringing", "inferred"),
    ),
    Rule(
        "13",
        CANCELLED,
        "CANCEL, with or without its 487: section 5.1",
        lambda s: s.attempt.cancel_at is not None,
        judge_cancel,
    ),
    Rule(
        "13b",
        (487,),
        "487 without a CANCEL in view",
        _always,
        _says("other_failure", None, "explicit", "487 without a CANCEL"),
    ),
    Rule(
        "14",
        OPEN,
        "no final, no CANCEL, no response at all, and all transmissions of Timer A, 64*T1 passed, "
        "the next retransmission overdue, its call over, or ICMP unreachable",
        _silent,
        silence,
    ),
    Rule(
        "15",
        OPEN,
        "no final, some 1xx, nothing for more than Timer C (180 s)",
        _lost_after_provisional,
        _lost,
    ),
    Rule(
        "15b",
        OPEN,
        "not finished when the capture ended",
        _unfinished,
        lambda s: Finding("in_progress", None, None),
    ),
    Rule("16", REFUSED, "every other final status, by its code", _always, _by_status),
)

#: Rule 0: verdicts that rest on an absence, which a capture with losses cannot vouch for.
RESTS_ON_ABSENCE = frozenset(("2", "14", "15", "5.1/0", "5.1/6"))


def judge(scene: Scene) -> tuple[str, Finding]:
    """The first rule that holds, and what it finds."""
    for rule in _asked(_state(scene.attempt)):
        if rule.holds(scene):
            finding = rule.finds(scene)
            if finding is not None:
                number = finding.rule or rule.number
                if (
                    number in RESTS_ON_ABSENCE
                    and scene.attempt.losses
                    and finding.confidence != "explicit"
                ):
                    note = f"packets were lost: {finding.outcome} cannot be vouched for"
                    return "0", Finding("incomplete", None, None, (note,))
                return number, finding
    raise AssertionError("the last rule holds for every attempt")
