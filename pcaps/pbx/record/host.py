"""An address and port on which a phone or carrier lives, and its line to the PBX."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from legs import Answering, Calling, Fields, Leg
from message import Message, digest, offer, parse, tag_of, token, uri_of, user_of

if TYPE_CHECKING:
    from party import World

MEDIA_PORT = 20000
REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    415: "Unsupported Media Type",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
}


class Line:
    """A way to the PBX that is slow or loses datagrams; order is kept."""

    def __init__(self, rng: random.Random, delay: float, jitter: float, loss: float):
        self.rng, self.delay, self.jitter, self.loss = rng, delay, jitter, loss
        self.loop = asyncio.get_running_loop()
        self.last = 0.0

    def carry(self, action: Callable[[], None]) -> None:
        if self.rng.random() < self.loss:
            return
        arrival = self.loop.time() + self.delay + self.rng.uniform(0, self.jitter)
        self.last = max(self.last, arrival)
        self.loop.call_at(self.last, action)


class Host(asyncio.DatagramProtocol):
    """An address and port on which a phone or carrier lives."""

    def __init__(self, world: World, plan: Fields):
        self.world, self.plan = world, plan
        self.address, self.port = plan["address"], plan.get("port", 5060)
        self.user = plan["user"]
        self.agent = plan.get("agent", "SoftPhone/1.0")
        self.pbx = (plan.get("pbx", world.pbx), plan.get("pbx_port", 5060))
        self.rng = random.Random(f"{world.seed}{self.user}{self.address}{self.port}")
        self.legs: dict[str, Leg] = {}
        self.missed: set[str] = set()
        self.count = 0
        self.transport: asyncio.DatagramTransport | None = None
        self.silent = False
        self.register_cseq = 0
        self.there = self.back = None
        if "line" in world.plan:
            self.there = Line(random.Random(self.rng.random()), **world.plan["line"])
            self.back = Line(random.Random(self.rng.random()), **world.plan["line"])

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        local = (self.address, self.port)
        await loop.create_datagram_endpoint(lambda: self, local_addr=local)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def error_received(self, exc: Exception) -> None:
        """An ICMP error; the log of the other side tells what it meant."""

    # What is said of oneself

    def via(self, branch: str = "") -> str:
        branch = branch or f"z9hG4bK{token(self.rng, 14)}"
        return f"SIP/2.0/UDP {self.address}:{self.port};branch={branch};rport"

    def contact(self) -> str:
        return f"<sip:{self.user}@{self.address}:{self.port}>"

    def media(self) -> str:
        return offer(self.address, MEDIA_PORT, self.rng.randrange(10**6, 10**9))

    # Traffic

    def send(self, message: Message, to: tuple[str, int]) -> None:
        data = message.bytes()
        if self.there:
            self.there.carry(lambda: self.put(data, to))
        else:
            self.put(data, to)

    def put(self, data: bytes, to: tuple[str, int]) -> None:
        if self.transport and not self.transport.is_closing():
            self.transport.sendto(data, to)

    def reply(
        self,
        request: Message,
        code: int,
        tag: str = "",
        more: list[tuple[str, str]] | None = None,
        body: str = "",
        to: tuple[str, int] | None = None,
    ) -> Message:
        """Answers a request; `tag` goes to To where it has none."""
        target = request.get("To")
        if tag and not tag_of(target):
            target += f";tag={tag_of(tag) or tag}"
        headers = [("Via", via) for via in request.all("Via")]
        headers += [("Record-Route", route) for route in request.all("Record-Route")]
        headers += [
            ("From", request.get("From")),
            ("To", target),
            ("Call-ID", request.get("Call-ID")),
            ("CSeq", request.get("CSeq")),
            *(more or []),
            ("User-Agent", self.agent),
        ]
        if body:
            headers.append(("Contact", self.contact()))
            headers.append(("Content-Type", "application/sdp"))
        message = Message(f"SIP/2.0 {code} {REASONS[code]}", _once(headers, "Contact"), body)
        self.send(message, to or self._came_from)
        return message

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = parse(data)
        if message is None:
            return
        if self.back:
            self.back.carry(lambda: self.receive(message, addr))
        else:
            self.receive(message, addr)

    def receive(self, message: Message, addr: tuple[str, int]) -> None:
        if self.silent:
            self.miss(message, addr)
            return
        self._came_from = addr
        leg = self.legs.get(message.get("Call-ID"))
        if leg:
            if isinstance(leg, Answering) and self._new_try(leg, message):
                self.answer(message, addr)
            else:
                leg.receive(message)
        elif message.status:
            self.registered(message)
        elif message.method == "INVITE":
            self.answer(message, addr)
        elif message.method in ("OPTIONS", "NOTIFY", "SUBSCRIBE", "MESSAGE"):
            if not self.plan.get("deaf_to_options"):
                self.reply(message, 200, token(self.rng))
        elif message.method != "ACK":
            self.reply(message, 481, token(self.rng))

    @staticmethod
    def _new_try(leg: Answering, message: Message) -> bool:
        new = message.method == "INVITE" and not tag_of(message.get("To"))
        return new and message.branch != leg.invite.branch

    def miss(self, message: Message, peer: tuple[str, int]) -> None:
        """An INVITE that comes after the phone's death is only noted."""
        new = not message.status and message.method == "INVITE" and not tag_of(message.get("To"))
        if new and message.get("Call-ID") not in self.missed:
            self.missed.add(message.get("Call-ID"))
            self.note(message, peer, {"kind": "silent", "says": "dead before the call came"})

    def note(self, invite: Message, peer: tuple[str, int], behaviour: Fields) -> Fields:
        """The log's entry for an INVITE received."""
        entry = self.world.entry("called", self, behaviour)
        entry |= {
            "call_id": invite.get("Call-ID"),
            "uri": invite.uri,
            "peer": f"{peer[0]}:{peer[1]}",
            "from": uri_of(invite.get("From")),
            "invite": time.time(),
        }
        return entry

    def answer(self, invite: Message, peer: tuple[str, int]) -> None:
        behaviour = self.world.behaviour(self, user_of(invite.uri))
        entry = self.note(invite, peer, behaviour)
        leg = Answering(self, invite, peer, behaviour, entry)
        self.legs[leg.call_id] = leg
        leg.play()

    def call(self, plan: Fields) -> Calling:
        entry = self.world.entry("calling", self, plan)
        made = f"{token(self.rng, 24)}@{self.address}"
        entry |= {"call_id": plan.get("call_id", made), "plan": plan["id"], "to": plan["to"]}
        leg = Calling(self, plan, entry)
        self.legs[leg.call_id] = leg
        leg.start()
        return leg

    # Registration

    def register(self, expires: int, again: bool = True) -> None:
        self.register_cseq += 1
        self.expires = expires
        self._register([])
        if again and expires:
            loop = asyncio.get_running_loop()
            loop.call_later(expires * 0.6, lambda: self.silent or self.register(expires))

    def _register(self, authorization: list[tuple[str, str]]) -> None:
        aor = f"<sip:{self.user}@{self.pbx[0]}>"
        headers = [
            ("Via", self.via()),
            ("Max-Forwards", "70"),
            ("From", f"{aor};tag={token(self.rng)}"),
            ("To", aor),
            ("Call-ID", f"register-{self.user}-{self.port}@{self.address}"),
            ("CSeq", f"{self.register_cseq} REGISTER"),
            ("Contact", self.contact()),
            ("Expires", str(self.expires)),
            *authorization,
            ("User-Agent", self.agent),
        ]
        self.send(Message(f"REGISTER sip:{self.pbx[0]} SIP/2.0", headers), self.pbx)

    def registered(self, message: Message) -> None:
        if message.method == "REGISTER" and message.status == 401:
            uri = f"sip:{self.pbx[0]}"
            value = digest(
                message.get("WWW-Authenticate"), "REGISTER", uri, self.user, self.plan["password"]
            )
            self.register_cseq += 1
            self._register([("Authorization", value)])


def _once(headers: list[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    found = [index for index, (key, _) in enumerate(headers) if key == name]
    return [header for index, header in enumerate(headers) if index not in found[1:]]
