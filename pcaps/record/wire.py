"""A cable that loses, delays or tags what it is told to, between one party and the bridge.

Real tools send and receive; only the frames between them pass through here. Frames are forwarded
whole, so ARP and ICMP work as on any cable.
"""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import threading
import time
from dataclasses import dataclass

from network import Segment, inside

_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_TPID = b"\x81\x00"
_IPV4 = b"\x08\x00"


@dataclass
class Loss:
    """Lose the first ``count`` frames after ``skip`` that start a payload with ``start``."""

    start: bytes  # b"INVITE", b"SIP/2.0 180"
    count: int = 1
    skip: int = 0

    def takes(self, frame: bytes) -> bool:
        """Whether this frame is to be lost; counts down."""
        # UDP payload of an untagged IPv4 frame without options: 14 + 20 + 8 bytes in.
        if not frame.startswith(self.start, 42):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if not self.count:
            return False
        self.count -= 1
        return True


class Wire:
    """Forwards between the port of a party and the bridge until closed."""

    def __init__(
        self,
        segment: Segment,
        host: int,
        losses: list[Loss],
        delay: float = 0.0,
        tag: int | None = None,
    ) -> None:
        port = f"p{host}"
        uplink = segment.add_uplink(port)
        self._ends = [
            inside(segment.switch, lambda name=name: _open(name)) for name in (port, uplink)
        ]
        self._losses = losses
        self._tag = None if tag is None else _TPID + tag.to_bytes(2, "big")
        self.delay = delay  # of IPv4, seconds each way; ARP is never late
        self._queue: list[tuple[float, int, socket.socket, bytes]] = []
        self._order = itertools.count()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._forward)
        self._thread.start()

    def lose(self, *losses: Loss) -> None:
        """Lose these, too, from now on."""
        self._losses += losses

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for end in self._ends:
            end.close()

    def _forward(self) -> None:
        while not self._stop.is_set():
            timeout = 0.1
            if self._queue:
                timeout = min(timeout, max(0.0, self._queue[0][0] - time.monotonic()))
            readable, _, _ = select.select(self._ends, [], [], timeout)
            for end in readable:
                frame, address = end.recvfrom(65535)
                if address[2] != _PACKET_OUTGOING and not self._lost(frame):
                    other = self._ends[1] if end is self._ends[0] else self._ends[0]
                    late = self.delay if frame[12:14] == _IPV4 else 0.0
                    due = time.monotonic() + late
                    if self._tag is not None:
                        frame = self._retagged(frame, end is self._ends[0])
                    heapq.heappush(self._queue, (due, next(self._order), other, frame))
            while self._queue and self._queue[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(self._queue)
                end.send(frame)

    def _retagged(self, frame: bytes, outwards: bool) -> bytes:
        """An 802.1Q tag behind the addresses of what leaves the party; off what comes to it."""
        if outwards:
            return frame[:12] + self._tag + frame[12:]
        return frame[:12] + frame[16:] if frame[12:14] == _TPID else frame

    def _lost(self, frame: bytes) -> bool:
        return any(loss.takes(frame) for loss in self._losses)


def _open(interface: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    end.bind((interface, 0))
    return end
