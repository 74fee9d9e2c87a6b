"""Capture files as one source of datagrams: any number, of any kind, in order of time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from sipwatch.capture import inputs, netmon, pcap, pcapng
from sipwatch.capture.merge import Member, insert, merge
from sipwatch.capture.source import Source, is_stream
from sipwatch.capture.stats import CaptureError, CaptureStats, Damage, FileReport
from sipwatch.net.dispatch import SIP_PORTS
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.types import Batch

#: Bytes read at once. Larger ones are slower: a block no longer fits the cache while it is walked,
#: and the memory for it comes from the system anew each time.
CHUNK = 1 << 17
# The same where files overlap, several of which are then open.
_CHUNK_OVERLAPPING = 1 << 16
# Bytes of a file in which its first packet is looked for.
_HEAD = 1 << 16
_START = 32


class Reader(Protocol):
    """Reads one open file."""

    def batches(self) -> Iterator[Batch]:
        """What each block read holds."""


_NewReader: TypeAlias = Callable[[Source, FrameDecoder, FileReport, int], Reader]


class Format(NamedTuple):
    """A file format: how to know it, whether it begins well, when, and who reads it."""

    recognises: Callable[[bytes], bool]
    is_sound: Callable[[bytes], bool]
    first_time: Callable[[bytes], float | None]
    reader: _NewReader


#: One more format is one more entry.
FORMATS: tuple[Format, ...] = (
    Format(pcap.recognises, pcap.is_sound, pcap.first_time, pcap.PcapReader),
    Format(pcapng.recognises, pcapng.is_sound, pcapng.first_time, pcapng.PcapngReader),
    Format(netmon.recognises, netmon.is_sound, netmon.first_time, netmon.NetmonReader),
)


def format_of(path: str, start: bytes) -> Format:
    """The format of a file by its first 32 bytes.

    Raises :class:`CaptureError` when it is none that we know, or when its header is not whole.
    """
    if not start:
        raise CaptureError(f"{path}: is empty")
    for known in FORMATS:
        if known.recognises(start):
            if not known.is_sound(start):
                raise CaptureError(f"{path}: the header of the file is cut short or damaged")
            return known
    raise CaptureError(
        f"{path}: is no capture in pcap or pcapng format;"
        f" if it is one of another program, convert it: editcap {path} {path}.pcapng"
    )


@dataclass(slots=True)
class _Input:
    """One file to read; ``source`` where it is a pipe, which cannot be opened twice."""

    path: str
    size: int | None
    starts: float = float("-inf")
    source: Source | None = None


class CaptureFiles:
    """Reads capture files, folders of them, patterns and standard input (``-``).

    Raises :class:`CaptureError` when something that was named does not exist, or when nothing
    of it is a capture; what is damaged is in :meth:`stats`, and what could be read is given out.

    ``decoders`` makes a decoder of frames. Files that follow one another share one, so that what
    is in pieces may cross from one to the next; files that overlap in time have one each.
    ``grows`` is set to end the reading of a file that is still being written, at whose end more
    is waited for. ``since`` and ``until`` are epoch seconds; datagrams outside of them are left
    out.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        decoders: Callable[[], FrameDecoder] | None = None,
        ports: frozenset[int] = SIP_PORTS,
        since: float | None = None,
        until: float | None = None,
        chunk: int = CHUNK,
        grows: threading.Event | None = None,
    ) -> None:
        self._grows = grows
        self._new_decoder = decoders or (lambda: FrameDecoder(ports=ports))
        self._since = float("-inf") if since is None else since
        self._until = float("inf") if until is None else until
        self._chunk = chunk
        self._stats = CaptureStats()
        #: Decoders in use and those whose file has ended, the last one last.
        self._decoders: list[FrameDecoder] = []
        self._free: list[FrameDecoder] = []
        self._open: list[Source] = []
        self._finished_bytes = 0
        names = inputs.expand(paths)
        self._inputs = [_Input(name, None if is_stream(name) else _size(name)) for name in names]
        if not any(one.size is None for one in self._inputs):
            self._probe()

    @property
    def bytes_total(self) -> int | None:
        """Bytes of all files as they lie on the disk; None when one is a pipe."""
        sizes = [one.size for one in self._inputs]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def bytes_read(self) -> int:
        """How many of them were read so far."""
        return self._finished_bytes + sum(source.consumed for source in self._open)

    def stats(self) -> CaptureStats:
        """What was read so far and what of it was lost."""
        stats = CaptureStats(
            list(self._stats.files),
            unreadable=list(self._stats.unreadable),
            late_files=self._stats.late_files,
        )
        for decoder in self._decoders:
            stats.net.add(decoder.counts)
        return stats

    def batches(self) -> Iterator[Batch]:
        """What may be SIP, and ICMP reports, in order of time; one list for each block read."""
        if any(one.size is None for one in self._inputs):
            self._probe()
        for batch in self._all():
            if self._since > float("-inf") or self._until < float("inf"):
                yield [one for one in batch if self._since <= one.time <= self._until]
            else:
                yield batch

    def _all(self) -> Iterator[Batch]:
        if len(self._inputs) == 1:
            yield from self._read(self._inputs[0])
        else:
            members = [Member(one.starts, self._opener(one)) for one in self._inputs]
            yield from merge(members, self._late)
        for decoder in self._decoders:
            yield decoder.finish()

    def _late(self) -> None:
        self._stats.late_files += 1

    def _opener(self, one: _Input) -> Callable[[], Iterator[Batch]]:
        return lambda: self._read(one)

    def _probe(self) -> None:
        """Looks at the beginning of every file: whether it is a capture, and when it begins."""
        sound: list[_Input] = []
        errors: list[CaptureError] = []
        for one in self._inputs:
            try:
                self._look(one)
            except CaptureError as error:
                errors.append(error)
                what = str(error).removeprefix(f"{one.path}: ")
                self._stats.unreadable.append(Damage(one.path, 0, what))
            else:
                sound.append(one)
        if not sound:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            raise CaptureError(f"{errors[0]}{more}")
        self._inputs = sound

    def _look(self, one: _Input) -> None:
        source = Source(one.path)
        keep = one.size is None
        try:
            start = source.peek(_START)
            if not start and source.failure:
                raise CaptureError(f"{one.path}: {source.failure}")
            known = format_of(one.path, start)
            if len(self._inputs) > 1:
                time = known.first_time(source.peek(_HEAD))
                one.starts = float("-inf") if time is None else time
        except CaptureError:
            keep = False
            raise
        finally:
            if not keep:
                source.close()
        one.source = source if keep else None

    def _read(self, one: _Input) -> Iterator[Batch]:
        """All batches of one file; the decoder goes to the file that is opened next after it."""
        report = FileReport(one.path)
        try:
            source = one.source or Source(one.path, grows=self._grows)
        except CaptureError as error:
            report.lost(0, str(error).removeprefix(f"{one.path}: "))
            self._stats.files.append(report)
            return
        decoder = self._free.pop() if self._free else self._add_decoder()
        self._open.append(source)
        self._stats.files.append(report)
        try:
            yield from self._batches(source, decoder, report)
        finally:
            source.close()
            self._open.remove(source)
            self._finished_bytes += source.consumed
            self._free.append(decoder)

    def _batches(
        self, source: Source, decoder: FrameDecoder, report: FileReport
    ) -> Iterator[Batch]:
        chunk = self._chunk if len(self._open) == 1 else min(self._chunk, _CHUNK_OVERLAPPING)
        try:
            known = format_of(report.name, source.peek(_START))
            reader = known.reader(source, decoder, report, chunk)
        except CaptureError as error:
            report.lost(source.consumed, str(error).removeprefix(f"{report.name}: "))
            return
        if source.compression:
            report.format = f"{report.format} ({source.compression})"
        for batch in reader.batches():
            if report.last_time is not None:
                insert(batch, decoder.advance(report.last_time))
            yield batch

    def _add_decoder(self) -> FrameDecoder:
        decoder = self._new_decoder()
        self._decoders.append(decoder)
        return decoder


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
