"""A world apart: network namespaces around one switch, a capture, and Asterisk in a chroot.

Several labs can run at once: each has namespaces of its own, so that all use the same addresses.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PBX = "10.30.0.1"
PROXY = "10.30.0.2"
PHONES = [f"10.30.0.{n}" for n in range(11, 31)]
CARRIERS = [f"10.30.0.{n}" for n in range(50, 54)]
# Signalling, what says that nobody listens, and the later pieces of fragmented datagrams.
CAPTURE_FILTER = (
    "udp portrange 5060-5099 or tcp portrange 5060-5099 or icmp or (ip[6:2] & 0x1fff != 0)"
)
DEBIAN = "http://deb.debian.org/debian"


def run(*command: str, check: bool = True) -> str:
    """Runs a command to its end and gives what it printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def make_chroot(folder: Path) -> None:
    """Installs Debian sid with Asterisk in `folder` unless it is there."""
    if not (folder / "usr/sbin/asterisk").exists():
        run("debootstrap", "--variant=minbase", "sid", str(folder), DEBIAN)
        install = ("apt-get", "install", "-y", "--no-install-recommends", "asterisk")
        run("env", "DEBIAN_FRONTEND=noninteractive", "chroot", str(folder), *install)
    if not (folder / "proc/self").exists():
        run("mount", "-t", "proc", "proc", str(folder / "proc"))


def asterisk_version(folder: Path) -> str:
    """The version as the program tells it, without the packager's suffix."""
    return run("chroot", str(folder), "asterisk", "-V").split()[1].split("+")[0]


@dataclass(slots=True)
class Lab:
    """One world; `name` keeps its namespaces and folders apart from those of other labs."""

    name: str
    chroot: Path
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def namespace(self, host: str) -> str:
        return f"sw-{self.name}-{host}"

    def build(self, parties: list[str], proxy: bool = False) -> None:
        """Makes the switch and the hosts on it."""
        self.demolish()
        run("ip", "netns", "add", self.namespace("switch"))
        inside = ("ip", "-n", self.namespace("switch"))
        run(*inside, "link", "add", "br0", "type", "bridge")
        run(*inside, "link", "set", "br0", "up")
        self._host("pbx", [PBX])
        self._host("parties", parties)
        if proxy:
            self._host("proxy", [PROXY])

    def _host(self, host: str, addresses: list[str]) -> None:
        space = self.namespace(host)
        run("ip", "netns", "add", space)
        switch = self.namespace("switch")
        run(
            "ip",
            "-n",
            switch,
            "link",
            "add",
            f"to-{host}",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            space,
        )
        run("ip", "-n", switch, "link", "set", f"to-{host}", "master", "br0", "up")
        for address in addresses:
            run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "lo", "up")
        run("ip", "-n", space, "link", "set", "eth0", "up")

    def demolish(self) -> None:
        existing = {line.split()[0] for line in run("ip", "netns", "list").splitlines() if line}
        for host in ("switch", "pbx", "parties", "proxy"):
            if self.namespace(host) in existing:
                run("ip", "netns", "del", self.namespace(host))

    def start(
        self, host: str, *command: str, output: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a program on a host; `stop` ends all of them."""
        target = output.open("wb") if output else subprocess.DEVNULL
        program = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(host), *command],
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=subprocess.STDOUT,
        )
        self.programs.append(program)
        return program

    def capture(self, host: str, target: Path) -> subprocess.Popen[bytes]:
        """Starts tcpdump on a host's interface and waits until it listens."""
        target.unlink(missing_ok=True)
        program = self.start(
            host,
            "tcpdump",
            "-i",
            "eth0",
            "-U",
            "-B",
            "8192",
            "-Z",
            "root",
            "-w",
            str(target),
            CAPTURE_FILTER,
        )
        wait_for(lambda: target.exists() and target.stat().st_size >= 24, 5)
        return program

    def stop(self) -> None:
        """Ends what `start` started, the last first."""
        for program in reversed(self.programs):
            end(program)
        self.programs.clear()

    # Asterisk

    @property
    def folder(self) -> Path:
        """Asterisk's own folders in this lab, seen from outside of the chroot."""
        return self.chroot / "var/tmp" / self.name

    def asterisk(self, files: dict[str, str]) -> None:
        """Writes the configuration, starts Asterisk and waits until it is ready."""
        run("rm", "-rf", str(self.folder))
        for part in (
            "etc",
            "log",
            "log/cdr-custom",
            "log/cel-custom",
            "run",
            "spool/outgoing",
            "spool/voicemail",
            "lib",
        ):
            (self.folder / part).mkdir(parents=True)
        inside = f"/var/tmp/{self.name}"
        folders = {
            "astetcdir": f"{inside}/etc",
            "astlogdir": f"{inside}/log",
            "astrundir": f"{inside}/run",
            "astspooldir": f"{inside}/spool",
            "astdbdir": f"{inside}/lib",
            "astvarlibdir": "/var/lib/asterisk",
            "astdatadir": "/usr/share/asterisk",
        }
        lines = ["[directories]", *(f"{key} => {value}" for key, value in folders.items())]
        lines += ["[options]", "documentation_language = en_US"]
        files = {"asterisk.conf": "\n".join(lines) + "\n", **files}
        for name, text in files.items():
            (self.folder / "etc" / name).write_text(text)
        self.start(
            "pbx",
            "chroot",
            str(self.chroot),
            "asterisk",
            "-f",
            "-g",
            "-C",
            f"{inside}/etc/asterisk.conf",
            output=self.folder / "console",
        )
        wait_for(lambda: (self.folder / "run/asterisk.ctl").exists(), 30)
        self.cli("core waitfullybooted")

    def cli(self, command: str) -> str:
        """Gives Asterisk a command of its console."""
        return run(
            "ip",
            "netns",
            "exec",
            self.namespace("pbx"),
            "chroot",
            str(self.chroot),
            "asterisk",
            "-C",
            f"/var/tmp/{self.name}/etc/asterisk.conf",
            "-rx",
            command,
        )


def end(program: subprocess.Popen[bytes], patience: float = 10) -> None:
    """Ends a program that we started: politely, then not."""
    if program.poll() is not None:
        return
    program.send_signal(signal.SIGTERM)
    try:
        program.wait(patience)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def wait_for(condition, patience: float) -> None:
    """Waits until `condition()` holds; an error after `patience` seconds."""
    limit = time.monotonic() + patience
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError("a program did not get ready in time")
        time.sleep(0.05)


def need_root() -> None:
    if os.geteuid() != 0:
        raise SystemExit("network namespaces and the chroot need root")
