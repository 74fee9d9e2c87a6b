"""Reads the truth files that stand beside recorded captures: who did what, under which settings.

A folder has either one NAME.truth.json for each capture, or one truth.json for all of them, with
more of it compressed in *.truth.json.gz. Nothing in them was written by sipwatch.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipwatch.calls.types import Attempt
from sipwatch.config import Config, parse_toml
from sipwatch.sinks.wire import endpoint_text


@dataclass(frozen=True, slots=True)
class Expected:
    """What an attentive observer would say of one attempt."""

    call_id: str
    source: str
    destination: str
    #: 0 where the truth does not say it.
    first_packet: int
    fact: str
    outcome: str
    acceptable: tuple[str, ...]

    def matches(self, outcome: str, detail: str | None) -> bool:
        """Whether a verdict is what is expected; a detail counts where the truth names one."""
        said = (outcome, f"{outcome}/{detail}")
        return any(word in said for word in (self.outcome, *self.acceptable))


@dataclass(frozen=True, slots=True)
class Recorded:
    """One capture, the settings under which it is judged, and what is expected of it."""

    name: str
    path: Path
    config: Config
    attempts: tuple[Expected, ...]

    def expected_of(self, attempt: Attempt) -> Expected | None:
        """What is expected of an attempt that sipwatch found, None where nothing is.

        By the packet that it begins with; captures of one side begin elsewhere, so else by the
        Call-ID and the hop.
        """
        call_id = attempt.call_id.decode("utf-8", "replace")
        same = [one for one in self.attempts if one.call_id == call_id]
        exact = [one for one in same if one.first_packet == attempt.packet]
        if exact:
            return exact[0]
        ends = _host(endpoint_text(attempt.source)), _host(endpoint_text(attempt.destination))
        return next((one for one in same if (one.source, one.destination) == ends), None)


def recorded(folder: Path) -> Iterator[Recorded]:
    """The captures of a folder that have a truth, in order of their names."""
    for path in sorted(folder.glob("*.truth.json")):
        truth = json.loads(path.read_text(encoding="utf-8"))
        settings = {"local_addresses": truth["local_addresses"], **truth.get("config", {})}
        yield _recorded(folder, path.name.removesuffix(".truth.json"), truth, settings)
    if not (folder / "truth.json").exists():
        return
    whole = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    for more in sorted(folder.glob("*.truth.json.gz")):
        whole["captures"].update(json.loads(gzip.decompress(more.read_bytes()))["captures"])
    usual = whole.get("local_addresses", [whole["pbx_address"]])
    for name, truth in sorted(whole["captures"].items()):
        settings = {"local_addresses": truth.get("local_addresses", usual)}
        yield _recorded(folder, name, truth, settings)


def _recorded(folder: Path, name: str, truth: dict[str, Any], settings: dict[str, Any]) -> Recorded:
    return Recorded(
        name,
        folder / truth["pcap"],
        parse_toml(_toml(settings), name),
        tuple(
            Expected(
                one["call_id"],
                one["source"],
                one["destination"],
                one.get("first_packet", 0),
                one["fact"],
                one["expected"],
                tuple(one["acceptable"]),
            )
            for one in truth["attempts"]
        ),
    )


def _toml(settings: dict[str, Any]) -> str:
    # Strings, numbers and lists of them look the same in JSON and in TOML.
    lines = [f"{key} = {json.dumps(v)}" for key, v in settings.items() if not isinstance(v, dict)]
    for table, values in settings.items():
        if isinstance(values, dict):
            lines.append(f"[{table}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _host(endpoint: str) -> str:
    """Address of `ip:port` or `[ip]:port`."""
    return endpoint.rpartition(":")[0].strip("[]")
