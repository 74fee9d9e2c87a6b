"""What was read of an input, what of it was lost, and what a person must be told about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sipwatch.net.counts import NetCounts
from sipwatch.net.dispatch import SIP_PORTS

#: Where TLS holds SIP: the registered port with its neighbours (FreeSWITCH's second one), and the
#: ports of SIP over secure WebSocket in FreeSWITCH and Asterisk.
SIP_TLS_PORTS = SIP_PORTS | {5081, 7443, 8089}

# A file that is damaged everywhere must not fill the memory with what is wrong with it.
_MAX_DAMAGE = 100


class CaptureError(Exception):
    """Nothing can be read; the message is one line for a person and says what to do."""


class Damage(NamedTuple):
    """A part of an input that could not be read."""

    file: str
    #: Bytes from the start of the file, or of what it holds uncompressed.
    position: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}: at byte {self.position:,}: {self.what}"


@dataclass(slots=True)
class FileReport:
    """What one file gave. Times are epoch seconds of any packet, None before the first."""

    name: str
    #: ``pcap``, ``pcapng`` and so on, with the compression: ``pcap (gzip)``.
    format: str = ""
    packets: int = 0
    #: Captured bytes of all frames, without the file's own headers.
    bytes: int = 0
    #: Packets of which less was kept than was on the wire.
    snapped: int = 0
    first_time: float | None = None
    last_time: float | None = None
    damage: list[Damage] = field(default_factory=list)
    #: Damages beyond those that are listed.
    more_damage: int = 0

    def seen(self, time: float) -> None:
        """Takes in the time of the first or the last packet of a block."""
        if self.first_time is None or self.last_time is None:
            self.first_time = self.last_time = time
        else:
            self.last_time = max(self.last_time, time)

    def lost(self, position: int, what: str) -> None:
        """Records that something could not be read."""
        if len(self.damage) < _MAX_DAMAGE:
            self.damage.append(Damage(self.name, position, what))
        else:
            self.more_damage += 1


@dataclass(slots=True)
class CaptureStats:
    """All of an input: the files, and what the network stage counted over them."""

    files: list[FileReport] = field(default_factory=list)
    net: NetCounts = field(default_factory=NetCounts)
    #: Inputs of which nothing could be read, while others could.
    unreadable: list[Damage] = field(default_factory=list)
    #: Files that were opened late, because more overlap in time than may be open at once: what
    #: they hold came after what was captured later.
    late_files: int = 0
    #: Whether keys were at hand for what is encrypted.
    keylog_given: bool = False

    def add(self, other: CaptureStats) -> None:
        """Adds what another reader of other files has seen."""
        self.files += other.files
        self.net.add(other.net)
        self.unreadable += other.unreadable
        self.late_files += other.late_files
        self.keylog_given = self.keylog_given or other.keylog_given

    def unread_connections(self, ports: Iterable[int] = ()) -> int:
        """SIP/TLS connections that nobody could read: to the usual ports of it, and to `ports`."""
        sip = SIP_TLS_PORTS.union(ports)
        return sum(n for port, n in self.net.tls_connections.items() if port in sip)

    @property
    def packets(self) -> int:
        """Packets of any kind."""
        return sum(file.packets for file in self.files)

    @property
    def bytes(self) -> int:
        """Captured bytes of all packets."""
        return sum(file.bytes for file in self.files)

    @property
    def snapped(self) -> int:
        """Packets cut by a snap length."""
        return sum(file.snapped for file in self.files)

    @property
    def first_time(self) -> float | None:
        """Time of the earliest packet, SIP or not."""
        return min((f.first_time for f in self.files if f.first_time is not None), default=None)

    @property
    def last_time(self) -> float | None:
        """Time of the latest packet, SIP or not."""
        return max((f.last_time for f in self.files if f.last_time is not None), default=None)

    @property
    def damage(self) -> list[Damage]:
        """All that could not be read; when it is not empty the input was not read whole."""
        return self.unreadable + [damage for file in self.files for damage in file.damage]

    @property
    def sip_datagrams(self) -> int:
        """SIP messages handed on."""
        return self.net.sip_datagrams

    @property
    def udp_other(self) -> int:
        """UDP packets that are not SIP."""
        return self.net.udp_other

    @property
    def not_decoded(self) -> Counter[tuple[str, str]]:
        """What may hide SIP and could not be looked into, by layer and reason."""
        return self.net.not_decoded

    @property
    def malformed(self) -> Counter[tuple[str, str]]:
        """Packets that made no sense, by layer and reason."""
        return self.net.malformed

    @property
    def tls(self) -> Counter[int]:
        """Packets that begin with a TLS record, by the port of the server."""
        return self.net.tls
