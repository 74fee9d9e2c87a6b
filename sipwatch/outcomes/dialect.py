"""What statuses and causes mean depends on who says it: the dialects of PBXs, read from data.

A dialect is a TOML file in `dialects/`, chosen by the Server or User-Agent of the sender, by a
header that only it writes, by marks of its hand (`[[mark]]`) where a site hides or changes the
name, or by the configuration. Its lines amend rule 4 (`[[final]]`) and section 5.1 (`[[cancel]]`);
the first line that fits speaks.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sipwatch.calls.settings import Network
from sipwatch.calls.types import Attempt
from sipwatch.sip import grammar
from sipwatch.sip.message import Message
from sipwatch.sip.reason import Reason

Meaning = Literal["caller", "ring_timer", "no_progress", "rerouted"]
_MOST_AGENTS = 4096
#: Of a Server or User-Agent value as much is looked at, and remembered.
LONGEST_AGENT = 200


class FinalLine(NamedTuple):
    """A final response of this PBX, and what it means. Empty tuples fit everything."""

    line: str
    outcome: str
    detail: str | None
    confidence: str
    status: tuple[int, ...] = ()
    #: Q.850 causes; "none" stands for a final without any Reason.
    q850: tuple[int | str, ...] = ()
    sip: tuple[int, ...] = ()
    #: Whether a 180 (or 183) came; None = either.
    rang: bool | None = None
    trying: bool | None = None
    #: The reason phrase; empty fits every one.
    phrase: str = ""
    known_timer: bool = False
    #: It speaks of the caller's leg alone, whatever became of the agents.
    own: bool = False
    from_seconds: float = 0.0
    to_seconds: float = float("inf")

    def fits(self, attempt: Attempt, q850: int | None, sip: int | None, timer: bool) -> bool:
        """Whether this line speaks of the attempt's final; `timer`: it rang to a known timer."""
        if self.status and attempt.final_status not in self.status:
            return False
        if self.sip and sip not in self.sip:
            return False
        if self.q850:
            said: int | str = "none" if q850 is None and sip is None else -1
            if q850 is not None:
                said = q850
            if said not in self.q850:
                return False
        if self.rang is not None and self.rang is not (attempt.first_18x_at is not None):
            return False
        if self.trying is not None and self.trying is not (attempt.trying_at is not None):
            return False
        if self.phrase and (attempt.final is None or attempt.final.reason_phrase != self.phrase):
            return False
        if self.known_timer and not timer:
            return False
        seconds = (attempt.final_at or 0.0) - attempt.transmissions[0]
        return self.from_seconds <= seconds < self.to_seconds


class CancelLine(NamedTuple):
    """A CANCEL of this PBX by its Reason, and what it means."""

    line: str
    meaning: Meaning
    confidence: str
    q850: tuple[int, ...] = ()
    sip: tuple[int, ...] = ()
    from_seconds: float = 0.0

    def fits(self, reasons: Sequence[Reason], seconds: float) -> bool:
        """Whether it speaks of a CANCEL with these Reasons, `seconds` after the INVITE."""
        if seconds < self.from_seconds:
            return False
        for reason in reasons:
            if reason.protocol == "Q.850" and reason.cause in self.q850:
                return True
            if reason.protocol == "SIP" and reason.cause in self.sip:
                return True
        return False


class Mark(NamedTuple):
    """How one kind of PBX writes, whatever it calls itself: all that is named must fit."""

    #: Full names, and what one of their values must match. None of `message.SPENT_NAMES`, which
    #: a daemon does not keep.
    headers: tuple[tuple[str, re.Pattern[str]], ...]
    #: What its own tag must match: To of a response, From of a request.
    tag: re.Pattern[str] | None = None

    def fits(self, message: Message) -> bool:
        """Whether this message was written so."""
        if self.tag is not None:
            tag = message.to_tag if message.status else message.from_tag
            if not self.tag.match(tag.decode("ascii", "replace")):
                return False
        return all(
            message.glimpse(name) is not None
            and any(pattern.search(grammar.text(v)) for v in message.values(name.lower().encode()))
            for name, pattern in self.headers
        )


class Dialect(NamedTuple):
    """How one kind of PBX speaks."""

    name: str
    user_agents: tuple[re.Pattern[str], ...]
    headers: tuple[str, ...]
    marks: tuple[Mark, ...]
    is_pbx: bool
    causes_from_status: bool
    refusal_seconds: float
    whole_seconds: bool
    finals: tuple[FinalLine, ...]
    cancels: tuple[CancelLine, ...]


#: Who is unknown speaks by the book.
UNKNOWN = Dialect("", (), (), (), False, False, 0.0, False, (), ())


@cache
def load_dialects() -> dict[str, Dialect]:
    """All dialects by name, from the data files."""
    found = {}
    # As a path: importlib.resources takes longer to load than the files to read.
    for entry in sorted((Path(__file__).parent / "dialects").glob("*.toml")):
        dialect = _dialect(tomllib.loads(entry.read_text(encoding="utf-8")))
        found[dialect.name] = dialect
    return found


