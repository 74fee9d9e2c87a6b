"""baresip as telephone, caller and even PBX: what a real user agent puts on the wire.

Kamailio is the PBX where nothing else is said. baresip is told what its user would do.
"""

from __future__ import annotations

from collections.abc import Callable

from flows import answered
from lab import Expect, Lab, Scenario, View
from scenarios_proxy import agent, inbound


def dials(lab: Lab, number: str) -> str:
    return f"sip:{number}@{lab['pbx'].address}"


def softphone(name: str, fact: str, play: Callable[[Lab], None], *attempts: Expect,
              reinvites: int = 0, view: View | None = None, tools: str = "baresip+Kamailio",
              config: dict[str, object] | None = None) -> Scenario:  # fmt: skip
    return Scenario(name, fact, play, attempts, reinvites=reinvites, view=view or View(),
                    config=config or {}, tools=tools)  # fmt: skip


def play_answered(lab: Lab) -> None:
    lab.kamailio()
    callee, caller = lab.baresip("101"), lab.baresip("102")
    caller.command("dial", dials(lab, "101"))
    lab.wait(2)
    callee.command("accept")
    lab.wait(1.5)
    caller.command("hangup")
    lab.wait(0.5)


def play_rejected(lab: Lab) -> None:
    lab.kamailio()
    callee, caller = lab.baresip("101"), lab.baresip("102")
    caller.command("dial", dials(lab, "101"))
    lab.wait(3)
    callee.command("hangup")
    lab.wait(0.5)


def play_busy(lab: Lab) -> None:
    """101 takes one call at a time; 103 calls while 101 talks to 102."""
    lab.kamailio()
    callee = lab.baresip("101", settings={"call_max_calls": "1"})
    first, second = lab.baresip("102"), lab.baresip("103")
    first.command("dial", dials(lab, "101"))
    lab.wait(1)
    callee.command("accept")
    lab.wait(1)
    second.command("dial", dials(lab, "101"))
    lab.wait(1)
    first.command("hangup")
    lab.wait(0.5)


def rings_out(seconds: int) -> Callable[[Lab], None]:
    """Nobody lifts the handset; the phone's own timer ends it."""

    def play(lab: Lab) -> None:
        # The proxy's timer must be the longer one.
        lab.kamailio(FR_INV_TIMER=90000)
        lab.baresip("101", settings={"call_local_timeout": str(seconds)})
        caller = lab.baresip("102")
        caller.command("dial", dials(lab, "101"))
        lab.wait(seconds + 1)

    return play


def play_abandoned(lab: Lab) -> None:
    lab.kamailio()
    lab.baresip("101")
    caller = lab.baresip("102")
    caller.command("dial", dials(lab, "101"))
    lab.wait(7)
    caller.command("hangup")
    lab.wait(0.5)


def play_passwords(lab: Lab) -> None:
    """103 has a wrong password, 102 the right one; 102's call is rejected after 3 s."""
    lab.kamailio(WITH_AUTH=True)
    callee, right = lab.baresip("101"), lab.baresip("102")
    wrong = lab.baresip("103", account={"auth_pass": "forgotten"})
    wrong.command("dial", dials(lab, "101"))
    lab.wait(1)
    right.command("dial", dials(lab, "101"))
    lab.wait(3)
    callee.command("hangup")
    lab.wait(0.5)


def play_frozen(lab: Lab) -> None:
    """101 registers, its process hangs, and 102 calls it until the proxy's 30 s are over."""
    lab.kamailio()
    callee, caller = lab.baresip("101"), lab.baresip("102")
    callee.process.freeze()
    caller.command("dial", dials(lab, "101"))
    lab.wait(32)


def play_dials_silent(lab: Lab) -> None:
    lab.silent("101")
    pbx = lab.baresip("pbx", None)
    pbx.command("dial", f"sip:101@{lab['101'].address}")
    lab.wait(33)


def play_never_acked(lab: Lab) -> None:
    """The caller's host hears the 200 and never ACKs it; the phone gives up with a BYE."""
    lab.kamailio()
    lab.baresip("101", account={"answermode": "auto"})
    lab.dial("carrier", "pbx", "> INVITE\n< 100\n< 180\n< 200\n> wait 60\n", "101", seconds=80)
    lab.wait(34)


def play_follows_redirect(lab: Lab) -> None:
    lab.answer("101", "> INVITE\n< 100\n< 302 to=102@102\n> ACK\n")
    lab.answer("102", answered(2))
    pbx = lab.baresip("pbx", None)
    pbx.command("dial", f"sip:101@{lab['101'].address}")
    lab.wait(4)
    pbx.command("hangup")
    lab.wait(0.5)


def play_transfer(lab: Lab) -> None:
    """101 answers 102, holds, takes back, and transfers him blindly to 103."""
    lab.kamailio()
    first, caller, second = lab.baresip("101"), lab.baresip("102"), lab.baresip("103")
    caller.command("dial", dials(lab, "101"))
    lab.wait(1)
    first.command("accept")
    lab.wait(1)
    first.command("hold")
    lab.wait(1)
    first.command("resume")
    lab.wait(1)
    first.command("transfer", dials(lab, "103"))
    lab.wait(2)
    second.command("accept")
    lab.wait(1)
    second.command("hangup")
    lab.wait(0.5)


def play_no_codec(lab: Lab) -> None:
    lab.kamailio()
    lab.baresip("101", account={"audio_codecs": "pcmu"})
    lab.dial("carrier", "pbx", "> INVITE\n< 100\n< 488\n> ACK\n", "101").wait(20)


