"""What the pages for people say: their links, commands, examples and generated tables."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scenarios"))
import make_decoders
from play_runner import config_of, run
from playbook import Play

from sipwatch.cli import VERBS, main
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.linktypes import LINK_NAMES, LINKS
from sipwatch.net.packet import Layer
from sipwatch.outcomes.taxonomy import OUTCOMES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "benchmarks/README.md",
        "pcaps/README.md",
        "pcaps/pbx/README.md",
        "deploy/README.md",
    )
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_files_that_contributing_names_exist() -> None:
    names = re.findall(r"`((?:sipwatch|tests|pcaps|docs)/[\w./*]+)`", CONTRIBUTING)
    assert len(names) > 10
    assert [name for name in names if not any(ROOT.glob(name.rstrip("/")))] == []


def test_the_first_screen_has_the_two_commands_and_what_one_prints() -> None:
    first = "\n".join(README.splitlines()[:25])
    assert "\nmake demo " in first
    assert "\nmake test " in first
    assert "Why calls fail" in first


@pytest.mark.parametrize("verb", ["replay", "explain", "report", "guide", "run", "doctor"])
def test_each_verb_is_shown_with_its_output(verb: str) -> None:
    assert verb in VERBS
    assert f"**`sipwatch {verb}`**" in README
    example = re.search(rf"```\n\$ (?:sudo )?sipwatch {verb}[^\n]*\n(.+?)```", README, re.DOTALL)
    assert example is not None
    assert len(example[1].splitlines()) >= 2


def test_every_verb_that_the_pages_name_is_one() -> None:
    verbs = set(re.findall(r"(?:`|\$ (?:sudo )?)sipwatch ([a-z]+)", README + CONTRIBUTING))
    assert len(verbs) >= 6
    for verb in verbs:
        assert CliRunner().invoke(main, [verb, "--help"]).exit_code == 0, verb


def test_every_outcome_is_in_the_table() -> None:
    table = README.partition("## Outcomes")[2].partition("## Configuration")[0]
    assert [o.name for o in OUTCOMES if f"`{o.name}`" not in table] == []


def test_the_rows_on_codes_are_those_of_the_confusion_page() -> None:
    page = (ROOT / "docs/confusion.md").read_text(encoding="utf-8")
    section = README.partition("## Why not simply")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "`" in line]
    rows = [row for row in rows if len(row) == 5]
    assert len(rows) == 3
    for fact, code, by_sngrep, by_wireshark, outcome in rows:
        words = [fact, outcome, code, by_sngrep, by_wireshark]
        assert any(all(word in line for word in words) for line in page.splitlines()), fact


# --- the table of decoders ----------------------------------------------------------------------


def test_the_table_of_decoders_is_up_to_date() -> None:
    command = [sys.executable, "docs/make_decoders.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_whatever_is_registered_is_in_the_table() -> None:
    decoder = FrameDecoder()
    table = make_decoders.table(decoder)
    assert [name for _, _, name, _ in decoder.layers() if name not in table] == []
    assert [LINK_NAMES[number] for number in LINKS if LINK_NAMES[number] not in table] == []
    decoder.udp_ports[12345] = Layer("Something new", decoder.udp)
    decoder.ethertypes[0x1234] = Layer("Something dark", None)
    changed = make_decoders.table(decoder)
    assert "Something new (12345)" in changed
    assert "Something dark" in changed.splitlines()[-1]


# --- the example of a scenario ------------------------------------------------------------------


def example_cases() -> Iterator[tuple[str, str]]:
    """Each case of the example: its play, and the outcome that it expects."""
    text = CONTRIBUTING.partition("```toml\n")[2].partition("```")[0]
    (scenario,) = tomllib.loads(text)["scenario"]
    for case in scenario["cases"]:
        play, expected = scenario["play"], scenario["expect"]
        for name, value in case.items():
            play = play.replace(f"{{{name}}}", str(value))
            expected = expected.replace(f"{{{name}}}", str(value))
        yield play, expected


@pytest.mark.parametrize(("play", "expected"), list(example_cases()))
def test_the_example_of_a_scenario_holds(play: str, expected: str) -> None:
    label, outcome, confidence, rule = expected.split()
    played = Play("example", {}, {}, "UDP")
    played.run(play)
    (attempt,) = run([one.item for one in played.in_order()], config_of(""), 45.0).attempts
    verdict = attempt.verdict
    assert label == "a"
    assert verdict is not None
    assert f"{verdict.outcome}/{verdict.detail}" == outcome
    assert verdict.confidence == confidence
    assert f"[{verdict.rule}]" == rule
