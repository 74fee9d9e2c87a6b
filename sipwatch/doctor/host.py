"""The host as such: privileges, kernel, clock, tshark."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sipwatch.doctor.findings import Finding, fail, ok, warn

#: Bits of the capability sets (linux/capability.h).
_NET_ADMIN, _NET_RAW = 12, 13

#: TPACKET_V3 counts and times blocks as we need it since then.
_OLDEST_KERNEL = (3, 19)

# adjtimex(2): states and the flag for a clock that nobody disciplines.
_TIME_ERROR = 5
_UNSYNCHRONISED = 0x40
_TIMEX = struct.Struct("@Illlli")
_TIMEX_BYTES = 512
_KEEP_CLOCK = (
    "run chrony, or systemctl enable --now systemd-timesyncd; for a container, on its host"
)

_TSHARK_SECONDS = 20


def capabilities(status: str = "/proc/self/status") -> Finding:
    """Whether this process may open packet sockets."""
    check = "capabilities"
    text = Path(status).read_text(encoding="ascii", errors="replace")
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", text, re.MULTILINE)
    bits = int(found[1], 16) if found else 0
    who = f"user {os.geteuid()}"
    if not bits >> _NET_RAW & 1:
        return fail(
            check,
            f"{who} has no CAP_NET_RAW and cannot capture",
            "run as root, or set AmbientCapabilities=CAP_NET_RAW in the systemd unit, or "
            "--cap-add NET_RAW for a container",
        )
    more = ", and more than that" if bits >> _NET_ADMIN & 1 else ""
    return ok(check, f"{who} has CAP_NET_RAW{more}")


def kernel() -> Finding:
    """Whether the kernel is new enough for the ring."""
    release = platform.release()
    found = re.match(r"(\d+)\.(\d+)", release)
    if platform.system() != "Linux" or found is None:
        return fail(
            "kernel",
            f"{platform.system()} {release}: live capture is for Linux",
            "capture with tcpdump here and use sipwatch replay",
        )
    if (int(found[1]), int(found[2])) < _OLDEST_KERNEL:
        return fail("kernel", f"Linux {release} is too old", "use Linux 3.19 or newer")
    return ok("kernel", f"Linux {release}")


def clock() -> Finding:
    """Whether something keeps the clock right; times in records are only as good as it is."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if state < 0:
        why = os.strerror(ctypes.get_errno())
        return warn(
            "clock", f"the kernel does not say whether the clock is kept ({why})", _KEEP_CLOCK
        )
    _, _, _, largest, _, status = _TIMEX.unpack_from(buffer.raw)
    return clock_finding(state, status, largest / 1e6)


def clock_finding(state: int, status: int, largest_error: float) -> Finding:
    """What adjtimex(2) says of the clock: its state, its flags, and the error in seconds."""
    if state == _TIME_ERROR or status & _UNSYNCHRONISED:
        return warn(
            "clock", "nothing keeps the clock in step: times in records may jump", _KEEP_CLOCK
        )
    return ok("clock", f"kept in step, wrong by {largest_error:.3f} s at the most")


def tshark(path: str | None = None) -> Finding:
    """Whether the deep decoder is there, which only TLS with keys and rare formats need."""
    check = "tshark"
    remedy = "apt install tshark, or dnf install wireshark-cli, if --decoder tshark is wanted"
    found = shutil.which("tshark", path=path)
    if found is None:
        return warn(check, "not installed: no TLS with key logs, no rare formats", remedy)
    try:
        done = subprocess.run(
            [found, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TSHARK_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return warn(check, f"{found} does not run: {error}", remedy)
    lines = (line for line in done.stdout.splitlines() if line.strip())
    return ok(check, f"{next(lines, 'version unknown').rstrip('.')} at {found}")


def examine() -> Iterator[Finding]:
    """All of the above."""
    yield kernel()
    yield capabilities()
    yield clock()
    yield tshark()
