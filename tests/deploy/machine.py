"""A machine of its own for systemd: this one's file system below a layer that is thrown away.

systemd-nspawn boots it with its own processes, network and control groups; nothing that happens in
it stays. Only units that are wanted run there.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from places import REPOSITORY, program

#: Seconds for an installation (pip loads packages), and for a life from boot to poweroff.
INSTALLING, LIVING = 600, 240

_TARGET = """
[Unit]
Requires=basic.target
After=basic.target
Wants=sipwatch.service check.service
AllowIsolate=yes
"""
_CHECK = """
[Unit]
After=sipwatch.service
# By the manager itself: a command that asks it over the bus may be cut off by what it asks for.
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/check/run
StandardOutput=file:/check/output
StandardError=file:/check/errors
"""


class Machine:
    """One machine; `root` is its file system as seen from here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def install(self) -> str:
        """Runs deploy/install as root of that machine, with this one's network."""
        inside = f"cd {shlex.quote(str(REPOSITORY))} && deploy/install"
        mounts = " && ".join(
            f"mount --{kind} {what} {self.root}/{place}"
            for kind, what, place in (
                ("bind", "/proc", "proc"),
                ("bind", "/dev", "dev"),
                ("types=tmpfs", "tmpfs", "tmp"),
                ("types=tmpfs", "tmpfs", "run"),
            )
        )
        command = f"{mounts} && exec chroot {self.root} /bin/sh -c {shlex.quote(inside)}"
        done = subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=INSTALLING,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"deploy/install: {done.stdout}{done.stderr}")
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def live(self, script: str) -> str:
        """Boots, starts the service, runs the script beside it, and is off; what it printed."""
        self.write("etc/systemd/system/check.target", _TARGET)
        self.write("etc/systemd/system/check.service", _CHECK)
        self.write("check/run", script, 0o755)
        done = subprocess.run(
            [
                program("systemd-nspawn"),
                *("--quiet", "--register=no", "--keep-unit", "--private-network"),
                *(f"--directory={self.root}", f"--machine=sipwatch-{os.getpid()}", "--boot"),
                "systemd.unit=check.target",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIVING,
            check=False,
        )
        output = self.root / "check" / "output"
        if not output.exists():
            pytest.fail(f"the machine did not come up: {done.stdout[-3000:]}{done.stderr}")
        errors = (self.root / "check" / "errors").read_text()
        assert errors == "", errors
        return output.read_text()


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A new machine; fails, and does not skip, where it cannot be made."""
    if os.geteuid() != 0:
        pytest.fail("a machine for systemd needs root: run these tests as root")
    with ExitStack() as stack:
        layers = folder / "layers"
        layers.mkdir()
        _mount(stack, layers, "-t", "tmpfs", "tmpfs")
        parts = {name: layers / name for name in ("upper", "work", "root")}
        for part in parts.values():
            part.mkdir()
        options = f"lowerdir=/,upperdir={parts['upper']},workdir={parts['work']}"
        _mount(stack, parts["root"], "-t", "overlay", "-o", options, "overlay")
        yield Machine(parts["root"])


def _mount(stack: ExitStack, place: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["mount", *arguments, str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"cannot make a machine for systemd: {done.stderr.strip()}")
    stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
