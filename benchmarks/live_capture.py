"""How much of a core the live capture takes, without following calls.

A process sends whole calls (INVITE 100 180 200 ACK BYE 200) as prebuilt frames over a veth pair in
a network namespace of its own, at a steady rate; this one reads them from the ring and counts.
Run as root: ``python benchmarks/live_capture.py --rate 3000 --seconds 10``. Prints one line of
JSON: messages sent and read, kernel drops, the share of one core and the memory of this process.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import resource
import socket
import struct
import subprocess
import time

from sipwatch.capture.live import LiveCapture
from sipwatch.capture.ring import Geometry

_CLONE_NEWNET = 0x40000000
_BATCH = 20
_BODY = (
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
    b"m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)


def _message(start: bytes, cseq: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join(
        [
            start,
            b"Via: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK-00000000",
            b"From: <sip:100@10.0.0.1>;tag=from-00000000",
            b"To: <sip:200@10.0.0.2>;tag=to-00000000",
            b"Call-ID: call-00000000@10.0.0.1",
            b"CSeq: " + cseq,
            b"Contact: <sip:100@10.0.0.1:5060>",
            b"Max-Forwards: 70",
            b"User-Agent: generator",
            b"Content-Length: " + str(len(body)).encode(),
            b"",
            body,
        ]
    )


def _frame(payload: bytes, forth: bool) -> bytearray:
    here, there = b"\x0a\0\0\1", b"\x0a\0\0\2"
    source, destination = (here, there) if forth else (there, here)
    udp = struct.pack(">HHHH", 5060, 5060, 8 + len(payload), 0) + payload
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, source, destination
    )
    return bytearray(b"\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0" + header + udp)


def _call() -> list[bytearray]:
    invite, bye = b"1 INVITE", b"2 BYE"
    return [
        _frame(_message(b"INVITE sip:200@10.0.0.2 SIP/2.0", invite, _BODY), True),
        _frame(_message(b"SIP/2.0 100 Trying", invite), False),
        _frame(_message(b"SIP/2.0 180 Ringing", invite), False),
        _frame(_message(b"SIP/2.0 200 OK", invite, _BODY), False),
        _frame(_message(b"ACK sip:200@10.0.0.2 SIP/2.0", b"1 ACK"), True),
        _frame(_message(b"BYE sip:200@10.0.0.2 SIP/2.0", bye), True),
        _frame(_message(b"SIP/2.0 200 OK", bye), False),
    ]


def _send(name: str, rate: int, seconds: float, sent: multiprocessing.Queue[int]) -> None:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((name, 0))
    frames = _call()
    places = [_places(frame) for frame in frames]
    total = int(rate * seconds)
    start = time.monotonic()
    for number in range(total):
        mark = b"%08d" % number
        for frame, offsets in zip(frames, places, strict=True):
            for offset in offsets:
                frame[offset : offset + 8] = mark
            sock.send(frame)
        if number % _BATCH == 0:
            ahead = start + number / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
    sent.put(total * len(frames))
    sent.put(int((time.monotonic() - start) * 1000))


def _places(frame: bytearray) -> list[int]:
    found, offset = [], frame.find(b"-00000000")
    while offset >= 0:
        found.append(offset + 1)
        offset = frame.find(b"-00000000", offset + 1)
    return found


def _enter_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise SystemExit(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}")
    for command in (
        "link add one type veth peer name two",
        "link set one up",
        "link set two up",
    ):
        subprocess.run(["ip", *command.split()], check=True)


def measure(rate: int, seconds: float, ring_mebibytes: int) -> dict[str, float]:
    """Returns what was sent, read and lost, and what it cost."""
    _enter_namespace()
    context = multiprocessing.get_context("fork")
    sent: multiprocessing.Queue[int] = context.Queue()
    geometry = Geometry(block_count=ring_mebibytes << 1)
    with LiveCapture(["two"], [5060], geometry=geometry) as capture:
        sender = context.Process(target=_send, args=("one", rate, seconds, sent), daemon=True)
        sender.start()
        messages = 0
        latest = 0.0
        before = time.process_time()
        while True:
            batch = capture.poll(0.5)
            messages += len(batch)
            if batch:
                latest = max(latest, time.time() - batch[0].time)
            elif not sender.is_alive():
                break
        used = time.process_time() - before
        total, took = sent.get(), sent.get() / 1000
        capture.refresh()
        stats = capture.stats()
    return {
        "calls_per_second": round(total / 7 / took),
        "messages_per_second": round(total / took),
        "sent": total,
        "read": messages,
        "kernel_drops": stats.interfaces[0].kernel_drops,
        "interface_drops": stats.interfaces[0].interface_drops,
        "core_share": round(used / took, 3),
        "microseconds_per_message": round(1e6 * used / max(1, messages), 2),
        "longest_delay_seconds": round(latest, 3),
        "memory_mebibytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=3000, help="calls a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--ring", type=int, default=32, help="MiB")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.rate, arguments.seconds, arguments.ring)))


if __name__ == "__main__":
    main()
