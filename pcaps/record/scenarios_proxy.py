"""Kamailio as the PBX: every hop in view, forks, its timers, its registrar, its refusals.

Phones register with it and are played by SIPp. The caller's leg and the legs to the phones share
a Call-ID; a verdict that needs the other legs is marked by ``single_leg``, what one leg would say.
"""

from __future__ import annotations

from collections.abc import Callable

from flows import CANCELLED, HANG_UP, PROGRESS, RING, TRY, answered, cancelled, refusal
from lab import Expect, Lab, Loss, Scenario

# Kamailio answers 100 itself; phones' 180 and finals pass through.
RUNG_OUT = f"{RING}< 408\n> ACK\n"
LEFT = f"{RING}> CANCEL\n{CANCELLED}"


def phones(lab: Lab, ladders: dict[str, str], **defines: object) -> None:
    """Start the proxy, register the phones and let them wait for calls."""
    lab.kamailio(**defines)
    for name, ladder in ladders.items():
        lab.register(name)
        lab.answer(name, ladder, vias=2, seconds=200)


def plays(
    ladders: dict[str, str], caller: str, called: str, *, source: str = "carrier",
    seconds: float = 90.0, after: float = 0.0, **defines: object,
) -> Callable[[Lab], None]:  # fmt: skip
    """Phones play their ladders, one caller plays his."""

    def play(lab: Lab) -> None:
        phones(lab, ladders, **defines)
        lab.dial(source, "pbx", caller, called, seconds=seconds).wait(seconds + 5)
        lab.wait(after)

    return play


def inbound(called: str, expected: str, why: str, confidence: str = "", single_leg: str = "",
            acceptable: tuple[str, ...] = (), source: str = "carrier",
            invites: int = 1) -> Expect:  # fmt: skip
    return Expect(source, "pbx", called, expected, why, confidence, acceptable, invites, single_leg)


def agent(phone: str, expected: str, why: str, confidence: str = "", single_leg: str = "",
          acceptable: tuple[str, ...] = (), invites: int = 1,
          user: str = "") -> Expect:  # fmt: skip
    return Expect("pbx", phone, user or phone, expected, why, confidence, acceptable, invites,
                  single_leg)  # fmt: skip


def kamailio(name: str, fact: str, play: Callable[[Lab], None], *attempts: Expect,
             wired: tuple[str, ...] = (), config: dict[str, object] | None = None,
             reinvites: int = 0) -> Scenario:  # fmt: skip
    return Scenario(name, fact, play, attempts, reinvites=reinvites, wired=wired,
                    config=config or {}, tools="SIPp+Kamailio")  # fmt: skip


# Fork timers of Kamailio: T1 doubling to T2 = 4 s, fr_timer 30 s.
SILENT_INVITES = 10


def play_silent(lab: Lab) -> None:
    lab.kamailio()
    lab.register("101")
    lab.silent("101")
    lab.dial("carrier", "pbx", f"{TRY}< 408\n> ACK\n", "101").wait(50)
    lab.wait(1)


def play_closed_port(lab: Lab) -> None:
    lab.kamailio()
    lab.register("101")
    lab.dial("carrier", "pbx", f"{TRY}< 408\n> ACK\n", "101").wait(50)
    lab.wait(1)


def play_dies_ringing(lab: Lab) -> None:
    lab.kamailio(FR_INV_TIMER=12000)
    lab.register("101")
    phone = lab.answer("101", f"{RING}< wait 100\n", seconds=100)
    caller = lab.dial("carrier", "pbx", RUNG_OUT, "101")
    lab.seen(b"SIP/2.0 180")
    phone.freeze()
    caller.wait(50)
    lab.wait(34)


def play_two_contacts(lab: Lab) -> None:
    """One user, two telephones."""
    lab.kamailio()
    for name, ladder in (("101", LEFT), ("102", answered(3))):
        lab.register(name, user="101")
        lab.answer(name, ladder, "101", vias=2)
    lab.dial("carrier", "pbx", answered(0), "101").wait(40)
    lab.wait(1)


def play_unregistered(lab: Lab) -> None:
    """101 signs off before the call; 104 never signed on."""
    lab.kamailio()
    lab.register("101")
    lab.register("101", expires=0)
    for called in ("101", "104"):
        lab.dial("carrier", "pbx", "> INVITE\n< 404\n> ACK\n", called).wait(20)


def play_blacklist(lab: Lab) -> None:
    """An ordinary call, then two callers whom the house refuses."""
    phones(lab, {"101": answered(1, 1)})
    lab.dial("carrier", "pbx", answered(0, 1), "101").wait(30)
    for number, code in (("666", 403), ("667", 603)):
        refused = f"> INVITE\n< {code}\n> ACK\n"
        lab.dial("carrier", "pbx", refused, "101", from_user=number).wait(20)


