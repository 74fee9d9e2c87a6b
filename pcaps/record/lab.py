"""The table on which one scenario is played: its network, its programs, its capture."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ladder
import parties
from generate import Packet
from network import Party, Segment
from wire import Loss, Wire

# SIP, and the unreachables of both address families.
BPF = "port 5060 or icmp[0] == 3 or (icmp6 and ip6[40] == 1)"


@dataclass(frozen=True)
class View:
    """From where and how the scenario is captured."""

    place: str = "pbx"  # party, or "switch"
    interface: str = "eth0"
    options: tuple[str, ...] = ()  # of tcpdump
    bpf: str = BPF
    suffix: str = "pcap"  # pcap, pcapng (dumpcap), pcap.gz
    automatic: bool = True  # False: the scenario starts and stops the capture itself


PBX_VIEW = View()


@dataclass(frozen=True)
class Expect:
    """One attempt that the scenario makes and what an attentive observer would say of it."""

    source: str  # names of parties
    destination: str
    user: str  # of the Request-URI
    expected: str  # outcome, or outcome/detail
    why: str
    confidence: str = ""
    acceptable: tuple[str, ...] = ()
    invites: int = 1  # INVITE packets of the attempt: retransmissions and retries included
    single_leg: str = ""  # what this leg alone would show, where the call shows more
    fact: str = ""


@dataclass(frozen=True)
class Scenario:
    """A definition: everything that the truth file says beside Call-IDs comes from here."""

    name: str
    fact: str
    play: Callable[[Lab], None] | None
    attempts: tuple[Expect, ...]
    reinvites: int = 0  # INVITE packets inside dialogs
    copies: int = 1  # how often the capture point sees each packet
    wired: tuple[str, ...] = ()
    view: View = PBX_VIEW
    config: dict[str, object] = field(default_factory=dict)
    ipv6: bool = False
    tools: str = "SIPp"
    aliases: dict[str, str] = field(default_factory=dict)  # address shown by a NAT, party behind
    packets: Callable[[dict[str, str]], list[Packet]] | None = None  # written, not played


CALLER = "+49301110000"  # the number of whoever calls from outside

HOSTS = {
    "pbx": 1, "101": 11, "102": 12, "103": 13, "104": 14, "105": 15, "carrier": 50,
}  # fmt: skip


class Lab:
    """Network, programs and capture of one run; everything is gone when the context ends."""

    def __init__(self, scenario: Scenario, network: tuple[int, int]) -> None:
        self.scenario = scenario
        self._network = network
        self._cleanup: list[Callable[[], None]] = []
        self._tcpdump: subprocess.Popen[bytes] | None = None
        self._labels: dict[str, int] = {}
        self.parties: dict[str, Party] = {}

    def __enter__(self) -> Lab:
        scratch = tempfile.mkdtemp(prefix=f"sipw-{self.scenario.name}-")
        self._cleanup.append(lambda: shutil.rmtree(scratch, ignore_errors=True))
        self.scratch = Path(scratch)
        self.capture_file = self.scratch / f"capture.{self.scenario.view.suffix.split('.')[0]}"
        self.segment = Segment(self._network, self.scenario.ipv6)
        try:
            self.segment.__enter__()
            self._cleanup.append(lambda: self.segment.__exit__())
            for name, host in HOSTS.items():
                wired = name in self.scenario.wired
                self.parties[name] = self.segment.join(name, host, wired)
            if self.scenario.view.automatic:
                self.start_capture()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._tcpdump is not None:
            self._tcpdump.kill()
        while self._cleanup:
            self._cleanup.pop()()

    # The capture ---------------------------------------------------------------------------

    def start_capture(self) -> None:
        view = self.scenario.view
        place = self.segment.switch if view.place == "switch" else self[view.place].namespace
        program = ["tcpdump", "-Z", "root", "--immediate-mode", "-U", "-n", "-s", "0"]
        if view.suffix == "pcapng":
            program = ["dumpcap", "-q"]
        command = [*program, "-i", view.interface, *view.options, "-w", str(self.capture_file)]
        if view.bpf:
            command += ["-f", view.bpf] if view.suffix == "pcapng" else [view.bpf]
        self._tcpdump = subprocess.Popen(
            ["ip", "netns", "exec", place, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        # Both programs write the file's header once the socket listens.
        deadline = time.monotonic() + 15
        while not (self.capture_file.exists() and self.capture_file.stat().st_size >= 24):
            if self._tcpdump.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no capture: {' '.join(command)}")
            time.sleep(0.02)
        time.sleep(0.2)

    def stop_capture(self) -> None:
        """Let the last packets arrive and end the capture."""
        if self._tcpdump is None:
            return
        time.sleep(0.5)
        self._tcpdump.send_signal(signal.SIGINT)
        self._tcpdump.wait(10)
        self._tcpdump = None

    # The parties ---------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Party:
        return self.parties[name]

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def wire(self, name: str, *losses: Loss, delay: float = 0.0, tag: int | None = None) -> Wire:
        """Join a wired party to the bridge by a cable that loses, delays or tags."""
        host = int(self[name].address.split(".")[-1])
        wire = Wire(self.segment, host, list(losses), delay, tag)
        self._cleanup.append(wire.close)
        return wire

    def answer(self, name: str, text: str, user: str = "", **options: object) -> parties.Process:
        """A SIPp server that plays the ``<`` side of a ladder."""
        script = self._script(user or name, "", options)
        xml = ladder.callee_xml(ladder.parse(self._filled(text)), script)
        return self._sipp(name, xml, None, options)

    def dial(
        self, name: str, to: str, text: str, user: str = "", from_user: str = "", **options: object
    ) -> parties.Process:
        """A SIPp client that plays the ``>`` side of a ladder."""
        script = self._script(user or to, from_user or _number(name), options)
        xml = ladder.caller_xml(ladder.parse(self._filled(text)), script)
        return self._sipp(name, xml, self[to].address, options)

    def call(
        self, name: str, to: str, text: str, user: str = "", from_user: str = "",
        seconds: float = 60.0, **options: object,
    ) -> None:  # fmt: skip
        """One ladder, both sides of it SIPp, from start to end."""
        called = user or to
        callee = self.answer(to, text, called, seconds=seconds, **options)
        caller = self.dial(name, to, text, called, from_user, seconds=seconds, **options)
        caller.wait(seconds + 5)
        callee.wait(seconds + 5)

    def register(self, name: str, registrar: str = "pbx", user: str = "", expires: int = 600,
                 **options: object) -> None:  # fmt: skip
        """A phone announces itself, from the port that it will be called on."""
        text = f"> REGISTER {{Expires: {expires}}}\n< 200 REGISTER"
        self.dial(name, registrar, text, from_user=user or name, **options).wait(20)

    def kamailio(self, name: str = "pbx", **defines: object) -> parties.Process:
        """Start the proxy."""
        words = {key: "" if value is True else str(value) for key, value in defines.items()}
        words["CARRIER"] = self.segment.address(HOSTS["carrier"])
        process = parties.kamailio(self[name], self.scratch, words)
        self._cleanup.append(process.stop)
        return process

    def baresip(
        self,
        name: str,
        registrar: str | None = "pbx",
        account: dict[str, str] | None = None,
        settings: dict[str, str] | None = None,
    ) -> parties.Baresip:
        """Start a softphone of the party's own number; it registers when a registrar is named."""
        address = self[registrar].address if registrar else None
        phone = parties.Baresip(
            self[name], self.scratch, name, address, account or {}, settings or {}
        )
        self._cleanup.append(phone.stop)
        if registrar and self.scenario.view.place == "pbx":
            self.seen(f"<sip:{name}@".encode())
        self.wait(0.3)
        return phone

    def silent(self, name: str) -> None:
        """A port that is open and never answers."""
        self._cleanup.append(parties.SilentSocket(self[name]).stop)

    def seen(self, start: bytes, seconds: float = 20.0) -> None:
        """Wait until a message that starts so has been captured."""
        deadline = time.monotonic() + seconds
        while start not in self.capture_file.read_bytes():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {start!r} within {seconds} s")
            time.sleep(0.05)

    def _script(self, user: str, from_user: str, options: dict[str, object]) -> ladder.Script:
        script = ladder.Script(user=user, from_user=from_user)
        for name in ("vias", "display", "headers"):
            if name in options:
                setattr(script, name, options.pop(name))
        return script

    def _sipp(
        self, name: str, xml: str, remote: str | None, options: dict[str, object]
    ) -> parties.Process:
        self._labels[name] = self._labels.get(name, 0) + 1
        label = f"sipp-{name}-{self._labels[name]}"
        process = parties.sipp(self[name], self.scratch, label, xml, remote, **options)  # type: ignore[arg-type]
        self._cleanup.append(process.stop)
        return process

    def _filled(self, text: str) -> str:
        """Put addresses for ``@name`` in a ladder."""
        for name, party in self.parties.items():
            text = text.replace(f"@{name}", f"@{party.address}")
        return text


def _number(name: str) -> str:
    """A phone calls with its own number, the outside world with the caller's."""
    return name if name.isdigit() else CALLER
