"""The files that are copied: each is read by the program that it is for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import yaml
from places import DEPLOY, run
from web_client import certificates

from sipwatch.cli import main
from sipwatch.config import Config, load
from sipwatch.daemon.guard import Access
from sipwatch.daemon.web_config import load_web_config

EXAMPLE = DEPLOY / "sipwatch.toml"
WEB = DEPLOY / "web-config.yml"
COMPOSE = DEPLOY / "container" / "compose.yml"


def test_the_example_configuration_is_good() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sipwatch", "config", "check", str(EXAMPLE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_changes_little_and_offers_what_is_good_as_well(tmp_path: Path) -> None:
    """As it stands it says what holds anyway, but for networks and who is an agent."""
    shown, defaults = load(str(EXAMPLE), {}), Config()
    different = {
        key
        for key in Config.__dataclass_fields__
        if key != "origins" and getattr(shown, key) != getattr(defaults, key)
    }
    assert different == {"local_networks", "agents"}
    # With everything that is commented out it is good too.
    whole = tmp_path / "whole.toml"
    whole.write_text(re.sub(r"^#(?=[a-z_]+ = )", "", EXAMPLE.read_text(), flags=re.MULTILINE))
    full = load(str(whole), {})
    assert list(full.peers) == ["carrier"]
    assert full.hours.weekly
    assert full.timers.ring_timeouts_seconds == (20.0, 30.0)


def test_the_web_configuration_asks_nobody_until_it_is_told_to(tmp_path: Path) -> None:
    assert not load_web_config(str(WEB)).asks_who
    certificates(tmp_path, "server")
    # What is commented out, with files and a hash that exist.
    keys = r"^#( *(?:tls_server_config|cert_file|key_file|basic_auth_users|prometheus):.*)$"
    told = "\n".join(re.findall(keys, WEB.read_text(), re.MULTILINE))
    told = told.replace("/etc/sipwatch/tls", str(tmp_path / "server"))
    told = re.sub(r"(?<=\$2y\$10\$)\S+", "a" * 53, told)
    file = tmp_path / "web.yml"
    file.write_text(told)
    access = Access(load_web_config(str(file)))
    assert access.tls is not None
    assert access.passwords.wanted


def test_prometheus_takes_its_configuration() -> None:
    said = run("promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    assert "2 rule files found" in said


def test_alertmanager_takes_its_configuration() -> None:
    file = DEPLOY / "alertmanager" / "alertmanager.yml"
    assert "SUCCESS" in run("amtool", "check-config", str(file))
    for severity, receiver in (("page", "on-call"), ("ticket", "tickets"), ("trend", "weekly")):
        said = run(
            "amtool", "config", "routes", "test", f"--config.file={file}", f"severity={severity}"
        )
        assert receiver in said.split()


def test_mails_say_what_to_do(tmp_path: Path) -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "SipwatchDown"},
        "annotations": {
            "summary": "cannot be scraped",
            "description": "No answer.",
            "impact": "Calls go unseen.",
            "runbook": "1. Look at it.\n",
        },
        "startsAt": "2026-11-24T08:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph",
        "fingerprint": "1",
    }
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"receiver": "r", "status": "firing", "alerts": [alert]}))

    def render(name: str) -> str:
        return run(
            *("amtool", "template", "render"),
            f"--template.glob={DEPLOY}/alertmanager/templates/*.tmpl",
            f'--template.text={{{{ template "{name}" . }}}}',
            f"--template.data={data}",
        )

    assert render("sipwatch.subject").strip() == "[FIRING 1] cannot be scraped"
    text = render("sipwatch.text")
    for part in ("No answer.", "Calls go unseen.", "1. Look at it.", "2026-11-24 08:00:00 UTC"):
        assert part in text


def test_every_command_that_a_runbook_or_the_manual_names_exists() -> None:
    alerts = (DEPLOY / "prometheus" / "rules" / "sipwatch-alerts.yml").read_text()
    manual = (DEPLOY / "README.md").read_text()
    in_backticks = re.findall(r"`(?:sudo )?sipwatch ([a-z]+)\b[^`]*`", alerts + manual)
    in_lines = re.findall(r"^sudo sipwatch ([a-z]+)\b", manual, re.MULTILINE)
    named = set(in_backticks + in_lines)
    assert {"guide", "doctor", "config"} <= named
    assert named <= set(main.list_commands(click.Context(main)))


# --- containers -----------------------------------------------------------------------------------


def services() -> dict[str, Any]:
    data = yaml.safe_load(COMPOSE.read_text())
    found: dict[str, Any] = data["services"]
    return found


def test_compose_mounts_what_is_there() -> None:
    named = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
    for service in services().values():
        for mount in service["volumes"]:
            # A default stands where a variable may say otherwise.
            source = re.sub(r"^\$\{\w+:-(.*?)\}", r"\1", mount).split(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists(), mount
                assert mount.endswith(":ro"), mount
            else:
                assert source in named, mount


def test_compose_listens_on_this_host_alone_and_gives_little() -> None:
    for name, service in services().items():
        assert service["network_mode"] == "host"
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert service.get("cap_add", []) == (
            ["NET_RAW", "SETUID", "SETGID"] if name == "sipwatch" else []
        )
    listening = [
        argument
        for name in ("prometheus", "alertmanager")
        for argument in services()[name]["command"]
        if argument.startswith("--web.listen-address=")
    ]
    assert len(listening) == 2
    assert all("=127.0.0.1:" in argument for argument in listening)
    assert services()["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_the_image_is_made_of_what_is_there() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text()
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert len(sources) == 5
    sent = (DEPLOY / "container" / "Containerfile.dockerignore").read_text()
    for source in sources:
        assert (DEPLOY.parent / source).exists()
        assert f"!{source.removeprefix('./')}\n" in sent


def test_the_image_starts_with_options_that_exist() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text()
    command = json.loads(re.search(r"^CMD (\[.*?\])$", text.replace("\\\n", ""), re.M)[1])
    assert command[0] == "run"
    verb = main.get_command(click.Context(main), "run")
    assert verb is not None
    verb.make_parser(click.Context(verb)).parse_args(command[1:])


# --- Grafana --------------------------------------------------------------------------------------


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "sipwatch.yml").read_text())[
        "datasources"
    ]
    prometheus = " ".join(services()["prometheus"]["command"])
    assert f"--web.listen-address={source['url'].removeprefix('http://')}" in prometheus
    assert source["isDefault"] is True
    [provider] = yaml.safe_load((provisioning / "dashboards" / "sipwatch.yml").read_text())[
        "providers"
    ]
    mounted = [m.split(":")[1] for m in services()["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/sipwatch.json" in mounted


def test_every_panel_can_be_understood() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "sipwatch.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) > 50
    for panel in panels:
        assert panel["title"]
        assert panel["targets"]
        assert panel["datasource"]["uid"] == "${datasource}"
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters))
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
    # No two panels lie on each other.
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
