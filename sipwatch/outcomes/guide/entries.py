"""Entries of the guide: one for each outcome, detail and cause hint, and advice that joins them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sipwatch.outcomes.guide.texts import Texts

#: From quiet to loud; an entry that joins several takes the loudest.
URGENCIES = ("none", "trend", "investigate_now")

#: Joined advice shows this many situations at most.
_MAX_SITUATIONS = 4


class UnknownEntryError(ValueError):
    """The guide has no such outcome, detail or cause hint, or the two do not belong together."""


class HangupCause(NamedTuple):
    """A FreeSWITCH hangup cause; up to 127 the code is that of ITU-T Q.850."""

    name: str
    code: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What the guide says about one outcome, narrowed by detail and cause hint where known."""

    #: How to ask for it: ``no_answer``, ``declined/manual``, ``registration_expired``.
    key: str
    #: None in the entry of a cause hint alone.
    outcome: str | None
    detail: str | None
    cause_hint: str | None
    name: str
    #: A category of the taxonomy; None where nothing is judged, and for a cause hint alone.
    category: str | None
    #: One of URGENCIES.
    urgency: str
    #: One line, for tables.
    summary: str
    #: What the agent saw, what it means, what the agent should understand.
    saw: str
    means: str
    understand: str
    #: What the admin should do, in this order.
    steps: tuple[str, ...]
    situations: tuple[str, ...]
    #: What looks like it and is not, or how a PBX reports it under another name.
    traps: tuple[str, ...]
    #: Usual signs on the wire: a status, or messages in their order.
    sip: tuple[str, ...]
    #: ITU-T Q.850 causes.
    q850: tuple[int, ...]
    hangup_causes: tuple[HangupCause, ...]


class Guide:
    """All entries, in the language of ``texts``."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self._structure = _structure()

    def outcomes(self) -> tuple[Entry, ...]:
        """The entries of all outcomes, in the order of the taxonomy."""
        return tuple(self.outcome(name) for name in self._structure["outcome"])

    def details(self, outcome: str | None = None) -> tuple[Entry, ...]:
        """The entries of the details, of one outcome or of all."""
        return tuple(
            self.detail(name)
            for name, facts in self._structure["detail"].items()
            if outcome in (None, facts["outcome"])
        )

    def cause_hints(self) -> tuple[Entry, ...]:
        """The entries of the cause hints."""
        return tuple(self.cause_hint(name) for name in self._structure["cause_hint"])

    def entry(self, key: str) -> Entry:
        """The entry of a key as Entry.key writes it. Raises UnknownEntryError."""
        outcome, slash, detail = key.partition("/")
        if slash:
            return self.advice(outcome, detail)
        return self.cause_hint(key) if key in self._structure["cause_hint"] else self.outcome(key)

    def outcome(self, name: str) -> Entry:
        """The entry of an outcome. Raises UnknownEntryError."""
        return self._entry("outcome", name, name, outcome=name)

    def detail(self, name: str) -> Entry:
        """The entry of a detail. Raises UnknownEntryError."""
        outcome = self._facts("detail", name)["outcome"]
        return self._entry("detail", name, f"{outcome}/{name}", outcome=outcome, detail=name)

    def cause_hint(self, name: str) -> Entry:
        """The entry of a cause hint. Raises UnknownEntryError."""
        return self._entry("cause_hint", name, name, cause_hint=name)

    def advice(
        self, outcome: str, detail: str | None = None, cause_hint: str | None = None
    ) -> Entry:
        """One entry for a verdict: the detail's texts before the outcome's, the hint's steps first.

        Raises UnknownEntryError, also for a detail that does not belong to the outcome.
        """
        entry = self.outcome(outcome)
        if detail is not None:
            narrow = self.detail(detail)
            if narrow.outcome != outcome:
                raise UnknownEntryError(f"{detail} is no detail of {outcome}")
            entry = replace(narrow, name=f"{entry.name}: {narrow.name}")
        return entry if cause_hint is None else _with_cause(entry, self.cause_hint(cause_hint))

    def _facts(self, kind: str, name: str) -> dict[str, Any]:
        facts: dict[str, Any] | None = self._structure[kind].get(name)
        if facts is None:
            raise UnknownEntryError(f"the guide has no {kind.replace('_', ' ')} {name!r}")
        return facts

    def _entry(
        self,
        kind: str,
        name: str,
        key: str,
        *,
        outcome: str | None = None,
        detail: str | None = None,
        cause_hint: str | None = None,
    ) -> Entry:
        facts = self._facts(kind, name)
        text, lines, prefix = self.texts.t, self.texts.lines, f"{kind}.{name}"
        codes = self._structure["hangup_cause"]
        category = None if outcome is None else self._facts("outcome", outcome).get("category")
        return Entry(
            key=key,
            outcome=outcome,
            detail=detail,
            cause_hint=cause_hint,
            name=text(f"{prefix}.name"),
            category=category,
            urgency=facts["urgency"],
            summary=text(f"{prefix}.summary"),
            saw=text(f"{prefix}.saw"),
            means=text(f"{prefix}.means"),
            understand=text(f"{prefix}.understand"),
            steps=lines(f"{prefix}.steps"),
            situations=lines(f"{prefix}.situations"),
            traps=lines(f"{prefix}.traps"),
            sip=tuple(facts.get("sip", ())),
            q850=tuple(facts.get("q850", ())),
            hangup_causes=tuple(
                HangupCause(cause, codes[cause]) for cause in facts.get("hangup_causes", ())
            ),
        )


def advice(
    outcome: str, detail: str | None = None, cause_hint: str | None = None, lang: str = "en"
) -> Entry:
    """What the guide says about a verdict. Raises UnknownEntryError, UnknownLanguageError."""
    return Guide(Texts.load(lang)).advice(outcome, detail, cause_hint)


def _with_cause(entry: Entry, cause: Entry) -> Entry:
    return replace(
        entry,
        cause_hint=cause.cause_hint,
        name=f"{entry.name} ({cause.name})",
        urgency=max(entry.urgency, cause.urgency, key=URGENCIES.index),
        means=f"{entry.means} {cause.means}",
        steps=_joined(cause.steps, entry.steps),
        situations=_joined(cause.situations, entry.situations)[:_MAX_SITUATIONS],
        traps=_joined(cause.traps, entry.traps),
    )


def _joined(first: Iterable[str], then: Iterable[str]) -> tuple[str, ...]:
    """Both without repetition: a step that stands in both is said once, at its first place."""
    return tuple(dict.fromkeys((*first, *then)))


@lru_cache(maxsize=1)
def _structure() -> dict[str, dict[str, Any]]:
    text = Path(__file__).with_name("structure.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
