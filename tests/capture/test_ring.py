"""The ring itself: memory, blocks, errors."""

from __future__ import annotations

import errno
import mmap
import socket
import struct
import time

import pytest
from live_frames import sip_frame
from network_namespace import Namespace

from sipwatch.capture import bpf, ring
from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.ring import Geometry, Ring

_EVERYTHING = (bpf.Instruction(bpf.RETURN, 0, 0, 0x40000),)


def number_of(inside: Namespace, name: str) -> int:
    with inside.entered():
        return socket.if_nametoindex(name)


def opened(inside: Namespace, geometry: Geometry, program: bpf.Program = _EVERYTHING) -> Ring:
    with inside.entered():
        return Ring(geometry, program, cooked=False)


def wait(made: Ring) -> int:
    until = time.monotonic() + 5
    while made.ready() < 0 and time.monotonic() < until:
        time.sleep(0.005)
    return made.ready()


def test_hears_nothing_before_it_is_bound(cable: Namespace) -> None:
    made = opened(cable, Geometry(1 << 16, 2))
    with cable.sender("one") as sender:
        sender.send(sip_frame(1))
        made.bind(number_of(cable, "two"))
        assert made.take_counts().packets == 0
        sender.send(sip_frame(2))
        start = wait(made)
    assert start == 0
    assert b"call-2" in made.memory[: 1 << 16]
    assert b"call-1" not in made.memory[: 1 << 16]
    made.close()


def test_blocks_take_turns(cable: Namespace) -> None:
    made = opened(cable, Geometry(1 << 16, 3, retire_milliseconds=10))
    made.bind(number_of(cable, "two"))
    starts = []
    with cable.sender("one") as sender:
        for number in range(7):
            sender.send(sip_frame(number))
            start = wait(made)
            starts.append(start >> 16)
            assert f"call-{number}\r".encode() in made.memory[start : start + (1 << 16)]
            made.release()
            assert made.ready() == -1
    assert starts == [0, 1, 2, 0, 1, 2, 0]
    assert made.take_counts().packets == 7
    assert made.take_counts().packets == 0
    made.close()


def test_filter_is_replaced(cable: Namespace) -> None:
    made = opened(cable, Geometry(1 << 16, 2), bpf.REJECT_ALL)
    made.bind(number_of(cable, "two"))
    with cable.sender("one") as sender:
        sender.send(sip_frame(1))
        made.set_filter(_EVERYTHING)
        sender.send(sip_frame(2))
        start = wait(made)
    assert struct.unpack_from("=I", made.memory, start + 12) == (1,)
    made.close()


def test_no_such_interface(cable: Namespace) -> None:
    made = opened(cable, Geometry(1 << 16, 2))
    with pytest.raises(OSError, match="No such device"):
        made.bind(4000)
    made.close()


def test_impossible_size_is_one_line(cable: Namespace) -> None:
    with pytest.raises(LiveCaptureError, match="cannot make a capture ring of 0 MiB: Invalid"):
        opened(cable, Geometry(1000, 2))


class ShortOfMemory:
    """Answers a request for a ring as the kernel does when it has room for so many blocks."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked: list[int] = []

    def setsockopt(self, level: int, option: int, request: bytes) -> None:
        _, count, *_ = struct.unpack("=7I", request)
        self.asked.append(count)
        if count > self.room:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")


def test_fewer_blocks_where_memory_is_short() -> None:
    kernel = ShortOfMemory(20)
    got = ring._request_blocks(kernel, Geometry(1 << 16, 64, 25))
    assert kernel.asked == [64, 32, 16]
    assert got == Geometry(1 << 16, 16, 25)


def test_no_memory_at_all() -> None:
    kernel = ShortOfMemory(0)
    with pytest.raises(OSError, match="Cannot allocate"):
        ring._request_blocks(kernel, Geometry(1 << 16, 8))
    assert kernel.asked == [8, 4, 2]


def test_memory_is_given_back(cable: Namespace) -> None:
    made = opened(cable, Geometry(1 << 16, 4))
    memory = made.memory
    assert isinstance(memory, mmap.mmap)
    assert len(memory) == 4 << 16
    made.close()
    with pytest.raises(ValueError, match="closed"):
        memory.size()
