"""Capture files for the tests, written by hand: nothing of the readers is used here."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.stats import CaptureStats
from sipwatch.net.types import Batch

#: (seconds, fraction in the units of the file, frame)
Record = tuple[int, int, bytes]

MICRO, NANO, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
ETHERNET = 1


def udp_frame(payload: bytes, source: int = 5060, destination: int = 5060, ident: int = 1) -> bytes:
    """Ethernet, IPv4 from 192.0.2.1 to 192.0.2.2, UDP."""
    udp = struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(udp),
        ident,
        0,
        64,
        17,
        0,
        bytes([192, 0, 2, 1]),
        bytes([192, 0, 2, 2]),
    )
    return bytes(12) + b"\x08\x00" + header + udp


def tagged(frame: bytes, tag: int = 0x8100) -> bytes:
    """The same Ethernet frame with one more VLAN tag."""
    return frame[:12] + struct.pack(">HH", tag, 7) + frame[12:]


def sip(number: int) -> bytes:
    """A request whose Call-ID is a number, which tests tell it by."""
    return (
        b"OPTIONS sip:a@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%d\r\n"
        b"Call-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n" % (number, number)
    )


RTP = udp_frame(b"\x80\x08" + bytes(170), 10_000, 20_000)


def sip_records(numbers: Iterable[int], step: int = 1) -> list[Record]:
    """One request a second; the number is its time and its Call-ID."""
    return [(number * step, 0, udp_frame(sip(number))) for number in numbers]


def pcap(
    records: Sequence[Record],
    order: str = "<",
    magic: int = MICRO,
    linktype: int = ETHERNET,
    snap: int = 262_144,
) -> bytes:
    """A pcap file; frames longer than ``snap`` are cut."""
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, linktype)]
    for seconds, fraction, frame in records:
        kept = frame[:snap]
        parts.append(struct.pack(order + "IIII", seconds, fraction, len(kept), len(frame)))
        if magic == MODIFIED:
            parts.append(struct.pack(order + "IHBB", 3, 0x0800, 0, 0))
        parts.append(kept)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block with its padding and both lengths."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<", options: bytes = b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + options, order)


def interface(
    linktype: int = ETHERNET, order: str = "<", snap: int = 0, options: bytes = b""
) -> bytes:
    return block(1, struct.pack(order + "HHI", linktype, 0, snap) + options, order)


def enhanced(
    ticks: int,
    frame: bytes,
    number: int = 0,
    order: str = "<",
    wire: int | None = None,
    options: bytes = b"",
) -> bytes:
    """An enhanced packet block of interface ``number``."""
    length = len(frame) if wire is None else wire
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), length)
    return block(6, head + frame + bytes(-len(frame) % 4) + options, order)


def simple(frame: bytes, order: str = "<", wire: int | None = None) -> bytes:
    return block(3, struct.pack(order + "I", len(frame) if wire is None else wire) + frame, order)


def old_packet(ticks: int, frame: bytes, number: int = 0, order: str = "<") -> bytes:
    """An obsolete packet block: interface and drops in 16 bits each."""
    head = struct.pack(
        order + "HHIIII", number, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
    )
    return block(2, head + frame, order)


def pcapng(records: Sequence[Record], order: str = "<") -> bytes:
    """A file of one section and one Ethernet interface, times in microseconds."""
    blocks = [section(order), interface(order=order)]
    blocks += [
        enhanced(seconds * 10**6 + fraction, frame, order=order)
        for seconds, fraction, frame in records
    ]
    return b"".join(blocks)


def read(
    *paths: Path | str, chunk: int = 1 << 17, since: float | None = None, until: float | None = None
) -> tuple[Batch, CaptureStats]:
    """Everything that the files give, and what is said of them."""
    files = CaptureFiles([str(path) for path in paths], chunk=chunk, since=since, until=until)
    found = [one for batch in files.batches() for one in batch]
    return found, files.stats()


def call_ids(found: Batch) -> list[int]:
    """The numbers that :func:`sip` put into the messages."""
    return [int(one.payload.split(b"Call-ID: ")[1].split(b"\r\n")[0]) for one in found]
