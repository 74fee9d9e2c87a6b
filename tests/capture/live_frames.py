"""SIP in frames, made with struct alone, and what a test wants to know of a batch."""

from __future__ import annotations

import struct
import time

from sipwatch.capture.live import LiveCapture
from sipwatch.net.types import Batch

HERE, THERE = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
_MACS = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"


def message(number: int = 1, size: int = 0) -> bytes:
    """A request that says which one it is."""
    head = (
        "OPTIONS sip:200@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-1\r\n"
        f"From: <sip:100@10.0.0.1>;tag=1\r\nTo: <sip:200@10.0.0.2>\r\nCall-ID: call-{number}\r\n"
        f"CSeq: 1 OPTIONS\r\nContent-Length: {size}\r\n\r\n"
    )
    return head.encode() + b"x" * size


def number_of(payload: bytes) -> int:
    return int(payload.split(b"Call-ID: call-")[1].split(b"\r\n")[0])


def numbers(batch: Batch) -> list[int]:
    return [number_of(item.payload) for item in batch]


def udp(payload: bytes, source: int = 5060, destination: int = 5060) -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def ipv4(payload: bytes, protocol: int = 17, source: bytes = HERE, ident: int = 1) -> bytes:
    destination = THERE if source == HERE else HERE
    size = 20 + len(payload)
    return (
        struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, ident, 0, 64, protocol, 0, source, destination)
        + payload
    )


def ipv6(payload: bytes, protocol: int = 17) -> bytes:
    address = bytes.fromhex("20010db8000000000000000000000001")
    head = struct.pack(">IHBB", 0x60000000, len(payload), protocol, 64)
    return head + address + address[:-1] + b"\x02" + payload


def ethernet(packet: bytes, kind: int = 0x0800, tags: bytes = b"") -> bytes:
    return _MACS + tags + kind.to_bytes(2, "big") + packet


def sip_frame(number: int = 1, tags: bytes = b"", size: int = 0) -> bytes:
    return ethernet(ipv4(udp(message(number, size))), tags=tags)


def collect(capture: LiveCapture, count: int, seconds: float = 10.0) -> Batch:
    """Polls until there are so many, or until the time is over."""
    found: Batch = []
    until = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < until:
        found += capture.poll(0.2)
    return found


def events_until(capture: LiveCapture, kind: str, seconds: float = 15.0) -> list[str]:
    """Kinds of the events up to the one that is waited for."""
    kinds: list[str] = []
    until = time.monotonic() + seconds
    while kind not in kinds and time.monotonic() < until:
        capture.poll(0.05)
        kinds += [event.kind for event in capture.events()]
    return kinds
