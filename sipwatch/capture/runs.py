"""Runs of media packets of one length, passed over in one step.

Nine of ten packets on a PBX host are RTP, most of a codec whose packets are all of one length
(RFC 3551 section 4.5), and they stand one behind the other in a capture. A reader that met two
such packets asks here where the run of them ends: one match of a regular expression looks at the
same fields of each record as the reader's loop does, and at nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from sipwatch.net import linktypes, recognise

#: Shapes for which a pattern is made; a codec of varying length has hundreds, and no runs.
MOST_SHAPES = 16

#: Up to the IP header of a frame without tags: pattern and number of bytes.
_LINKS: dict[int, tuple[bytes, int]] = {
    linktypes.ETHERNET: (rb".{12}\x08\0", 14),
    linktypes.LINUX_SLL: (rb".{14}\x08\0", 16),
    linktypes.LINUX_SLL2: (rb"\x08\0.{18}", 20),
    linktypes.RAW: (b"", 0),
    linktypes.IPV4_ONLY: (b"", 0),
}
#: The same behind one tag (IEEE 802.1Q).
_TAGGED: dict[int, tuple[bytes, int]] = {
    linktypes.ETHERNET: (rb".{12}\x81\0..\x08\0", 18),
    linktypes.LINUX_SLL: (rb".{14}\x81\0..\x08\0", 20),
    linktypes.LINUX_SLL2: (rb"\x81\0.{20}\x08\0", 24),
}

# From the IP header on: version and header length, neither a fragment's bit nor its offset, UDP;
# then the first byte of the payload. The number of bytes with it.
_UDP = rb"E.{5}[\0\x40\x80\xc0]\0.\x11.{18}[%s]" % re.escape(
    bytes(first for first in range(256) if recognise.KIND[first] == recognise.MEDIA)
)
_UDP_SIZE = 29

_Match: TypeAlias = Callable[[bytes, int, int], re.Match[bytes] | None]


class Runs:
    """Where runs of media end, in the records of one link type whose headers look alike.

    ``header`` makes the pattern of a record's header from the captured length, which is that on
    the wire too, and the size of the whole record; both, and ``header_size``, are in bytes.
    """

    def __init__(
        self, linktype: int, header: Callable[[int, int], bytes], header_size: int
    ) -> None:
        self._linktype = linktype
        self._header = header
        self._header_size = header_size
        self._matches: dict[tuple[int, int, bool], _Match] = {}

    def end(
        self, buffer: bytes, offset: int, end: int, length: int, size: int, *, tagged: bool
    ) -> int:
        """Where the run of media packets that begins at ``offset`` ends; there, where none does.

        ``length`` is of each frame, ``size`` of each record; no byte from ``end`` on is looked at.
        """
        shape = length, size, tagged
        match = self._matches.get(shape)
        if match is None:
            if len(self._matches) >= MOST_SHAPES:
                return offset
            match = self._matches[shape] = self._match(length, size, tagged)
        found = match(buffer, offset, end)
        return found.end() if found is not None else offset

    def _match(self, length: int, size: int, tagged: bool) -> _Match:
        link, before = (_TAGGED if tagged else _LINKS).get(self._linktype, (b"(?!)", 0))
        rest = size - self._header_size - before - _UDP_SIZE
        if before + _UDP_SIZE > length:
            link, rest = b"(?!)", 0
        record = self._header(length, size) + link + _UDP + b".{%d}" % rest
        # Not possessive, which would be faster: CPython 3.11.2 then goes back one record too many
        # where the last one is not whole.
        return re.compile(b"(?:" + record + b")*", re.DOTALL).match
