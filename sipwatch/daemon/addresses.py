"""The host's own IP addresses, asked of the kernel by rtnetlink (RTM_GETADDR, rtnetlink(7))."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_address

# linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
_NETLINK_ROUTE = 0
_NEW_ADDRESS, _GET_ADDRESS = 20, 22
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x1 | 0x300
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RECEIVE_BYTES = 1 << 16


def host_addresses() -> frozenset[bytes]:
    """All addresses of all interfaces but loopback's, as raw bytes.

    On loopback both ends are the host: its address says nothing about who calls whom. None where
    the kernel does not tell.
    """
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
        ) as sock:
            sock.settimeout(1.0)
            sock.bind((0, 0))
            body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            header = _HEADER.pack(
                _HEADER.size + len(body), _GET_ADDRESS, _REQUEST_DUMP, 1, os.getpid()
            )
            sock.send(header + body)
            return frozenset(_answers(sock))
    except OSError:
        return frozenset()


def _answers(sock: socket.socket) -> set[bytes]:
    found: set[bytes] = set()
    while True:
        data = sock.recv(_RECEIVE_BYTES)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            if kind in (_DONE, _ERROR) or length < _HEADER.size:
                return found
            if kind == _NEW_ADDRESS:
                address = _address(data[offset + _HEADER.size + _ADDRESS.size : offset + length])
                if len(address) in (4, 16) and not ip_address(address).is_loopback:
                    found.add(address)
            offset += (length + 3) & ~3


def _address(attributes: bytes) -> bytes:
    """The local address; on a point-to-point link the other attribute is the peer's."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = attributes[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS, b""))
