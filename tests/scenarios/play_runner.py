"""Feeds a play to the pipeline, in any way a source may, and keeps what came out.

`run` is the plain way; `batch` and `idle` feed the same packets in other portions and let time
pass between them as the live path does. The sum rule of outcomes.md section 3 is checked on every
run, after every packet that a batch ends with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from playbook import Item, Loss, Seen

from sipwatch.calls.types import Attempt, AttemptEnded, Call, CallEnded, DialogEnded, Event
from sipwatch.config import Config, parse_toml
from sipwatch.pipeline import Pipeline

LOCAL = 'local_addresses = ["10.9.0.1"]\n'


def config_of(text: str = "", local: bool = True) -> Config:
    """The configuration of a play: the PBX's address is known unless it is not to be."""
    return parse_toml((LOCAL if local else "") + text)


@dataclass
class Outcome:
    """All that a run said, in its order."""

    pipeline: Pipeline
    attempts: list[Attempt] = field(default_factory=list)
    dialogs: list[Attempt] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    #: Branch of the leg with which its call begins, by serial.
    roots: dict[int, bytes] = field(default_factory=dict)

    def take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, AttemptEnded):
                attempt = event.attempt
                self.attempts.append(attempt)
                if attempt.answered_at is None:
                    self._complete(attempt)
            elif isinstance(event, DialogEnded):
                self.dialogs.append(event.attempt)
                self._complete(event.attempt)
            elif isinstance(event, CallEnded):
                self.calls.append(event.call)

    def _complete(self, attempt: Attempt) -> None:
        self.roots[attempt.serial] = attempt.root.branch if attempt.root else b""

    def attempt_of(self, call_id: bytes) -> Attempt:
        (found,) = [a for a in self.attempts if a.call_id == call_id]
        return found

    def call_of(self, attempt: Attempt) -> Call:
        (found,) = [c for c in self.calls if attempt in c.attempts]
        return found


def run(
    items: Sequence[Item],
    config: Config,
    quiet: float = 45.0,
    batch: int = 1,
    idle: float = 0.0,
    begun: Sequence[int] = (),
) -> Outcome:
    """Feed `items` in portions of `batch`; with `idle`, `advance` so often in gaps (seconds).

    `begun` says after each item how many records it must lead to by then: the sum rule is checked
    where it is given.
    """
    outcome = Outcome(Pipeline(config))
    pipeline = outcome.pipeline
    portion: list[Item] = []
    for number, item in enumerate(items):
        if isinstance(item, Loss):
            outcome.take(pipeline.feed(portion))
            portion = []
            pipeline.tracker.lost(item.time)
        else:
            portion.append(item)
        last = number + 1 == len(items)
        if len(portion) >= batch or last or (idle and items[number + 1].time - item.time > idle):
            outcome.take(pipeline.feed(portion))
            portion = []
            if begun:
                held = pipeline.tracker.in_progress
                assert held + len(outcome.attempts) == begun[number], (
                    f"sum rule at +{item.time - items[0].time:.4f} s"
                )
            if idle and not last:
                now = item.time + idle
                while now < items[number + 1].time:
                    outcome.take(pipeline.advance(now))
                    now += idle
    end = (items[-1].time if items else 0.0) + quiet
    if idle and items:
        now = items[-1].time + idle
        while now < end:
            outcome.take(pipeline.advance(now))
            now += idle
    outcome.take(pipeline.finish(end, "end_of_capture"))
    return outcome


def begun_of(seen: Sequence[Seen], recorded: frozenset[str]) -> list[int]:
    """How many of the labels in `recorded` have begun after each item."""
    known: set[str] = set()
    counts = []
    for one in seen:
        if one.opens and one.label in recorded:
            known.add(one.label)
        counts.append(len(known))
    return counts


def fingerprint(outcome: Outcome) -> tuple[list[object], list[object]]:
    """All that is said of attempts and of calls, whatever the order it came in."""
    attempts = [
        (
            a.call_id, a.branch, a.started_at, a.ended_at, a.verdict, a.crossed_verdict, a.end,
            a.closed_by, a.role, a.direction, a.legs, a.retransmissions, a.copies,
            a.ring_duration, a.post_dial_delay, a.talk_duration, tuple(a.correlation),
            outcome.roots.get(a.serial), a.ambiguous,
        )
        for a in outcome.attempts
    ]  # fmt: skip
    calls = [
        (sorted((a.call_id, a.branch) for a in c.attempts), c.root.branch, c.verdict)
        for c in outcome.calls
    ]
    return sorted(attempts, key=repr), sorted(calls, key=repr)
