"""The guide's pages: what stands on them, how they fit, and what programs get."""

import io
import json

import pytest
from rich.console import Console

from sipwatch.outcomes.guide import Guide, Texts
from sipwatch.report.guide import entry_record, guide_record, print_entry, print_summary


def guide(language: str = "en") -> Guide:
    return Guide(Texts.load(language))


def terminal(width: int, color: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    system = "truecolor" if color else None
    console = Console(
        file=out, force_terminal=True, width=width, color_system=system, no_color=not color
    )
    return console, out


def plain() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=False, width=90), out


def test_the_plain_summary_has_one_line_an_outcome() -> None:
    console, out = plain()
    print_summary(console, guide())
    lines = out.getvalue().splitlines()
    assert len(lines) == 22
    assert lines[0].split("  ")[0] == "Key"
    assert lines[3].startswith("no_answer  ")
    assert lines[3].endswith("It rang until the ring timer ended; nobody picked up.")
    starts = {
        line.index(entry.summary) for line, entry in zip(lines[1:], guide().outcomes(), strict=True)
    }
    assert starts == {lines[0].index("In short")}
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("language", ["en", "tr"])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 139, 140, 200])
def test_the_summary_fits_the_terminal_and_is_whole(width: int, language: str) -> None:
    console, out = terminal(width)
    book = guide(language)
    print_summary(console, book)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    if width >= 80:
        for entry in book.outcomes():
            assert entry.key in text
            assert entry.name in text
            assert all(word in text for word in entry.summary.split())


def test_colours_only_where_they_are_wanted() -> None:
    colored, out = terminal(100, color=True)
    print_summary(colored, guide())
    assert "\x1b[1;31m" in out.getvalue()
    quiet, out = plain()
    print_summary(quiet, guide())
    print_entry(quiet, guide(), guide().entry("no_answer"))
    assert "\x1b" not in out.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = []
    monkeypatch.setenv("TERM", "xterm-256color")
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        out = io.StringIO()
        print_summary(Console(file=out, force_terminal=True, width=100), guide())
        printed.append(out.getvalue())
    assert "\x1b[1;31m" in printed[0]
    assert "31m" not in printed[1]


@pytest.mark.parametrize("language", ["en", "tr"])
@pytest.mark.parametrize(
    "key", ["no_answer", "device_not_responding", "declined/manual", "port_closed", "outside_hours"]
)
def test_an_entry_is_printed_in_full(key: str, language: str) -> None:
    console, out = plain()
    book = guide(language)
    entry = book.entry(key)
    print_entry(console, book, entry)
    text = " ".join(out.getvalue().split())
    for part in (entry.name, entry.summary, entry.saw, entry.means, entry.understand):
        assert part in text
    for number, step in enumerate(entry.steps, 1):
        assert f"{number}. {step}" in text
    for line in (*entry.situations, *entry.traps):
        assert f"- {line}" in text
    assert all(line == line.rstrip() for line in out.getvalue().splitlines())
    assert max(map(len, out.getvalue().splitlines())) <= 90


def test_an_outcome_names_its_details_and_its_technical_causes() -> None:
    console, out = plain()
    print_entry(console, guide(), guide().entry("connection_timeout"))
    text = out.getvalue()
    for name in ("after_trying", "after_ringing", "no_ack", "server_timeout"):
        assert f"connection_timeout/{name}" in text
    assert "nat_binding_lost" in text


def test_people_have_no_technical_causes() -> None:
    console, out = plain()
    print_entry(console, guide(), guide().entry("declined"))
    assert "declined/automatic" in out.getvalue()
    assert "nat_binding_lost" not in out.getvalue()


def test_signs_name_statuses_and_causes() -> None:
    console, out = plain()
    print_entry(console, guide(), guide().entry("agent_busy"))
    text = out.getvalue()
    assert "SIP: 486; 600" in text
    assert "Q.850 cause: 17" in text
    assert "FreeSWITCH hangup cause: USER_BUSY (17)" in text


def test_an_entry_as_data() -> None:
    record = json.loads(json.dumps(entry_record(guide().entry("declined/manual"))))
    assert record["key"] == "declined/manual"
    assert record["outcome"] == "declined"
    assert record["detail"] == "manual"
    assert record["urgency"] == "trend"
    assert record["q850"] == [21]
    assert record["hangup_causes"][0] == {"name": "CALL_REJECTED", "code": 21}
    assert len(record["steps"]) >= 2


def test_the_whole_guide_as_data() -> None:
    record = json.loads(json.dumps(guide_record(guide("tr"))))
    assert record["language"] == "tr"
    assert [len(record[part]) for part in ("outcomes", "details", "cause_hints")] == [21, 11, 8]
