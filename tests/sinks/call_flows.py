"""Calls written as scripts of messages, as capture files and as attempts."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from sipwatch.calls.types import Attempt, AttemptEnded, Call, CallEnded, DialogEnded, Endpoint
from sipwatch.config import Config
from sipwatch.net.types import Datagram
from sipwatch.pipeline import Pipeline

#: 2026-04-23 09:00:00 UTC.
START = 1_776_934_800.0

PHONE: Endpoint = (ip_address("10.9.0.50").packed, 5060)
PBX: Endpoint = (ip_address("10.9.0.1").packed, 5060)
AGENT: Endpoint = (ip_address("10.9.0.11").packed, 5060)


@dataclass
class Leg:
    """One INVITE dialog; each method adds a packet at a time relative to START."""

    call_id: str = "c1@10.9.0.50"
    caller: Endpoint = PHONE
    callee: Endpoint = PBX
    from_: str = '"Anna Berg" <sip:+49301110000@10.9.0.50>'
    to: str = "<sip:101@10.9.0.1>"
    uri: str = "sip:101@10.9.0.1"
    branch: str = "z9hG4bK-1"
    headers: str = "User-Agent: Snom 4.5\r\n"
    server: str = "Server: PBX 1\r\n"
    packets: list[Datagram] = field(default_factory=list)

    def request(self, at: float, method: str, extra: str = "", *, back: bool = False) -> Leg:
        """A request of the caller, or with `back` of the callee."""
        tag = "" if method in ("INVITE", "CANCEL") else ";tag=b"
        ends = (
            (f"{self.to}{tag}", f"{self.from_};tag=a")
            if back
            else (
                f"{self.from_};tag=a",
                f"{self.to}{tag}",
            )
        )
        cseq = 1 if method in ("INVITE", "CANCEL", "ACK") else 2
        branch = self.branch if method in ("INVITE", "CANCEL", "ACK") else f"{self.branch}-{method}"
        headers = self.headers if method == "INVITE" else ""
        head = f"{method} {self.uri} SIP/2.0\r\n" + self._head(branch, ends, cseq, method)
        return self._add(at, head + headers + extra, back=back)

    def reply(
        self, at: float, status: str, extra: str = "", *, method: str = "INVITE", back: bool = False
    ) -> Leg:
        """A response of the callee, or with `back` of the caller."""
        ends = (f"{self.from_};tag=a", f"{self.to}" + ("" if status[:3] == "100" else ";tag=b"))
        branch = self.branch if method in ("INVITE", "CANCEL") else f"{self.branch}-{method}"
        cseq = 1 if method in ("INVITE", "CANCEL") else 2
        head = f"SIP/2.0 {status}\r\n" + self._head(branch, ends, cseq, method)
        return self._add(at, head + self.server + extra, back=not back)

    def _head(self, branch: str, ends: tuple[str, str], cseq: int, method: str) -> str:
        return (
            f"Via: SIP/2.0/UDP 10.9.0.50;branch={branch}\r\nFrom: {ends[0]}\r\nTo: {ends[1]}\r\n"
            f"Call-ID: {self.call_id}\r\nCSeq: {cseq} {method}\r\n"
        )

    def _add(self, at: float, head: str, *, back: bool) -> Leg:
        payload = head.encode("utf-8", "surrogateescape") + b"Content-Length: 0\r\n\r\n"
        source, destination = (self.callee, self.caller) if back else (self.caller, self.callee)
        number = len(self.packets) + 1
        self.packets.append(
            Datagram(START + at, source, destination, "UDP", payload, "test.pcap", number)
        )
        return self


def busy(at: float = 0.0, **changes: str) -> Leg:
    """486 at once."""
    leg = Leg(**changes)  # type: ignore[arg-type]
    leg.request(at, "INVITE").reply(at + 0.01, "100 Trying")
    return leg.reply(at + 0.05, "486 Busy Here").request(at + 0.051, "ACK")


def answered(at: float = 0.0, talk: float = 30.0, **changes: str) -> Leg:
    """Rang for two seconds, answered, hung up by the caller."""
    leg = Leg(**changes)  # type: ignore[arg-type]
    leg.request(at, "INVITE").reply(at + 0.1, "180 Ringing").reply(at + 2.1, "200 OK")
    leg.request(at + 2.2, "ACK").request(at + 2.1 + talk, "BYE")
    return leg.reply(at + 2.15 + talk, "200 OK", method="BYE")


def abandoned(at: float = 0.0, after: float = 9.0, **changes: str) -> Leg:
    """Rang, and the caller cancelled `after` seconds later."""
    leg = Leg(**changes)  # type: ignore[arg-type]
    leg.request(at, "INVITE").reply(at + 0.25, "180 Ringing")
    leg.request(at + 0.25 + after, "CANCEL", 'Reason: SIP;cause=487;text="ORIGINATOR_CANCEL"\r\n')
    leg.reply(at + 0.26 + after, "200 OK", method="CANCEL")
    leg.reply(at + 0.27 + after, "487 Request Terminated")
    return leg.request(at + 0.28 + after, "ACK")


def silent(at: float = 0.0, **changes: str) -> Leg:
    """Nothing ever came back: INVITE and its six retransmissions."""
    leg = Leg(**changes)  # type: ignore[arg-type]
    for offset in (0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5):
        leg.request(at + offset, "INVITE")
    return leg


def in_order(legs: Iterable[Leg]) -> list[Datagram]:
    """All packets by time, numbered anew."""
    packets = sorted((packet for leg in legs for packet in leg.packets), key=lambda one: one.time)
    return [packet._replace(number=number) for number, packet in enumerate(packets, 1)]


def run(legs: Sequence[Leg], config: Config | None = None) -> tuple[list[Attempt], list[Call]]:
    """The finished attempts and calls, judged, in the order in which they ended."""
    pipeline = Pipeline(config or Config())
    packets = in_order(legs)
    events = pipeline.feed(packets) + pipeline.finish(packets[-1].time + 600, "end_of_capture")
    attempts = [
        event.attempt
        for event in events
        if isinstance(event, DialogEnded)
        or (isinstance(event, AttemptEnded) and event.attempt.answered_at is None)
    ]
    return attempts, [event.call for event in events if isinstance(event, CallEnded)]


def attempt_of(leg: Leg, config: Config | None = None) -> Attempt:
    """The one attempt of a leg."""
    attempts, _ = run([leg], config)
    assert len(attempts) == 1
    return attempts[0]


def pcap(legs: Iterable[Leg]) -> bytes:
    """A capture file: microseconds, Ethernet, IPv4, UDP."""
    found = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)]
    for packet in in_order(legs):
        frame = _frame(packet)
        seconds, fraction = divmod(round(packet.time * 1e6), 1_000_000)
        found.append(struct.pack("<IIII", seconds, fraction, len(frame), len(frame)) + frame)
    return b"".join(found)


def _frame(packet: Datagram) -> bytes:
    udp = struct.pack("!HHHH", packet.source[1], packet.destination[1], 8 + len(packet.payload), 0)
    ip = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        28 + len(packet.payload),
        packet.number & 0xFFFF,
        0,
        64,
        17,
        0,
        packet.source[0],
        packet.destination[0],
    )
    return b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + udp + packet.payload
