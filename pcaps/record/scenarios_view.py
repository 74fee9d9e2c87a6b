"""The same simple calls, seen by captures that see too much, too little, or other link types."""

from __future__ import annotations

from flows import HANG_UP, RING, answered, cancelled, refusal
from lab import Expect, Lab, Scenario, View

ANSWERED = (Expect("pbx", "101", "101", "answered", "rule 1", "explicit"),)


def play_answered(lab: Lab) -> None:
    lab.call("pbx", "101", answered(1, 1))


def play_three(lab: Lab) -> None:
    """Answered by 101, busy at 102, 103 rings 9 s until the CANCEL."""
    lab.call("pbx", "101", answered(2))
    lab.call("pbx", "102", refusal(486))
    lab.call("pbx", "103", cancelled(9))


def play_three_inbound(lab: Lab) -> None:
    lab.call("carrier", "pbx", answered(2), user="2101")
    lab.call("carrier", "pbx", refusal(486), user="2102")
    lab.call("carrier", "pbx", cancelled(9), user="2103")


def play_late_start(lab: Lab) -> None:
    ladder = f"{RING}wait 4\n< 200\n{HANG_UP}"
    callee = lab.answer("101", ladder)
    caller = lab.dial("pbx", "101", ladder)
    lab.wait(2.5)
    lab.start_capture()
    caller.wait(30)
    callee.wait(30)
    lab.call("pbx", "102", refusal(486))


def play_early_end(lab: Lab) -> None:
    lab.call("pbx", "102", refusal(486))
    lab.silent("103")
    lab.dial("pbx", "103", "> INVITE\n< 180\n", port=5070)
    ladder = f"{RING}< wait 30\n< 200\n{HANG_UP}"
    lab.answer("101", ladder)
    lab.dial("pbx", "101", ladder)
    lab.wait(4.8)
    lab.stop_capture()


def play_tagged(lab: Lab) -> None:
    """Both hosts' ports are members of VLAN 42; the trunk between them carries the tag."""
    for name in ("pbx", "101"):
        lab.wire(name, tag=42)
    lab.start_capture()
    play_answered(lab)


def play_loopback(lab: Lab) -> None:
    """PBX and gateway on one host."""
    ladder = refusal(486)
    callee = lab.answer("pbx", ladder, "101", port=5080)
    caller = lab.dial("pbx", "pbx", ladder, "101", remote_port=5080)
    caller.wait(20)
    callee.wait(20)


def play_other_ports(lab: Lab) -> None:
    ladder = refusal(603, 3)
    callee = lab.answer("101", ladder, port=36521)
    caller = lab.dial("pbx", "101", ladder, port=5080, remote_port=36521)
    caller.wait(20)
    callee.wait(20)


ONE_WAY_OUT = (
    Expect("pbx", "101", "101", "answered",
           "rule 0: only requests in view; an ACK with a branch of its own and a BYE prove the 2xx",
           "inferred"),
    Expect("pbx", "102", "102", "incomplete",
           "rule 0: only requests in view, the final cannot be known"),
    Expect("pbx", "103", "103", "incomplete",
           "rule 0: only requests in view, an unanswered CANCEL says nothing here"),
)  # fmt: skip

SCENARIOS: list[Scenario] = [
    Scenario("copies-on-a-bridge", "captured on all interfaces of a bridge: every packet twice",
             play_answered, ANSWERED, copies=2, view=View("switch", "any")),
    Scenario("copies-cooked-v1", "the same with Linux cooked v1; rings, then declined",
             lambda lab: lab.call("pbx", "101", refusal(603, 2)),
             (Expect("pbx", "101", "101", "declined/manual", "rule 10", "explicit"),),
             copies=2, view=View("switch", "any", ("-y", "LINUX_SLL"))),
    Scenario("any-of-the-pbx", "captured on the PBX's pseudo-interface any", play_answered,
             ANSWERED, view=View("pbx", "any")),
    Scenario("one-way-out", "only what the PBX sends: answered, busy, given up after 9 s",
             play_three, ONE_WAY_OUT, view=View(options=("-Q", "out"))),
    Scenario("one-way-in", "only what the PBX receives of calls that it makes: no INVITE at all",
             play_three,
             (Expect("pbx", "101", "101", "incomplete", "the INVITE was not captured",
                     acceptable=("answered",), invites=0),
              Expect("pbx", "102", "102", "incomplete", "the INVITE was not captured", invites=0),
              Expect("pbx", "103", "103", "incomplete", "the INVITE was not captured", invites=0)),
             view=View(options=("-Q", "in"))),
    Scenario("one-way-in-callers", "only what the PBX receives of callers: talk, busy, given up",
             play_three_inbound,
             tuple(Expect("carrier", "pbx", user, e.expected, e.why, e.confidence)
                   for e, user in zip(ONE_WAY_OUT, ("2101", "2102", "2103"), strict=True)),
             view=View(options=("-Q", "in"))),
    Scenario("capture-starts-late", "the capture begins while 101 rings; then 102 is busy",
             play_late_start,
             (Expect("pbx", "101", "101", "incomplete", "the INVITE was not captured",
                     acceptable=("answered",), invites=0),
              Expect("pbx", "102", "102", "agent_busy", "rule 8", "explicit")),
             view=View(automatic=False)),
    Scenario("capture-ends-early", "102 busy; 103 silent and 101 ringing when the capture ends",
             play_early_end,
             (Expect("pbx", "102", "102", "agent_busy", "rule 8", "explicit"),
              Expect("pbx", "103", "103", "in_progress", "nothing came yet, Timer A still runs",
                     invites=4),
              Expect("pbx", "101", "101", "in_progress", "still ringing"))),
    Scenario("vlan-tagged", "802.1Q tag 42", play_tagged, ANSWERED, wired=("pbx", "101"),
             view=View("switch", "p11b", bpf="", automatic=False)),
    Scenario("ipv6-answered", "over IPv6", play_answered, ANSWERED, ipv6=True),
    Scenario("ipv6-closed-port", "over IPv6, nothing listens: ICMPv6 port unreachable",
             lambda lab: (lab.dial("pbx", "101", "> INVITE\n< 180\n", seconds=45), lab.wait(34))[1],
             (Expect("pbx", "101", "101", "device_not_responding", "rule 14: ICMPv6 unreachable",
                     "explicit", invites=7),), ipv6=True),
    Scenario("nanosecond-pcap", "nanosecond time stamps", play_answered, ANSWERED,
             view=View(options=("--time-stamp-precision=nano",))),
    Scenario("dumpcap-pcapng", "pcapng as dumpcap writes it; 101 answers, 102 busy, 103 cancelled",
             play_three,
             (*ANSWERED, Expect("pbx", "102", "102", "agent_busy", "rule 8", "explicit"),
              Expect("pbx", "103", "103", "abandoned", "5.1 rule 6: 9 s", "inferred")),
             view=View(suffix="pcapng")),
    Scenario("gzipped", "a gzip of a pcap", play_answered, ANSWERED, view=View(suffix="pcap.gz")),
    Scenario("loopback-one-host", "PBX and gateway on one host, captured on lo", play_loopback,
             (Expect("pbx", "pbx", "101", "agent_busy", "rule 8", "explicit"),),
             view=View("pbx", "lo")),
    Scenario("other-ports", "ports 5080 and 36521: SIP is known by its content", play_other_ports,
             (Expect("pbx", "101", "101", "declined/manual", "rule 10", "explicit"),),
             view=View(bpf="udp")),
]  # fmt: skip
