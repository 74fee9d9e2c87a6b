"""SIP messages for the parties of the recordings: only what a phone needs."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass


@dataclass(slots=True)
class Message:
    """A request or response; header names as they came."""

    start: str
    headers: list[tuple[str, str]]
    body: str = ""

    @property
    def status(self) -> int:
        """The status code; 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method, of a response the one it answers."""
        return self.get("CSeq").split()[1] if self.status else self.start.split()[0]

    @property
    def uri(self) -> str:
        return self.start.split()[1]

    @property
    def cseq(self) -> int:
        return int(self.get("CSeq").split()[0])

    @property
    def branch(self) -> str:
        found = re.search(r"branch=([^;,\s]+)", self.get("Via"))
        return found.group(1) if found else ""

    def get(self, name: str) -> str:
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def bytes(self) -> bytes:
        lines = [self.start, *(f"{key}: {value}" for key, value in self.headers)]
        lines.append(f"Content-Length: {len(self.body.encode())}")
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()


COMPACT = {
    "v": "Via",
    "f": "From",
    "t": "To",
    "i": "Call-ID",
    "m": "Contact",
    "l": "Content-Length",
    "c": "Content-Type",
    "r": "Refer-To",
}


def parse(data: bytes) -> Message | None:
    """A message of a datagram, None when it is none."""
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    lines = head.split("\r\n")
    if "SIP/2.0" not in lines[0]:
        return None
    headers = []
    for line in lines[1:]:
        key, _, value = line.partition(":")
        key = key.strip()
        if key.lower() != "content-length":
            headers.append((COMPACT.get(key.lower(), key), value.strip()))
    return Message(lines[0], headers, body)


def tag_of(value: str) -> str:
    found = re.search(r";tag=([^;\s]+)", value)
    return found.group(1) if found else ""


def uri_of(value: str) -> str:
    found = re.search(r"<([^>]+)>", value)
    return found.group(1) if found else value.split(";")[0].strip()


def user_of(value: str) -> str:
    return uri_of(value).split(":", 1)[-1].split("@")[0].split(";")[0]


def token(rng: random.Random, length: int = 10) -> str:
    return "".join(rng.choice("0123456789abcdef") for _ in range(length))


def offer(address: str, port: int, session: int) -> str:
    return (
        f"v=0\r\no=- {session} {session} IN IP4 {address}\r\ns=call\r\nc=IN IP4 {address}\r\n"
        f"t=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    )


def digest(challenge: str, method: str, uri: str, user: str, password: str) -> str:
    """The value of an Authorization header (RFC 2617, MD5)."""
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    first = md5(f"{user}:{fields['realm']}:{password}")
    second = md5(f"{method}:{uri}")
    given = [
        f'username="{user}"',
        f'realm="{fields["realm"]}"',
        f'nonce="{fields["nonce"]}"',
        f'uri="{uri}"',
        "algorithm=MD5",
    ]
    if "qop" in fields:
        count, own = "00000001", "0a4f113b"
        middle = f"{fields['nonce']}:{count}:{own}:auth"
        given += ["qop=auth", f"nc={count}", f'cnonce="{own}"']
    else:
        middle = fields["nonce"]
    given.append(f'response="{md5(f"{first}:{middle}:{second}")}"')
    if "opaque" in fields:
        given.append(f'opaque="{fields["opaque"]}"')
    return "Digest " + ", ".join(given)
