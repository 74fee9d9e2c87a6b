"""The place where web threads ask the capture loop for a page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from sipwatch.daemon import desk as module
from sipwatch.daemon.desk import Desk
from sipwatch.daemon.web import NotNow


def asked(desk: Desk, accept: str, answers: list) -> threading.Thread:
    def ask() -> None:
        try:
            answers.append(desk.ask(accept))
        except NotNow as error:
            answers.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_who_asks_for_the_same_gets_the_same() -> None:
    woken: list[int] = []
    desk = Desk(lambda: woken.append(1))
    answers: list = []
    threads = [asked(desk, accept, answers) for accept in ("a", "b", "a", "a")]
    wait_for(lambda: len(woken) == 4)
    assert [question.accept for question in desk.wanted] in (["a", "b"], ["b", "a"])
    made: list[str] = []

    def make(accept: str) -> tuple[str, bytes]:
        made.append(accept)
        return accept, b"%d" % len(made)

    desk.serve(make)
    for thread in threads:
        thread.join(10)
    assert sorted(made) == ["a", "b"]
    assert len(answers) == 4
    assert len({answer for answer in answers if answer[0] == "a"}) == 1
    # The next question is a new one.
    thread = asked(desk, "a", answers)
    wait_for(lambda: desk.wanted)
    desk.serve(make)
    thread.join(10)
    assert answers[-1] == ("a", b"3")


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    with pytest.raises(NotNow, match="does not answer"):
        Desk(lambda: None).ask("")


def test_at_the_end_all_are_sent_away() -> None:
    desk = Desk(lambda: None)
    answers: list = []
    thread = asked(desk, "a", answers)
    wait_for(lambda: desk.wanted)
    desk.close()
    thread.join(10)
    assert answers == ["the capture loop does not answer"]
    with pytest.raises(NotNow, match="stopping"):
        desk.ask("a")
