"""`make demo` and `make test`: what they would run, and that the tests' programs are installed."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What every Debian has (coreutils, util-linux, gzip, the shell), and what the README asks for.
ALWAYS = {
    "env", "false", "git", "gzip", "kill", "mount", "nsenter", "setpriv", "sh", "sleep", "sync",
    "tr", "true", "umount", "unshare",
}  # fmt: skip
#: Words of tests that are programs by chance.
WORDS = {"shutdown"}
#: Asked for, and done without where they are missing.
OPTIONAL = {"chromium", "node", "systemctl", "systemd-notify"}


def plan(target: str) -> str:
    done = subprocess.run(
        ["make", "-n", target, "VENV=/nonexistent/venv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_demo_makes_its_environment_and_replays_the_captures() -> None:
    steps = plan("demo")
    assert re.search(r"python3 -m venv /nonexistent/venv", steps)
    assert re.search(r"pip install .*-e \.$", steps, re.MULTILINE)
    assert "/nonexistent/venv/bin/python pcaps/demo.py" in steps
    assert steps.index("pip install") < steps.index("pcaps/demo.py")
    # It needs nothing but Python: no packages, no tests.
    assert "test-packages" not in steps
    assert "pytest" not in steps


def test_test_installs_programs_and_libraries_and_runs_pytest() -> None:
    steps = plan("test")
    assert "deploy/test-packages" in steps
    assert "'.[dev]'" in steps
    assert re.search(r"/nonexistent/venv/bin/python -m pytest ", steps)


def test_an_older_python_is_refused_with_a_hint() -> None:
    assert "needs Python 3.11 or newer" in plan("demo")


def test_ci_calls_only_what_contributing_names() -> None:
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = [line.strip() for line in lines if line.startswith("make ")]
    assert {"make check", "make test"} <= set(commands)
    assert [command for command in commands if f"`{command}`" not in page] == []


def test_test_modules_have_names_of_their_own() -> None:
    # pytest imports them by their name alone.
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py"))
    assert [name for name, count in names.items() if count > 1 and name != "conftest.py"] == []


# --- programs -----------------------------------------------------------------------------------


def started() -> Iterator[tuple[str, str]]:
    """Programs that tests, pages and benchmarks start, with the file that does.

    The first word of a list, or what `shutil.which` is asked for, where such a program exists.
    """
    for folder in ("tests", "docs", "benchmarks", "pcaps"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            # Recording is no test; it names its programs in a README of its own.
            if "record" in path.relative_to(ROOT).parts or path == Path(__file__):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = _program(node)
                if name and re.fullmatch(r"[a-z][a-z0-9_.+-]+", name) and shutil.which(name):
                    yield name, str(path.relative_to(ROOT))


def _program(node: ast.AST) -> str | None:
    first: ast.expr | None = None
    if isinstance(node, ast.List) and len(node.elts) > 1:
        first = node.elts[0]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        first = node.args[0] if node.func.attr == "which" and node.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def test_every_program_that_tests_start_is_installed_first() -> None:
    script = (ROOT / "deploy/test-packages").read_text(encoding="utf-8")
    # Of a package that one program stands for, all others come along.
    needed = {line.split()[1] for line in script.splitlines() if line.startswith("need ")}
    needed |= {"capinfos", "editcap", "text2pcap"} if "mergecap" in needed else set()
    found = dict(started())
    assert {"tshark", "sipp", "tcpdump"} <= found.keys() | needed
    missing = {n: file for n, file in found.items() if n not in needed | ALWAYS | OPTIONAL | WORDS}
    assert missing == {}
