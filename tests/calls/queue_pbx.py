"""A PBX that is not there: callers, agents, queues and ring groups, and the log that it keeps.

It plays a busy hour as a heap of moments and writes down each call as a supervisor would who
listened in. What it sends has the delays that outcomes.md sections 5.1, 6 and 12 found on real
Asterisk and FreeSWITCH; nothing of sipwatch is asked for the truth.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

#: outcomes.md 6 rule 6, the best of a round.
ORDER = ("declined", "no_answer", "agent_busy", "connection_timeout", "device_not_responding",
         "unavailable")  # fmt: skip
BRIEF_SECONDS = 5.0
MAILBOX_SECONDS = 10.0
TIMER_A = (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)
TIMER_FREESWITCH = (1.0, 3.0, 7.0, 15.0, 31.0)


class Shape(NamedTuple):
    """What kind of hour it is."""

    seed: int
    pbx: str = "asterisk"  # or freeswitch, or anything that names nothing
    callers: int = 8
    agents: int = 4
    #: `ringall` or `linear`.
    strategy: str = "ringall"
    #: The PBX answers and lets callers wait; else it only rings.
    queue: bool = True
    ring_seconds: int = 12
    #: Callers come so far apart at most.
    spread_seconds: float = 8.0
    patience_seconds: float = 60.0
    hidden_share: float = 0.0
    #: How many different numbers call.
    numbers: int = 1000
    talk_seconds: float = 20.0
    #: What an agent does when it rings, by weight.
    habits: tuple[tuple[str, int], ...] = (
        ("answer", 6), ("reject", 2), ("refuse", 1), ("ignore", 3), ("silent", 1))  # fmt: skip


@dataclass
class Leg:
    """An agent's leg as the PBX knows it."""

    label: str
    agent: str
    caller: Caller
    begun: float
    rang: bool = False
    answered: bool = False
    ended: float | None = None
    outcome: str = ""


@dataclass
class Caller:
    """A caller's leg, and all that was done for it."""

    label: str
    number: str
    shown: str
    arrived: float
    rang: float | None = None
    talking: Leg | None = None
    left: float | None = None
    over: bool = False
    legs: list[Leg] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    #: What the supervisor would say; and what he could say, too, for nothing on the wire tells
    #: when the PBX stopped to ring a dead phone.
    outcome: str = ""
    also: str = ""


