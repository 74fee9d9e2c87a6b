"""Records the captures of this folder from a real Asterisk, with their truth.

    record.py [--chroot FOLDER] [--labs N] [NAME ...]

Without names everything is recorded: about 20 minutes with 6 labs at once. Needs root,
debootstrap, tcpdump, tshark and iproute2; the chroot (some 400 MB) is made when it is missing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import busyhour
import dialplan
import lab
import scenarios
import settings
import truth
from scenarios import Scenario

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "asterisk"
LARGE = 400_000  # bytes: from here on a capture is kept compressed
PHONE_AGENTS = (
    "Yealink SIP-T46S 66.86.0.15",
    "snomD785/10.1.159.12",
    "Grandstream GXP2170 1.0.11.64",
    "PolycomVVX-VVX_411-UA/5.9.6.2327",
    "Cisco/SPA504G-7.6.2c",
    "Zoiper rv2.10.19.5",
)
# Asterisk's side of the wire is the trunk's or the agents' when only one of them is in view.
SIDES = {
    "trunk": " or ".join(f"host {address}" for address in lab.CARRIERS),
    "agent": " or ".join(f"host {address}" for address in lab.PHONES),
}


def plan(scenario: Scenario) -> dict[str, Any]:
    """What party.py plays."""
    hosts: list[dict[str, Any]] = []
    for number, (user, address) in enumerate(settings.ADDRESS.items()):
        if user in scenario.closed or user in scenario.absent:
            continue
        host: dict[str, Any] = {
            "user": user,
            "address": address,
            "password": settings.PASSWORD,
            "agent": PHONE_AGENTS[number % len(PHONE_AGENTS)],
            "behaviours": scenario.phones.get(user, []),
        }
        if user in scenario.mixes:
            host |= {"mix": scenario.mixes[user], "behaviours": []}
        hosts.append(host)
    given = {host["user"]: host for host in scenario.hosts if host["user"].startswith("carrier")}
    for number, address in enumerate(lab.CARRIERS, 1):
        carrier = {"user": f"carrier{number}", "address": address, "agent": "CarrierSBC 7.2"}
        hosts.append(carrier | given.get(carrier["user"], {}))
    hosts += [host for host in scenario.hosts if host["user"] not in given]
    return {
        "pbx": lab.PBX,
        "seed": f"{scenario.name} {scenario.seed}",
        "hosts": hosts,
        "calls": scenario.calls,
        "numbers": scenario.numbers,
        "events": scenario.events,
        "length": scenario.length,
    }


def configuration(scenario: Scenario) -> dict[str, str]:
    return {
        **settings.static_files(scenario.options),
        "pjsip.conf": settings.pjsip(scenario.options),
        "queues.conf": settings.queues(),
        "extensions.conf": dialplan.extensions(),
    }


def play(world: lab.Lab, scenario: Scenario, work: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Plays a scenario; gives the capture and the parties' log."""
    absent = {settings.ADDRESS[user] for user in scenario.absent}
    world.build([address for address in lab.PHONES + lab.CARRIERS if address not in absent])
    world.asterisk(configuration(scenario))
    capture = work / f"{scenario.name}.pcap"
    tcpdump = world.capture("pbx", capture)
    script, log = work / "plan.json", work / "log.json"
    script.write_text(json.dumps(plan(scenario)))
    log.unlink(missing_ok=True)
    parties = world.start(
        "parties",
        sys.executable,
        str(HERE / "party.py"),
        str(script),
        str(log),
        output=work / "party.out",
    )
    begun = time.monotonic()
    for at, command in scenario.console:
        time.sleep(max(0.0, at - (time.monotonic() - begun)))
        world.cli(command)
    if parties.wait(scenario.length + 30):
        raise RuntimeError(f"{scenario.name}: {(work / 'party.out').read_text()}")
    lab.end(tcpdump)
    return capture, json.loads(log.read_text())


def unseen(scenario: Scenario, capture: Path, account: truth.Account) -> list[dict[str, Any]]:
    """Legs to phones that are not there: only the PBX and the scenario know of them."""
    found = []
    for call_id in truth.invites(capture):
        end = account.ends.get(call_id)
        user = end["chan"].removeprefix("PJSIP/").partition("-")[0] if end else ""
        if user in scenario.closed or user in scenario.absent:
            found.append(
                {
                    "role": "called",
                    "call_id": call_id,
                    "user": user,
                    "address": settings.ADDRESS[user],
                    "uri": f"sip:{user}@{settings.ADDRESS[user]}:5060",
                    "peer": f"{lab.PBX}:5060",
                    "from": "",
                    "number": 0,
                    "invite": truth.first_time(capture, call_id),
                    "behaviour": {"kind": "silent", "says": "nobody listens on its port"},
                }
            )
    return found


def record(scenario: Scenario, world: lab.Lab, work: Path) -> dict[str, Any]:
    """Records one scenario and its truth, and the views of one side."""
    try:
        capture, legs = play(world, scenario, work)
    finally:
        world.stop()
        world.demolish()
    account = truth.read_account(world.folder)
    legs += unseen(scenario, capture, account)
    entry = truth.write(capture, legs, account, scenarios.REFUSALS, scenario.fact)
    entries = {scenario.name: entry}
    for side in scenario.sides:
        entries[f"{scenario.name}--{side}side"] = one_side(capture, entry, side)
    for name, one in entries.items():
        one["pcap"] = keep(work / f"{name}.pcap")
        if one["pcap"].endswith(".gz"):
            one["pbx"] = {"account": keep_account(name, one["pbx"])}
    return entries


