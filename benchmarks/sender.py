#!/usr/bin/env python3
"""Send calls into a network interface at a steady rate, and count exactly what was sent.

Frames go through an AF_PACKET socket, many with one sendmmsg(2), a batch every few milliseconds.
Falling behind stretches the time of all calls alike instead of bunching them: what arrives is
then the highest rate that this process reaches. Linux, CAP_NET_RAW.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from templates import MARK, MIXES, Flow, Stage

_TICK = 0.002
#: What the time of the calls may advance in one batch, at most.
_LONGEST_STEP = 0.02
#: Bounds a batch, so that it fits the queue of a receiving veth (net.core.netdev_max_backlog).
_BATCH_FRAMES = 256
_BATCH_BYTES = 1 << 20
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20


class Sent(NamedTuple):
    """What has been sent, all of it handed to the kernel."""

    calls: int
    #: Seconds from the first to the last INVITE.
    seconds: float
    #: Messages by method or status.
    messages: Counter[str]
    #: Calls by the outcome that they must come to.
    outcomes: Counter[str]

    def to_json(self) -> dict[str, Any]:
        return self._asdict() | {
            "frames": self.messages.total(),
            "calls_per_second": self.calls / self.seconds if self.seconds else 0.0,
        }


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.POINTER(_Iovec)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("sent", ctypes.c_uint))


class FrameSocket:
    """Sends batches of Ethernet frames out of one interface."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, 0))
        self._socket.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._buffer = ctypes.create_string_buffer(_BATCH_BYTES)
        self._address = ctypes.addressof(self._buffer)
        self._vectors = (_Iovec * _BATCH_FRAMES)()
        self._headers = (_Mmsghdr * _BATCH_FRAMES)()
        for place, message in enumerate(self._headers):
            message.header.vectors = ctypes.pointer(self._vectors[place])
            message.header.vector_count = 1
        self._vector = struct.Struct("@PN")
        self._bytes = self._frames = 0

    def add(self, frames: bytes, lengths: Sequence[int]) -> None:
        """Queue frames that lie one after the other; a full batch goes out first."""
        if self._frames + len(lengths) > _BATCH_FRAMES or self._bytes + len(frames) > _BATCH_BYTES:
            self.flush()
        start = self._bytes
        ctypes.memmove(self._address + start, frames, len(frames))
        place, width = self._frames, self._vector.size
        for length in lengths:
            self._vector.pack_into(self._vectors, place * width, self._address + start, length)
            start += length
            place += 1
        self._bytes, self._frames = start, place

    def flush(self) -> None:
        """Send all that is queued; waits while the interface is busy."""
        done = 0
        size = ctypes.sizeof(_Mmsghdr)
        while done < self._frames:
            messages = ctypes.byref(self._headers, done * size)
            count = self._send(self._socket.fileno(), messages, self._frames - done, 0)
            if count > 0:
                done += count
                continue
            number = ctypes.get_errno()
            if number not in (errno.ENOBUFS, errno.EAGAIN, errno.EINTR):
                raise OSError(number, os.strerror(number))
            time.sleep(_TICK / 10)
        self._bytes = self._frames = 0

    def close(self) -> None:
        self._socket.close()


class _Course:
    """The calls of one flow: how many have reached each of its stages."""

    def __init__(self, number: int, flow: Flow, rate: float, seconds: float) -> None:
        self.flow = flow
        self._prefix = number
        self._rate = rate
        self.calls = round(rate * seconds)
        self._reached = [0] * len(flow.stages)

    def advance(self, now: float, out: FrameSocket) -> bool:
        """Send what is due at ``now``; whether anything is left for later."""
        for place, stage in enumerate(self.flow.stages):
            due = min(self.calls, int((now - stage.delay) * self._rate) + 1)
            if now >= stage.delay and due > self._reached[place]:
                self._send(stage, range(self._reached[place], due), out)
                self._reached[place] = due
        return self._reached[-1] < self.calls

    def _send(self, stage: Stage, calls: range, out: FrameSocket) -> None:
        for call in calls:
            out.add(stage.frames.replace(MARK, b"%x%07x" % (self._prefix, call)), stage.lengths)


def send(interface: str, mix: str, rate: float, seconds: float) -> Sent:
    """Begin ``rate`` calls a second for ``seconds``, and let all of them come to their end."""
    out = FrameSocket(interface)
    courses = [
        _Course(number, flow(), share * rate, seconds)
        for number, (share, flow) in enumerate(MIXES[mix])
    ]
    begun = time.perf_counter()
    # Time as the calls have it: that of the clock, unless the machine does not keep up.
    now, behind, last_invite = 0.0, 0.0, begun
    try:
        while True:
            left = [course.advance(now, out) for course in courses]
            out.flush()
            clock = time.perf_counter()
            if now < seconds:
                last_invite = clock
            if not any(left):
                break
            ahead = now + _TICK - (clock - begun - behind)
            if ahead > 0:
                time.sleep(ahead)
            clock = time.perf_counter() - begun - behind
            step = min(clock - now, _LONGEST_STEP)
            behind += clock - now - step
            now += step
    finally:
        out.close()
    return Sent(
        calls=sum(course.calls for course in courses),
        seconds=last_invite - begun,
        messages=_total((course.flow.messages, course.calls) for course in courses),
        outcomes=_total((Counter([course.flow.outcome]), course.calls) for course in courses),
    )


def _total(parts: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts, times in parts:
        for name, count in counts.items():
            total[name] += count * times
    return total


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--interface", required=True)
    parser.add_argument("--rate", type=float, default=500.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mix", choices=sorted(MIXES), default="full")
    options = parser.parse_args(arguments)
    if options.rate <= 0 or options.seconds <= 0:
        parser.error("--rate and --seconds must be above 0")
    try:
        sent = send(options.interface, options.mix, options.rate, options.seconds)
    except OSError as error:
        print(f"{options.interface}: {error.strerror}", file=sys.stderr)
        return 2
    print(json.dumps(sent.to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
