"""The whole /metrics of each bundled capture is as it was when witnesses had looked at it.

When an answer has changed for the better: `python tests/daemon/golden.py NAME`, which asks the
truth beside the capture and tshark before it keeps anything.
"""

from __future__ import annotations

import subprocess

import golden
import pytest
from prometheus_client.parser import text_string_to_metric_families

CAPTURES = {capture.name: capture for capture in golden.captures()}
_ADVICE = "see what differs; if it is right: python tests/daemon/golden.py"


def kept(name: str) -> str:
    path = golden.GOLDEN / f"{name}.prom"
    if not path.exists():
        pytest.fail(f"no golden metrics of {name}: python tests/daemon/golden.py {name}")
    return path.read_text()


@pytest.mark.parametrize("name", CAPTURES)
def test_the_whole_page(name: str) -> None:
    assert golden.page(CAPTURES[name]) == golden.rebuilt(kept("start"), kept(name)), _ADVICE


def test_the_page_before_the_first_packet() -> None:
    assert golden.page(None) == kept("start"), _ADVICE


def test_nothing_is_kept_of_captures_that_are_gone() -> None:
    assert {path.stem for path in golden.GOLDEN.glob("*.prom")} == {*CAPTURES, "start"}


def test_promtool_has_nothing_to_say_of_the_first_page() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=kept("start").encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("name", CAPTURES)
def test_what_is_kept_is_what_happened(name: str) -> None:
    """The kept file by itself, without our program: as many attempts as the truth has."""
    whole = golden.rebuilt(kept("start"), kept(name))
    families = {family.name: family for family in text_string_to_metric_families(whole)}
    attempts = sum(sample.value for sample in families["sipwatch_attempts"].samples)
    allowed = [one for one in CAPTURES[name].truth if one["expected"] != "absent"]
    optional = [one for one in allowed if "absent" in one["acceptable"]]
    assert len(allowed) - len(optional) <= attempts <= len(allowed)


def test_rebuilding_puts_lines_where_they_belong() -> None:
    start = (
        '# HELP a_total A.\n# TYPE a_total counter\na_total{x="1"} 0\n'
        "# HELP b B.\n# TYPE b gauge\nb 0\n"
    )
    whole = start.replace('x="1"} 0', 'x="1"} 4\na_total{x="2"} 1').replace("b 0", "b 7")
    assert golden.rebuilt(start, golden.difference(start, whole)) == whole
