"""Records the captures of this folder from a real Asterisk and Kamailio, with their truth.

    record.py [--chroot FOLDER] [--labs N] [--judge-only] [NAME ...]

Without names everything is recorded: about 20 minutes with 6 labs at once. Needs root, and
debootstrap, tcpdump, iproute2, kamailio, sip-tester and baresip; the chroot (some 400 MB) is made
when it is missing.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import busyhour
import dialplan
import kamailio
import lab
import others
import scenarios
import settings
import truth
import views
from account import Account, read_account
from observe import first_time, invites, observe
from scenarios import Scenario

HERE = Path(__file__).resolve().parent
LARGE = 6_000  # bytes: from here on a capture is kept compressed
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
    elsewhere = {program.party.user for program in scenario.programs}
    for number, (user, address) in enumerate(settings.ADDRESS.items()):
        if user in scenario.closed or user in scenario.absent or user in elsewhere:
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
    line = {"line": scenario.line} if scenario.line else {}
    return {
        **line,
        "pbx": lab.PROXY if scenario.proxy else lab.PBX,
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


def play(world: lab.Lab, scenario: Scenario, work: Path) -> None:
    """Plays a scenario; leaves capture, the parties' log and the PBX's logs in `work`."""
    absent = {settings.ADDRESS[user] for user in scenario.absent}
    parties = [address for address in lab.PHONES + lab.CARRIERS if address not in absent]
    world.build(parties, scenario.proxy)
    world.asterisk(configuration(scenario))
    if scenario.proxy:
        start_proxy(world, work)
    watched = "proxy" if scenario.proxy else "pbx"
    tcpdump = world.capture(watched, work / f"{scenario.name}.pcap")
    script, log = work / "plan.json", work / "log.json"
    script.write_text(json.dumps(plan(scenario)))
    command = (sys.executable, str(HERE / "party.py"), str(script), str(log))
    players = world.start("parties", *command, output=work / "party.out")
    begun = time.monotonic()
    for at, action in sorted(actions(world, scenario, work), key=lambda one: one[0]):
        time.sleep(max(0.0, at - (time.monotonic() - begun)))
        action()
    if players.wait(scenario.length + 30):
        raise RuntimeError(f"{scenario.name}: {(work / 'party.out').read_text()}")
    lab.end(tcpdump)


def actions(
    world: lab.Lab, scenario: Scenario, work: Path
) -> list[tuple[float, Callable[[], object]]]:
    """What is done besides what the parties do by themselves, with its moment."""
    found: list[tuple[float, Callable[[], object]]] = []
    for at, command in scenario.console:
        found.append((at, partial(world.cli, command)))
    for number, program in enumerate(scenario.programs):
        output = work / f"program-{number}.out"
        start = partial(world.start, "parties", *program.write(work), output=output)
        found.append((program.delay, start))
        for at, command in program.control:
            text = others.control_message(command)
            send = f"printf %s '{text}' > /dev/tcp/{program.party.address}/4444"
            found.append((at, partial(world.start, "parties", "bash", "-c", send)))
    return found


def start_proxy(world: lab.Lab, work: Path) -> None:
    """Starts Kamailio and waits until it listens."""
    script = work / "kamailio.cfg"
    script.write_text(kamailio.configuration())
    command = ("kamailio", "-DD", "-E", "-f", str(script), "-Y", str(work), "-P", str(work / "pid"))
    world.start("proxy", *command, output=work / "kamailio.out")
    listening = ("ip", "netns", "exec", world.namespace("proxy"), "ss", "-lun")
    lab.wait_for(lambda: f"{lab.PROXY}:5060" in lab.run(*listening), 10)
    time.sleep(1.5)  # the socket is there before those who read from it


def unseen(scenario: Scenario, capture: Path, account: Account) -> list[dict[str, Any]]:
    """Legs to phones that are not there: only the PBX and the scenario know of them."""
    found = []
    for call_id in invites(capture):
        end = account.ends.get(call_id)
        user = end["chan"].removeprefix("PJSIP/").partition("-")[0] if end else ""
        if user in scenario.closed or user in scenario.absent:
            address = settings.ADDRESS[user]
            entry = {
                "role": "called",
                "call_id": call_id,
                "user": user,
                "address": address,
                "uri": f"sip:{user}@{address}:5060",
                "peer": f"{lab.PBX}:5060",
                "from": "",
                "number": 0,
                "invite": first_time(capture, call_id),
                "behaviour": {"kind": "silent", "says": "nobody listens on its port"},
            }
            found.append(entry)
    return found


def record(scenario: Scenario, world: lab.Lab, work: Path) -> None:
    """Records one scenario."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        play(world, scenario, work)
    finally:
        world.stop()
        world.demolish()
    shutil.copytree(world.folder / "log", work / "log")


