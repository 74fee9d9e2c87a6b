"""Sippy's B2BUA: how it is started, its own account, and the scenarios played with it."""

from __future__ import annotations

import json
import random
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from typing import Any

from account import Account, Entry
from b2bua_routes import HUNTING
from behaviours import (
    Behaviour,
    answers,
    between,
    busy,
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
    own_timer,
    rejects,
    rings,
    silent,
)
from busyhour import numbers, patience
from lab import PBX, Lab, run, wait_for
from scenarios import FIRST, Scenario, caller
from settings import AGENTS
from verdicts import Verdict

HERE = Path(__file__).resolve().parent
RELEASED_BY = {"2": "caller", "4": "callee", "8": "b2bua"}
MOST_TARGETS = 4  # that a call has, one after the other
CLIENT = Path("/usr/local/sbin/radiusclient")  # where it looks for its RADIUS client


# Running it


def start(world: Lab, programs: Path, work: Path, hidden: bool) -> None:
    """Starts the B2BUA and waits until it listens.

    Its RADIUS client has a fixed place: it is put there in a mount namespace of its own.
    `hidden`: legs to phones get Call-IDs that do not show the caller's.
    """
    client = work / "radiusclient"
    script = shlex.join([sys.executable, str(HERE / "b2bua_routes.py")])
    client.write_text(f'#!/bin/sh\nexec {script} "$@"\n')
    command = [
        str(programs / "b2bua_radius"),
        f"--sip_address={PBX}",
        "--sip_port=5060",
        "--foreground=on",
        "--digest_auth=off",
        "--precise_acct=on",
        "--max_radiusclients=2",
        f"--radiusclient.conf={work / 'accounting'}",
        f"--logfile={work / 'b2bua.log'}",
        f"--b2bua_socket={work / 'b2bua.sock'}",
        f"--hide_call_id={'on' if hidden else 'off'}",
    ]
    steps = (
        f"mount -t tmpfs none {CLIENT.parent}",
        f"install -m 755 {shlex.quote(str(client))} {CLIENT}",
        f"exec {shlex.join(command)}",
    )
    world.start("pbx", "sh", "-c", " && ".join(steps), output=work / "b2bua.out")
    listening = ("ip", "netns", "exec", world.namespace("pbx"), "ss", "-lun")
    wait_for(lambda: f"{PBX}:5060" in run(*listening), 15)


# Its own account


def moment(text: str) -> float:
    """Epoch seconds of an accounting record's time (GMT)."""
    parsed = datetime.strptime(text, "%H:%M:%S.%f GMT %a %b %d %Y")
    return parsed.replace(tzinfo=UTC).timestamp()


def call_ids(incoming: str) -> list[str]:
    """Call-IDs that the B2BUA gives its legs of a call, by the caller's, in either mode."""
    hashed = md5(incoming.encode(), usedforsecurity=False).hexdigest()
    return [f"{own}-b2b_{n + 1}" for own in (incoming, hashed) for n in range(MOST_TARGETS)]


def read_account(work: Path, legs: list[Entry], seen: Iterable[str]) -> Account:
    """The accounting records, as an account of which legs were of one call and who ended them.

    `legs` are the parties', `seen` the Call-IDs of the capture: the records name only the
    caller's Call-ID, and the legs to phones follow from it.
    """
    lines = (work / "accounting").read_text().splitlines()
    by_call: dict[str, list[dict[str, str]]] = defaultdict(list)
    for record in map(json.loads, lines):
        if record.get("Acct-Status-Type") == "Stop":
            by_call[record["call-id"]].append(record)
    ends: dict[str, dict[str, str]] = {}
    results: dict[str, list[dict[str, str]]] = defaultdict(list)
    incoming = {leg["call_id"] for leg in legs if leg["role"] == "calling"}
    known = set(seen)
    for call_id in incoming:
        ends[call_id] = {"linked": call_id, "chan": "caller"} | ended(by_call[call_id], "answer")
        outgoing = [made for made in call_ids(call_id) if made in known]
        stops = [one for one in by_call[call_id] if one["h323-call-origin"] == "originate"]
        stops.sort(key=lambda one: moment(one["h323-setup-time"]))
        if len(stops) != len(outgoing):
            raise RuntimeError(f"{call_id}: {len(outgoing)} legs, {len(stops)} accounted for")
        for made, stop in zip(outgoing, stops, strict=True):
            end = ended([stop], "originate")
            ends[made] = {"linked": call_id, "chan": stop["Called-Station-Id"]} | end
            if end["source"] == "b2bua":
                timer = {"what": "dial", "status": "NOANSWER", "at": end["at"]}
                results[call_id].append(timer)
    kept = [
        {name: value for name, value in record.items() if name in KEPT}
        for record in sorted(
            (one for records in by_call.values() for one in records),
            key=lambda one: moment(one["h323-setup-time"]),
        )
    ]
    return Account(ends, results, kept, [], {})


