"""`sipwatch explain`: one call with verdict, evidence, ladder and what to do."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from sipwatch.cli.failure import UsageFailure
from sipwatch.cli.options import (
    config_option,
    decoder_options,
    files_argument,
    lang_option,
    load_config,
    load_texts,
    output_option,
)
from sipwatch.cli.output import text_output
from sipwatch.cli.reading import batches, end, open_replay, open_source, warn_of_unread
from sipwatch.cli.selection import zone_of
from sipwatch.outcomes.guide.entries import Guide
from sipwatch.outcomes.guide.texts import Texts
from sipwatch.pipeline import Replay
from sipwatch.report.console import console_for, put
from sipwatch.report.explanation import Explanation, explanation_parts
from sipwatch.report.ladder import Ladder
from sipwatch.report.search import Found, NotFound, NotUnique, Search
from sipwatch.sinks.record import RecordStyle


@click.command()
@click.argument("call_id", metavar="CALL-ID")
@files_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)
@output_option
@lang_option
@config_option
@decoder_options
def explain(
    call_id: str,
    files: tuple[str, ...],
    form: str,
    output: str | None,
    lang: str | None,
    config_file: str | None,
    decoder: str,
    keylog: str | None,
) -> None:
    """Show why one call ended as it did: verdict, evidence, messages, what to do.

    CALL-ID is the SIP Call-ID of any of its legs or the id of its record; the beginning is
    enough where only one begins so.
    """
    config = load_config(config_file)
    texts = load_texts(lang)
    with _readable_twice(files) as paths:
        source = open_replay(paths, config, decoder=decoder, keylog=keylog)
        found = _find(call_id, source, texts)
        ladder = Ladder.read(open_source(paths, decoder=decoder, keylog=keylog), found.legs)
        explained = Explanation(
            found, ladder, RecordStyle.of(config), Guide(texts), zone_of(config)
        )
        _print(explained, form, output)
    end(source)


def _find(call_id: str, source: Replay, texts: Texts) -> Found:
    search = Search(call_id)
    for attempts, calls in batches(source):
        for attempt in attempts:
            search.attempt(attempt)
        for call in calls:
            search.call(call)
    try:
        return search.found()
    except NotFound:
        warn_of_unread(source)
        raise UsageFailure(texts.t("report.call_not_found", call_id=call_id)) from None
    except NotUnique as error:
        names = ", ".join(error.names) + (", …" if error.count > len(error.names) else "")
        raise UsageFailure(
            texts.t("view.not_unique", count=texts.number(error.count), text=call_id, names=names)
        ) from None


def _print(explained: Explanation, form: str, output: str | None) -> None:
    with text_output(output) as stream:
        if form == "json":
            stream.write(json.dumps(explained.record(), indent=2) + "\n")
            return
        console = console_for(stream)
        put(console, *explanation_parts(explained, console))


@contextmanager
def _readable_twice(files: Sequence[str]) -> Iterator[list[str]]:
    """The files, with standard input copied to one, for the ladder needs a second look."""
    if not any(file == "-" for file in files):
        yield list(files)
        return
    with tempfile.NamedTemporaryFile(prefix="sipwatch-", suffix=".pcap") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield [copy.name if file == "-" else file for file in files]
