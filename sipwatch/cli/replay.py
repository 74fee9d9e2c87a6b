"""`sipwatch replay`: from capture files to why each call failed."""

from __future__ import annotations

import click

from sipwatch.cli.options import (
    agent_option,
    calls_option,
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
from sipwatch.cli.output import record_sink, text_output
from sipwatch.cli.reading import batches, end, open_replay
from sipwatch.cli.selection import Selection, zone_of
from sipwatch.config import Config
from sipwatch.pipeline import Replay
from sipwatch.sinks.record import RecordStyle


@click.command()
@files_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "jsonl", "csv", "parquet"]),
    default="table",
    show_default=True,
    help="A report for people, or records for programs.",
)
@calls_option
@outcome_option
@agent_option
@period_options
@output_option
@lang_option
@config_option
@decoder_options
@click.option(
    "--follow",
    "growing",
    is_flag=True,
    help="The file is still being written: say each attempt as it ends, first provisionally.",
)
def replay(
    files: tuple[str, ...],
    form: str,
    calls: bool,
    outcome: tuple[str, ...],
    agent: tuple[str, ...],
    since: str | None,
    until: str | None,
    output: str | None,
    lang: str | None,
    config_file: str | None,
    decoder: str,
    keylog: str | None,
    growing: bool,
) -> None:
    """Read captures and say why each call failed.

    FILE is a capture (pcap or pcapng, compressed or not), a folder, a pattern, or - for standard
    input; the files of a rotating capture are put in order by themselves.
    """
    config = load_config(config_file)
    selection = selection_of(config, outcome, agent, since, until)
    if growing:
        from sipwatch.cli.follow import follow

        follow(files, config, selection, form, lang)
        return
    source = open_replay(files, config, decoder=decoder, keylog=keylog)
    if form == "table":
        _report(source, config, selection, calls=calls, output=output, lang=lang)
    else:
        _records(source, config, selection, form, calls=calls, output=output)
    end(source)


def _records(
    source: Replay,
    config: Config,
    selection: Selection,
    form: str,
    *,
    calls: bool,
    output: str | None,
) -> None:
    every = selection.everything
    with record_sink(form, output, RecordStyle.of(config), calls=calls) as sink:
        for attempts, ended in batches(source):
            if calls:
                for call in ended:
                    if every or selection.call(call):
                        sink.call(call)
            else:
                for attempt in attempts:
                    if every or selection.attempt(attempt):
                        sink.attempt(attempt)


def _report(
    source: Replay,
    config: Config,
    selection: Selection,
    *,
    calls: bool,
    output: str | None,
    lang: str | None,
) -> None:
    from sipwatch.report.console import console_for
    from sipwatch.report.reading import Reading
    from sipwatch.report.summary import Summary
    from sipwatch.report.table import print_report

    texts = load_texts(lang)
    summary = Summary(RecordStyle.of(config))
    for attempts, ended in batches(source):
        if calls:
            for call in ended:
                if selection.call(call):
                    summary.call(call)
        else:
            for attempt in attempts:
                if selection.attempt(attempt):
                    summary.attempt(attempt)
    with text_output(output) as stream:
        print_report(console_for(stream), summary, Reading.of(source), texts, zone_of(config))