def _dialect(data: dict[str, Any]) -> Dialect:
    finals = tuple(
        FinalLine(
            line=line["line"],
            outcome=line["outcome"],
            detail=line.get("detail"),
            confidence=line["confidence"],
            status=tuple(line.get("status", ())),
            q850=tuple(line.get("q850", ())),
            sip=tuple(line.get("sip", ())),
            rang=line.get("rang"),
            trying=line.get("trying"),
            phrase=line.get("phrase", ""),
            known_timer=line.get("known_timer", False),
            own=line.get("own", False),
            from_seconds=line.get("from_seconds", 0.0),
            to_seconds=line.get("to_seconds", float("inf")),
        )
        for line in data.get("final", ())
    )
    cancels = tuple(
        CancelLine(
            line=line["line"],
            meaning=line["meaning"],
            confidence=line.get("confidence", "inferred"),
            q850=tuple(line.get("q850", ())),
            sip=tuple(line.get("sip", ())),
            from_seconds=line.get("from_seconds", 0.0),
        )
        for line in data.get("cancel", ())
    )
    return Dialect(
        name=data["name"],
        user_agents=tuple(re.compile(pattern) for pattern in data.get("user_agents", ())),
        headers=tuple(data.get("headers", ())),
        marks=tuple(
            Mark(
                tuple((name, re.compile(text)) for name, text in mark.get("headers", {}).items()),
                re.compile(mark["tag"]) if "tag" in mark else None,
            )
            for mark in data.get("mark", ())
        ),
        is_pbx=data.get("is_pbx", False),
        causes_from_status=data.get("causes_from_status", False),
        refusal_seconds=data.get("refusal_seconds", 0.0),
        whole_seconds=data.get("ring_timer", {}).get("whole_seconds", False),
        finals=finals,
        cancels=cancels,
    )


class Dialects:
    """Finds the dialect of a sender: by configuration, by its name, by what it said before."""

    def __init__(self, by_network: Mapping[Network, str] | None = None) -> None:
        """`by_network`: names of dialects as configured. Raises ValueError for an unknown one."""
        self._all = load_dialects()
        self._networks: list[tuple[Network, Dialect]] = []
        for network, name in (by_network or {}).items():
            if name not in self._all:
                raise ValueError(f"no dialect {name!r}; known: {', '.join(sorted(self._all))}")
            self._networks.append((network, self._all[name]))
        self._networks.sort(key=lambda pair: -pair[0].prefixlen)
        self._configured: dict[bytes, Dialect | None] = {}
        self._agents: dict[bytes, Dialect] = {}
        #: What was heard of an address last, and under which name.
        self._heard: dict[bytes, tuple[Dialect, bytes]] = {}

    def of_agent(self, agent: bytes) -> Dialect:
        """The dialect of a Server or User-Agent value; `UNKNOWN` for all others."""
        agent = agent[:LONGEST_AGENT]
        found = self._agents.get(agent)
        if found is None:
            if len(self._agents) >= _MOST_AGENTS:
                self._agents.clear()
            text = agent.decode("utf-8", "replace")
            found = UNKNOWN
            for dialect in self._all.values():
                if any(pattern.search(text) for pattern in dialect.user_agents):
                    found = dialect
                    break
            self._agents[agent] = found
        return found

    def is_pbx(self, agent: bytes) -> bool:
        """Whether this User-Agent names a PBX that we know."""
        return bool(agent) and self.of_agent(agent).is_pbx

    @property
    def headers(self) -> set[str]:
        """The headers by which dialects are known."""
        return {name for dialect in self._all.values() for name in dialect.headers} | {
            name
            for dialect in self._all.values()
            for mark in dialect.marks
            for name, _ in mark.headers
        }

    def of(self, address: bytes, *messages: Message | None) -> Dialect:
        """The dialect of who sent these messages from `address`."""
        if self._networks and (configured := self._configured_for(address)) is not None:
            return configured
        named = b""
        for message in messages:
            if message is None:
                continue
            agent = message.glimpse("Server") or message.glimpse("User-Agent") or b""
            found = self.of_agent(agent) if agent else UNKNOWN
            if found is UNKNOWN:
                found = self._by_hand(message)
            named = named or agent
            if found is not UNKNOWN:
                if len(self._heard) >= _MOST_AGENTS:
                    self._heard.clear()
                self._heard[address] = found, agent
                return found
        # No name may be one that was heard before, and so may a name that says nothing to us when
        # it is the same; any other is somebody else.
        found, name = self._heard.get(address, (UNKNOWN, b""))
        return found if not named or named == name else UNKNOWN

    def _configured_for(self, address: bytes) -> Dialect | None:
        if address not in self._configured:
            if len(self._configured) >= _MOST_AGENTS:
                self._configured.clear()
            ip = ip_address(address)
            found = (dialect for network, dialect in self._networks if ip in network)
            self._configured[address] = next(found, None)
        return self._configured[address]

    def _by_hand(self, message: Message) -> Dialect:
        """By headers that only one dialect writes, then by how it writes what others write too."""
        for dialect in self._all.values():
            if any(message.glimpse(name) is not None for name in dialect.headers):
                return dialect
        for dialect in self._all.values():
            if any(mark.fits(message) for mark in dialect.marks):
                return dialect
        return UNKNOWN