def one_side(capture: Path, whole: dict[str, Any], side: str) -> dict[str, Any]:
    """The same capture as seen from the trunk's or from the agents' network alone."""
    target = capture.with_name(f"{capture.stem}--{side}side.pcap")
    lab.run("tcpdump", "-r", str(capture), "-w", str(target), SIDES[side])
    seen = truth.invites(target)
    attempts = [
        one | {"first_packet": seen[one["call_id"]]}
        for one in whole["attempts"]
        if one["call_id"] in seen
    ]
    return {
        "pcap": target.name,
        "fact": whole["fact"],
        "side": side,
        "derived_from": whole["pcap"],
        "attempts": attempts,
        "calls": [],
        "pbx": {},
    }


def keep(capture: Path) -> str:
    """Puts a capture in the folder, compressed when it is large; gives its name."""
    data = capture.read_bytes()
    name = capture.name + (".gz" if len(data) > LARGE else "")
    for old in (capture.name, capture.name + ".gz"):
        (TARGET / old).unlink(missing_ok=True)
    (TARGET / name).write_bytes(gzip.compress(data, 9, mtime=0) if name.endswith(".gz") else data)
    return name


def keep_account(name: str, account: dict[str, Any]) -> str:
    if not account:
        return ""
    kept = TARGET / f"{name}.account.json.gz"
    kept.write_bytes(gzip.compress(json.dumps(account).encode(), 9, mtime=0))
    return kept.name


def dump(whole: dict[str, Any]) -> str:
    """JSON with a line for each attempt and call, so that a change shows as one line."""
    lines = ["{"]
    lines += [f" {json.dumps(key)}: {json.dumps(whole[key])}," for key in ("pbx", "pbx_address")]
    lines.append(' "captures": {')
    for name in sorted(whole["captures"]):
        capture = whole["captures"][name]
        lines.append(f"  {json.dumps(name)}: {{")
        for key, value in capture.items():
            if key in ("attempts", "calls"):
                inner = ",\n".join(f"    {json.dumps(one)}" for one in value)
                lines.append(f"   {json.dumps(key)}: [\n{inner}\n   ],")
            else:
                lines.append(f"   {json.dumps(key)}: {json.dumps(value)},")
        lines[-1] = lines[-1].removesuffix(",")
        lines.append("  },")
    lines[-1] = lines[-1].removesuffix(",")
    return "\n".join([*lines, " }", "}", ""])


class Book:
    """truth.json; several labs write in it."""

    def __init__(self, chroot: Path):
        self.path, self.lock = TARGET / "truth.json", threading.Lock()
        known = json.loads(self.path.read_text())["captures"] if self.path.exists() else {}
        version = lab.asterisk_version(chroot)
        self.whole = {
            "pbx": f"Asterisk {version} (Debian sid), chan_pjsip; parties: party.py, SIPp, baresip",
            "pbx_address": lab.PBX,
            "captures": known,
        }

    def enter(self, entries: dict[str, Any]) -> None:
        with self.lock:
            self.whole["captures"] |= entries
            self.path.write_text(dump(self.whole))


def prepare(chroot: Path) -> None:
    """The chroot, two seconds of sound, and names that Asterisk looks up."""
    lab.make_chroot(chroot)
    sounds = chroot / "usr/share/asterisk/sounds/custom"
    sounds.mkdir(parents=True, exist_ok=True)
    (sounds / "announce.ulaw").write_bytes(bytes([0xFF, 0x7F] * 8000))
    own = lab.run("hostname").strip()
    (chroot / "etc/hosts").write_text(f"127.0.0.1 localhost {own} A.ROOT-SERVERS.NET\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chroot", type=Path, default=Path("/var/tmp/sipwatch-asterisk"))
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/sipwatch-recording"))
    parser.add_argument("--labs", type=int, default=6, help="how many record at once")
    parser.add_argument("names", nargs="*", help="patterns of captures to record")
    arguments = parser.parse_args()
    lab.need_root()
    prepare(arguments.chroot)
    TARGET.mkdir(exist_ok=True)
    everything = scenarios.all_scenarios() + busyhour.all_hours()
    wanted = [
        one
        for one in everything
        if not arguments.names or any(fnmatch(one.name, name) for name in arguments.names)
    ]
    wanted.sort(key=lambda scenario: -scenario.length)
    book, failed = Book(arguments.chroot), []
    free: SimpleQueue[lab.Lab] = SimpleQueue()
    for number in range(arguments.labs):
        free.put(lab.Lab(f"lab{number}", arguments.chroot))

    def work(scenario: Scenario) -> None:
        world = free.get()
        folder = arguments.work / world.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            book.enter(record(scenario, world, folder))
            print(f"{scenario.name}: recorded", flush=True)
        except Exception as error:  # the others go on
            failed.append(scenario.name)
            print(f"{scenario.name}: {type(error).__name__}: {error}", flush=True)
        finally:
            free.put(world)

    with ThreadPoolExecutor(arguments.labs) as pool:
        list(pool.map(work, wanted))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
