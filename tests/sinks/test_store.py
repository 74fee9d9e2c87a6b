"""The daemon's stores: whole batches in SQLite, and files that are changed for new ones."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from call_flows import abandoned, answered, busy, run

from sipwatch.sinks.line import attempt_line, call_line
from sipwatch.sinks.record import ATTEMPT_FIELDS, CALL_FIELDS
from sipwatch.sinks.rotation import RotatingLines
from sipwatch.sinks.sink import SinkError
from sipwatch.sinks.sqlite import SqliteRecords
from sipwatch.sinks.store import RecordStore, UnreadableRecords


def lines() -> tuple[list[str], list[str]]:
    attempts, calls = run(
        [
            busy(from_='"Zoë \\"O\'Neil\\" 🙂" <sip:+49301110000@10.9.0.50>'),
            answered(10, call_id="b"),
            abandoned(100, call_id="c"),
        ]
    )
    return [attempt_line(each) for each in attempts], [call_line(each) for each in calls]


def rows(path: Path, table: str) -> dict[str, tuple]:
    database = sqlite3.connect(path)
    return {row[2]: row for row in database.execute(f"SELECT * FROM {table}")}


def test_a_batch_is_stored_as_one_row_each(tmp_path: Path) -> None:
    """The rows are those that the sink for single records writes, type by type."""
    attempts, calls = run([busy(), answered(10, call_id="b"), abandoned(100, call_id="c")])
    single = SqliteRecords(str(tmp_path / "single.sqlite"))
    for attempt in attempts:
        single.attempt(attempt)
    for call in calls:
        single.call(call)
    single.close()
    store = RecordStore(str(tmp_path))
    store.write([attempt_line(each) for each in attempts], [call_line(each) for each in calls])
    store.close()
    for table, fields in (("attempts", ATTEMPT_FIELDS), ("calls", CALL_FIELDS)):
        expected = rows(tmp_path / "single.sqlite", table)
        found = rows(tmp_path / "records.sqlite", table)
        assert len(found) == 3
        assert found.keys() == expected.keys()
        for key, row in found.items():
            assert dict(zip(fields, row, strict=True)) == dict(
                zip(fields, expected[key], strict=True)
            )
            assert [type(value) for value in row] == [type(value) for value in expected[key]]


def test_a_locked_database_is_an_error_and_nothing_is_half_written(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path), wait_seconds=0.05)
    other = sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    attempts, calls = lines()
    with pytest.raises(SinkError, match="locked"):
        store.write(attempts, calls)
    other.execute("ROLLBACK")
    store.write(attempts, calls)
    assert len(rows(tmp_path / "records.sqlite", "attempts")) == 3
    store.close()


def test_texts_that_look_like_the_fields_around_them(tmp_path: Path) -> None:
    attempts, calls = run([busy(call_id='x","code":1,"evidence":[],"attempts":["y"],"agent":')])
    trap = '],"code":0,"evidence":["no"],"q850":1,"agent":"z","wait_duration":3'
    for one in (*attempts, *calls):
        one.verdict = one.verdict._replace(evidence=(trap, '"', "\\"))
    store = RecordStore(str(tmp_path))
    store.write([attempt_line(each) for each in attempts], [call_line(each) for each in calls])
    store.close()
    for table, fields, line in (
        ("attempts", ATTEMPT_FIELDS, attempt_line(attempts[0])),
        ("calls", CALL_FIELDS, call_line(calls[0])),
    ):
        (row,) = rows(tmp_path / "records.sqlite", table).values()
        stored = dict(zip(fields, row, strict=True))
        for name, value in json.loads(line).items():
            assert value == (json.loads(stored[name]) if isinstance(value, list) else stored[name])


def test_a_line_that_is_none_is_said(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    attempts, calls = lines()
    with pytest.raises(UnreadableRecords):
        store.write([*attempts, '{"id": "x",'], calls)
    assert rows(tmp_path / "records.sqlite", "attempts") == {}
    store.write(attempts, calls)
    assert len(rows(tmp_path / "records.sqlite", "calls")) == 3
    store.close()


def test_a_deleted_database_is_noticed(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    assert not store.is_stale
    os.unlink(tmp_path / "records.sqlite")
    assert store.is_stale
    store.close()


def test_a_file_that_is_no_database_makes_room_for_one(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    path.write_bytes(b"this is not a database\n" * 500)
    with pytest.raises(SinkError, match=r"not a database; it is .*records\.sqlite\.damaged now"):
        RecordStore(str(tmp_path))
    assert (tmp_path / "records.sqlite.damaged").read_bytes().startswith(b"this is not")
    store = RecordStore(str(tmp_path))
    store.write(*lines())
    store.close()
    assert len(rows(path, "attempts")) == 3


def test_a_database_that_is_damaged_while_it_is_used(tmp_path: Path) -> None:
    """As by a disk that lies: pages of the file are others than SQLite wrote."""
    path = tmp_path / "records.sqlite"
    store = RecordStore(str(tmp_path))
    store.write(*lines())
    store.close()
    store = RecordStore(str(tmp_path))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(SinkError, match=r"it is .*damaged now, and a new one is made"):
        store.write(*lines())
    store.close()
    assert not path.exists()
    assert (tmp_path / "records.sqlite.damaged").stat().st_size > 4096
    store = RecordStore(str(tmp_path))
    store.write(*lines())
    store.close()
    assert len(rows(path, "attempts")) == 3


def test_a_database_of_another_version_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    sqlite3.connect(path).execute("PRAGMA user_version = 77").connection.close()
    with pytest.raises(SinkError, match="written by another version"):
        RecordStore(str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["records.sqlite"]


def test_old_records_expire(tmp_path: Path) -> None:
    store = RecordStore(str(tmp_path))
    attempts, calls = lines()
    store.write(attempts, calls)
    second = sorted(json.loads(line)["started_at"] for line in attempts)[1]
    assert store.expire(second, 1 << 30) == 2
    assert len(rows(tmp_path / "records.sqlite", "attempts")) == 2
    assert store.stored_bytes > 0
    store.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1_776_934_800.0

    def __call__(self) -> float:
        return self.now


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_lines_are_appended_as_they_are(tmp_path: Path) -> None:
    attempts, calls = lines()
    sink = RotatingLines(str(tmp_path), 1 << 20)
    sink.write(attempts, [])
    sink.write([], calls)
    sink.close()
    text = (tmp_path / "records.jsonl").read_text()
    assert text == "".join(attempts + calls)
    assert [json.loads(line)["kind"] for line in text.splitlines()] == ["attempt"] * 3 + [
        "call"
    ] * 3


def test_a_file_is_changed_by_size_and_by_day(tmp_path: Path) -> None:
    clock = Clock()
    sink = RotatingLines(str(tmp_path), 1000, clock=clock)
    sink.write(["a" * 60 + "\n"], [])
    sink.write(["b" * 60 + "\n"], [])
    assert files(tmp_path) == ["records-20260423T090000Z.jsonl", "records.jsonl"]
    sink.write(["c" * 60 + "\n"], [])
    assert files(tmp_path) == [
        "records-20260423T090000Z-1.jsonl",
        "records-20260423T090000Z.jsonl",
        "records.jsonl",
    ]
    clock.now += 86_400
    sink.write(["d\n"], [])
    assert "records-20260424T090000Z.jsonl" in files(tmp_path)
    assert (tmp_path / "records.jsonl").read_text() == "d\n"
    sink.close()


def test_files_expire_by_age_and_size(tmp_path: Path) -> None:
    clock = Clock()
    sink = RotatingLines(str(tmp_path), 1000, clock=clock)
    for number in range(6):
        clock.now += 60
        sink.write([str(number) * 80 + "\n"], [])
    done = sorted(path for path in tmp_path.iterdir() if path.name != "records.jsonl")
    for age, path in enumerate(done):
        os.utime(path, (1000.0 + age, 1000.0 + age))
    assert sink.stored_bytes == 6 * 81
    assert sink.expire(1002.0, 1000) == 2
    assert [path for path in done if path.exists()] == done[2:]
    assert sink.expire(0.0, 2 * 81) == 2
    assert [path for path in done if path.exists()] == done[4:]
    # What is not ours stays.
    (tmp_path / "records-of-mine.jsonl").write_text("x")
    assert sink.expire(9e9, 0) == 1
    assert files(tmp_path) == ["records-of-mine.jsonl", "records.jsonl"]
    sink.close()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """A write that is cut short by the system takes nothing: no half line stays."""
    import resource

    sink = RotatingLines(str(tmp_path), 1 << 20)
    sink.write(["whole\n"], [])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        with pytest.raises(SinkError, match="records"):
            sink.write(["x" * 200 + "\n"], [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "records.jsonl").read_text() == "whole\n"
    sink.write(["again\n"], [])
    assert (tmp_path / "records.jsonl").read_text() == "whole\nagain\n"
    sink.close()


def test_no_directory_is_one_line(tmp_path: Path) -> None:
    for make in (lambda path: RecordStore(path), lambda path: RotatingLines(path, 1000)):
        with pytest.raises(SinkError) as caught:
            make(str(tmp_path / "absent"))
        assert "\n" not in str(caught.value)
