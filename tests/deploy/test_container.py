"""The image is built by a real engine, and the compose file starts it with its neighbours.

Debian's Prometheus and Alertmanager stand in for their images, under the names that the compose
file has; Grafana is not among Debian's packages. One test, for an image is built once, and tests of
one module may run in several processes.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tarfile
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import yaml
from engine import Engine, engine
from network_namespace import Namespace
from places import DEPLOY, program, run
from sipp import Sipp, caller, phone
from waiting import wait_for
from web_client import Answer, get

SIPWATCH, PROMETHEUS, ALERTMANAGER = 9742, 9090, 9093
PATIENCE = 40.0
PBX, CARRIER = "10.9.0.1", "203.0.113.5"
#: Calls by their answer, before the restart and after it.
BEFORE, AFTER = {200: 4, 486: 7, 603: 3}, {200: 1, 486: 2, 603: 0}
STATUS = {200: "200 OK", 486: "486 Busy Here", 603: "603 Decline"}
PORTS = {200: 5060, 486: 5061, 603: 5062}
CONFIG = f"""
local_addresses = ["{PBX}"]
ports = [5060, 5061, 5062]
[peers]
{{name}} = ["203.0.113.0/24"]
"""
#: Debian's Alertmanager has its templates in files.
TEMPLATES = "/usr/share/prometheus/alertmanager"
NOBODY = 65534
#: Those of the compose file that can be started here.
SERVICES = ("sipwatch", "prometheus", "alertmanager")
COMPOSE = yaml.safe_load((DEPLOY / "container" / "compose.yml").read_text())["services"]


class Deployed:
    """The containers of the compose file on a PBX's host, and a carrier who calls it."""

    def __init__(self, made: Engine, folder: Path) -> None:
        self.engine = made
        self.folder = folder
        self.host, self.carrier = Namespace(), Namespace()
        self.host.veth()
        self.host.move("one", self.carrier)
        for inside, name, own, other in (
            (self.host, "two", PBX, CARRIER),
            (self.carrier, "one", CARRIER, PBX),
        ):
            inside.ip("address", "add", own, "peer", other, "dev", name)
        self.etc = folder / "etc"
        self.etc.mkdir()
        shutil.copy(DEPLOY / "web-config.yml", self.etc)
        self.configure("carrier")

    def configure(self, peer: str) -> None:
        """Saves the configuration as editors do: another file takes the place of the old."""
        new = self.etc / "new"
        new.write_text(CONFIG.format(name=peer))
        new.replace(self.etc / "sipwatch.toml")

    def compose(self, *arguments: str) -> str:
        with self.host.entered():
            return self.engine.compose(
                *arguments, GRAFANA_PASSWORD="secret", SIPWATCH_ETC=str(self.etc)
            )

    def podman(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        with self.host.entered():
            return self.engine.podman(*arguments, allowed=allowed)

    def state(self, service: str) -> dict[str, Any]:
        [found] = json.loads(self.podman("inspect", f"sipwatch_{service}_1"))
        state: dict[str, Any] = found["State"]
        return state

    def logs(self, service: str = "sipwatch") -> str:
        """What a container has said on standard error."""
        return self.engine.inside("/bin/sh", "-c", f"podman logs sipwatch_{service}_1 2>&1")

    def get(self, port: int = SIPWATCH, path: str = "/metrics") -> Answer:
        with self.host.entered():
            return get(port, path)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        wait_for(condition, what, PATIENCE, lambda: "\n".join(map(self.logs, SERVICES)))

    def counts(self) -> dict[int, int]:
        """The carrier's attempts by their final status, as /metrics has them."""
        found = re.findall(
            r'^sipwatch_attempts_total\{direction="inbound",peer="carrier",.*code="(\d+)"\} (\d+)',
            self.get().text,
            re.MULTILINE,
        )
        return {int(code): int(number) for code, number in found if int(number)}

    def call(self, numbers: dict[int, int]) -> None:
        """So many calls of each kind from the carrier, all at once."""
        # A phone that has done its work does not wait for what may still come.
        once = ("-deadcall_wait", "0", "-m")
        started: list[Sipp] = []
        try:
            for code, number in numbers.items():
                own = ("-i", PBX, "-p", str(PORTS[code]), *once, str(number))
                if number:
                    answering = phone(STATUS[code], rings=True)
                    started.append(Sipp(self.host, self.folder, f"phone-{code}", answering, *own))
            for code, number in numbers.items():
                own = ("-i", CARRIER, "-p", str(6000 + code), *once, str(number))
                if number:
                    to = (f"{PBX}:{PORTS[code]}", "-s", "101")
                    name = f"caller-{code}"
                    started.append(Sipp(self.carrier, self.folder, name, caller(code), *to, *own))
            for one in started:
                one.finish()
        finally:
            for one in started:
                one.close()

    def close(self) -> None:
        self.host.close()
        self.carrier.close()


@contextmanager
def deployed(folder: Path) -> Iterator[Deployed]:
    (folder / "engine").mkdir()
    with engine(folder / "engine") as made:
        on_host = Deployed(made, folder)
        try:
            yield on_host
        finally:
            on_host.close()


def test_the_image_and_what_compose_makes_of_it(tmp_path: Path) -> None:
    with deployed(tmp_path) as on_host:
        images_are_made(on_host)
        on_host.compose("up", "--detach", *SERVICES)
        on_host.wait_for(lambda: on_host.get(path="/-/ready").status == 200, "readiness")
        runs_as_its_own_user_with_no_capability(on_host)
        holds_nothing_that_could_install_more(on_host)
        is_well_in_the_eyes_of_the_doctor(on_host)
        counts_exactly_what_was_called(on_host)
        prometheus_scrapes_it_and_knows_alertmanager(on_host)
        takes_up_what_an_editor_saved(on_host)
        stops_well_and_goes_on_with_its_records(on_host)
        is_healthy_whoever_may_read(on_host)
        on_host.compose("down")
        assert on_host.podman("ps", "--all", "--quiet") == ""


def images_are_made(on_host: Deployed) -> None:
    made = on_host.engine
    made.make_base()
    # Not in the host's namespace: packages come from outside.
    made.compose("build", "sipwatch", GRAFANA_PASSWORD="secret")
    for name, packaged in (
        ("prometheus", "prometheus"),
        ("alertmanager", "prometheus-alertmanager"),
    ):
        stands_in(on_host, name, program(packaged))


def stands_in(on_host: Deployed, name: str, binary: str) -> None:
    """An image like that of prom/, as far as the compose file relies on it, of Debian's program."""
    archive = on_host.folder / f"{name}.tar"
    with tarfile.open(archive, "w", dereference=True) as packed:
        packed.add(binary, f"bin/{name}")
        for library in re.findall(r"(/\S+) \(0x", run("ldd", binary)):
            packed.add(library)
        packed.add(TEMPLATES)
        data = tarfile.TarInfo(name)
        data.type, data.mode, data.uid, data.gid = tarfile.DIRTYPE, 0o755, NOBODY, NOBODY
        packed.addfile(data)
    changes = (
        f"--change=USER {NOBODY}:{NOBODY}",
        f"--change=WORKDIR /{name}",
        f"--change=VOLUME /{name}",
        f'--change=ENTRYPOINT ["/bin/{name}"]',
    )
    on_host.engine.podman("import", "--quiet", *changes, str(archive), COMPOSE[name]["image"])


def runs_as_its_own_user_with_no_capability(on_host: Deployed) -> None:
    pid = on_host.state("sipwatch")["Pid"]
    text = on_host.engine.inside("cat", f"/proc/{pid}/status")
    status = dict(line.split(":", 1) for line in text.splitlines())
    user = on_host.podman("exec", "sipwatch_sipwatch_1", "id", "--user", "sipwatch").strip()
    assert set(status["Uid"].split()) == {user}
    assert user != "0"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    # What it once had is what the compose file gives: SETGID, SETUID, NET_RAW.
    assert int(status["CapBnd"], 16) == 1 << 6 | 1 << 7 | 1 << 13
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    read_only = on_host.podman("exec", "sipwatch_sipwatch_1", "touch", "/x", allowed=(1,))
    assert read_only == ""
    assert "all capabilities are given up" in on_host.logs()


def holds_nothing_that_could_install_more(on_host: Deployed) -> None:
    ask = "import importlib.util as u; print(u.find_spec('pip'), u.find_spec('setuptools'))"
    command = ("exec", "sipwatch_sipwatch_1", "/opt/sipwatch/bin/python", "-c", ask)
    assert on_host.podman(*command) == "None None\n"


def is_well_in_the_eyes_of_the_doctor(on_host: Deployed) -> None:
    """Root without CAP_DAC_OVERRIDE may not write where the user sipwatch may."""
    asked = ("sipwatch", "doctor", "--user", "sipwatch", "--format", "json")
    web_config = ("--web-config", "/etc/sipwatch/web-config.yml")
    said = json.loads(on_host.podman("exec", "sipwatch_sipwatch_1", *asked, *web_config))
    found = {finding["check"]: finding for finding in said}
    assert found["configuration"]["text"] == "/etc/sipwatch/sipwatch.toml: can be used"
    assert found["web configuration"]["text"] == "/etc/sipwatch/web-config.yml: can be used"
    assert found["records /var/lib/sipwatch"]["level"] == "OK"


def counts_exactly_what_was_called(on_host: Deployed) -> None:
    on_host.call(BEFORE)
    on_host.wait_for(lambda: on_host.counts() == BEFORE, f"{BEFORE}")
    assert 'sipwatch_sip_requests_total{method="INVITE"} 14\n' in on_host.get().text


def prometheus_scrapes_it_and_knows_alertmanager(on_host: Deployed) -> None:
    """Every 15 s, as it is deployed."""

    def asked(path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        return json.loads(on_host.get(PROMETHEUS, f"/api/v1/{path}?{query}").text)["data"]

    def busy() -> bool:
        expr = 'sipwatch_attempts_total{job="sipwatch",code="486",outcome="agent_busy"} > 0'
        found = asked("query", query=expr)["result"]
        return [one["value"][1] for one in found] == [str(BEFORE[486])]

    on_host.wait_for(busy, "a scrape")
    ready = "/-/ready"
    on_host.wait_for(lambda: on_host.get(ALERTMANAGER, ready).status == 200, "Alertmanager")
    managers = asked("alertmanagers")["activeAlertmanagers"]
    assert [one["url"] for one in managers] == [f"http://127.0.0.1:{ALERTMANAGER}/api/v2/alerts"]
    assert len(asked("rules")["groups"]) > 5
    # Such as mails that would come more often than they are meant to.
    assert not re.findall(r".*level=(?:warn|error).*", on_host.logs("alertmanager"))
    assert not re.findall(r".*level=error.*", on_host.logs("prometheus"))
    status = json.loads(on_host.get(ALERTMANAGER, "/api/v2/status").text)
    assert "on-call" in status["config"]["original"]


def takes_up_what_an_editor_saved(on_host: Deployed) -> None:
    """The user sipwatch reads it now, in a file that was not there when the container began."""
    on_host.configure("trunk")
    on_host.podman("kill", "--signal=HUP", "sipwatch_sipwatch_1")
    on_host.wait_for(lambda: "the configuration was read again" in on_host.logs(), "a reload")
    assert 'peer="trunk"' in on_host.get().text
    on_host.configure("carrier")


def stops_well_and_goes_on_with_its_records(on_host: Deployed) -> None:
    """An exit status other than 0 would be that of a daemon that had to be killed."""
    on_host.compose("stop", "sipwatch")
    assert (on_host.state("sipwatch")["Running"], on_host.state("sipwatch")["ExitCode"]) == (
        False,
        0,
    )
    assert "stopped; 0 attempts were in progress" in on_host.logs()
    assert stored(on_host) == BEFORE
    on_host.compose("start", "sipwatch")
    on_host.wait_for(lambda: on_host.get(path="/-/ready").status == 200, "readiness")
    on_host.call(AFTER)
    both = {code: BEFORE[code] + AFTER[code] for code in BEFORE}
    on_host.wait_for(lambda: stored(on_host) == both, f"records of {both}")


def stored(on_host: Deployed) -> dict[int, int]:
    """Attempts in the volume by their final status."""
    place = on_host.podman("volume", "inspect", "--format={{.Mountpoint}}", "sipwatch_records")
    ask = (
        f"import sqlite3; rows = sqlite3.connect('file:{place.strip()}/records.sqlite?mode=ro',"
        "uri=True).execute('select code, count(*) from attempts group by code'); print(dict(rows))"
    )
    said = on_host.engine.inside(sys.executable, "-c", ask)
    return {int(code): int(number) for code, number in re.findall(r"(\d+): (\d+)", said)}


def is_healthy_whoever_may_read(on_host: Deployed) -> None:
    on_host.podman("healthcheck", "run", "sipwatch_sipwatch_1")
    digest = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (on_host.etc / "web-config.yml").write_text(f"basic_auth_users:\n  anna: {digest}\n")
    on_host.wait_for(lambda: on_host.get().status == 401, "a question for the password")
    on_host.podman("healthcheck", "run", "sipwatch_sipwatch_1")
    assert "(healthy)" in on_host.podman("ps", "--format={{.Names}} {{.Status}}")
