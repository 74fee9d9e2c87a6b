"""Offloads of a network interface, asked by SIOCETHTOOL (linux/ethtool.h).

The kernel names its features itself, so that those are reported too which are newer than this
program. No privilege is needed and no other program.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from contextlib import suppress

_SIOCETHTOOL = 0x8946
_GET_DRIVER, _GET_STRINGS, _GET_STRING_COUNT, _GET_FEATURES = 0x03, 0x1B, 0x37, 0x3A
_FEATURE_NAMES = 4
_NAME_BYTES = 32
_DRIVER_BYTES = 196


class Ethtool:
    """Asks about the interfaces of the network namespace in which it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def active_features(self, name: str) -> frozenset[str]:
        """Returns the features that are on, by the kernel's names (``rx-gro``, ``rx-lro``...).

        Raises ``OSError`` for an interface that does not exist or does not answer.
        """
        names = self._feature_names(name)
        blocks = (len(names) + 31) // 32
        # Of each block of 32 features: available, requested, active, never changed.
        answer = self._ask(name, struct.pack("=II", _GET_FEATURES, blocks), 8 + 16 * blocks)
        active = [
            struct.unpack_from("=I", answer, 8 + 16 * block + 8)[0] for block in range(blocks)
        ]
        return frozenset(
            feature for bit, feature in enumerate(names) if active[bit // 32] >> (bit % 32) & 1
        )

    def driver(self, name: str) -> str:
        """Returns the name of the driver, empty when it does not say."""
        answer = b""
        with suppress(OSError):
            answer = self._ask(name, struct.pack("=I", _GET_DRIVER), _DRIVER_BYTES)
        return answer[4:36].split(b"\0")[0].decode("ascii", "replace")

    def close(self) -> None:
        """Closes the socket that the questions are asked on."""
        self._socket.close()

    def _feature_names(self, name: str) -> list[str]:
        """All features that the kernel knows, in the order of their bits."""
        request = struct.pack("=IIQ", _GET_STRING_COUNT, 0, 1 << _FEATURE_NAMES)
        count = struct.unpack_from("=I", self._ask(name, request, 20), 16)[0]
        request = struct.pack("=III", _GET_STRINGS, _FEATURE_NAMES, count)
        answer = self._ask(name, request, 12 + count * _NAME_BYTES)
        return [
            answer[start : start + _NAME_BYTES].split(b"\0")[0].decode("ascii", "replace")
            for start in range(12, 12 + count * _NAME_BYTES, _NAME_BYTES)
        ]

    def _ask(self, name: str, request: bytes, size: int) -> bytes:
        buffer = ctypes.create_string_buffer(request, size)
        # struct ifreq: the name and a pointer, in 40 bytes.
        ifreq = struct.pack("16sP16x", name.encode()[:15], ctypes.addressof(buffer))
        fcntl.ioctl(self._socket.fileno(), _SIOCETHTOOL, ifreq)
        return buffer.raw
