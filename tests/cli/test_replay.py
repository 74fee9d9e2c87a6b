"""`sipwatch replay` on capture files: formats, filters, exit statuses, bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from call_flows import Leg, abandoned, answered, busy, pcap, silent
from click.testing import Result

from sipwatch.sinks.record import ATTEMPT_FIELDS, CALL_FIELDS

Run = Callable[..., Result]
Write = Callable[..., Path]


def day() -> list[Leg]:
    """Four calls at 09:00:00, 09:01:40, 09:03:20 and 09:05:00 UTC, to three agents."""
    return [
        answered(0, call_id="answered@h", branch="z9hG4bK-a"),
        busy(100, call_id="busy@h", branch="z9hG4bK-b", uri="sip:102@10.9.0.1"),
        abandoned(200, call_id="abandoned@h", branch="z9hG4bK-c", to="<sip:103@10.9.0.1>"),
        silent(300, call_id="silent@h", branch="z9hG4bK-d"),
    ]


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def outcomes(result: Result) -> dict[str, str]:
    return {record["call_id"]: record["outcome"] for record in records(result)}


def test_json_lines_are_one_record_an_attempt_and_nothing_else(
    sipwatch: Run, capture: Write
) -> None:
    result = sipwatch("replay", "--format", "jsonl", capture(day()))
    assert result.exit_code == 0
    assert result.stderr == ""
    assert outcomes(result) == {
        "answered@h": "answered",
        "busy@h": "agent_busy",
        "abandoned@h": "abandoned",
        "silent@h": "device_not_responding",
    }
    assert all(tuple(record) == ATTEMPT_FIELDS for record in records(result))


def test_calls(sipwatch: Run, capture: Write) -> None:
    result = sipwatch("replay", "--format", "jsonl", "--calls", capture(day()))
    assert all(tuple(record) == CALL_FIELDS for record in records(result))
    assert len(records(result)) == 4


def test_csv_and_parquet(sipwatch: Run, capture: Write, tmp_path: Path) -> None:
    result = sipwatch("replay", "--format", "csv", capture(day()))
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["outcome"] for row in rows} == {
        "answered",
        "agent_busy",
        "abandoned",
        "device_not_responding",
    }
    output = tmp_path / "records.parquet"
    result = sipwatch("replay", "--format", "parquet", "-o", output, capture(day()))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert pyarrow.parquet.read_table(output).num_rows == 4


def test_output_goes_to_a_file(sipwatch: Run, capture: Write, tmp_path: Path) -> None:
    for form in ("jsonl", "csv", "table"):
        output = tmp_path / f"out.{form}"
        result = sipwatch("replay", "--format", form, "-o", output, capture(day()))
        assert result.exit_code == 0
        assert result.stdout == ""
        assert (
            output.read_text(encoding="utf-8")
            == sipwatch("replay", "--format", form, capture(day())).stdout
        )


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--outcome", "agent_busy"], {"busy@h"}),
        (["--outcome", "Agent Busy"], {"busy@h"}),
        (
            ["--outcome", "Abandoned", "--outcome", "device-not-responding"],
            {"abandoned@h", "silent@h"},
        ),
        (["--outcome", "busy,abandoned"], {"busy@h", "abandoned@h"}),
        (["--outcome", "declined"], set()),
        (["--agent", "102"], {"busy@h"}),
        (["--agent", "103"], {"abandoned@h"}),
        (["--agent", "102", "--agent", "103"], {"busy@h", "abandoned@h"}),
        (["--agent", "104"], set()),
        (["--agent", "103@10.9.0.1"], {"abandoned@h"}),
        (["--since", "2026-04-23T09:01:40Z"], {"busy@h", "abandoned@h", "silent@h"}),
        (["--since", "2026-04-23T09:01:40.001Z"], {"abandoned@h", "silent@h"}),
        (["--since", "1776934900"], {"busy@h", "abandoned@h", "silent@h"}),
        (["--until", "2026-04-23T12:01:40+03:00"], {"answered@h", "busy@h"}),
        (["--since", "1776934801", "--until", "1776935000"], {"busy@h", "abandoned@h"}),
        (["--until", "1776934799.9"], set()),
    ],
)
def test_filters(sipwatch: Run, capture: Write, arguments: list[str], found: set[str]) -> None:
    result = sipwatch("replay", "--format", "jsonl", *arguments, capture(day()))
    assert result.exit_code == 0
    assert set(outcomes(result)) == found
    calls = sipwatch("replay", "--format", "jsonl", "--calls", *arguments, capture(day()))
    assert len(records(calls)) == len(found)


def test_times_of_the_day_are_those_of_the_configured_zone(
    sipwatch: Run, capture: Write, tmp_path: Path
) -> None:
    config = tmp_path / "sipwatch.toml"
    config.write_text('[hours]\ntimezone = "Europe/Istanbul"\n')
    arguments = ["replay", "--format", "jsonl", "--config", config, capture(day())]
    result = sipwatch(*arguments, "--since", "12:01", "--until", "12:04:00")
    assert set(outcomes(result)) == {"busy@h", "abandoned@h"}
    assert outcomes(sipwatch(*arguments, "--until", "11:59")) == {}
    result = sipwatch(*arguments, "--since", "2026-04-23 12:04")
    assert set(outcomes(result)) == {"silent@h"}


def test_the_configuration_reaches_rules_and_records(
    sipwatch: Run, capture: Write, tmp_path: Path
) -> None:
    config = tmp_path / "sipwatch.toml"
    config.write_text(
        '[timers]\nbrief_abandon_seconds = 9.5\n[privacy]\nnumbers = "mask"\n'
        '[peers]\ncarrier = ["10.9.0.50"]\n'
    )
    result = sipwatch("replay", "--format", "jsonl", "--config", config, capture([abandoned()]))
    (record,) = records(result)
    assert record["outcome"] == "briefly_abandoned"
    assert record["from"] == "**********00@10.9.0.50"
    assert record["peer"] == "carrier"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--outcome", "no_anwser"],
            "no outcome is called 'no_anwser'; the nearest name is 'no_answer'",
        ),
        (["--since", "yesterday"], "--since: expected 2026-04-23T09:00, 09:00 or epoch seconds"),
        (["--until", "2026-13-01"], "--until: expected 2026-04-23T09:00, 09:00 or epoch seconds"),
        (["--since", "99999999999999999999"], "--since: expected"),
        (["--config", "/nonexistent.toml"], "/nonexistent.toml: No such file or directory"),
        (["--lang", "xx"], "unknown language 'xx'"),
        (["-o", "/nonexistent/file"], "/nonexistent/file: No such file or directory"),
        (["--format", "jsonl", "-o", "/"], "/: Is a directory"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    sipwatch: Run, capture: Write, arguments: list[str], line: str
) -> None:
    result = sipwatch("replay", *arguments, capture(day()))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("sipwatch: ")
    assert line in result.stderr


def test_files_that_are_no_captures(sipwatch: Run, tmp_path: Path) -> None:
    empty, text, folder = tmp_path / "empty.pcap", tmp_path / "text.txt", tmp_path / "folder"
    empty.touch()
    text.write_text("this is no capture\n")
    folder.mkdir()
    for path in (empty, text, folder, tmp_path / "absent.pcap", tmp_path / "*.cap"):
        result = sipwatch("replay", path)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert str(path) in result.stderr


def test_a_capture_cut_short_is_reported_and_its_loss_named(sipwatch: Run, capture: Write) -> None:
    path = capture(day())
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    result = sipwatch("replay", "--format", "jsonl", path)
    assert result.exit_code == 1
    assert set(outcomes(result)) == {"answered@h", "busy@h", "abandoned@h", "silent@h"}
    assert result.stderr.count("\n") == 1
    assert str(path) in result.stderr
    assert "at byte" in result.stderr
    assert sipwatch("replay", path).exit_code == 1


def test_one_bad_file_among_good_ones(sipwatch: Run, capture: Write, tmp_path: Path) -> None:
    good = capture([busy()])
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"not a capture")
    result = sipwatch("replay", "--format", "jsonl", good, bad)
    assert result.exit_code == 1
    assert len(records(result)) == 1
    assert str(bad) in result.stderr


def test_a_folder_and_a_pattern(sipwatch: Run, capture: Write) -> None:
    folder = capture([busy(call_id="1", branch="z9hG4bK-1")], "one.pcap").parent
    capture([busy(50, call_id="2", branch="z9hG4bK-2")], "two.pcap")
    for argument in (folder, folder / "*.pcap"):
        result = sipwatch("replay", "--format", "jsonl", argument)
        assert set(outcomes(result)) == {"1", "2"}


def test_wiresharks_decoder_gives_the_same_records(sipwatch: Run, capture: Write) -> None:
    path = capture(day())
    own = sipwatch("replay", "--format", "jsonl", "--decoder", "native", path)
    theirs = sipwatch("replay", "--format", "jsonl", "--decoder", "tshark", path)
    assert theirs.exit_code == 0
    assert outcomes(theirs) == outcomes(own)
    assert len(outcomes(own)) == 4


def test_a_key_log_needs_the_decoder_that_decrypts(sipwatch: Run, capture: Write) -> None:
    result = sipwatch("replay", "--decoder", "native", "--keylog", "keys.log", capture(day()))
    assert result.exit_code == 2
    assert result.stderr == "sipwatch: --keylog: only --decoder tshark can decrypt\n"
    result = sipwatch("replay", "--keylog", "/nonexistent.log", capture(day()))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


# --- as a program of its own --------------------------------------------------------------------


def program(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if "SIPWATCH" not in key}
    return subprocess.Popen(
        [sys.executable, "-m", "sipwatch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment | {"LC_ALL": "C.UTF-8"},
        **options,
    )


def test_standard_input(capture: Write) -> None:
    with capture(day()).open("rb") as file:
        process = program("replay", "--format", "jsonl", "-", stdin=file)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == b""
    assert len(out.splitlines()) == 4


def test_nobody_reads_the_output_any_more(tmp_path: Path) -> None:
    path = tmp_path / "many.pcap"
    path.write_bytes(pcap(busy(at, call_id=f"c{at}", branch=f"z9hG4bK-{at}") for at in range(3000)))
    process = program("replay", "--format", "jsonl", path)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b'{"schema":1')
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141
    process.stderr.close()


def test_nobody_reads_the_report_any_more(tmp_path: Path, capture: Write) -> None:
    process = program("replay", capture(day()))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141
    process.stderr.close()


def test_ctrl_c_ends_without_a_traceback_and_keeps_what_was_read() -> None:
    calls = pcap(busy(at, call_id=f"c{at}", branch=f"z9hG4bK-{at}") for at in range(1500))
    read_end, write_end = os.pipe()
    process = program(
        "replay",
        "--format",
        "jsonl",
        "-",
        stdin=read_end,
        # A shell that runs tests in the background may have told its children to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(read_end)
    assert process.stdout is not None
    # The end never comes: the writer keeps its end of the pipe open.
    writer = threading.Thread(target=os.write, args=(write_end, calls))
    writer.start()
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    rest, err = process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=60) == 130
    process.stdout.close()
    process.stderr.close()
    writer.join(timeout=60)
    os.close(write_end)
    assert err == b"interrupted\n"
    found = [json.loads(line) for line in (first + rest).splitlines()]
    assert len(found) >= 1000
    assert {record["outcome"] for record in found} == {"agent_busy"}


def test_a_large_input_shows_progress_on_a_terminal_only(tmp_path: Path) -> None:
    path = tmp_path / "large.pcap"
    call = pcap([busy()])
    junk = b"\0\0\0\0" + bytes(4) + (60_000).to_bytes(4, "little") * 2 + bytes(60_000)
    path.write_bytes(call + junk * 400)
    silent_run = program("replay", "--format", "jsonl", path)
    out, err = silent_run.communicate(timeout=120)
    assert err == b""
    assert len(out.splitlines()) == 1
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sipwatch", "replay", "--format", "jsonl", str(path)],
        stdout=subprocess.PIPE,
        stderr=slave,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(slave)
    shown = b""
    try:
        while data := os.read(master, 65_536):
            shown += data
    except OSError:  # the other end was closed
        pass
    os.close(master)
    out, _ = process.communicate(timeout=120)
    assert len(out.splitlines()) == 1
    assert b"%" in shown