def play_ring_all(lab: Lab) -> None:
    lab.kamailio()
    for name in ("101", "103"):
        lab.baresip(name)
    callee = lab.baresip("102")
    lab.dial("carrier", "pbx", answered(0), "200")
    lab.seen(b"SIP/2.0 180")
    lab.wait(3)
    callee.command("accept")
    lab.wait(3)


OWN = "102"  # the softphone that calls

SCENARIOS: list[Scenario] = [
    softphone("softphone-answered", "102 calls 101, who answers after 2 s", play_answered,
              inbound("101", "answered", "rule 1", "explicit", source=OWN),
              agent("101", "answered", "rule 1", "explicit")),
    softphone("softphone-rejected", "101 rings 3 s, its user presses reject: 486 Rejected",
              play_rejected,
              inbound("101", "declined/manual", "rule 3c: its agent's outcome", source=OWN),
              agent("101", "declined/manual", "rule 9", "inferred")),
    softphone("softphone-one-call-at-a-time", "101 talks to 102 and has no second line: 486 Max "
              "Calls for 103", play_busy,
              inbound("101", "answered", "rule 1", "explicit", source=OWN),
              agent("101", "answered", "rule 1", "explicit"),
              inbound("101", "agent_busy", "rule 3c: its agent's outcome", source="103"),
              agent("101", "agent_busy", "rule 8", "explicit")),
    softphone("softphone-ring-timer-30s", "101 rings 30 s, its own timer ends it: 486 Busy Here",
              rings_out(30),
              inbound("101", "no_answer", "rule 3c: its agent's outcome", source=OWN),
              agent("101", "no_answer", "rule 8b: 30 s is a phone's ring timer", "inferred")),
    softphone("softphone-ring-timer-15s-configured", "101 rings 15 s, its own timer ends it: 486 "
              "Busy Here; the value is configured", rings_out(15),
              inbound("101", "no_answer", "rule 3c: its agent's outcome", source=OWN),
              agent("101", "no_answer", "rule 8b: 15 s is configured", "inferred"),
              config={"timers": {"ring_timeouts_seconds": [15]}}),
    softphone("softphone-abandoned-7s", "102 gives up after 7 s of ringing", play_abandoned,
              inbound("101", "abandoned", "5.1 rule 3", "correlated", source=OWN),
              agent("101", "abandoned", "5.1 rule 3: his CANCEL came just before", "correlated")),
    softphone("softphone-passwords", "103 with a wrong password is challenged twice; 102 with the "
              "right one is rejected by 101 after 3 s", play_passwords,
              inbound("101", "unauthorized", "rule 6: 407 last in the chain", "explicit",
                      source="103", invites=2),
              inbound("101", "declined/manual", "rule 3c: its agent's outcome", source=OWN,
                      invites=2),
              agent("101", "declined/manual", "rule 9", "inferred")),
    softphone("softphone-frozen", "101 is registered, its process hangs; after 30 s 408",
              play_frozen,
              inbound("101", "device_not_responding", "rule 3c: its agent's outcome", source=OWN),
              agent("101", "device_not_responding", "rule 14", invites=10)),
    softphone("softphone-dials-silent-device", "baresip as PBX calls a hung device: Timer B",
              play_dials_silent,
              Expect("pbx", "101", "101", "device_not_responding", "rule 14: Timer A to the end",
                     "inferred", invites=7), tools="baresip"),
    softphone("softphone-never-acked", "101 answers, the caller never ACKs: 200 for 32 s, then BYE",
              play_never_acked,
              inbound("101", "connection_timeout/no_ack", "rule 2: the answerer's own BYE"),
              agent("101", "connection_timeout/no_ack", "rule 2: the answerer's own BYE",
                    "inferred"), tools="baresip+Kamailio+SIPp"),
    softphone("softphone-follows-302", "baresip as PBX follows a 302 with the same Call-ID",
              play_follows_redirect,
              Expect("pbx", "101", "101", "answered", "rule 1 on the last leg of the chain",
                     "explicit", invites=2), tools="baresip+SIPp"),
    softphone("softphone-hold-and-transfer", "101 answers 102, holds, resumes, transfers to 103",
              play_transfer,
              inbound("101", "answered", "rule 1", "explicit", source=OWN),
              agent("101", "answered", "rule 1", "explicit"),
              inbound("103", "answered", "rule 1; made by REFER", "explicit", source=OWN),
              agent("103", "answered", "rule 1; made by REFER", "explicit"), reinvites=4),
    softphone("softphone-no-common-codec", "the caller offers PCMA, 101 has PCMU only: 488",
              play_no_codec,
              inbound("101", "not_acceptable", "rule 3c: its agent's outcome"),
              agent("101", "not_acceptable", "rule 16", "explicit"),
              tools="baresip+Kamailio+SIPp"),
    softphone("softphone-ring-all", "101, 102 and 103 ring; 102 answers after 3 s", play_ring_all,
              inbound("200", "answered", "rule 1", "explicit"),
              agent("101", "redirected/answered_elsewhere", "5.1 rule 1 or 2: 102 answered"),
              agent("102", "answered", "rule 1", "explicit"),
              agent("103", "redirected/answered_elsewhere", "5.1 rule 1 or 2: 102 answered"),
              tools="baresip+Kamailio+SIPp"),
    softphone("softphone-own-host-with-rtp", "captured on the host of 102, its RTP included",
              play_answered,
              inbound("101", "answered", "rule 1", "explicit", source=OWN),
              view=View("102", bpf="udp")),
]  # fmt: skip
