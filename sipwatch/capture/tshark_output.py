"""What tshark prints of a packet, as datagrams.

tshark prints one JSON object for each packet that holds SIP or an ICMP error (``-T ek -x``), with
the bytes of each layer in hexadecimal. Messages are taken from the bytes of the SIP layer,
addresses and ports from those of the headers below it, so nothing depends on how tshark words
things. SIP that an ICMP error quotes is no message; the error becomes the same report as ours.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

from sipwatch.net import icmp, recognise
from sipwatch.net.packet import Malformed, Packet
from sipwatch.net.types import Batch, Datagram

#: Packets that are of use, in the language of tshark's display filters; a ClientHello tells of a
#: connection that may not be readable.
FILTER = "sip || icmp.type == 3 || icmpv6.type == 1 || tls.handshake.type == 1"

#: What `parse_packet` raises for a line that is not as it should be.
BAD_LINE = (ValueError, KeyError, IndexError, struct.error)

_NETWORKS = {"ip": 4, "ipv6": 6}
_TRANSPORTS = {"udp": "UDP", "tcp": "TCP", "sctp": "SCTP"}


def parse_packet(line: bytes, interface: str) -> Batch:
    """What one line of ``tshark -T ek -x`` holds; empty for lines that are no packet.

    Raises one of `BAD_LINE` for a line that is not as it should be.
    """
    if not line.startswith(b'{"timestamp"'):
        return []
    layers: dict[str, Any] = json.loads(line)["layers"]
    frame = layers["frame"]
    number = int(frame["frame_frame_number"])
    when = float(frame["frame_frame_time_epoch"])
    protocols: list[str] = frame["frame_frame_protocols"].split(":")
    for name, version in (("icmp", 4), ("icmpv6", 6)):
        if name in protocols:
            return _report(layers, name, version, Packet(when, b"", interface, number))
    if "sip" not in protocols:
        return []
    below = protocols[: protocols.index("sip")]
    network = [name for name in below if name in _NETWORKS][-1]
    carrier = [name for name in below if name in _TRANSPORTS][-1]
    header = raw_layers(layers, network)[-1]
    ports = raw_layers(layers, carrier)[-1]
    source, destination = addresses(header, network)
    source_port, destination_port = struct.unpack_from("!HH", ports)
    is_udp = carrier == "udp"
    has_ident = network == "ip" and carrier != "tcp"
    found: Batch = []
    for payload in raw_layers(layers, "sip"):
        start = recognise.start_of(payload)
        if start < 0:
            continue
        found.append(
            Datagram(
                when,
                (source, source_port),
                (destination, destination_port),
                _transport(carrier, below),
                payload[start:],
                interface,
                number,
                struct.unpack_from("!H", header, 4)[0] if has_ident else -1,
                struct.unpack_from("!I", ports, 4)[0] if is_udp else -1,
            )
        )
    return found


def raw_layers(layers: dict[str, Any], name: str) -> list[bytes]:
    """The bytes of all layers of a name, the outermost first."""
    found = layers[name + "_raw"]
    return [bytes.fromhex(one) for one in ([found] if isinstance(found, str) else found)]


def addresses(header: bytes, network: str) -> tuple[bytes, bytes]:
    """Source and destination of a header of ``ip`` or ``ipv6``, as raw bytes."""
    if network == "ip":
        return header[12:16], header[16:20]
    return header[8:24], header[24:40]


def _transport(carrier: str, below: Sequence[str]) -> str:
    """The name of the transport by the layers between IP and SIP."""
    is_secure = "tls" in below or "dtls" in below
    if "websocket" in below:
        return "WSS" if is_secure else "WS"
    return "TLS" if is_secure else _TRANSPORTS[carrier]


def _report(layers: dict[str, Any], name: str, version: int, packet: Packet) -> Batch:
    """An ICMP error: what it quotes is found as in our own decoder."""
    packet.data = raw_layers(layers, name)[0]
    network = "ip" if version == 4 else "ipv6"
    packet.source, packet.destination = addresses(raw_layers(layers, network)[-1], network)
    try:
        report = icmp.unreachable(packet, 0, len(packet.data), version=version)
    except (Malformed, struct.error, IndexError):
        return []
    return [] if report is None else [report]
