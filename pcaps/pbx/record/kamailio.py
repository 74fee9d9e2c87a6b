"""Kamailio as a forking proxy, alone and in front of Asterisk: its configuration and scenarios."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from behaviours import (
    Behaviour,
    answers,
    between,
    busy,
    crosses,
    dies_ringing,
    disturbed,
    rejects,
    rings,
    silent,
)
from busyhour import numbers, patience
from lab import PBX, PROXY
from scenarios import Scenario, caller
from settings import AGENTS, Options
from verdicts import Verdict

# Seconds that a target may ring. Kamailio's own timer is in milliseconds.
FORK_TIMER, SERIAL_TIMER = 12, 7


def configuration() -> str:
    """kamailio.cfg

    An agent's user part is rung on two devices: 101 to 105 on their own and on that of 111 to 115
    at once, 106 to 110 on their own and then on that of 116 to 120. The rest has one device.
    Callers reach an agent with 7 before his number without Asterisk; everything else goes there.
    """
    return f"""
debug=1
log_stderror=yes
children=2
listen=udp:{PROXY}:5060
auto_aliases=no
dns=no
rev_dns=no
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "corex.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
modparam("tm", "fr_timer", 32000)
modparam("tm", "fr_inv_timer", {FORK_TIMER * 1000})
modparam("tm", "wt_timer", 5000)
modparam("rr", "append_fromtag", 1)

request_route {{
    if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (has_totag()) {{
        if (loose_route() || is_method("ACK")) {{ t_relay(); }}
        else {{ sl_send_reply("481", "Call/Transaction Does Not Exist"); }}
        exit;
    }}
    if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    t_check_trans();
    record_route();
    if ($fU =~ "^\\+49900") {{ sl_send_reply("603", "Decline"); exit; }}
    if ($fU =~ "^\\+49901") {{ sl_send_reply("607", "Unwanted"); exit; }}
    if ($fU =~ "^\\+49902") {{ sl_send_reply("403", "Forbidden"); exit; }}
    if (src_ip == {PBX}) {{
        loose_route();
        t_set_fr(60000);
        route(PHONES);
    }} else if ($rU =~ "^71[0-2][0-9]$") {{
        strip(1);
        route(PHONES);
    }} else if ($rU =~ "^79") {{
        sl_send_reply("404", "Not Found");
    }} else if ($rU =~ "^78") {{
        sl_send_reply("480", "Temporarily Unavailable");
    }} else {{
        t_set_fr(120000);
        $du = "sip:{PBX}:5060";
        t_relay();
    }}
    exit;
}}

route[PHONES] {{
    $var(own) = 10 + $(rU{{s.int}}) - 100;
    $rd = "10.30.0." + $var(own);
    $rp = "5060";
    $du = $null;
    if ($rU =~ "^10[1-5]$") {{
        $var(other) = $var(own) + 10;
        append_branch("sip:" + $rU + "@10.30.0." + $var(other) + ":5060");
    }}
    if ($rU =~ "^(10[6-9]|110)$") {{
        t_on_failure("SECOND");
        t_set_fr({SERIAL_TIMER * 1000});
    }}
    t_relay();
}}

