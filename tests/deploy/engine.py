"""A container engine of its own: podman with nothing before and nothing behind it.

It has its own mounts, with all images in memory, and its own processes: when the first of them ends
so does everything that it has started, and nothing stays. Networks are those of the caller. No
registry is asked: images are made here, under the names that are wanted.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import DEPLOY, program

BASE = "docker.io/library/debian:bookworm-slim"
#: Where a host keeps authorities of its own, that Debian's ca-certificates takes up.
AUTHORITIES = "/usr/local/share/ca-certificates"
#: Seconds for one command, and for the whole engine.
COMMAND, LIFE = 300, 900

_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
"""
#: Limits that a host has raised for nobody cannot be raised here either.
_CONTAINERS = """
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/libpod"
"""
#: The engine's first process. crun 1.8 refuses hosts that have both versions of control groups.
_FIRST = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs {folder}
for place in /dev/shm /run/crun /var/lib/containers; do
  mkdir -p $place
  mount -t tmpfs tmpfs $place
done
if [ -d /sys/fs/cgroup/unified ]; then
  old=$(sed -n 's/^[1-9][0-9]*:\\([a-z_,]*\\):.*/\\1/p' /proc/self/cgroup)
  umount --recursive /sys/fs/cgroup
  mount -t tmpfs tmpfs /sys/fs/cgroup
  for name in $old name=systemd; do
    mkdir "/sys/fs/cgroup/${{name#name=}}"
    mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/${{name#name=}}"
  done
fi
echo ready
exec sleep {life}
"""
#: As in the image of the registry: no translations are loaded of what packages are about.
_NO_LANGUAGES = '--aptopt=Acquire::Languages "none"'
#: Control groups stay when nothing is in them any more; others' have something in them.
_SWEEP = "find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} + 2>&1; true"


class Engine:
    """One engine; commands run in the network that the calling thread is in."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            pytest.fail("a container engine of its own needs root: run these tests as root")
        self.folder = folder
        for name in ("unshare", "nsenter", "podman", "mmdebstrap"):
            program(name)
        first = _FIRST.format(folder=shlex.quote(str(folder)), life=LIFE)
        new = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        self._first = subprocess.Popen(
            ["unshare", *new, "/bin/sh", "-c", first],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._first.stdout is not None
        said = self._first.stdout.readline()
        if said != "ready\n":
            pytest.fail(f"cannot make a container engine of its own: {said}")
        for name, text in (("storage.conf", _STORAGE), ("containers.conf", _CONTAINERS)):
            self.inside("tee", f"{folder}/{name}", given=text.format(folder=folder).encode())

    def inside(
        self,
        *command: str,
        given: bytes | int | None = None,
        allowed: tuple[int, ...] = (0,),
        **environment: str,
    ) -> str:
        """What a command says that runs where the engine does; the test fails when it does."""
        source = {"stdin": given} if isinstance(given, int) else {"input": given or b""}
        done = subprocess.run(
            self.command(*command),
            capture_output=True,
            env=self.environment | environment,
            timeout=COMMAND,
            check=False,
            **source,
        )
        out, errors = done.stdout.decode(), done.stderr.decode(errors="replace")
        if done.returncode not in allowed:
            pytest.fail(f"{shlex.join(command)}: {done.returncode}\n{out[-3000:]}{errors[-3000:]}")
        return out

    def command(self, *command: str) -> list[str]:
        space = f"/proc/{self._first.pid}/ns"
        return ["nsenter", f"--mount={space}/mnt", f"--pid={space}/pid_for_children", *command]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
            "TMPDIR": str(self.folder),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_FORMAT": "docker",
        }

    def podman(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        return self.inside("podman", *arguments, allowed=allowed)

    def compose(self, *arguments: str, **environment: str) -> str:
        """The deployed compose file, with an own authority of the host lent to what is built."""
        # One layer a stage: nothing of them is wanted again.
        lent = f"--layers=false --network=host --volume={AUTHORITIES}:{AUTHORITIES}:ro"
        file = str(DEPLOY / "container" / "compose.yml")
        return self.inside(
            *(sys.executable, "-m", "podman_compose", "-f", file),
            *(f"--podman-build-args={lent}", *arguments),
            **environment,
        )

    def make_base(self) -> None:
        """Debian from its packages, under the name that it has in the registry."""
        arguments = ("--quiet", "--variant=minbase", "--mode=root", _NO_LANGUAGES)
        with subprocess.Popen(
            self.command("mmdebstrap", *arguments, "bookworm", "-"),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as made:
            assert made.stdout is not None
            assert made.stderr is not None
            self.inside("podman", "import", "--quiet", "-", BASE, given=made.stdout.fileno())
            said = made.stderr.read().decode()
        if made.returncode:
            pytest.fail(f"mmdebstrap: {said}")

    def close(self) -> None:
        try:
            self.podman("rm", "--all", "--force", "--time=0")
            self.inside("/bin/sh", "-c", _SWEEP)
        finally:
            self._first.kill()
            self._first.wait(10)


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """A new engine; fails, and does not skip, where it cannot be made."""
    made = Engine(folder)
    try:
        yield made
    finally:
        made.close()
