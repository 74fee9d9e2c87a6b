#!/usr/bin/env python3
"""Time the same SIP messages in several carriers: what TCP, fragments and tunnels cost.

The messages of a generated capture are written again as UDP datagrams, as TCP (one connection for
each pair of hosts, a message a segment, an acknowledgement after each; and in segments of 536
bytes), as WebSocket, IPv4 fragments, VLAN and VXLAN. Each is replayed on one core, in turn, and
its rate is messages a second of CPU time beyond what the program needs for an empty capture. The
outcomes of all must be those of UDP; TCP must have at least a third of UDP's rate. Otherwise the
exit status is 1. With ``--compare`` an earlier revision reads the UDP file in the same turns: what
carriers have cost the way of UDP.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeAlias

import measure
import programs
from captures import CACHE, Capture, capture

sys.path.insert(0, str(programs.ROOT))

from sipwatch.capture.files import CaptureFiles
from sipwatch.net.types import Datagram, Endpoint

#: What TCP's rate must be of UDP's.
LEAST = 1 / 3

Frame: TypeAlias = bytes
Carrier: TypeAlias = Callable[[Iterator[Datagram]], Iterator[tuple[float, Frame]]]

_MACS = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"
_TUNNEL_ENDS = b"\xac\x10\x00\x01", b"\xac\x10\x00\x02"


def ipv4(
    payload: bytes, protocol: int, ends: Sequence[bytes], ident: int = 0, part: int = 0
) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, part, 64, protocol, 0)
    return head + ends[0] + ends[1] + payload


def ethernet(packet: bytes, ethertype: int = 0x0800) -> bytes:
    return _MACS + struct.pack("!H", ethertype) + packet


def datagram(one: Datagram, number: int) -> bytes:
    """An IPv4 packet with UDP."""
    ports = one.source[1], one.destination[1]
    udp = struct.pack("!HHHH", *ports, 8 + len(one.payload), 0) + one.payload
    return ipv4(udp, 17, (one.source[0], one.destination[0]), number & 0xFFFF)


def udp(messages: Iterator[Datagram]) -> Iterator[tuple[float, Frame]]:
    for number, one in enumerate(messages):
        yield one.time, ethernet(datagram(one, number))


def vlan(messages: Iterator[Datagram]) -> Iterator[tuple[float, Frame]]:
    for number, one in enumerate(messages):
        yield one.time, ethernet(b"\x00\x07\x08\x00" + datagram(one, number), 0x8100)


def vxlan(messages: Iterator[Datagram]) -> Iterator[tuple[float, Frame]]:
    for number, one in enumerate(messages):
        inner = b"\x08\0\0\0\0\0\x05\0" + ethernet(datagram(one, number))
        outer = struct.pack("!HHHH", 40_000, 4789, 8 + len(inner), 0) + inner
        yield one.time, ethernet(ipv4(outer, 17, _TUNNEL_ENDS))


def fragments(messages: Iterator[Datagram]) -> Iterator[tuple[float, Frame]]:
    """Two or three of each datagram."""
    for number, one in enumerate(messages):
        payload = datagram(one, number)[20:]
        size = max(8, len(payload) // 2 // 8 * 8)
        for at in range(0, len(payload), size):
            more = 0x2000 if at + size < len(payload) else 0
            part = payload[at : at + size]
            ends = one.source[0], one.destination[0]
            yield one.time, ethernet(ipv4(part, 17, ends, number & 0xFFFF, more | at // 8))


class _Connections:
    """Sequence numbers of connections between pairs of endpoints."""

    def __init__(self) -> None:
        self._next: dict[tuple[Endpoint, Endpoint], int] = {}

    def is_new(self, one: Datagram) -> bool:
        return (one.source, one.destination) not in self._next

    def opening(self, one: Datagram) -> Iterator[Frame]:
        for source, destination in (
            (one.source, one.destination),
            (one.destination, one.source),
        ):
            self._next[source, destination] = 1000
            yield self.segment(source, destination, b"", 0x02)
            self._next[source, destination] += 1

    def segment(self, source: Endpoint, destination: Endpoint, data: bytes, flags: int) -> Frame:
        sequence = self._next[source, destination]
        acknowledged = self._next.get((destination, source), 0)
        self._next[source, destination] = (sequence + len(data)) % 2**32
        ports = struct.pack("!HH", source[1], destination[1])
        numbers = struct.pack("!IIBBHHH", sequence, acknowledged, 0x50, flags, 9000, 0, 0)
        return ethernet(ipv4(ports + numbers + data, 6, (source[0], destination[0])))


def _stream(
    messages: Iterator[Datagram],
    size: int,
    wrap: Callable[[bytes], bytes] = bytes,
    greeting: Sequence[bytes] = (),
) -> Iterator[tuple[float, Frame]]:
    connections = _Connections()
    for one in messages:
        if connections.is_new(one):
            for frame in connections.opening(one):
                yield one.time, frame
            ends = (one.source, one.destination), (one.destination, one.source)
            for (source, destination), data in zip(ends, greeting, strict=False):
                yield one.time, connections.segment(source, destination, data, 0x18)
        data = wrap(one.payload)
        for at in range(0, len(data), size):
            part = data[at : at + size]
            yield one.time, connections.segment(one.source, one.destination, part, 0x18)
        yield one.time, connections.segment(one.destination, one.source, b"", 0x10)


def tcp(messages: Iterator[Datagram]) -> Iterator[tuple[float, Frame]]:
    return _stream(messages, 60_000)


def tcp_in_small_segments(messages: Iterator[Datagram]) -> Iterator[tuple[float, Frame]]:
    return _stream(messages, 536)


_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: pbx\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
)


def websocket(messages: Iterator[Datagram]) -> Iterator[tuple[float, Frame]]:
    """Unmasked, as a server sends."""
    return _stream(messages, 60_000, lambda m: b"\x81\x7e" + len(m).to_bytes(2) + m, _UPGRADE)


CARRIERS: dict[str, Carrier] = {
    "UDP": udp,
    "TCP": tcp,
    "TCP, 536 bytes": tcp_in_small_segments,
    "WebSocket": websocket,
    "IPv4 fragments": fragments,
    "VLAN": vlan,
    "VXLAN": vxlan,
}


def messages_of(source: Capture) -> Iterator[Datagram]:
    for batch in CaptureFiles([str(source.path)]).batches():
        for one in batch:
            if isinstance(one, Datagram) and len(one.source[0]) == 4:
                yield one


def written(source: Capture, name: str) -> tuple[Path, int]:
    """The messages of a capture in a carrier, and how many they are."""
    label = "".join(sign if sign.isalnum() else "-" for sign in name)
    path = CACHE / f"carrier-{label}-{source.path.name}"
    beside = path.with_suffix(".count")
    # Cheap to make, and the code above has no fingerprint: made anew each time.
    count = 0

    def counted() -> Iterator[Datagram]:
        nonlocal count
        for one in messages_of(source):
            count += 1
            yield one

    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for when, frame in CARRIERS[name](counted()):
            seconds, micro = divmod(round(when * 1e6), 1_000_000)
            file.write(struct.pack("<IIII", seconds, micro, len(frame), len(frame)) + frame)
    beside.write_text(f"{count}\n")
    return path, count


def outcomes(records: Path) -> Counter[str]:
    with records.open() as lines:
        return Counter(json.loads(line)["outcome"] for line in lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packets", type=int, default=200_000, help="of the capture (200000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (3)")
    parser.add_argument("--core", type=int, default=measure.last_core(), help="core to run on")
    parser.add_argument("--compare", metavar="REVISION", help="UDP with this revision as well")
    options = parser.parse_args(arguments)
    source = capture("mixed", options.packets)
    files = {name: written(source, name) for name in CARRIERS}
    empty = CACHE / "carrier-empty.pcap"
    empty.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
    program = programs.sipwatch()
    runs = [Run(name, program, path, count) for name, (path, count) in files.items()]
    with ExitStack() as stack:
        if options.compare:
            try:
                tree = stack.enter_context(programs.revision(options.compare))
            except programs.UnknownRevisionError as error:
                parser.error(str(error))
            before = programs.sipwatch(tree, options.compare)
            runs.insert(1, Run(f"UDP, {options.compare[:12]}", before, *files["UDP"]))
        return _told(runs, _timed(runs, empty, options.rounds, options.core))


class Run(NamedTuple):
    """A row of the table."""

    name: str
    program: programs.Program
    path: Path
    messages: int


class Timed(NamedTuple):
    """CPU seconds of a run, without those for an empty capture, and the outcomes it gave."""

    seconds: float
    outcomes: Counter[str]


def _timed(runs: Sequence[Run], empty: Path, rounds: int, core: int) -> dict[str, Timed]:
    output = CACHE / "carrier-records.jsonl"
    costs: dict[str, list[measure.Cost]] = {run.name: [] for run in runs}
    starts: dict[str, list[measure.Cost]] = {run.name: [] for run in runs}
    said: dict[str, Counter[str]] = {}
    for run in runs:
        measure.warm(run.path)
    for _ in range(rounds):
        for run in runs:
            for path, into in ((empty, starts), (run.path, costs)):
                command = run.program.on(path, output)
                environment = run.program.environment
                into[run.name].append(measure.run(command, core=core, environment=environment))
            said[run.name] = outcomes(output)
    return {
        name: Timed(measure.median(costs[name]).cpu - measure.median(starts[name]).cpu, said[name])
        for name in costs
    }


def _told(runs: Sequence[Run], timed: dict[str, Timed]) -> int:
    rates = {run.name: run.messages / timed[run.name].seconds for run in runs}
    print("carrier             messages/s   of UDP")
    for name, rate in rates.items():
        print(f"{name:<18} {rate:>11,.0f} {rate / rates['UDP']:>8.2f}")
    said = {run.name: timed[run.name].outcomes for run in runs}
    wrong = [name for name in CARRIERS if said[name] != said["UDP"]]
    for name in wrong:
        difference = {k: (said["UDP"][k], said[name][k]) for k in said["UDP"] | said[name]
                      if said["UDP"][k] != said[name][k]}  # fmt: skip
        print(f"WRONG: outcomes of {name} are not UDP's: {difference}", file=sys.stderr)
    slow = [name for name in ("TCP",) if rates[name] < LEAST * rates["UDP"]]
    for name in slow:
        print(f"SLOW: {name} has less than a third of UDP's rate", file=sys.stderr)
    return 1 if wrong or slow else 0


if __name__ == "__main__":
    sys.exit(main())
