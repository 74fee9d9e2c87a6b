"""The guide of outcomes: what each one means, for the agent and for the admin.

Everything that is said stands in data files: ``languages/*.toml`` holds the texts, one file a
language; ``structure.toml`` holds what no language changes (category, urgency, causes). The
modules here only find, join and check them.

A new language is one file more: copy ``languages/en.toml`` to ``languages/<tag>.toml`` and
translate. What is missing or empty in it is shown in English.
"""

from sipwatch.outcomes.guide.entries import Entry, Guide, HangupCause, UnknownEntryError, advice
from sipwatch.outcomes.guide.filters import (
    OutcomeFilter,
    UnknownFilterError,
    find_key,
    parse_filter,
)
from sipwatch.outcomes.guide.texts import (
    LanguageFileError,
    MissingTextError,
    Texts,
    UnknownLanguageError,
    default_language,
    languages,
)

__all__ = [
    "Entry",
    "Guide",
    "HangupCause",
    "LanguageFileError",
    "MissingTextError",
    "OutcomeFilter",
    "Texts",
    "UnknownEntryError",
    "UnknownFilterError",
    "UnknownLanguageError",
    "advice",
    "default_language",
    "find_key",
    "languages",
    "parse_filter",
]
