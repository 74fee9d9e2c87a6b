"""`sipwatch report`: what each agent was given and what became of it."""

from __future__ import annotations

import json

import click

from sipwatch.cli.options import (
    agent_option,
    config_option,
    decoder_options,
    files_argument,
    lang_option,
    load_config,
    load_texts,
    outcome_option,
    output_option,
    period_options,
    selection_of,
)
from sipwatch.cli.output import text_output
from sipwatch.cli.reading import batches, end, open_replay
from sipwatch.cli.selection import zone_of
from sipwatch.report.agents import AgentReport
from sipwatch.report.agents_view import agents_parts
from sipwatch.report.console import console_for, put
from sipwatch.sinks.record import RecordStyle


@click.command()
@files_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)
@outcome_option
@agent_option
@period_options
@output_option
@lang_option
@config_option
@decoder_options
def report(
    files: tuple[str, ...],
    form: str,
    outcome: tuple[str, ...],
    agent: tuple[str, ...],
    since: str | None,
    until: str | None,
    output: str | None,
    lang: str | None,
    config_file: str | None,
    decoder: str,
    keylog: str | None,
) -> None:
    """Read captures and say what each agent was given, and which missed calls nobody returned.

    Who is an agent stands in the configuration ([agents]); without it everybody whom the PBX
    called, but through a trunk. Where only the trunk's side is in view, the numbers dialled.
    """
    config = load_config(config_file)
    texts = load_texts(lang)
    selection = selection_of(config, outcome, agent, since, until)
    source = open_replay(files, config, decoder=decoder, keylog=keylog)
    found = AgentReport(
        RecordStyle.of(config),
        zone_of(config),
        networks_configured=bool(config.local_networks),
    )
    for attempts, calls in batches(source):
        for attempt in attempts:
            if selection.attempt(attempt):
                found.attempt(attempt)
        for call in calls:
            if selection.call(call):
                found.call(call)
    with text_output(output) as stream:
        if form == "json":
            stream.write(json.dumps(found.record(), indent=2) + "\n")
        else:
            console = console_for(stream)
            put(console, *agents_parts(found, console, texts))
    end(source)
