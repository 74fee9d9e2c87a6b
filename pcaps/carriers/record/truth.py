"""The truth file of a recording: its definition, with what tshark finds of each INVITE.

tshark only says which INVITE is which (Call-ID, packet); with the key log it also sees those that
were encrypted. The form is that of the other captures' truth files (pcaps/*.truth.json), and more:
``transport`` and ``encrypted`` of each attempt, ``keylog`` and ``tls_connections`` of the file.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from table import Recording, Table

_FIELDS = (
    "frame.number", "frame.time_relative", "ip.src", "ip.dst", "sip.Call-ID", "sip.r-uri",
    "sip.from.addr", "frame.protocols", "sip.CSeq.seq",
)  # fmt: skip
#: What tshark adds to an attempt.
_FOUND = ("call_id", "from", "request_uri", "first_packet", "t")
_TRANSPORTS = {
    (False, False): "TCP", (True, False): "TLS", (False, True): "WS", (True, True): "WSS",
}  # fmt: skip


def defined(recording: Recording, addresses: dict[str, str]) -> dict[str, Any]:
    """What the definition alone says."""
    return {
        "fact": recording.fact,
        "local_addresses": [addresses["pbx"]],
        "tls_connections": recording.tls_connections,
        "invites": len(recording.attempts),
        "reinvites": 0,
        "copies": 1,
        "attempts": [
            {
                "source": addresses[one.source],
                "destination": addresses[one.destination],
                "transport": one.transport,
                "encrypted": one.transport in ("TLS", "WSS"),
                "invites": 1,
                "fact": recording.fact,
                "expected": one.expected,
                "acceptable": list(one.acceptable),
                "why": one.why,
                **({"confidence": one.confidence} if one.confidence else {}),
                **({"confidence_alone": one.confidence_alone} if one.confidence_alone else {}),
            }
            for one in recording.attempts
        ],
    }


def only_defined(known: dict[str, Any]) -> dict[str, Any]:
    """A truth file without what tshark added: comparable with `defined`."""
    attempts = [
        {key: value for key, value in attempt.items() if key not in _FOUND}
        for attempt in known["attempts"]
    ]
    return {**known, "attempts": attempts}


def renewed(known: dict[str, Any], told: dict[str, Any]) -> str:
    """A truth file after a change of its definition alone: what tshark found stays."""
    attempts = [
        {key: old[key] for key in _FOUND if key in old} | new
        for old, new in zip(known["attempts"], told["attempts"], strict=True)
    ]
    head = {key: known[key] for key in ("pcap", "keylog", "recorded_with") if key in known}
    return _text({**head, **told, "attempts": attempts})


def _text(known: dict[str, Any]) -> str:
    return json.dumps(known, indent=1, ensure_ascii=False) + "\n"


def content(table: Table, tools: dict[str, str], capture: str, keylog: str | None) -> str:
    """The text of NAME.truth.json. Raises RuntimeError when the capture holds something else."""
    recording = table.recording
    addresses = {name: party.address for name, party in table.parties.items()}
    told = defined(recording, addresses)
    rows = invites(table.capture_file, table.keylog if keylog else None)
    attempts = []
    for attempt in told["attempts"]:
        ends = attempt["source"], attempt["destination"]
        row = next((row for row in rows if (row["ip.src"], row["ip.dst"]) == ends), None)
        if row is None:
            raise RuntimeError(f"{recording.name}: no INVITE from {ends[0]} to {ends[1]}")
        rows.remove(row)
        attempts.append({**_identity(row), **attempt})
        if _transport(row) != attempt["transport"]:
            raise RuntimeError(f"{recording.name}: {_transport(row)}, not {attempt['transport']}")
    if rows:
        raise RuntimeError(f"{recording.name}: not in the definition: {rows}")
    known = {"pcap": capture, **({"keylog": keylog} if keylog else {}), "recorded_with": tools}
    return _text({**known, **told, "attempts": attempts})


def invites(capture: Path, keylog: Path | None) -> list[dict[str, str]]:
    """The INVITEs without a To tag, by tshark."""
    command = ["tshark", "-n", "-r", str(capture), "-Y", 'sip.Method == "INVITE" && !sip.to.tag']
    if keylog is not None:
        command += ["-o", f"tls.keylog_file:{keylog}"]
    command += ["-T", "fields", "-E", "separator=/t", "-E", "occurrence=f"]
    for field in _FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [dict(zip(_FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]


def _transport(row: dict[str, str]) -> str:
    protocols = row["frame.protocols"].split(":")
    return _TRANSPORTS["tls" in protocols, "websocket" in protocols]


def _identity(row: dict[str, str]) -> dict[str, Any]:
    return {
        "call_id": row["sip.Call-ID"],
        "from": f"sip:{row['sip.from.addr'].removeprefix('sip:')}",
        "request_uri": row["sip.r-uri"],
        "first_packet": int(row["frame.number"]),
        "t": round(float(row["frame.time_relative"]), 3),
    }
