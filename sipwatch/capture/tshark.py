"""Wireshark's decoder as a source of datagrams: slower, but it opens and decrypts what it can.

Interface, times in epoch seconds::

    for batch in TsharkFile("calls.pcapng", keylog="keys.log").batches(): ...

    capture = TsharkLive(["eth0"], keylog="keys.log")
    capture.open(); capture.start()
    batch = capture.poll(timeout)

`TsharkFiles` stands in for `sipwatch.capture.files.CaptureFiles`, `TsharkLive` for
`sipwatch.capture.live.LiveCapture`: same calls, same datagrams, packet numbers of the file. With a
key log (the SSLKEYLOGFILE format of browsers and TLS libraries, draft-ietf-tls-keylogfile) SIP
over TLS 1.2 and 1.3 comes out with the transport ``TLS`` or ``WSS``.

tshark prints one JSON object for each packet that holds SIP or an ICMP error, with the bytes of
each layer in hexadecimal. Messages are taken from the bytes of the SIP layer, addresses and ports
from those of the headers below it, so nothing depends on how tshark words things. SIP that an
ICMP error quotes is no message; the error becomes the same report as ours.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sipwatch.capture import inputs, merge
from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.stats import CaptureError, CaptureStats, FileReport
from sipwatch.net import icmp, recognise
from sipwatch.net.dispatch import SIP_PORTS
from sipwatch.net.packet import Malformed, Packet
from sipwatch.net.types import Batch, Datagram, Endpoint

_FILTER = "sip || icmp.type == 3 || icmpv6.type == 1"

#: Settings under which tshark looks as far as we do: SIP on any port, before what a port is
#: registered for, segments in any order, ESP without encryption.
_PREFERENCES = (
    "tcp.try_heuristic_first:TRUE",
    "udp.try_heuristic_first:TRUE",
    "tcp.reassemble_out_of_order:TRUE",
    "esp.enable_null_encryption_decode_heuristic:TRUE",
)

_CHUNK = 1 << 16

#: Longest line that is believed; a packet is 256 KB at most and each byte appears a few times.
_MAX_LINE = 16 << 20

#: Seconds that tshark gets to end by itself before it is killed.
_PATIENCE = 2.0

#: What tshark says when all is well.
_COURTESIES = ("could be dangerous", "Capturing on", "packets captured", "packet captured")

_NETWORKS = {"ip": 4, "ipv6": 6}
_TRANSPORTS = {"udp": "UDP", "tcp": "TCP", "sctp": "SCTP"}


def is_available() -> bool:
    """Whether tshark is installed."""
    return shutil.which("tshark") is not None


# One packet ----------------------------------------------------------------------------------


def parse_packet(line: bytes, interface: str) -> Batch:
    """What one line of ``tshark -T ek -x`` holds; empty for lines that are no packet.

    Raises ValueError, KeyError, IndexError or struct.error for a line that is not as it should be.
    """
    if not line.startswith(b'{"timestamp"'):
        return []
    layers: dict[str, Any] = json.loads(line)["layers"]
    frame = layers["frame"]
    number = int(frame["frame_frame_number"])
    when = float(frame["frame_frame_time_epoch"])
    protocols: list[str] = frame["frame_frame_protocols"].split(":")
    for name, version in (("icmp", 4), ("icmpv6", 6)):
        if name in protocols:
            return _report(layers, name, version, Packet(when, b"", interface, number))
    if "sip" not in protocols:
        return []
    below = protocols[: protocols.index("sip")]
    network = [name for name in below if name in _NETWORKS][-1]
    carrier = [name for name in below if name in _TRANSPORTS][-1]
    header = _raw(layers, network)[-1]
    ports = _raw(layers, carrier)[-1]
    source, destination = _addresses(header, network)
    source_port, destination_port = struct.unpack_from("!HH", ports)
    is_udp = carrier == "udp"
    has_ident = network == "ip" and carrier != "tcp"
    found: Batch = []
    for payload in _raw(layers, "sip"):
        start = recognise.start_of(payload)
        if start < 0:
            continue
        found.append(
            Datagram(
                when,
                (source, source_port),
                (destination, destination_port),
                _transport(carrier, below),
                payload[start:],
                interface,
                number,
                struct.unpack_from("!H", header, 4)[0] if has_ident else -1,
                struct.unpack_from("!I", ports, 4)[0] if is_udp else -1,
            )
        )
    return found


def _raw(layers: dict[str, Any], name: str) -> list[bytes]:
    """The bytes of all layers of a name, the outermost first."""
    found = layers[name + "_raw"]
    return [bytes.fromhex(one) for one in ([found] if isinstance(found, str) else found)]


def _addresses(header: bytes, network: str) -> tuple[bytes, bytes]:
    if network == "ip":
        return header[12:16], header[16:20]
    return header[8:24], header[24:40]


def _transport(carrier: str, below: Sequence[str]) -> str:
    """The name of the transport by the layers between IP and SIP."""
    is_secure = "tls" in below or "dtls" in below
    if "websocket" in below:
        return "WSS" if is_secure else "WS"
    return "TLS" if is_secure else _TRANSPORTS[carrier]


def _report(layers: dict[str, Any], name: str, version: int, packet: Packet) -> Batch:
    """An ICMP error: what it quotes is found as in our own decoder."""
    packet.data = _raw(layers, name)[0]
    network = "ip" if version == 4 else "ipv6"
    packet.source, packet.destination = _addresses(_raw(layers, network)[-1], network)
    try:
        report = icmp.unreachable(packet, 0, len(packet.data), version=version)
    except (Malformed, struct.error, IndexError):
        return []
    return [] if report is None else [report]


# The process ---------------------------------------------------------------------------------


class _Process:
    """A tshark that runs: complete lines of its output, and what it complained about."""

    def __init__(
        self, arguments: Sequence[str], keylog: str | None, decode_as: Sequence[str]
    ) -> None:
        """Start it. Raises `CaptureError` where that cannot be."""
        if not is_available():
            raise CaptureError("tshark is not installed; on Debian: apt install tshark")
        command = ["tshark", "-n", "-Q", "-l", "-T", "ek", "-x", "-J", "frame", "-Y", _FILTER]
        for preference in _PREFERENCES:
            command += ["-o", preference]
        if keylog is not None:
            if not os.access(keylog, os.R_OK):
                raise CaptureError(f"{keylog}: the key log cannot be read")
            command += ["-o", f"tls.keylog_file:{os.path.abspath(keylog)}"]
        for rule in decode_as:
            command += ["-d", rule]
        self._folder = tempfile.TemporaryDirectory(prefix="sipwatch-tshark-")
        self._messages = Path(self._folder.name, "messages")
        # What the user has set for Wireshark's windows is not for us: an empty configuration.
        environment = {**os.environ, "LC_ALL": "C", "WIRESHARK_CONFIG_DIR": self._folder.name}
        try:
            with self._messages.open("wb") as messages:
                self._process = subprocess.Popen(
                    [*command, *arguments],
                    stdin=None if "-" in arguments else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=messages,
                    env=environment,
                )
        except OSError as error:
            self._folder.cleanup()
            raise CaptureError(f"tshark cannot be started: {error.strerror or error}") from None
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self._rest = b""
        self.is_at_end = False

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._output.fileno()

    def read(self) -> list[bytes]:
        """The lines that are there, after waiting for the first bytes; none at the end."""
        data = os.read(self.fileno(), _CHUNK)
        if not data:
            self.is_at_end = True
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            self._rest = b""
        return lines

    def complaint(self) -> str:
        """The first thing it said that is not a courtesy."""
        with self._messages.open("rb") as messages:
            lines = messages.read(_CHUNK).decode(errors="replace").splitlines()
        for line in lines:
            text = line.removeprefix("tshark: ").strip()
            if text and not any(courtesy in text for courtesy in _COURTESIES):
                return text
        return ""

    def end(self) -> int:
        """Wait for its end, or bring it about; the exit status."""
        if self._process.poll() is None:
            if not self.is_at_end:
                self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()
        return self._process.returncode

    def close(self) -> None:
        """End it and forget what it said."""
        self.end()
        self._folder.cleanup()


# Files ---------------------------------------------------------------------------------------


class TsharkFile:
    """One capture file of any kind that Wireshark opens; ``-`` is standard input.

    ``decode_as`` are rules of tshark's option ``-d``, such as ``tls.port==5071,sip``.
    """

    def __init__(
        self, path: str, keylog: str | None = None, *, decode_as: Sequence[str] = ()
    ) -> None:
        self.path = path
        self._keylog = keylog
        self._decode_as = decode_as
        self.report = FileReport(path, format="by tshark")
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
        process = _Process(["-r", self.path], self._keylog, self._decode_as)
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
                batch += parse_packet(line, self.path)
            except (ValueError, KeyError, IndexError, struct.error):
                self.malformed += 1
        for one in batch:
            if isinstance(one, Datagram):
                self.sip_datagrams += 1
            else:
                self.unreachables += 1
            self.report.seen(one.time)
        return batch

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
        self._files = [
            TsharkFile(path, keylog, decode_as=decode_as) for path in inputs.expand(paths)
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
        return stats

    def batches(self) -> Iterator[Batch]:
        """Datagrams of all files in order of time."""
        for batch in self._all():
            yield [one for one in batch if self._since <= one.time <= self._until]

    def _all(self) -> Iterator[Batch]:
        if len(self._files) == 1:
            yield from self._read(self._files[0])
            return
        members = []
        for file in self._files:
            file.measure()
            starts = file.report.first_time
            members.append(merge.Member(0.0 if starts is None else starts, self._opener(file)))
        yield from merge.merge(members, self._count_late)

    def _opener(self, file: TsharkFile) -> Any:
        return lambda: self._read(file)

    def _read(self, file: TsharkFile) -> Iterator[Batch]:
        yield from file.batches()
        self._done.append(file)

    def _count_late(self) -> None:
        self._late += 1


# Live ----------------------------------------------------------------------------------------


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
        self._process: _Process | None = None
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
            self._process = _Process(arguments, self._keylog, self._decode_as)
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

    def drain(self) -> Batch:
        """What is there already, before an end."""
        return self.poll(0.0)

    def close(self) -> None:
        """End tshark."""
        if self._process is not None:
            self._selector.unregister(self._process)
            self._process.close()
            self._process = None

    def _running(self) -> _Process:
        if self._process is None:
            raise LiveCaptureError("the capture is not open")
        return self._process

    def _parse(self, lines: list[bytes]) -> Batch:
        batch: Batch = []
        for line in lines:
            try:
                batch += parse_packet(line, self.report.name)
            except (ValueError, KeyError, IndexError, struct.error):
                self.malformed += 1
        for one in batch:
            self.report.packets += 1
            self.report.seen(one.time)
            self._now = max(self._now, one.time)
        return batch


#: Seconds that a packet may take through tshark before time is taken to have passed it.
_HOLD = 1.0


def ports_as_rules(endpoints: Sequence[Endpoint | int]) -> list[str]:
    """Rules for `decode_as` that take SIP over TLS on these ports for granted."""
    ports = [one if isinstance(one, int) else one[1] for one in endpoints]
    return [f"tls.port=={port},sip" for port in ports]
