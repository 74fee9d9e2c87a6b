"""The report for people: its numbers, its advice, and what it says of what it did not see."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import pytest
from call_flows import abandoned, answered, attempt_of, busy, pcap, silent

from sipwatch.cli.reading import finished
from sipwatch.config import Agents, Config, parse_toml
from sipwatch.outcomes.guide import Guide, Texts
from sipwatch.pipeline import Replay
from sipwatch.report import summary as summary_module
from sipwatch.report.console import bar, console_for
from sipwatch.report.first_steps import advice_for
from sipwatch.report.reading import Reading
from sipwatch.report.summary import Cause, Summary
from sipwatch.report.table import print_report
from sipwatch.sinks.record import RecordStyle


def report_of(
    path: Path, config: Config | None = None, lang: str = "en", *, calls: bool = False
) -> str:
    config = config or Config()
    replay = Replay([str(path)], config)
    summary = Summary(RecordStyle.of(config))
    for events in replay.events():
        attempts, ended = finished(events)
        for attempt in attempts if not calls else ():
            summary.attempt(attempt)
        for call in ended if calls else ():
            summary.call(call)
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    print_report(console_for(stream), summary, Reading.of(replay), Texts.load(lang), None)
    stream.flush()
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Four answered, three busy, two silent, one abandoned; 101 and 102 are the agents."""
    legs = [answered(at, call_id=f"a{at}", branch=f"z9hG4bK-a{at}") for at in range(0, 400, 100)]
    legs += [
        busy(at, call_id=f"b{at}", branch=f"z9hG4bK-b{at}", uri="sip:102@10.9.0.1")
        for at in range(1000, 1300, 100)
    ]
    legs += [silent(at, call_id=f"s{at}", branch=f"z9hG4bK-s{at}") for at in range(2000, 2200, 100)]
    legs.append(abandoned(3000, call_id="c", branch="z9hG4bK-c"))
    path = tmp_path / "day.pcap"
    path.write_bytes(pcap(legs))
    return path


def test_counts_and_shares(day: Path) -> None:
    text = report_of(day)
    assert "10 attempts  Answered: 4  Failed: 6" in text
    assert re.search(r"^  Agent busy +People +3 +50% +█+$", text, re.MULTILINE)
    assert re.search(r"^  Device not responding +Technology +2 +33% +█+$", text, re.MULTILINE)
    assert re.search(r"^  Abandoned +Caller +1 +17% +█+$", text, re.MULTILINE)
    assert re.search(r"^  People +3 +50%", text, re.MULTILINE)
    assert re.search(r"^  Technology +2 +33%", text, re.MULTILINE)
    assert re.search(r"^  System +1 +17%", text, re.MULTILINE)
    assert re.search(r"^  101 +7 +4 +3 +- +2 +1 ", text, re.MULTILINE)
    assert re.search(r"^  102 +3 +- +3 +3 +- +- +Agent busy 3$", text, re.MULTILINE)


def test_most_frequent_outcome_comes_first_and_has_the_longest_bar(day: Path) -> None:
    section = report_of(day).split("Outcomes of failed attempts")[1].split("People, tech")[0]
    bars = [line.count("█") for line in section.splitlines() if "%" in line]
    assert bars == sorted(bars, reverse=True)
    assert bars[0] == 28


def test_what_to_do_first_is_the_technical_failure_although_people_are_more(day: Path) -> None:
    section = report_of(day).split("What to do first")[1]
    assert section.splitlines()[1].startswith("  1. Device not responding: 2 attempts, 33%")
    assert "Agents: 101 (2)" in section
    steps = Guide(Texts.load()).outcome("device_not_responding").steps
    assert steps[0][:40] in section
    assert re.search(rf"sipwatch explain [0-9a-f]{{16}} {re.escape(str(day))}", section)
    assert "Agent busy" not in section.split("Notes")[0]


def test_without_technical_failures_trends_are_spoken_of(tmp_path: Path) -> None:
    path = tmp_path / "busy.pcap"
    path.write_bytes(pcap([busy()]))
    assert "1. Agent busy: 1 attempt" in report_of(path).split("What to do first")[1]


def test_peers_are_shown_when_they_have_names(day: Path) -> None:
    assert "By peer" not in report_of(day)
    text = report_of(day, parse_toml('[peers]\ncarrier = ["10.9.0.50"]\n'))
    section = text.split("By peer")[1].split("By agent")[0]
    assert re.search(r"^  carrier +10 +4 +6 +3 +2 +1 ", section, re.MULTILINE)


def test_only_configured_agents_are_listed(day: Path) -> None:
    text = report_of(day, Config(agents=Agents(users=("102",))))
    section = text.split("By agent")[1].split("What to do first")[0]
    assert re.search(r"^  102 ", section, re.MULTILINE)
    assert "  101 " not in section


