"""What passes beside the calls: OPTIONS pings, registrations, and RTP."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from random import Random

from traffic.frames import Endpoint
from traffic.leg import PHRASES, Party, Step
from traffic.sites import Site
from traffic.styles import CRLF, PHONE

_RTP = struct.Struct("!BBHII")
_PCMA = 8
#: 20 ms of G.711.
_SAMPLES = 160


class Pings:
    """OPTIONS of the PBXs to their phones and carriers, each answered with a 200."""

    PACKETS = 2

    def __init__(self, sites: list[Site], rng: Random) -> None:
        self._rng = rng
        self._pairs = [
            (site.pbx, phone)
            for phones in zip(*(site.phones for site in sites), strict=True)
            for site, phone in zip(sites, phones, strict=True)
        ] + [pair for s in sites for pair in ((s.pbx, s.trunk), (s.trunk, s.pbx))]

    def exchange(self, number: int) -> list[Step]:
        sender, receiver = self._pairs[number % len(self._pairs)]
        rng, ip = self._rng, sender.endpoint.ip
        fields = {
            "method": "OPTIONS",
            "uri": receiver.contact(),
            "via": _via(sender, rng),
            "sender": f"<sip:{sender.style.contact_user}@{ip}>;tag={sender.style.tag(rng)}",
            "receiver": f"<{receiver.contact()}>",
            "call_id": sender.style.call_id(rng, ip),
            "sequence": rng.randrange(1, 32000),
            "contact": f"Contact: <{sender.contact()}>{CRLF}",
        }
        reply = fields | {"receiver": f"{fields['receiver']};tag={receiver.style.tag(rng)}"}
        return [
            _request(0, sender, receiver, fields),
            _response(rng.uniform(0.002, 0.03), receiver, sender, 200, reply),
        ]


class Registrations:
    """Phones register with their PBX and prove who they are: REGISTER, 401, REGISTER, 200."""

    PACKETS = 4

    def __init__(self, sites: list[Site], rng: Random) -> None:
        self._rng = rng
        self._phones = [
            (site.pbx, phone, PHONE.call_id(rng, phone.endpoint.ip), PHONE.tag(rng))
            for site in sites
            for phone in site.phones
        ]

    def exchange(self, number: int) -> list[Step]:
        round_, place = divmod(number, len(self._phones))
        pbx, phone, call_id, tag = self._phones[place]
        rng, registrar = self._rng, pbx.endpoint.ip
        nonce = f"{rng.getrandbits(64):016x}"
        known = {
            "method": "REGISTER",
            "uri": f"sip:{registrar}:{pbx.endpoint.port}",
            "sender": f"<sip:{phone.user}@{registrar}>;tag={tag}",
            "receiver": f"<sip:{phone.user}@{registrar}>",
            "call_id": call_id,
        }
        contact = f"<{phone.contact()};transport=UDP>"
        asks = f'WWW-Authenticate: Digest realm="{registrar}", nonce="{nonce}", algorithm=MD5{CRLF}'
        proof = (
            f'Authorization: Digest username="{phone.user}", realm="{registrar}", '
            f'nonce="{nonce}", uri="sip:{registrar}", response="{rng.getrandbits(128):032x}", '
            f"algorithm=MD5{CRLF}"
        )
        wish = f"Contact: {contact}{CRLF}"
        granted = f"Contact: {contact};expires=120{CRLF}Date: Thu, 01 Jan 2026 08:00:00 GMT{CRLF}"
        steps = []
        for place, (status, said, answer) in enumerate(((401, "", asks), (200, proof, granted))):
            begun = 0.02 * place
            fields = known | {"via": _via(phone, rng), "sequence": 2 * round_ + place + 1}
            request = fields | {"contact": wish, "extra": f"{said}Expires: 120{CRLF}"}
            response = fields | {
                "receiver": f"{known['receiver']};tag={pbx.style.tag(rng)}",
                "extra": answer,
            }
            steps.append(_request(begun, phone, pbx, request))
            steps.append(_response(begun + rng.uniform(0.001, 0.004), pbx, phone, status, response))
        return steps


class Stream:
    """One direction of an RTP session."""

    def __init__(self, source: Endpoint, destination: Endpoint, rng: Random) -> None:
        self.source, self.destination = source, destination
        self._ssrc = rng.getrandbits(32)
        self._sequence = rng.getrandbits(16)
        self._samples = rng.getrandbits(31)
        self._sounds = [rng.randbytes(_SAMPLES) for _ in range(2)]

    def packet(self) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._samples = (self._samples + _SAMPLES) & 0xFFFFFFFF
        header = _RTP.pack(0x80, _PCMA, self._sequence, self._samples, self._ssrc)
        return header + self._sounds[self._sequence & 1]


class Streams:
    """The RTP streams that flow at a time; the next packet is of each in turn."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._flowing: dict[tuple[Endpoint, Endpoint], tuple[Stream, Stream]] = {}
        self._turn: Iterator[Stream] = iter(())
        # Two media servers whose session began before the capture: never nothing.
        self.start((Endpoint("10.9.0.1", 9000), Endpoint("10.12.0.1", 9000)))

    def start(self, ends: tuple[Endpoint, Endpoint]) -> None:
        forth, back = Stream(*ends, self._rng), Stream(*ends[::-1], self._rng)
        self._flowing[ends] = forth, back

    def stop(self, ends: tuple[Endpoint, Endpoint]) -> None:
        del self._flowing[ends]

    def next(self) -> Stream:
        for stream in self._turn:
            return stream
        self._turn = iter([stream for pair in self._flowing.values() for stream in pair])
        return next(self._turn)


_NOTHING = {
    "record_route": "",
    "route": "",
    "extra": "",
    "contact": "",
    "content_type": "",
    "length": 0,
    "body": "",
}


def _via(sender: Party, rng: Random) -> str:
    ip, port = sender.endpoint
    return f"Via: SIP/2.0/UDP {ip}:{port};rport;branch={sender.style.branch(rng)}{CRLF}"


def _request(at: float, sender: Party, receiver: Party, fields: dict[str, object]) -> Step:
    style = sender.style
    known = _NOTHING | {"agent": sender.agent, "features": style.features} | fields
    text = partial(style.request.__mod__, known)
    method = str(fields["method"])
    return Step(at, method, False, sender.endpoint, receiver.endpoint, text)


def _response(
    at: float, sender: Party, receiver: Party, status: int, fields: dict[str, object]
) -> Step:
    style = sender.style
    known = _NOTHING | {"agent": sender.agent, "features": style.features} | fields
    known |= {"status": f"{status} {PHRASES[status]}", "contact": ""}
    text = partial(style.response.__mod__, known)
    return Step(at, str(status), False, sender.endpoint, receiver.endpoint, text)
