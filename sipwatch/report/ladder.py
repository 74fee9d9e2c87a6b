"""The messages of a call in order of time, retransmissions folded into the first one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sipwatch.calls.types import Attempt, Endpoint
from sipwatch.net.types import Batch, Datagram, Unreachable
from sipwatch.sip.message import Message, SipError, parse

#: The same message closer than this is a copy, not a retransmission (outcomes.md section 1).
_COPY_SECONDS = 0.02
#: Rows kept; a call with more messages is shown as far as this.
_MAX_ROWS = 2_000
#: Headers that are shown below their message.
_NOTED = ("Reason", "Warning", "Refer-To", "Replaces", "Diversion")


class Batches(Protocol):
    """A source of datagrams that begins anew."""

    def batches(self) -> Iterator[Batch]:
        """Lists of datagrams in order of time."""


@dataclass(slots=True)
class Row:
    """One message, with how often it was sent."""

    time: float
    #: Position of its leg among the legs of the call; None for what belongs to none.
    leg: int | None
    source: Endpoint
    destination: Endpoint
    label: str
    #: Final status of a response, 0 of a request, -1 of an ICMP report.
    status: int
    method: str
    number: int
    interface: str
    transport: str
    #: `Reason: Q.850;cause=19` and the like.
    notes: list[str] = field(default_factory=list)
    last_time: float = 0.0
    #: Transmissions, copies of the same packet not counted.
    count: int = 1
    copies: int = 0


class Ladder:
    """Rows of the messages that belong to the given legs."""

    def __init__(self, legs: Sequence[Attempt]) -> None:
        self.rows: list[Row] = []
        #: Messages beyond the bound.
        self.left_out = 0
        self._legs = legs
        self._call_ids = {leg.call_id for leg in legs}
        self._seen: dict[tuple[object, ...], Row] = {}

    @property
    def participants(self) -> list[Endpoint]:
        """Endpoints in the order of their first message."""
        found: dict[Endpoint, None] = {}
        for row in self.rows:
            found.setdefault(row.source)
            found.setdefault(row.destination)
        return list(found)

    @classmethod
    def read(cls, source: Batches, legs: Sequence[Attempt]) -> Ladder:
        """Reads the captures again for the messages of these legs."""
        ladder = cls(legs)
        for batch in source.batches():
            ladder.take(batch)
        ladder.rows.sort(key=lambda row: row.time)
        return ladder

    def take(self, batch: Iterable[object]) -> None:
        """Takes what belongs to the call out of a batch."""
        for item in batch:
            if isinstance(item, Datagram):
                payload = item.payload
                if any(call_id in payload for call_id in self._call_ids):
                    self._datagram(item)
            elif isinstance(item, Unreachable):
                self._unreachable(item)

    def _datagram(self, datagram: Datagram) -> None:
        try:
            message = parse(datagram.payload)
        except SipError:
            return
        if message.call_id not in self._call_ids:
            return
        key = (
            datagram.source,
            datagram.destination,
            message.start_line,
            message.method,
            message.cseq,
            message.branch,
            message.to_tag,
            message.call_id,
        )
        row = self._seen.get(key)
        if row is not None:
            if datagram.time - row.last_time < _COPY_SECONDS:
                row.copies += 1
            else:
                row.count += 1
                row.last_time = datagram.time
            return
        if len(self.rows) >= _MAX_ROWS:
            self.left_out += 1
            return
        row = self._seen[key] = _row(datagram, message, self._leg(datagram, message))
        self.rows.append(row)

    def _leg(self, datagram: Datagram, message: Message) -> int | None:
        """Which leg a message belongs to: by Call-ID, among forks by branch, then by flow."""
        candidates = [
            position for position, leg in enumerate(self._legs) if leg.call_id == message.call_id
        ]
        if len(candidates) == 1:
            return candidates[0]
        ends = {datagram.source, datagram.destination}
        for position in candidates:
            leg = self._legs[position]
            if message.branch in (leg.branch, leg.leg_branch):
                return position
        for position in candidates:
            leg = self._legs[position]
            if ends == {leg.source, leg.destination}:
                return position
        return None

    def _unreachable(self, report: Unreachable) -> None:
        for position, leg in enumerate(self._legs):
            if (
                leg.icmp_at is not None
                and abs(report.time - leg.icmp_at) < _COPY_SECONDS
                and report.destination == leg.destination
            ):
                port = report.destination[1] if report.reporter == report.destination[0] else 0
                self.rows.append(
                    Row(
                        time=report.time,
                        last_time=report.time,
                        leg=position,
                        source=(report.reporter, port),
                        destination=report.source,
                        label=f"ICMP unreachable, code {report.code}",
                        status=-1,
                        method="ICMP",
                        number=report.number,
                        interface=report.interface,
                        transport="ICMP",
                    )
                )
                return


def _row(datagram: Datagram, message: Message, leg: int | None) -> Row:
    return Row(
        time=datagram.time,
        last_time=datagram.time,
        leg=leg,
        source=datagram.source,
        destination=datagram.destination,
        label=_label(message),
        status=message.status,
        method=message.method,
        number=datagram.number,
        interface=datagram.interface,
        transport=datagram.transport,
        notes=list(_notes(message)),
    )


def _label(message: Message) -> str:
    """`INVITE (SDP)`, `re-INVITE`, `200 OK (BYE)`."""
    marks = []
    if message.status:
        text = f"{message.status} {message.reason_phrase}".strip()
        if message.method != "INVITE":
            marks.append(message.method)
    else:
        text = "re-INVITE" if message.method == "INVITE" and message.to_tag else message.method
        if message.header("authorization") or message.header("proxy-authorization"):
            marks.append("auth")
    if message.has_sdp:
        marks.append("SDP")
    return f"{text} ({', '.join(marks)})" if marks else text


def _notes(message: Message) -> Iterator[str]:
    for name in _NOTED:
        for value in message.headers(name):
            yield f"{name}: {value.decode('utf-8', 'replace')}"
