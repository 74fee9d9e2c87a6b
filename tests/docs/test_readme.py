"""The README: what is generated in it is up to date, and what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from sipwatch.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_decoders_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/make_decoders.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_verb_it_names_is_one() -> None:
    verbs = set(re.findall(r"`sipwatch ([a-z]+)", README))
    assert verbs
    for verb in verbs:
        assert CliRunner().invoke(main, [verb, "--help"]).exit_code == 0, verb


def test_every_file_it_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_first_screen_has_the_two_commands() -> None:
    first = README.splitlines()[:24]
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)


def test_ci_calls_only_what_the_readme_and_contributing_name() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    named = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = [line.strip() for line in script.splitlines() if line.startswith("make ")]
    assert commands
    for command in commands:
        assert command in named, command
