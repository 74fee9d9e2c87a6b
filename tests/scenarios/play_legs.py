"""Parties and legs of a play: who stands where, and the SIP messages they send each other.

A `Leg` remembers what a real user agent remembers of one INVITE and its dialog (Call-ID, tags,
branches, CSeq numbers of both sides), so that a play names only what matters to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from zlib import crc32

from sipwatch.net.types import Endpoint
from sipwatch.sip.message import render

#: What the PBXs of section 12 call themselves.
AGENTS = {
    "asterisk": "Asterisk PBX 22.4.1",
    "freeswitch": "FreeSWITCH-mod_sofia/1.10.12-release~64bit",
    "sippy": "Sippy B2BUA (RADIUS)",
}
ADDRESSES = {"pbx": "10.9.0.1:5060", "trunk": "203.0.113.5:5060", "trunk2": "203.0.113.9:5060"}
PHRASES = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued",
    183: "Session Progress", 199: "Early Dialog Terminated", 200: "OK", 202: "Accepted",
    302: "Moved Temporarily", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    407: "Proxy Authentication Required", 408: "Request Timeout", 422: "Session Interval Too Small",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
    484: "Address Incomplete", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error",
    503: "Service Unavailable", 504: "Server Time-out", 600: "Busy Everywhere", 603: "Decline",
    607: "Unwanted", 608: "Rejected",
}  # fmt: skip
CALLER = "+49301110000"
Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Party:
    """Somebody with an address; `agent` is its User-Agent, empty when it names none."""

    name: str
    endpoint: Endpoint
    agent: str = ""

    @property
    def host(self) -> str:
        return str(ip_address(self.endpoint[0]))

    @property
    def number(self) -> str:
        """Whom one calls there."""
        return {"pbx": "2101", "trunk": "0305550000"}.get(self.name, self.name)

    def agent_headers(self, response: bool) -> list[Header]:
        if not self.agent:
            return []
        name = b"Server" if response and self.agent.startswith("Asterisk") else b"User-Agent"
        return [(name, self.agent.encode())]


def party(name: str, addresses: dict[str, str], agents: dict[str, str]) -> Party:
    """The party of this name; three digits are a phone, beside the PBX."""
    place = addresses.get(name) or ADDRESSES.get(name)
    if place is None:
        if not (name.isdigit() and 100 <= int(name) <= 250):
            raise ValueError(f"no address for {name!r}")
        place = f"10.9.1.{int(name)}:5060"
    host, _, port = place.rpartition(":")
    agent = agents.get(name, "")
    return Party(name, (ip_address(host.strip("[]")).packed, int(port)), AGENTS.get(agent, agent))


@dataclass
class Transaction:
    """A request that was sent, so that it can be answered, acknowledged and cancelled."""

    method: str
    cseq: int
    branch: str
    sender: Party
    receiver: Party
    uri: str
    vias: list[str]
    payload: bytes = b""
    ip_id: int = -1
    #: The highest final status that was sent to it.
    final: int = 0


@dataclass
class Leg:
    """One INVITE (or other request) and all that follows in its dialog."""

    label: str
    call_id: str
    from_tag: str
    caller: Party
    callee: Party
    from_user: str
    to_user: str
    from_host: str
    display: str = ""
    transport: str = "UDP"
    #: Vias of the hop before, where a proxy handed the request on.
    inner_vias: list[str] = field(default_factory=list)
    cookie: str = "z9hG4bK"
    to_tag: str = ""
    cseq: dict[str, int] = field(default_factory=dict)
    sent: list[Transaction] = field(default_factory=list)
    branches: int = 0

    def last(self, method: str, again: bool = False, turn: int = 0) -> Transaction:
        """The last request of this method; of INVITE the re-INVITE only with `again`."""
        found = [t for t in self.sent if t.method == ("re-INVITE" if again else method)]
        if not found:
            raise ValueError(f"{self.label}: no {method} was sent")
        return found[turn - 1] if turn else found[-1]

    # --- requests ---------------------------------------------------------------------------

    def request(
        self,
        method: str,
        sender: Party,
        receiver: Party,
        *,
        uri: str = "",
        in_dialog: bool = False,
        like: Transaction | None = None,
        own_branch: bool = False,
        to_tag: str = "",
        headers: list[Header],
        sdp: bytes = b"",
    ) -> Transaction:
        """A new request; with `like` (CANCEL, ACK) of that transaction."""
        side = "caller" if sender.endpoint[0] == self.caller.endpoint[0] else "callee"
        if like is not None and not own_branch:
            branch, vias = like.branch, like.vias
        else:
            self.branches += 1
            branch = self.branch(self.branches)
            vias = [self.via(sender, branch), *([] if in_dialog else self.inner_vias)]
        if like is not None:
            number = like.cseq
        else:
            number = self.cseq[side] = self.cseq.get(side, 100) + 1
        if not uri:
            uri = like.uri if like else f"sip:{self.to_user}@{receiver.host}"
        kind = "re-INVITE" if method == "INVITE" and in_dialog else method
        made = Transaction(kind, number, branch, sender, receiver, uri, vias)
        tag = to_tag or (self.to_tag if in_dialog else "")
        lines = [(b"Via", via.encode()) for via in vias]
        lines.append((b"Max-Forwards", b"70"))
        lines += self.dialog(tag, swapped=side == "callee")
        lines += [(b"Call-ID", self.call_id.encode()), (b"CSeq", f"{number} {method}".encode())]
        if method in ("INVITE", "REGISTER"):
            lines.append((b"Contact", f"<sip:{self.from_user}@{sender.host}>".encode()))
        lines += sender.agent_headers(response=False) + headers
        if sdp:
            lines.append((b"Content-Type", b"application/sdp"))
        made.payload = render(f"{method} {uri} SIP/2.0".encode(), lines, sdp)
        self.sent.append(made)
        return made

    def branch(self, number: int) -> str:
        if self.cookie == "none":
            return ""
        return f"{self.cookie}{self.label}{crc32(f'{self.call_id}{number}'.encode()):08x}"

    def via(self, sender: Party, branch: str) -> str:
        parameter = f";branch={branch}" if branch else ""
        port = sender.endpoint[1]
        return f"SIP/2.0/{self.transport} {sender.host}:{port}{parameter};rport"

    def dialog(self, tag: str, swapped: bool) -> list[Header]:
        name = f'"{self.display}" ' if self.display else ""
        caller = f"{name}<sip:{self.from_user}@{self.from_host}>;tag={self.from_tag}"
        callee = f"<sip:{self.to_user}@{self.callee.host}>" + (f";tag={tag}" if tag else "")
        if swapped:
            caller, callee = callee, caller
        return [(b"From", caller.encode()), (b"To", callee.encode())]

    # --- responses ----------------------------------------------------------------------------

    def response(
        self,
        status: int,
        of: Transaction,
        sender: Party,
        *,
        tag: str = "",
        phrase: str = "",
        headers: list[Header],
        sdp: bytes = b"",
    ) -> bytes:
        """A response to `of` by `sender`."""
        method = "INVITE" if of.method == "re-INVITE" else of.method
        if status > 100 and not tag:
            tag = f"t-{self.label}"
        if method == "INVITE" and tag:
            self.to_tag = tag
        of.final = max(of.final, status if status >= 200 else 0)
        lines = [(b"Via", via.encode()) for via in of.vias]
        lines += self.dialog(tag, swapped=of.sender.endpoint[0] != self.caller.endpoint[0])
        lines.append((b"Call-ID", self.call_id.encode()))
        lines.append((b"CSeq", f"{of.cseq} {method}".encode()))
        lines += sender.agent_headers(response=True) + headers
        if sdp:
            lines.append((b"Content-Type", b"application/sdp"))
        phrase = phrase or PHRASES.get(status, "Status")
        return render(f"SIP/2.0 {status} {phrase}".encode(), lines, sdp)


def session(host: str, origin: str = "") -> bytes:
    """A session description as small as they come (RFC 4566)."""
    origin = origin or f"- {crc32(host.encode())} 1 IN IP4 {host}"
    lines = ["v=0", f"o={origin}", "s=-", f"c=IN IP4 {host}", "t=0 0", "m=audio 40000 RTP/AVP 8"]
    return ("\r\n".join(lines) + "\r\n").encode()
