"""The programs that take part: SIPp, Kamailio, baresip, and a socket that never answers.

Each is a child process in its party's namespace, started when its port is bound and ended by its
own process id.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from network import Party, inside

HERE = Path(__file__).resolve().parent
READY_SECONDS = 15.0


class Process:
    """A child in a namespace, its output in a log beside the scenario's other scratch files."""

    def __init__(self, party: Party, argv: list[str], scratch: Path, label: str) -> None:
        self.label = label
        self.log = scratch / f"{label}.log"
        self._output = self.log.open("wb")
        self._child = subprocess.Popen(
            ["ip", "netns", "exec", party.namespace, *argv],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=scratch,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait(self, seconds: float) -> None:
        """Wait for a clean end; raise RuntimeError when it failed or hangs."""
        try:
            code = self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise RuntimeError(f"{self.label} still runs after {seconds} s") from None
        self._output.close()
        if code:
            raise RuntimeError(f"{self.label} ended with {code}: {self.tail()}")

    def freeze(self) -> None:
        """Stop the process where it stands: its socket stays bound and nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def stop(self) -> None:
        """End the process and its children, whatever state they are in."""
        if self._child.poll() is None:
            for number in (signal.SIGCONT, signal.SIGTERM):
                os.killpg(self.pid, number)
            try:
                self._child.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._child.wait(3)
        self._output.close()

    def await_port(self, port: int) -> None:
        """Return once a UDP socket is bound to the port in the process's namespace."""
        needle = f":{port:04X} "
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise RuntimeError(f"{self.label} ended early: {self.tail()}")
            for table in ("udp", "udp6"):
                # ip netns exec replaces itself, so this process is in the namespace soon after.
                if needle in _read(f"/proc/{self.pid}/net/{table}"):
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self.label} does not listen on {port}: {self.tail()}")

    def tail(self) -> str:
        text = self.log.read_text(errors="replace")
        return text[-600:]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def sipp(
    party: Party,
    scratch: Path,
    label: str,
    xml: str,
    remote: str | None,
    *,
    calls: int = 1,
    rate: float = 20.0,
    port: int = 5060,
    remote_port: int = 5060,
    seconds: float = 60.0,
) -> Process:
    """Start SIPp: a client when ``remote`` is given, else a server; it ends after ``calls``."""
    scenario = scratch / f"{label}.xml"
    scenario.write_text(xml)
    argv = ["sipp", "-sf", str(scenario), "-i", party.address, "-p", str(port), "-m", str(calls)]
    argv += ["-r", str(rate), "-rp", "1000", "-l", str(max(calls, 1)), "-nostdin"]
    argv += ["-trace_err", "-error_file", str(scratch / f"{label}.errors")]
    # Nothing of SIPp's own: what is not in the ladder must not be in the capture.
    argv += ["-default_behaviors", "none", "-timeout", f"{seconds:.0f}", "-timeout_error"]
    argv += ["-max_retrans", "12", "-max_invite_retrans", "6", "-max_non_invite_retrans", "11"]
    if remote is not None:
        host = f"[{remote}]" if ":" in remote else remote
        argv.append(f"{host}:{remote_port}")
    process = Process(party, argv, scratch, label)
    if remote is None:
        process.await_port(port)
    return process


def kamailio(party: Party, scratch: Path, defines: dict[str, str]) -> Process:
    """Start Kamailio with ``kamailio.cfg``; ``defines`` are its preprocessor words."""
    run = scratch / "kamailio"
    run.mkdir()
    argv = ["kamailio", "-DD", "-E", "-m", "16", "-M", "4", "-w", str(run), "-Y", str(run)]
    argv += ["-f", str(HERE / "kamailio.cfg"), "-P", str(run / "pid")]
    for name, value in {"ADDRESS": party.address, **defines}.items():
        argv += ["-A", f"{name}={value}" if value else name]
    process = Process(party, argv, scratch, "kamailio")
    process.await_port(5060)
    time.sleep(0.3)  # the receivers are forked after the socket is bound
    return process


class Baresip:
    """A real softphone without sound, told what to do through its control port."""

    def __init__(
        self,
        party: Party,
        scratch: Path,
        user: str,
        registrar: str | None,
        account: dict[str, str],
        settings: dict[str, str],
    ) -> None:
        home = scratch / f"baresip-{user}"
        home.mkdir()
        parameters = {
            "auth_user": user,
            "auth_pass": "secret",
            "regint": "600" if registrar else "0",
            "audio_codecs": "pcma",
            **account,
        }
        listed = "".join(f";{name}={value}" for name, value in parameters.items())
        (home / "accounts").write_text(f"<sip:{user}@{registrar or party.address}>{listed}\n")
        (home / "contacts").write_text("")
        lines = {"sip_listen": f"{party.address}:5060", **_BARESIP_SETTINGS, **settings}
        text = "".join(f"{name} {value}\n" for name, value in lines.items())
        (home / "config").write_text(text + _BARESIP_MODULES)
        self.party = party
        self.process = Process(party, ["baresip", "-f", str(home)], scratch, f"baresip-{user}")
        self.process.await_port(5060)
        self._control = inside(party.namespace, self._connect)

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                return socket.create_connection(("127.0.0.1", 4444), timeout=2)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def command(self, name: str, parameters: str = "") -> None:
        """Give one command (dial, accept, hangup, …)."""
        body = json.dumps({"command": name, "params": parameters}).encode()
        self._control.sendall(b"%d:%s," % (len(body), body))

    def stop(self) -> None:
        self._control.close()
        self.process.stop()


_BARESIP_SETTINGS = {
    "call_local_timeout": "120",
    "call_max_calls": "4",
    "audio_player": "aubridge,pseudo",
    "audio_source": "aubridge,pseudo",
    "audio_alert": "aubridge,pseudo",
    "rtp_ports": "10000-10020",
    "ctrl_tcp_listen": "127.0.0.1:4444",
}
_BARESIP_MODULES = """\
module_path /usr/lib/baresip/modules
module g711.so
module aubridge.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
"""


class SilentSocket:
    """A bound UDP port that nobody reads: a hung process."""

    def __init__(self, party: Party, port: int = 5060) -> None:
        def bind() -> socket.socket:
            family = socket.AF_INET6 if ":" in party.address else socket.AF_INET
            opened = socket.socket(family, socket.SOCK_DGRAM)
            opened.bind((party.address, port))
            return opened

        self._socket = inside(party.namespace, bind)

    def stop(self) -> None:
        self._socket.close()
