"""Options that several verbs share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sipwatch.cli.failure import UsageFailure
from sipwatch.cli.selection import Moment, Selection, parse_moment, parse_outcomes, zone_of
from sipwatch.config import Config, ConfigError, load

if TYPE_CHECKING:
    from sipwatch.outcomes.guide.filters import OutcomeFilter
    from sipwatch.outcomes.guide.texts import Texts

_Command = TypeVar("_Command", bound=Callable[..., Any])

files_argument = click.argument("files", nargs=-1, required=True, metavar="FILE...")
config_option = click.option(
    "--config", "config_file", metavar="FILE", help="Configuration (TOML); else SIPWATCH_CONFIG."
)
calls_option = click.option("--calls", is_flag=True, help="Whole calls instead of attempts.")
outcome_option = click.option(
    "--outcome",
    multiple=True,
    metavar="NAME",
    help='Only this outcome: no_answer, "Call Declined", forwarded. Repeatable.',
)
agent_option = click.option(
    "--agent", multiple=True, metavar="USER", help="Only this agent. Repeatable."
)
output_option = click.option(
    "-o", "--output", metavar="FILE", help="Write there instead of standard output."
)
lang_option = click.option(
    "--lang", metavar="LANGUAGE", help="Language of the texts; else the locale's."
)


def period_options(command: _Command) -> _Command:
    """`--since` and `--until`."""
    hint = "2026-04-23T09:00, 09:00 (on the day of the first call) or epoch seconds"
    command = click.option(
        "--until", metavar="TIME", help="Only what began then or before; as --since."
    )(command)
    return click.option("--since", metavar="TIME", help=f"Only what began then or later: {hint}.")(
        command
    )


def decoder_options(command: _Command) -> _Command:
    """`--decoder` and `--keylog`."""
    command = click.option(
        "--keylog",
        metavar="FILE",
        help="TLS key log (SSLKEYLOGFILE) to read encrypted SIP with; needs tshark. Without it "
        "SIP/TLS connections are only counted, and the exit status is 1.",
    )(command)
    return click.option(
        "--decoder",
        type=click.Choice(["auto", "native", "tshark"]),
        default="auto",
        show_default=True,
        help="Our own decoder, or Wireshark's: slower, but it reads whatever Wireshark reads.",
    )(command)


def load_config(path: str | None) -> Config:
    """The configuration. Raises UsageFailure."""
    try:
        return load(path)
    except ConfigError as error:
        raise UsageFailure(str(error)) from None


def load_texts(lang: str | None) -> Texts:
    """The texts of a language, of the locale's without one. Raises UsageFailure."""
    from sipwatch.outcomes.guide.texts import (
        LanguageFileError,
        Texts,
        UnknownLanguageError,
        default_language,
    )

    try:
        return Texts.load(default_language() if lang is None else lang)
    except (UnknownLanguageError, LanguageFileError) as error:
        raise UsageFailure(str(error)) from None


def selection_of(
    config: Config,
    outcome: Sequence[str],
    agent: Sequence[str],
    since: str | None,
    until: str | None,
) -> Selection:
    """What the options select. Raises UsageFailure."""
    return Selection(
        outcomes=_outcomes(outcome) if outcome else (),
        agents=frozenset(name.lower() for name in agent),
        since=_moment("--since", since, config),
        until=_moment("--until", until, config),
        zone=zone_of(config),
        settings=config.agents,
    )


def _outcomes(names: Sequence[str]) -> tuple[OutcomeFilter, ...]:
    from sipwatch.outcomes.guide.filters import UnknownFilterError

    try:
        return parse_outcomes(names)
    except UnknownFilterError as error:
        raise UsageFailure(f"--outcome: {error}; `sipwatch guide` lists all") from None


def _moment(option: str, text: str | None, config: Config) -> Moment | None:
    if text is None:
        return None
    try:
        return parse_moment(text, zone_of(config))
    except (ValueError, OverflowError):
        raise UsageFailure(
            f"{option}: expected 2026-04-23T09:00, 09:00 or epoch seconds, got {text!r}"
        ) from None
