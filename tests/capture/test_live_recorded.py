"""Recorded captures, sent over a cable and captured live: the same datagrams as from the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_frames import collect
from network_namespace import Namespace
from scapy.utils import RawPcapReader
from test_live import capturing

from sipwatch.capture.filters import TUNNELS
from sipwatch.capture.ring import Geometry
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.linktypes import ETHERNET
from sipwatch.net.types import Batch

_CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
_ETHERNET_CAPTURES = [
    "MTAA-SIP-PROXY-call.pcap",
    "MTAA-SIP-PROXY-video_call.pcapng",
    "digital-forensics-network-forensics-challenge-SIP.pcap",
    "heplify-erspan_sip_ipv4_udp.pcapng",
    "heplify-sip_ipv4_tcp.pcap",
    "heplify-sip_ipv4_tcp_fragmented.pcap",
    "heplify-sip_tcp_websocket.pcap",
    "ipfixprobe-sip.pcap",
    "jnetpcap-legacy-tc_TC_IDPRE_EXT0140.pcap",
    "pl7m-sip.pcap",
    "pl7m-sip.pcap.fuzzed.pcap",
]
#: Every port: what SIP is, the decoder tells.
_PORTS = [(1, 65535)]
_LONGEST = 65_000


def frames_of(path: Path) -> list[bytes]:
    with RawPcapReader(str(path)) as reader:
        frames = []
        for data, meta in reader:
            linktype = getattr(meta, "linktype", None) or reader.linktype
            assert linktype == ETHERNET
            if 14 < len(data) < _LONGEST:
                frames.append(data)
    return frames


def told(batch: Batch) -> list[tuple]:
    """All of it but when, where and under which number it was seen."""
    left_out = {"time", "interface", "number"}
    return [
        (type(item), *(value for key, value in item._asdict().items() if key not in left_out))
        for item in batch
    ]


@pytest.mark.parametrize("name", _ETHERNET_CAPTURES)
@pytest.mark.parametrize("interface", ["two", "any"])
def test_live_is_as_recorded(cable: Namespace, other: Namespace, name: str, interface: str) -> None:
    path = _CAPTURES / name
    if not path.exists():
        pytest.fail(f"the recorded captures are not at {_CAPTURES}")
    frames = frames_of(path)
    # The end that sends is elsewhere, or "any" would hear every packet twice.
    cable.move("one", other)
    cable.ip("link", "set", "two", "mtu", "65535")
    other.ip("link", "set", "one", "mtu", "65535")
    offline = FrameDecoder()
    expected: Batch = []
    for number, frame in enumerate(frames, 1):
        expected += offline.decode(1000.0 + number * 1e-5, frame, ETHERNET, "two", number)
    expected += offline.finish()
    assert expected
    geometry = Geometry(block_count=16)
    with (
        capturing(
            cable, interface, ports=_PORTS, tunnels=list(TUNNELS), geometry=geometry
        ) as capture,
        other.sender("one") as sender,
    ):
        found: Batch = []
        for number, frame in enumerate(frames):
            sender.send(frame)
            if number % 200 == 0:
                found += capture.poll(0)
        while batch := collect(capture, 1, 0.3):
            found += batch
        found += capture.decoder.finish()
        capture.refresh()
        assert capture.stats().interfaces[0].kernel_drops == 0
    assert {item.interface for item in found} == {"two"}
    assert told(found) == told(expected)
