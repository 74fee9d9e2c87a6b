"""The scenarios in the TOML files beside this module: each a play and what must be said of it.

    [[scenario]]
    name = "603 after {t} s of ringing"     # {…} is filled in from the case
    spec = "5 rule 10"                       # where outcomes.md says so
    says = { pbx = "asterisk" }              # User-Agents by party
    parties = { carrier = "198.51.100.1:5060" }
    config = "timers.no_answer_seconds = 5"  # beside local_addresses; `local = false`: without
    keep = "trunk" | "requests" | "responses"   # only what this party sends or gets
    drop = "trunk"                           # all but that
    from_time = 1.0                          # the capture begins then
    quiet = 45.0                             # seconds that it goes on after the last packet
    rounds = [8.0, 8.1]                      # the play once a value, 100 s apart; {x}, {n}
    cases = [ { t = 0.5, want = "automatic" }, … ]   # one test each; may replace any key above
    play = '''…'''                           # see playbook.py
    expect = '''
    b declined/{want} explicit [10] /evidence, a regular expression/ code=603
    call a+b declined/{want} correlated [6]
    '''

Every attempt must stand in `expect`, and every call when one does. `-` as outcome of an attempt
says that no record may exist, of a call that its outcome does not matter.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from play_runner import Outcome, begun_of, config_of, run
from playbook import Loss, Play, Seen

from sipwatch.calls.types import Attempt, Verdict
from sipwatch.config import Config

HERE = Path(__file__).parent
ROUND_SECONDS = 100.0
_CONFIDENCES = frozenset(("explicit", "correlated", "inferred"))


@dataclass(frozen=True)
class Expected:
    """What must be said of an attempt (one label) or a call (its labels)."""

    labels: frozenset[str]
    call: bool
    outcome: str
    detail: str | None = None
    confidence: str | None = None
    rule: str | None = None
    evidence: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


@dataclass
class Scenario:
    """One row of the table, ready to be played."""

    family: str
    name: str
    data: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.family}: {self.name}"

    @property
    def config(self) -> Config:
        return config_of(self.data.get("config", ""), self.data.get("local", True))

    @property
    def quiet(self) -> float:
        return float(self.data.get("quiet", 45.0))

    @property
    def expected(self) -> list[Expected]:
        return [_expected(line) for line in self.data["expect"].splitlines() if line.strip()]

    def seen(self) -> list[Seen]:
        """What the capture holds."""
        play = Play(
            re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-"),
            self.data.get("parties", {}),
            self.data.get("says", {}),
            self.data.get("transport", "UDP"),
        )
        text = self.data["play"]
        rounds = self.data.get("rounds")
        if rounds:
            text = "\n".join(
                _later(_filled(text, {"x": value, "n": number}), ROUND_SECONDS * (number - 1))
                for number, value in enumerate(rounds, 1)
            )
        play.run(text)
        self.play = play
        kept = [one for one in play.seen if self._kept(play, one)]
        play.seen = kept
        return play.in_order()

    def _kept(self, play: Play, one: Seen) -> bool:
        item = one.item
        if isinstance(item, Loss):
            return True
        start = self.data.get("from_time")
        if start is not None and item.time < 1_700_000_000.0 + start - 1e-6:
            return False
        keep, drop = self.data.get("keep"), self.data.get("drop")
        if keep in ("requests", "responses"):
            return item.payload.startswith(b"SIP/2.0") == (keep == "responses")
        ends = (item.source[0], item.destination[0])
        if keep is not None and play.party(keep).endpoint[0] not in ends:
            return False
        return drop is None or play.party(drop).endpoint[0] not in ends

    @property
    def recorded(self) -> frozenset[str]:
        """The labels of which there must be a record."""
        return frozenset(
            label for e in self.expected if not e.call and e.outcome != "-" for label in e.labels
        )

    def run(self, batch: int = 1, idle: float = 0.0) -> Outcome:
        seen = self.seen()
        begun = begun_of(seen, self.recorded)
        return run([one.item for one in seen], self.config, self.quiet, batch, idle, begun)

    def label_of(self, attempt: Attempt) -> str:
        """Which leg of the play an attempt is."""
        found = [
            label
            for label, leg in self.play.legs.items()
            if leg.call_id.encode() == attempt.call_id
            and any(t.branch.encode() == attempt.branch for t in leg.sent)
        ]
        if len(found) != 1:
            raise AssertionError(f"{attempt} with branch {attempt.branch!r} is {found}")
        return found[0]


def differences(scenario: Scenario, outcome: Outcome) -> list[str]:
    """All that is not as the scenario expects."""
    found: list[str] = []
    by_label: dict[str, Attempt] = {}
    for attempt in outcome.attempts:
        label = scenario.label_of(attempt)
        if label in by_label:
            found.append(f"{label}: more than one record")
        by_label[label] = attempt
    expected = scenario.expected
    for one in expected:
        if one.call:
            continue
        for label in sorted(one.labels):
            found += _attempt_differences(one, label, by_label.pop(label, None))
    found += [f"{label}: not expected: {a.verdict}" for label, a in by_label.items()]
    if any(one.call for one in expected):
        found += _call_differences(scenario, outcome, expected)
    return found


def _attempt_differences(one: Expected, label: str, attempt: Attempt | None) -> list[str]:
    if one.outcome == "-":
        return [] if attempt is None else [f"{label}: there must be no record: {attempt.verdict}"]
    if attempt is None:
        return [f"{label}: no record"]
    found = _verdict_differences(one, label, attempt.verdict)
    for name, wanted in one.facts.items():
        said = _fact(attempt, name)
        if said != wanted and not _close(said, wanted):
            found.append(f"{label}: {name} is {said}, not {wanted}")
    return found


def _call_differences(scenario: Scenario, outcome: Outcome, expected: list[Expected]) -> list[str]:
    found = []
    calls = {frozenset(scenario.label_of(a) for a in call.attempts): call for call in outcome.calls}
    if len(calls) != len(outcome.calls):
        found.append("a call was said twice")
    for one in expected:
        if one.call:
            name = "call " + "+".join(sorted(one.labels))
            call = calls.pop(one.labels, None)
            if call is None:
                found.append(f"{name}: no such call among {[sorted(c) for c in calls]}")
            elif one.outcome != "-":
                found += _verdict_differences(one, name, call.verdict)
    return found + [f"call {'+'.join(sorted(c))}: not expected" for c in calls]


def _verdict_differences(one: Expected, name: str, verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return [f"{name}: no verdict"]
    found = []
    said = (verdict.outcome, verdict.detail)
    if said != (one.outcome, one.detail):
        found.append(f"{name}: {said}, not {(one.outcome, one.detail)}")
    if one.confidence is not None and verdict.confidence != one.confidence:
        found.append(f"{name}: {verdict.confidence}, not {one.confidence}")
    rule = verdict.rule.removeprefix("call/") if one.call else verdict.rule
    if one.rule is not None and rule != one.rule:
        found.append(f"{name}: by rule {rule}, not {one.rule}")
    text = " | ".join(verdict.evidence)
    if one.evidence is not None and not re.search(one.evidence, text):
        found.append(f"{name}: evidence lacks {one.evidence!r}")
    return [f"{line}  ({verdict.rule}: {text})" for line in found]


def _fact(attempt: Attempt, name: str) -> str:
    value: Any
    durations = {
        "ring": attempt.ring_duration,
        "pdd": attempt.post_dial_delay,
        "setup": attempt.setup_duration,
        "talk": attempt.talk_duration,
    }
    if name in durations:
        value = durations[name]
    elif name == "code":
        value = attempt.final_status
    elif name == "ambiguous":
        value = attempt.ambiguous
    else:
        value = getattr(attempt, name)
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _close(said: str, wanted: str) -> bool:
    try:
        return abs(float(said) - float(wanted)) < 0.0015
    except ValueError:
        return False


def _expected(line: str) -> Expected:
    evidence = None
    match = re.search(r"\s/(.+)/(?=\s|$)", line)
    if match:
        evidence = match[1]
        line = line[: match.start()] + line[match.end() :]
    words = shlex.split(line)
    call = words[0] == "call"
    if call:
        del words[0]
    labels = frozenset(words[0].split("+"))
    outcome, _, detail = words[1].partition("/")
    confidence = rule = None
    facts: dict[str, str] = {}
    for word in words[2:]:
        if word in _CONFIDENCES:
            confidence = word
        elif word.startswith("[") and word.endswith("]"):
            rule = word[1:-1]
        elif "=" in word:
            name, _, value = word.partition("=")
            facts[name] = value
        else:
            raise ValueError(f"expectation {line!r}: {word!r}")
    return Expected(labels, call, outcome, detail or None, confidence, rule, evidence, facts)


def _filled(text: str, values: dict[str, Any]) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1], m[0])), text)


def _later(text: str, seconds: float) -> str:
    lines = []
    for raw in text.splitlines():
        line = raw.strip()
        if line and not line.startswith(("#", "+")):
            line = f"{seconds}+{line}"
        lines.append(line)
    return "\n".join(lines)


def _cases(family: str, data: dict[str, Any]) -> Iterator[Scenario]:
    cases = data.pop("cases", None) or [{}]
    for case in cases:
        merged = {**data, **case}
        filled = {
            key: _filled(value, case) if isinstance(value, str) else value
            for key, value in merged.items()
        }
        yield Scenario(family, filled["name"], filled)


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All rows of all files, one for each case."""
    found = []
    for path in sorted(HERE.glob("*.toml")):
        for data in tomllib.loads(path.read_text(encoding="utf-8"))["scenario"]:
            found += list(_cases(path.stem, data))
    return tuple(found)
