"""`sipwatch replay --follow`: a capture that is still being written, as it grows."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TextIO

from sipwatch.calls.types import Attempt, AttemptEnded, AttemptOver, DialogEnded, Event, Verdict
from sipwatch.cli.failure import UsageFailure
from sipwatch.cli.options import load_texts
from sipwatch.cli.selection import Selection, zone_of
from sipwatch.config import Config
from sipwatch.sinks.record import RecordStyle, attempt_record


def follow(
    files: Sequence[str], config: Config, selection: Selection, form: str, lang: str | None
) -> None:
    """Print each attempt when it is over, and again when nothing can change its verdict.

    Until the input ends or Ctrl-C. Raises UsageFailure.
    """
    from sipwatch.capture.stats import CaptureError
    from sipwatch.pipeline import Follow

    if len(files) != 1:
        raise UsageFailure("--follow: give one file that is being written, or - for a pipe")
    if form not in ("table", "jsonl"):
        raise UsageFailure(f"--follow: prints lines or jsonl, not {form}")
    try:
        source = Follow(files[0], config)
        view = _View(config, selection, form, lang, sys.stdout)
        try:
            for events in source.events():
                view.show(events)
        except KeyboardInterrupt:
            source.source.stop()
            view.show(source.pipeline.finish(source.pipeline.tracker.now, "shutdown"))
    except CaptureError as error:
        raise UsageFailure(str(error)) from None


class _View:
    """Lines for people, or records with `provisional` true and then false."""

    def __init__(
        self, config: Config, selection: Selection, form: str, lang: str | None, stream: TextIO
    ) -> None:
        from sipwatch.report.follow import FollowLines

        self._style = RecordStyle.of(config)
        self._lines = FollowLines(self._style, load_texts(lang), zone_of(config))
        self._selection = selection
        self._json = form == "jsonl"
        self._stream = stream

    def show(self, events: Sequence[Event]) -> None:
        """Print what ended, at once."""
        for event in events:
            if isinstance(event, AttemptOver) and event.verdict is not None:
                self._print(event.attempt, event.verdict, settled=False)
            elif isinstance(event, DialogEnded) or (
                isinstance(event, AttemptEnded) and event.attempt.answered_at is None
            ):
                verdict = event.attempt.verdict
                if verdict is not None:
                    self._print(event.attempt, verdict, settled=True)
        self._stream.flush()

    def _print(self, attempt: Attempt, verdict: Verdict, *, settled: bool) -> None:
        if self._json:
            kept, attempt.verdict = attempt.verdict, verdict
            record = attempt_record(attempt, self._style)
            attempt.verdict = kept
            record["provisional"] = not settled
            self._stream.write(json.dumps(record, separators=(",", ":")) + "\n")
        elif self._selection.everything or not settled or self._selection.attempt(attempt):
            self._stream.write(self._lines.line(attempt, verdict, settled=settled) + "\n")
