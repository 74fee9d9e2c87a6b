"""Decompression as a stream: one interface over gzip, bzip2, xz and zstd.

All give out what they can at once, never more than asked for, so that neither a bomb fills the
memory nor a pipe has to wait for the end of the file. The libraries are loaded when a file asks
for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class CompressedDataError(Exception):
    """Compressed data that cannot be decompressed; the argument says what is wrong."""


class Decompressor(Protocol):
    """One member of a compressed file, in the manner of :class:`lzma.LZMADecompressor`."""

    @property
    def eof(self) -> bool:
        """Whether the end of the member was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out before more goes in."""

    @property
    def unused_data(self) -> bytes:
        """What stood behind the end of the member."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Takes ``data`` in and gives at most ``max_length`` bytes out."""


class _Gzip:
    """zlib's object, with the input that it did not get to kept for the next call."""

    def __init__(self) -> None:
        import zlib

        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail and not self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        tail = self._stream.unconsumed_tail
        return self._stream.decompress(tail + data if tail else data, max_length)


class _Zstd:
    """zstandard's object, fed in small pieces since it has no limit for its output.

    A block of 128 KiB can be as short as 4 bytes, so a piece of 1 KiB gives 32 MiB at most.
    """

    _PIECE = 1024
    # A window larger than this is refused, as the zstd program does by default.
    _MAX_WINDOW = 1 << 27

    def __init__(self) -> None:
        import zstandard

        self._stream = zstandard.ZstdDecompressor(max_window_size=self._MAX_WINDOW).decompressobj()
        self._input = b""
        #: What came out, of which the first ``_given`` bytes were given on.
        self._output = b""
        self._given = 0

    @property
    def eof(self) -> bool:
        return self._stream.eof and self._given == len(self._output)

    @property
    def needs_input(self) -> bool:
        return not self._input and not self._stream.eof and self._given == len(self._output)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data) + self._input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._input += data
        while self._given == len(self._output) and self._input and not self._stream.eof:
            piece, self._input = self._input[: self._PIECE], self._input[self._PIECE :]
            self._output, self._given = self._stream.decompress(piece), 0
        result = self._output[self._given : self._given + max_length]
        self._given += len(result)
        return result


def _bzip2() -> Decompressor:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> Decompressor:
    import lzma

    return lzma.LZMADecompressor()


#: Magic bytes, name, and what decompresses one member.
_FORMATS: list[tuple[bytes, str, Callable[[], Decompressor]]] = [
    (b"\x1f\x8b\x08", "gzip", _Gzip),
    (b"BZh", "bzip2", _bzip2),
    (b"\xfd7zXZ\x00", "xz", _xz),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstd),
]

#: The longest magic: what must be seen of a file to know its compression.
MAGIC_LENGTH = 6


def _errors(name: str) -> tuple[type[Exception], ...]:
    """What the library of a compression raises for damaged data."""
    usual = (OSError, EOFError, ValueError)
    if name == "gzip":
        import zlib

        return (*usual, zlib.error)
    if name == "xz":
        import lzma

        return (*usual, lzma.LZMAError)
    if name == "zstd":
        import zstandard

        return (*usual, zstandard.ZstdError)
    return usual


def compression_of(start: bytes) -> str | None:
    """Name of the compression of a file that begins so, None when it is not compressed."""
    for magic, name, _ in _FORMATS:
        if start.startswith(magic):
            return name
    return None


class Stream:
    """The decompressed contents of a file of one or more members, one behind another."""

    def __init__(self, name: str, read: Callable[[int], bytes]) -> None:
        """``read(n)`` gives at most n compressed bytes, none at the end.

        Raises :class:`CompressedDataError` for what there is no library for.
        """
        self._magic, _, self._new = next(entry for entry in _FORMATS if entry[1] == name)
        self._read = read
        try:
            self._member = self._new()
        except ImportError:
            missing = "zstd needs the package zstandard: pip install zstandard"
            raise CompressedDataError(missing) from None
        self._errors = _errors(name)
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, as soon as there are any; none at the end.

        Raises :class:`CompressedDataError` once, where the data is damaged or cut short; after
        that it is at its end.
        """
        try:
            while not self._ended:
                data = self._step(size)
                if data:
                    return data
        except self._errors as error:
            self._ended = True
            raise CompressedDataError(f"compressed data is damaged ({error})") from None
        return b""

    def _step(self, size: int) -> bytes:
        if self._member.eof:
            self._next_member()
            return b""
        if not self._member.needs_input:
            return self._member.decompress(b"", size)
        compressed = self._read(size)
        if not compressed:
            self._ended = True
            raise CompressedDataError("compressed data is cut short")
        return self._member.decompress(compressed, size)

    def _next_member(self) -> None:
        """Begins the next member, or ends at zeros (padding of tapes and xz) or at the end."""
        rest = self._member.unused_data.lstrip(b"\0")
        while len(rest) < len(self._magic):
            more = self._read(4096)
            if not more:
                break
            rest = (rest + more).lstrip(b"\0")
        if not rest:
            self._ended = True
        elif rest.startswith(self._magic):
            self._member = self._new()
            self._read = _prepend(rest, self._read)
        else:
            self._ended = True
            raise CompressedDataError("what follows the compressed data is not compressed")


def _prepend(data: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A ``read`` that gives ``data`` first."""
    parts = [data]

    def read_first(size: int) -> bytes:
        return parts.pop() if parts else read(size)

    return read_first
