"""What happens to a daemon in months: killed, reloaded, cut off, out of disk, told to stop."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from call_flows import Leg, answered, busy
from network_namespace import Namespace
from running import Series, frames_of, play, running, total


def legs(make, count: int, first: int = 0, gap: float = 0.0) -> list[Leg]:
    """Some calls of a kind, each with its own identity."""
    return [
        make(number * gap, call_id=f"c{number}@10.9.0.50", branch=f"z9hG4bK-{number}")
        for number in range(first, first + count)
    ]


def talking(at: float, **changes: str) -> Leg:
    """A call that is answered and goes on."""
    leg = Leg(**changes)
    leg.request(at, "INVITE").reply(at + 0.01, "180 Ringing").reply(at + 0.02, "200 OK")
    return leg.request(at + 0.03, "ACK")


def hung_up(leg: Leg) -> Leg:
    """The end of such a call."""
    end = Leg(call_id=leg.call_id, branch=leg.branch)
    return end.request(0, "BYE").reply(0.01, "200 OK", method="BYE")


def attempts(found: Series, *labels: str) -> float:
    return total(found, "sipwatch_attempts_total", *labels)


def stored(folder: Path, table: str = "attempts") -> dict[str, int]:
    """Rows by outcome."""
    with sqlite3.connect(folder / "records.sqlite") as database:
        return dict(database.execute(f"SELECT outcome, count(*) FROM {table} GROUP BY outcome"))


def test_killed_in_the_middle(cable: Namespace, tmp_path: Path) -> None:
    """What was written is there, what was learned too; counters begin at zero; and it is said."""
    timer = 'local_addresses = ["10.9.0.1"]\n'
    open_calls = legs(talking, 3, first=100)
    with cable.sender("one") as sender:
        with running(cable, tmp_path, timer) as daemon:
            play(sender, frames_of(legs(busy, 5), gap=0.005))
            play(sender, frames_of(open_calls, gap=0.005))
            daemon.wait_for(
                lambda found: attempts(found) == 8 and found["sipwatch_dialogs_active"] == 3
            )
            daemon.wait_for(
                lambda found: found['sipwatch_records_written_total{sink="sqlite"}'] >= 10
            )
            state = tmp_path / "state.json"
            until = time.monotonic() + 40
            while json.loads(state.read_text())["in_progress"]["dialogs"] != 3:
                assert time.monotonic() < until
                time.sleep(0.2)
            learned = json.loads(state.read_text())
            learned["ring_timers"] = [["sent", "address", "0a090001", [20.0] * 9]]
            daemon.signal(signal.SIGKILL)
            assert daemon.process.wait(10) == -signal.SIGKILL
        state.write_text(json.dumps(learned))
        with running(cable, tmp_path, timer) as daemon:
            found = daemon.series()
            assert attempts(found) == 0
            assert found['sipwatch_previous_run_in_progress{kind="dialogs"}'] == 3
            assert found['sipwatch_previous_run_in_progress{kind="attempts"}'] == 0
            assert found["sipwatch_previous_run_end_timestamp_seconds"] == pytest.approx(
                learned["saved_at"], abs=0.01
            )
            assert "ended without finishing: 0 attempts and 3 conversations" in daemon.log
            assert stored(tmp_path)["agent_busy"] == 5
            # The ends of calls that it did not see begin are no attempts.
            play(sender, frames_of([hung_up(leg) for leg in open_calls], gap=0.005))
            play(sender, frames_of(legs(busy, 2, first=50), gap=0.005))
            found = daemon.wait_for(lambda found: attempts(found, 'outcome="agent_busy"') == 2)
            assert attempts(found) == 2
            daemon.wait_settled()
            assert daemon.stop() == 0
    assert stored(tmp_path)["agent_busy"] == 7
    kept = json.loads(state.read_text())
    assert kept["finished"] is True
    assert kept["ring_timers"] == learned["ring_timers"]


def test_an_orderly_end_keeps_what_is_open(cable: Namespace, tmp_path: Path) -> None:
    """SIGTERM: what waits in the ring is followed, what is open is recorded as that."""
    with running(cable, tmp_path) as daemon, cable.sender("one") as sender:
        play(sender, frames_of(legs(busy, 40) + legs(talking, 4, first=100), gap=0.0005))
        daemon.signal(signal.SIGTERM)
        daemon.wait_ready("STOPPING=1")
        assert daemon.process.wait(20) == 0
        assert "stopped" in daemon.log.splitlines()[-1]
    found = stored(tmp_path)
    assert found == {"agent_busy": 40, "answered": 4}
    lines = [line for line in daemon.lines() if line["kind"] == "attempt"]
    assert len(lines) == 44
    assert {line["end"] for line in lines if line["outcome"] == "answered"} == {"open"}
    assert {line["closed_by"] for line in lines if line["outcome"] == "answered"} == {"shutdown"}


def test_an_interface_that_goes_and_comes_back(cable: Namespace, tmp_path: Path) -> None:
    with running(cable, tmp_path) as daemon:
        with cable.sender("one") as sender:
            play(sender, frames_of(legs(busy, 2), gap=0.005))
            daemon.wait_for(lambda found: attempts(found) == 2)
        cable.ip("link", "del", "one")
        found = daemon.wait_for(
            lambda found: found['sipwatch_interface_events_total{kind="gone"}'] == 1
        )
        assert found['sipwatch_interface_up{interface="two"}'] == 0
        daemon.wait_for(lambda found: found['sipwatch_problem{kind="interface_down"}'] == 1)
        assert "two (gone)" in daemon.get("/").text
        cable.veth()
        daemon.wait_for(lambda found: found['sipwatch_interface_up{interface="two"}'] == 1)
        with cable.sender("one") as sender:
            play(sender, frames_of(legs(busy, 3, first=10), gap=0.005))
            found = daemon.wait_for(lambda found: attempts(found) == 5)
        assert found['sipwatch_interface_events_total{kind="reopened"}'] >= 1
        daemon.wait_for(lambda found: found['sipwatch_problem{kind="interface_down"}'] == 0)
        log = daemon.log
        assert log.count('level=warning part=loop msg="two: ') >= 1
        assert daemon.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that holds little."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "sipwatch-test", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"cannot mount a small disk ({done.stderr.strip()}): run these tests as root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_costs_records_and_no_metrics(
    cable: Namespace, tmp_path: Path, small_disk: Path
) -> None:
    with running(cable, tmp_path, records=small_disk) as daemon, cable.sender("one") as sender:
        play(sender, frames_of(legs(busy, 5), gap=0.002))
        daemon.wait_for(lambda found: found['sipwatch_records_written_total{sink="sqlite"}'] == 10)
        _fill(small_disk / "filler")
        play(sender, frames_of(legs(busy, 300, first=1000), gap=0.001))
        found = daemon.wait_for(lambda found: attempts(found) == 305)
        found = daemon.wait_for(
            lambda found: (
                found['sipwatch_records_writable{sink="sqlite"}'] == 0
                and found['sipwatch_records_writable{sink="jsonl"}'] == 0
            )
        )
        assert found['sipwatch_records_errors_total{sink="sqlite"}'] >= 1
        # Metrics and scrapes go on.
        play(sender, frames_of(legs(busy, 50, first=2000), gap=0.001))
        daemon.wait_for(lambda found: attempts(found) == 355)
        assert daemon.log.count("records cannot be written") == 2
        (small_disk / "filler").unlink()
        found = daemon.wait_for(
            lambda found: (
                found['sipwatch_records_written_total{sink="sqlite"}'] == 710
                and found['sipwatch_records_written_total{sink="jsonl"}'] == 710
            )
        )
        assert found['sipwatch_records_dropped_total{sink="sqlite"}'] == 0
        assert daemon.log.count("records are written again") == 2
        assert daemon.stop() == 0
        assert stored(small_disk) == {"agent_busy": 355}
        kept = [line["id"] for line in daemon.lines() if line["kind"] == "attempt"]
        assert len(kept) == len(set(kept)) == 355


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), b"\0" * 4096)
        except OSError:
            pass


def test_a_locked_database_slows_nothing(cable: Namespace, tmp_path: Path) -> None:
    with running(cable, tmp_path) as daemon, cable.sender("one") as sender:
        play(sender, frames_of(legs(busy, 5), gap=0.002))
        daemon.wait_settled()
        other = sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        play(sender, frames_of(legs(busy, 20, first=100), gap=0.002))
        daemon.wait_for(
            lambda found: (
                attempts(found) == 25 and found['sipwatch_records_writable{sink="sqlite"}'] == 0
            )
        )
        other.execute("ROLLBACK")
        daemon.wait_for(lambda found: found['sipwatch_records_written_total{sink="sqlite"}'] == 50)
        assert daemon.stop() == 0
    assert stored(tmp_path) == {"agent_busy": 25}


def test_a_damaged_database_makes_room_for_a_new_one(cable: Namespace, tmp_path: Path) -> None:
    """As after a loss of power; what is in it is kept for who can save it."""
    (tmp_path / "records.sqlite").write_bytes(b"\xff" * 8192)
    with running(cable, tmp_path) as daemon, cable.sender("one") as sender:
        play(sender, frames_of(legs(busy, 5), gap=0.002))
        daemon.wait_for(lambda found: found['sipwatch_records_written_total{sink="sqlite"}'] == 10)
        assert "records.sqlite.damaged now, and a new one is made" in daemon.log
        assert daemon.stop() == 0
    assert stored(tmp_path) == {"agent_busy": 5}
    assert (tmp_path / "records.sqlite.damaged").read_bytes() == b"\xff" * 8192


def test_reloaded_under_traffic(cable: Namespace, tmp_path: Path) -> None:
    """Calls in progress go on; a bad file keeps the old configuration and says which line."""
    quick = "[timers]\nbrief_abandon_seconds = 1\n"
    peers = '[peers]\ncarrier = ["10.9.0.50/32"]\n'
    calls = legs(talking, 30)
    with running(cable, tmp_path, quick) as daemon, cable.sender("one") as sender:
        play(sender, frames_of(calls, gap=0.001))
        daemon.wait_for(lambda found: found["sipwatch_dialogs_active"] == 30)
        daemon.told.clear()
        traffic = threading.Thread(
            target=play, args=(sender, frames_of(legs(busy, 200, first=1000), gap=0.004))
        )
        traffic.start()
        daemon.configure(quick + peers)
        daemon.signal(signal.SIGHUP)
        daemon.wait_ready("RELOADING=1")
        daemon.wait_ready("READY=1")
        first = daemon.series()
        assert first["sipwatch_config_reload_success"] == 1
        assert attempts(first, 'peer="carrier"', 'outcome="answered"') == 0
        daemon.configure(quick + "[timers2]\n")
        daemon.signal(signal.SIGHUP)
        daemon.wait_ready("RELOADING=1")
        daemon.wait_ready("READY=1")
        found = daemon.wait_for(lambda found: found["sipwatch_config_reload_success"] == 0)
        time_key = "sipwatch_config_reload_success_timestamp_seconds"
        assert found[time_key] == first[time_key]
        [line] = [line for line in daemon.log.splitlines() if "stays as it was" in line]
        assert f"{tmp_path}/sipwatch.toml:3: unknown key 'timers2'" in line
        traffic.join()
        play(sender, frames_of([hung_up(leg) for leg in calls], gap=0.001))
        found = daemon.wait_for(
            lambda found: (
                attempts(found) == 230
                and total(found, "sipwatch_dialogs_ended_total", "caller_hangup") == 30
            )
        )
        # What began after the first reload has the peer that it names.
        assert attempts(found, 'peer="carrier"', 'outcome="agent_busy"') > 0
        assert attempts(found, 'outcome="agent_busy"') == 200
        assert attempts(found, 'outcome="answered"') == 30
        daemon.configure(quick)
        daemon.signal(signal.SIGHUP)
        found = daemon.wait_for(lambda found: found["sipwatch_config_reload_success"] == 1)
        assert found[time_key] >= first[time_key]
        assert daemon.stop() == 0


def test_other_ports_after_a_reload(cable: Namespace, tmp_path: Path) -> None:
    elsewhere = [
        busy(call_id=f"p{n}", branch=f"z9hG4bK-p{n}", callee=(b"\x0a\x09\0\x01", 7060))
        for n in range(3)
    ]
    with running(cable, tmp_path) as daemon, cable.sender("one") as sender:
        frames = frames_of(elsewhere, gap=0.002)
        daemon.configure("ports = [7060]\n[web]\nlisten = '127.0.0.1:9743'\n")
        daemon.signal(signal.SIGHUP)
        daemon.wait_ready("RELOADING=1")
        daemon.wait_ready("READY=1")
        assert "takes effect with a restart only: web.listen" in daemon.log
        play(sender, frames)
        daemon.wait_for(lambda found: attempts(found) == 3)
        play(sender, frames_of(legs(busy, 4), gap=0.002))
        play(sender, frames_of([busy(call_id="last", branch="z9hG4bK-l",
                                     callee=(b"\x0a\x09\0\x01", 7060))], gap=0.002))  # fmt: skip
        assert attempts(daemon.wait_for(lambda found: attempts(found) == 4)) == 4
        assert daemon.stop() == 0


def test_what_waits_for_a_restart_is_said_as_long_as_it_waits(
    namespace: Namespace, tmp_path: Path
) -> None:
    other = "[web]\nlisten = '127.0.0.1:9743'\n"
    line = "takes effect with a restart only: web.listen"
    with running(namespace, tmp_path, interface="lo") as daemon:
        for config, times in ((other, 1), (other, 2), ("", 2)):
            daemon.told.clear()
            daemon.configure(config)
            daemon.signal(signal.SIGHUP)
            daemon.wait_ready("RELOADING=1")
            daemon.wait_ready("READY=1")
            assert daemon.log.count(line) == times
        assert daemon.stop() == 0


def test_what_only_one_side_says_is_noticed(cable: Namespace, tmp_path: Path) -> None:
    """Half of a mirror port: requests without any response."""
    legs_ = [Leg(call_id=f"h{n}", branch=f"z9hG4bK-h{n}").request(0, "INVITE") for n in range(40)]
    with running(cable, tmp_path) as daemon, cable.sender("one") as sender:
        play(sender, frames_of(legs_, gap=0.06))
        daemon.wait_for(lambda found: found['sipwatch_problem{kind="one_direction"}'] == 1)
        assert daemon.log.count("only one direction of the traffic is seen") == 1
        assert "only one direction" in daemon.get("/").text
        daemon.process.kill()


def test_an_answer_comes_although_nothing_more_is_sent(cable: Namespace, tmp_path: Path) -> None:
    """The verdict must not wait for the next packet."""
    with running(cable, tmp_path) as daemon, cable.sender("one") as sender:
        play(sender, frames_of([answered(talk=0.2)]))
        daemon.wait_for(lambda found: attempts(found, 'outcome="answered"') == 1)
        daemon.wait_settled()
        assert {line["kind"] for line in daemon.lines()} == {"attempt", "call"}
        assert daemon.stop() == 0


def test_the_hosts_own_addresses_tell_directions(cable: Namespace, tmp_path: Path) -> None:
    """Nothing is configured: the first packet from or to an address of the host settles it."""
    elsewhere = Leg(call_id="far", branch="z9hG4bK-far", callee=(b"\x0a\x08\0\x01", 5060))
    cable.ip("addr", "add", "10.9.0.1/24", "dev", "two")
    with running(cable, tmp_path) as daemon, cable.sender("one") as sender:
        play(sender, frames_of([elsewhere.request(0, "OPTIONS")]))
        play(sender, frames_of(legs(busy, 3), gap=0.005))
        found = daemon.wait_for(lambda found: attempts(found) == 3)
        assert attempts(found, 'direction="inbound"') == 3
        assert "the traffic is of this host" in daemon.log
        assert "10.9.0.1" in daemon.log
        assert daemon.stop() == 0


def test_packets_that_the_ring_cannot_hold_are_counted_and_said(
    cable: Namespace, tmp_path: Path
) -> None:
    with running(cable, tmp_path) as daemon, cable.sender("one") as sender:
        play(sender, frames_of(legs(busy, 2), gap=0.005))
        daemon.wait_for(lambda found: attempts(found) == 2)
        # Stopped, it reads nothing: 4 MiB of ring are soon full.
        daemon.signal(signal.SIGSTOP)
        filler = busy(call_id="x", branch="z9hG4bK-x", headers="X: " + "y" * 1200 + "\r\n")
        frames = frames_of([filler])
        for _ in range(6000):
            sender.send(frames[0][1])
        daemon.signal(signal.SIGCONT)
        drops = 'sipwatch_capture_drops_total{interface="two",where="ring"}'
        found = daemon.wait_for(lambda found: found[drops] > 0)
        found = daemon.wait_for(lambda found: found['sipwatch_problem{kind="drops"}'] == 1)
        packets = found['sipwatch_capture_packets_total{interface="two"}']
        assert packets + found[drops] == 2 * 4 + 6000
        assert daemon.log.count("packets are lost") == 1
        assert daemon.stop() == 0
