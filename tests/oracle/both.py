"""One capture as tshark sees it and as sipwatch sees it, and where the two differ."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from sipwatch.capture.files import CaptureFiles
from sipwatch.cli.reading import batches
from sipwatch.config import Config
from sipwatch.net.types import Batch, Datagram
from sipwatch.pipeline import Replay
from sipwatch.sinks.record import attempt_record
from sipwatch.sip.message import SipError, parse

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
from peers.wireshark import SipMessage

#: INVITE requests, what answers them, and what cancels them.
ONLY = 'sip.CSeq.method == "INVITE"'
#: The same message again within this is a copy, for a sender waits T1 = 0.5 s (17.1.1.2).
COPY_SECONDS = 0.020
_DISSECT = Path(__file__).with_name("dissect.py")


def by_pyshark(capture: Path, only: str, decode_as: Sequence[str]) -> Iterator[SipMessage]:
    """What pyshark's tshark says of one capture."""
    command = [sys.executable, str(_DISSECT), str(capture), "--only", only]
    command += [part for rule in decode_as for part in ("--decode-as", rule)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return (SipMessage(*json.loads(line)) for line in done.stdout.splitlines())


class Seen(NamedTuple):
    """What of a message both name alike."""

    packet: int
    status: int
    call_id: str
    cseq: int
    branch: str


@dataclass(slots=True)
class Ours:
    """What sipwatch made of a capture: the messages it read, and the records it gave."""

    messages: Counter[Seen] = field(default_factory=Counter)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))


def by_us(capture: Path) -> Ours:
    """Reads and judges a capture once."""
    ours = Ours()
    replay = Replay([str(capture)], Config(), source=_Tap([str(capture)], ours))
    for attempts, _ in batches(replay, progress=False):
        for attempt in attempts:
            record = attempt_record(attempt)
            ours.records[record["call_id"]].append(record)
    return ours


class _Tap(CaptureFiles):
    """A source that also parses what it hands on, with all that makes a message an INVITE's."""

    def __init__(self, paths: Sequence[str], ours: Ours) -> None:
        super().__init__(paths)
        self._ours = ours

    def batches(self) -> Iterator[Batch]:
        for batch in super().batches():
            self._ours.messages.update(filter(None, map(_seen, batch)))
            yield batch


def _seen(item: Any) -> Seen | None:
    if not isinstance(item, Datagram):
        return None
    try:
        message = parse(item.payload)
    except SipError:
        return None
    if message.method != "INVITE":
        return None
    texts = (part.decode("utf-8", "replace") for part in (message.call_id, message.branch))
    call_id, branch = texts
    return Seen(item.number, message.status, call_id, message.cseq, branch)


def theirs(messages: Sequence[SipMessage]) -> Counter[Seen]:
    """tshark's messages in the terms of both."""
    invites = [message for message in messages if message.method == "INVITE"]
    return Counter(Seen(m.packet, m.status, m.call_id, m.cseq or 0, m.branch) for m in invites)


# --- transactions and records -------------------------------------------------------------------


@dataclass(slots=True)
class Transaction:
    """One INVITE transaction as tshark's messages show it."""

    #: Packet number and time of each INVITE; none where only answers were captured.
    sent: list[tuple[int, float]] = field(default_factory=list)
    #: Statuses in order, each once.
    answers: list[int] = field(default_factory=list)

    @property
    def final(self) -> int | None:
        """The 2xx where one came (it wins, section 9.1), else the last final; None for none."""
        finals = [status for status in self.answers if status >= 200]
        good = [status for status in finals if status < 300]
        return good[0] if good else finals[-1] if finals else None

    def retransmissions(self, records: Sequence[dict[str, Any]]) -> int:
        """INVITEs after the first one that are no copies, up to the end of the record.

        A record is settled when its call is over; a dead leg's INVITE goes on until 31.5 s.
        """
        if not self.sent:
            return 0
        (packet, last), *later = self.sent
        ends = [r["ended_at"] for r in records if r["first_packet"] == packet and r["ended_at"]]
        until = ends[0] if ends else inf
        count = 0
        for _, time in later:
            if time - last >= COPY_SECONDS and time <= until:
                count, last = count + 1, time
        return count


Transactions = dict[tuple[int | None, str], Transaction]


def transactions(messages: Sequence[SipMessage]) -> dict[str, Transactions]:
    """INVITE transactions outside of dialogs, by Call-ID and then by CSeq number and branch."""
    found: dict[str, Transactions] = defaultdict(dict)
    inside: set[tuple[str, int | None, str]] = set()
    for message in messages:
        key = message.cseq, message.branch
        if message.method != "INVITE" or (message.call_id, *key) in inside:
            continue
        if message.is_invite and message.to_tag:
            inside.add((message.call_id, *key))
            continue
        one = found[message.call_id].setdefault(key, Transaction())
        if message.is_invite:
            one.sent.append((message.packet, message.time))
        elif message.status not in one.answers:
            one.answers.append(message.status)
    return found


def differences(
    known: dict[str, Transactions], records: dict[str, list[dict[str, Any]]]
) -> Iterator[str]:
    """What the records say otherwise than the transactions, Call-ID by Call-ID."""
    for call_id in known.keys() | records.keys():
        by_key, mine = known.get(call_id, {}), records.get(call_id, [])
        yield from (f"{call_id}: {line}" for line in _of_call_id(list(by_key.values()), mine))


def _of_call_id(ones: list[Transaction], records: list[dict[str, Any]]) -> Iterator[str]:
    # Answers without their INVITE make a record where they show an attempt, not within dialogs.
    least, most = sum(bool(one.sent) for one in ones), len(ones)
    legs = sum(record["legs"] for record in records)
    # Its CANCEL alone makes a record as well.
    alone = sum(r["outcome"] == "incomplete" and r["code"] is None for r in records)
    if not least <= legs <= most + alone:
        yield f"{least} to {most} transactions, {legs} legs"
    sent_again = sum(one.retransmissions(records) for one in ones)
    counted = sum(record["retransmissions"] for record in records)
    if sent_again != counted:
        yield f"{sent_again} retransmissions, {counted} counted"
    finals = Counter(one.final for one in ones if one.final is not None)
    codes = Counter(record["code"] for record in records if record["code"] is not None)
    if codes - finals:
        yield f"finals {sorted(finals.elements())}, codes {sorted(codes.elements())}"
    # A challenge or a redirection that was followed is no outcome; these always are.
    seen = Counter(one.final for one in ones if one.sent and one.final is not None)
    left = {code for code in seen - codes if code < 300 or code in (480, 486, 487, 600, 603)}
    if left:
        yield f"no record has the final {sorted(left)}"
    silent = sum(one.final is None for one in ones)
    if sum(record["code"] is None for record in records) > silent + alone:
        yield "a final is missing in the records"
