"""Reading captures for a verb: open, follow, say what was lost, and with which exit status."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import click

from sipwatch.calls.types import Attempt, AttemptEnded, Call, CallEnded, DialogEnded, Event
from sipwatch.cli.failure import UsageFailure, warn
from sipwatch.cli.progress import Progress
from sipwatch.config import Config

if TYPE_CHECKING:
    from sipwatch.capture.files import CaptureFiles
    from sipwatch.capture.tshark import TsharkFiles
    from sipwatch.pipeline import Replay

#: Objects that a run may add before the collector looks for cycles. What is over is untied by the
#: pipeline, so that it finds hardly any, and a replay adds objects only while it begins.
_COLLECT_EVERY = 500_000

EXIT_DAMAGED = 1


def open_source(
    files: Sequence[str], *, decoder: str = "auto", keylog: str | None = None
) -> CaptureFiles | TsharkFiles:
    """The captures as a source of datagrams. Raises UsageFailure when there is nothing to read.

    Only tshark decrypts, so a key log chooses it.
    """
    from sipwatch.capture.stats import CaptureError

    try:
        if decoder == "tshark" or keylog is not None:
            if decoder == "native":
                raise UsageFailure("--keylog: only --decoder tshark can decrypt")
            from sipwatch.capture.tshark import TsharkFiles

            return TsharkFiles(files, keylog)
        from sipwatch.capture.files import CaptureFiles

        return CaptureFiles(files)
    except CaptureError as error:
        raise UsageFailure(str(error)) from None


def open_replay(
    files: Sequence[str], config: Config, *, decoder: str = "auto", keylog: str | None = None
) -> Replay:
    """The captures as one source of events. Raises UsageFailure when there is nothing to read."""
    from sipwatch.pipeline import Replay

    source = open_source(files, decoder=decoder, keylog=keylog)
    # Both kinds of source have the same methods.
    return Replay(files, config, source=cast("CaptureFiles", source))


def finished(events: Sequence[Event]) -> tuple[list[Attempt], list[Call]]:
    """The attempts whose records are complete with these events, and the calls.

    An attempt without an answer is complete when it ended, an answered one with its dialog.
    """
    attempts: list[Attempt] = []
    calls: list[Call] = []
    for event in events:
        kind = type(event)
        if kind is AttemptEnded:
            if event.attempt.answered_at is None:  # type: ignore[union-attr]
                attempts.append(event.attempt)  # type: ignore[union-attr]
        elif kind is DialogEnded:
            attempts.append(event.attempt)  # type: ignore[union-attr]
        elif kind is CallEnded:
            calls.append(event.call)  # type: ignore[union-attr]
    return attempts, calls


def batches(replay: Replay, *, progress: bool = True) -> Iterator[tuple[list[Attempt], list[Call]]]:
    """Finished attempts and calls, batch by batch, to the end of the input."""
    from sipwatch.capture.stats import CaptureError

    # What is loaded now stays: the collector need not walk over it, not even once.
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, 20, 50)
    with Progress(replay, show=progress) as shown:
        try:
            for events in replay.events():
                yield finished(events)
                shown.update()
        except CaptureError as error:
            raise UsageFailure(str(error)) from None


def end(replay: Replay) -> None:
    """Name on standard error what could not be read, and leave with the status that says so."""
    # The interpreter looks for cycles once more at its end, in what is about to go anyway.
    gc.freeze()
    damage = replay.stats.damage
    for lost in damage:
        warn(str(lost))
    unread = warn_of_unread(replay)
    more = sum(file.more_damage for file in replay.stats.files)
    if more:
        warn(f"{more:,} more damaged places")
    if damage or unread:
        click.get_current_context().exit(EXIT_DAMAGED)


def warn_of_unread(replay: Replay) -> int:
    """Name the SIP/TLS connections that could not be read; how many they are."""
    stats = replay.stats
    unread = stats.unread_connections(replay.pipeline.config.ports)
    if unread:
        from sipwatch.outcomes.guide.texts import Texts
        from sipwatch.report.notes import unread_connections

        # Like all that is said on standard error, in English.
        warn(unread_connections(unread, stats.keylog_given, Texts.load()))
    return unread
