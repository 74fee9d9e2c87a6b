"""One hop of an INVITE dialog: it plans its messages and writes them when their time comes.

A leg knows both ends, their products' styles and what a dialog remembers (tags, sequence
numbers, Vias, Record-Routes). Its methods append steps to a script, times in seconds from the
start of the call; the text of a message is made only when the step is sent. Sections named here
are those of RFC 3261.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NamedTuple

from traffic.frames import Endpoint
from traffic.styles import CRLF, KAMAILIO, Style

PHRASES = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    302: "Moved Temporarily",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    480: "Temporarily Unavailable",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    503: "Service Unavailable",
    504: "Server Time-out",
    603: "Decline",
    607: "Unwanted",
}
_KAMAILIO_TRYING = "100 trying -- your call is important to us"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who sends SIP from one endpoint."""

    endpoint: Endpoint
    style: Style
    agent: str
    user: str = ""
    #: A Kamailio proxy: it puts its Via and Record-Route on what others composed.
    relay: bool = False
    #: Addresses of the elements behind a relay, whose Vias its requests carry too.
    behind: tuple[str, ...] = ()

    def contact(self) -> str:
        user = self.user or self.style.contact_user
        at = f"{user}@" if user else ""
        return f"sip:{at}{self.endpoint.ip}:{self.endpoint.port}"


#: Who composes what a relay says of its own accord.
PROXY = Party(Endpoint("0.0.0.0", 5060), KAMAILIO, "kamailio (5.6.3 (x86_64/linux))", relay=True)


class Step(NamedTuple):
    """One packet of a script."""

    time: float
    #: Method of a request, status of a response.
    label: str
    #: Whether the same bytes were sent before.
    resent: bool
    source: Endpoint
    destination: Endpoint
    text: Callable[[], str]


@dataclass(frozen=True, slots=True)
class _Transaction:
    method: str
    sequence: int
    by_caller: bool
    #: Who composed the request.
    voice: Party
    branch: str
    #: Via lines as the request carries them, and as its responses echo them.
    vias: str
    echoed: str


