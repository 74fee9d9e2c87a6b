"""One leg from the PBX to a telephone or carrier: every way in which it can end.

The PBX (SIPp) calls, the device (SIPp, or a dead one) does what the fact says. Rule numbers are
those of the decision procedure.
"""

from __future__ import annotations

from collections.abc import Callable

from flows import CANCELLED, HANG_UP, PROGRESS, RING, TRY, cancelled, refusal
from lab import PBX_VIEW, Expect, Lab, Loss, Scenario, View


def plays(
    ladder: str, to: str = "101", user: str = "", seconds: float = 60
) -> Callable[[Lab], None]:
    def play(lab: Lab) -> None:
        lab.call("pbx", to, ladder, user=user, seconds=seconds)

    return play


def leg(
    name: str, fact: str, ladder: str, expected: str, confidence: str, why: str, *,
    invites: int = 1, to: str = "101", user: str = "", seconds: float = 60,
    acceptable: tuple[str, ...] = (), reinvites: int = 0, view: View = PBX_VIEW,
) -> Scenario:  # fmt: skip
    """A capture of one leg, played by one ladder."""
    expect = Expect("pbx", to, user or to, expected, why, confidence, acceptable, invites)
    return Scenario(name, fact, plays(ladder, to, user, seconds), (expect,),
                    reinvites=reinvites, view=view)  # fmt: skip


# Calls in a row ------------------------------------------------------------------------------

CAUSES: tuple[tuple[str, str, str, str], ...] = (
    # number called, ladder, outcome, why
    ("0301", refusal(503, headers="{Reason: Q.850;cause=17}"), "agent_busy", "cause 17 user busy"),
    ("0302", refusal(503, headers="{Reason: Q.850;cause=1}"), "not_found", "cause 1 unallocated"),
    ("0303", refusal(480, headers='{Reason: Q.850 ;cause=20 ;text="subscriber absent"}'),
     "unavailable", "cause 20 subscriber absent"),
    ("0304", refusal(480, headers="{Reason: Q.850;cause=18}"), "device_not_responding",
     "cause 18 no user responding"),
    ("0305", refusal(480, 3, "{Reason: Q.850;cause=19}"), "no_answer", "cause 19 no answer"),
    ("0306", refusal(603, headers="{Reason: Q.850;cause=21}"), "declined/automatic",
     "cause 21 call rejected, nothing rang (rule 10's ringing gives the detail)"),
    ("0307", refusal(500, headers="{Reason: Q.850;cause=88}"), "not_acceptable", "cause 88"),
    ("0308", refusal(500, headers="{Reason: Q.850;cause=57}"), "unauthorized", "cause 57"),
    ("0309", refusal(480, headers="{Reason: SIP;cause=480, Q.850;cause=34}"), "server_failure",
     "cause 34 no circuit, second value of one Reason header"),
    ("0310", refusal(503, headers="{Reason: Q.850;cause=102}"), "connection_timeout/after_trying",
     "cause 102 recovery on timer expiry, only a 100 had come"),
    ("0311", "> INVITE\n< 100\n< 183 {Reason: Q.850;cause=1}\nwait 2\n< 480\n> ACK\n", "not_found",
     "cause 1 on the 183: the gateway's true cause, the 480 has none"),
    ("0312", refusal(486, headers="{Reason: Q.850;cause=16}"), "agent_busy",
     "cause 16 says nothing, rule 8 does"),
)  # fmt: skip

CANCEL_REASONS: tuple[tuple[str, str, str, str, str], ...] = (
    # called, Reason, outcome, confidence, why
    ("101", '{Reason: SIP;cause=200;text="Call completed elsewhere"}',
     "redirected/answered_elsewhere", "explicit", "Reason 200, no other leg in view to refute it"),
    ("102", "{Reason: Q.850;cause=26}", "redirected/answered_elsewhere", "explicit",
     "cause 26 non-selected user clearing, no other leg in view"),
    ("103", '{Reason: SIP;cause=603;text="Declined"}', "redirected/declined_elsewhere",
     "explicit", "Reason 603: another target declined for all"),
    ("104", "{Reason: Q.850;cause=19}", "no_answer", "explicit", "cause 19 and it rang"),
    ("105", '{Reason: SIP;cause=487;text="ORIGINATOR_CANCEL"}', "briefly_abandoned", "explicit",
     "the Reason names the originator, his leg is not in view; 3 s after the 180"),
)  # fmt: skip

