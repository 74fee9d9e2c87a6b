"""Wireshark's decoder as a source of datagrams: slower, but it opens and decrypts what it can.

Interface, times in epoch seconds::

    for batch in TsharkFiles(["calls.pcapng"], keylog="keys.log").batches(): ...

`TsharkFiles` stands in for `sipwatch.capture.files.CaptureFiles`: same calls, same datagrams,
packet numbers of the file. With a key log (the SSLKEYLOGFILE format of browsers and TLS libraries,
draft-ietf-tls-keylogfile) SIP over TLS 1.2 and 1.3 comes out with the transport ``TLS`` or ``WSS``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from sipwatch.capture import inputs, merge
from sipwatch.capture.stats import CaptureError, CaptureStats, FileReport
from sipwatch.capture.tls_connections import TlsConnections
from sipwatch.capture.tshark_output import BAD_LINE, parse_packet
from sipwatch.capture.tshark_process import Process, is_available
from sipwatch.net.types import Batch, Datagram


class TsharkFile:
    """One capture file of any kind that Wireshark opens; ``-`` is standard input.

    ``decode_as`` are rules of tshark's option ``-d``, such as ``tls.port==5071,sip``.
    """

    def __init__(
        self,
        path: str,
        keylog: str | None = None,
        *,
        decode_as: Sequence[str] = (),
        tls: TlsConnections | None = None,
    ) -> None:
        self.path = path
        #: Shared by the files of one input: a connection may begin in another one.
        self.tls = TlsConnections() if tls is None else tls
        self._keylog = keylog
        self._decode_as = decode_as
        self.report = FileReport(path, format="by tshark")
        #: Whether `measure` found that it ends within a packet, or worse.
        self.is_damaged = False
        #: Lines of tshark that could not be understood.
        self.malformed = 0
        #: SIP messages and ICMP reports handed on.
        self.sip_datagrams = 0
        self.unreachables = 0

    def batches(self) -> Iterator[Batch]:
        """Datagrams in the order of the file. Raises `CaptureError` when it cannot be read."""
        if self.path != "-" and os.path.isfile(self.path) and not os.path.getsize(self.path):
            raise CaptureError(f"{self.path}: the file is empty")
        self.measure()
        process = Process(["-r", self.path], self._keylog, self._decode_as)
        try:
            while not process.is_at_end:
                batch = self._parse(process.read())
                if batch:
                    yield batch
            self._end(process.end(), process.complaint())
        finally:
            process.close()

    def stats(self) -> CaptureStats:
        """What was read so far and what of it was lost."""
        stats = CaptureStats([self.report])
        stats.net.sip_datagrams = self.sip_datagrams
        stats.net.unreachables = self.unreachables
        stats.net.tls_connections = self.tls.unread()
        stats.keylog_given = self._keylog is not None
        if self.malformed:
            stats.net.malformed["tshark", "output"] = self.malformed
        return stats

    def measure(self) -> None:
        """Fill in the report what tshark does not print: packets, bytes and times of all."""
        if self.report.packets or self.path == "-" or shutil.which("capinfos") is None:
            return
        run = subprocess.run(
            ["capinfos", "-T", "-r", "-S", "-M", "-c", "-d", "-a", "-e", self.path],
            capture_output=True,
            text=True,
            check=False,
        )
        self.is_damaged = bool(run.returncode)
        values = run.stdout.split("\t")
        if len(values) != 5:
            return
        try:
            packets, size, first, last = int(values[1]), int(values[2]), *map(float, values[3:])
        except ValueError:
            return
        report = self.report
        report.packets, report.bytes, report.first_time, report.last_time = (
            packets,
            size,
            first,
            last,
        )

    def _parse(self, lines: list[bytes]) -> Batch:
        batch: Batch = []
        for line in lines:
            try:
                found = parse_packet(line, self.path)
                if not found:
                    self.tls.line(line)
            except BAD_LINE:
                self.malformed += 1
                continue
            batch += found
        self.count(batch)
        return batch

    def count(self, batch: Batch) -> None:
        """Take note of what the file gave."""
        for one in batch:
            if isinstance(one, Datagram):
                self.sip_datagrams += 1
                self.tls.message(one)
            else:
                self.unreachables += 1
            self.report.seen(one.time)

    def _end(self, status: int, complaint: str) -> None:
        if not status:
            return
        what = complaint or f"tshark ended with status {status}"
        if not self.report.packets and not self.sip_datagrams:
            raise CaptureError(f"{self.path}: {what}")
        self.report.lost(self.report.bytes, what)


class TsharkFiles:
    """Any number of captures in order of time, as `CaptureFiles` but read by tshark.

    ``since`` and ``until`` are epoch seconds; datagrams outside of them are left out. Raises
    `CaptureError` when something that was named does not exist.
    """

    def __init__(
        self,
        paths: Sequence[str],
        keylog: str | None = None,
        *,
        decode_as: Sequence[str] = (),
        since: float | None = None,
        until: float | None = None,
    ) -> None:
        if not is_available():
            raise CaptureError("tshark is not installed; on Debian: apt install tshark")
        self._since = float("-inf") if since is None else since
        self._until = float("inf") if until is None else until
        self._late = 0
        self._keylog = keylog
        self._decode_as = decode_as
        self._tls = TlsConnections()
        self._files = [
            TsharkFile(path, keylog, decode_as=decode_as, tls=self._tls)
            for path in inputs.expand(paths)
        ]
        self._done: list[TsharkFile] = []

    @property
    def bytes_total(self) -> int | None:
        """Bytes of all files as they lie on the disk; None when one is a pipe."""
        if any(file.path == "-" for file in self._files):
            return None
        return sum(os.path.getsize(file.path) for file in self._files)

    @property
    def bytes_read(self) -> int:
        """Bytes of the files that were read to their end."""
        return sum(os.path.getsize(file.path) for file in self._done if file.path != "-")

    def stats(self) -> CaptureStats:
        """What was read so far and what of it was lost."""
        stats = CaptureStats(late_files=self._late)
        for file in self._files:
            stats.add(file.stats())
        # The files share it: it counts once.
        stats.net.tls_connections = self._tls.unread()
        return stats

    def batches(self) -> Iterator[Batch]:
        """Datagrams of all files in order of time."""
        for batch in self._all():
            yield [one for one in batch if self._since <= one.time <= self._until]

    def _all(self) -> Iterator[Batch]:
        if len(self._files) == 1:
            yield from self._read(self._files[0])
            return
        for file in self._files:
            file.measure()
        self._files.sort(key=_starts)
        if _follow_one_another(self._files) and shutil.which("mergecap") is not None:
            yield from _Joined(self._files, self._keylog, self._decode_as).batches()
            self._done += self._files
            return
        members = [merge.Member(_starts(file), self._opener(file)) for file in self._files]
        yield from merge.merge(members, self._count_late)

    def _opener(self, file: TsharkFile) -> Any:
        return lambda: self._read(file)

    def _read(self, file: TsharkFile) -> Iterator[Batch]:
        yield from file.batches()
        self._done.append(file)

    def _count_late(self) -> None:
        self._late += 1


def _starts(file: TsharkFile) -> float:
    return 0.0 if file.report.first_time is None else file.report.first_time


def _follow_one_another(files: Sequence[TsharkFile]) -> bool:
    """Whether files, sorted by their first packet, are whole and do not overlap in time."""
    last = float("-inf")
    for file in files:
        report = file.report
        if report.first_time is None or report.last_time is None or report.first_time < last:
            return False
        if file.is_damaged:
            return False
        last = report.last_time
    return True


class _Joined:
    """The members of a rotating set as one stream through one tshark.

    A TLS connection can only be read by who saw it begin, and those of phones last for days: what
    began in one file must be known in the next.
    """

    def __init__(
        self, files: Sequence[TsharkFile], keylog: str | None, decode_as: Sequence[str]
    ) -> None:
        self._files = files
        self._keylog = keylog
        self._decode_as = decode_as
        #: Packets before the end of each file.
        self._ends = list(accumulate(file.report.packets for file in files))

    def batches(self) -> Iterator[Batch]:
        """Datagrams with the name of their file and the packet number in it."""
        paths = [os.path.abspath(file.path) for file in self._files]
        with subprocess.Popen(
            ["mergecap", "-a", "-w", "-", *paths],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as joiner:
            process = Process(["-r", "-"], self._keylog, self._decode_as, joiner.stdout)
            try:
                while not process.is_at_end:
                    batch = self._parse(process.read())
                    if batch:
                        yield batch
                if process.end() or joiner.wait():
                    what = process.complaint() or "the files could not be joined"
                    self._files[-1].report.lost(self._files[-1].report.bytes, what)
            finally:
                process.close()
                joiner.terminate()

    def _parse(self, lines: list[bytes]) -> Batch:
        found: Batch = []
        for line in lines:
            try:
                batch = parse_packet(line, "")
                if not batch:
                    self._files[0].tls.line(line)
            except BAD_LINE:
                self._files[0].malformed += 1
                continue
            for one in batch:
                which = min(bisect_right(self._ends, one.number - 1), len(self._files) - 1)
                file = self._files[which]
                before = self._ends[which] - file.report.packets
                placed = one._replace(interface=file.path, number=one.number - before)
                file.count([placed])
                found.append(placed)
        return found
