"""Interfaces through tshark: encrypted SIP, live, with a key log that grows meanwhile.

`TsharkLive` has the calls of `sipwatch.capture.live.LiveCapture`.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Sequence

from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.live import CaptureEvent
from sipwatch.capture.stats import CaptureError, CaptureStats, FileReport
from sipwatch.capture.tshark_output import BAD_LINE, parse_packet
from sipwatch.capture.tshark_process import Process
from sipwatch.net.dispatch import SIP_PORTS
from sipwatch.net.types import Batch

#: Seconds that a packet may take through tshark before time is taken to have passed it.
_HOLD = 1.0


class TsharkLive:
    """Interfaces through tshark, for encrypted SIP whose keys are logged while it runs.

    `open` starts tshark and needs its permission to capture; the calls are those of
    `LiveCapture`. ``ports`` limits what the kernel hands over; fragments always pass.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        keylog: str | None = None,
        *,
        ports: Sequence[int] = tuple(sorted(SIP_PORTS)),
        decode_as: Sequence[str] = (),
    ) -> None:
        self._interfaces = tuple(interfaces)
        self._keylog = keylog
        self._ports = tuple(ports)
        self._decode_as = decode_as
        self._process: Process | None = None
        self._selector = selectors.DefaultSelector()
        self._now = 0.0
        self.report = FileReport(", ".join(interfaces), format="by tshark")
        self.malformed = 0

    def open(self) -> None:
        """Start tshark. Raises `LiveCaptureError`."""
        arguments: list[str] = []
        ports = " or ".join(f"port {port}" for port in self._ports)
        # Offset 6 of IPv4: more fragments, or not the first one; IPv6: a fragment header.
        fragments = "(ip[6:2] & 0x3fff != 0) or (ip6[6] == 44)"
        for name in self._interfaces:
            arguments += ["-i", name, "-f", f"{ports} or {fragments} or icmp or icmp6"]
        try:
            self._process = Process(arguments, self._keylog, self._decode_as)
        except CaptureError as error:
            raise LiveCaptureError(str(error)) from None
        self._selector.register(self._process, selectors.EVENT_READ)

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
        for one in batch:
            self.report.packets += 1
            self.report.seen(one.time)
            self._now = max(self._now, one.time)
        return batch
