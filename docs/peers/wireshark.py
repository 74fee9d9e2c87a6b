"""SIP messages as Wireshark dissects them, and the state that its VoIP Calls dialog shows.

Starting a tshark for each of several hundred small captures takes minutes, so captures are joined
and read in one pass; packet numbers say which capture a message is of.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

from peers.programs import ProgramError, join, need, output_of, packets_of

#: SIP on any port, in segments of any order: as far as Wireshark looks when it is told to.
PREFERENCES = {
    "tcp.try_heuristic_first": "TRUE",
    "udp.try_heuristic_first": "TRUE",
    "tcp.reassemble_out_of_order": "TRUE",
    "esp.enable_null_encryption_decode_heuristic": "TRUE",
}
#: Layers whose fields are wanted; Wireshark prints no others.
LAYERS = "frame ip ipv6 sip"
#: An ICMP report quotes a message, it is none; Wireshark's own tables leave it out as well.
FILTER = "sip and not icmp and not icmpv6"


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One message; `method` of a response is that of its CSeq, `status` 0 is a request.

    `time` is in epoch seconds.
    """

    packet: int
    time: float
    source: str
    destination: str
    method: str
    status: int
    call_id: str
    cseq: int | None
    branch: str
    to_tag: str

    @property
    def is_invite(self) -> bool:
        """Whether it is an INVITE request."""
        return self.method == "INVITE" and not self.status


#: Reads the messages of one capture that a display filter selects, with rules of option `-d`.
Reader: TypeAlias = Callable[[Path, str, Sequence[str]], Iterator[SipMessage]]


def messages_of(
    captures: Sequence[Path], *, only: str = "", reader: Reader | None = None
) -> dict[Path, list[SipMessage]]:
    """The SIP messages of each capture, in the order of its packets.

    `only` narrows them by a display filter. Raises MissingProgramError and ProgramError.
    """
    need("tshark", "mergecap", "capinfos")
    one = reader or read
    found: dict[Path, list[SipMessage]] = {path: [] for path in captures}
    with tempfile.TemporaryDirectory() as scratch:
        joined = Path(scratch, "joined.pcapng")
        together = _join(captures, joined)
        ends = list(accumulate(packets for packets, _ in packets_of(together)))
        number = 0
        for message in one(joined, only, ()) if together else ():
            while message.packet > ends[number]:
                number += 1
            begins = ends[number - 1] if number else 0
            found[together[number]].append(replace(message, packet=message.packet - begins))
    for path in set(captures).difference(together):
        found[path] = list(one(path, only, ()))
    return found


def _join(captures: Sequence[Path], joined: Path) -> list[Path]:
    """Joins the captures and says which; those that mergecap refuses are left out."""
    together = list(captures)
    while together:
        try:
            join(together, joined)
            break
        except ProgramError as error:
            odd = [path for path in together if f'"{path}"' in str(error)]
            if not odd:
                raise
            together = [path for path in together if path not in odd]
    return together


def read(capture: Path, only: str, decode_as: Sequence[str]) -> Iterator[SipMessage]:
    """What a tshark of its own says of one capture."""
    need("tshark")
    command = ["tshark", "-n", "-r", capture, "-T", "ek", "-J", LAYERS, "-Y", narrowed(only)]
    for name, value in PREFERENCES.items():
        command += ["-o", f"{name}:{value}"]
    for rule in decode_as:
        command += ["-d", rule]
    for line in output_of(*command, seconds=600).splitlines():
        if not line.startswith('{"index"'):
            yield from of_packet(json.loads(line)["layers"])


def narrowed(only: str) -> str:
    """The display filter for messages that `only` selects; "" = all."""
    return f"({FILTER}) and ({only})" if only else FILTER


def of_packet(layers: dict[str, Any]) -> Iterator[SipMessage]:
    """The messages of one packet, as tshark's format `ek` gives its layers.

    Several messages share a packet in a stream; where a layer occurs several times, as in
    tunnels, the last one counts.
    """
    source = destination = ""
    for name in ("ip", "ipv6"):
        for table in _tables(layers, name):
            source, destination = (_one(table, f"{name}_{name}_{end}") for end in ("src", "dst"))
    frame = _tables(layers, "frame")[0]
    number = int(_one(frame, "frame_frame_number"))
    time = float(_one(frame, "frame_frame_time_epoch"))
    for table in _tables(layers, "sip"):
        yield SipMessage(
            number,
            time,
            source,
            destination,
            _one(table, "sip_sip_Method") or _one(table, "sip_sip_CSeq_method"),
            _integer(_one(table, "sip_sip_Status-Code")) or 0,
            _one(table, "sip_sip_Call-ID"),
            _integer(_one(table, "sip_sip_CSeq_seq")),
            _one(table, "sip_sip_Via_branch"),
            _one(table, "sip_sip_to_tag"),
        )


def _tables(layers: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = layers.get(name, [])
    return found if isinstance(found, list) else [found]


def _one(table: dict[str, Any], name: str) -> str:
    """The first value of a field, "" for none."""
    value = table.get(name, "")
    return str(value[0] if isinstance(value, list) else value)


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d+", text) else None


# --- the VoIP Calls dialog ----------------------------------------------------------------------

SETUP, IN_CALL, CANCELLED, COMPLETED, REJECTED = (
    "CALL SETUP",
    "IN CALL",
    "CANCELLED",
    "COMPLETED",
    "REJECTED",
)


@dataclass(slots=True)
class _VoipCall:
    """A row of the dialog: all that has one Call-ID, from its first INVITE on.

    The dialog knows who sent that INVITE by the address alone, and takes as answers what has the
    CSeq number of his latest INVITE and goes back to him.
    """

    caller: str
    cseq: int | None
    state: str = SETUP
    #: What came of the transaction: "" = nothing yet, "2xx", "CANCEL".
    settled: str = ""

    def take(self, message: SipMessage) -> None:
        if message.status:
            self._response(message)
        elif message.method == "BYE":
            self.state = COMPLETED
        elif message.source == self.caller:
            self._request(message)

    def _response(self, message: SipMessage) -> None:
        if message.cseq != self.cseq or message.destination != self.caller or self.settled:
            return
        if 200 <= message.status < 300:
            self.settled = "2xx"
        elif message.status >= 300:
            self.state = REJECTED

    def _request(self, message: SipMessage) -> None:
        if message.method == "INVITE":
            self.cseq, self.state = message.cseq, SETUP
        elif self.state != SETUP or message.cseq != self.cseq:
            return
        elif message.method == "ACK" and self.settled == "2xx":
            self.state = IN_CALL
        elif message.method == "CANCEL":
            self.state, self.settled = CANCELLED, "CANCEL"


def voip_states(messages: Sequence[SipMessage]) -> dict[str, str]:
    """The dialog's state of each Call-ID at the end (ui/voip_calls.c of its source).

    tshark cannot print it, so it is worked out here from what tshark dissects: the same messages
    in the same order, and the dialog's rules.
    """
    calls: dict[str, _VoipCall] = {}
    for message in messages:
        call = calls.get(message.call_id)
        if call is None:
            if not message.call_id or not message.is_invite:
                continue
            call = calls[message.call_id] = _VoipCall(message.source, message.cseq)
        call.take(message)
    return {call_id: call.state for call_id, call in calls.items()}


def call_ids_of(messages: Sequence[SipMessage]) -> frozenset[str]:
    """The Call-IDs of all dialogs, calls or not."""
    return frozenset(message.call_id for message in messages if message.call_id)
