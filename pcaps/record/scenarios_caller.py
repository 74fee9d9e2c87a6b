"""One leg from a caller to the PBX, alone in view: what trunks and own phones experience."""

from __future__ import annotations

from flows import CANCELLED, HANG_UP, RING, TRY, answered, cancelled, refusal
from lab import CALLER, Expect, Lab, Scenario

# Phones of these scenarios are hosts 8 to 15; the carrier is host 50.
AGENTS = {"local_networks": ["{net}.8/29"]}


def leg(
    name: str, fact: str, ladder: str, expected: str, confidence: str, why: str, *,
    caller: str = "carrier", called: str = "2101", invites: int = 1, single_leg: str = "",
    config: dict[str, object] | None = None, from_user: str = "", display: str = "",
) -> Scenario:  # fmt: skip
    """A capture of one caller's leg, played by one ladder."""

    def play(lab: Lab) -> None:
        options = {"display": display} if display else {}
        lab.call(caller, "pbx", ladder, user=called, from_user=from_user, **options)

    expect = Expect(caller, "pbx", called, expected, why, confidence, (), invites, single_leg)
    return Scenario(name, fact, play, (expect,), config=config or {})


def play_never_acks(lab: Lab) -> None:
    """The caller's host loses the 200 each time; the answerer gives up with a BYE (§13.3.1.4)."""
    seconds = 90.0
    pbx = lab.answer("pbx", f"{RING}< wait 1\n< 200\n> ACK\n", "2101", seconds=seconds)
    lab.dial("carrier", "pbx", f"{RING}< 200\n> wait 60\n", "2101", CALLER, seconds=seconds)
    lab.wait(36)
    pbx.stop()


def play_other_matters(lab: Lab) -> None:
    lab.call("101", "pbx", "> REGISTER {Expires: 60}\n< 401 REGISTER auth\n"
             "> REGISTER auth {Expires: 60}\n< 200 REGISTER {Expires: 60}\n")  # fmt: skip
    lab.call("pbx", "101", "> OPTIONS\n< 200 OPTIONS\n")
    lab.call("carrier", "pbx", "> OPTIONS\n< 404 OPTIONS\n")
    lab.call("102", "pbx", "> REGISTER {Expires: 60}\n< 403 REGISTER\n")


SCENARIOS: list[Scenario] = [
    leg("caller-answered", "an inbound call is answered after 3 s", answered(3), "answered",
        "explicit", "rule 1"),
    leg("caller-abandons-after-2s", "the caller gives up after 2 s of ringing", cancelled(2),
        "briefly_abandoned", "inferred", "5.1 rule 6, 2 s after the 180"),
    leg("caller-abandons-after-9s", "the caller gives up after 9 s of ringing", cancelled(9),
        "abandoned", "inferred", "5.1 rule 6, 9 s after the 180"),
    leg("caller-abandons-before-ringing", "the caller gives up after 3 s, nothing had rung",
        f"{TRY}wait 3\n> CANCEL\n{CANCELLED}", "briefly_abandoned", "inferred",
        "5.1 rule 6, 3 s after the INVITE"),
    Scenario("caller-never-acks", "answered, but the caller's ACK never comes", play_never_acks,
             (Expect("carrier", "pbx", "2101", "connection_timeout/no_ack",
                     "rule 2: 2xx retransmitted for 64*T1, no ACK", "inferred"),)),
    leg("challenged-407-answered", "an own phone calls: 407, credentials, answered",
        f"> INVITE\n< 407 auth\n> ACK\n> INVITE auth\n< 100\n< 180\nwait 2\n< 200\n{HANG_UP}",
        "answered", "explicit", "rule 1; the challenge is no outcome", caller="105",
        called="0301234", invites=2),
    leg("challenged-401-answered", "an own phone calls: 401, credentials, answered",
        f"> INVITE\n< 401 auth\n> ACK\n> INVITE auth\n< 100\n< 180\nwait 2\n< 200\n{HANG_UP}",
        "answered", "explicit", "rule 1; the challenge is no outcome", caller="105",
        called="0301234", invites=2),
    leg("challenged-407-busy", "an own phone calls: 407, credentials, the other side is busy",
        "> INVITE\n< 407 auth\n> ACK\n> INVITE auth\n< 100\n< 486\n> ACK\n", "agent_busy",
        "explicit", "rule 8 on the retry", caller="105", called="101", invites=2),
    leg("challenged-401-never-retried", "401, and the caller has no credentials",
        "> INVITE\n< 401 auth\n> ACK\n", "unauthorized", "explicit",
        "rule 6: 401 last in the chain", caller="carrier", called="00441234567"),
    leg("challenged-407-wrong-password", "407, wrong credentials, 407 again",
        "> INVITE\n< 407 auth\n> ACK\n> INVITE auth\n< 407 auth\n> ACK\n", "unauthorized",
        "explicit", "rule 6: 407 last in the chain", caller="105", called="101", invites=2),
    leg("challenged-407-then-403", "407, credentials, 403", "> INVITE\n< 407 auth\n> ACK\n"
        "> INVITE auth\n< 403\n> ACK\n", "unauthorized", "explicit",
        "rule 16; rule 3b is not for callers with credentials", caller="105", called="0900123",
        invites=2),
    leg("refused-403-by-pbx", "the PBX refuses the caller; whether it has agents is not known",
        refusal(403), "unauthorized", "explicit", "rule 16: no agent's leg was ever seen here"),
    leg("refused-603-by-pbx", "the PBX answers 603 at once; whether it has agents is not known",
        refusal(603), "declined/automatic", "explicit",
        "rule 10: no agent's leg was ever seen here"),
    leg("refused-403-agents-known", "the PBX refuses the caller at once and tries no agent; its "
        "agents' network is configured", refusal(403), "rejection_list", "correlated",
        "rule 3b", single_leg="unauthorized", config=dict(AGENTS)),
    leg("refused-603-agents-known", "the PBX answers 603 at once and tries no agent; its agents' "
        "network is configured", refusal(603), "rejection_list", "correlated", "rule 3b",
        single_leg="declined/automatic", config=dict(AGENTS)),
    leg("unknown-extension-404", "the caller dials an extension that does not exist",
        "> INVITE\n< 404\n> ACK\n", "not_found", "explicit", "rule 16", called="2999"),
    leg("pbx-out-of-order-503", "the PBX cannot take the call: 503", "> INVITE\n< 503\n> ACK\n",
        "server_failure", "explicit", "rule 16"),
    leg("anonymous-caller-abandons", "a caller who hides his number gives up after 7 s",
        cancelled(7), "abandoned", "inferred", "5.1 rule 6, 7 s after the 180",
        from_user="anonymous", display="Anonymous"),
    Scenario("other-matters", "REGISTER with and without a challenge, refused REGISTER, OPTIONS: "
             "no call at all", play_other_matters, ()),
]  # fmt: skip
