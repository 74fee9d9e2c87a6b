"""Public captures against their index: every INVITE has its record, and the finals agree.

The index (`../shared/captures/INDEX.jsonl`) was made by another program. One of its INVITEs is the
first leg of a record, a later leg of a chain (a challenge or redirection that was retried), or the
next hop of a call; each must be found again, with the final status that the capture holds.
"""

from __future__ import annotations

import json
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sipwatch.calls.types import Attempt, AttemptEnded
from sipwatch.config import Config
from sipwatch.pipeline import Replay

FOLDER = Path(__file__).resolve().parents[3] / "shared/captures"
Entry = dict[str, Any]


def index() -> list[Entry]:
    path = FOLDER / "INDEX.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


ENTRIES = [entry for entry in index() if entry["invites"] and not entry["decode_as"]]


@cache
def attempts_of(name: str) -> tuple[Attempt, ...]:
    replay = Replay([str(FOLDER / name)], Config())
    return tuple(
        event.attempt
        for events in replay.events()
        for event in events
        if isinstance(event, AttemptEnded)
    )


def invites_of(entry: Entry) -> list[Entry]:
    """The INVITEs of all hops, with what identifies them."""
    found = []
    for invite in entry["invites"]:
        found.append(invite)
        for leg in invite["legs"]:
            found.append({**invite, **leg, "legs": []})
    # Fuzzed INVITEs without the headers of 8.1.1 are of no transaction; they are counted.
    broken = "malformed" in entry["features"]
    return [
        one
        for one in found
        if one["call_id"] and one["cseq"] is not None and not (broken and not one["branch"])
    ]


def place(text: str) -> tuple[bytes, int]:
    host, _, port = text.rpartition(":")
    return ip_address(host.strip("[]")).packed, int(port)


def covering(invite: Entry, attempts: tuple[Attempt, ...]) -> list[Attempt]:
    """The records of this Call-ID and From tag."""
    return [
        a
        for a in attempts
        if a.call_id == invite["call_id"].encode() and a.from_tag == invite["from_tag"].encode()
    ]


def final_of(attempt: Attempt) -> int | None:
    if attempt.answered_at is not None and attempt.answer is not None:
        return attempt.answer.status
    return attempt.final_status or None


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["file"] for entry in ENTRIES])
def test_every_invite_has_its_record_and_its_final(entry: Entry) -> None:
    attempts = attempts_of(entry["file"])
    wrong = []
    for invite in invites_of(entry):
        name = f"{invite['call_id']} {invite['cseq']} {invite['src']}>{invite['dst']}"
        records = covering(invite, attempts)
        branch = invite["branch"].encode()
        first = [a for a in records if a.branch == branch and a.cseq == invite["cseq"]]
        last = [a for a in records if a.leg_branch == branch and a.leg_cseq == invite["cseq"]]
        between = [a for a in records if a.legs > 2 and a.cseq < invite["cseq"] < a.leg_cseq]
        if not first and not last and not between:
            wrong.append(f"{name}: no record")
        elif (
            last
            and invite["call_id"] not in ANSWERED_UNDER_ANOTHER_TAG
            and invite["final_status"] not in {final_of(a) for a in last}
        ):
            said = {final_of(a) for a in last}
            wrong.append(f"{name}: {said}, the index says {invite['final_status']}")
        elif first and not last and invite["final_status"] not in CHAINED:
            wrong.append(f"{name}: {invite['final_status']} was taken for the start of a chain")
    assert not wrong, "\n".join(wrong)


#: The responses carry another From tag than their INVITE; the branch counts (17.1.3).
ANSWERED_UNDER_ANOTHER_TAG = ("2e48d1153c4ad9145ace323d4fb6eb55@172.16.8.103",)
#: What may be retried by itself; None: it went past the capture.
CHAINED = frozenset((401, 407, 420, 421, 422, 491, 494, None)) | frozenset(range(300, 400))


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["file"] for entry in ENTRIES])
def test_no_record_is_of_nothing(entry: Entry) -> None:
    known = {(i["call_id"].encode(), i["branch"].encode()) for i in invites_of(entry)}
    without_id = any(not i["call_id"] for i in entry["invites"])
    for attempt in attempts_of(entry["file"]):
        if attempt.invite is not None and not without_id:
            assert (attempt.call_id, attempt.branch) in known, attempt


def test_the_captures_are_there_where_they_should_be() -> None:
    if FOLDER.exists():
        assert len(ENTRIES) > 80


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["file"] for entry in ENTRIES])
def test_ringing_and_cancel_are_as_the_index_says(entry: Entry) -> None:
    attempts = attempts_of(entry["file"])
    for invite in invites_of(entry):
        branch = invite["branch"].encode()
        for attempt in covering(invite, attempts):
            alone = attempt.legs == 1 and attempt.invite is not None
            if not alone or attempt.branch != branch or attempt.cseq != invite["cseq"]:
                continue
            if invite["call_id"] in ANSWERED_UNDER_ANOTHER_TAG:
                continue
            assert (attempt.cancel_at is not None) == invite["cancel"], invite
            rang, final = invite["first_18x_delay"], invite["final_delay"]
            late = rang is not None and final is not None and final < rang  # after the answer
            if {180, 183} & set(invite["provisional"]) and rang is not None and not late:
                assert attempt.first_18x_at is not None, invite
                delay = attempt.first_18x_at - attempt.started_at
                assert abs(delay - rang) < 0.002, invite