failure_route[SECOND] {{
    if (t_is_canceled()) {{ exit; }}
    $var(other) = 20 + $(rU{{s.int}}) - 100;
    $ru = "sip:" + $rU + "@10.30.0." + $var(other) + ":5060";
    t_set_fr({FORK_TIMER * 1000});
    t_relay();
}}
"""


# What the proxy refuses by itself, by the number called or the caller's.
REFUSALS = {
    "7911": Verdict("the proxy answers 404", "not_found"),
    "7811": Verdict("the proxy answers 480", "unavailable"),
    "+4990011111": Verdict(
        "the proxy refuses the caller: 603", "rejection_list", ["declined/automatic"]
    ),
    "+4990111111": Verdict("the proxy refuses the caller: 607", "rejection_list"),
    "+4990211111": Verdict("the proxy refuses the caller: 403", "rejection_list", ["unauthorized"]),
}
BEHIND = Options(phones_by=f"{PROXY}:5060", trunk=f"{PROXY}:5060")


def scenario(
    name: str,
    fact: str,
    calls: list[dict[str, Any]],
    phones: dict[str, list[Behaviour]],
    length: float,
    **more: Any,
) -> Scenario:
    return Scenario(name, fact, calls, phones, length=length, options=BEHIND, proxy=True, **more)


def alone() -> Iterable[Scenario]:
    """Kamailio forks, without Asterisk."""
    two = {"101": [rings()], "111": [rings(0.4)]}
    yield scenario(
        "fork-answered",
        "two devices ring, the second answers",
        [caller("7101", hangup=4)],
        {"101": [rings()], "111": [answers(4)]},
        12,
    )
    yield scenario("fork-timer", "two devices ring, the proxy's timer", [caller("7101")], two, 18)
    yield scenario(
        "fork-left", "two devices ring, the caller leaves", [caller("7101", cancel=8)], two, 13
    )
    yield scenario(
        "fork-left-soon", "two devices ring, the caller leaves", [caller("7101", cancel=3)], two, 8
    )
    yield scenario(
        "fork-one-busy",
        "one device busy, the other rings to the timer",
        [caller("7101")],
        {"101": [busy()], "111": [rings()]},
        18,
    )
    yield scenario(
        "fork-both-busy",
        "both devices busy",
        [caller("7101")],
        {"101": [busy()], "111": [busy()]},
        5,
    )
    yield scenario(
        "fork-declined",
        "one declines with 603: the other is cancelled",
        [caller("7101")],
        {"101": [rejects(5, 603)], "111": [rings()]},
        10,
    )
    yield scenario(
        "fork-one-silent",
        "one silent, the other answers",
        [caller("7102", hangup=4)],
        {"102": [silent()], "112": [answers(4)]},
        44,
    )
    yield scenario(
        "fork-one-dead",
        "one dies after ringing, the other answers",
        [caller("7102", hangup=4)],
        {"102": [dies_ringing()], "112": [answers(4)]},
        44,
    )
    yield scenario(
        "fork-answer-crosses",
        "the second handset is lifted too late",
        [caller("7101", hangup=4)],
        {"101": [crosses()], "111": [answers(4)]},
        12,
    )
    yield scenario(
        "serial-second-answers",
        "the first rings to its timer, the second answers",
        [caller("7106", hangup=4)],
        {"106": [rings()], "116": [answers(3)]},
        18,
    )
    yield scenario(
        "serial-nobody",
        "the first rejects, the second rings to the timer",
        [caller("7107")],
        {"107": [rejects(3)], "117": [rings()]},
        22,
    )
    yield scenario(
        "serial-left",
        "the caller leaves at the second",
        [caller("7106", cancel=11)],
        {"106": [rings()], "116": [rings()]},
        16,
    )
    yield scenario(
        "proxy-refuses",
        "the proxy refuses: 603, 607, 403, 404, 480",
        [
            caller("7101", 0.5, "+4990011111"),
            caller("7101", 1.0, "+4990111111"),
            caller("7101", 1.5, "+4990211111"),
            caller("7911", 2.0),
            caller("7811", 2.5),
        ],
        {},
        6,
    )


def before_asterisk() -> Iterable[Scenario]:
    """Everything passes the proxy twice."""
    yield scenario(
        "behind-answered",
        "a phone without a second device",
        [caller("32011", hangup=4)],
        {"111": [answers(3)]},
        12,
    )
    yield scenario(
        "behind-fork-answered",
        "Asterisk calls 101, forked to two devices",
        [caller("32001", hangup=4)],
        {"101": [rings()], "111": [answers(4)]},
        13,
    )
    yield scenario(
        "behind-fork-timer",
        "Asterisk calls 101, forked, Asterisk's timer of 10 s",
        [caller("31001")],
        {"101": [rings()], "111": [rings(0.4)]},
        16,
    )
    yield scenario(
        "behind-fork-left",
        "Asterisk calls 101, forked, the caller leaves",
        [caller("33001", cancel=9)],
        {"101": [rings()], "111": [busy()]},
        14,
    )
    yield scenario(
        "behind-fork-busy",
        "Asterisk calls 101, forked, both busy",
        [caller("33001")],
        {"101": [busy()], "111": [busy()]},
        6,
    )
    yield scenario(
        "behind-group",
        "a ring group of Asterisk's, each agent on two devices",
        [caller("2201", hangup=5)],
        {
            "101": [rings()],
            "111": [busy()],
            "102": [rings()],
            "112": [answers(5)],
            "103": [rejects(3)],
            "113": [rings()],
        },
        14,
    )
    yield scenario(
        "behind-queue-left",
        "a queue of Asterisk's, the caller leaves",
        [caller("2301", hangup=9)],
        {user: [rings()] for user in ("101", "111", "102", "112")},
        14,
    )
    yield scenario(
        "behind-three-callers",
        "three callers of one number at once",
        [
            caller("31501", 0.5, hangup=5),
            caller("31502", 0.6),
            caller("31503", 0.7, cancel=7),
        ],
        {
            "101": [rings()],
            "111": [answers(4)],
            "102": [rings()],
            "112": [rings()],
            "103": [rings()],
            "113": [rings()],
        },
        20,
    )


def hour() -> Scenario:
    """40 calls at once through the proxy, forked and not, with Asterisk and without."""
    rng = random.Random(31)
    callers = numbers(rng, 60)
    plans = []
    for number in range(110):
        agent = rng.choice(AGENTS)
        to = rng.choice((f"7{agent}", f"3{rng.choice((8, 10, 15)):02}{agent[1:]}", "2201", "2301"))
        plan = {
            "id": f"k{number}",
            "host": rng.choice(("carrier1", "carrier4")),
            "at": round(0.5 + rng.uniform(0, 30), 3),
            "user": rng.choice(callers),
            "to": to,
        }
        plans.append(plan | patience(rng))
    slow = between(0.03, 0.7)
    mix = [
        [30, answers(between(1.5, 9.0), slow)],
        [30, rings(slow)],
        [6, rejects(between(2.2, 6.0), 486)],
        [4, rejects(between(2.2, 6.0), 603)],
        [8, busy()],
        [3, disturbed(603)],
        [2, crosses(slow)],
    ]
    mixes: dict[str, list[Any]] = dict.fromkeys(AGENTS, mix)
    mixes["115"] = [[1, silent()], [1, answers(4.0)]]
    fact = "busy hour through a forking proxy: 110 calls begun in 30 s"
    plans.sort(key=lambda plan: plan["at"])
    return scenario("busy-hour-forked", fact, plans, {}, 100, mixes=mixes, seed=31)


def all_scenarios() -> list[Scenario]:
    return [*alone(), *before_asterisk(), hour()]
