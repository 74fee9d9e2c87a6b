"""Where records go: standard output or a file, in the format that was asked for."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from sipwatch.cli.failure import UsageFailure
from sipwatch.cli.whole_writes import WholeWrites
from sipwatch.sinks.record import RecordStyle
from sipwatch.sinks.sink import RecordSink, SinkError

#: Large enough that a batch of records is one system call.
_BUFFER_BYTES = 1 << 20


@contextmanager
def text_output(path: str | None) -> Iterator[TextIO]:
    """The file as a UTF-8 stream, or standard output. Raises UsageFailure."""
    if path is None or path == "-":
        with _standard_output() as stream:
            yield stream
        return
    with _opened(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as stream:
        yield stream


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    """Standard output with a buffer of our own.

    Its own may have none (PYTHONUNBUFFERED, as containers set it), and a text stream without a
    buffer loses what one interrupted write leaves over.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, AttributeError):
        yield sys.stdout
        return
    sys.stdout.flush()
    encoding = sys.stdout.encoding or "utf-8"
    with open(
        descriptor,
        "w",
        buffering=_BUFFER_BYTES,
        encoding=encoding,
        newline="",
        closefd=False,
    ) as stream:
        yield stream


@contextmanager
def binary_output(path: str | None) -> Iterator[BinaryIO]:
    """The file, or standard output when that is no terminal. Raises UsageFailure."""
    if path is None or path == "-":
        if sys.stdout.isatty():
            raise UsageFailure("Parquet is no text: give a file with -o FILE")
        yield sys.stdout.buffer
        return
    with _opened(path) as file:
        yield file


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "wb", buffering=_BUFFER_BYTES)
    except OSError as error:
        raise UsageFailure(f"{path}: {error.strerror or error}") from None


@contextmanager
def record_sink(
    form: str, path: str | None, style: RecordStyle, *, calls: bool
) -> Iterator[RecordSink]:
    """A sink for one of the formats `jsonl`, `csv` and `parquet`. Raises UsageFailure."""
    try:
        if form == "parquet":
            from sipwatch.sinks.parquet import ParquetRecords

            with binary_output(path) as binary:
                yield from _closing(ParquetRecords(binary, style, calls=calls))
            return
        with text_output(path) as text:
            yield from _closing(_text_sink(form, text, style, calls=calls))
    except SinkError as error:
        raise UsageFailure(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageFailure(
            f"{path or 'standard output'}: {os.strerror(error.errno or 0)}"
        ) from None


def _text_sink(form: str, stream: TextIO, style: RecordStyle, *, calls: bool) -> RecordSink:
    if form == "csv":
        from sipwatch.sinks.csv import CsvRecords

        return CsvRecords(stream, style, calls=calls)
    from sipwatch.sinks.jsonl import JsonLines

    return JsonLines(WholeWrites(stream), style)


def _closing(sink: RecordSink) -> Iterator[RecordSink]:
    """Gives the sink and closes it, so that what was read before an interruption is written."""
    try:
        yield sink
    except BrokenPipeError:
        raise
    except BaseException:
        sink.close()
        raise
    sink.close()