class Leg:
    """The dialog that ``caller`` opens to ``callee``; ``parent`` is the hop a proxy hands on."""

    def __init__(
        self,
        script: list[Step],
        rng: Random,
        caller: Party,
        callee: Party,
        *,
        from_user: str,
        to_user: str,
        display: str = "",
        media: tuple[Endpoint, Endpoint],
        parent: Leg | None = None,
    ) -> None:
        self._script = script
        self._rng = rng
        self.caller, self.callee = caller, callee
        #: Who composes the messages of each side; another than who sends them behind a proxy.
        self.caller_voice = parent.caller_voice if parent else caller
        self.callee_voice = callee
        voice = self.caller_voice
        self.call_id = parent.call_id if parent else voice.style.call_id(rng, voice.endpoint.ip)
        self._caller_tag = parent._caller_tag if parent else voice.style.tag(rng)
        self._callee_tag = callee.style.tag(rng)
        self._sequence = parent._sequence if parent else rng.randrange(*voice.style.first_sequence)
        self._callee_sequence = rng.randrange(*callee.style.first_sequence)
        domain = voice.endpoint.ip
        name = f'"{display}" ' if display else ""
        self._from = parent._from if parent else f"{name}<sip:{from_user}@{domain}>"
        self._to = parent._to if parent else f"<sip:{to_user}@{callee.endpoint.ip}>"
        self._uri = f"sip:{to_user}@{callee.endpoint.ip}:{callee.endpoint.port}"
        self._user = from_user
        #: RTP endpoints of caller and callee; behind a proxy the caller's stay what they were.
        self.media = (parent.media[0], media[1]) if parent else media
        self._session = parent._session if parent else rng.randrange(10**8, 2 * 10**9)
        self._parent = parent
        beyond = parent._caller_routes if parent else ""
        self._caller_routes = _routes(caller, self._caller_tag) + beyond
        self._callee_routes = _routes(callee, self._caller_tag)
        self._accepted = False
        self._invite = self._transaction("INVITE", by_caller=True)

    # Requests and responses of the INVITE transaction

    def invite(self, at: float, credentials: int | None = None) -> None:
        """The INVITE; with ``credentials`` (the status that asked for them) its retry."""
        extra = ""
        if credentials is not None:
            self._sequence += 1
            self._invite = self._transaction("INVITE", by_caller=True)
            extra = self._authorization(credentials)
        self._send_invite(at, self._invite, extra)

    @property
    def sequence(self) -> int:
        """CSeq number of the INVITE."""
        return self._invite.sequence

    def resend_invite(self, *times: float) -> None:
        for at in times:
            self._send_invite(at, self._invite, "", resent=True)

    def reply(self, at: float, status: int, headers: str = "", *, own: bool = False) -> None:
        """A response to the INVITE; ``own``: by the proxy at the callee's address itself."""
        self._accepted = self._accepted or 200 <= status < 300
        self._respond(at, self._invite, status, headers, own=own)

    def follow(self, branch: Leg) -> None:
        """From here on the callee behind the proxy is the one that ``branch`` reaches."""
        self.callee_voice, self._callee_tag = branch.callee_voice, branch._callee_tag
        self.media = branch.media

    def ack(self, at: float) -> None:
        """The ACK of the final response, after a 2xx a transaction of its own (13.2.2.4)."""
        if self._accepted:
            transaction = self._transaction("ACK", by_caller=True)
            uri, route = self.callee_voice.contact(), self._callee_routes
        else:
            transaction = self._single("ACK")
            uri, route = self._uri, ""
        self._request(at, transaction, uri, route)

    def refuse(self, at: float, status: int, headers: str = "", *, own: bool = False) -> None:
        """A final failure and its ACK."""
        self.reply(at, status, headers, own=own)
        self.ack(at + 0.002)

    def answer(self, at: float) -> None:
        """The 200 and its ACK."""
        self.reply(at, 200)
        self.ack(at + 0.003)

    def cancel(self, at: float, headers: str = "") -> None:
        """CANCEL, its 200, the 487 and the ACK. A CANCEL goes hop by hop (9.1)."""
        transaction = self._single("CANCEL")
        self._request(at, transaction, self._uri, "", headers)
        self._respond(at + 0.001, transaction, 200, own=self.callee.relay)
        self.refuse(at + 0.002, 487)

    # Requests inside the dialog

    def transact(
        self,
        at: float,
        method: str,
        headers: str = "",
        *,
        by_caller: bool = True,
        took: float = 0.002,
    ) -> None:
        """A request inside the dialog and its 200."""
        if by_caller:
            self._sequence += 1
        else:
            self._callee_sequence += 1
        transaction = self._transaction(method, by_caller=by_caller)
        target = self.callee_voice if by_caller else self.caller_voice
        route = self._callee_routes if by_caller else self._caller_routes
        self._request(at, transaction, target.contact(), route, headers)
        self._respond(at + took, transaction, 200)

    def reinvite(self, at: float, direction: str) -> None:
        """The callee puts the caller on hold or takes him back: INVITE, 100, 200, ACK."""
        self._callee_sequence += 1
        transaction = self._transaction("INVITE", by_caller=False)
        self._send_invite(at, transaction, "", direction=direction)
        self._respond(at + 0.001, transaction, 100)
        self._respond(at + 0.004, transaction, 200)
        ack = self._transaction("ACK", by_caller=False)
        self._request(at + 0.007, ack, self.caller_voice.contact(), self._caller_routes)

    # Steps

    def _send_invite(
        self,
        at: float,
        transaction: _Transaction,
        extra: str,
        *,
        resent: bool = False,
        direction: str = "sendrecv",
    ) -> None:
        first = transaction.by_caller
        uri = self._uri if first else self.caller_voice.contact()
        route = "" if first else self._caller_routes
        self._add(
            at,
            "INVITE",
            first,
            partial(self._request_text, transaction, uri, route, extra, direction),
            resent,
        )

    def _request(
        self,
        at: float,
        transaction: _Transaction,
        uri: str,
        route: str,
        headers: str = "",
    ) -> None:
        text = partial(self._request_text, transaction, uri, route, headers, "")
        self._add(at, transaction.method, transaction.by_caller, text)

    def _respond(
        self,
        at: float,
        transaction: _Transaction,
        status: int,
        headers: str = "",
        *,
        own: bool = False,
    ) -> None:
        by_caller = transaction.by_caller
        responder = self.callee if by_caller else self.caller
        voice = self.callee_voice if by_caller else self.caller_voice
        if responder.relay and (own or status == 100):
            voice = PROXY
        tag = "" if status == 100 and by_caller else self._callee_tag
        text = partial(self._response_text, transaction, status, headers, voice, tag)
        self._add(at, str(status), not transaction.by_caller, text)

    def _add(
        self,
        at: float,
        label: str,
        from_caller: bool,
        text: Callable[[], str],
        resent: bool = False,
    ) -> None:
        ends = self.caller.endpoint, self.callee.endpoint
        source, destination = ends if from_caller else ends[::-1]
        self._script.append(Step(at, label, resent, source, destination, text))

    # Transactions

    def _transaction(self, method: str, *, by_caller: bool) -> _Transaction:
        sender = self.caller if by_caller else self.callee
        voice = self.caller_voice if by_caller else self.callee_voice
        branch = _via_style(sender).branch(self._rng)
        parent = self._parent if by_caller else None
        if parent and method == "INVITE":
            return self._stacked(method, voice, by_caller, branch, parent._invite.echoed)
        behind = (parent.caller.endpoint.ip, *parent.caller.behind) if parent else sender.behind
        below = "".join(
            f"Via: SIP/2.0/UDP {ip}:5060;received={ip};rport=5060;"
            f"branch={KAMAILIO.branch(self._rng)}{CRLF}"
            for ip in behind
        )
        return self._stacked(method, voice, by_caller, branch, below)

    def _single(self, method: str) -> _Transaction:
        """ACK of a failure or CANCEL: made for this hop, with the INVITE's branch and no other Via.

        Sections 17.1.1.3 and 9.1.
        """
        voice = PROXY if self.caller.relay else self.caller_voice
        return self._stacked(method, voice, True, self._invite.branch, "")

    def _stacked(
        self, method: str, voice: Party, by_caller: bool, branch: str, below: str
    ) -> _Transaction:
        sender, receiver = self.caller, self.callee
        if not by_caller:
            sender, receiver = receiver, sender
        ip, port = sender.endpoint
        asked = ";rport" if _via_style(sender).rport else ""
        fills = asked and _via_style(receiver).fills_rport
        echo = f";received={ip};rport={port}" if fills else asked
        top = f"Via: SIP/2.0/UDP {ip}:{port}"
        end = f";branch={branch}{CRLF}{below}"
        sequence = self._sequence if by_caller else self._callee_sequence
        if by_caller and method in ("ACK", "CANCEL"):
            sequence = self._invite.sequence
        vias = f"{top}{asked}{end}", f"{top}{echo}{end}"
        return _Transaction(method, sequence, by_caller, voice, branch, *vias)

    # Text

    def _request_text(
        self, transaction: _Transaction, uri: str, route: str, extra: str, direction: str
    ) -> str:
        by_caller = transaction.by_caller
        voice = transaction.voice
        style = voice.style
        is_invite = transaction.method == "INVITE"
        # Whatever follows the first INVITE is inside a dialog, early or confirmed, except the
        # CANCEL, which repeats the INVITE's To (9.1).
        outside = transaction.method == "CANCEL" or (is_invite and by_caller)
        sender = f"{self._from};tag={self._caller_tag}"
        receiver = self._to if outside else f"{self._to};tag={self._callee_tag}"
        body = self._sdp(transaction, by_caller, direction) if is_invite else ""
        return style.request % {
            "method": transaction.method,
            "uri": uri,
            "via": transaction.vias,
            "sender": sender if by_caller else receiver,
            "receiver": receiver if by_caller else sender,
            "call_id": self.call_id,
            "sequence": transaction.sequence,
            "contact": f"Contact: <{voice.contact()}>{CRLF}" if is_invite else "",
            "record_route": self._caller_routes.replace("Route:", "Record-Route:")
            if is_invite and by_caller
            else "",
            "route": route,
            "features": style.features if is_invite else "",
            "extra": extra,
            "agent": voice.agent,
            "content_type": _SDP_TYPE if body else "",
            "length": len(body),
            "body": body,
        }

    def _response_text(
        self,
        transaction: _Transaction,
        status: int,
        headers: str,
        voice: Party,
        tag: str,
    ) -> str:
        by_caller = transaction.by_caller
        style = voice.style
        makes_dialog = transaction.method == "INVITE" and 180 <= status < 300
        has_body = makes_dialog and status in (183, 200)
        body = self._sdp(transaction, not by_caller, "sendrecv") if has_body else ""
        sender = f"{self._from};tag={self._caller_tag}"
        receiver = f"{self._to};tag={tag}" if tag else self._to
        routes = self._callee_routes + self._caller_routes if makes_dialog and by_caller else ""
        trying = status == 100 and voice is PROXY
        return style.response % {
            "status": _KAMAILIO_TRYING if trying else f"{status} {PHRASES[status]}",
            "via": transaction.echoed,
            "sender": sender if by_caller else receiver,
            "receiver": receiver if by_caller else sender,
            "call_id": self.call_id,
            "sequence": transaction.sequence,
            "method": transaction.method,
            "contact": f"Contact: <{voice.contact()}>{CRLF}" if makes_dialog else "",
            "record_route": routes.replace("Route:", "Record-Route:"),
            "features": style.features if makes_dialog else "",
            "extra": self._challenge(status) + headers,
            "agent": voice.agent,
            "content_type": _SDP_TYPE if body else "",
            "length": len(body),
            "body": body,
        }

    def _sdp(self, transaction: _Transaction, by_caller: bool, direction: str) -> str:
        voice = self.caller_voice if by_caller else self.callee_voice
        ip, port = self.media[0 if by_caller else 1]
        return voice.style.sdp % {
            "session": self._session,
            "version": self._session + transaction.sequence,
            "ip": ip,
            "port": port,
            "rtcp": port + 1,
            "direction": direction,
        }

    def _challenge(self, status: int) -> str:
        if status not in _CHALLENGES:
            return ""
        return (
            f'{_CHALLENGES[status]}: Digest realm="{self.callee.endpoint.ip}",'
            f'nonce="{self._nonce()}",opaque="5d1e0fa7b3c2849d",algorithm=MD5,qop="auth"{CRLF}'
        )

    def _authorization(self, status: int) -> str:
        digest = f"{self._rng.getrandbits(128):032x}"
        return (
            f'{_CREDENTIALS[status]}: Digest username="{self._user}", '
            f'realm="{self.callee.endpoint.ip}", nonce="{self._nonce()}", uri="{self._uri}", '
            f'response="{digest}", algorithm=MD5, cnonce="{digest[:12]}", '
            f'opaque="5d1e0fa7b3c2849d", qop=auth, nc=00000001{CRLF}'
        )

    def _nonce(self) -> str:
        return f"{self._session:010d}/{self._session * 2654435761 % 2**128:032x}"


_SDP_TYPE = f"Content-Type: application/sdp{CRLF}"
_CHALLENGES = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
_CREDENTIALS = {401: "Authorization", 407: "Proxy-Authorization"}


def _via_style(party: Party) -> Style:
    """A proxy's Vias are its own, whoever composed the message."""
    return KAMAILIO if party.relay else party.style


def _routes(party: Party, caller_tag: str) -> str:
    """The Route lines by which a request passes the relays at ``party``."""
    if not party.relay:
        return ""
    ends = (party.endpoint.ip, *party.behind[:1])
    return "".join(f"Route: <sip:{ip};lr;ftag={caller_tag};did=6a1.9f2>{CRLF}" for ip in ends)
