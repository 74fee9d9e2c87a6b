"""Names that people give to outcomes, in every language there is, and what each selects.

``--outcome`` takes a key (``declined``), a name of the guide in any language ("Call Declined"),
an alias, a detail (``forwarded``) or both (``redirected/forwarded``). Upper and lower case,
accents, spaces, underscores and dashes make no difference.
"""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from sipwatch.outcomes.guide.entries import Guide
from sipwatch.outcomes.guide.texts import Texts, languages

#: Longer names are cut before they are compared or shown.
_MAX_NAME = 60


class UnknownFilterError(ValueError):
    """Nothing has that name; ``nearest`` is the name that reads most like it."""

    def __init__(self, name: str, nearest: str, key: str) -> None:
        hint = repr(nearest) if nearest == key else f"{nearest!r} ({key})"
        super().__init__(f"no outcome is called {name!r}; the nearest name is {hint}")
        self.name = name
        self.nearest = nearest


@dataclass(frozen=True, slots=True)
class OutcomeFilter:
    """Selects one outcome, or one detail of it."""

    outcome: str
    detail: str | None = None

    def matches(self, outcome: str, detail: str | None) -> bool:
        """Whether a verdict is selected."""
        return self.outcome == outcome and self.detail in (None, detail)


def parse_filter(name: str) -> OutcomeFilter:
    """What a name given by a person selects. Raises UnknownFilterError."""
    outcome, _, detail = _find(name, _outcome_names()).partition("/")
    return OutcomeFilter(outcome, detail or None)


def find_key(name: str) -> str:
    """The key of the guide's entry that a person asks for, cause hints included.

    Raises UnknownFilterError.
    """
    return _find(name, _hint_names() | _outcome_names())


def folded(name: str) -> str:
    """A name without what makes no difference: case, accents, dotted or dotless i, separators."""
    plain = name.replace("ı", "i").replace("İ", "i").casefold()
    decomposed = unicodedata.normalize("NFKD", plain)
    letters = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    words = " ".join(letters.replace("_", " ").replace("-", " ").split())
    return "/".join(part.strip() for part in words.split("/"))


#: Folded name to the name as it is written and the key it stands for.
_Names: TypeAlias = dict[str, tuple[str, str]]


def _find(name: str, names: _Names) -> str:
    asked = folded(name[:_MAX_NAME])
    if asked in names:
        return names[asked][1]
    outcome, _, detail = asked.partition("/")
    if outcome in names and detail in names:
        key = names[detail][1]
        if key.startswith(names[outcome][1] + "/"):
            return key
    nearest = difflib.get_close_matches(asked, names, n=1, cutoff=0.0)[0]
    raise UnknownFilterError(name[:_MAX_NAME], *names[nearest])


@lru_cache(maxsize=1)
def _outcome_names() -> _Names:
    names: _Names = {}
    guide = Guide(Texts.load())
    for entry in guide.outcomes():
        _add_names(names, f"outcome.{entry.key}", entry.key)
    for entry in guide.details():
        _add_names(names, f"detail.{entry.detail}", entry.key)
    return names


@lru_cache(maxsize=1)
def _hint_names() -> _Names:
    names: _Names = {}
    for entry in Guide(Texts.load()).cause_hints():
        _add_names(names, f"cause_hint.{entry.key}", entry.key)
    return names


def _add_names(names: _Names, prefix: str, key: str) -> None:
    """The key itself, name and aliases in every language; who comes first keeps a name."""
    written = [key, prefix.partition(".")[2]]
    for language in languages():
        texts = Texts.load(language)
        written += [texts.t(f"{prefix}.name"), *texts.lines(f"{prefix}.aliases")]
    for name in written:
        names.setdefault(folded(name), (name, key))
