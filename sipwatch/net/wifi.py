"""Wireless frames, which scapy takes apart: rare where telephones are, and of many kinds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from sipwatch.net.packet import Malformed

_IPV4, _IPV6, _NOT_IP = 0x0800, 0x86DD, 0

#: Bit of the frame control field (IEEE 802.11-2020 section 9.2.4.1).
_PROTECTED = 0x40


def link(linktype: int) -> Callable[[bytes], tuple[int, int]]:
    """A function that finds the IP header in frames of a link type of 802.11.

    Management frames hold none. An encrypted frame raises
    :class:`~sipwatch.net.packet.Malformed`, which is how it comes to be counted.
    """

    def find(frame: bytes) -> tuple[int, int]:
        layers = _layers()
        packet = layers.parse(linktype, frame)
        for ethertype, layer in ((_IPV4, layers.ipv4), (_IPV6, layers.ipv6)):
            if layer in packet:
                start = frame.find(packet[layer].original)
                if start >= 0:
                    return ethertype, start
        # Not by its name: beacons of low-power networks name their flags in another way.
        if layers.wifi in packet and int(packet[layers.wifi].FCfield) & _PROTECTED:
            raise Malformed("encrypted 802.11 frame")
        return _NOT_IP, 0

    return find


class _Layers:
    """The classes of scapy that are needed; importing them takes a good part of a second."""

    def __init__(self) -> None:
        from scapy.config import conf
        from scapy.layers import dot11, inet, inet6, ppi  # noqa: F401

        self._classes = conf.l2types.num2layer
        self.wifi = dot11.Dot11
        self.ipv4 = inet.IP
        self.ipv6 = inet6.IPv6

    def parse(self, linktype: int, frame: bytes) -> Any:
        """The frame as scapy sees it; whatever it raises becomes a malformed packet."""
        try:
            return self._classes[linktype](frame)
        except Exception as error:
            raise Malformed("802.11 frame") from error


@cache
def _layers() -> _Layers:
    return _Layers()
