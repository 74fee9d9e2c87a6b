"""Interfaces through tshark: encrypted SIP, live, with a key log that grows meanwhile.

`TsharkLive` has the calls of `sipwatch.capture.live.LiveCapture`, and those of a source beside it
(`sipwatch.capture.live_sources.Beside`): then it hands over only what was encrypted, and all else
is left to the faster way.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence

from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.live import CaptureEvent, InterfaceStats
from sipwatch.capture.stats import CaptureError, CaptureStats, FileReport
from sipwatch.capture.tshark_output import BAD_LINE, parse_packet
from sipwatch.capture.tshark_process import Process
from sipwatch.net.counts import NetCounts
from sipwatch.net.dispatch import SIP_PORTS
from sipwatch.net.types import Batch, Datagram

#: Seconds that a packet may take through tshark before time is taken to have passed it.
_HOLD = 1.0

_ENCRYPTED = frozenset(("TLS", "WSS"))


class TsharkLive:
    """Interfaces through tshark, for encrypted SIP whose keys are logged while it runs.

    `open` starts tshark and needs its permission to capture; the calls are those of
    `LiveCapture`. ``ports`` limits what the kernel hands over; fragments always pass. With
    ``encrypted_only`` nothing but TCP is looked at, and only what had to be decrypted is returned.
    """

    #: Seconds that a packet may take.
    delay = _HOLD

    def __init__(
        self,
        interfaces: Sequence[str],
        keylog: str | None = None,
        *,
        ports: Sequence[int] = tuple(sorted(SIP_PORTS)),
        decode_as: Sequence[str] = (),
        encrypted_only: bool = False,
    ) -> None:
        self._interfaces = tuple(interfaces)
        self._keylog = keylog
        self._ports = tuple(ports)
        self._decode_as = decode_as
        self._encrypted_only = encrypted_only
        self._process: Process | None = None
        self._selector = selectors.DefaultSelector()
        self._now = 0.0
        self.report = FileReport(", ".join(interfaces), format="by tshark")
        self.malformed = 0

    def open(self) -> None:
        """Start tshark. Raises `LiveCaptureError`."""
        arguments: list[str] = []
        for name in self._interfaces:
            arguments += ["-i", name, "-f", self._filter()]
        try:
            self._process = Process(arguments, self._keylog, self._decode_as, ends_with_us=True)
        except CaptureError as error:
            raise LiveCaptureError(str(error)) from None
        self._selector.register(self._process, selectors.EVENT_READ)

    def _filter(self) -> str:
        """What the kernel hands over, in the language of libpcap."""
        ports = " or ".join(f"port {port}" for port in self._ports)
        if self._encrypted_only:
            return f"tcp and ({ports})"
        # Offset 6 of IPv4: more fragments, or not the first one; IPv6: a fragment header.
        fragments = "(ip[6:2] & 0x3fff != 0) or (ip6[6] == 44)"
        return f"{ports} or {fragments} or icmp or icmp6"

    def start(self) -> None:
        """tshark captures from `open` on."""

    def fileno(self) -> int:
        """A descriptor that is readable when `poll` has something to read."""
        return self._running().fileno()

    def poll(self, timeout: float) -> Batch:
        """What has come; an empty batch after ``timeout`` seconds without.

        Raises `LiveCaptureError` when tshark has ended: an interface went, or it may not capture.
        """
        process = self._running()
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not self._selector.select(left):
                self._now = max(self._now, time.time() - _HOLD)
                return []
            lines = process.read()
            if process.is_at_end:
                process.end()
                complaint = process.complaint() or "it ended"
                self.close()
                raise LiveCaptureError(f"tshark: {complaint}")
            batch = self._parse(lines)
            if batch:
                return batch

    def now(self) -> float:
        """The time up to which packets have been returned; it goes on when nothing comes."""
        return self._now

    def stats(self) -> CaptureStats:
        """What was read; tshark does not say how many packets it saw."""
        return CaptureStats([self.report])

    def interfaces(self) -> list[InterfaceStats]:
        """One for all: what was decrypted, as packets."""
        report = self.report
        return [
            InterfaceStats(
                name=f"tshark:{report.name}",
                state="gone" if self._process is None else "listening",
                packets=report.packets,
                kernel_drops=0,
                interface_drops=0,
                freezes=0,
                snapped=0,
                inflated=0,
                first_time=report.first_time or 0.0,
                last_time=report.last_time or 0.0,
                ring_bytes=0,
            )
        ]

    def net_counts(self) -> NetCounts:
        """Messages handed on, and lines of tshark that could not be understood."""
        counts = NetCounts(sip_datagrams=self.report.packets)
        if self.malformed:
            counts.malformed["tshark", "output"] = self.malformed
        return counts

    def events(self) -> list[CaptureEvent]:
        """Nothing happens to the interfaces that would not end the capture."""
        return []

    def drain(self) -> Batch:
        """What is there already, before an end."""
        return self.poll(0.0)

    def close(self) -> None:
        """End tshark."""
        if self._process is not None:
            self._selector.unregister(self._process)
            self._process.close()
            self._process = None

    def _running(self) -> Process:
        if self._process is None:
            raise LiveCaptureError("the capture is not open")
        return self._process

    def _parse(self, lines: list[bytes]) -> Batch:
        batch: Batch = []
        for line in lines:
            try:
                batch += parse_packet(line, self.report.name)
            except BAD_LINE:
                self.malformed += 1
        if self._encrypted_only:
            batch = [
                one for one in batch if isinstance(one, Datagram) and one.transport in _ENCRYPTED
            ]
        for one in batch:
            self.report.packets += 1
            self.report.seen(one.time)
            self._now = max(self._now, one.time)
        return batch
