"""What survives a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipwatch.daemon.state import FILE_NAME, State, StateKeeper, load_state
from sipwatch.outcomes.ring_timers import RingTimers

TIMERS = {
    ("sent", b"\x0a\x09\x00\x01"): [20.0, 20.1, 19.95],
    ("refusal", "Linphone/5 é"): [45.0] * 7,
    ("sent-invite", bytes(15) + b"\x01"): [],
}


def test_as_it_was_given() -> None:
    state = State(1_776_934_800.25, 17, 40, False, dict(TIMERS))
    assert State.from_json(state.to_json()) == state


def test_learned_timers_are_learned_again() -> None:
    learned = RingTimers()
    for gap in (20.0, 20.1, 19.95, 20.02, 20.05, 20.0):
        learned.add(("sent", b"\x0a\x09\x00\x01"), gap)
    again = RingTimers()
    again.restore(State.from_json(State(ring_timers=learned.state()).to_json()).ring_timers)
    assert again.match(("sent", b"\x0a\x09\x00\x01"), 20.0) == learned.match(
        ("sent", b"\x0a\x09\x00\x01"), 20.0
    )
    assert again.match(("sent", b"\x0a\x09\x00\x01"), 20.0) is not None


def test_kept_and_loaded(tmp_path: Path) -> None:
    keeper = StateKeeper(str(tmp_path / "new"))
    keeper.start()
    keeper.keep(State(5.0, 1, 2, False, {}))
    newest = State(6.0, 3, 4, True, dict(TIMERS))
    keeper.keep(newest)
    keeper.stop(10)
    assert load_state(str(tmp_path / "new")) == newest
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert load_state(str(tmp_path)) == State()
    assert State().finished


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"version": 2}',
        '{"version": 1, "saved_at": "x"}',
        json.dumps(
            {**json.loads(State().to_json()), "ring_timers": [["sent", "address", "zz", []]]}
        ),
        json.dumps({**json.loads(State().to_json()), "ring_timers": [["sent"]]}),
        json.dumps({**json.loads(State().to_json()), "ring_timers": [["a", "name", "b", ["x"]]]}),
        json.dumps({**json.loads(State().to_json()), "in_progress": 3}),
        "[" * 100_000,
    ],
)
def test_a_broken_file_is_no_state(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert load_state(str(tmp_path)) == State()


def test_a_place_that_cannot_be_written_is_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    keeper = StateKeeper(str(tmp_path / "file" / "below"))
    keeper.start()
    keeper.keep(State())
    keeper.stop(10)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.endswith("file/below/state.json: Not a directory")
