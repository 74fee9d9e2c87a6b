"""One INVITE received or sent, the dialog it makes, and what a party does in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from message import Message, digest, tag_of, token, uri_of, user_of

if TYPE_CHECKING:
    from host import Host

T1, T2, LIMIT = 0.5, 4.0, 32.0  # RFC 3261, table 4
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
        if self.entry.get("final") == 200:  # also when a BYE has overtaken it
            self.note("ack")
        if self.state != "answered":
            return
        self.state = "talking"
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
