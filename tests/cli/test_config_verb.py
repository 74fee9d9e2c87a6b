"""`sipwatch config`, and the command line itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from sipwatch import __version__
from sipwatch.config import parse_toml

Run = Callable[..., Result]
FOLDER = Path(__file__).parents[1] / "config"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("invalid-*.toml")), ids=lambda path: path.stem)
def test_check_prints_the_line_that_an_invalid_file_says(sipwatch: Run, path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# ").replace("FILE", str(path))
    for verb in (["config", "check"], ["config", "show"]):
        result = sipwatch(*verb, path)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr == f"sipwatch: {expected}\n"


def test_check_of_a_valid_file(sipwatch: Run) -> None:
    result = sipwatch("config", "check", FOLDER / "valid" / "full.toml")
    assert result.exit_code == 0
    assert result.stdout.endswith("full.toml: ok\n")


def test_check_takes_the_environment_in(sipwatch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIPWATCH_PORTS", "sip")
    result = sipwatch("config", "check", FOLDER / "valid" / "full.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("sipwatch: environment SIPWATCH_PORTS: ports")


def test_show_says_where_values_come_from(
    sipwatch: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "sipwatch.toml"
    file.write_text("[timers]\nno_answer_seconds = 12\n")
    monkeypatch.setenv("SIPWATCH_CONFIG", str(file))
    monkeypatch.setenv("SIPWATCH_AGENTS_LIMIT", "7")
    result = sipwatch("config", "show")
    assert f"no_answer_seconds = 12  # {file}:2\n" in result.stdout
    assert "limit = 7  # environment SIPWATCH_AGENTS_LIMIT\n" in result.stdout
    assert "brief_abandon_seconds = 5  # default\n" in result.stdout
    assert parse_toml(result.stdout).agents.limit == 7


def test_an_unknown_verb_names_the_nearest(sipwatch: Run) -> None:
    result = sipwatch("repaly")
    assert result.exit_code == 2
    assert "no such command 'repaly'; the nearest is 'replay'" in result.stderr


def test_help_lists_the_verbs_and_version_says_which(sipwatch: Run) -> None:
    result = sipwatch("--help")
    for verb in ("replay", "explain", "report", "guide", "config"):
        assert f"\n  {verb} " in result.stdout
    assert sipwatch("--version").stdout == f"sipwatch, version {__version__}\n"


def test_every_verb_explains_itself(sipwatch: Run) -> None:
    for verb in ("replay", "explain", "report", "guide", "config"):
        result = sipwatch(verb, "--help")
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) > 4


def test_records_need_nothing_heavy() -> None:
    """What is for people (rich) and for rare captures (scapy) is not loaded for records."""
    code = (
        "import sys; from sipwatch.cli import main\n"
        "try: main(['replay', '--format', 'jsonl', '/nonexistent'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('rich', 'scapy', 'pyarrow', 'pyshark', 'prometheus_client')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
