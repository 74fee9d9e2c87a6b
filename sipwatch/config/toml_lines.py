"""On which line of a TOML file each key stands: what `tomllib` does not tell.

The text has been parsed before, so it is known to be good TOML; this only walks over it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

#: Names of tables and keys, and positions in arrays of tables.
Path: TypeAlias = tuple[str | int, ...]

_NAME = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_ASSIGNMENT = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_STEP = re.compile(_NAME)
#: What opens or closes something in a value, or hides what would.
_TOKEN = re.compile(
    r"""\"{3}(?:[^\\]|\\.)*?\"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}]|\n""",
    re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """Path of each table and key to its line, from 1; keys inside inline tables are left out."""
    lines: dict[Path, int] = {}
    arrays: dict[Path, int] = {}
    table: Path = ()
    for start, line in _statements(text):
        header = _HEADER.match(text, start)
        if header:
            table = _table_path(_steps(header[2]), len(header[1]) == 2, arrays)
            lines.setdefault(table, line)
            continue
        assignment = _ASSIGNMENT.match(text, start)
        if assignment:
            lines.setdefault(table + _steps(assignment[1]), line)
    return lines


def line_of(path: Path, lines: dict[Path, int]) -> int | None:
    """The line of a key, or of the nearest thing around it that has one."""
    for length in range(len(path), 0, -1):
        found = lines.get(path[:length])
        if found is not None:
            return found
    return None


def _statements(text: str) -> Iterator[tuple[int, int]]:
    """Offset and line of each line of text that is not the inside of a value."""
    depth = 0
    line = 1
    yield 0, line
    # Brackets of a table header open and close on their own line and cancel out.
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in ("[", "{"):
            depth += 1
        elif sign in ("]", "}"):
            depth -= 1
        elif sign == "\n":
            line += 1
            if depth <= 0:
                yield token.end(), line
        else:
            line += sign.count("\n")


def _steps(dotted: str) -> tuple[str, ...]:
    return tuple(step[1:-1] if step[0] in "\"'" else step for step in _STEP.findall(dotted))


def _table_path(steps: tuple[str, ...], array: bool, arrays: dict[Path, int]) -> Path:
    """The path of a table; an array of tables counts its members, later headers mean the last."""
    path: Path = ()
    for position, step in enumerate(steps):
        path = (*path, step)
        if array and position == len(steps) - 1:
            arrays[path] = arrays.get(path, -1) + 1
        if path in arrays:
            path = (*path, arrays[path])
    return path
