"""Programs that send HEP: Kamailio's siptrace and sngrep, as they are; and packets by hand."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_KAMAILIO = """
debug=1
log_stderror=yes
children=1
tcp_children=1
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
auto_aliases=no
dns=no
rev_dns=no
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "siptrace.so"
modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:{collector}")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", {version})
modparam("siptrace", "hep_capture_id", 2002)
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_mode", 1)
{auth}
request_route {{
    if (method == "ACK") exit;
    t_newtran();
    t_reply("486", "Busy Here");
    exit;
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def kamailio(
    folder: Path, collector: int, version: int, auth_key: str | None = None
) -> Iterator[int]:
    """A Kamailio that refuses all calls and traces them; gives its SIP port."""
    port = free_port()
    auth = f'modparam("siptrace", "auth_key", "{auth_key}")' if auth_key else ""
    config = folder / f"kamailio-{version}.cfg"
    config.write_text(_KAMAILIO.format(port=port, collector=collector, version=version, auth=auth))
    log = folder / "kamailio.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *("kamailio", "-f", str(config), "-DD", "-E", "-m", "32", "-M", "4"),
                *("-Y", str(folder), "-P", str(folder / "kamailio.pid")),
            ],
            stderr=output,
            stdout=output,
            start_new_session=True,
        )
    try:
        _wait_for(port, process, log)
        yield port
    finally:
        end_with_children(process)


def end_with_children(process: subprocess.Popen[bytes]) -> None:
    """Ends a program that leads its own session, and what it has started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"kamailio does not run: {log.read_text(errors='replace')[-500:]}")


def packet(
    payload: bytes,
    *,
    when: float | None = None,
    node: int = 7,
    key: bytes | None = None,
    kind: int = 1,
    number: int = 17,
) -> bytes:
    """A version 3 packet between two addresses of the documentation."""
    seconds, micro = divmod(round((time.time() if when is None else when) * 1e6), 1_000_000)
    chunks = [
        (1, b"\x02"),
        (2, bytes((number,))),
        (3, b"\xc0\x00\x02\x01"),
        (4, b"\xc0\x00\x02\x02"),
        (7, struct.pack("!H", 5060)),
        (8, struct.pack("!H", 5070)),
        (9, struct.pack("!I", seconds)),
        (10, struct.pack("!I", micro)),
        (11, bytes((kind,))),
        (12, struct.pack("!I", node)),
        (15, payload),
    ]
    if key is not None:
        chunks.append((14, key))
    body = b"".join(struct.pack("!HHH", 0, number, 6 + len(data)) + data for number, data in chunks)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


def message(number: int = 1, method: bytes = b"INVITE") -> bytes:
    return (
        method + b" sip:200@192.0.2.2 SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%d\r\nFrom: <sip:1@a>;tag=a\r\n"
        b"To: <sip:2@a>\r\nCall-ID: call-%d\r\nCSeq: 1 " % (number, number) + method + b"\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
