"""The Call State column of sngrep's call list, read off its screen.

sngrep prints it nowhere else. It runs in a tmux of its own, on a screen with a line for every
call. Its states hang on the Call-ID alone, so captures of one link type that share no Call-ID are
joined into one.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path

from peers.programs import ProgramError, join, need, output_of, packets_of

_SETTINGS = """\
set cl.column0 callid
set cl.column0.width 200
set cl.column1 method
set cl.column1.width 14
set cl.column2 state
set cl.column2.width 14
"""
_WIDTH = 260
#: tmux has no taller windows.
_TALLEST = 9_000
#: Lines of the screen besides the list.
_FRAME_LINES = 12
_PATIENCE = 120.0
_PAUSE = 0.1
_SHOWN = re.compile(r"Calls: (\d+)(?: \((\d+) displayed\))?")


def call_states(call_ids: Mapping[Path, Set[str]]) -> dict[Path, dict[str, str]]:
    """State by Call-ID of each capture; `call_ids` are those of all its dialogs.

    A Call-ID that is missing in the answer is none that sngrep lists as a call. Raises
    MissingProgramError and ProgramError.
    """
    need("sngrep", "tmux", "mergecap", "capinfos")
    found: dict[Path, dict[str, str]] = {}
    for group in _groups(call_ids):
        # A folder for each: a tmux that ends would take the next one's socket with it.
        with tempfile.TemporaryDirectory(prefix="sngrep-", ignore_cleanup_errors=True) as scratch:
            joined = Path(scratch, "joined.pcap")
            join(group, joined, "pcap")
            states = _read(joined, sum(len(call_ids[path]) for path in group), Path(scratch))
        for path in group:
            found[path] = {c: states[c] for c in call_ids[path] if c in states}
    return found


def _groups(call_ids: Mapping[Path, Set[str]]) -> list[list[Path]]:
    """Captures that can be joined: of one link type, and no Call-ID twice."""
    captures = list(call_ids)
    groups: list[tuple[str, set[str], list[Path]]] = []
    for path, (_, link) in zip(captures, packets_of(captures), strict=True):
        wanted = call_ids[path]
        for kind, taken, members in groups:
            room = _TALLEST - len(taken) - _FRAME_LINES
            if kind == link and taken.isdisjoint(wanted) and len(wanted) <= room:
                taken |= wanted
                members.append(path)
                break
        else:
            groups.append((link, set(wanted), [path]))
    return [members for _, _, members in groups]


def _read(capture: Path, dialogs: int, scratch: Path) -> dict[str, str]:
    """Runs sngrep on one capture and reads its list, then ends it."""
    settings = scratch / "sngreprc"
    settings.write_text(_SETTINGS, encoding="utf-8")
    # A size in the environment would count for more than that of the screen.
    files = f"-f {shlex.quote(str(settings))} -I {shlex.quote(str(capture))}"
    command = f"exec env -u LINES -u COLUMNS sngrep -F -c {files}"
    tmux = ["tmux", "-f", "/dev/null", "-S", str(scratch / "tmux")]
    size = ["-x", str(_WIDTH), "-y", str(dialogs + _FRAME_LINES)]
    output_of(*tmux, "new-session", "-d", *size, command)
    program = int(output_of(*tmux, "display-message", "-p", "#{pane_pid}"))
    try:
        return _wait(tmux)
    finally:
        # sngrep outlives its terminal, and then looks for it without rest.
        with suppress(ProcessLookupError):
            os.kill(program, signal.SIGKILL)
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)


def _wait(tmux: Sequence[str]) -> dict[str, str]:
    """The list, once it is whole and two looks at it are alike."""
    until = time.monotonic() + _PATIENCE
    before: dict[str, str] | None = None
    while time.monotonic() < until:
        time.sleep(_PAUSE)
        screen = output_of(*tmux, "capture-pane", "-p").splitlines()
        rows = _rows(screen)
        shown = next((m for m in map(_SHOWN.search, screen) if m), None)
        loading = any("Loading" in line for line in screen)
        if shown and not loading and len(rows) == int(shown[2] or shown[1]) and rows == before:
            return rows
        before = rows
    raise ProgramError("sngrep: its list of calls did not come to rest")


def _rows(screen: Sequence[str]) -> dict[str, str]:
    """Call-ID to state, by the columns under the heads of the list."""
    head = next((line for line in screen if "Call-ID" in line and "Call State" in line), "")
    first, second, third = (head.find(name) for name in ("Call-ID", "Method", "Call State"))
    return {
        line[first:second].strip(): line[third : third + 14].strip()
        for line in screen
        if re.match(r"\s*\[[ *]\] ", line)
    }