KEPT = (
    "h323-call-origin",
    "Calling-Station-Id",
    "Called-Station-Id",
    "call-id",
    "h323-setup-time",
    "h323-connect-time",
    "h323-disconnect-time",
    "h323-disconnect-cause",
    "Acct-Session-Time",
    "release-source",
)


def ended(records: list[dict[str, str]], origin: str) -> dict[str, str]:
    """When, why and by whom a leg ended; nothing where no record says so."""
    for record in records:
        if record["h323-call-origin"] == origin:
            return {
                "at": f"{moment(record['h323-disconnect-time']):.3f}",
                "cause": str(int(record["h323-disconnect-cause"], 16)),
                "source": RELEASED_BY[record["release-source"]],
            }
    return {"at": "0", "cause": ""}


# What is played

REFUSALS = {
    "29001": Verdict("the dial plan has no route: 500", "server_failure", ["rejection_list"]),
    "77777": Verdict("an unknown number: 403", "rejection_list", ["unauthorized"]),
    "+4990011111": Verdict("the caller is rejected: 403", "rejection_list", ["unauthorized"]),
}


@dataclass(slots=True)
class Played:
    """A scenario and the mode of the B2BUA in which it is played."""

    scenario: Scenario
    hidden: bool = False


def one_call(
    name: str, fact: str, does: Behaviour, length: float, to: str = "33001", **more: Any
) -> Scenario:
    """One caller, one agent (101)."""
    closed = more.pop("closed", ())
    sides = more.pop("sides", ())
    phones = {} if closed else {"101": [does]}
    return Scenario(
        name, fact, [caller(to, **more)], phones, length=length, closed=closed, sides=sides
    )


def single() -> Iterable[Scenario]:
    """One caller, one agent: what a phone or a caller does."""
    yield one_call("caller-hangs-up", "answered", answers(3), 11, hangup=3)
    yield one_call("agent-hangs-up", "answered", hangs_up(3, 3), 10)
    yield one_call("limit-of-talking", "the B2BUA's limit", answers(3), 14, to="60501")
    yield one_call("busy-at-once", "486 at once", busy(), 4)
    yield one_call("busy-600", "600 at once", busy(600), 4)
    for code in (486, 603, 480):
        says = f"reject key after 3 s: {code}"
        yield one_call(f"reject-{code}-after-3s", says, rejects(3.06, code), 7)
    yield one_call("do-not-disturb-603", "603 at once", disturbed(603), 4)
    for seconds in (8, 12, 20):
        yield one_call(
            f"ring-timer-{seconds}",
            f"the B2BUA's timer of {seconds} s",
            rings(),
            seconds + 4,
            to=f"3{seconds:02}01",
            sides=("trunk", "agent") if seconds == 12 else (),
        )
    yield one_call("own-timer-480", "the phone's own timer: 480", own_timer(14), 18)
    yield one_call("own-timer-408", "the phone's own timer: 408", own_timer(14, 408), 18)
    for seconds in (2.0, 9.0):
        name = f"abandon-{seconds:.0f}s"
        sides = ("trunk", "agent") if seconds == 9 else ()
        yield one_call(
            name, "the caller gives up", rings(), seconds + 4, cancel=seconds, sides=sides
        )
    yield one_call("early-media-then-left", "183, abandoned", rings(early=0.1), 12, cancel=8)
    yield one_call("answer-crosses-timer", "200 at the CANCEL", crosses(), 12, to="30801")
    yield one_call("answer-crosses-caller", "200 at the CANCEL", crosses(), 10, cancel=6)
    yield one_call("redirects", "302, which the B2BUA hands on", forwards("102", 0.02), 4)
    for code in (503, 404, 500, 488, 484, 504):
        yield one_call(f"phone-{code}", f"the phone sends {code}", fails(code), 4)


def technical() -> Iterable[Scenario]:
    """Devices that are not there, or no more."""
    yield one_call("silent", "nothing answers, 32 s", silent(), 37, to="34501")
    yield one_call("silent-ring-timer", "nothing answers, timer 12 s", silent(), 36, to="31201")
    yield one_call("silent-no-reply-timer", "nothing answers, 6 s", silent(), 36, to="50601")
    yield one_call("silent-then-left", "nothing answers, left", silent(), 36, cancel=7)
    yield one_call("closed-port", "nobody listens", {}, 37, to="34501", closed=("101",))
    yield one_call("dies-trying", "100, then dead", dies_trying(), 46, to="31001")
    yield one_call("dies-trying-np", "100, then dead", dies_trying(), 44, to="40801")
    yield one_call("dies-ringing", "180, then dead", dies_ringing(), 46, to="31001")


