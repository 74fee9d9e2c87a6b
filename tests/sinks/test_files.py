"""Records in files: JSON Lines, CSV, Parquet, SQLite."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
import pytest
from call_flows import START, Leg, abandoned, answered, busy, run

from sipwatch.sinks.csv import CsvRecords
from sipwatch.sinks.jsonl import JsonLines
from sipwatch.sinks.parquet import ParquetRecords
from sipwatch.sinks.record import ATTEMPT_FIELDS, CALL_FIELDS, attempt_record, call_record
from sipwatch.sinks.sink import SinkError
from sipwatch.sinks.sqlite import SqliteRecords

LEGS = [
    answered(call_id="a", branch="z9hG4bK-a"),
    busy(10, call_id="b", branch="z9hG4bK-b"),
    abandoned(20, call_id="c", branch="z9hG4bK-c"),
]


def test_json_lines_are_written_in_pieces_and_whole_at_the_end() -> None:
    stream = io.StringIO()
    sink = JsonLines(stream)
    attempts, calls = run(LEGS)
    for attempt in attempts * 400:
        sink.attempt(attempt)
    assert 0 < stream.getvalue().count("\n") < 1200
    sink.call(calls[0])
    sink.close()
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(records) == 1201
    assert records[:3] == [attempt_record(attempt) for attempt in attempts]
    assert records[-1] == call_record(calls[0])


def test_csv_has_the_same_columns() -> None:
    stream = io.StringIO(newline="")
    sink = CsvRecords(stream)
    attempts, _ = run(LEGS)
    for attempt in attempts:
        sink.attempt(attempt)
    sink.close()
    stream.seek(0)
    rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == ATTEMPT_FIELDS
    by_id = {row["call_id"]: row for row in rows}
    assert by_id["a"]["outcome"] == "answered"
    assert float(by_id["a"]["talk_duration"]) == pytest.approx(30.0, abs=2e-6)
    assert by_id["b"]["talk_duration"] == ""
    assert by_id["b"]["code"] == "486"
    assert by_id["b"]["challenged"] == "false"
    assert by_id["b"]["from"] == "+49301110000@10.9.0.50"
    assert by_id["c"]["reasons"] == 'SIP;cause=487;text="ORIGINATOR_CANCEL"'
    assert "; " in by_id["c"]["evidence"]


def test_csv_of_calls() -> None:
    stream = io.StringIO(newline="")
    sink = CsvRecords(stream, calls=True)
    for call in run(LEGS)[1]:
        sink.call(call)
    sink.close()
    stream.seek(0)
    rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == CALL_FIELDS
    assert {row["outcome"] for row in rows} == {"answered", "agent_busy", "abandoned"}


def test_csv_shows_no_control_characters_and_no_formulas() -> None:
    leg = Leg(from_="\"=cmd|' /C calc'!A0\x1b[2J\" <sip:+49301110000@h>", call_id="@SUM(1)")
    leg.request(0, "INVITE").reply(0.1, "486 \x1b]0;x\x07Busy").request(0.2, "ACK")
    stream = io.StringIO(newline="")
    sink = CsvRecords(stream)
    sink.attempt(run([leg])[0][0])
    sink.close()
    assert "\x1b" not in stream.getvalue()
    stream.seek(0)
    (row,) = csv.DictReader(stream)
    assert row["from_display"].startswith("'=cmd")
    assert row["call_id"] == "'@SUM(1)"
    assert row["from"] == "+49301110000@h"


def test_parquet_has_typed_columns(tmp_path: Path) -> None:
    path = tmp_path / "attempts.parquet"
    attempts, _ = run(LEGS)
    with path.open("wb") as file:
        sink = ParquetRecords(file)
        for attempt in attempts:
            sink.attempt(attempt)
        sink.close()
    table = pyarrow.parquet.read_table(path)
    assert tuple(table.schema.names) == ATTEMPT_FIELDS
    assert str(table.schema.field("started_at").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("code").type) == "int64"
    assert str(table.schema.field("evidence").type) == "list<element: string>"
    rows = {row["call_id"]: row for row in table.to_pylist()}
    assert rows["a"]["started_at"] == datetime.fromtimestamp(START, UTC)
    assert rows["a"]["talk_duration"] == pytest.approx(30.0, abs=2e-6)
    assert rows["b"]["q850"] is None
    assert rows["c"]["reasons"] == [{"protocol": "SIP", "cause": 487, "text": "ORIGINATOR_CANCEL"}]
    assert rows["c"]["cancelled_by"] == "caller"


def test_parquet_of_calls_and_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "calls.parquet"
    with path.open("wb") as file:
        sink = ParquetRecords(file, calls=True)
        for call in run(LEGS)[1]:
            sink.call(call)
        sink.close()
    table = pyarrow.parquet.read_table(path)
    assert tuple(table.schema.names) == CALL_FIELDS
    assert table.num_rows == 3
    assert all(len(row["attempts"]) == 1 for row in table.to_pylist())
    with path.open("wb") as file:
        ParquetRecords(file).close()
    assert pyarrow.parquet.read_table(path).num_rows == 0


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SinkError, match=r"pip install 'sipwatch\[parquet\]'"):
        ParquetRecords(io.BytesIO())


def test_sqlite_has_a_row_for_each_record(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    attempts, calls = run(LEGS)
    sink = SqliteRecords(str(path))
    for attempt in attempts:
        sink.attempt(attempt)
    for call in calls:
        sink.call(call)
    sink.close()
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    rows = {row["call_id"]: row for row in database.execute("SELECT * FROM attempts")}
    assert tuple(rows["a"].keys()) == ATTEMPT_FIELDS
    assert rows["a"]["started_at"] == START
    assert rows["b"]["code"] == 486
    assert rows["b"]["challenged"] == 0
    assert json.loads(rows["c"]["reasons"])[0]["cause"] == 487
    (joined,) = database.execute(
        'SELECT count(*) FROM attempts JOIN calls ON attempts."call" = calls.id'
    ).fetchone()
    assert joined == 3
    assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    database.close()


def test_sqlite_takes_the_same_attempt_once(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    for _ in range(2):
        sink = SqliteRecords(str(path))
        for attempt in run(LEGS)[0]:
            sink.attempt(attempt)
        sink.close()
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*) FROM attempts").fetchone() == (3,)
    database.close()


def test_sqlite_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    attempts, _ = run(LEGS)
    sink = SqliteRecords(str(path))
    sink.attempt(attempts[0])
    sink.flush()
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM attempts").fetchone() == (1,)
    sink.attempt(attempts[1])
    sink.flush()
    assert reader.execute("SELECT count(*) FROM attempts").fetchone() == (2,)
    reader.close()
    sink.close()


def test_sqlite_keeps_what_could_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    attempts, _ = run(LEGS)
    sink = SqliteRecords(str(path), wait_seconds=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sink.attempt(attempts[0])
    with pytest.raises(SinkError, match="locked"):
        sink.flush()
    other.execute("ROLLBACK")
    sink.flush()
    assert other.execute("SELECT count(*) FROM attempts").fetchone() == (1,)
    other.close()
    sink.close()


def test_sqlite_forgets_what_is_old(tmp_path: Path) -> None:
    sink = SqliteRecords(str(tmp_path / "records.sqlite"))
    attempts, calls = run(LEGS)
    for attempt in attempts:
        sink.attempt(attempt)
    for call in calls:
        sink.call(call)
    sink.flush()
    assert sink.remove_before(START + 5) == 2
    assert sink.remove_before(START + 15) == 2
    sink.close()


def test_sqlite_forgets_the_oldest_when_it_grows_too_large(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    sink = SqliteRecords(str(path))
    attempts, _ = run(
        [busy(at, call_id=f"c{at}", branch=f"z9hG4bK-{at}") for at in range(0, 3000, 2)]
    )
    for attempt in attempts:
        sink.attempt(attempt)
    sink.flush()
    before = sink.used_bytes
    removed = sink.remove_beyond(before // 2)
    assert sink.used_bytes <= before // 2
    assert 0 < removed < 1500
    sink.close()
    database = sqlite3.connect(path)
    kept, first = database.execute("SELECT count(*), min(started_at) FROM attempts").fetchone()
    assert kept == 1500 - removed
    assert first == START + 2 * removed
    assert database.execute("PRAGMA freelist_count").fetchone() == (0,)
    database.close()


def test_sqlite_that_cannot_shrink_gives_up(tmp_path: Path) -> None:
    sink = SqliteRecords(str(tmp_path / "records.sqlite"))
    for attempt in run(LEGS)[0]:
        sink.attempt(attempt)
    sink.flush()
    assert sink.remove_beyond(0) == 3
    assert sink.remove_beyond(0) == 0
    sink.close()


def test_sqlite_holds_back_a_bounded_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipwatch.sinks.sqlite._MAX_HELD", 40)
    path = tmp_path / "records.sqlite"
    attempts, _ = run(
        [busy(at, call_id=f"c{at}", branch=f"z9hG4bK-{at}") for at in range(0, 200, 2)]
    )
    sink = SqliteRecords(str(path), wait_seconds=0.01)
    for attempt in attempts:
        sink.attempt(attempt)
    assert sink.dropped == 60
    sink.close()
    database = sqlite3.connect(path)
    kept, first = database.execute("SELECT count(*), min(started_at) FROM attempts").fetchone()
    assert (kept, first) == (40, START + 120)
    database.close()


def test_a_file_that_is_no_database_of_ours(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("this is no database, although it is long enough to be one" * 100)
    with pytest.raises(SinkError, match="not a database"):
        SqliteRecords(str(text))
    newer = tmp_path / "newer.sqlite"
    database = sqlite3.connect(newer)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SinkError, match=r"another version \(layout 99\)"):
        SqliteRecords(str(newer))
    with pytest.raises(SinkError, match="unable to open"):
        SqliteRecords(str(tmp_path / "absent" / "records.sqlite"))