RARE: tuple[tuple[int, str, str], ...] = (
    # status, outcome, why
    (400, "other_failure", "no row of its own"),
    (402, "other_failure", "no row of its own"),
    (405, "other_failure", "no row of its own"),
    (410, "not_found", "gone"),
    (416, "other_failure", "no row of its own"),
    (420, "not_acceptable", "an extension is refused and the PBX does not retry without it"),
    (421, "not_acceptable", "an extension is required and the PBX does not retry with it"),
    (433, "other_failure", "no row of its own"),
    (481, "other_failure", "no row of its own"),
    (482, "server_failure", "loop"),
    (483, "server_failure", "too many hops"),
    (485, "not_found", "ambiguous"),
    (501, "server_failure", "5xx other than 504"),
    (502, "server_failure", "5xx other than 504"),
    (505, "server_failure", "5xx other than 504"),
    (513, "server_failure", "5xx other than 504"),
    (580, "server_failure", "5xx other than 504"),
    (604, "not_found", "does not exist anywhere"),
    (606, "not_acceptable", "media not acceptable anywhere"),
)


def play_causes(lab: Lab) -> None:
    for number, ladder, _, _ in CAUSES:
        lab.call("pbx", "carrier", ladder, user=number, from_user="4930222100")


def play_cancel_reasons(lab: Lab) -> None:
    for called, reason, *_ in CANCEL_REASONS:
        lab.call("pbx", called, cancelled(3, reason))


def play_rare(lab: Lab) -> None:
    for code, _, _ in RARE:
        lab.call("pbx", "101", refusal(code), user=f"1{code}")


# Dead devices --------------------------------------------------------------------------------


def play_silent(lab: Lab) -> None:
    lab.silent("101")
    lab.dial("pbx", "101", "> INVITE\n< 180\n", seconds=45)
    lab.wait(34)


def play_closed_port(lab: Lab) -> None:
    lab.dial("pbx", "101", "> INVITE\n< 180\n", seconds=45)
    lab.wait(34)


def freezes(seen: str, wait: float, cancel: bool, listen: float) -> Callable[[Lab], None]:
    """The device sends what ``seen`` says and dies, its port still open."""

    def play(lab: Lab) -> None:
        device = lab.answer("101", f"{seen}< wait 60\n", seconds=240)
        tail = f"> wait {wait}\n> CANCEL\n< 200 CANCEL\n" if cancel else f"> wait {wait}\n"
        lab.dial("pbx", "101", seen + tail, seconds=240)
        lab.seen(b"SIP/2.0 180" if seen == RING else b"SIP/2.0 100")
        device.freeze()
        lab.wait(listen)

    return play


def play_timer_c(lab: Lab) -> None:
    freezes(TRY, 200, False, 185)(lab)
    # A packet of another matter shows that the capture went on: the silence is the device's.
    lab.answer("102", "> OPTIONS\n< 200 OPTIONS\n")
    lab.dial("pbx", "102", "> OPTIONS\n< 200 OPTIONS\n", port=5070).wait(10)


# Losses and delays ---------------------------------------------------------------------------


def lossy(ladder: str, *losses: Loss, delay: float = 0.0) -> Callable[[Lab], None]:
    def play(lab: Lab) -> None:
        wire = lab.wire("101", *losses, delay=delay)
        lab.call("pbx", "101", ladder)
        lab.wait(0.2)
        wire.delay = 0.0

    return play


