"""The part of docs/confusion.md that only counts: large captures, and those beside the project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from peers import sngrep, wireshark
from peers.programs import ProgramError, packets_of, version_of
from peers.rows import Row, rows_of, rows_without_truth
from peers.tables import matrix, sides

#: Kinds of links that sngrep reads and that can be joined.
_LINKS = {"ether", "linux-sll", "null", "rawip", "rawip4"}


def elsewhere(own: Sequence[Path], shared: Path, large: str) -> str:
    """Counts over captures whose attempts are not listed one by one: the large ones of the
    project's own folders, and those of a folder beside the project.
    """
    with_truth = rows_of(own, only=large)
    with_truth += rows_of([path.parent for path in sorted(shared.glob("*/truth.json"))])
    parts = [
        "## More captures, counted only\n",
        f"Written with sngrep {version_of('sngrep')} and tshark {version_of('tshark')}. The test "
        "suite does not\ncompare this part: it takes minutes, and some of the captures are not the "
        "project's.\n",
        "### Busy hours, and the captures of other PBXs\n",
        f"Of {len(with_truth):,} attempts in {len({r.capture for r in with_truth}):,} captures "
        "with a truth.\n",
        sides(with_truth),
    ]
    found, left_out = _public(shared)
    if found:
        parts += [
            "### Captures from the field\n",
            f"Nobody wrote down what happened in them. {len(found):,} attempts; captures that "
            f"sngrep or mergecap\ndo not read are left out ({left_out}).\n",
            *(matrix(found, reading, "####") for reading in ("code", "sngrep", "wireshark")),
        ]
    return "\n".join(parts)


def _public(folder: Path) -> tuple[list[Row], int]:
    """Rows of the captures that an index lists, and how many could not be read by all."""
    index = folder / "INDEX.jsonl"
    if not index.exists():
        return [], 0
    entries = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
    captures = [folder / one["file"] for one in entries if one["initial_invite_calls"]]
    read = [path for path in captures if _is_plain(path)]
    messages = wireshark.messages_of(read)
    dialogs = {path: wireshark.call_ids_of(found) for path, found in messages.items()}
    states = sngrep.call_states({path: ids for path, ids in dialogs.items() if ids})
    rows: list[Row] = []
    for path in read:
        dialog_states = wireshark.voip_states(messages[path])
        rows += rows_without_truth(path, states.get(path, {}), dialog_states)
    return rows, len(captures) - len(read)


def _is_plain(path: Path) -> bool:
    try:
        return packets_of([path])[0][1] in _LINKS
    except ProgramError:
        return False
