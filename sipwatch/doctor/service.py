"""What the daemon needs besides packets: its port, its directory, and a PBX on the SIP ports."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from sipwatch.daemon.privileges import Account
from sipwatch.doctor.account import may
from sipwatch.doctor.findings import Finding, Plan, fail, ok, warn

#: State of a listening TCP socket in /proc/net/tcp (net/tcp_states.h).
_LISTENING = "0A"
_TLS_PORT = 5061
_MOST_SHOWN = 12
#: Free MiB below which records soon cannot be kept.
_LEAST_SPACE = 256


def examine(plan: Plan) -> Iterator[Finding]:
    """All of it, as far as the plan names it."""
    yield sip_ports(plan.filter.ports)
    if plan.listen is not None:
        yield listening(plan.listen)
    if plan.records is not None:
        yield records(Path(plan.records), plan.account)


def sip_ports(wanted: tuple[tuple[int, int], ...], proc: str = "/proc/net") -> Finding:
    """Which of the configured ports a process of this host has open."""
    check = "ports"
    configured = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in wanted)
    used = sorted(
        (port, transport)
        for transport, port in _open_ports(Path(proc))
        if any(low <= port <= high for low, high in wanted)
    )
    if not used:
        return warn(
            check,
            f"{configured}: nothing on this host has one of them open",
            "right on a mirror port or before a container's own network; else set ports to those "
            "of the PBX (ss -lunp, ss -ltnp)",
        )
    shown = ", ".join(f"{port}/{transport}" for port, transport in used[:_MOST_SHOWN])
    if all(port == _TLS_PORT and transport == "tcp" for port, transport in used):
        return warn(
            check,
            f"{configured}; in use here: {shown}, which is SIP over TLS and cannot be read",
            "let the PBX send HEP (sipwatch run --hep), or give its TLS key log",
        )
    return ok(check, f"{configured}; in use here: {shown}")


def _open_ports(proc: Path) -> set[tuple[str, int]]:
    """Transport and local port of each UDP socket that is bound and TCP socket that listens."""
    found = set()
    for transport in ("udp", "tcp"):
        for family in ("", "6"):
            try:
                lines = (proc / f"{transport}{family}").read_text().splitlines()[1:]
            except OSError:
                continue  # no IPv6 on this host
            for line in lines:
                _, local, _, state, *_ = line.split()
                if transport == "udp" or state == _LISTENING:
                    found.add((transport, int(local.rpartition(":")[2], 16)))
    return found


def listening(address: tuple[str, int]) -> Finding:
    """Whether the daemon could listen where it is to be scraped."""
    host, port = address
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    check = f"listen {shown}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(1)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            return warn(
                check, "is in use: by a running sipwatch, or by another program", "see ss -ltnp"
            )
        why = getattr(error, "strerror", None) or error
        return fail(check, f"cannot be listened on: {why}", "set web.listen to an own address")
    return ok(check, "free")


def records(directory: Path, account: Account | None = None) -> Finding:
    """Whether records can be kept where they are to be kept, by this user."""
    check = f"records {directory}"
    place, kind = _nearest(directory)
    if kind is not None and not stat.S_ISDIR(kind):
        return fail(check, f"{place} is not a directory", "set records.directory to another place")
    # One that is not there yet is made by who starts the daemon, and given to the user.
    writer = account if place == directory else None
    if kind is None or not may(writer, str(place), os.W_OK | os.X_OK):
        who, owner = (os.geteuid(), "sipwatch") if writer is None else (writer.pw_name,) * 2
        return fail(
            check,
            f"{place} cannot be written by user {who}",
            f"install -d -o {owner} -g {owner} {directory}, or StateDirectory= in the unit",
        )
    space = os.statvfs(place)
    free = space.f_bavail * space.f_frsize >> 20
    if free < _LEAST_SPACE:
        return warn(check, f"{free} MiB free", "make room, or keep records for fewer days")
    missing = "" if place == directory else ", to be made"
    return ok(check, f"writable{missing}, {free} MiB free")


def _nearest(directory: Path) -> tuple[Path, int | None]:
    """The directory, or what is there of the way to it, and its mode; None where none is told."""
    for path in (directory, *directory.parents):
        try:
            return path, path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError):
            return path, None
    return directory, None
