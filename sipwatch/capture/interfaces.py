"""The host's network interfaces, asked of the kernel by rtnetlink (RFC 3549, rtnetlink(7)).

`Interfaces` belongs to the network namespace in which it was made and stays there. It answers
what an interface is now, and its `fileno` becomes readable when any interface came, went or
changed. No privilege is needed.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from sipwatch.capture.errors import LiveCaptureError

#: The name that stands for all interfaces at once.
ANY = "any"

# linux/if.h
_UP, _LOOPBACK, _RUNNING = 0x1, 0x8, 0x40

# linux/rtnetlink.h and linux/netlink.h
_NETLINK_ROUTE = 0
_GROUP_LINK = 1
_NEW_LINK, _GET_LINK = 16, 18
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_MESSAGE = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR_CODE = struct.Struct("=i")
_NAME, _MTU, _LINK_INFO, _STATISTICS = 3, 4, 18, 23
_INFO_KIND = 1
_ATTRIBUTE_TYPE = 0x3FFF

# struct rtnl_link_stats64: the first eight counters, and the receive errors that matter here.
_COUNTERS = struct.Struct("=17Q")
_RX_PACKETS, _RX_DROPPED, _RX_FIFO_ERRORS, _RX_MISSED_ERRORS = 0, 6, 14, 15

_RECEIVE_SIZE = 1 << 16


class LinkType(Enum):
    """How the packets of an interface begin."""

    ETHERNET = "Ethernet"
    #: No link header, or one of many that the kernel takes off: tun, PPP, tunnels.
    IP = "IP without link header"
    #: Wireless monitor and the like: nothing that could hold SIP in a form we read.
    OTHER = "not readable"


# linux/if_arp.h
_ETHERNET_TYPES = frozenset({1, 772})
_IP_TYPES = frozenset({512, 519, 530, 768, 769, 776, 778, 823, 65534})


class Link(NamedTuple):
    """One interface as it is now."""

    number: int
    name: str
    #: ARPHRD_* number.
    hardware: int
    flags: int
    mtu: int
    #: ``veth``, ``bridge``, ``vlan``, ``wireguard``...; empty for a plain device.
    kind: str
    #: Packets that the interface has received.
    received: int
    #: Packets that were lost before any capture could see them, in the device and the backlog.
    #: The kernel adds packets with two VLAN tags that the host itself has no use for.
    lost: int

    @property
    def is_up(self) -> bool:
        """Whether it was brought up."""
        return bool(self.flags & _UP)

    @property
    def is_running(self) -> bool:
        """Whether it has a carrier."""
        return bool(self.flags & _RUNNING)

    @property
    def is_loopback(self) -> bool:
        """Whether what it sends comes back on it."""
        return bool(self.flags & _LOOPBACK)

    @property
    def link_type(self) -> LinkType:
        """How its packets begin."""
        if self.hardware in _ETHERNET_TYPES:
            return LinkType.ETHERNET
        return LinkType.IP if self.hardware in _IP_TYPES else LinkType.OTHER


class Interfaces:
    """Asks for interfaces, and tells when they change.

    The questions raise ``OSError`` when the kernel does not answer them.
    """

    def __init__(self) -> None:
        """Raises `LiveCaptureError` where netlink is forbidden, as in some sandboxes."""
        try:
            self._requests = _netlink_socket(groups=0)
            self._changes = _netlink_socket(groups=_GROUP_LINK)
        except OSError as error:
            raise LiveCaptureError(
                f"cannot ask the kernel for network interfaces ({error.strerror}): allow "
                "AF_NETLINK (RestrictAddressFamilies= of a systemd unit, seccomp of a container)"
            ) from error
        self._requests.settimeout(1.0)
        self._changes.setblocking(False)
        self._sequence = 0

    def fileno(self) -> int:
        """Returns the descriptor that is readable when an interface has changed."""
        return self._changes.fileno()

    def have_changed(self) -> bool:
        """Returns whether an interface changed since the last call."""
        changed = False
        while True:
            try:
                self._changes.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return changed
            except OSError:
                # ENOBUFS: more changes than the socket could hold, of which we miss the details.
                changed = True
                continue
            changed = True

    def all(self) -> list[Link]:
        """Returns all interfaces, by index."""
        found = self._ask(_LINK.pack(0, 0, 0, 0, 0), _REQUEST | _DUMP)
        return sorted(found)

    def named(self, name: str) -> Link | None:
        """Returns the interface of that name, or ``None``."""
        encoded = name.encode() + b"\0"
        if len(encoded) > 16:  # IFNAMSIZ
            return None
        attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(encoded), _NAME) + encoded
        return self._one(_LINK.pack(0, 0, 0, 0, 0) + attribute)

    def numbered(self, index: int) -> Link | None:
        """Returns the interface of that index, or ``None``."""
        return self._one(_LINK.pack(0, 0, index, 0, 0)) if index > 0 else None

    def close(self) -> None:
        """Closes the sockets."""
        self._requests.close()
        self._changes.close()

    def _one(self, request: bytes) -> Link | None:
        found = self._ask(request, _REQUEST)
        return found[0] if found else None

    def _ask(self, body: bytes, flags: int) -> list[Link]:
        """Sends one request and collects its answer; an interface that is not there is none."""
        self._sequence += 1
        padded = body + b"\0" * (-len(body) % 4)
        head = _MESSAGE.pack(_MESSAGE.size + len(padded), _GET_LINK, flags, self._sequence, 0)
        self._requests.send(head + padded)
        links: list[Link] = []
        while True:
            for kind, sequence, answer in _messages(self._requests.recv(_RECEIVE_SIZE)):
                if sequence != self._sequence:
                    continue
                if kind == _NEW_LINK:
                    links.append(_link(answer))
                if kind == _ERROR:
                    _raise_unless_absent(answer)
                if kind in (_DONE, _ERROR) or not flags & _DUMP:
                    return links


def _raise_unless_absent(answer: bytes) -> None:
    """Raises what a netlink error says, except that there is no such device."""
    code = -int(_ERROR_CODE.unpack_from(answer)[0])
    if code not in (0, errno.ENODEV):
        raise OSError(code, os.strerror(code))


def _netlink_socket(groups: int) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    try:
        sock.bind((0, groups))
    except OSError:
        sock.close()
        raise
    return sock


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, sequence number and body of each message."""
    offset = 0
    while offset + _MESSAGE.size <= len(data):
        length, kind, _, sequence, _ = _MESSAGE.unpack_from(data, offset)
        if length < _MESSAGE.size:
            return
        yield kind, sequence, data[offset + _MESSAGE.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes, offset: int) -> dict[int, bytes]:
    found = {}
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _ATTRIBUTE_TYPE] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def _link(body: bytes) -> Link:
    _, hardware, index, flags, _ = _LINK.unpack_from(body)
    attributes = _attributes(body, _LINK.size)
    counters = _COUNTERS.unpack_from(attributes[_STATISTICS].ljust(_COUNTERS.size, b"\0"))
    kind = _attributes(attributes.get(_LINK_INFO, b""), 0).get(_INFO_KIND, b"")
    return Link(
        number=index,
        name=_text(attributes[_NAME]),
        hardware=hardware,
        flags=flags,
        mtu=int.from_bytes(attributes[_MTU], sys.byteorder),
        kind=_text(kind),
        received=counters[_RX_PACKETS],
        # Some drivers count one loss as both of these; the larger is not too much.
        lost=counters[_RX_DROPPED] + max(counters[_RX_FIFO_ERRORS], counters[_RX_MISSED_ERRORS]),
    )


def _text(value: bytes) -> str:
    return os.fsdecode(value.rstrip(b"\0"))
