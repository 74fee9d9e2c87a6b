"""``sipwatch guide``: what an outcome means and what to do about it."""

from __future__ import annotations

import io
import json
import sys

import click
from rich.console import Console

from sipwatch.outcomes.guide import (
    Guide,
    LanguageFileError,
    Texts,
    UnknownFilterError,
    UnknownLanguageError,
    default_language,
    find_key,
)
from sipwatch.report.guide import entry_record, guide_record, print_entry, print_summary


@click.command()
@click.argument("name", nargs=-1)
@click.option("--lang", metavar="LANGUAGE", help="Language of the texts; else the locale's.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)
def guide(name: tuple[str, ...], lang: str | None, form: str) -> None:
    """What outcomes mean, and what to do about them.

    Without NAME all outcomes in a table. NAME is an outcome, a detail or a technical cause, as a
    key or in words: no_answer, "Call Declined", redirected/forwarded, registration_expired.
    """
    texts = _texts(lang)
    book = Guide(texts)
    entry = book.entry(_key(" ".join(name))) if name else None
    _replace_unprintable()
    if form == "json":
        record = guide_record(book) if entry is None else entry_record(entry)
        click.echo(json.dumps(record, ensure_ascii=not _speaks_unicode(), indent=2))
        return
    console = Console(file=sys.stdout)
    if entry is None:
        print_summary(console, book)
    else:
        print_entry(console, book, entry)


def _texts(lang: str | None) -> Texts:
    try:
        return Texts.load(default_language() if lang is None else lang)
    except UnknownLanguageError as error:
        raise click.BadParameter(str(error), param_hint="--lang") from error
    except LanguageFileError as error:
        raise click.ClickException(str(error)) from error


def _key(name: str) -> str:
    try:
        return find_key(name)
    except UnknownFilterError as error:
        raise click.UsageError(f"{error}; `sipwatch guide` lists all") from error
    except LanguageFileError as error:
        raise click.ClickException(str(error)) from error


def _replace_unprintable() -> None:
    """Letters that the output's encoding lacks become ``?`` instead of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")
