"""From nothing to a service: deploy/install, and the hardened unit under a real systemd.

One test, for a machine is booted once, and tests of one module may run in several processes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from machine import Machine, machine

#: A busy phone on the machine's loopback, twice: INVITE, 486, ACK.
_CALLS = """
import socket
def message(first, method, number):
    return (f"{first}\\r\\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{number}\\r\\n"
        f"From: <sip:200@pbx>;tag=a{number}\\r\\nTo: <sip:101@pbx>\\r\\nCall-ID: c{number}\\r\\n"
        f"CSeq: 1 {method}\\r\\nContent-Length: 0\\r\\n\\r\\n").encode()
def place(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(address)
    return sock
pbx, phone = place(("127.0.0.1", 5060)), place(("127.0.0.2", 5060))
for number in (1, 2):
    pbx.sendto(message("INVITE sip:101@127.0.0.2 SIP/2.0", "INVITE", number), ("127.0.0.2", 5060))
    phone.recv(9999)
    phone.sendto(message("SIP/2.0 486 Busy Here", "INVITE", number), ("127.0.0.1", 5060))
    pbx.recv(9999)
    pbx.sendto(message("ACK sip:101@127.0.0.2 SIP/2.0", "ACK", number), ("127.0.0.2", 5060))
"""

#: Runs in the machine, beside the service; prints one JSON object.
_SCRIPT = f"""#!/usr/bin/python3
import json, os, signal, subprocess, time, urllib.request
found = {{}}
def systemctl(*arguments):
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True)
    return done.stdout.strip() or done.returncode
def show(name):
    return systemctl("show", "--property", name, "--value", "sipwatch")
def get(path):
    with urllib.request.urlopen("http://127.0.0.1:9742" + path, timeout=10) as answer:
        return answer.read().decode()
def wait_until(condition):
    for _ in range(300):
        try:
            if condition():
                return True
        except OSError:
            pass
        time.sleep(0.1)
    return False

found["active"], found["status"] = show("ActiveState"), show("StatusText")
found["ready"] = get("/-/ready")
pid = show("MainPID")
status = dict(line.split(":", 1) for line in open(f"/proc/{{pid}}/status"))
found["capabilities"] = {{n: int(status[n], 16) for n in ("CapEff", "CapBnd", "CapAmb")}}
found["uid"], found["seccomp"] = status["Uid"].split(), status["Seccomp"].strip()
found["no_new_privileges"] = status["NoNewPrivs"].strip()

subprocess.run(["/usr/bin/python3", "-c", {_CALLS!r}], check=True)
busy = 'outcome="agent_busy",code="486"}} 2'
found["counted"] = wait_until(lambda: busy in get("/metrics"))
found["written"] = wait_until(lambda: 'records_written_total{{sink="sqlite"}} 4' in get("/metrics"))

before = get("/metrics")
found["reload"] = systemctl("reload", "sipwatch")
taken = lambda text: [l for l in text.splitlines() if l.startswith("sipwatch_config_reload_succ")]
found["reloaded"] = wait_until(lambda: taken(get("/metrics")) != taken(before))
found["still_counted"] = busy in get("/metrics")
found["same_process"] = show("MainPID") == pid

# A daemon that hangs gives no sign of life: the watchdog ends it, and it is started again.
os.makedirs("/run/systemd/system/sipwatch.service.d", exist_ok=True)
with open("/run/systemd/system/sipwatch.service.d/soon.conf", "w") as file:
    file.write("[Service]\\nWatchdogSec=3s\\nRestartSec=100ms\\nTimeoutAbortSec=2s\\n")
systemctl("daemon-reload")
systemctl("restart", "sipwatch")
os.kill(int(show("MainPID")), signal.SIGSTOP)
found["restarted"] = wait_until(lambda: int(show("NRestarts")) >= 1 and "Ready" in get("/-/ready"))

systemctl("stop", "sipwatch")
found["result"] = show("Result")
found["files"] = {{
    name: oct(os.stat("/var/lib/sipwatch/" + name).st_mode & 0o777)
    for name in os.listdir("/var/lib/sipwatch")
}}
journal = ["journalctl", "--unit", "sipwatch", "--output", "json", "--no-pager"]
lines = subprocess.run(journal, capture_output=True, text=True).stdout.splitlines()
found["journal"] = [
    (entry["PRIORITY"], entry["MESSAGE"])
    for entry in map(json.loads, lines)
    if entry.get("_COMM") == "sipwatch" or entry.get("SYSLOG_IDENTIFIER") == "sipwatch"
]
print(json.dumps(found))
"""


def test_the_service_on_a_machine_of_its_own(tmp_path: Path) -> None:
    with machine(tmp_path) as made:
        assert "systemctl enable --now sipwatch" in made.install()
        found: dict[str, Any] = json.loads(made.live(_SCRIPT))
        runs_as_its_own_user_with_one_capability(found)
        captures_judges_and_keeps_records_within_its_walls(found)
        reload_keeps_the_process_and_its_counts(found)
        assert found["restarted"], "the watchdog has not started a daemon that hangs again"
        stops_well_and_logs_with_priorities(found)
        installed_again_keeps_the_configuration(made)


def runs_as_its_own_user_with_one_capability(found: dict[str, Any]) -> None:
    net_raw = 1 << 13
    assert found["active"] == "active"
    assert found["status"].startswith("watching")
    assert found["ready"] == "Ready.\n"
    assert found["capabilities"] == {"CapEff": net_raw, "CapBnd": net_raw, "CapAmb": 0}
    assert "0" not in found["uid"]
    # A filter of system calls is in force, and nothing can be gained by exec.
    assert (found["seccomp"], found["no_new_privileges"]) == ("2", "1")


def captures_judges_and_keeps_records_within_its_walls(found: dict[str, Any]) -> None:
    assert found["counted"]
    assert found["written"]
    assert found["files"]["records.sqlite"] == "0o600"


def reload_keeps_the_process_and_its_counts(found: dict[str, Any]) -> None:
    assert found["reload"] == 0
    assert found["reloaded"]
    assert found["still_counted"]
    assert found["same_process"]


def stops_well_and_logs_with_priorities(found: dict[str, Any]) -> None:
    assert found["result"] == "success"
    messages = [message for _, message in found["journal"]]
    assert any("CAP_NET_RAW is kept" in message for message in messages)
    assert any("stopped; 0 attempts were in progress" in message for message in messages)
    # Priorities were read off the lines and are not part of them.
    assert {priority for priority, _ in found["journal"]} <= {"3", "4", "6"}
    assert not [message for message in messages if message.startswith("<")]


def installed_again_keeps_the_configuration(made: Machine) -> None:
    config = made.root / "etc" / "sipwatch" / "sipwatch.toml"
    changed = config.read_text() + "# mine\n"
    config.write_text(changed)
    made.install()
    assert config.read_text() == changed
    group = (made.root / "etc" / "group").read_text()
    [line] = [line for line in group.splitlines() if line.startswith("sipwatch:")]
    assert config.stat().st_mode & 0o777 == 0o640
    assert config.stat().st_gid == int(line.split(":")[2])
