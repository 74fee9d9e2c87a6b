"""Records the captures of the `sippy` folder from Sippy Software's B2BUA, with their truth.

    record_b2bua.py --programs FOLDER [--labs N] [--judge-only] [NAME ...]

FOLDER holds `b2bua_radius`, as `pip install sippy` puts it into a virtual environment. Needs
root, tcpdump and iproute2; some 8 minutes with 4 labs at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import b2bua
import lab
import truth
from observe import invites
from record import Book, keep, one_side, plan, unseen

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "sippy"


def record(played: b2bua.Played, world: lab.Lab, programs: Path, work: Path) -> None:
    """Records one scenario: capture, the parties' log and the B2BUA's accounting in `work`."""
    scenario = played.scenario
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        world.build(lab.PHONES + lab.CARRIERS)
        b2bua.start(world, programs, work, played.hidden)
        tcpdump = world.capture("pbx", work / f"{scenario.name}.pcap")
        script, log = work / "plan.json", work / "log.json"
        script.write_text(json.dumps(plan(scenario)))
        command = (sys.executable, str(HERE / "party.py"), str(script), str(log))
        players = world.start("parties", *command, output=work / "party.out")
        if players.wait(scenario.length + 30):
            raise RuntimeError(f"{scenario.name}: {(work / 'party.out').read_text()}")
        time.sleep(0.5)
        lab.end(tcpdump)
    finally:
        world.stop()
        world.demolish()


def judge(played: b2bua.Played, work: Path) -> dict[str, Any]:
    """The truth of a recorded scenario and of the views of one side; puts captures in place."""
    scenario = played.scenario
    capture = work / f"{scenario.name}.pcap"
    legs = json.loads((work / "log.json").read_text())
    account = b2bua.read_account(work, legs, invites(capture))
    legs += unseen(scenario, capture, account)
    sides = (*scenario.sides, "agent")
    entry = truth.write(capture, legs, account, b2bua.REFUSALS, scenario.fact, sides)
    entries = {scenario.name: entry}
    for side in scenario.sides:
        entries[f"{scenario.name}--{side}side"] = one_side(capture, entry, side)
    for name, one in entries.items():
        one["pcap"] = keep(work / f"{name}.pcap", TARGET)
        if "derived_from" in one:
            one["derived_from"] = entry["pcap"]
        for attempt in one["attempts"]:
            attempt.pop("views", None)
            if scenario.mixes:  # a busy hour is large: what the account has is left there
                attempt.pop("pbx_verdict", None)
                attempt.pop("from", None)
    return entries


def version(programs: Path) -> str:
    """The version of the package that the programs are of."""
    ask = "from importlib.metadata import version; print(version('sippy'))"
    return subprocess.check_output([programs / "python3", "-c", ask], text=True).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/sipwatch-recording-b2bua"))
    parser.add_argument("--labs", type=int, default=4, help="how many record at once")
    parser.add_argument(
        "--judge-only", action="store_true", help="write the truth of what was recorded before"
    )
    parser.add_argument("names", nargs="*", help="patterns of captures to record")
    arguments = parser.parse_args()
    lab.need_root()
    arguments.work.mkdir(parents=True, exist_ok=True)
    TARGET.mkdir(exist_ok=True)
    heading = {
        "pbx": f"Sippy B2BUA {version(arguments.programs)}, b2bua_radius; parties: party.py",
        "pbx_address": lab.PBX,
    }
    book = Book(TARGET / "truth.json", heading, arguments.work / "lock")
    free: SimpleQueue[lab.Lab] = SimpleQueue()
    for number in range(arguments.labs):
        free.put(lab.Lab(f"b{os.getpid()}-{number}", Path("/")))
    failed = []

    def one(played: b2bua.Played) -> None:
        name, world = played.scenario.name, free.get()
        try:
            if not arguments.judge_only:
                record(played, world, arguments.programs, arguments.work / name)
            book.enter(judge(played, arguments.work / name), bool(played.scenario.mixes))
            print(f"{name}: done", flush=True)
        except Exception as error:  # the others go on
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        finally:
            free.put(world)

    wanted = [
        played
        for played in b2bua.all_played()
        if not arguments.names
        or any(fnmatch(played.scenario.name, name) for name in arguments.names)
    ]
    wanted.sort(key=lambda played: -played.scenario.length)
    with ThreadPoolExecutor(arguments.labs) as pool:
        list(pool.map(one, wanted))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
