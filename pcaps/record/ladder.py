"""A call flow written once, from the caller's side, to the two SIPp scenarios that play it.

Grammar, one step a line (blank lines and ``#`` comments are skipped)::

    > INVITE                    a request of the caller
    < 180                       a response of the callee (to the INVITE)
    < 200 BYE                   a response to another method, named
    < BYE                       a request of the callee
    wait 3.5                    whoever sends next lets so many seconds pass
    > wait 40 / < wait 40       this side lets them pass
    < 486 {Reason: Q.850;cause=17}      headers added to the message
    > INVITE to=102@10.20.0.12  words: to=USER@HOST (next target), sdp, nosdp, once (never
                                retransmitted), auth (credentials, or a challenge),
                                badauth (wrong credentials),
                                tag=X (To tag of another branch), optional (may be missing)

RFC 3261 §17 decides what belongs to which transaction: an ACK to a failure and a CANCEL carry the
branch of their INVITE, an ACK to a 2xx has one of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

REASON_PHRASES = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued",
    183: "Session Progress", 200: "OK", 300: "Multiple Choices", 301: "Moved Permanently",
    302: "Moved Temporarily", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
    407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone",
    413: "Request Entity Too Large", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme",
    420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small",
    433: "Anonymity Disallowed", 480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops",
    484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 491: "Request Pending", 494: "Security Agreement Required",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
    513: "Message Too Large", 580: "Precondition Failure", 600: "Busy Everywhere", 603: "Decline",
    604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted", 608: "Rejected",
}  # fmt: skip

SDP = """v=0
o=- 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000"""

REALM = "sipwatch.test"
PASSWORD = "secret"

_STEP = re.compile(r"^(?:([<>])\s*)?(\S+)\s*(.*)$")
_HEADER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Step:
    """One line of a ladder: a message or a pause, and whose it is."""

    side: str  # ">" the caller sends or waits, "<" the callee does
    what: str  # method, three-digit status, or "wait"
    method: str = ""  # of the request that a response answers
    seconds: float = 0.0
    words: frozenset[str] = frozenset()
    target: tuple[str, str] | None = None
    tag: str = ""
    headers: tuple[str, ...] = ()

    @property
    def is_response(self) -> bool:
        return self.what.isdigit()


def parse(text: str) -> list[Step]:
    """Read a ladder; raise ValueError with the line that is no step."""
    raw: list[Step] = []
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            raw.append(_parse_line(line))
    steps: list[Step] = []
    following = ">"
    for step in reversed(raw):
        if not step.side:
            step = Step(following, "wait", seconds=step.seconds)
        elif step.what != "wait":
            following = step.side
        steps.append(step)
    return steps[::-1]


def _parse_line(line: str) -> Step:
    headers = tuple(_HEADER.findall(line))
    match = _STEP.match(_HEADER.sub("", line).strip())
    if match is None:
        raise ValueError(f"not a step of a ladder: {line!r}")
    side, what, rest = match[1] or "", match[2], match[3].split()
    if what == "wait":
        return Step(side, "wait", seconds=float(rest[0]))
    if not side:
        raise ValueError(f"a message needs < or >: {line!r}")
    method = "INVITE"
    target, tag, words = None, "", set()
    for word in rest:
        if word.isupper():
            method = word
        elif word.startswith("to="):
            user, _, host = word[3:].partition("@")
            target = (user, host)
        elif word.startswith("tag="):
            tag = word[4:]
        elif word in {"sdp", "nosdp", "once", "auth", "badauth", "optional"}:
            words.add(word)
        else:
            raise ValueError(f"unknown word {word!r} in {line!r}")
    if not what.isdigit():
        method = what
    return Step(side, what, method, 0.0, frozenset(words), target, tag, headers)


@dataclass
class Script:
    """What one side needs to be told beside the ladder."""

    user: str  # called user, user part of the Request-URI
    from_user: str
    display: str = ""
    vias: int = 1  # Via values on the INVITE that the callee gets
    headers: tuple[str, ...] = ()  # on every message of this side
    port: int = 5060  # of the called side


def caller_xml(steps: list[Step], script: Script) -> str:
    """SIPp client scenario for the ``>`` side."""
    return _Caller(script).render(steps)


def callee_xml(steps: list[Step], script: Script) -> str:
    """SIPp server scenario for the ``<`` side."""
    return _Callee(script).render(steps)


class _Side:
    """Common frame: walk the steps, send one's own, await the other's."""

    own = ""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.out: list[str] = []

    def render(self, steps: list[Step]) -> str:
        for position, step in enumerate(steps):
            if step.what == "wait":
                if step.side == self.own:
                    self.out.append(f'<pause milliseconds="{round(step.seconds * 1000)}"/>')
            elif step.side == self.own:
                self.send(step)
            else:
                self.receive(step, steps[position + 1 :])
        body = "\n".join(self.out)
        declaration = '<?xml version="1.0" encoding="us-ascii"?>'
        return f'{declaration}\n<scenario name="ladder">\n{body}\n</scenario>\n'

    def send(self, step: Step) -> None:
        raise NotImplementedError

    def receive(self, step: Step, rest: list[Step]) -> None:
        raise NotImplementedError

    def emit(self, lines: list[str], step: Step, retransmit: bool) -> None:
        """Append one ``<send>``; SIPp repeats it from T1 on until the answer comes."""
        with_body = "nosdp" not in step.words and (
            "sdp" in step.words
            or step.what in {"INVITE", "183"}
            or (step.what == "200" and step.method == "INVITE")
        )
        lines = [*lines, *self.script.headers, *step.headers]
        if with_body:
            lines += ["Content-Type: application/sdp", "Content-Length: [len]", "", SDP]
        else:
            lines += ["Content-Length: 0", "", ""]
        repeat = ' retrans="500"' if retransmit and "once" not in step.words else ""
        text = "\n".join(lines)
        self.out.append(f"<send{repeat}><![CDATA[\n{text}\n]]></send>")


class _Caller(_Side):
    own = ">"

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.cseq = 0
        self.invite_cseq = 0
        self.in_dialog = False
        self.final_ok = False
        self.user = script.user
        self.acks = 0

    def send(self, step: Step) -> None:
        if step.what.isdigit():
            self._respond(step)
            return
        if step.target:
            user, host = step.target
            self.user = user
            self.out.append(
                f'<nop><action><setdest host="{host}" port="{self.script.port}" '
                'protocol="udp"/></action></nop>'
            )
        method = step.what
        if method == "ACK" and self.final_ok:
            self.acks += 1
            branch, number = f"a{self.acks}", self.invite_cseq
        elif method in {"ACK", "CANCEL"}:
            branch, number = f"t{self.invite_cseq}", self.invite_cseq
        else:
            self.cseq += 1
            branch, number = f"t{self.cseq}", self.cseq
        if method == "INVITE":
            self.invite_cseq = number
            self.final_ok = False
        self.emit(self._request(step, method, branch, number), step, method != "ACK")

    def _request(self, step: Step, method: str, branch: str, number: int) -> list[str]:
        host = step.target[1] if step.target else "[remote_ip]"
        port = "" if self.script.port == 5060 else f":{self.script.port}"
        uri = f"sip:{self.user}@{host}{port}"
        if method == "REGISTER":
            uri = f"sip:{host}"
        later = method not in {"INVITE", "CANCEL", "REGISTER", "OPTIONS"} or self.in_dialog
        if self.in_dialog and method not in {"CANCEL"}:
            uri = "[next_url]"
        who = self.script.from_user
        lines = [
            f"{method} {uri} SIP/2.0",
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];"
            f"branch=z9hG4bK[pid]n[call_number]{branch}",
            f"From: {self._name()}<sip:{who}@{self._home(method)}>;tag=[pid]c[call_number]",
            f"To: <sip:{self._called(method)}@[remote_ip]>{'[peer_tag_param]' if later else ''}",
            "Call-ID: [call_id]",
            f"CSeq: {number} {method}",
            f"Contact: <sip:{who}@[local_ip]:[local_port]>",
            "Max-Forwards: 70",
        ]
        if self.in_dialog and method != "CANCEL":
            lines.append("[routes]")
        if step.words & {"auth", "badauth"}:
            password = PASSWORD if "auth" in step.words else "forgotten"
            lines.append(f"[authentication username={who} password={password}]")
        return lines

    def _name(self) -> str:
        return f'"{self.script.display}" ' if self.script.display else ""

    def _home(self, method: str) -> str:
        return "[remote_ip]" if method == "REGISTER" else "[local_ip]"

    def _called(self, method: str) -> str:
        return self.script.from_user if method == "REGISTER" else self.script.user

    def _respond(self, step: Step) -> None:
        """Answer a request that the callee sent inside the dialog."""
        phrase = REASON_PHRASES[int(step.what)]
        lines = [f"SIP/2.0 {step.what} {phrase}"]
        lines += [f"[last_{name}:]" for name in ("Via", "From", "To", "Call-ID", "CSeq")]
        lines.append("Contact: <sip:[local_ip]:[local_port]>")
        self.emit(lines, step, step.method == "INVITE")

    def receive(self, step: Step, rest: list[Step]) -> None:
        optional = ' optional="true"' if "optional" in step.words else ""
        if not step.is_response:
            self.out.append(f'<recv request="{step.what}"{optional}/>')
            return
        auth = ' auth="true"' if "auth" in step.words else ""
        routes = ""
        if step.method == "INVITE" and step.what.startswith("2"):
            self.in_dialog = self.final_ok = True
            routes = ' rrs="true"'
        elif step.method == "INVITE" and any(s.what == "PRACK" for s in rest):
            routes = ' rrs="true"'
        self.out.append(f'<recv response="{step.what}"{optional}{auth}{routes}/>')


class _Callee(_Side):
    own = "<"

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.last_request = ""
        self.in_dialog = False
        self.invites = 0
        self.cseq = 0

    def receive(self, step: Step, rest: list[Step]) -> None:
        optional = ' optional="true"' if "optional" in step.words else ""
        if step.is_response:
            self.out.append(f'<recv response="{step.what}"{optional}/>')
            return
        self.last_request = step.what
        if step.what != "INVITE":
            self.out.append(f'<recv request="{step.what}"{optional}/>')
            return
        self.invites += 1
        wanted = {"from": "From:", "to": "To:", "cseq": "CSeq:"}
        actions = [_capture(header, name, 1) for name, header in wanted.items()]
        names = list(wanted)
        for position in range(1, self.script.vias + 1):
            names.append(f"via{position}")
            actions.append(_capture("Via:", f"via{position}", position))
        listed = "\n".join(actions)
        self.out.append(
            f'<recv request="INVITE" rrs="true"{optional}><action>\n{listed}\n</action></recv>'
        )
        if self.invites == 1:
            self.out.append(f"<Reference variables={quoteattr(','.join(names))}/>")

    def send(self, step: Step) -> None:
        if step.is_response:
            self._respond(step)
        else:
            self._request(step)

    def _respond(self, step: Step) -> None:
        tag = "" if self.in_dialog else f";tag=[pid]s[call_number]{step.tag}"
        if step.what == "100":
            tag = ""
        lines = [f"SIP/2.0 {step.what} {REASON_PHRASES[int(step.what)]}"]
        if step.method == self.last_request:
            lines += ["[last_Via:]", "[last_From:]", f"[last_To:]{tag}", "[last_Call-ID:]"]
            lines += ["[last_CSeq:]", "[last_Record-Route:]"]
        elif step.method != "INVITE":
            raise ValueError(f"{step.what} {step.method}: the last request was {self.last_request}")
        else:
            lines += [f"Via:[$via{n}]" for n in range(1, self.script.vias + 1)]
            lines += ["From:[$from]", f"To:[$to]{tag}", "Call-ID: [call_id]", "CSeq:[$cseq]"]
        lines.append(f"Contact: {self._contact(step)}")
        if "auth" in step.words:
            name = "Proxy-Authenticate" if step.what == "407" else "WWW-Authenticate"
            lines.append(f'{name}: Digest realm="{REALM}", nonce="8f2c5a1e", algorithm=MD5')
        success = step.what.startswith("2") and step.method == "INVITE"
        self.emit(lines, step, step.method == "INVITE" and int(step.what) >= 200)
        if success:
            self.in_dialog = True

    def _contact(self, step: Step) -> str:
        if step.what.startswith("3") and step.target:
            return f"<sip:{step.target[0]}@{step.target[1]}>"
        return f"<sip:{self.script.user}@[local_ip]:[local_port]>"

    def _request(self, step: Step) -> None:
        self.cseq += 1
        lines = [
            f"{step.what} [next_url] SIP/2.0",
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];"
            f"branch=z9hG4bK[pid]m[call_number]t{self.cseq}",
            f"From:[$to];tag=[pid]s[call_number]{step.tag}",
            "To:[$from]",
            "Call-ID: [call_id]",
            f"CSeq: {self.cseq} {step.what}",
            f"Contact: <sip:{self.script.user}@[local_ip]:[local_port]>",
            "Max-Forwards: 70",
            "[routes]",
        ]
        self.emit(lines, step, step.what != "ACK")


def _capture(header: str, name: str, occurrence: int) -> str:
    return (
        f'<ereg regexp=".*" search_in="hdr" header="{header}" occurrence="{occurrence}" '
        f'check_it="true" assign_to="{name}"/>'
    )