def judge(scenario: Scenario, work: Path) -> dict[str, Any]:
    """The truth of a recorded scenario and of the views of one side; puts captures in place."""
    capture = work / f"{scenario.name}.pcap"
    account = read_account(work)
    legs = json.loads((work / "log.json").read_text()) + unseen(scenario, capture, account)
    legs += observe(capture, [program.party for program in scenario.programs])
    numbers = scenarios.REFUSALS | (kamailio.REFUSALS if scenario.proxy else {})
    sides = (*scenario.sides, "agent")
    entry = truth.write(capture, legs, account, numbers, scenario.fact, sides)
    if scenario.proxy:
        views.add_hops(entry, capture, (lab.PROXY, lab.PBX))
    target = folder_of(scenario)
    entries = {scenario.name: entry}
    for side in scenario.sides:
        entries[f"{scenario.name}--{side}side"] = one_side(capture, entry, side)
    for kind, seconds in scenario.cuts:
        entries[f"{scenario.name}--{kind}"] = cut(capture, entry, legs, kind, seconds)
    if scenario.proxy and any("between" in one["fact"] for one in entry["attempts"]):
        entries[f"{scenario.name}--pbxside"] = pbx_side(capture, entry)
    for name, one in entries.items():
        one["pcap"] = keep(work / f"{name}.pcap", target)
        if "derived_from" in one:
            one["derived_from"] = entry["pcap"]
        one["attempts"] = [
            {key: value for key, value in attempt.items() if key != "views"}
            for attempt in one["attempts"]
        ]
        if scenario.mixes:  # a busy hour is large: what the account has is left there
            for attempt in one["attempts"]:
                attempt.pop("pbx_verdict", None)
                attempt.pop("from", None)
    return entries


def one_side(capture: Path, whole: dict[str, Any], side: str) -> dict[str, Any]:
    """The same capture as seen from the trunk's or from the agents' network alone."""
    target = capture.with_name(f"{capture.stem}--{side}side.pcap")
    lab.run("tcpdump", "-r", str(capture), "-w", str(target), SIDES[side])
    seen = invites(target)
    attempts = []
    for one in whole["attempts"]:
        if one["call_id"] in seen:
            words = dict.fromkeys([*one["acceptable"], *one["views"][side]])
            words.pop(one["expected"], None)
            number = seen[one["call_id"]]
            attempts.append(one | {"first_packet": number, "acceptable": list(words)})
    return {
        "pcap": target.name,
        "fact": whole["fact"],
        "side": side,
        "derived_from": whole["pcap"],
        "attempts": attempts,
        "calls": [],
        "pbx": {},
    }


def cut(
    capture: Path, whole: dict[str, Any], legs: list[dict[str, Any]], kind: str, seconds: float
) -> dict[str, Any]:
    """A capture that ends early or starts late."""
    target = capture.with_name(f"{capture.stem}--{kind}.pcap")
    moment = views.cut_capture(capture, target, kind, seconds)
    said = "ends" if kind == "earlyend" else "begins"
    return {
        "pcap": target.name,
        "fact": f"{whole['fact']}; the capture {said} {seconds:g} s after its first packet",
        "side": kind,
        "derived_from": whole["pcap"],
        "attempts": views.cut_attempts(target, whole["attempts"], legs, kind, moment),
        "calls": [],
        "pbx": {},
    }


def pbx_side(capture: Path, whole: dict[str, Any]) -> dict[str, Any]:
    """What Asterisk sees behind the proxy: all calls come from there, all legs go there."""
    target = capture.with_name(f"{capture.stem}--pbxside.pcap")
    lab.run("tcpdump", "-r", str(capture), "-w", str(target), f"host {lab.PBX}")
    seen = invites(target)
    attempts = [
        one | {"first_packet": seen[one["call_id"]]}
        for one in whole["attempts"]
        if {one["source"], one["destination"]} == {lab.PBX, lab.PROXY}
    ]
    calls = [one for one in whole["calls"] if set(one["call_ids"]) <= set(seen)]
    return {
        "pcap": target.name,
        "fact": whole["fact"],
        "side": "pbx",
        "derived_from": whole["pcap"],
        "local_addresses": [lab.PBX],
        "attempts": attempts,
        "calls": calls,
        "pbx": {},
    }