def play_crossing(lab: Lab) -> None:
    lab.wire("101", delay=0.1)
    callee = lab.answer(
        "101", f"{RING}< wait 4.1\n< 200 once\n> CANCEL\n< 200 CANCEL\n> ACK\n> BYE\n< 200 BYE\n"
    )
    caller = lab.dial(
        "pbx",
        "101",
        f"{RING}> wait 4\n> CANCEL once\n< 200\n> ACK\n< 200 CANCEL\n> BYE\n< 200 BYE\n",
    )
    caller.wait(30)
    callee.wait(30)


def play_never_acked(lab: Lab) -> None:
    callee = lab.answer("101", f"{RING}< wait 2\n< 200\n> ACK\n", seconds=90)
    lab.dial("pbx", "101", f"{RING}< 200\n> wait 60\n", seconds=90)
    lab.wait(37)
    callee.stop()


def play_learned_timer(lab: Lab) -> None:
    """Seven calls, one every second, each given up after 12.0 s of ringing; one after 9 s."""
    ladder = cancelled(12)
    lab.answer("101", ladder, calls=7)
    lab.answer("102", cancelled(9))
    first = lab.dial("pbx", "101", ladder, calls=7, rate=1)
    lab.wait(14)
    other = lab.dial("pbx", "102", cancelled(9), port=5070)
    first.wait(40)
    other.wait(40)


def play_redirect_followed(lab: Lab) -> None:
    one = lab.answer("101", "> INVITE\n< 100\n< 302 to=102@102\n> ACK\n")
    two = lab.answer("102", f"{RING}wait 2\n< 200\n{HANG_UP}")
    caller = lab.dial(
        "pbx", "101",
        f"> INVITE\n< 100\n< 302\n> ACK\n> INVITE to=102@102\n< 100\n< 180\n< 200\n{HANG_UP}",
    )  # fmt: skip
    for process in (caller, one, two):
        process.wait(30)