def play_auth(lab: Lab) -> None:
    phones(lab, {"101": refusal(486, 3)}, WITH_AUTH=True)
    challenge = "> INVITE\n< 407 auth\n> ACK\n> INVITE auth\n< 100\n< 180\n< 486\n> ACK\n"
    lab.dial("105", "pbx", challenge, "101").wait(30)


def play_two_callers(lab: Lab) -> None:
    """Two callers with one number at the same time: one is declined, one gives up."""
    phones(lab, {"101": refusal(603, 4), "102": LEFT})
    one = lab.dial("carrier", "pbx", f"{RING}< 603\n> ACK\n", "101")
    two = lab.dial("105", "pbx", cancelled(7), "102", from_user="+49301110000")
    one.wait(40)
    two.wait(40)


def play_crossing(lab: Lab) -> None:
    """The phone is 0.3 s away; it answers while the caller's CANCEL is on its way."""
    lab.kamailio()
    lab.wire("101", delay=0.15)
    lab.register("101")
    lab.answer(
        "101", f"{RING}< wait 4.15\n< 200 once\n> CANCEL\n< 200 CANCEL\n> ACK\n> BYE\n< 200 BYE\n",
        vias=2,
    )  # fmt: skip
    caller = f"{RING}> wait 4\n> CANCEL\n< 200 CANCEL\n< 200\n{HANG_UP}"
    lab.dial("carrier", "pbx", caller, "101").wait(40)
    lab.wait(1)


def play_lossy(lab: Lab) -> None:
    """Between proxy and phone the INVITE, the 200 and the ACK are lost once."""
    lab.kamailio()
    wire = lab.wire("101")
    lab.register("101")
    wire.lose(Loss(b"INVITE"), Loss(b"SIP/2.0 200"), Loss(b"ACK"))
    lab.answer("101", f"> INVITE\n< 180\nwait 2\n< 200\n{HANG_UP}", vias=2)
    lab.dial("carrier", "pbx", answered(0, 4), "101").wait(40)