def test_calls(day: Path) -> None:
    assert "10 calls  Answered: 4  Failed: 6" in report_of(day, calls=True)


def test_in_turkish(day: Path) -> None:
    text = report_of(day, lang="tr")
    assert Texts.load("tr").t("report.title") in text
    assert "%50" in text
    assert "What to do first" not in text


def test_no_line_ends_in_blanks_and_none_is_too_long(day: Path) -> None:
    for line in report_of(day).splitlines():
        assert line == line.rstrip()
        assert len(line) <= 110 or "sipwatch explain" in line


def _pcap_of(frames: list[bytes]) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    return head + b"".join(
        struct.pack("<IIII", 1_700_000_000 + at, 0, len(frame), len(frame)) + frame
        for at, frame in enumerate(frames)
    )


def _tcp(port: int, payload: bytes) -> bytes:
    segment = struct.pack("!HHIIBBHHH", 50_000, port, 1, 1, 0x50, 0x18, 1024, 0, 0) + payload
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0, b"\n\0\0\1", b"\n\0\0\2"
    )
    return bytes(12) + b"\x08\0" + ip + segment


def test_a_capture_without_sip_does_not_look_healthy(tmp_path: Path) -> None:
    path = tmp_path / "tls.pcap"
    record = b"\x16\x03\x01\x00\x05hello"
    path.write_bytes(_pcap_of([_tcp(5061, record)] * 3 + [bytes(12) + b"\x08\x06" + bytes(28)]))
    text = report_of(path)
    assert "No SIP found: 4 packets, 3 of them TLS on port 5061." in text
    path.write_bytes(_pcap_of([bytes(12) + b"\x08\x06" + bytes(28)] * 2))
    assert "No SIP found: 2 packets read." in report_of(path)


def test_a_capture_cut_short_says_where(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap([busy()])[:-7])
    text = report_of(path)
    assert re.search(r"cut short at byte [\d,]+", text.replace("\n    ", " "))


def test_messages_that_could_not_be_read_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.pcap"
    leg = busy()
    broken = leg.packets[0]
    leg.packets.append(
        broken._replace(
            time=broken.time + 3, payload=broken.payload.replace(b"Call-ID: c1@10.9.0.50\r\n", b"")
        )
    )
    path.write_bytes(pcap([leg]))
    assert "1 SIP message could not be read" in report_of(path)


def test_one_direction_alone_does_not_look_like_dead_phones(tmp_path: Path) -> None:
    path = tmp_path / "one-way.pcap"
    legs = []
    for at in range(0, 500, 50):
        leg = answered(at, call_id=f"c{at}", branch=f"z9hG4bK-{at}")
        leg.packets = [packet for packet in leg.packets if packet.source[0] == b"\n\t\0\x32"]
        legs.append(leg)
    lost = silent(600, call_id="lost", branch="z9hG4bK-lost")
    path.write_bytes(pcap([*legs, lost]))
    text = report_of(path).replace("\n    ", " ")
    assert "Device not responding" not in text
    assert "Only one direction is in view between 10.9.0.50:5060 and 10.9.0.1:5060" in text


def test_memory_of_the_summary_is_bounded() -> None:
    summary = Summary()
    attempt = attempt_of(busy())
    summary.attempt(attempt)
    for number in range(summary_module._MAX_NAMES + 50):
        summary._count(attempt.verdict, "other", f"u{number}", "id", "file")  # type: ignore[arg-type]
    assert len(summary.agents) <= summary_module._MAX_NAMES + 1
    assert (
        sum(counter.total() for counter in summary.agents.values())
        == summary_module._MAX_NAMES + 51
    )


@pytest.mark.parametrize(
    ("cause", "key"),
    [
        (Cause("declined", "manual", None), "declined/manual"),
        (Cause("no_answer", None, None), "no_answer"),
        (Cause("no_answer", "manual", None), "no_answer"),
        (Cause("never heard of", None, None), "other_failure"),
    ],
)
def test_advice_as_exactly_as_the_guide_speaks(cause: Cause, key: str) -> None:
    assert advice_for(cause, Guide(Texts.load())).key == key


def test_bars() -> None:
    assert bar(1, 10, plain=False) == "█" * 10
    assert bar(0.001, 10, plain=True) == "#"
    assert bar(0, 10, plain=True) == ""


def test_an_encoding_without_block_characters() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    console = console_for(stream)
    console.print("Çağrı")
    stream.flush()
    assert stream.buffer.getvalue() == b"?a?r?\n"  # type: ignore[attr-defined]
