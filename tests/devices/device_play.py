"""Plays of devices: who registers, pings and is called when, one packet a line.

    0.000 101>pbx REGISTER r expires=120        # a new transaction, labelled r
    0.001 pbx>101 401 r                         # its response
    0.002 101>pbx REGISTER r2 like=r auth       # the next one in the same Call-ID
    0.003 pbx>101 200 r2 expires=60             # grants; `contact=` lists others
    9.000 pbx>101 INVITE i                      # the same label and method again: retransmitted
    9.001 icmp pbx>101 i                        # port unreachable for that request

A party is `pbx`, `trunk`, three digits for a phone, or `name@host:port`; `101:5072` is a phone
at another port. Times are seconds after `EPOCH`, 2023-11-14 22:13:20 UTC.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from ipaddress import ip_address

from sipwatch.net.types import Datagram, Unreachable
from sipwatch.sip.message import render

EPOCH = 1_700_000_000.0
PLACES = {"pbx": "10.9.0.1:5060", "trunk": "203.0.113.5:5060"}


@dataclass(frozen=True)
class Party:
    user: str
    host: str
    port: int

    @property
    def endpoint(self) -> tuple[bytes, int]:
        return ip_address(self.host).packed, self.port

    @property
    def place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def party(name: str) -> Party:
    user, at, place = name.partition("@")
    if not at:
        user, colon, port = name.partition(":")
        place = PLACES.get(user) or f"10.9.1.{int(user)}:5060"
        if colon:
            place = f"{place.partition(':')[0]}:{port}"
    host, _, port = place.rpartition(":")
    return Party(user, host.strip("[]"), int(port))


@dataclass
class Transaction:
    method: str
    call_id: str
    cseq: int
    branch: str
    uri: str
    headers: dict[str, str]
    request: bytes = b""


@dataclass
class Play:
    """Keeps the transactions by their labels."""

    transport: str = "UDP"
    transactions: dict[str, Transaction] = field(default_factory=dict)
    items: list[Datagram | Unreachable] = field(default_factory=list)

    def run(self, text: str) -> list[Datagram | Unreachable]:
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                self.line(EPOCH + float(words[0]), words[1:])
        return self.items

    def line(self, time: float, words: list[str]) -> None:
        if words[0] == "icmp":
            self.icmp(time, words[1], words[2])
            return
        source, _, destination = words[0].partition(">")
        what, label = words[1], words[2]
        options = dict(word.partition("=")[::2] for word in words[3:])
        sender, receiver = party(source), party(destination)
        if what.isdigit():
            payload = self.response(what, label, receiver, options)
        else:
            payload = self.request(what, label, sender, receiver, options)
        self.send(time, sender, receiver, payload)

    def send(self, time: float, sender: Party, receiver: Party, payload: bytes) -> None:
        self.items.append(
            Datagram(
                time, sender.endpoint, receiver.endpoint, self.transport, payload, "play",
                len(self.items) + 1,
            )
        )  # fmt: skip

    def request(
        self, method: str, label: str, sender: Party, receiver: Party, options: dict[str, str]
    ) -> bytes:
        known = self.transactions.get(label)
        if known is not None and known.method == method:
            return known.request
        if known is not None:
            return self.follow(known, method, label, sender, options)
        like = self.transactions.get(options.get("like", ""))
        host = options.get("domain", receiver.host)
        default = f"sip:{receiver.user}@{receiver.place}"
        if method == "REGISTER":
            default = f"sip:{host}"
        user = options.get("user", sender.user)
        aor = f"{user if method == 'REGISTER' else receiver.user}@{host}"
        transaction = Transaction(
            method,
            like.call_id if like else f"{label}@play",
            like.cseq + 1 if like else 1,
            options.get("branch", f"z9hG4bK{label}"),
            options.get("uri", default),
            {
                "From": f"<sip:{options.get('from', user)}@{sender.host}>;tag=f{label}",
                "To": f"<sip:{options.get('to', aor)}>" + options.get("to-tag", ""),
            },
        )
        contact = options.get("contact", f"<sip:{user}@{sender.place}>")
        headers = self.common(transaction, sender.place)
        if contact:
            headers.append((b"Contact", contact.encode()))
        transaction.request = self.rendered(transaction, headers, options)
        self.transactions[label] = transaction
        return transaction.request

    def follow(
        self, known: Transaction, method: str, label: str, sender: Party, options: dict[str, str]
    ) -> bytes:
        """A request of the same transaction (CANCEL) or dialog (ACK, BYE)."""
        later = Transaction(**known.__dict__)
        later.method = method
        if method in ("ACK", "BYE"):
            later.headers = dict(known.headers, To=known.headers["To"] + ";tag=t")
        if method == "BYE":
            later.cseq += 1
            later.branch += "bye"
            self.transactions[f"{label}-bye"] = later
            if "callee" in options:
                later.headers = {"From": later.headers["To"], "To": later.headers["From"]}
        headers = self.common(later, sender.place)
        later.request = self.rendered(later, headers, options)
        return later.request

    def rendered(
        self,
        transaction: Transaction,
        headers: list[tuple[bytes, bytes]],
        options: dict[str, str],
    ) -> bytes:
        if "expires" in options:
            headers.append((b"Expires", options["expires"].encode()))
        if "auth" in options:
            headers.append((b"Authorization", b'Digest username="x"'))
        headers.append((b"User-Agent", options.get("agent", "Phone 1.0").encode()))
        for name in ("Event", "X-Callback", "P-Asserted-Identity", "Reason"):
            if name in options:
                headers.append((name.encode(), options[name].encode()))
        return render(f"{transaction.method} {transaction.uri} SIP/2.0".encode(), headers)

    def common(self, transaction: Transaction, place: str) -> list[tuple[bytes, bytes]]:
        via = f"SIP/2.0/{self.transport} {place};rport;branch={transaction.branch}"
        return [
            (b"Via", via.encode()),
            *((name.encode(), value.encode()) for name, value in transaction.headers.items()),
            (b"Call-ID", transaction.call_id.encode()),
            (b"CSeq", f"{transaction.cseq} {transaction.method}".encode()),
        ]

    def response(self, status: str, label: str, asker: Party, options: dict[str, str]) -> bytes:
        transaction = self.transactions[label]
        if "cancel" in options:
            transaction = Transaction(**{**transaction.__dict__, "method": "CANCEL"})
        headers = self.common(transaction, asker.place)
        if "rport" in options:
            host, _, port = options["rport"].rpartition(":")
            via = headers[0][1].replace(b";rport;", f";rport={port};received={host};".encode())
            headers[0] = (b"Via", via)
        if status != "100" and b";tag=" not in headers[2][1]:
            headers[2] = (b"To", headers[2][1] + b";tag=t")
        if status == "200" and transaction.method == "REGISTER":
            headers += self.granted(transaction, options)
        for name in ("Reason", "Server"):
            if name in options:
                headers.append((name.encode(), options[name].encode()))
        return render(f"SIP/2.0 {status} Said".encode(), headers)

    def granted(
        self, transaction: Transaction, options: dict[str, str]
    ) -> list[tuple[bytes, bytes]]:
        if "contact" in options:
            listed = [options["contact"]] if options["contact"] else []
        elif options.get("expires") == "0":
            listed = []
        else:
            lines = transaction.request.decode().split("\r\n")
            expires = f";expires={options['expires']}" if "expires" in options else ""
            listed = [line[9:] + expires for line in lines if line.startswith("Contact: ")]
        headers = [(b"Contact", value.encode()) for value in listed]
        if "header-expires" in options:
            headers.append((b"Expires", options["header-expires"].encode()))
        return headers

    def icmp(self, time: float, way: str, label: str) -> None:
        source, _, destination = way.partition(">")
        sender, receiver = party(source), party(destination)
        self.items.append(
            Unreachable(
                time, receiver.endpoint[0], sender.endpoint, receiver.endpoint,
                self.transactions[label].request, "play", len(self.items) + 1, -1, -1, 3,
            )
        )  # fmt: skip


def play(text: str, transport: str = "UDP") -> list[Datagram | Unreachable]:
    """The packets of a play, numbered from 1."""
    return Play(transport).run(text)
