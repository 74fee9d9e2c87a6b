"""A tshark that runs: how it is started, what it prints, what it complains about, how it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sipwatch.capture.stats import CaptureError
from sipwatch.capture.tshark_output import FILTER

#: Settings under which tshark looks as far as we do: SIP on any port, before what a port is
#: registered for, segments in any order, ESP without encryption.
_PREFERENCES = (
    "tcp.try_heuristic_first:TRUE",
    "udp.try_heuristic_first:TRUE",
    "tcp.reassemble_out_of_order:TRUE",
    "esp.enable_null_encryption_decode_heuristic:TRUE",
)

_CHUNK = 1 << 16

#: Longest line that is believed; a packet is 256 KB at most and each byte appears a few times.
_MAX_LINE = 16 << 20

#: Seconds that tshark gets to end by itself before it is killed.
_PATIENCE = 2.0

#: What tshark says when all is well.
_COURTESIES = ("could be dangerous", "Capturing on", "packets captured", "packet captured")


def is_available() -> bool:
    """Whether tshark is installed."""
    return shutil.which("tshark") is not None


class Process:
    """A tshark that runs: complete lines of its output, and what it complained about."""

    def __init__(
        self,
        arguments: Sequence[str],
        keylog: str | None,
        decode_as: Sequence[str],
        source: IO[bytes] | None = None,
        *,
        ends_with_us: bool = False,
    ) -> None:
        """Start it, its standard input from ``source``. Raises `CaptureError` if that fails.

        Without a source it reads ours where the arguments name ``-``, and nothing otherwise. One
        that captures would go on for ever if we were killed: ``ends_with_us`` has the kernel end
        it when the thread that started it is gone.
        """
        if not is_available():
            raise CaptureError("tshark is not installed; on Debian: apt install tshark")
        command = ["tshark", "-n", "-Q", "-l", "-T", "ek", "-x", "-J", "frame", "-Y", FILTER]
        for preference in _PREFERENCES:
            command += ["-o", preference]
        if keylog is not None:
            if not os.access(keylog, os.R_OK):
                raise CaptureError(f"{keylog}: the key log cannot be read")
            command += ["-o", f"tls.keylog_file:{os.path.abspath(keylog)}"]
        for rule in decode_as:
            command += ["-d", rule]
        if ends_with_us and shutil.which("setpriv") is not None:
            command = ["setpriv", "--pdeathsig", "TERM", "--", *command]
        self._folder = tempfile.TemporaryDirectory(prefix="sipwatch-tshark-")
        self._messages = Path(self._folder.name, "messages")
        # What the user has set for Wireshark's windows is not for us: an empty configuration.
        environment = {**os.environ, "LC_ALL": "C", "WIRESHARK_CONFIG_DIR": self._folder.name}
        try:
            with self._messages.open("wb") as messages:
                self._process = subprocess.Popen(
                    [*command, *arguments],
                    stdin=source or (None if "-" in arguments else subprocess.DEVNULL),
                    stdout=subprocess.PIPE,
                    stderr=messages,
                    env=environment,
                )
        except OSError as error:
            self._folder.cleanup()
            raise CaptureError(f"tshark cannot be started: {error.strerror or error}") from None
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self._rest = b""
        self.is_at_end = False

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._output.fileno()

    def read(self) -> list[bytes]:
        """The lines that are there, after waiting for the first bytes; none at the end."""
        data = os.read(self.fileno(), _CHUNK)
        if not data:
            self.is_at_end = True
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            self._rest = b""
        return lines

    def complaint(self) -> str:
        """The first thing it said that is not a courtesy."""
        with self._messages.open("rb") as messages:
            lines = messages.read(_CHUNK).decode(errors="replace").splitlines()
        for line in lines:
            text = line.removeprefix("tshark: ").strip()
            if text and not any(courtesy in text for courtesy in _COURTESIES):
                return text
        return ""

    def end(self) -> int:
        """Wait for its end, or bring it about; the exit status."""
        if self._process.poll() is None:
            if not self.is_at_end:
                self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()
        return self._process.returncode

    def close(self) -> None:
        """End it and forget what it said."""
        self.end()
        self._folder.cleanup()
