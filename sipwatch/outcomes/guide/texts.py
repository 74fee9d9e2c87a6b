"""Texts by key in the reader's language, falling back to English key by key.

A language is one TOML file; its tables become dotted keys (``[outcome.declined]`` ``name`` is
``outcome.declined.name``). A key that a language lacks is taken from English, so an unfinished
translation works from its first line.
"""

from __future__ import annotations

import os
import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

#: One text, or the lines of a list.
Value: TypeAlias = str | tuple[str, ...]

#: The language that has every key.
FALLBACK = "en"

#: POSIX order: the first of these that is set decides, even when we do not speak it.
_LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")

_BUNDLED = Path(__file__).parent / "languages"

_LANGUAGE_FILE = re.compile(r"([a-z]{2,3}(?:_[A-Z]{2})?)\.toml")


class UnknownLanguageError(ValueError):
    """A language was asked for that has no file; ``available`` names those that have."""

    def __init__(self, language: str, available: tuple[str, ...]) -> None:
        super().__init__(f"unknown language {language!r}; available: {', '.join(available)}")
        self.language = language
        self.available = available


class LanguageFileError(ValueError):
    """A language file cannot be used; the message names the file and what is wrong in it."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file
        self.problem = problem


class MissingTextError(KeyError):
    """No language has this key: a mistake of the caller, not of a translation."""


class Texts:
    """The texts of one language over the English ones."""

    def __init__(
        self, language: str, own: Mapping[str, Value], fallback: Mapping[str, Value]
    ) -> None:
        self.language = language
        self._values: dict[str, Value] = {**fallback, **own}

    @classmethod
    def load(cls, language: str = FALLBACK, folder: Path | None = None) -> Texts:
        """The texts for a language tag (``tr``, ``tr_TR``, ``tr-TR.UTF-8``).

        ``folder`` adds language files to the bundled ones and wins over them. Raises
        UnknownLanguageError, or LanguageFileError for a file that cannot be used.
        """
        known = _language_files(folder)
        for tag in _tags(language):
            if tag in known:
                return _load_file(tag, known[tag])
        raise UnknownLanguageError(language, tuple(sorted(known)))

    def t(self, key: str, **values: object) -> str:
        """The text of ``key`` with its ``{names}`` filled in (str.format)."""
        text = self._values.get(key)
        if not isinstance(text, str):
            raise MissingTextError(key)
        return text.format(**values)

    def n(self, key: str, count: int, **values: object) -> str:
        """The form of ``key`` for a number: ``key.one`` for exactly 1, else ``key.other``.

        ``{count}`` in the text is the number as this language writes it.
        """
        form = f"{key}.one" if count == 1 else f"{key}.other"
        return self.t(form, count=self.number(count), **values)

    def lines(self, key: str) -> tuple[str, ...]:
        """The lines of a list such as ``outcome.declined.steps``, as they stand."""
        value = self._values.get(key)
        if not isinstance(value, tuple):
            raise MissingTextError(key)
        return value

    def keys(self) -> Iterator[str]:
        """Every key that has a text, in the order of the English file."""
        return iter(self._values)

    def number(self, value: float, decimals: int = 0) -> str:
        """A number with this language's decimal mark and digit grouping."""
        marks = {",": self.t("language.group"), ".": self.t("language.decimal")}
        return "".join(marks.get(sign, sign) for sign in f"{value:,.{decimals}f}")

    def percent(self, share: float, decimals: int = 0) -> str:
        """A share of 1 as this language writes percentages: 0.42 is ``42%`` or ``%42``."""
        return self.t("language.percent", value=self.number(share * 100, decimals))


def languages(folder: Path | None = None) -> dict[str, str]:
    """The languages there are, by scanning the folders: tag to the language's own name."""
    known = _language_files(folder)
    return {tag: _load_file(tag, known[tag]).t("language.name") for tag in sorted(known)}


def default_language(environ: Mapping[str, str] | None = None) -> str:
    """The language of the locale (LC_ALL, LC_MESSAGES, LANG) when we speak it, else English."""
    environ = os.environ if environ is None else environ
    locale = next((environ[name] for name in _LOCALE_VARIABLES if environ.get(name)), FALLBACK)
    known = _language_files(None)
    return next((tag for tag in _tags(locale) if tag in known), FALLBACK)


def _tags(language: str) -> tuple[str, ...]:
    """Tags to try for a locale name, most exact first: ``pt_BR.UTF-8`` is pt_BR, then pt."""
    name = re.split(r"[.@]", language.strip(), maxsplit=1)[0].replace("-", "_")
    base, _, region = name.partition("_")
    base = base.lower()
    return (f"{base}_{region.upper()}", base) if region else (base,)


def _language_files(folder: Path | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in (_BUNDLED,) if folder is None else (_BUNDLED, folder):
        try:
            names = list(place.iterdir())
        except OSError as error:
            raise LanguageFileError(str(place), error.strerror or "cannot be read") from error
        for file in names:
            if match := _LANGUAGE_FILE.fullmatch(file.name):
                found[match[1]] = file
    return found


@lru_cache(maxsize=16)
def _load_file(tag: str, file: Path) -> Texts:
    own = _read(file)
    english = _read(_language_files(None)[FALLBACK])
    _check_against(english, own, str(file))
    return Texts(tag, own, english)


def _read(file: Path) -> dict[str, Value]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LanguageFileError(str(file), error.strerror or "cannot be read") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise LanguageFileError(str(file), str(error)) from error
    return dict(_flat(tables, "", str(file)))


def _flat(table: Mapping[str, Any], prefix: str, file: str) -> Iterator[tuple[str, Value]]:
    for name, value in table.items():
        key = prefix + name
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.", file)
        elif value in ("", []):  # not translated yet
            continue
        elif isinstance(value, str):
            yield key, value
        elif isinstance(value, list) and all(isinstance(line, str) for line in value):
            yield key, tuple(value)
        else:
            raise LanguageFileError(file, f"{key} must be a text or a list of texts")


def _check_against(english: Mapping[str, Value], own: Mapping[str, Value], file: str) -> None:
    """Refuse what would only break when it is shown: another type, or an unknown ``{name}``."""
    for key, value in own.items():
        model = english.get(key)
        if model is not None and type(model) is not type(value):
            kind = "a text" if isinstance(model, str) else "a list of texts"
            raise LanguageFileError(file, f"{key} must be {kind}")
        if isinstance(model, str) and isinstance(value, str):
            extra = _placeholders(key, value, file) - _placeholders(key, model, file)
            if extra:
                names = ", ".join(sorted(extra))
                raise LanguageFileError(file, f"{key} uses unknown {{{names}}}")


def _placeholders(key: str, text: str, file: str) -> set[str]:
    try:
        fields = [field for _, *field in string.Formatter().parse(text) if field[0] is not None]
    except ValueError as error:
        raise LanguageFileError(file, f"{key}: {error}") from error
    if any(spec or conversion for _, spec, conversion in fields):
        raise LanguageFileError(file, f"{key}: only plain {{names}} are filled in")
    return {str(name) for name, _, _ in fields}