def several() -> Iterable[Scenario]:
    """Hunting, and callers of one number at once."""
    yield Scenario(
        "hunt-second-answers",
        "the first rings to its timer, the second answers",
        [caller("2201", hangup=4)],
        {"101": [rings()], "102": [answers(3)]},
        length=18,
    )
    yield Scenario(
        "hunt-nobody",
        "nobody answers: a timer, a reject, a timer",
        [caller("2201")],
        {"101": [rings()], "102": [rejects(3.06)], "103": [rings()]},
        length=24,
    )
    yield Scenario(
        "hunt-left",
        "the caller leaves at the second",
        [caller("2201", cancel=10)],
        {"101": [rings()], "102": [rings()]},
        length=15,
    )
    yield Scenario(
        "hunt-busy-busy",
        "the first is busy, the second too",
        [caller("2202")],
        {"104": [busy()], "105": [busy()]},
        length=5,
    )
    yield Scenario(
        "hunt-same-twice",
        "the same agent twice",
        [caller("2203", hangup=4)],
        {"106": [rings(), answers(2)], "107": [rings()]},
        length=20,
    )
    yield Scenario(
        "refused",
        "the dial plan refuses: no route, unknown number, rejected caller",
        [
            caller("30801", 0.5, hangup=2),
            caller("29001", 4.0),
            caller("77777", 4.5),
            caller("30801", 5.0, "+4990011111"),
        ],
        {"101": [answers(1.5)]},
        length=9,
    )
    yield Scenario(
        "carrier",
        "calls out: answered, busy, unknown, left",
        [caller(to, at, FIRST + "09", **more) for to, at, more in OUT],
        numbers=FAR,
        length=22,
    )
    yield same_number("same-number-five")


OUT: tuple[tuple[str, float, dict[str, float]], ...] = (
    ("0301000", 0.5, {"hangup": 4}),
    ("0302000", 1.0, {}),
    ("0303000", 1.5, {}),
    ("0304000", 2.0, {"cancel": 9}),
    ("0305000", 2.5, {}),
)
FAR = {
    "0301000": far_answers(4, early=0.5),
    "0302000": far_refuses(486, 2.0, early=0.5),
    "0303000": far_refuses(404, 0.3),
    "0304000": far_rings(),
    "0305000": far_refuses(503, 0.2),
}


def same_number(name: str) -> Scenario:
    """Five callers with one number, at the same time and to different ends."""
    return Scenario(
        name,
        "five callers of one number at once",
        [
            caller("33001", 0.5, hangup=4),
            caller("31002", 0.6),
            caller("33003", 0.7, cancel=8),
            caller("33004", 0.75),
            caller("33005", 0.8),
        ],
        {
            "101": [answers(3.5)],
            "102": [rings()],
            "103": [rings()],
            "104": [rejects(4.06, 603)],
            "105": [busy()],
        },
        length=17,
    )


def hour(name: str, seed: int, distinct: int = 20, sides: tuple[str, ...] = ()) -> Scenario:
    """Some 20 calls at once, from about `distinct` numbers."""
    rng = random.Random(seed)
    callers = numbers(rng, distinct)
    plans = []
    for number in range(70):
        agent = rng.choice(AGENTS)[1:]
        to = rng.choice((f"3{rng.choice((8, 12, 15)):02}{agent}",) * 5 + tuple(HUNTING))
        plan = {
            "id": f"s{number}",
            "host": rng.choice(("carrier1", "carrier4")),
            "at": round(0.5 + rng.uniform(0, 32), 3),
            "user": rng.choice(callers),
            "to": to,
        }
        plans.append(plan | patience(rng))
    slow = between(0.03, 0.7)
    mix = [
        [30, answers(between(1.5, 9.0), slow)],
        [8, hangs_up(between(1.5, 7.0), between(2.0, 8.0))],
        [30, rings(slow)],
        [6, rejects(between(2.2, 6.0), 486)],
        [4, rejects(between(2.2, 6.0), 603)],
        [8, busy()],
        [3, disturbed(603)],
        [2, crosses(slow)],
        [2, fails(503)],
        [2, own_timer(between(11.5, 13.0))],
    ]
    mixes: dict[str, list[Any]] = dict.fromkeys(AGENTS, mix)
    mixes["115"] = [[1, silent()], [1, dies_trying()], [1, dies_ringing()], [1, answers(4.0)]]
    plans.sort(key=lambda plan: plan["at"])
    fact = "busy hour through a B2BUA: 70 calls begun in 32 s"
    return Scenario(name, fact, plans, length=85, mixes=mixes, seed=seed, sides=sides)


def all_played() -> list[Played]:
    """Everything; some of it also with Call-IDs that do not show the caller's."""
    shown = [
        *single(),
        *technical(),
        *several(),
        hour("busy-hour-b2bua", 41, sides=("trunk", "agent")),
    ]
    again = re.compile("caller-hangs-up|abandon-9s|ring-timer-12|hunt-(second-answers|nobody|left)")
    hidden = [one for one in (*single(), *several()) if again.fullmatch(one.name)]
    for one in hidden:
        one.name, one.sides = f"hidden-{one.name}", ()
    hidden += [
        same_number("hidden-same-number-five"),
        hour("busy-hour-b2bua-hidden", 42),
        hour("busy-hour-b2bua-few-numbers", 43, distinct=3),
    ]
    return [Played(one) for one in shown] + [Played(one, hidden=True) for one in hidden]
