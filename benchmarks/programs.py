"""The programs that are compared, as command lines, and the revisions of sipwatch among them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
OURS = "sipwatch"
_MAIN = "import sys; from sipwatch.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    #: ``{capture}`` and ``{output}`` stand for files.
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    #: A command that prints the version; empty where there is none to ask.
    version: tuple[str, ...] = ()
    #: Whether ``{output}`` gets records to be checked.
    records: bool = False

    def on(self, capture: Path, output: Path) -> list[str]:
        return [part.format(capture=capture, output=output) for part in self.command]

    def is_installed(self) -> bool:
        return shutil.which(self.command[0]) is not None


def sipwatch(tree: Path = ROOT, name: str = OURS) -> Program:
    """The sources in ``tree``, run by this interpreter."""
    return Program(
        name,
        (
            sys.executable,
            # Without the folder that the benchmark is started in, which may hold other sources.
            "-P",
            "-c",
            _MAIN,
            *("replay", "{capture}", "--format", "jsonl", "-o", "{output}"),
        ),
        environment={
            # Ahead of the installed sources of another tree.
            "PYTHONPATH": str(tree),
            # Compiled once, as pip compiles what it installs, whatever the shell says to Python.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(tree / "benchmarks" / ".cache" / "bytecode"),
        },
        records=True,
    )


#: sngrep forgets every dialog after its limit, by default the 20,000th: it would read most of a
#: large capture without looking. With the limit out of the way it does what the others do.
SNGREP = Program(
    "sngrep",
    ("sngrep", "-N", "-q", "-l", "10000000", "-I", "{capture}"),
    version=("sngrep", "-V"),
)
TSHARK = Program(
    "tshark", ("tshark", "-q", "-z", "sip,stat", "-r", "{capture}"), version=("tshark", "-v")
)
TCPDUMP = Program(
    "tcpdump", ("tcpdump", "-r", "{capture}", "-w", "/dev/null"), version=("tcpdump", "--version")
)
PEERS = (SNGREP, TSHARK, TCPDUMP)


def version(program: Program) -> str:
    if not program.version:
        return ""
    said = subprocess.run(program.version, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(?:\.\d+)+", said.stdout + said.stderr)
    return found.group() if found else "?"


@contextmanager
def revision(reference: str) -> Iterator[Path]:
    """Another revision of this repository, checked out beside it for a while."""
    with TemporaryDirectory(prefix="sipwatch-revision-") as directory:
        tree = Path(directory) / "tree"
        _git("worktree", "add", "--detach", str(tree), reference)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


class UnknownRevisionError(Exception):
    """git did not give the revision that was asked for."""


def _git(*arguments: str) -> None:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise UnknownRevisionError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
