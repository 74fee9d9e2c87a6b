"""Busy hours: 40 to 60 calls at once, all kinds of traffic, drawn with a seed."""

from __future__ import annotations

import random
from typing import Any

from behaviours import (
    answers,
    between,
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
from scenarios import Scenario, line
from settings import AGENTS, PASSWORD, Options

CALLERS_REASONS = ("Q.850;cause=16", 'SIP;cause=487;text="ORIGINATOR_CANCEL"', "Q.850;cause=31")
SLOW = between(0.03, 0.7)  # post-dial delays as phones of several makes have them

# What a usual agent's phone does, by weight. Lengths of ringing keep away from 1 s and 5 s, where
# the specification draws its lines.
USUAL = [
    [34, answers(between(1.5, 9.0), SLOW)],
    [8, hangs_up(between(1.5, 7.0), between(2.0, 12.0))],
    [27, rings(SLOW)],
    [5, rejects(between(2.2, 7.0), 486, between(0.03, 0.5))],
    [4, rejects(between(2.2, 7.0), 603, between(0.03, 0.5))],
    [9, busy()],
    [3, disturbed(603)],
    [2, disturbed(480)],
    [2, crosses(SLOW)],
    [2, holds(between(1.5, 5.0), between(0.5, 2.0), talk=6.0)],
    [1, rings(0.3, early=0.1)],
    [1, rings(between(1.2, 2.4))],
    [1, fails(503)],
    [1, own_timer(between(11.5, 13.0))],
]
SICK = [[5, silent()], [3, dies_trying()], [3, dies_ringing()], [2, rings(SLOW)], [2, answers(4.0)]]
FORWARDING = [
    [4, forwards("104", 0.02)],
    [2, forwards("105", between(2.0, 4.0), ring=0.05)],
    [4, answers(between(2.0, 6.0))],
]
MOVING = [
    [4, transfers(between(1.5, 4.0), "107")],
    [2, transfers(between(1.5, 4.0), "2201")],
    [3, consults(between(1.5, 4.0), "108")],
    [4, answers(between(2.0, 8.0))],
    [3, rings(SLOW)],
]
SICK_PHONES, FORWARDING_PHONES, MOVING_PHONES = ("109",), ("103",), ("106", "112")
UNREGISTERED = "120"

GROUPS = [f"22{n:02}" for n in range(1, 13)]
QUEUES = [f"23{n:02}" for n in range(1, 17)]
REFUSED = [f"25{n:02}" for n in range(1, 8)]


def numbers(rng: random.Random, distinct: int) -> list[str]:
    """Callers, some of them one number in other forms."""
    found = [f"+4917{rng.randrange(10**7, 10**8)}" for _ in range(distinct)]
    found += [f"+90532{rng.randrange(10**6, 10**7)}" for _ in range(distinct // 3)]
    found += [f"0090532{rng.randrange(10**6, 10**7)}" for _ in range(distinct // 6)]
    return found + [f"0{rng.randrange(2 * 10**8, 9 * 10**8)}" for _ in range(distinct // 6)]


def busy_hour(
    name: str,
    seed: int,
    calls: int,
    seconds: float,
    distinct: int,
    options: Options,
    sides: tuple[str, ...] = (),
    anonymous: float = 0.06,
    cuts: tuple[tuple[str, float], ...] = (),
    way: dict[str, float] | None = None,
) -> Scenario:
    """A capture of `calls` calls begun within `seconds`, from about `distinct` numbers."""
    rng = random.Random(seed)
    callers = numbers(rng, distinct)
    plans: list[dict[str, Any]] = []
    called: dict[str, Any] = {}
    for number in range(calls):
        at = round(0.5 + rng.uniform(0, seconds), 3)
        plans += one(rng, number, at, callers, called, anonymous)
    mixes: dict[str, list[Any]] = dict.fromkeys(AGENTS, USUAL)
    mixes |= dict.fromkeys(SICK_PHONES, SICK) | dict.fromkeys(FORWARDING_PHONES, FORWARDING)
    mixes |= dict.fromkeys(MOVING_PHONES, MOVING)
    fact = f"busy hour: {calls} calls begun in {seconds:.0f} s"
    return Scenario(
        name,
        fact,
        sorted(plans, key=lambda plan: plan["at"]),
        numbers=called,
        length=seconds + 75,
        options=options,
        mixes=mixes,
        seed=seed,
        sides=sides,
        cuts=cuts,
        line=way or {},
        hosts=[
            {"user": "carrier2", "address": "10.30.0.51", "mix": MOBILES},
            {"user": "carrier3", "address": "10.30.0.52", "mix": MOBILES},
        ],
    )


MOBILES = [
    [5, far_answers(between(3.0, 9.0))],
    [4, far_rings()],
    [2, far_refuses(486, 0.4)],
    [2, far_refuses(480, 0.4)],
    [1, far_answers(between(3.0, 9.0), 0.2)],
]
FAR = [
    [5, far_answers(between(2.0, 8.0))],
    [4, far_answers(between(2.0, 8.0), 0.3)],
    [3, far_rings()],
    [2, far_rings(0.3)],
    [2, far_refuses(486, 0.4)],
    [2, far_refuses(486, between(3.0, 6.0), 0.3)],
    [1, far_refuses(404, 0.3)],
    [1, far_refuses(503, 0.3)],
    [1, far_refuses(404, 4.0, 0.3)],
    [1, far_answers(between(2.0, 6.0), challenge=True)],
]


def one(
    rng: random.Random,
    number: int,
    at: float,
    callers: list[str],
    called: dict[str, Any],
    anonymous: float,
) -> list[dict[str, Any]]:
    """One call of the hour; a pick-up comes with the call that it takes."""
    kind = rng.choices(
        ("single", "group", "queue", "internal", "out", "refused", "pickup", "menu"),
        (34, 16, 20, 6, 9, 4, 4, 7),
    )[0]
    if kind == "internal":
        return [inside(rng, number, at, rng.choice(AGENTS))]
    if kind == "out":
        return [outside(rng, number, at, called)]
    call = {
        "id": f"c{number}",
        "host": rng.choice(("carrier1", "carrier1", "carrier4")),
        "at": at,
        "user": rng.choice(callers),
        **patience(rng),
    }
    if rng.random() < 0.15:
        call["cancel_reason"] = rng.choice(CALLERS_REASONS)
    if rng.random() < anonymous:
        call |= {"user": "anonymous", "domain": "anonymous.invalid", "display": "Anonymous"}
    plans = [call]
    if kind == "pickup":
        agent = rng.choice(AGENTS[:19])
        call |= {"to": f"325{agent[1:]}"}
        plans.append(
            {
                "id": f"p{number}",
                "host": (other := rng.choice(AGENTS[:19])),
                "user": other,
                "at": round(at + rng.uniform(1.2, 4.0), 3),
                "to": f"*8{agent}",
                "hangup": 60,
                "password": PASSWORD,
            }
        )
    else:
        call["to"] = destination(rng, kind)
    if rng.random() < 0.25 and "*" not in call["to"]:
        call["to"] = rng.choice(("+49305555", "0049305555", "0305555")) + call["to"]
    return plans


def destination(rng: random.Random, kind: str) -> str:
    agent = rng.choice(AGENTS)[1:]
    match kind:
        case "single":
            prefix = rng.choice(("", "", "", "", "*61", "*62", "*63", "*64"))
            timer = rng.choice((8, 10, 12, 15, 18, 20))
            return f"{prefix}{rng.choice('3333334567')}{timer:02}{agent}"
        case "menu":
            return f"{rng.choice('89')}{rng.choice((10, 14, 20)):02}{agent}"
        case "group":
            return rng.choice(GROUPS)
        case "queue":
            return rng.choice(QUEUES)
    return rng.choice(REFUSED)


def patience(rng: random.Random) -> dict[str, Any]:
    """When the caller leaves: while it rings, or after talking; never near the 5 s line."""
    short = round(rng.uniform(0.4, 4.2), 3)
    long = round(rng.uniform(6.6, 24.0), 3)
    draw = rng.random()
    if draw < 0.08:
        return {"cancel": short, "hangup_at": short}
    if draw < 0.30:
        return {"cancel": long, "hangup_at": long}
    if draw < 0.36:  # in the moment of some ring timer
        moment = rng.choice((8, 10, 12, 15)) + rng.uniform(-0.05, 0.06)
        return {"cancel": round(moment, 3), "hangup_at": round(moment + 0.5, 3)}
    return {"cancel": 55.0, "hangup": round(rng.uniform(3.0, 14.0), 3), "hangup_at": 58.0}


def inside(rng: random.Random, number: int, at: float, user: str) -> dict[str, Any]:
    to = rng.choice([agent for agent in AGENTS if agent != user] + ["2201", "2202", "2301"])
    return {
        "id": f"i{number}",
        "host": user,
        "user": user,
        "to": to,
        "at": at,
        "password": PASSWORD,
        **patience(rng),
    }


def outside(rng: random.Random, number: int, at: float, called: dict[str, Any]) -> dict[str, Any]:
    """A call that an agent makes; what the called party does is drawn here, by number."""
    digits = f"04{rng.randrange(10**7, 10**8)}"
    behaviour = rng.choices([b for _, b in FAR], [weight for weight, _ in FAR])[0]
    called[digits] = {key: drawn(rng, value) for key, value in behaviour.items()}
    user = rng.choice(AGENTS[:19])
    prefix = rng.choice(("", "9"))
    return {
        "id": f"o{number}",
        "host": user,
        "user": user,
        "to": prefix + digits,
        "at": at,
        "password": PASSWORD,
        **patience(rng),
    }


def drawn(rng: random.Random, value: Any) -> Any:
    match value:
        case {"from": low, "to": high}:
            return round(rng.uniform(low, high), 3)
        case list():
            return [drawn(rng, part) for part in value]
    return value


def all_hours() -> list[Scenario]:
    registering = (UNREGISTERED,)
    challenged = tuple(AGENTS[10:15])
    usual = Options(registering=registering, challenged=challenged)
    silent_reasons = Options(registering=registering, challenged=challenged, reasons=False)
    both = ("trunk", "agent")
    return [
        busy_hour("busy-hour-1", 11, 300, 68, 200, usual),
        busy_hour("busy-hour-2-few-numbers", 12, 290, 65, 8, usual, anonymous=0.25),
        busy_hour("busy-hour-3-no-reasons", 13, 220, 48, 80, silent_reasons),
        busy_hour("busy-hour-4", 14, 220, 48, 60, usual, sides=both, cuts=CUTS),
        busy_hour("busy-hour-5-far-phones", 15, 220, 48, 40, usual, way=line(0.045, 0.012)),
        busy_hour("busy-hour-6-lossy", 16, 190, 44, 60, usual, way=line(0.008, loss=0.02)),
    ]


CUTS = (("earlyend", 24.0),)
