"""Phones, carriers and callers of the recordings: they play what the plan says and log it.

    party.py PLAN LOG

The plan (JSON) names the hosts (addresses on which phones and carriers wait, each with the
behaviours it plays for one INVITE after the other, or by the number called) and the calls that
are made from them. The log (JSON) holds one entry for each INVITE received or sent, with the
behaviour and the moments at which something happened, in epoch seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from message import Message, digest, offer, parse, tag_of, token, uri_of, user_of

T1, T2, LIMIT = 0.5, 4.0, 32.0  # RFC 3261, table 4
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
Fields = dict[str, Any]


class Repeat:
    """Sends again until told to stop: at T1, doubling to `cap`, for 64 times T1."""

    def __init__(
        self, send: Callable[[], None], cap: float = T2, expired: Callable[[], None] | None = None
    ):
        self.loop = asyncio.get_running_loop()
        self.send, self.cap, self.expired = send, cap, expired
        self.interval, self.passed, self.count = T1, 0.0, 0
        send()
        self.timer = self.loop.call_later(self.interval, self._again)

    def _again(self) -> None:
        self.passed += self.interval
        if self.passed >= LIMIT:
            if self.expired:
                self.expired()
            return
        self.send()
        self.count += 1
        self.interval = min(self.interval * 2, self.cap, LIMIT - self.passed)
        self.timer = self.loop.call_later(self.interval, self._again)

    def stop(self) -> None:
        self.timer.cancel()


class Leg:
    """One INVITE received or sent, and the dialog it makes."""

    def __init__(self, host: Host, behaviour: Fields, entry: Fields):
        self.host, self.behaviour, self.entry = host, behaviour, entry
        self.loop = asyncio.get_running_loop()
        self.timers: list[asyncio.TimerHandle] = []
        self.repeat: Repeat | None = None
        self.local = self.remote = self.target = self.call_id = ""
        self.cseq = 1
        self.routes: list[str] = []
        self.peer = host.pbx
        self.state = "proceeding"
        self.byes: Repeat | None = None
        self.reinvite: Repeat | None = None

    def note(self, what: str, value: Any = None) -> None:
        """Notes a moment, the first of its kind."""
        self.entry.setdefault(what, time.time() if value is None else value)

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.timers.append(self.loop.call_later(delay, action))

    def silence(self) -> None:
        """No timer of this leg runs any more."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        if self.repeat:
            self.repeat.stop()
            self.repeat = None

    def request(self, method: str, more: list[tuple[str, str]], body: str = "") -> Message:
        """A request inside the dialog."""
        if method != "ACK":
            self.cseq += 1
        headers = [
            ("Via", self.host.via()),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} {method}"),
            ("Contact", self.host.contact()),
        ]
        headers += [("Route", route) for route in self.routes]
        headers += [*more, ("User-Agent", self.host.agent)]
        return Message(f"{method} {self.target} SIP/2.0", headers, body)

    def hang_up(self) -> None:
        if self.state != "talking":
            return
        self.state = "over"
        self.note("bye")
        self.note("bye_by", "self")
        message = self.request("BYE", [])
        self.byes = Repeat(lambda: self.host.send(message, self.peer))

    def hold(self) -> None:
        """A re-INVITE, as a phone sends it that puts the call on hold."""
        if self.state == "talking":
            self.note("hold")
            body = self.host.media().replace("sendrecv", "sendonly")
            message = self.request("INVITE", [("Content-Type", "application/sdp")], body)
            self.reinvite = Repeat(lambda: self.host.send(message, self.peer), cap=LIMIT)

    def heed(self, response: Message) -> None:
        """A response to a request inside the dialog."""
        if response.method == "BYE" and self.byes:
            self.byes.stop()
        if response.method == "INVITE" and response.status >= 200:
            if self.reinvite:
                self.reinvite.stop()
            acknowledgement = self.request("ACK", [])
            self.host.send(acknowledgement, self.peer)

    def refer(self, to: str) -> None:
        """Blind transfer, or the last step of an attended one."""
        if self.state != "talking":
            return
        self.note("refer")
        self.note("refer_to", to)
        more = [("Refer-To", f"<{to}>"), ("Referred-By", f"<{uri_of(self.local)}>")]
        message = self.request("REFER", more)
        self.host.send(message, self.peer)

    def in_dialog(self, message: Message) -> None:
        """A request of the other side inside the dialog."""
        if message.method == "BYE":
            self.silence()
            self.state = "over"
            self.note("bye")
            self.note("bye_by", "peer")
            self.note("bye_reason", "; ".join(message.all("Reason")))
        elif message.method == "INVITE":
            self.note("reinvite")
            self.host.reply(message, 200, self.local, body=self.host.media())
            return
        self.host.reply(message, 200, tag_of(self.local))


