"""From what was typed on the command line to a list of files: folders, patterns, standard input."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from sipwatch.capture import netmon, pcap, pcapng
from sipwatch.capture.source import STANDARD_INPUT, Source
from sipwatch.capture.stats import CaptureError

# How captures are called, with the numbers that tcpdump puts behind the members of a set.
_CAPTURE_NAME = re.compile(
    r"\.(pcap|pcapng|libpcap|cap|ntar|dmp)\d*(\.(gz|bz2|xz|zst))?$", re.IGNORECASE
)
_PATTERN = re.compile(r"[*?\[]")


def expand(paths: Sequence[str]) -> list[str]:
    """The files that ``paths`` name, each once, in the order in which they are named.

    Raises :class:`CaptureError` for what does not exist and for folders without captures.
    """
    found: dict[str, str] = {}
    for path in paths:
        for file in _expand(path):
            found.setdefault(os.path.realpath(file) if file != STANDARD_INPUT else file, file)
    if not found:
        raise CaptureError("no capture file was named")
    return list(found.values())


def _expand(path: str) -> Iterable[str]:
    if path == STANDARD_INPUT:
        return [path]
    try:
        mode = os.stat(path).st_mode
    except ValueError:
        raise CaptureError("a file name holds a zero byte") from None
    except (FileNotFoundError, NotADirectoryError):
        return _matching(path)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror or error}") from None
    return _folder(path) if stat.S_ISDIR(mode) else [path]


def _matching(path: str) -> list[str]:
    if not _PATTERN.search(path):
        raise CaptureError(f"{path}: no such file or folder")
    matches = sorted(glob.glob(path, recursive=True))
    files = [match for match in matches if not os.path.isdir(match)]
    for folder in (match for match in matches if os.path.isdir(match)):
        files += _captures(folder)
    if not files:
        raise CaptureError(f"{path}: no file matches this pattern")
    return files


def _folder(path: str) -> list[str]:
    try:
        files = _captures(path)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror or error}") from None
    if not files:
        raise CaptureError(
            f"{path}: no captures (pcap or pcapng) in this folder;"
            f" name those below it with a pattern: '{Path(path) / '**' / '*.pcap'}'"
        )
    return files


def _captures(folder: str) -> list[str]:
    """Regular files that are captures by their name or by their first bytes."""
    with os.scandir(folder) as entries:
        files = sorted(entry.path for entry in entries if entry.is_file())
    return [file for file in files if _CAPTURE_NAME.search(file) or _is_capture(file)]


def _is_capture(path: str) -> bool:
    try:
        with Source(path) as source:
            start = source.peek(4)
    except CaptureError:
        return False
    return any(known.recognises(start) for known in (pcap, pcapng, netmon))
