"""Writes the README's table of what is decoded from the registry of decoders.

python docs/make_decoders.py           # write it between its markers in README.md
python docs/make_decoders.py --check   # exit 1 when the table is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from sipwatch.net.frames import FrameDecoder
from sipwatch.net.linktypes import LINK_NAMES, LINKS

TARGET = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- decoders -->\n", "<!-- /decoders -->\n"
#: What travels in TCP and UDP is told by its content, so it is in no registry of numbers.
BY_CONTENT = (
    "SIP on any port over UDP, TCP (reassembled) and SCTP",
    "WebSocket (RFC 7118), with or without the upgrade in view",
    "HEP versions 1, 2 and 3",
    "TLS and secure WebSocket with a key log (`--keylog`, through tshark)",
)


def main() -> int:
    """Write the table, or compare it."""
    text = TARGET.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    if "--check" in sys.argv[1:]:
        if text[begin:end] == table():
            return 0
        print("README.md is not up to date: python docs/make_decoders.py", file=sys.stderr)
        return 1
    TARGET.write_text(text[:begin] + table() + text[end:], encoding="utf-8")
    return 0


def table() -> str:
    """The table with its lines."""
    layers = FrameDecoder().layers()
    rows = [("link types", sorted({LINK_NAMES[number] for number in LINKS}, key=str.lower))]
    for where, title in (
        ("ethertype", "inside a frame"),
        ("IP protocol", "inside IP"),
        ("UDP port", "inside UDP"),
    ):
        names = {name for place, _, name, decoded in layers if place == where and decoded}
        rows.append((title, sorted(names, key=str.lower)))
    rows.append(("by content", list(BY_CONTENT)))
    named = sorted({name for _, _, name, decoded in layers if not decoded})
    rows.append(("counted and named, not decoded", named))
    lines = ["| where | decoded |", "|---|---|"]
    lines += [f"| {title} | {', '.join(names)} |" for title, names in rows if names]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