class Answering(Leg):
    """A phone or carrier that got an INVITE."""

    def __init__(
        self, host: Host, invite: Message, peer: tuple[str, int], behaviour: Fields, entry: Fields
    ):
        super().__init__(host, behaviour, entry)
        self.invite, self.peer = invite, peer
        self.tag = token(host.rng)
        self.call_id = invite.get("Call-ID")
        self.local = f"{invite.get('To')};tag={self.tag}"
        self.remote = invite.get("From")
        self.target = uri_of(invite.get("Contact"))
        self.routes = invite.all("Record-Route")
        self.last: Message | None = None
        self.dead = False

    def play(self) -> None:
        b = self.behaviour
        if b.get("silent"):
            self.dead = True
            return
        if b.get("challenge") and not self.invite.get("Proxy-Authorization"):
            more = [("Proxy-Authenticate", 'Digest realm="carrier", nonce="5f3c9a", algorithm=MD5')]
            self.final(407, more)
            return
        if b.get("trying", True):
            self.provisional(100)
        if "ring" in b:
            self.after(b["ring"], lambda: self.provisional(180))
        if "early" in b:
            self.after(b["early"], lambda: self.provisional(183, media=True))
        if "dead_after" in b:
            self.after(b["dead_after"], self.die)
        if "answer" in b:
            self.after(b["answer"], self.answer)
        if "reject" in b:
            code, delay = b["reject"]
            more = [("Reason", b["reason"])] if "reason" in b else []
            self.after(delay, lambda: self.final(code, more))
        if "redirect" in b:
            to, delay = b["redirect"]
            contact = [("Contact", f"<sip:{to}@{self.peer[0]}>")]
            self.after(delay, lambda: self.final(302, contact))

    def die(self) -> None:
        self.silence()
        self.dead = True
        self.note("died")

    def respond(self, code: int, more: list[tuple[str, str]], body: str = "") -> None:
        tag = self.tag if code > 100 else ""
        self.last = self.host.reply(self.invite, code, tag, more, body, self.peer)

    def provisional(self, code: int, media: bool = False) -> None:
        if self.state != "proceeding":
            return
        self.note({100: "trying", 180: "ringing", 183: "early"}[code])
        more = [("Contact", self.host.contact())] if code > 100 else []
        self.respond(code, more, self.host.media() if media else "")

    def answer(self) -> None:
        if self.state != "proceeding":
            return
        self.state = "answered"
        self.note("final", 200)
        self.note("final_at")
        more = [("Contact", self.host.contact())]
        body = self.host.media()
        self.repeat = Repeat(lambda: self.respond(200, more, body), expired=self.die)

    def final(self, code: int, more: list[tuple[str, str]] | None = None) -> None:
        if self.state != "proceeding":
            return
        self.state = "refused"
        self.note("final", code)
        self.note("final_at")
        self.repeat = Repeat(lambda: self.respond(code, more or []))

    def receive(self, message: Message) -> None:
        """A request for this leg."""
        if self.dead:
            return
        if message.status:
            self.heed(message)
            return
        method = message.method
        if method == "INVITE" and not tag_of(message.get("To")):
            if self.last:
                self.host.send(self.last, self.peer)
        elif method == "CANCEL":
            self.cancelled(message)
        elif method == "ACK":
            self.acknowledged()
        elif tag_of(message.get("To")) in ("", self.tag):
            self.in_dialog(message)

    def cancelled(self, message: Message) -> None:
        self.note("cancel")
        self.note("cancel_reason", message.all("Reason"))
        self.host.reply(message, 200, self.tag)
        if self.state != "proceeding":
            return
        if self.behaviour.get("answer_on_cancel"):
            self.answer()
            return
        for timer in self.timers:
            timer.cancel()
        self.final(487)

    def acknowledged(self) -> None:
        if self.repeat:
            self.repeat.stop()
            self.repeat = None
        if self.state == "refused":
            self.state = "over"
        if self.state != "answered":
            return
        self.state = "talking"
        self.note("ack")
        b = self.behaviour
        if "talk" in b:
            self.after(b["talk"], self.hang_up)
        if "hold" in b:
            self.after(b["hold"], self.hold)
        if "transfer" in b:
            to, delay = b["transfer"]
            self.after(delay, lambda: self.refer(f"sip:{to}@{self.peer[0]}"))
        if "consult" in b:
            to, delay, length = b["consult"]
            self.after(delay, lambda: self.consult(to, length))

    def consult(self, to: str, length: float) -> None:
        """Attended transfer: calls `to`, talks for `length` seconds, then joins the two."""
        plan = {
            "id": f"consult-{self.entry['number']}",
            "user": self.host.user,
            "to": to,
            "consulting": self.call_id,
            "length": length,
            "hangup": 600,
            "password": self.host.plan.get("password", ""),
        }
        leg = self.host.call(plan)
        leg.when_talking = lambda: leg.after(length, lambda: self.join(leg))

    def join(self, other: Calling) -> None:
        remote, local = tag_of(other.remote), tag_of(other.local)
        replaces = f"{other.call_id}%3Bto-tag%3D{remote}%3Bfrom-tag%3D{local}"
        self.refer(f"sip:{user_of(other.remote)}@{self.peer[0]}?Replaces={replaces}")


