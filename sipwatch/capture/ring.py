"""A receive ring that the kernel fills and this process reads without copying system calls.

AF_PACKET with TPACKET_V3 (Documentation/networking/packet_mmap.rst of the kernel): memory that
both share is cut into blocks; the kernel writes packets one after the other into a block and hands
it over when it is full or `Geometry.retire_milliseconds` after its first packet. Here is the
socket, the memory and whose turn a block is; what is in a block is read in ``blocks``.

A ring is made without an interface and receives nothing until `Ring.bind`. Only making it needs
CAP_NET_RAW: it may be bound, and bound anew, after the privilege was dropped.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from dataclasses import dataclass

from sipwatch.capture import bpf
from sipwatch.capture.bpf import Program
from sipwatch.capture.errors import LiveCaptureError

# linux/if_packet.h
_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION = 1, 5, 6, 10
_TPACKET_V3 = 2
_PROMISCUOUS = 1
_REQUEST = struct.Struct("=7I")
_COUNTERS = struct.Struct("=3I")
# struct sockaddr_ll.
_ADDRESS = struct.Struct("=HHi12x")
_MEMBERSHIP = struct.Struct("=iHH8s")
_STATUS = struct.Struct("=I")
#: Offset of ``block_status`` in a block.
_STATUS_OFFSET = 8
_KERNEL, _USER = 0, 1
_ALL_PROTOCOLS = 0x0003

#: The kernel reckons with frames of one size to check the request; blocks hold any sizes.
_FRAME_BYTES = 2048
_SMALLEST_COUNT = 2


_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Size of a ring; blocks are a multiple of the page and larger than any packet.

    As it is here it holds what comes in 2.5 s of a quiet line, where blocks are handed over half
    empty, and in 0.8 s of 3,000 calls a second.
    """

    block_bytes: int = 1 << 18
    block_count: int = 64
    #: A block with packets in it is handed over after this time however few there are.
    retire_milliseconds: int = 40

    @property
    def bytes(self) -> int:
        """All of the memory."""
        return self.block_bytes * self.block_count


@dataclass(slots=True)
class RingCounts:
    """What the kernel has counted."""

    #: Packets that passed the filter, those dropped included.
    packets: int = 0
    #: Packets for which there was no room.
    drops: int = 0
    #: How often the kernel found all blocks in use.
    freezes: int = 0

    def add(self, more: RingCounts) -> None:
        """Adds another count."""
        self.packets += more.packets
        self.drops += more.drops
        self.freezes += more.freezes


class Ring:
    """One packet socket with its shared memory."""

    def __init__(self, geometry: Geometry, program: Program, *, cooked: bool) -> None:
        """Opens the socket, sets the filter and maps the memory.

        ``cooked`` leaves the link header out, for interfaces whose header we cannot read. Where
        memory is short the ring gets fewer blocks, see `geometry`. Raises `LiveCaptureError`.
        """
        self.cooked = cooked
        self._socket = _packet_socket(cooked)
        try:
            bpf.attach(self._socket, program)
            self._socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
            #: What the ring has, which may be less than what was asked for.
            self.geometry = _request_blocks(self._socket, geometry)
            self.memory = mmap.mmap(self._socket.fileno(), self.geometry.bytes)
        except OSError as error:
            self._socket.close()
            raise LiveCaptureError(
                f"cannot make a capture ring of {geometry.bytes >> 20} MiB: {error.strerror}; "
                "set a smaller ring"
            ) from error
        self._next = 0

    def fileno(self) -> int:
        """Returns the socket's descriptor: readable when a block is ready."""
        return self._socket.fileno()

    def set_filter(self, program: Program) -> None:
        """Replaces the filter; what is already in the ring stays."""
        bpf.attach(self._socket, program)

    def bind(self, number: int) -> None:
        """Receives from the interface of that index from now on, from all when it is 0.

        Raises ``OSError``, with ENODEV when there is no such interface.
        """
        address = _ADDRESS.pack(socket.AF_PACKET, socket.htons(_ALL_PROTOCOLS), number)
        # The socket module binds by name only, which cannot say "all".
        if _libc.bind(self._socket.fileno(), address, len(address)):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def listen_promiscuously(self, index: int) -> None:
        """Asks the interface for packets to all addresses, until the ring closes or moves."""
        self._socket.setsockopt(
            _SOL_PACKET, _ADD_MEMBERSHIP, _MEMBERSHIP.pack(index, _PROMISCUOUS, 0, b"")
        )

    def take_error(self) -> int:
        """Returns the error number that waits on the socket, and clears it; 0 for none."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def ready(self) -> int:
        """Returns the offset in `memory` of the block whose turn it is, -1 if it is not ready."""
        start = self._next * self.geometry.block_bytes
        # The kernel writes the status last, behind a barrier of its own; on processors that
        # order loads loosely the reading of the block follows by way of this result.
        status = _STATUS.unpack_from(self.memory, start + _STATUS_OFFSET)[0]
        return start if status & _USER else -1

    def release(self) -> None:
        """Gives the block whose turn it is back to the kernel."""
        start = self._next * self.geometry.block_bytes
        _STATUS.pack_into(self.memory, start + _STATUS_OFFSET, _KERNEL)
        self._next = (self._next + 1) % self.geometry.block_count

    def take_counts(self) -> RingCounts:
        """Returns what the kernel has counted since it was asked last."""
        raw = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _COUNTERS.size)
        return RingCounts(*_COUNTERS.unpack(raw))

    def close(self) -> None:
        """Gives the memory and the socket back."""
        self.memory.close()
        self._socket.close()


def _packet_socket(cooked: bool) -> socket.socket:
    """A packet socket that receives nothing yet: its protocol is 0."""
    kind = socket.SOCK_DGRAM if cooked else socket.SOCK_RAW
    try:
        return socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC, 0)
    except PermissionError as error:
        raise LiveCaptureError(
            "no permission to capture: run as root, or give the service CAP_NET_RAW "
            "(AmbientCapabilities=CAP_NET_RAW in a systemd unit, --cap-add NET_RAW in a container)"
        ) from error
    except OSError as error:
        raise LiveCaptureError(
            f"cannot open a packet socket ({error.strerror}): allow AF_PACKET "
            "(RestrictAddressFamilies= of a systemd unit, seccomp of a container)"
        ) from error


def _request_blocks(sock: socket.socket, wanted: Geometry) -> Geometry:
    """Asks for the ring, with half as many blocks as long as there is no memory for it."""
    count = wanted.block_count
    while True:
        geometry = Geometry(wanted.block_bytes, count, wanted.retire_milliseconds)
        request = _REQUEST.pack(
            geometry.block_bytes,
            count,
            _FRAME_BYTES,
            geometry.bytes // _FRAME_BYTES,
            geometry.retire_milliseconds,
            0,
            0,
        )
        try:
            sock.setsockopt(_SOL_PACKET, _RX_RING, request)
        except OSError as error:
            if error.errno != errno.ENOMEM or count // 2 < _SMALLEST_COUNT:
                raise
            count //= 2
        else:
            return geometry