SCENARIOS: list[Scenario] = [
    leg("answered-caller-hangs-up", "rings 3 s, answered, the calling side hangs up",
        f"{RING}wait 3\n< 200\n{HANG_UP}", "answered", "explicit", "rule 1: 2xx and ACK"),
    leg("answered-callee-hangs-up", "rings 2 s, answered, the phone hangs up",
        f"{RING}wait 2\n< 200\n> ACK\nwait 3\n< BYE\n> 200 BYE\n", "answered", "explicit",
        "rule 1: 2xx and ACK"),
    leg("busy-486-at-once", "the user is on the phone: 486 at once", refusal(486), "agent_busy",
        "explicit", "rule 8: 486, no 180"),
    leg("busy-486-half-second-after-180", "a 180 by reflex, 486 half a second later",
        refusal(486, 0.5), "agent_busy", "explicit", "rule 8: no 180 1 s or more before the 486"),
    leg("busy-600", "600 at once", refusal(600), "agent_busy", "explicit", "rule 8: 600, no 180"),
    leg("dnd-603-at-once", "do not disturb: 603 at once", refusal(603), "declined/automatic",
        "explicit", "rule 10: 603, rang less than 0.7 s"),
    leg("reject-603-after-3s", "rings 3 s, the user presses reject: 603", refusal(603, 3),
        "declined/manual", "explicit", "rule 10: 603, rang at least 0.7 s"),
    leg("reject-486-after-3s", "rings 3 s, the user presses reject, this phone says 486",
        refusal(486, 3), "declined/manual", "inferred", "rule 9: a ringing device is not busy"),
    leg("reject-480-after-3s", "rings 3 s, the user presses reject, this phone says 480",
        refusal(480, 3), "declined/manual", "inferred", "rule 11b: 480 before 10 s of ringing"),
    leg("no-answer-480-after-12s", "rings 12 s, the phone's own timer ends it: 480",
        refusal(480, 12), "no_answer", "inferred", "rule 11: 480, rang at least 10 s"),
    leg("no-answer-486-after-30s", "rings 30 s, the phone's own timer ends it with 486",
        refusal(486, 30), "no_answer", "inferred", "rule 8b: within 0.5 s of a 30 s ring timer"),
    leg("no-answer-408-after-12s", "rings 12 s, 408", refusal(408, 12), "no_answer", "inferred",
        "rule 11: 408, rang at least 10 s"),
    leg("lost-408-after-4s", "rings 4 s, then 408", refusal(408, 4),
        "connection_timeout/after_ringing", "inferred", "rule 12b: 408, rang less than 10 s"),
    leg("timeout-408-no-ringing", "the next hop reached nobody: 408 without ringing",
        refusal(408), "device_not_responding", "explicit", "rule 12: 408, no 18x"),
    leg("unavailable-480-at-once", "480 at once from a carrier that never registers", refusal(480),
        "unavailable", "explicit", "rule 11d: 480, no 18x, no registering device, no phone named",
        to="carrier", user="030123"),
    leg("dnd-480-named-phone", "do not disturb: 480 at once, the User-Agent names a desk phone",
        refusal(480, headers="{User-Agent: Yealink SIP-T46U 108.86.0.20}"), "declined/automatic",
        "inferred", "rule 11c: a phone's User-Agent"),
    leg("not-found-404", "404", refusal(404), "not_found", "explicit", "rule 16",
        to="carrier", user="0309999"),
    leg("not-found-484", "484 address incomplete", refusal(484), "not_found", "explicit",
        "rule 16", to="carrier", user="030"),
    leg("not-acceptable-488", "no common codec: 488", refusal(488), "not_acceptable", "explicit",
        "rule 16"),
    leg("not-acceptable-415", "415 unsupported media type", refusal(415), "not_acceptable",
        "explicit", "rule 16"),
    leg("server-failure-500", "500", refusal(500), "server_failure", "explicit", "rule 16"),
    leg("server-failure-503", "503 with Retry-After", refusal(503, headers="{Retry-After: 30}"),
        "server_failure", "explicit", "rule 16", to="carrier", user="030123"),
    leg("server-timeout-504", "504", refusal(504), "connection_timeout/server_timeout",
        "explicit", "rule 7", to="carrier", user="030123"),
    leg("unwanted-607", "rings 2 s, the user marks the call as unwanted: 607", refusal(607, 2),
        "rejection_list", "explicit", "rule 3: RFC 8197"),
    leg("rejected-608", "an analytics engine refuses: 608", refusal(608), "rejection_list",
        "explicit", "rule 3: RFC 8688", to="carrier", user="030123"),
    leg("forbidden-403-by-carrier", "the carrier refuses: 403", refusal(403), "unauthorized",
        "explicit", "rule 16: 403 of a carrier", to="carrier", user="030123"),
    leg("busy-after-early-media", "183 with an announcement for 4 s, then 486",
        f"{PROGRESS}wait 4\n< 486\n> ACK\n", "agent_busy", "explicit",
        "rule 8: a 183 alone is no ringing device", to="carrier", user="030123"),
    leg("terminated-487-without-cancel", "487 that nobody asked for", refusal(487, 2),
        "other_failure", "explicit", "rule 13b"),
    leg("abandoned-after-2s", "rings 2 s, then CANCEL; only this leg in view", cancelled(2),
        "briefly_abandoned", "inferred", "5.1 rule 6: 2 s after the 180"),
    leg("abandoned-after-9s", "rings 9 s, then CANCEL; only this leg in view", cancelled(9),
        "abandoned", "inferred", "5.1 rule 6: 9 s after the 180"),
    leg("cancelled-after-trying-9s", "only a 100 came, CANCEL after 9 s, the device answers it",
        f"{TRY}wait 9\n> CANCEL\n{CANCELLED}", "connection_timeout/after_trying", "inferred",
        "5.1 rule 6: only 100, CANCEL 8 s or later"),
    leg("cancelled-after-trying-3s", "only a 100 came, CANCEL after 3 s, the device answers it",
        f"{TRY}wait 3\n> CANCEL\n{CANCELLED}", "briefly_abandoned", "inferred",
        "5.1 rule 6: before 8 s it is the caller"),
    Scenario("gateway-causes", "twelve calls to a gateway that says why in Reason: Q.850",
             play_causes,
             tuple(Expect("pbx", "carrier", number, outcome, f"rule 4: {why}"
                          if number != "0312" else f"rule 8: {why}", "explicit", fact=why)
                   for number, _, outcome, why in CAUSES)),
    Scenario("cancel-reasons", "five phones ring 3 s and are cancelled with a Reason each",
             play_cancel_reasons,
             tuple(Expect("pbx", called, called, outcome, f"5.1 rule 1: {why}", confidence,
                          fact=reason.strip("{}"))
                   for called, reason, outcome, confidence, why in CANCEL_REASONS)),
    Scenario("rare-statuses", "one call for each final status that is seldom seen", play_rare,
             tuple(Expect("pbx", "101", f"1{code}", outcome, f"rule 16: {why}", "explicit",
                          fact=str(code)) for code, outcome, why in RARE)),
    Scenario("silent-device", "the port is open and the process hangs: no answer to any INVITE",
             play_silent,
             (Expect("pbx", "101", "101", "device_not_responding",
                     "rule 14: all transmissions of Timer A, nothing back", "inferred",
                     invites=7),)),
    Scenario("closed-port", "nothing listens: ICMP port unreachable for every INVITE",
             play_closed_port,
             (Expect("pbx", "101", "101", "device_not_responding", "rule 14: ICMP unreachable",
                     "explicit", invites=7),)),
    Scenario("lost-after-trying", "100, then the phone dies; the CANCEL is never answered",
             freezes(TRY, 12, True, 46),
             (Expect("pbx", "101", "101", "connection_timeout/after_trying",
                     "5.1 rule 0: CANCEL sent again and again, no answer", "inferred"),)),
    Scenario("lost-after-ringing", "100, 180, then the phone dies; the CANCEL is never answered",
             freezes(RING, 12, True, 46),
             (Expect("pbx", "101", "101", "connection_timeout/after_ringing",
                     "5.1 rule 0: CANCEL sent again and again, no answer", "inferred"),)),
    Scenario("lost-after-trying-timer-c", "100, then nothing for more than three minutes",
             play_timer_c,
             (Expect("pbx", "101", "101", "connection_timeout/after_trying",
                     "rule 15: nothing for more than Timer C", "inferred"),)),
    Scenario("never-acked", "the phone answers, nobody ACKs: 200 again and again for 32 s",
             play_never_acked,
             (Expect("pbx", "101", "101", "connection_timeout/no_ack",
                     "rule 2: 2xx retransmitted for 64*T1, no ACK", "inferred"),)),
    Scenario("answer-crosses-cancel", "the handset is lifted while the CANCEL is on its way",
             play_crossing,
             (Expect("pbx", "101", "101", "answered", "RFC 3261 section 9.1: the 2xx wins",
                     "explicit"),), wired=("101",)),
    Scenario("lossy-answered", "first INVITE, first 180, first 200 and first ACK are lost",
             lossy(f"> INVITE\n< 180\nwait 2\n< 200\n{HANG_UP}", Loss(b"INVITE"),
                   Loss(b"SIP/2.0 180"), Loss(b"SIP/2.0 200"), Loss(b"ACK")),
             (Expect("pbx", "101", "101", "answered", "rule 1", "explicit", invites=3),),
             wired=("101",)),
    Scenario("lossy-busy", "the first two INVITEs and the first 486 are lost",
             lossy("> INVITE\n< 486\n> ACK\n", Loss(b"INVITE", 2), Loss(b"SIP/2.0 486")),
             (Expect("pbx", "101", "101", "agent_busy", "rule 8", "explicit", invites=3,
                     ),), wired=("101",)),
    Scenario("lossy-cancel", "the CANCEL is lost twice, then answered: the phone lives",
             lossy(cancelled(7), Loss(b"CANCEL", 2)),
             (Expect("pbx", "101", "101", "abandoned", "5.1 rule 6: the CANCEL was answered",
                     "inferred"),), wired=("101",)),
    Scenario("slow-network-answered", "a round trip of 1.2 s: requests go out again, all arrive",
             lossy(f"{RING}wait 2\n< 200\n{HANG_UP}", delay=0.6),
             (Expect("pbx", "101", "101", "answered", "rule 1", "explicit", invites=2),),
             wired=("101",)),
    Scenario("ring-timer-learned", "seven phones ring 12.0 s and are cancelled without a Reason, "
             "then one after 9 s: the sender's timer shows", play_learned_timer,
             (*(Expect("pbx", "101", "101", "no_answer",
                       f"5.1 rule 5: 12 s is this sender's timer (call {n} of 7)", "inferred",
                       ("abandoned",) if n < 5 else ()) for n in range(1, 8)),
              Expect("pbx", "102", "102", "abandoned", "5.1 rule 6: 9 s is no timer",
                     "inferred"))),
    leg("redirected-302", "302 to another number, not followed by the PBX",
        "> INVITE\n< 100\n< 302 to=102@102\n> ACK\n", "redirected/forwarded", "explicit",
        "rule 5: 3xx not retried"),
    Scenario("redirected-302-followed", "302, the PBX tries the Contact with the same Call-ID",
             play_redirect_followed,
             (Expect("pbx", "101", "101", "answered", "rule 1 on the last leg of the chain",
                     "explicit", invites=2),)),
    leg("retry-422-session-interval", "422 with Min-SE, a second INVITE asks for more",
        "> INVITE {Session-Expires: 90}\n< 100\n< 422 {Min-SE: 1800}\n> ACK\n"
        f"> INVITE {{Session-Expires: 1800}}\n< 100\n< 180\nwait 1\n< 200\n{HANG_UP}",
        "answered", "explicit", "rule 1 after an automatic retry", invites=2),
    leg("retry-491-pending", "491, the PBX waits 2.5 s and asks again",
        f"> INVITE\n< 491\n> ACK\nwait 2.5\n{RING}wait 1\n< 200\n{HANG_UP}",
        "answered", "explicit", "rule 1 after an automatic retry", invites=2),
    leg("retry-420-extension", "420 Unsupported: 100rel, tried again without it; then busy",
        "> INVITE {Require: 100rel}\n< 420 {Unsupported: 100rel}\n> ACK\n"
        "> INVITE\n< 100\n< 486\n> ACK\n", "agent_busy", "explicit",
        "rule 8 after an automatic retry", invites=2),
    leg("reinvite-hold", "answered, held, resumed; a second hold crosses and gets 491",
        f"{RING}wait 1\n< 200\n> ACK\nwait 1\n> INVITE\n< 200\n> ACK\nwait 1\n> INVITE\n< 200\n"
        "> ACK\nwait 1\n> INVITE\n< 491\n> ACK\nwait 1\n> BYE\n< 200 BYE\n",
        "answered", "explicit", "rule 1; an INVITE with a To tag belongs to its dialog",
        reinvites=3),
    leg("prack-answered", "183 and 180 sent reliably (RFC 3262), then answered",
        "> INVITE {Supported: 100rel}\n< 100\n"
        "< 180 {Require: 100rel} {RSeq: 1}\n> PRACK {RAck: 1 1 INVITE}\n< 200 PRACK\n"
        f"wait 2\n< 200\n{HANG_UP}", "answered", "explicit", "rule 1"),
    leg("forked-downstream", "a proxy beyond forks: 180 from two phones, one answers",
        "> INVITE\n< 100\n< 180 tag=a\n< 180 tag=b\nwait 2\n< 200 tag=b\n> ACK\nwait 1\n"
        "> BYE\n< 200 BYE\n", "answered", "explicit", "rule 1; two early dialogs, one leg"),
]  # fmt: skip