class Calling(Leg):
    """A caller: an INVITE of our own."""

    def __init__(self, host: Host, plan: Fields, entry: Fields):
        super().__init__(host, plan, entry)
        rng = host.rng
        self.call_id = entry["call_id"]
        self.tag = token(rng)
        domain = plan.get("domain", host.address)
        name = f'"{plan["display"]}" ' if plan.get("display") else ""
        self.local = f"{name}<sip:{plan['user']}@{domain}>;tag={self.tag}"
        self.remote = f"<sip:{plan['to']}@{self.peer[0]}>"
        self.target = f"sip:{plan['to']}@{self.peer[0]}"
        self.branch = ""
        self.authorization: list[tuple[str, str]] = []
        self.when_talking: Callable[[], None] | None = None
        self.cancelling = False
        self.invite_cseq = 1
        self.answered_once = False

    def start(self) -> None:
        self.invite()
        if "cancel" in self.behaviour:
            self.after(self.behaviour["cancel"], self.cancel)

    def invite(self) -> None:
        self.branch = f"z9hG4bK{token(self.host.rng, 14)}"
        self.invite_cseq = self.cseq
        headers = [
            ("Via", self.host.via(self.branch)),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} INVITE"),
            ("Contact", self.host.contact()),
            *self.authorization,
            *map(tuple, self.behaviour.get("headers", [])),
            ("User-Agent", self.host.agent),
            ("Content-Type", "application/sdp"),
        ]
        message = Message(f"INVITE {self.target} SIP/2.0", headers, self.host.media())
        self.note("sent")
        self.repeat = Repeat(lambda: self.host.send(message, self.peer), cap=LIMIT)

    def cancel(self) -> None:
        if self.state != "proceeding":
            return
        self.note("cancel")
        self.cancelling = True
        more = (
            [("Reason", self.behaviour["cancel_reason"])]
            if "cancel_reason" in self.behaviour
            else []
        )
        headers = [
            ("Via", self.host.via(self.branch)),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.cseq} CANCEL"),
            *more,
        ]
        message = Message(f"CANCEL {self.first_target} SIP/2.0", headers)
        self.repeat = Repeat(lambda: self.host.send(message, self.peer))

    @property
    def first_target(self) -> str:
        return f"sip:{self.behaviour['to']}@{self.peer[0]}"

    def receive(self, message: Message) -> None:
        if not message.status:
            if message.method != "ACK":
                self.in_dialog(message)
        elif message.method == "INVITE" and message.cseq <= self.invite_cseq:
            self.response(message)
        elif message.method == "CANCEL" and self.repeat:
            self.repeat.stop()
        else:
            self.heed(message)

    def response(self, message: Message) -> None:
        if self.repeat and not self.cancelling:
            self.repeat.stop()
        status = message.status
        if status < 200:
            if status in (180, 183):
                self.note({180: "ringing", 183: "early"}[status])
            return
        if status >= 300:
            self.refused(message)
            return
        self.accepted(message)

    def refused(self, message: Message) -> None:
        headers = [
            ("Via", self.host.via(self.branch)),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", message.get("To")),
            ("Call-ID", self.call_id),
            ("CSeq", f"{message.cseq} ACK"),
        ]
        self.host.send(Message(f"ACK {self.first_target} SIP/2.0", headers), self.peer)
        if message.cseq != self.cseq or self.state != "proceeding":
            return
        challenge = message.get("WWW-Authenticate") or message.get("Proxy-Authenticate")
        if (
            message.status in (401, 407)
            and challenge
            and not self.authorization
            and self.behaviour.get("password")
        ):
            self.note("challenged")
            name = "Authorization" if message.status == 401 else "Proxy-Authorization"
            value = digest(
                challenge, "INVITE", self.target, self.host.user, self.behaviour["password"]
            )
            self.authorization = [(name, value)]
            self.cseq += 1
            self.invite()
            return
        self.state = "over"
        self.silence()
        self.note("final", message.status)
        self.note("final_at")
        self.note("final_reason", message.all("Reason"))

    def accepted(self, message: Message) -> None:
        if not self.answered_once:
            self.answered_once = True
            self.silence()
            self.state = "talking"
            # Overrules a refusal: a proxy's timer and a late answer may both arrive.
            self.entry |= {"final": message.status, "final_at": time.time()}
            self.remote = message.get("To")
            self.target = uri_of(message.get("Contact"))
            self.routes = message.all("Record-Route")[::-1]
            if "hangup" in self.behaviour and not self.behaviour.get("never_ack"):
                self.after(self.behaviour["hangup"], self.hang_up)
            if "hangup_at" in self.behaviour:  # seconds after the INVITE
                passed = time.time() - self.entry["sent"]
                self.after(max(0.0, self.behaviour["hangup_at"] - passed), self.hang_up)
            if self.when_talking:
                self.when_talking()
        if self.behaviour.get("never_ack"):
            return
        self.note("ack")
        acknowledgement = self.request("ACK", [])
        acknowledgement.headers = [
            (key, f"{message.cseq} ACK" if key == "CSeq" else value)
            for key, value in acknowledgement.headers
        ]
        self.host.send(acknowledgement, self.peer)
        if self.cancelling:
            self.hang_up()


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


