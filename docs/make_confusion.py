"""Writes docs/confusion.md: what the same attempts look like to sngrep, Wireshark and codes alone.

python docs/make_confusion.py           # write it
python docs/make_confusion.py --check   # exit 1 when the checked part would be written otherwise

The checked part is of the captures in pcaps/ without the busy hours. What stands below the mark
is of those and of captures beside the project, when they are there; else it is kept as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from peers.elsewhere import elsewhere
from peers.programs import MissingProgramError, ProgramError
from peers.rows import Row, rows_of
from peers.tables import instructive, matrix, misses, sides

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(__file__).with_name("confusion.md")
FOLDERS = [ROOT / "pcaps", ROOT / "pcaps/pbx/asterisk", ROOT / "pcaps/pbx/kamailio"]
SHARED = ROOT.parent / "shared/captures"
MARK = "<!-- not checked from here on -->"
#: Captures of several hundred attempts each; they would make the check slow.
LARGE = "busy-hour*"

INTRODUCTION = """# How the usual readings mislead

This page is written by `docs/make_confusion.py`; do not edit it.

Every attempt in the captures of `pcaps/` has a truth that was written by whoever played it, not
read off the wire. Beside it stand four readings:

- **sipwatch**: its outcome.
- **code**: the final status alone, under the name that RFC 3261 gives it; what a dashboard of
  response codes shows.
- **sngrep**: the Call State column of its call list, read off its screen.
- **Wireshark**: the state in its VoIP Calls dialog. tshark cannot print it, so it is worked out
  from what tshark dissects by the rules of that dialog (`ui/voip_calls.c` of its source). Of its
  states SIP gets only CALL SETUP, IN CALL, CANCELLED, COMPLETED and REJECTED; RINGING and UNKNOWN
  are for other protocols.

The others are not wrong by their own lights: they follow messages and say in which state a dialog
is. They mislead who takes the state for a reason. Both know a call by its Call-ID alone, so that
all branches of a forked call share one state.
"""

SIDES = """## People or technology

The question that matters first: did a person decide (busy, declined, did not answer), or did
something not work? Counted over the attempts whose truth is one of the two.

- *names the right side*, *names the other side*, *names neither*: the word taken literally. `busy`
  and `declined` name people; `timeout`, `unavailable`, server failures and the lack of a final
  response name technology; CANCELLED, REJECTED or `forbidden` name neither.
- *wrong at best*: the attempts that stay wrong if each word is read as the side that it stands for
  most often in these very captures. No reader of that word can do better.
"""

MATRICES = """## What the others say where sipwatch says …

Numbers of attempts. A row that is spread over several columns, or a column over several rows, is
what a word hides.
"""

INSTRUCTIVE = """## Captures to look at

`sipwatch explain` shows the ladder and the evidence of each.
"""

MISSES = """## Where sipwatch misses the side

Attempts whose truth is people or technology and whose outcome names another side or none, those
included where the truth allows another outcome, because one leg alone cannot tell.
"""


def main() -> int:
    """Write the page, or compare its checked part."""
    try:
        rows = rows_of(FOLDERS, without=LARGE)
        text = checked_part(rows)
        if "--check" in sys.argv[1:]:
            return _compare(text)
        if SHARED.is_dir() or not TARGET.exists():
            rest = elsewhere(FOLDERS, SHARED, LARGE)
        else:
            rest = TARGET.read_text(encoding="utf-8").partition(MARK)[2].lstrip("\n")
    except (MissingProgramError, ProgramError) as error:
        print(f"make_confusion.py: {error}", file=sys.stderr)
        return 2
    TARGET.write_text(f"{text}\n{MARK}\n\n{rest}", encoding="utf-8")
    return 0


def _compare(text: str) -> int:
    known = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if known.partition(MARK)[0].rstrip("\n") == text.rstrip("\n"):
        return 0
    print(f"{TARGET.name} is not up to date: python docs/make_confusion.py", file=sys.stderr)
    return 1


def checked_part(rows: list[Row]) -> str:
    """The page as far as it rests on the captures that belong to the project."""
    captures = len({row.capture for row in rows})
    total = f"Of {len(rows):,} attempts in {captures:,} captures.\n"
    parts = [
        INTRODUCTION,
        total,
        SIDES,
        sides(rows),
        INSTRUCTIVE,
        instructive(rows),
        MATRICES,
        *(matrix(rows, reading) for reading in ("code", "sngrep", "wireshark")),
        MISSES,
        misses(rows),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
