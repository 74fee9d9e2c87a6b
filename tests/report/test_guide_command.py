"""``sipwatch guide`` as it is typed."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from sipwatch.cli.guide import guide

RUN = "from sipwatch.cli.guide import guide; guide(prog_name='sipwatch guide')"


def run(*arguments: str, **environ: str) -> Result:
    clean: dict[str, str | None] = dict.fromkeys(("LC_ALL", "LC_MESSAGES", "LANG"))
    clean["FORCE_COLOR"] = None
    return CliRunner(env={**clean, **environ}).invoke(guide, list(arguments))


def test_without_a_name_all_outcomes() -> None:
    result = run()
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 22
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "first_line"),
    [
        (("no_answer",), "No answer  no_answer"),
        (("No Answer",), "No answer  no_answer"),
        (("call", "declined"), "Call declined  declined"),
        (("Call Declined", "--lang", "tr"), "Çağrı reddedildi  declined"),
        (("çağrı reddedildi",), "Call declined  declined"),
        (("redirected/forwarded",), "Call redirected by system: Forwarded  redirected/forwarded"),
        (("manual",), "Call declined: Declined by hand  declined/manual"),
        (("port closed",), "Port closed  port_closed"),
        (("--lang", "tr_TR.UTF-8", "port_closed"), "Port kapalı  port_closed"),
    ],
)
def test_one_entry(arguments: tuple[str, ...], first_line: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == first_line


@pytest.mark.parametrize(
    ("environ", "heading"),
    [
        ({}, "What the admin should do"),
        ({"LANG": "tr_TR.UTF-8"}, "Sistem yöneticisi ne yapmalı"),
        ({"LANG": "tr_TR.UTF-8", "LC_ALL": "C"}, "What the admin should do"),
        ({"LANG": "de_DE.UTF-8"}, "What the admin should do"),
    ],
)
def test_the_language_of_the_locale(environ: dict[str, str], heading: str) -> None:
    assert heading in run("no_answer", **environ).stdout


def test_an_option_wins_over_the_locale() -> None:
    result = run("no_answer", "--lang", "en", LANG="tr_TR.UTF-8")
    assert "What the admin should do" in result.stdout


def test_an_unknown_language_is_wrong_usage_and_names_those_there_are() -> None:
    result = run("--lang", "xx")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "unknown language 'xx'; available: en, tr" in result.stderr


def test_an_unknown_name_is_wrong_usage_and_names_the_nearest() -> None:
    result = run("declind")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "'declind'" in result.stderr
    assert "declined" in result.stderr


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in run("\x1b[31mred").stderr


def test_one_entry_as_json() -> None:
    record = json.loads(run("no_answer", "--format", "json", "--lang", "tr").stdout)
    assert record["key"] == "no_answer"
    assert record["name"] == "Yanıt yok"


def test_everything_as_json() -> None:
    record = json.loads(run("--format", "json").stdout)
    assert record["schema"] == 1
    assert [entry["key"] for entry in record["outcomes"]][:3] == [
        "answered",
        "agent_busy",
        "no_answer",
    ]


@pytest.mark.parametrize("arguments", [["--lang", "tr"], ["--lang", "tr", "declined"]])
@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "iso8859-9", "utf-8"])
def test_any_output_encoding(arguments: list[str], encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )
    assert done.stderr == b""
    assert done.returncode == 0
    text = done.stdout.decode(encoding)
    expected = "Çağrı reddedildi".encode(encoding, "replace").decode(encoding)
    assert expected in text


def test_json_is_readable_in_any_encoding() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "declined", "--lang", "tr", "--format", "json"],
        capture_output=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert json.loads(done.stdout.decode("ascii"))["name"] == "Çağrı reddedildi"