class World:
    """All hosts of a plan, its calls in time, and the log."""

    def __init__(self, plan: Fields):
        self.plan, self.pbx, self.seed = plan, plan["pbx"], str(plan.get("seed", ""))
        self.legs: list[Fields] = []
        self.hosts: dict[tuple[str, str, int], Host] = {}
        self.media: list[asyncio.BaseTransport] = []

    def entry(self, role: str, host: Host, behaviour: Fields) -> Fields:
        entry = {
            "role": role,
            "user": host.user,
            "address": host.address,
            "port": host.port,
            "behaviour": behaviour,
            "number": len(self.legs),
        }
        self.legs.append(entry)
        return entry

    def behaviour(self, host: Host, called: str) -> Fields:
        """What a host does with its next INVITE."""
        by_number = self.plan.get("numbers", {}).get(called)
        if by_number is not None and not host.plan.get("own"):
            return dict(by_number)
        script = host.plan.get("behaviours", [])
        number, host.count = host.count, host.count + 1
        if number < len(script):
            return dict(script[number])
        if "mix" in host.plan:
            return self.draw(host, host.plan["mix"])
        return dict(host.plan.get("default") or (script[-1] if script else {"ring": 0.05}))

    @staticmethod
    def draw(host: Host, mix: list[list[Any]]) -> Fields:
        """A behaviour by weight; a pair of numbers for a moment is drawn between them."""
        weights = [weight for weight, _ in mix]
        chosen = host.rng.choices([behaviour for _, behaviour in mix], weights)[0]
        return {key: _between(host.rng, value) for key, value in chosen.items()}

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        for plan in self.plan["hosts"]:
            host = Host(self, plan)
            await host.open()
            self.hosts[host.user, host.address, host.port] = host
        for address in sorted({host.address for host in self.hosts.values()}):
            made = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=(address, MEDIA_PORT)
            )
            self.media.append(made[0])
        start = loop.time() + 0.1
        for plan in self.plan.get("events", []):
            loop.call_at(start + plan["at"], self.happen, plan)
        for plan in self.plan["calls"]:
            loop.call_at(start + plan["at"], self.call, plan)
        await asyncio.sleep(self.plan["length"])

    def find(self, plan: Fields) -> Host:
        for host in self.hosts.values():
            same = host.user == plan.get("host", host.user) and host.address == plan.get(
                "address", host.address
            )
            if same and host.port == plan.get("port", host.port):
                return host
        raise SystemExit(f"no such host: {plan}")

    def call(self, plan: Fields) -> None:
        self.find(plan).call(plan)

    def happen(self, plan: Fields) -> None:
        """Something that is no call: a registration, a phone that dies or comes back."""
        host = self.find(plan)
        match plan["what"]:
            case "register":
                host.register(plan["expires"], plan.get("again", True))
            case "dies":
                host.silent = True
            case "revives":
                host.silent = False
            case "closes":
                host.silent = True
                if host.transport:
                    host.transport.close()


def _between(rng: random.Random, value: Any) -> Any:
    match value:
        case {"from": low, "to": high}:
            return round(rng.uniform(low, high), 3)
        case list():
            return [_between(rng, part) for part in value]
    return value


def main(plan: str, log: str) -> None:
    world = World(json.loads(Path(plan).read_text()))
    try:
        asyncio.run(world.play())
    finally:
        Path(log).write_text(json.dumps(world.legs))


if __name__ == "__main__":
    main(*sys.argv[1:])
