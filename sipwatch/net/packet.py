"""One packet on its way down the layers of the general path, and what a layer is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from sipwatch.net.types import Batch


class Packet:
    """What is known of a packet so far; each layer adds to it or replaces what it unwraps."""

    __slots__ = (
        "data",
        "depth",
        "destination",
        "found",
        "interface",
        "ip_id",
        "layer",
        "missing",
        "number",
        "source",
        "time",
    )

    def __init__(self, time: float, data: bytes, interface: str, number: int) -> None:
        self.time = time
        #: The bytes that offsets point into: the frame, or what was put together from pieces.
        self.data = data
        self.interface = interface
        self.number = number
        #: Addresses of the innermost IP header so far.
        self.source = b""
        self.destination = b""
        #: IPv4 identification; -1 for IPv6.
        self.ip_id = -1
        #: Bytes at the end of the innermost IP packet that a snap length cut.
        self.missing = 0
        #: How many headers that may hold their own kind lie above: bounds nested tunnels.
        self.depth = 0
        #: The layer at work, for the name of what is too short to be read.
        self.layer = "link"
        #: What the packet yielded.
        self.found: Batch = []


class Malformed(Exception):
    """A packet that makes no sense; the argument is the reason, the layer is the packet's."""


#: Looks at ``packet.data[start:end]``, adds to ``packet.found`` or passes on to another layer.
#: Raises :class:`Malformed`, ``struct.error`` or ``IndexError`` for what cannot be read.
Decode: TypeAlias = Callable[[Packet, int, int], None]


class Layer(NamedTuple):
    """An entry of a registry; without ``decode`` its packets are named as not decoded."""

    name: str
    decode: Decode | None
