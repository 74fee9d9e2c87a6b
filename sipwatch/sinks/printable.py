"""Text from the wire, made safe for a terminal."""

from __future__ import annotations

import re

#: C0 and C1 control characters, and what reverses or hides text: bidirectional controls (as in
#: "trojan source"), zero-width characters, line separators, tags, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SEQUENCE = re.compile(
    # ANSI escape sequences as a whole: CSI, OSC and friends up to their end, two-character ones.
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*"
    "(?:\x07|\x1b\\\\|\x9c)?|\x1b[ -/]*[0-~]"
)
#: What stands for a character that is not shown.
REPLACEMENT = "\ufffd"


def printable(value: str) -> str:
    """A text from the wire that a terminal can show: one line, no control or hidden characters."""
    if value.isascii() and value.isprintable():
        return value
    return _UNSAFE.sub(REPLACEMENT, _SEQUENCE.sub(REPLACEMENT, value))
