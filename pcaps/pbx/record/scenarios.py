"""The small recordings: one kind of traffic each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from behaviours import (
    Behaviour,
    answers,
    busy,
    consults,
    crosses,
    dies_ringing,
    dies_trying,
    disturbed,
    fails,
    far_answers,
    far_refuses,
    far_rings,
    forwards,
    hangs_up,
    holds,
    own_timer,
    rejects,
    rings,
    silent,
    transfers,
)
from others import Program, programs
from settings import PASSWORD, Options
from verdicts import Verdict


@dataclass(slots=True)
class Scenario:
    """One capture: who does what, who calls, how long it lasts."""

    name: str
    fact: str
    calls: list[dict[str, Any]]
    phones: dict[str, list[Behaviour]] = field(default_factory=dict)
    numbers: dict[str, Behaviour] = field(default_factory=dict)
    length: float = 20.0
    options: Options = field(default_factory=Options)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    console: list[tuple[float, str]] = field(default_factory=list)
    sides: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()  # phones whose port nobody listens on
    absent: tuple[str, ...] = ()  # phones that are off the network
    mixes: dict[str, list[Any]] = field(default_factory=dict)
    seed: int = 1
    line: dict[str, float] = field(default_factory=dict)  # delay, jitter (s) and loss, each way
    cuts: tuple[tuple[str, float], ...] = ()  # "earlyend" or "latestart", seconds
    proxy: bool = False  # carriers and phones are behind Kamailio
    programs: list[Program] = field(default_factory=list)  # that play parties besides party.py


FIRST = "+493011100"


def caller(to: str, at: float = 0.5, user: str = FIRST + "01", **more: Any) -> dict[str, Any]:
    """A call from the first carrier."""
    known = {"host": "carrier1", "id": f"{user}-{at}", "user": user, "to": to, "at": at}
    return known | more


def inside(user: str, to: str, at: float = 0.5, **more: Any) -> dict[str, Any]:
    """A call made by a phone."""
    return {
        "host": user,
        "id": f"{user}-{at}",
        "user": user,
        "to": to,
        "at": at,
        "password": PASSWORD,
        **more,
    }


# What the dialplan does with callers for whom it tries nobody.
REFUSALS = {
    "2306": Verdict("empty queue, nobody may join", "handled_by_system", ["answered"]),
    "2501": Verdict("blacklist: Hangup(21)", "rejection_list"),
    "2502": Verdict("Hangup() at once", "rejection_list"),
    "2503": Verdict("Busy() at once", "agent_busy", ["rejection_list", "handled_by_system"]),
    "2504": Verdict(
        "Congestion() at once", "server_failure", ["rejection_list", "handled_by_system"]
    ),
    "2505": Verdict("announcement as early media, then Hangup(21)", "rejection_list"),
    "2506": Verdict("answered announcement, then Hangup()", "handled_by_system", ["answered"]),
    "2507": Verdict(
        "announcement as early media, then Busy()",
        "agent_busy",
        ["rejection_list", "handled_by_system"],
    ),
    "*43": Verdict("answered, waits 5 s, hangs up", "handled_by_system", ["answered"]),
}


def single() -> Iterable[Scenario]:
    """One caller, one agent."""
    for timer in (7, 10, 15, 18, 25, 30):
        yield Scenario(
            f"ring-timeout-{timer}",
            f"Dial with a timer of {timer} s",
            [caller(f"3{timer:02}01")],
            {"101": [rings()]},
            length=timer + 4,
            sides=("trunk", "agent") if timer in (10, 18) else (),
        )
    yield Scenario(
        "ring-timeout-10-slow-ringing",
        "the phone rings 1.4 s after its INVITE",
        [caller("31001")],
        {"101": [rings(1.4)]},
        length=14,
    )
    yield Scenario(
        "ring-timeout-9-option-c",
        "Dial option c: 200/26 on a timer's CANCEL",
        [caller("40901")],
        {"101": [rings()]},
        length=14,
    )
    yield Scenario(
        "abandon-7s-option-c",
        "Dial option c and a caller who gives up",
        [caller("41801", cancel=7)],
        {"101": [rings()]},
        length=12,
    )
    yield Scenario(
        "ring-timeout-11-option-r",
        "Dial option r: ringing is made by the PBX",
        [caller("51101")],
        {"101": [rings()]},
        length=15,
    )
    yield Scenario(
        "silent-9-option-r",
        "Dial option r and a phone that is silent",
        [caller("50901")],
        {"101": [silent()]},
        length=46,
    )
    yield Scenario(
        "ring-timeout-10-hangup-cause",
        "after the timer the dialplan hands on the cause",
        [caller("61001")],
        {"101": [rings()]},
        length=14,
    )
    yield Scenario(
        "reject-hangup-cause",
        "the cause of a rejection handed on by the dialplan",
        [caller("62001")],
        {"101": [rejects(4, 603)]},
        length=8,
    )
    yield Scenario(
        "ring-timeout-10-early-media",
        "the phone sends 183 with SDP, then 180",
        [caller("31001")],
        {"101": [rings(0.5, early=0.1)]},
        length=14,
    )
    yield Scenario(
        "ring-timeout-10-only-183",
        "the phone sends only 183 with SDP",
        [caller("31001")],
        {"101": [{**rings(), "early": 0.1, "ring": 60}]},
        length=14,
    )
    yield Scenario(
        "noreason-ring-timeout-15",
        "without Reason headers",
        [caller("31501")],
        {"101": [rings()]},
        length=19,
        options=Options(reasons=False),
    )
    yield Scenario(
        "noreason-abandon-12s",
        "without Reason headers, the caller gives up",
        [caller("32501", cancel=12)],
        {"101": [rings()]},
        length=16,
        options=Options(reasons=False),
        sides=("agent",),
    )
    for code in (486, 600, 603):
        yield Scenario(
            f"reject-{code}-after-6s",
            f"reject key: {code}",
            [caller("32501")],
            {"101": [rejects(6, code)]},
            length=10,
        )
        yield Scenario(
            f"at-once-{code}",
            f"{code} at once",
            [caller("32501")],
            {"101": [disturbed(603) if code == 603 else busy(code)]},
            length=5,
        )
    yield Scenario(
        "reject-480-after-4s",
        "reject key: 480",
        [caller("32501")],
        {"101": [rejects(4, 480)]},
        length=8,
    )
    yield Scenario(
        "own-timer-14s",
        "the phone's own timer ends it with 480",
        [caller("32501")],
        {"101": [own_timer(14)]},
        length=18,
    )
    yield Scenario(
        "own-timer-30s-486",
        "the phone's own timer ends it with 486 after 30 s",
        [caller("34501")],
        {"101": [own_timer(30, 486)]},
        length=34,
    )
    for code in (404, 408, 484, 488, 500, 503, 504):
        yield Scenario(
            f"phone-{code}",
            f"the phone answers {code}",
            [caller("32501")],
            {"101": [fails(code)]},
            length=5,
        )
    yield Scenario(
        "silent-12-then-caller",
        "a silent phone, the caller gives up after 7 s",
        [caller("31201", cancel=7)],
        {"101": [silent()]},
        length=44,
    )
    yield Scenario(
        "dies-trying-10",
        "100, then nothing",
        [caller("31001")],
        {"101": [dies_trying()]},
        length=46,
    )
    yield Scenario(
        "dies-ringing-10",
        "180, then nothing",
        [caller("31001")],
        {"101": [dies_ringing()]},
        length=50,
    )
    yield Scenario(
        "closed-port-9",
        "nobody listens on the phone's port",
        [caller("30901")],
        closed=("101",),
        length=44,
    )
    yield Scenario(
        "off-the-network-11",
        "the phone is off the network",
        [caller("31101")],
        absent=("101",),
        length=44,
    )
    for seconds in (1.5, 3.5, 6.5, 20.0):
        yield Scenario(
            f"abandon-{seconds}s",
            "the caller gives up",
            [caller("33001", cancel=seconds)],
            {"101": [rings()]},
            length=seconds + 4,
            sides=("trunk", "agent") if seconds == 6.5 else (),
        )
    yield Scenario(
        "abandon-before-ringing",
        "the caller gives up before the phone rings",
        [caller("33001", cancel=1.0)],
        {"101": [rings(2.5)]},
        length=6,
    )
    yield Scenario(
        "abandon-with-timer",
        "the caller gives up in the moment of the timer",
        [
            caller("31001", 0.5, cancel=9.95),
            caller("31002", 1.0, FIRST + "02", cancel=10.0),
            caller("31003", 1.5, FIRST + "03", cancel=10.05),
            caller("31004", 2.0, FIRST + "04", cancel=10.004),
        ],
        {user: [rings()] for user in ("101", "102", "103", "104")},
        length=17,
    )
    yield Scenario(
        "answer-crosses-timer",
        "the handset is lifted in the moment of the timer",
        [caller("31001")],
        {"101": [crosses()]},
        length=15,
    )
    yield Scenario(
        "answer-crosses-caller",
        "the handset is lifted when the caller gives up",
        [caller("32001", cancel=7)],
        {"101": [crosses()]},
        length=12,
    )
    yield Scenario(
        "never-acks",
        "the caller never ACKs",
        [caller("32001", never_ack=True)],
        {"101": [answers(2)]},
        length=40,
    )
    yield Scenario(
        "talks",
        "answered, hung up by the caller",
        [caller("32001", hangup=5)],
        {"101": [answers(3)]},
        length=11,
    )
    yield Scenario(
        "talks-agent-hangs-up",
        "answered, hung up by the agent",
        [caller("32001")],
        {"101": [hangs_up(3, 4)]},
        length=11,
    )
    yield Scenario(
        "menu-then-agent",
        "a menu answers, then the agent rings",
        [caller("81201", hangup=30)],
        {"101": [answers(5)]},
        length=36,
    )
    yield Scenario(
        "menu-then-nobody",
        "a menu answers, then nobody picks up",
        [caller("81001", hangup=60)],
        {"101": [rings()]},
        length=20,
    )
    yield Scenario(
        "menu-left",
        "a menu answers, the caller leaves while it rings",
        [caller("82001", hangup=9)],
        {"101": [rings()]},
        length=14,
    )
    yield Scenario(
        "menu-left-at-once",
        "a menu answers, the caller leaves in the announcement",
        [caller("82001", hangup=1)],
        {"101": [rings()]},
        length=6,
    )
    yield Scenario(
        "announced-then-nobody",
        "an announcement as early media, then nobody picks up",
        [caller("91001")],
        {"101": [rings()]},
        length=18,
    )
    yield Scenario(
        "announced-left",
        "an announcement as early media, the caller leaves",
        [caller("92001", cancel=8)],
        {"101": [rings()]},
        length=13,
    )
    yield Scenario(
        "mailbox-left-late",
        "a mailbox after no answer, the caller stays on",
        [caller("70801", hangup=4)],
        {"101": [rings()]},
        length=18,
    )
    yield Scenario(
        "mailbox-after-reject",
        "a mailbox after a rejection",
        [caller("72001")],
        {"101": [rejects(3)]},
        length=16,
    )
    yield Scenario(
        "mailbox-after-busy",
        "a mailbox after busy",
        [caller("72001")],
        {"101": [busy()]},
        length=13,
    )
    yield Scenario(
        "mailbox-abandon",
        "the caller gives up before the mailbox",
        [caller("71501", cancel=8)],
        {"101": [rings()]},
        length=13,
    )
    for number in ("2501", "2502", "2503", "2504", "2505", "2506", "2507"):
        yield Scenario(f"refused-{number}", REFUSALS[number].fact, [caller(number)], length=7)
    yield Scenario(
        "refused-by-caller-number",
        "a caller on the blacklist, another is not",
        [caller("31001", user="+4990012345"), caller("31001", 1.0, hangup=3)],
        {"101": [answers(2)]},
        length=9,
    )


def odd_views() -> Iterable[Scenario]:
    """Captures cut short, timers to be learned, networks that are slow, and what else is odd."""
    yield Scenario(
        "cut-ring-timeout-15",
        "Dial with a timer of 15 s",
        [caller("31501")],
        {"101": [rings()]},
        length=19,
        cuts=(("earlyend", 6.0), ("latestart", 5.0)),
    )
    yield Scenario(
        "cut-talk",
        "answered after 3 s, hung up 5 s later",
        [caller("32001", hangup=5)],
        {"101": [answers(3)]},
        length=11,
        cuts=(("earlyend", 5.0), ("latestart", 2.0)),
    )
    yield Scenario(
        "cut-silent",
        "a silent phone",
        [caller("31201")],
        {"101": [silent()]},
        length=44,
        cuts=(("earlyend", 4.0),),
    )
    yield Scenario(
        "cut-group-left",
        "a ring group, the caller leaves after 9 s",
        [caller("2202", cancel=9)],
        {user: [rings()] for user in ("104", "105", "106", "107")},
        length=14,
        cuts=(("earlyend", 6.0), ("latestart", 4.0)),
    )
    for reasons in (True, False):
        yield Scenario(
            f"timer-learning-14{'' if reasons else '-no-reasons'}",
            "eight calls to a timer of 14 s, three callers who leave",
            [
                caller("31401", 0.5 + 1.3 * number, f"{FIRST}{number:02}", **more)
                for number, more in enumerate(
                    ({}, {}, {}, {"cancel": 6.5}, {}, {}, {"cancel": 10}, {}, {"cancel": 3}, {}, {})
                )
            ],
            {"101": [rings()]},
            length=34,
            options=Options(reasons=reasons),
            sides=("agent", "trunk"),
        )
    yield Scenario(
        "media-timeout-6",
        "no media from the trunk for 6 s: rtp_timeout",
        [caller("32001")],
        {"101": [answers(2)]},
        length=14,
        options=Options(rtp_timeout=6),
    )
    yield Scenario(
        "hold",
        "the agent puts the call on hold: re-INVITE",
        [caller("32001", hangup=8)],
        {"101": [holds(2, 2)]},
        length=15,
    )
    for reason in ("Q.850;cause=16", 'SIP;cause=487;text="ORIGINATOR_CANCEL"', "Q.850;cause=19"):
        word = reason.partition("=")[2].partition(";")[0]
        yield Scenario(
            f"abandon-8s-reason-{word}",
            "the caller gives up, his CANCEL has a Reason",
            [caller("33001", cancel=8, cancel_reason=reason)],
            {"101": [rings()]},
            length=13,
        )
    yield Scenario(
        "group-refused-then-left",
        "one refuses with 480, then the caller leaves: the CANCELs have the cause of the refusal",
        [caller("2201", cancel=8)],
        {"101": [disturbed(480)], "102": [rings()], "103": [rings()]},
        length=13,
    )
    yield Scenario(
        "group-busy-then-left",
        "one is busy, then the caller leaves",
        [caller("2201", cancel=8)],
        {"101": [busy()], "102": [rings()], "103": [rings()]},
        length=13,
    )
    yield from far()


def line(delay: float, jitter: float = 0.0, loss: float = 0.0) -> dict[str, float]:
    return {"delay": delay, "jitter": jitter, "loss": loss}


def far() -> Iterable[Scenario]:
    """Phones and carriers behind a slow line: 240 ms to and fro."""
    slow = line(0.12)
    yield Scenario(
        "far-two-at-once",
        "two pick up in the same moment",
        [caller("2201", hangup=6)],
        {"101": [answers(4)], "102": [answers(4.05)], "103": [rings()]},
        length=14,
        line=slow,
    )
    yield Scenario(
        "far-answer-crosses-timer",
        "picked up while the timer's CANCEL is on its way",
        [caller("31001")],
        {"101": [answers(9.85)]},
        length=16,
        line=slow,
    )
    yield Scenario(
        "far-left",
        "the caller gives up",
        [caller("33001", cancel=8)],
        {"101": [rings()]},
        length=13,
        line=slow,
    )
    yield Scenario(
        "far-group-answered",
        "one of three picks up",
        [caller("2201", hangup=5)],
        {"101": [rings()], "102": [answers(4)], "103": [rings()]},
        length=14,
        line=slow,
    )
    yield Scenario(
        "far-slow-line",
        "a line so slow that INVITEs are sent again: 700 ms to and fro",
        [caller("31201", 0.5), caller("31202", 1.0, FIRST + "02", cancel=9)],
        {"101": [rings()], "102": [rings()]},
        length=20,
        line=line(0.35),
    )


def forwards_and_transfers() -> Iterable[Scenario]:
    yield Scenario(
        "forward-answered",
        "302 at once, answered there",
        [caller("33001", hangup=4)],
        {"101": [forwards("104", 0.02)], "104": [answers(3)]},
        length=12,
    )
    yield Scenario(
        "forward-after-ringing-busy",
        "302 after ringing, busy there",
        [caller("33001")],
        {"101": [forwards("104", 4, ring=0.06)], "104": [busy()]},
        length=9,
    )
    yield Scenario(
        "forward-no-answer",
        "302 at once, nobody picks up there",
        [caller("31501")],
        {"101": [forwards("104", 0.02)], "104": [rings()]},
        length=26,
    )
    yield Scenario(
        "forward-chain",
        "302 twice, answered at the third",
        [caller("33001", hangup=3)],
        {
            "101": [forwards("104", 0.02)],
            "104": [forwards("105", 1, ring=0.06)],
            "105": [answers(2)],
        },
        length=12,
    )
    yield Scenario(
        "forward-left",
        "302 after ringing, the caller gives up",
        [caller("33001", cancel=11)],
        {"101": [forwards("104", 4, ring=0.06)], "104": [rings()]},
        length=15,
    )
    yield Scenario(
        "transfer-blind-answered",
        "REFER to 102, who answers",
        [caller("33001", hangup=12)],
        {"101": [transfers(2, "102")], "102": [answers(3)]},
        length=20,
    )
    yield Scenario(
        "transfer-blind-no-answer",
        "REFER to 102, who does not answer",
        [caller("33001", hangup=40)],
        {"101": [transfers(2, "102")], "102": [rings()]},
        length=34,
    )
    yield Scenario(
        "transfer-blind-busy",
        "REFER to 102, who is busy",
        [caller("33001", hangup=20)],
        {"101": [transfers(2, "102")], "102": [busy()]},
        length=20,
    )
    yield Scenario(
        "transfer-attended",
        "101 consults 102, then joins the two",
        [caller("33001", hangup=16)],
        {"101": [consults(2, "102")], "102": [answers(2)]},
        length=26,
    )
    yield Scenario(
        "transfer-attended-with-others",
        "an attended transfer while two others call",
        [
            caller("33001", hangup=16),
            caller("33003", 3.0, FIRST + "02", hangup=8),
            caller("33004", 5.2, FIRST + "01", cancel=6),
        ],
        {"101": [consults(2, "102")], "102": [answers(2)], "103": [answers(3)], "104": [rings()]},
        length=26,
    )
    yield Scenario(
        "pickup-directed",
        "106 picks up the call to 101 by *8101",
        [caller("33001", hangup=9), inside("106", "*8101", 4.5, hangup=30)],
        {"101": [rings()]},
        length=16,
    )
    yield Scenario(
        "pickup-group",
        "107 picks up by *8",
        [caller("33001", hangup=9), inside("107", "*8", 4.5, hangup=30)],
        {"101": [rings()]},
        length=16,
    )
    yield Scenario(
        "pickup-of-group",
        "107 picks up a ring group's call by *8",
        [caller("2201", hangup=9), inside("107", "*8", 4.5, hangup=30)],
        {"101": [rings()], "102": [rings()], "103": [busy()]},
        length=16,
    )
    yield Scenario(
        "pickup-among-two",
        "two calls ring, one is picked up",
        [
            caller("33001", hangup=12),
            caller("31202", 1.0, FIRST + "02"),
            inside("106", "*8101", 5.5, hangup=30),
        ],
        {"101": [rings()], "102": [rings()]},
        length=20,
    )
    yield Scenario(
        "pickup-of-nothing",
        "*8 when nothing rings",
        [inside("107", "*8", 0.5, hangup=30)],
        length=5,
    )


def ring_groups() -> Iterable[Scenario]:
    yield Scenario(
        "group-all-busy",
        "all busy",
        [caller("2201")],
        {"101": [busy()], "102": [busy()], "103": [busy()]},
        length=5,
    )
    yield Scenario(
        "group-timer",
        "nobody picks up",
        [caller("2201")],
        {"101": [rings()], "102": [rings(0.4)], "103": [rings(0.9)]},
        length=19,
        sides=("trunk", "agent"),
    )
    yield Scenario(
        "group-caller-leaves",
        "the caller gives up after 8 s",
        [caller("2202", cancel=8)],
        {user: [rings()] for user in ("104", "105", "106", "107")},
        length=12,
        sides=("agent",),
    )
    yield Scenario(
        "group-two-at-once",
        "two pick up in the same moment",
        [caller("2201", hangup=6)],
        {"101": [answers(4)], "102": [answers(4)], "103": [rings()]},
        length=14,
    )
    yield Scenario(
        "group-answered-option-c",
        "option c, 109 answers",
        [caller("2203", hangup=4)],
        {"108": [rings()], "109": [answers(5)], "110": [rings()]},
        length=13,
    )
    yield Scenario(
        "group-timer-option-c",
        "option c, nobody picks up",
        [caller("2203")],
        {"108": [rings()], "109": [rings()], "110": [rejects(4)]},
        length=16,
    )
    yield Scenario(
        "group-mixed-dead",
        "one dead, one silent, one busy, one rings",
        [caller("2202")],
        {"104": [dies_ringing()], "105": [silent()], "106": [busy()], "107": [rings()]},
        length=62,
    )
    yield Scenario(
        "group-dead-answered",
        "one silent, one dead, another answers",
        [caller("2202", hangup=5)],
        {"104": [dies_trying()], "105": [silent()], "106": [answers(4)], "107": [rings()]},
        length=46,
    )
    yield Scenario(
        "group-all-declined",
        "all press reject, one after the other",
        [caller("2201")],
        {"101": [rejects(3)], "102": [rejects(5, 603)], "103": [rejects(7)]},
        length=12,
    )
    yield Scenario(
        "group-local-answered",
        "members are Local channels",
        [caller("2204", hangup=4)],
        {"111": [rings()], "112": [answers(5)], "113": [busy()]},
        length=13,
    )
    yield Scenario(
        "group-local-timer",
        "members are Local channels, nobody picks up",
        [caller("2204")],
        {u: [rings()] for u in ("111", "112", "113")},
        length=22,
    )
    yield Scenario(
        "group-then-group",
        "first group in vain, second group answers",
        [caller("2205", hangup=4)],
        {"101": [rings()], "102": [busy()], "103": [rings()], "104": [answers(4)]},
        length=22,
    )
    yield Scenario(
        "hunt-nobody",
        "three hunted in vain",
        [caller("2206")],
        {"101": [rings()], "102": [rejects(3)], "103": [rings()]},
        length=24,
    )
    yield Scenario(
        "hunt-left",
        "the caller leaves at the second",
        [caller("2206", cancel=12)],
        {"101": [rings()], "102": [rings()], "103": [rings()]},
        length=16,
    )
    yield Scenario(
        "hunt-mailbox",
        "two in vain, then the mailbox",
        [caller("2207")],
        {"114": [rings()], "115": [rings()]},
        length=27,
    )
    yield Scenario(
        "group-with-mobile",
        "an agent's phone and his mobile, the mobile answers",
        [caller("2208", hangup=4)],
        {"116": [rings()]},
        hosts=MOBILE,
        length=14,
    )
    yield Scenario(
        "group-busy-after",
        "after the timer the dialplan says busy",
        [caller("2210")],
        {u: [rings()] for u in ("101", "102", "103")},
        length=19,
    )
    yield Scenario(
        "group-congestion-after",
        "after the timer the dialplan says congestion",
        [caller("2211")],
        {"105": [rings()], "106": [rings()]},
        length=16,
    )
    yield Scenario(
        "group-announcement-after",
        "after the timer an announcement, then Hangup()",
        [caller("2212")],
        {"107": [rings()], "108": [disturbed()]},
        length=16,
    )


MOBILE = [{"user": "carrier2", "address": "10.30.0.51", "behaviours": [far_answers(5)]}]


def queued() -> Iterable[Scenario]:
    two = {"101": [rings()], "102": [rings()]}
    for seconds in (0.3, 3.0, 8.0, 10.4, 10.5, 10.55, 12.0, 16.0):
        yield Scenario(
            f"queue-left-{seconds}s",
            "the caller leaves the queue",
            [caller("2301", hangup=seconds)],
            two,
            length=seconds + 5,
            sides=("agent",) if seconds == 8.0 else (),
        )
    yield Scenario(
        "queue-third-round",
        "answered in the third round",
        [caller("2301", hangup=40)],
        {"101": [rings(), rings(), answers(3)], "102": [rings(), busy(), rings()]},
        length=60,
    )
    yield Scenario(
        "queue-linear-two-rounds",
        "linear: three in vain, then the first answers",
        [caller("2302", hangup=36)],
        {"101": [rings(), answers(3)], "102": [rejects(2), rings()], "103": [rings()]},
        length=46,
    )
    yield Scenario(
        "queue-memory",
        "round robin: two callers at once",
        [caller("2303", hangup=25), caller("2303", 1.2, FIRST + "02", hangup=25)],
        {u: [rings(), answers(4), rings()] for u in ("104", "105", "106", "107")},
        length=40,
    )
    yield Scenario(
        "queue-recent",
        "least recent: one busy, one rejects, one answers",
        [caller("2304", hangup=25)],
        {"108": [busy()], "109": [rejects(3)], "110": [answers(3)], "111": [answers(3)]},
        length=40,
    )
    yield Scenario(
        "queue-timeout",
        "Queue with a timeout of 25 s, then Hangup()",
        [caller("2305")],
        {u: [rings()] for u in ("103", "104", "105", "106", "107")},
        length=32,
    )
    yield Scenario("queue-empty", "joinempty=no", [caller("2306")], length=5)
    yield Scenario(
        "queue-told",
        "position announcements between the rounds",
        [caller("2307", hangup=30)],
        {"111": [rings(), answers(3)], "112": [rings()]},
        length=45,
    )
    yield Scenario(
        "queue-unanswered-left",
        "a queue that only rings: the caller cancels",
        [caller("2308", cancel=9)],
        {u: [rings()] for u in ("103", "104", "105", "106", "107")},
        length=14,
    )
    yield Scenario(
        "queue-unanswered-reached",
        "a queue that only rings: answered",
        [caller("2308", hangup=5)],
        {**{u: [rings()] for u in ("103", "104", "105", "106")}, "107": [answers(6)]},
        length=17,
    )
    yield Scenario(
        "queue-unanswered-timeout",
        "a queue that only rings: its timeout",
        [caller("2315")],
        {u: [rings()] for u in ("104", "105", "106", "107")},
        length=36,
    )
    yield Scenario(
        "queue-local",
        "Local members: one answers",
        [caller("2309", hangup=20)],
        {"115": [rings()], "116": [answers(5)], "117": [busy()]},
        length=27,
    )
    yield Scenario(
        "queue-local-left",
        "Local members: the caller leaves",
        [caller("2309", hangup=8)],
        {u: [rings()] for u in ("115", "116", "117")},
        length=14,
    )
    yield Scenario(
        "queue-local-timeout",
        "Local members in turn: the queue's timeout",
        [caller("2310")],
        {u: [rings()] for u in ("118", "119", "120")},
        length=45,
    )
    yield Scenario(
        "queue-option-C",
        "option C: 200/26 on every CANCEL",
        [caller("2312", hangup=16)],
        two,
        length=22,
    )
    yield Scenario(
        "queue-option-C-answered",
        "option C: answered",
        [caller("2312", hangup=16)],
        {"101": [rings()], "102": [answers(4)]},
        length=22,
    )
    yield Scenario(
        "queue-short-timeout",
        "the queue's timeout before the members'",
        [caller("2313")],
        two,
        length=13,
    )
    yield Scenario(
        "queue-once-mailbox",
        "option n, then the mailbox",
        [caller("2314")],
        {u: [rings()] for u in ("108", "109", "110", "111")},
        length=40,
    )
    yield Scenario(
        "queue-dead-members",
        "one silent, one dead, one unavailable",
        [caller("2305", hangup=24)],
        {
            "103": [silent()],
            "104": [dies_ringing()],
            "105": [fails(503)],
            "106": [disturbed(480)],
            "107": [rings()],
        },
        length=62,
    )
    yield Scenario(
        "queue-behind-announcement",
        "announcement, then the queue",
        [caller("2316", hangup=20)],
        {"101": [rings()], "102": [answers(5)]},
        length=28,
    )
    yield Scenario(
        "queue-of-three-callers",
        "three callers, two agents",
        [
            caller("2301", 0.5, hangup=20),
            caller("2301", 2.0, FIRST + "02", hangup=20),
            caller("2301", 3.0, FIRST + "03", hangup=13),
        ],
        {"101": [answers(5, talk=6), answers(3)], "102": [rings(), answers(4)]},
        length=32,
    )


def callers() -> Iterable[Scenario]:
    quiet = {u: [rings()] for u in ("101", "102", "103")}
    yield Scenario(
        "same-number-twice",
        "two calls from one number at once",
        [caller("31501", 0.5, cancel=8), caller("31502", 0.53)],
        quiet,
        length=20,
    )
    yield Scenario(
        "same-number-three",
        "three calls from one number, 100 ms apart",
        [caller("31501", 0.5, hangup=5), caller("31502", 0.6), caller("31503", 0.7, cancel=6)],
        {"101": [answers(4)], "102": [rejects(5)], "103": [rings()]},
        length=20,
    )
    anonymous = {"domain": "anonymous.invalid", "display": "Anonymous"}
    yield Scenario(
        "anonymous-three",
        "three anonymous callers",
        [
            caller("31201", 0.5, "anonymous", **anonymous),
            caller("31202", 1.1, "anonymous", cancel=7, **anonymous),
            caller("31203", 1.9, "anonymous", hangup=4, **anonymous),
        ],
        {"101": [rings()], "102": [rings()], "103": [answers(3)]},
        length=17,
    )
    asserted = [["P-Asserted-Identity", "<sip:+905321112233@carrier.example>"], ["Privacy", "id"]]
    yield Scenario(
        "anonymous-asserted",
        "anonymous with P-Asserted-Identity",
        [caller("31201", 0.5, "anonymous", headers=asserted, **anonymous)],
        quiet,
        length=16,
    )
    formats = ("+905321112233", "00905321112233", "05321112233", "5321112233")
    yield Scenario(
        "number-formats",
        "one number in four forms, to DIDs in three",
        [
            caller(to, 0.5 + 0.9 * n, user)
            for n, (user, to) in enumerate(
                zip(
                    formats,
                    ("+4930555531001", "004930555531002", "030555531003", "31004"),
                    strict=True,
                )
            )
        ],
        {u: [rings()] for u in ("101", "102", "103", "104")},
        length=17,
    )
    yield Scenario(
        "rewritten-caller",
        "the dialplan rewrites the caller's number",
        [
            caller("*6131001", 0.5, "+905321112233", cancel=7),
            caller("*6231002", 0.8, "+905321112244"),
            caller("*6331003", 1.4, "+905321112255"),
            caller("*6431004", 2.0, "+905321112266"),
        ],
        {u: [rings()] for u in ("101", "102", "103", "104")},
        length=16,
    )


def phones() -> Iterable[Scenario]:
    challenged = Options(challenged=("111", "112"))
    yield Scenario(
        "internal-answered",
        "111 calls 102, challenged",
        [inside("111", "102", hangup=4)],
        {"102": [answers(3)]},
        length=11,
        options=challenged,
    )
    yield Scenario(
        "internal-no-answer",
        "111 calls 102, nobody picks up",
        [inside("111", "102")],
        {"102": [rings()]},
        length=25,
        options=challenged,
    )
    yield Scenario(
        "internal-left",
        "111 calls 102, gives up",
        [inside("111", "102", cancel=7)],
        {"102": [rings()]},
        length=12,
        options=challenged,
    )
    yield Scenario(
        "internal-declined",
        "111 calls 102, who rejects",
        [inside("111", "102")],
        {"102": [rejects(3, 603)]},
        length=8,
        options=challenged,
    )
    yield Scenario(
        "internal-wrong-password",
        "111 has a wrong password",
        [inside("111", "102") | {"password": "wrong"}],
        length=5,
        options=challenged,
    )
    yield Scenario(
        "internal-never-retried",
        "111 does not answer the challenge",
        [inside("111", "102") | {"password": ""}],
        length=40,
        options=challenged,
    )
    yield Scenario(
        "internal-to-group",
        "111 calls a ring group",
        [inside("111", "2201", hangup=5)],
        {"101": [rings()], "102": [answers(4)], "103": [busy()]},
        length=14,
        options=challenged,
    )
    yield Scenario(
        "internal-both-ways",
        "111 calls 112 while 112 calls 111",
        [inside("111", "112", 0.5, hangup=6), inside("112", "111", 0.6, cancel=8)],
        {"111": [rings()], "112": [answers(3)]},
        length=14,
        options=challenged,
    )
    yield from unreachable()


def unreachable() -> Iterable[Scenario]:
    registering = Options(
        registering=("101", "102"), challenged=("101", "102"), qualified=("101", "102")
    )
    register = {"what": "register", "host": "101", "at": 0.2}
    yield Scenario(
        "registered-answered",
        "101 registers, is pinged, answers",
        [caller("32001", 3.0, hangup=4)],
        {"101": [answers(2)]},
        length=14,
        options=registering,
        events=[register | {"expires": 120}],
    )
    yield Scenario(
        "registration-expired",
        "101 registers for 10 s and not again",
        [caller("32001", 3.0, hangup=2), caller("32001", 16.0, FIRST + "02")],
        {"101": [answers(2)]},
        length=22,
        options=registering,
        events=[register | {"expires": 10, "again": False}],
    )
    yield Scenario(
        "registration-removed",
        "101 signs off before the call",
        [caller("32001", 5.0)],
        length=10,
        options=registering,
        events=[register | {"expires": 120}, register | {"expires": 0, "at": 3.0}],
    )
    yield Scenario(
        "never-registered",
        "101 never registered",
        [caller("32001", 1.0)],
        length=6,
        options=registering,
    )
    yield Scenario(
        "pings-then-dies",
        "101 answers pings, dies, is called before it is missed",
        [caller("31201", 9.0)],
        length=60,
        options=Options(
            registering=("101",), challenged=("101",), qualified=("101",), qualify_frequency=60
        ),
        events=[register | {"expires": 120}, {"what": "dies", "host": "101", "at": 8.0}],
    )
    yield Scenario(
        "pings-then-missed",
        "101 dies, is missed by the pings, then called",
        [caller("31201", 16.0)],
        length=24,
        options=registering,
        events=[register | {"expires": 120}, {"what": "dies", "host": "101", "at": 4.0}],
    )
    moved = {
        "user": "101",
        "address": "10.30.0.11",
        "port": 5072,
        "password": PASSWORD,
        "behaviours": [answers(2)],
        "own": True,
    }
    yield Scenario(
        "moves-to-another-port",
        "101 is called on its old port, registers from another",
        [caller("31201", 4.0), caller("31201", 22.0, FIRST + "02", hangup=3)],
        length=46,
        options=Options(registering=("101",), challenged=("101",)),
        hosts=[moved],
        events=[
            register | {"expires": 120, "port": 5060},
            {"what": "dies", "host": "101", "port": 5060, "at": 3.0},
            register | {"expires": 120, "port": 5072, "at": 18.0},
        ],
    )
    yield Scenario(
        "registered-refuses",
        "101 registered, do not disturb with 480",
        [caller("32001", 2.0)],
        {"101": [disturbed(480)]},
        length=7,
        options=registering,
        events=[register | {"expires": 120}],
    )


def outgoing() -> Iterable[Scenario]:
    def out(
        name: str,
        fact: str,
        behaviour: Behaviour,
        length: float,
        number: str = "0441234567",
        **more: Any,
    ) -> Scenario:
        called = number[1:] if number.startswith("90") else number
        return Scenario(
            name, fact, [inside("106", number, **more)], numbers={called: behaviour}, length=length
        )

    yield out("out-answered", "answered after ringing", far_answers(4), 12, hangup=4)
    yield out("out-answered-early", "answered after early media", far_answers(4, 0.3), 12, hangup=4)
    yield out("out-busy", "486 at once", far_refuses(486, 0.4), 5)
    yield out("out-busy-early", "busy tone as early media, then 486", far_refuses(486, 5, 0.3), 9)
    yield out("out-404", "404", far_refuses(404, 0.5), 5)
    yield out("out-503", "503", far_refuses(503, 0.5), 5)
    yield out("out-403", "403", far_refuses(403, 0.5), 5)
    yield out("out-404-early", "announcement as early media, then 404", far_refuses(404, 5, 0.3), 9)
    yield out("out-no-answer", "nobody picks up, the PBX's timer", far_rings(), 30, "90441234567")
    yield out(
        "out-no-answer-early", "early media, the PBX's timer", far_rings(0.3), 30, "90441234567"
    )
    yield out("out-left", "the agent gives up", far_rings(), 16, cancel=11)
    yield out(
        "out-declined",
        "603 after ringing",
        {**rejects(6, 603, 0.4), "says": "the called party declines: 603"},
        10,
    )
    yield out("out-480", "480 at once", far_refuses(480, 0.4), 5)
    yield out("out-silent", "the carrier is silent", silent(), 40)
    yield out(
        "out-challenged",
        "the carrier asks for credentials",
        far_answers(3, challenge=True),
        11,
        hangup=4,
    )
    yield Scenario(
        "out-originated",
        "click to call: the PBX rings 103, then the carrier",
        [],
        {"103": [answers(2)]},
        numbers={"0445556677": far_answers(3, talk=4)},
        length=16,
        console=[(1.0, "channel originate PJSIP/103 extension 0445556677@internal")],
    )
    yield Scenario(
        "out-originated-agent-away",
        "click to call: 103 does not pick up",
        [],
        {"103": [rings()]},
        length=36,
        console=[(1.0, "channel originate PJSIP/103 extension 0445556677@internal")],
    )
    yield Scenario(
        "out-originated-busy",
        "click to call: the called party is busy",
        [],
        {"103": [answers(2)]},
        numbers={"0445556677": far_refuses(486, 0.4)},
        length=10,
        console=[(1.0, "channel originate PJSIP/103 extension 0445556677@internal")],
    )
    yield Scenario(
        "direct-media",
        "re-INVITEs so that media goes direct",
        [caller("32001", hangup=5)],
        {"101": [answers(2)]},
        length=12,
        options=Options(direct_media=True),
    )


def other_programs() -> Iterable[Scenario]:
    for name, fact, played, length, registering in programs():
        options = Options(registering=registering, challenged=registering)
        yield Scenario(name, fact, [], length=length, options=options, programs=played)


def all_scenarios() -> list[Scenario]:
    parts = (
        single,
        forwards_and_transfers,
        ring_groups,
        queued,
        callers,
        phones,
        outgoing,
        other_programs,
        odd_views,
    )
    return [scenario for part in parts for scenario in part()]