SCENARIOS: list[Scenario] = [
    kamailio("proxy-answered", "101 rings 3 s and answers",
             plays({"101": answered(3)}, answered(0), "101"),
             inbound("101", "answered", "rule 1", "explicit"),
             agent("101", "answered", "rule 1", "explicit")),
    kamailio("proxy-busy", "101 is on the phone: 486 at once",
             plays({"101": refusal(486)}, f"{TRY}< 486\n> ACK\n", "101"),
             inbound("101", "agent_busy", "rule 3c: its agent's outcome"),
             agent("101", "agent_busy", "rule 8", "explicit")),
    kamailio("proxy-declined", "101 rings 3 s, the user presses reject: 603",
             plays({"101": refusal(603, 3)}, f"{RING}< 603\n> ACK\n", "101"),
             inbound("101", "declined/manual", "rule 3c: its agent's outcome"),
             agent("101", "declined/manual", "rule 10", "explicit")),
    kamailio("proxy-no-answer-30s", "101 rings 30 s, the proxy's timer ends it: CANCEL, 408",
             plays({"101": LEFT}, RUNG_OUT, "101", after=1),
             inbound("101", "no_answer", "rule 3c: its agent's outcome"),
             agent("101", "no_answer", "5.1 rule 4: the caller's leg was alive", "correlated",
                   single_leg="abandoned")),
    kamailio("proxy-no-answer-480-phone-timer", "101 rings 12 s, its own timer ends it: 480",
             plays({"101": refusal(480, 12)}, f"{RING}< 480\n> ACK\n", "101"),
             inbound("101", "no_answer", "rule 3c: its agent's outcome"),
             agent("101", "no_answer", "rule 11", "inferred")),
    kamailio("proxy-silent-device", "101 registered, its process hangs; after 30 s 408",
             play_silent,
             inbound("101", "device_not_responding", "rule 3c: its agent's outcome"),
             agent("101", "device_not_responding", "rule 14", invites=SILENT_INVITES)),
    kamailio("proxy-closed-port", "101 registered and was switched off: ICMP, after 30 s 408",
             play_closed_port,
             inbound("101", "device_not_responding", "rule 3c: its agent's outcome"),
             agent("101", "device_not_responding", "rule 14: ICMP", "explicit",
                   invites=SILENT_INVITES)),
    kamailio("proxy-dies-ringing", "101 rings and dies; the proxy cancels after 12 s, unanswered",
             play_dies_ringing,
             inbound("101", "connection_timeout/after_ringing", "rule 3c: its agent's outcome",
                     single_leg="no_answer", acceptable=("no_answer",)),
             agent("101", "connection_timeout/after_ringing",
                   "5.1 rule 0: the CANCEL was never answered", "inferred")),
    kamailio("proxy-abandoned-2s", "101 rings, the caller gives up after 2 s",
             plays({"101": LEFT}, cancelled(2), "101", after=1),
             inbound("101", "briefly_abandoned", "5.1 rule 3", "correlated"),
             agent("101", "briefly_abandoned", "5.1 rule 3: his CANCEL came just before",
                   "correlated")),
    kamailio("proxy-abandoned-9s", "101 rings, the caller gives up after 9 s",
             plays({"101": LEFT}, cancelled(9), "101", after=1),
             inbound("101", "abandoned", "5.1 rule 3", "correlated"),
             agent("101", "abandoned", "5.1 rule 3: his CANCEL came just before", "correlated")),
    kamailio("ring-all-one-answers", "101, 102 and 103 ring; 102 answers after 3 s",
             plays({"101": LEFT, "102": answered(3), "103": LEFT}, answered(0), "200", after=1),
             inbound("200", "answered", "rule 1", "explicit"),
             agent("101", "redirected/answered_elsewhere", "5.1 rule 1 or 2: 102 answered"),
             agent("102", "answered", "rule 1", "explicit"),
             agent("103", "redirected/answered_elsewhere", "5.1 rule 1 or 2: 102 answered")),
    kamailio("ring-all-all-decline", "101 and 102 reject with 486 after 2 and 3 s, 103 with 486 "
             "after 4 s", plays({"101": refusal(486, 2), "102": refusal(486, 3),
                                 "103": refusal(486, 4)}, f"{RING}< 486\n> ACK\n", "200"),
             inbound("200", "declined/manual", "rule 3c: all its agents declined"),
             *(agent(name, "declined/manual", "rule 9", "inferred")
               for name in ("101", "102", "103"))),
    kamailio("ring-all-603-ends-all", "101 rejects with 603 after 3 s: the proxy cancels the rest",
             plays({"101": refusal(603, 3), "102": LEFT, "103": LEFT},
                   f"{RING}< 603\n> ACK\n", "200", after=1),
             inbound("200", "declined/manual", "rule 3c: an agent declined"),
             agent("101", "declined/manual", "rule 10", "explicit"),
             agent("102", "redirected/declined_elsewhere", "5.1 rule 1: Reason 603"),
             agent("103", "redirected/declined_elsewhere", "5.1 rule 1: Reason 603")),
    kamailio("ring-all-mixed", "101 busy, 102 declines after 2 s, 103 rings until the proxy's "
             "12 s timer", plays({"101": refusal(486), "102": refusal(480, 2), "103": LEFT},
                                 f"{RING}< 408\n> ACK\n", "200", after=1, FR_INV_TIMER=12000),
             inbound("200", "declined/manual", "rule 3c: declined comes first",
                     single_leg="no_answer"),
             agent("101", "agent_busy", "rule 8", "explicit"),
             agent("102", "declined/manual", "rule 11b", "inferred"),
             agent("103", "no_answer", "5.1 rule 4: the caller's leg was alive", "correlated")),
    kamailio("ring-all-abandoned", "101, 102 and 103 ring; the caller gives up after 6 s",
             plays({"101": LEFT, "102": LEFT, "103": LEFT}, cancelled(6), "200", after=1),
             inbound("200", "abandoned", "5.1 rule 3", "correlated"),
             *(agent(name, "abandoned", "5.1 rule 3: his CANCEL came just before", "correlated")
               for name in ("101", "102", "103"))),
    kamailio("ring-all-two-contacts", "user 101 has two telephones, the second answers after 3 s",
             play_two_contacts,
             inbound("101", "answered", "rule 1", "explicit"),
             agent("101", "redirected/answered_elsewhere", "5.1 rule 1 or 2: the other answered"),
             agent("102", "answered", "rule 1", "explicit", user="101")),
    kamailio("hunt-busy-then-answered", "101 is busy, then 102 is tried and answers",
             plays({"101": refusal(486), "102": answered(3)}, answered(0), "200", HUNT=True),
             inbound("200", "answered", "rule 1", "explicit"),
             agent("101", "agent_busy", "rule 8", "explicit"),
             agent("102", "answered", "rule 1", "explicit")),
    kamailio("hunt-nobody-answers", "101 rings 10 s, then 102 rings 10 s, then 408",
             plays({"101": LEFT, "102": LEFT}, f"{RING}< 180\n< 408\n> ACK\n", "200", after=1,
                   HUNT=True, FR_INV_TIMER=10000),
             inbound("200", "no_answer", "rule 3c: nobody answered"),
             agent("101", "no_answer", "5.1 rule 4: the caller's leg was alive", "correlated"),
             agent("102", "no_answer", "5.1 rule 4: the caller's leg was alive", "correlated")),
    kamailio("proxy-challenged-then-declined", "105 calls 101: 407, credentials; 101 rejects with "
             "486 after 3 s", play_auth,
             inbound("101", "declined/manual", "rule 3c: its agent's outcome", source="105",
                     invites=2),
             agent("101", "declined/manual", "rule 9", "inferred")),
    kamailio("proxy-wrong-password", "105 calls 101: 407, wrong credentials, 407",
             plays({}, "> INVITE\n< 407 auth\n> ACK\n> INVITE badauth\n< 407\n> ACK\n", "101",
                   source="105", WITH_AUTH=True),
             inbound("101", "unauthorized", "rule 6: 407 last in the chain", "explicit",
                     source="105", invites=2)),
    kamailio("proxy-not-registered", "101 signed off before the call, 104 never signed on: 404",
             play_unregistered,
             inbound("101", "unavailable", "404 of a host that answered this user's REGISTERs"),
             inbound("104", "not_found", "rule 16: 404, never registered here", "explicit")),
    kamailio("proxy-dnd-480-registered", "101 registered, do not disturb: 480 at once",
             plays({"101": refusal(480)}, f"{TRY}< 480\n> ACK\n", "101"),
             inbound("101", "declined/automatic", "rule 3c: its agent's outcome",
                     single_leg="unavailable"),
             agent("101", "declined/automatic", "rule 11c: it registers here", "inferred")),
    kamailio("proxy-blacklist", "an ordinary call, then two callers are refused: 403, 603",
             play_blacklist,
             inbound("101", "answered", "rule 1", "explicit"),
             agent("101", "answered", "rule 1", "explicit"),
             inbound("101", "rejection_list", "rule 3b: 403 at once, no agent tried",
                     "correlated", "unauthorized"),
             inbound("101", "rejection_list", "rule 3b: 603 at once, no agent tried",
                     "correlated", "declined/automatic")),
    kamailio("proxy-redirect-passed-on", "101 answers 302 to 104; the proxy passes it on",
             plays({"101": "> INVITE\n< 100\n< 302 to=104@104\n> ACK\n"},
                   f"{TRY}< 302\n> ACK\n", "101"),
             inbound("101", "redirected/forwarded", "rule 3c: its agent's outcome"),
             agent("101", "redirected/forwarded", "rule 5", "explicit")),
    kamailio("proxy-redirect-followed", "101 answers 302 to 104; the proxy follows, 104 answers",
             plays({"101": "> INVITE\n< 100\n< 302 to=104@104\n> ACK\n", "104": answered(2)},
                   answered(0), "101", FOLLOW_REDIRECTS=True),
             inbound("101", "answered", "rule 1", "explicit"),
             agent("101", "answered", "3xx retried by the same sender with the same Call-ID and "
                   "From tag: one attempt", "explicit", invites=2)),
    kamailio("proxy-outbound-early-media-busy", "105 calls out; the carrier plays a busy "
             "announcement (183) and says 486 after 4 s",
             plays({"carrier": f"{PROGRESS}wait 4\n< 486\n> ACK\n"}, f"{PROGRESS}< 486\n> ACK\n",
                   "0301234", source="105"),
             inbound("0301234", "agent_busy", "rule 8 and 3c", source="105"),
             agent("carrier", "agent_busy", "rule 8: a 183 is no ringing", "explicit",
                   user="0301234")),
    kamailio("proxy-two-callers", "two calls from one number at once: 101 declines after 4 s, "
             "the caller of 102 gives up after 7 s", play_two_callers,
             inbound("101", "declined/manual", "rule 3c: its agent's outcome"),
             agent("101", "declined/manual", "rule 10", "explicit"),
             inbound("102", "abandoned", "5.1 rule 3", "correlated", source="105"),
             agent("102", "abandoned", "5.1 rule 3: his CANCEL came just before", "correlated")),
    kamailio("proxy-answer-crosses-cancel", "the phone's 200 crosses the CANCEL: both legs get "
             "their 2xx", play_crossing,
             inbound("101", "answered", "RFC 3261 section 9.1: the 2xx wins", "explicit",
                     acceptable=("abandoned", "briefly_abandoned")),
             agent("101", "answered", "RFC 3261 section 9.1: the 2xx wins", "explicit"),
             wired=("101",)),
    kamailio("proxy-lossy-answered", "between proxy and phone INVITE, 200 and ACK are lost once",
             play_lossy,
             inbound("101", "answered", "rule 1", "explicit"),
             agent("101", "answered", "rule 1", "explicit", invites=2), wired=("101",)),
    kamailio("proxy-challenge-not-retried", "105 has no credentials: 407 and no second INVITE",
             plays({}, "> INVITE\n< 407\n> ACK\n", "101", source="105", WITH_AUTH=True),
             inbound("101", "unauthorized", "rule 6: 407 last in the chain", "explicit",
                     source="105")),
]  # fmt: skip
