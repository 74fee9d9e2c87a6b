"""The table on which one recording is made: network, programs, capture, key log."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "record"))

import ladder  # noqa: E402
from network import Party, Segment, address, run_in  # noqa: E402
from parties import Baresip, Process  # noqa: E402

__all__ = ["HOSTS", "Expect", "Party", "Process", "Recording", "Table", "address"]

#: Everything that may be SIP on a host of the recordings.
_FILTER = "port 5060 or port 5061 or port 8080 or port 8443"
READY_SECONDS = 20.0
CALLER = "+49301110000"

HOSTS = {"pbx": 1, "101": 11, "carrier": 50}


@dataclass(frozen=True)
class Expect:
    """One attempt that a recording makes and what an attentive observer would say of it."""

    source: str  # names of parties
    destination: str
    transport: str
    user: str  # of the Request-URI
    expected: str  # outcome, or outcome/detail
    why: str
    confidence: str = ""
    acceptable: tuple[str, ...] = ()
    #: The confidence where the other leg is encrypted and its keys are not at hand.
    confidence_alone: str = ""


@dataclass(frozen=True)
class Recording:
    """A definition: all of the truth but Call-IDs and packet numbers."""

    name: str
    fact: str
    play: Callable[[Table], None]
    attempts: tuple[Expect, ...]
    #: Connections that cannot be read without keys, and whether there is a key log.
    tls_connections: int = 0
    keylog: bool = False
    tools: str = "SIPp, Kamailio"
    mtu: int = 1500


class Table:
    """Network, programs and capture of one run; all is gone when the context ends."""

    def __init__(self, recording: Recording, network: tuple[int, int], page: Path) -> None:
        self.recording = recording
        self.page = page
        self._network = network
        self._cleanup: list[Callable[[], None]] = []
        self._tcpdump: subprocess.Popen[bytes] | None = None
        self.parties: dict[str, Party] = {}

    def __enter__(self) -> Table:
        scratch = tempfile.mkdtemp(prefix=f"sipw-{self.recording.name}-")
        self._cleanup.append(lambda: shutil.rmtree(scratch, ignore_errors=True))
        self.scratch = Path(scratch)
        self.capture_file = self.scratch / "capture.pcap"
        self.keylog = self.scratch / "keys.log"
        self.keylog.touch()
        try:
            self._segment = Segment(self._network)
            self._segment.__enter__()
            self._cleanup.append(lambda: self._segment.__exit__())
            for name, host in HOSTS.items():
                party = self.parties[name] = self._segment.join(name, host)
                # What a cable carries: no segments larger than the MTU.
                off = ["tso", "off", "gso", "off", "gro", "off"]
                run_in(party.namespace, ["ethtool", "-K", "eth0", *off])
                mtu = str(self.recording.mtu)
                run_in(party.namespace, ["ip", "link", "set", "eth0", "mtu", mtu])
            self._start_capture()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._tcpdump is not None:
            self._tcpdump.kill()
            self._tcpdump.wait(5)
        while self._cleanup:
            self._cleanup.pop()()

    def __getitem__(self, name: str) -> Party:
        return self.parties[name]

    # The capture --------------------------------------------------------------------------------

    def _start_capture(self) -> None:
        command = ["tcpdump", "-Z", "root", "--immediate-mode", "-U", "-n", "-s", "0"]
        command += ["-i", "eth0", "-w", str(self.capture_file), _FILTER]
        self._tcpdump = subprocess.Popen(
            ["ip", "netns", "exec", self["pbx"].namespace, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + READY_SECONDS
        while not (self.capture_file.exists() and self.capture_file.stat().st_size >= 24):
            if self._tcpdump.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("no capture")
            time.sleep(0.02)
        time.sleep(0.2)

    def stop_capture(self) -> None:
        """Let the last packets arrive and end the capture."""
        assert self._tcpdump is not None
        time.sleep(0.7)
        self._tcpdump.send_signal(signal.SIGINT)
        self._tcpdump.wait(10)
        self._tcpdump = None

    # The parties --------------------------------------------------------------------------------

    def started(self, name: str, label: str, command: list[str], port: int = 0) -> Process:
        """A program in a party's namespace, waited for until it listens on a TCP port."""
        process = Process(self[name], command, self.scratch, label)
        self._cleanup.append(process.stop)
        if port:
            _await_tcp(process, port)
        return process

    def kamailio(self, *, tls: bool = False, callee: str = "") -> None:
        """The proxy; user 101 is at `callee`, a SIP URI without its scheme."""
        run = self.scratch / "kamailio"
        run.mkdir()
        argv = ["kamailio", "-DD", "-E", "-m", "32", "-M", "8", "-w", str(run), "-Y", str(run)]
        argv += ["-f", str(HERE / "kamailio.cfg"), "-P", str(run / "pid")]
        argv += ["-A", f"ADDRESS={self['pbx'].address}"]
        if callee:
            argv += ["-A", f"CALLEE=sip:{callee}"]
        if tls:
            config = run / "tls.cfg"
            pem = self.certificate()
            config.write_text(
                f"[server:default]\nmethod = TLSv1.2+\nprivate_key = {pem}\ncertificate = {pem}\n"
                "verify_certificate = no\n[client:default]\nmethod = TLSv1.2+\n"
                "verify_certificate = no\n"
            )
            argv += ["-A", f'TLS_CONFIG="{config}"']
        self.started("pbx", "kamailio", argv, 5060)
        time.sleep(0.5)  # its processes are forked after the socket is bound

    def certificate(self) -> Path:
        """A key and a certificate that it signs, in one file."""
        path = self.scratch / "server.pem"
        if not path.exists():
            whole = self.scratch / "cert.pem"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj",
                 f"/CN={self['pbx'].address}", "-keyout", str(path), "-out", str(whole)],
                check=True, capture_output=True, timeout=30,
            )  # fmt: skip
            path.write_bytes(path.read_bytes() + whole.read_bytes())
        return path

    def relay(
        self, name: str, listen: str, connect: str, *, version: str, tls_inward: bool = False
    ) -> None:
        """A relay between plain and encrypted SIP, its keys in the key log."""
        argv = [sys.executable, str(HERE / "relay.py"), "--listen", listen, "--connect", connect]
        argv += ["--keylog", str(self.keylog), "--version", version]
        if tls_inward:
            argv += ["--certificate", str(self.certificate())]
        self.started(name, f"relay-{name}", argv, int(listen.rpartition(":")[2]))

    def answer(self, name: str, text: str, **words: object) -> Process:
        """A SIPp server over TCP that plays the ``<`` side of a ladder."""
        body = words.pop("body", None)
        script = ladder.Script(user=name, from_user=CALLER, vias=2)
        xml = ladder.callee_xml(ladder.parse(text), script)
        if body is not None:
            xml = xml.replace(ladder.SDP, str(body))
        return self._sipp(name, f"callee-{name}", xml, None)

    def dial(
        self, name: str, text: str, *, user: str = "101", to: str = "", via: str = ""
    ) -> Process:
        """A SIPp client over TCP that plays the ``>`` side, to the proxy or to `to` (ADDR:PORT)."""
        script = ladder.Script(user=user, from_user=CALLER)
        xml = ladder.caller_xml(ladder.parse(text), script)
        if via:
            xml = xml.replace("SIP/2.0/[transport]", f"SIP/2.0/{via}")
        # Whatever it connects to, it calls the proxy.
        xml = xml.replace("[remote_ip]", self["pbx"].address)
        return self._sipp(name, f"caller-{name}", xml, to or f"{self['pbx'].address}:5060")

    def _sipp(self, name: str, label: str, xml: str, remote: str | None) -> Process:
        scenario = self.scratch / f"{label}.xml"
        # Requests in the dialog come over TCP, too.
        scenario.write_text(xml.replace("[local_port]>", "[local_port];transport=tcp>"))
        port = "5060" if remote is None else "5070"
        argv = ["sipp", "-sf", str(scenario), "-i", self[name].address, "-p", port, "-m", "1"]
        argv += ["-t", "t1", "-l", "1", "-nostdin", "-default_behaviors", "none"]
        argv += ["-timeout", "90", "-timeout_error", "-trace_err"]
        argv += ["-error_file", str(self.scratch / f"{label}.errors")]
        if remote is not None:
            argv.append(remote)
        return self.started(name, label, argv, 5060 if remote is None else 0)

    def baresip(self, name: str, account: dict[str, str], settings: dict[str, str]) -> Baresip:
        """A softphone; it registers when its account says so."""
        phone = Baresip(self[name], self.scratch, name, self["pbx"].address, account, settings)
        self._cleanup.append(phone.stop)
        return phone

    def at_the_end(self, stop: Callable[[], None]) -> None:
        """What is to be ended with the context."""
        self._cleanup.append(stop)

    def seen(self, start: bytes, seconds: float = 30.0) -> None:
        """Wait until bytes like these have been captured in the clear."""
        deadline = time.monotonic() + seconds
        while start not in self.capture_file.read_bytes():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {start!r} within {seconds} s")
            time.sleep(0.05)


def _await_tcp(process: Process, port: int) -> None:
    needle = f":{port:04X} 00000000:0000 0A"  # a listening socket of IPv4
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        table = Path(f"/proc/{process.pid}/net/tcp")
        try:
            if needle in table.read_text():
                return
        except OSError:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{process.label} does not listen on {port}: {process.tail()}")
