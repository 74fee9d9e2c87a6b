"""The life of attempts: how they are closed, and that they are let go."""

from __future__ import annotations

import gc

import pytest
from play_runner import Outcome, config_of
from playbook import EPOCH, Loss, Play

from sipwatch.calls.types import Attempt, ClosedBy
from sipwatch.pipeline import Pipeline

OPEN = """
    0.000 trunk>pbx INVITE a
    0.005 pbx>101 INVITE b
    0.100 101>pbx 180 b
    0.102 pbx>trunk 180 a
    1.000 pbx>102 INVITE c from=7
    2.000 102>pbx 200 c ack
"""


def fed(text: str, name: str = "life") -> Outcome:
    outcome = Outcome(Pipeline(config_of()))
    for one in Play(name).run(text):
        assert not isinstance(one.item, Loss)
        outcome.take(outcome.pipeline.feed([one.item]))
    return outcome


@pytest.mark.parametrize("closed_by", ["shutdown", "end_of_capture"])
def test_what_is_open_at_the_end_says_who_ended_it(closed_by: ClosedBy) -> None:
    outcome = fed(OPEN)
    outcome.take(outcome.pipeline.finish(EPOCH + 5.0, closed_by))
    said = {a.call_id[:1]: (a.verdict and a.verdict.outcome, a.closed_by) for a in outcome.attempts}
    assert said == {
        b"a": ("in_progress", closed_by),
        b"b": ("in_progress", closed_by),
        b"c": ("answered", closed_by),
    }
    (talking,) = outcome.dialogs[-1:]
    assert talking.end == "open"


def test_nothing_is_said_after_the_end() -> None:
    outcome = fed(OPEN)
    outcome.take(outcome.pipeline.finish(EPOCH + 5.0, "shutdown"))
    before = len(outcome.attempts), len(outcome.dialogs), len(outcome.calls)
    outcome.take(outcome.pipeline.advance(EPOCH + 500.0))
    outcome.take(outcome.pipeline.finish(EPOCH + 500.0, "shutdown"))
    assert (len(outcome.attempts), len(outcome.dialogs), len(outcome.calls)) == before


def test_how_many_are_in_progress() -> None:
    pipeline = fed(OPEN).pipeline
    assert pipeline.tracker.in_progress == 3
    assert pipeline.tracker.dialogs_active == 1
    pipeline.advance(EPOCH + 4.0)
    assert pipeline.tracker.in_progress == 2, "the answered one is settled"
    assert pipeline.tracker.dialogs_active == 1, "and its conversation goes on"


def test_time_alone_ends_what_nobody_ends() -> None:
    outcome = fed(OPEN)
    outcome.take(outcome.pipeline.advance(EPOCH + 20_000.0))
    assert {a.closed_by for a in outcome.attempts} == {"timer"}
    assert outcome.pipeline.tracker.in_progress == 0
    assert outcome.pipeline.tracker.dialogs_active == 0
    assert len(outcome.calls) == 2


ENDED = {
    "answered": """
        0.000 trunk>pbx INVITE a
        0.005 pbx>101 INVITE b
        0.100 101>pbx 180 b
        0.102 pbx>trunk 180 a
        0.200 101>pbx 200 b sdp ack
        0.203 pbx>trunk 200 a sdp ack
        0.300 trunk>pbx BYE a done
        0.303 pbx>101 BYE b done""",
    "left": """
        0.000 trunk>pbx INVITE a
        0.005 pbx>101 INVITE b
        0.100 101>pbx 180 b
        0.102 pbx>trunk 180 a
        0.200 trunk>pbx CANCEL a done
        0.203 pbx>101 CANCEL b done""",
    "never acknowledged": """
        0.000 trunk>pbx INVITE a
        0.005 pbx>101 INVITE b
        0.100 101>pbx 486 b
        0.102 pbx>trunk 486 a""",
}


@pytest.mark.parametrize("name", ENDED)
def test_calls_that_have_ended_are_let_go(name: str) -> None:
    """Memory grows with the calls that are open at once, not with those seen (issue of calls)."""
    pipeline = Pipeline(config_of())
    gc.collect()
    gc.disable()  # reference counts must do: the cycle collector comes late on a busy host
    try:
        for number in range(300):
            text = ENDED[name].replace("\n        ", f"\n{number}+").replace(" b", f" b{number}")
            text = text.replace(" a", f" a{number}").replace(f"a{number}ck", "ack")
            play = Play(f"gone-{name.replace(' ', '-')}").run(text)
            pipeline.feed([one.item for one in play if not isinstance(one.item, Loss)])
        everybody = [one for one in gc.get_referrers(Attempt) if isinstance(one, Attempt)]
    finally:
        gc.enable()
    held = [one for one in everybody if b"-gone-" in one.call_id]
    # A call a second, and 32 s of Timer D for what was not acknowledged.
    assert len(held) < 150


def test_a_call_that_was_sent_elsewhere_is_let_go() -> None:
    """Each by another trunk, whose flow nobody uses again."""
    pipeline = Pipeline(config_of())
    gc.collect()
    for number in range(200):
        parties = {"far": f"198.51.100.{number}:5060", "other": "198.51.99.8:5060"}
        play = Play("let-go-of", parties).run(
            f"""
            {number}.000 pbx>far INVITE b{number}
            {number}.030 far>pbx 302 b{number} h="Contact: <sip:5@198.51.99.8>" ack
            {number}.050 pbx>other INVITE b{number} new uri=sip:5@198.51.99.8
            {number}.090 other>pbx 486 b{number} ack
            """
        )
        pipeline.feed([one.item for one in play if not isinstance(one.item, Loss)])
    pipeline.advance(EPOCH + 2_000.0)
    gc.collect()
    everybody = [one for one in gc.get_referrers(Attempt) if isinstance(one, Attempt)]
    # Some ended ones are kept, for what comes late; their number is bounded.
    assert len([one for one in everybody if b"-let-go-of" in one.call_id]) <= 64
