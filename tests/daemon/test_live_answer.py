"""The same answer, live and replayed (design.md): recorded captures through the live path.

Each capture is sent over a cable at its own pace while the daemon listens; tcpdump listens beside
it. What the daemon records must be what a replay of tcpdump's file says, to the microsecond, and
what the truth that is kept with the capture says of the outcomes. All at once, to be done in time.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from network_namespace import Namespace
from running import ROOT, Running, play, total
from scapy.utils import RawPcapReader

from sipwatch.capture.files import CaptureFiles
from sipwatch.cli.reading import finished
from sipwatch.config import Config, parse_toml
from sipwatch.pipeline import Pipeline
from sipwatch.sinks.record import RecordStyle, attempt_record, call_record

PCAPS = ROOT / "pcaps"
#: Short ones, of every kind: people, devices, forks, tags, fragments, retries, both versions of IP.
CAPTURES = (
    "abandoned-after-9s",
    "busy-486-at-once",
    "challenged-407-answered",
    "gateway-causes",
    "hunt-busy-then-answered",
    "ipv6-answered",
    "proxy-answer-crosses-cancel",
    "rare-statuses",
    "softphone-hold-and-transfer",
    "vlan-tagged",
)
#: Where a packet was seen is another place in a file than on a wire.
PLACE = {"file", "first_packet", "last_packet"}

#: All that is open has ended after so long a silence.
QUIET_SECONDS = 60.0

Record = dict[str, Any]


class Played:
    """One capture on its own cable, with a daemon and a tcpdump at the other end."""

    def __init__(self, name: str, folder: Path, stack: ExitStack) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.truth = json.loads((PCAPS / f"{name}.truth.json").read_text())
        with RawPcapReader(str(PCAPS / self.truth["pcap"])) as reader:
            packets = [(meta.sec + meta.usec / 1e6, data) for data, meta in reader]
        self.frames = [(at - packets[0][0], data) for at, data in packets]
        self.namespace = Namespace()
        stack.callback(self.namespace.close)
        self.namespace.veth()
        addresses = json.dumps(self.truth.get("local_addresses", []))
        self.config_text = f"local_addresses = {addresses}\n"
        self.daemon = Running(self.namespace, self.folder, self.config_text)
        stack.callback(self.daemon.close)
        self.seen = self.folder / "seen.pcap"
        with self.namespace.entered():
            self._tcpdump = subprocess.Popen(
                [
                    "tcpdump",
                    "-n",
                    "-U",
                    "-i",
                    "two",
                    "--time-stamp-precision",
                    "nano",
                    "-w",
                    self.seen,
                ],
                stderr=subprocess.PIPE,
            )
        stack.callback(self._tcpdump.kill)

    def wait_ready(self) -> None:
        self.daemon.wait_ready()
        assert self._tcpdump.stderr is not None
        assert b"listening" in self._tcpdump.stderr.readline()

    def send(self) -> None:
        with self.namespace.sender("one") as sender:
            play(sender, self.frames)

    def finish(self) -> None:
        self.series = self.daemon.wait_settled()
        assert self.daemon.stop() == 0
        self._tcpdump.terminate()
        self._tcpdump.wait(10)


def replayed(path: Path, config: Config) -> tuple[list[Record], list[Record]]:
    """The records of a file behind whose end the line stays quiet, as it did for the daemon."""
    files, pipeline = CaptureFiles([str(path)]), Pipeline(config)
    events = [event for batch in files.batches() for event in pipeline.feed(batch)]
    last = files.stats().last_time
    assert last is not None
    events += pipeline.advance(last + QUIET_SECONDS)
    events += pipeline.finish(last + QUIET_SECONDS, "end_of_capture")
    style = RecordStyle.of(config)
    attempts, calls = finished(events)
    return (
        [attempt_record(each, style) for each in attempts],
        [call_record(each, style) for each in calls],
    )


def by_id(records: list[Record]) -> dict[str, Record]:
    return {
        record["id"]: {key: value for key, value in record.items() if key not in PLACE}
        for record in records
    }


def differences(played: Played) -> list[str]:
    config = parse_toml(played.config_text)
    lines = played.daemon.lines()
    found: list[str] = []
    attempts, calls = replayed(played.seen, config)
    for kind, expected in (("attempt", attempts), ("call", calls)):
        live = [line for line in lines if line["kind"] == kind]
        assert len(by_id(live)) == len(live)
        mine, theirs = by_id(live), by_id(expected)
        if mine.keys() != theirs.keys():
            found.append(f"{played.name}: {len(mine)} {kind}s live, {len(theirs)} in the file")
            continue
        for key, record in mine.items():
            other = theirs[key]
            found += [
                f"{played.name}: {kind} {key}: {name}: live {record[name]!r}, file {other[name]!r}"
                for name in record
                if record[name] != other[name]
            ]
    # The truth, which is not ours.
    said = Counter(line["outcome"] for line in lines if line["kind"] == "attempt")
    allowed = Counter(each["expected"].split("/")[0] for each in played.truth["attempts"])
    choices = [each for each in played.truth["attempts"] if each.get("acceptable")]
    if not choices and said != allowed:
        found.append(f"{played.name}: {dict(said)}, the truth is {dict(allowed)}")
    if said.total() != total(played.series, "sipwatch_attempts_total"):
        found.append(f"{played.name}: the metrics count other attempts than the records")
    if played.series['sipwatch_capture_packets_total{interface="two"}'] > len(played.frames):
        found.append(f"{played.name}: more packets than were sent")
    return found


def test_live_is_as_replayed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        all_played = [Played(name, tmp_path, stack) for name in CAPTURES]
        for played in all_played:
            played.wait_ready()
        senders = [threading.Thread(target=played.send) for played in all_played]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(60)
        for played in all_played:
            played.finish()
        wrong = [line for played in all_played for line in differences(played)]
    assert not wrong, "\n".join(wrong)