class SimulatedPbx:
    """`play` has the text of the hour, `callers` its log."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rnd = random.Random(shape.seed)
        self.lines: list[tuple[float, str]] = []
        self.callers: list[Caller] = []
        self._moments: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self._legs = 0
        self.busy: dict[str, Leg | None] = {str(101 + n): None for n in range(shape.agents)}
        at = 0.0
        for number in range(shape.callers):
            at += self.rnd.uniform(0.05, shape.spread_seconds)
            digits = 5321110000 + self.rnd.randrange(shape.numbers)
            hidden = self.rnd.random() < shape.hidden_share
            shown = "anonymous" if hidden else f"+90{digits}"
            self.callers.append(Caller(f"c{number}", f"0{digits}", shown, at))
            self._at(at, lambda now, n=number: self._arrives(self.callers[n], now))
        while self._moments:
            now, _, what = heappop(self._moments)
            what(now)

    @property
    def play(self) -> str:
        return "\n".join(line for _, line in sorted(self.lines, key=lambda pair: pair[0]))

    # --- time ---------------------------------------------------------------------------------

    def _at(self, at: float, what: Callable[[float], None]) -> None:
        self._count += 1
        heappush(self._moments, (at, self._count, what))

    def _says(self, at: float, line: str) -> None:
        self.lines.append((at, f"{at:.6f} {line}"))

    def _reaction(self) -> float:
        """Seconds from a cause on one leg to its effect on another (section 6)."""
        if self.shape.pbx == "freeswitch":
            return self.rnd.uniform(0.002, 0.070)
        return self.rnd.uniform(0.0005, 0.005)

    # --- callers --------------------------------------------------------------------------------

    def _arrives(self, caller: Caller, now: float) -> None:
        self._says(now, f"trunk>pbx INVITE {caller.label} from={caller.shown}")
        self._says(now + 0.001, f"pbx>trunk 100 {caller.label}")
        if self.shape.queue:
            answered = now + self.rnd.uniform(0.002, 0.006)
            self._says(answered, f"pbx>trunk 200 {caller.label} ack")
            freeswitch = self.shape.pbx == "freeswitch"
            wait = self.rnd.uniform(0.02, 0.1) if freeswitch else 0.5 + self.rnd.uniform(0, 0.01)
            self._at(answered + wait, lambda at: self._round(caller, at))
        else:
            wait = self.rnd.uniform(0.002, 0.020)
            self._at(now + wait, lambda at: self._round(caller, at))
        patience = self.rnd.uniform(0.3, self.shape.patience_seconds)
        self._at(now + patience, lambda at: self._gives_up(caller, at))

    def _gives_up(self, caller: Caller, now: float) -> None:
        if caller.over or caller.talking is not None:
            return
        caller.left = now
        caller.over = True
        if self.shape.queue:
            self._says(now, f"trunk>pbx BYE {caller.label} done")
        else:
            self._says(now, f"trunk>pbx CANCEL {caller.label} done")
        at = now
        for leg in caller.legs:
            if leg.ended is None and not leg.answered:
                at += self._reaction() if at == now else 0.0005
                self._at(at, lambda when, leg=leg: self._cancels(leg, when, "caller"))
        self._log(caller)

    def _log(self, caller: Caller) -> None:
        """The supervisor's word, by outcomes.md 6."""
        if caller.talking is not None:
            caller.outcome = "answered"
            return
        ends = [leg.ended for leg in caller.legs if leg.ended is not None]
        open_ = any(leg.ended is None for leg in caller.legs)
        if caller.left is not None:
            mailbox = self.shape.queue and ends and not open_
            if mailbox and caller.left - max(ends) > MAILBOX_SECONDS:
                self._log_agents(caller)
                if "device_not_responding" in [leg.outcome for leg in caller.legs]:
                    caller.also = "abandoned"
                return
            since = caller.arrived
            if not self.shape.queue and caller.rang is not None:
                since = caller.rang
            brief = caller.left - since <= BRIEF_SECONDS
            caller.outcome = "briefly_abandoned" if brief else "abandoned"
            return
        self._log_agents(caller)

    def _log_agents(self, caller: Caller) -> None:
        last = max(caller.legs, key=lambda leg: leg.begun)
        said = [
            leg.outcome
            for leg in caller.legs
            if last.begun - leg.begun <= 1.0
            and (leg is last or leg.ended is None or leg.ended > last.begun)
        ]
        caller.outcome = min(said, key=lambda o: ORDER.index(o) if o in ORDER else 9)

    # --- rounds ---------------------------------------------------------------------------------

    def _round(self, caller: Caller, now: float) -> None:
        if caller.over or caller.talking is not None:
            return
        free = [agent for agent, leg in self.busy.items() if leg is None]
        if self.shape.strategy == "linear":
            fresh = [agent for agent in free if agent not in caller.tried]
            if not fresh and self.shape.queue:
                caller.tried.clear()
                fresh = free
            free = fresh[:1]
        elif not self.shape.queue and caller.tried:
            free = []
        if not free:
            if self.shape.queue:
                self._at(now + 1.0, lambda at: self._round(caller, at))
            else:
                self._refuses(caller, now)
            return
        at = now
        for agent in free:
            self._rings(caller, agent, at)
            at += self.rnd.uniform(0.0005, 0.003)

    def _rings(self, caller: Caller, agent: str, now: float) -> None:
        self._legs += 1
        leg = Leg(f"a{self._legs}", agent, caller, now)
        caller.legs.append(leg)
        caller.tried.add(agent)
        self.busy[agent] = leg
        shown = "anonymous" if caller.shown == "anonymous" else caller.number
        habit = self.rnd.choices(*zip(*self.shape.habits, strict=True))[0]
        series = TIMER_FREESWITCH if self.shape.pbx == "freeswitch" else TIMER_A
        again = " again=" + ",".join(f"{t}" for t in series) if habit == "silent" else ""
        self._says(now, f"pbx>{agent} INVITE {leg.label} from={shown}{again}")
        if habit == "refuse":
            at = now + self.rnd.uniform(0.02, 0.2)
            self._at(at, lambda when: self._refused(leg, when, 603, "declined"))
            return
        if habit != "silent":
            self._says(now + 0.002, f"{agent}>pbx 100 {leg.label}")
            at = now + self.rnd.uniform(0.02, 0.3)
            self._at(at, lambda when: self._ringing(leg, when))
        if habit == "answer":
            at = now + self.rnd.uniform(1.5, self.shape.ring_seconds * 1.1)
            self._at(at, lambda when: self._picks_up(leg, when))
        elif habit == "reject":
            at = now + self.rnd.uniform(1.6, self.shape.ring_seconds * 0.9)
            self._at(at, lambda when: self._refused(leg, when, 486, "declined"))
        self._at(self._timer(now), lambda when: self._cancels(leg, when, "timer"))

    def _timer(self, begun: float) -> float:
        if self.shape.pbx == "freeswitch":
            # It counts whole seconds of the wall clock.
            return float(int(begun + self.shape.ring_seconds)) + self.rnd.uniform(0.0, 0.01)
        return begun + self.shape.ring_seconds + self.rnd.uniform(0.002, 0.016)

    # --- agents' legs -----------------------------------------------------------------------------

    def _ringing(self, leg: Leg, now: float) -> None:
        if leg.ended is not None:
            return
        leg.rang = True
        self._says(now, f"{leg.agent}>pbx 180 {leg.label}")
        caller = leg.caller
        if not self.shape.queue and caller.rang is None and not caller.over:
            caller.rang = now + self._reaction()
            self._says(caller.rang, f"pbx>trunk 180 {caller.label}")

    def _picks_up(self, leg: Leg, now: float) -> None:
        if leg.ended is not None or leg.caller.over:
            return
        caller = leg.caller
        leg.answered = True
        leg.ended = now
        leg.outcome = "answered"
        self._says(now, f"{leg.agent}>pbx 200 {leg.label} ack")
        caller.talking = leg
        caller.over = True
        at = now + self._reaction()
        if not self.shape.queue:
            self._says(at, f"pbx>trunk 200 {caller.label} ack")
        for other in caller.legs:
            if other is not leg and other.ended is None:
                at += 0.0005
                self._at(at, lambda when, other=other: self._cancels(other, when, "elsewhere"))
        until = now + self.rnd.uniform(1.0, self.shape.talk_seconds)
        self._at(until, lambda when: self._hangs_up(leg, when))
        self._log(caller)

    def _hangs_up(self, leg: Leg, now: float) -> None:
        caller = leg.caller
        first, second = (
            f"trunk>pbx BYE {caller.label} done",
            f"pbx>{leg.agent} BYE {leg.label} done",
        )
        if self.rnd.random() < 0.5:
            first = f"{leg.agent}>pbx BYE {leg.label} done"
            second = f"pbx>trunk BYE {caller.label} done"
        self._says(now, first)
        self._says(now + self._reaction(), second)
        self.busy[leg.agent] = None

    def _refused(self, leg: Leg, now: float, status: int, outcome: str) -> None:
        if leg.ended is not None:
            return
        leg.outcome = outcome
        self._says(now, f"{leg.agent}>pbx {status} {leg.label} ack")
        self._ends(leg, now)

    def _cancels(self, leg: Leg, now: float, why: str) -> None:
        if leg.ended is not None:
            return
        silent = not leg.rang and "again=" in self._line_of(leg)
        leg.outcome = {"timer": "no_answer", "caller": "abandoned", "elsewhere": "redirected"}[why]
        if silent:
            leg.outcome = "device_not_responding"
        else:
            reason = self._reason(why)
            said = f' reason="{reason}"' if reason else ""
            self._says(now, f"pbx>{leg.agent} CANCEL {leg.label}{said} done")
            if not leg.rang and why == "timer":
                leg.outcome = "connection_timeout"
        self._ends(leg, now, again=why == "timer")

    def _line_of(self, leg: Leg) -> str:
        return next(line for _, line in self.lines if f" INVITE {leg.label} " in line)

    def _reason(self, why: str) -> str:
        known = {
            "asterisk": {"timer": "Q.850;cause=0", "caller": "Q.850;cause=127",
                         "elsewhere": "SIP;cause=200"},
            "freeswitch": {"timer": "Q.850;cause=19;text=NO_ANSWER",
                           "caller": "SIP;cause=487;text=ORIGINATOR_CANCEL",
                           "elsewhere": "SIP;cause=200"},
        }  # fmt: skip
        said = known.get(self.shape.pbx, {}).get(why, "")
        if self.shape.pbx == "asterisk" and self.shape.queue and why == "caller":
            return "Q.850;cause=0"
        return said

    def _ends(self, leg: Leg, now: float, again: bool = True) -> None:
        leg.ended = now
        self.busy[leg.agent] = None
        caller = leg.caller
        if not again or caller.over or any(other.ended is None for other in caller.legs):
            return
        wait = 5.0 if self.shape.queue else self._reaction()
        self._at(now + wait, lambda at: self._round(caller, at))

    def _refuses(self, caller: Caller, now: float) -> None:
        """Nobody is left to be tried: what the PBX tells the caller is no truth (12)."""
        caller.over = True
        told = {"asterisk": '603 {} reason="Q.850;cause=16"',
                "freeswitch": '480 {} reason="Q.850;cause=16"'}  # fmt: skip
        line = told.get(self.shape.pbx, "480 {}").format(caller.label)
        self._says(now, f"pbx>trunk {line} ack")
        if caller.legs:
            self._log_agents(caller)
