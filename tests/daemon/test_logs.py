"""Log lines: one an event, for people and for machines, and never too many."""

from __future__ import annotations

import io
import json
import logging

import pytest

from sipwatch.daemon import logs


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logger = logging.getLogger("sipwatch")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_keys_and_values(stream: io.StringIO) -> None:
    logs.set_up(stream=stream)
    logging.getLogger("sipwatch.daemon.loop").warning('%s is "down"', "eth0")
    line = stream.getvalue()
    stamp, _, rest = line.partition(" ")
    assert stamp.startswith("time=20")
    assert stamp.endswith("Z")
    assert rest == 'level=warning part=loop msg="eth0 is \\"down\\""\n'


def test_json(stream: io.StringIO) -> None:
    logs.set_up("json", stream=stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("sipwatch.daemon.loop").exception("a fault")
    [line] = stream.getvalue().splitlines()
    found = json.loads(line)
    assert (found["level"], found["msg"]) == ("error", "a fault")
    assert "ValueError: two" in found["error"]


def test_the_journal_gets_priorities_and_no_times(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    logs.set_up(stream=stream)
    logger = logging.getLogger("sipwatch.daemon.loop")
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(level, "x")
    assert stream.getvalue().splitlines() == [
        "<6>level=info part=loop msg=x",
        "<4>level=warning part=loop msg=x",
        "<3>level=error part=loop msg=x",
    ]


def test_what_came_from_the_wire_is_one_harmless_line(stream: io.StringIO) -> None:
    logs.set_up(stream=stream)
    logging.getLogger("sipwatch.x").info("from %s", "a\nlevel=error\x1b[2J\u202e")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_less_than_the_level_is_not_shown(stream: io.StringIO) -> None:
    logs.set_up(level="warning", stream=stream)
    logging.getLogger("sipwatch.x").info("x")
    assert stream.getvalue() == ""


def test_a_flood_is_cut_and_counted(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    limit = logs.set_up(stream=stream)
    logger = logging.getLogger("sipwatch.x")
    for number in range(500):
        logger.warning("packet %d is odd", number)
        logger.warning("another %s", "matter") if number == 300 else None
    lines = stream.getvalue().splitlines()
    assert len(lines) == 7
    assert limit.suppressed == 494
    now[0] += 61
    logger.warning("packet %d is odd", 501)
    assert stream.getvalue().splitlines()[-1].endswith('msg="packet 501 is odd" left_out=494')