def folder_of(scenario: Scenario) -> Path:
    return HERE.parent / ("kamailio" if scenario.proxy else "asterisk")


def keep(capture: Path, target: Path) -> str:
    """Puts a capture in its folder, compressed when it is large; gives its name."""
    data = capture.read_bytes()
    name = capture.name + (".gz" if len(data) > LARGE else "")
    for old in (capture.name, capture.name + ".gz"):
        (target / old).unlink(missing_ok=True)
    (target / name).write_bytes(gzip.compress(data, 9, mtime=0) if name.endswith(".gz") else data)
    return name


def dump(whole: dict[str, Any]) -> str:
    """JSON with a line for each attempt and call, so that a change shows as one line."""
    lines = ["{"]
    heading = {key: value for key, value in whole.items() if key != "captures"}
    lines += [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in heading.items()]
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file, compressed or not; empty when there is none."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    known: dict[str, Any] = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    return known


class Book:
    """truth.json and the PBX's account beside it, written by several labs and runs at once."""

    def __init__(self, path: Path, heading: dict[str, Any], lock: Path):
        self.path, self.heading, self.lock = path, heading, lock
        self.accounts = path.with_name("accounts.json.gz")
        self.hours = path.with_name("busy-hours.truth.json.gz")

    def enter(self, entries: dict[str, Any], large: bool) -> None:
        with self.lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            accounts = read_json(self.accounts)
            for name, entry in entries.items():
                account = entry.pop("pbx")
                if account:
                    accounts[name] = account
            text = json.dumps(accounts, indent=0, sort_keys=True)
            self.accounts.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
            path = self.hours if large else self.path
            known = read_json(path).get("captures", {})
            data = dump({**self.heading, "captures": known | entries}).encode()
            path.write_bytes(gzip.compress(data, 9, mtime=0) if large else data)


def make_books(chroot: Path, work: Path) -> dict[bool, Book]:
    """The truth files, by whether the proxy is in the capture."""
    work.mkdir(parents=True, exist_ok=True)
    asterisk = f"Asterisk {lab.asterisk_version(chroot)} (Debian sid), chan_pjsip"
    proxy = lab.run("kamailio", "-v").split()[2]
    headings = {
        False: {
            "pbx": f"{asterisk}; parties: party.py, SIPp, baresip",
            "pbx_address": lab.PBX,
        },
        True: {
            "pbx": f"Kamailio {proxy}, before {asterisk}; parties: party.py",
            "pbx_address": lab.PROXY,
            "local_addresses": [lab.PROXY, lab.PBX],
        },
    }
    folders = {False: HERE.parent / "asterisk", True: HERE.parent / "kamailio"}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    return {
        proxied: Book(folders[proxied] / "truth.json", heading, work / f"lock-{proxied}")
        for proxied, heading in headings.items()
    }


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
    parser.add_argument(
        "--judge-only", action="store_true", help="write the truth of what was recorded before"
    )
    parser.add_argument("names", nargs="*", help="patterns of captures to record")
    arguments = parser.parse_args()
    lab.need_root()
    prepare(arguments.chroot)
    everything = scenarios.all_scenarios() + busyhour.all_hours() + kamailio.all_scenarios()
    wanted = [
        one
        for one in everything
        if not arguments.names or any(fnmatch(one.name, name) for name in arguments.names)
    ]
    wanted.sort(key=lambda scenario: -scenario.length)
    books = make_books(arguments.chroot, arguments.work)
    failed = []
    free: SimpleQueue[lab.Lab] = SimpleQueue()
    for number in range(arguments.labs):
        free.put(lab.Lab(f"{os.getpid()}-{number}", arguments.chroot))

    def work(scenario: Scenario) -> None:
        world = free.get()
        folder = arguments.work / scenario.name
        try:
            if not arguments.judge_only:
                record(scenario, world, folder)
            books[scenario.proxy].enter(judge(scenario, folder), bool(scenario.mixes))
            print(f"{scenario.name}: done", flush=True)
        except Exception as error:  # the others go on
            failed.append(scenario.name)
            print(f"{scenario.name}: {type(error).__name__}: {error}", flush=True)
        finally:
            free.put(world)

    with ThreadPoolExecutor(arguments.labs) as pool:
        list(pool.map(work, wanted))
    for _ in range(arguments.labs):
        shutil.rmtree(free.get().folder, ignore_errors=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
