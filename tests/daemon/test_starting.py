"""What keeps the daemon from starting: one clear line that says what to do, exit status 2."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from call_flows import busy
from network_namespace import Namespace
from running import frames_of, play, refused, running, total

CONFIGS = Path(__file__).parents[1] / "config"


def one_line(lines: list[str]) -> str:
    """The only line that is no log line of a warning."""
    [line] = [line for line in lines if line.startswith("sipwatch:")]
    assert not any("Traceback" in each for each in lines)
    return line


def test_no_permission(cable: Namespace, tmp_path: Path) -> None:
    status, lines = refused(
        cable, tmp_path, wrapper=("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    )
    assert status == 2
    assert one_line(lines).startswith("sipwatch: no permission to capture: run as root, or give")


def test_no_such_interface(cable: Namespace, tmp_path: Path) -> None:
    status, lines = refused(cable, tmp_path, interface="eth7")
    assert status == 2
    assert one_line(lines) == (
        "sipwatch: no such interface: eth7 (there are: lo, two, one, any)"
        if "two, one" in one_line(lines)
        else "sipwatch: no such interface: eth7 (there are: lo, one, two, any)"
    )


def test_a_port_in_use(cable: Namespace, tmp_path: Path) -> None:
    with cable.entered(), socket.create_server(("127.0.0.1", 9742)):
        status, lines = refused(cable, tmp_path)
    assert status == 2
    assert one_line(lines).startswith("sipwatch: 127.0.0.1:9742: is in use already")


@pytest.mark.parametrize(
    "name", ["invalid-unknown-key", "invalid-not-toml", "invalid-listen", "invalid-peer-network"]
)
def test_a_bad_configuration(cable: Namespace, tmp_path: Path, name: str) -> None:
    """The folder's files are all tried elsewhere; here, that the daemon says the same and ends."""
    text = (CONFIGS / f"{name}.toml").read_text()
    status, lines = refused(cable, tmp_path, text)
    assert status == 2
    line = one_line(lines)
    assert line.startswith(f"sipwatch: {tmp_path}/sipwatch.toml:")
    assert line.removeprefix(f"sipwatch: {tmp_path}/sipwatch.toml:").partition(":")[0].isdecimal()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--listen", "example:1"), "--listen: web.listen: expected an address and a port"),
        (("--listen", "192.0.2.7:9742"), "192.0.2.7:9742: is no address of this host"),
        (("--user", "nobody-at-all"), "--user nobody-at-all: no such user; make one: useradd"),
        (("--web-config", "/absent.yml"), "/absent.yml: No such file or directory"),
        (("--tunnel", "string"), "string"),
    ],
)
def test_flags_that_cannot_be(
    cable: Namespace, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    status, lines = refused(cable, tmp_path, "", *arguments)
    assert status == 2
    assert expected in one_line(lines)


def test_agents_are_not_shown_to_everybody(cable: Namespace, tmp_path: Path) -> None:
    agents = "[agents]\nmetrics = true\n"
    status, lines = refused(cable, tmp_path, agents, "--listen", "0.0.0.0:9742")
    assert status == 2
    assert "what each agent did to everybody who reaches 0.0.0.0:9742" in one_line(lines)
    arguments = ("--listen", "0.0.0.0:9742", "--agents-unprotected")
    with running(cable, tmp_path, agents, *arguments) as daemon:
        assert daemon.get().status == 200


def test_root_becomes_the_user_and_keeps_no_capability(cable: Namespace, tmp_path: Path) -> None:
    account = pwd.getpwnam("nobody")
    # pytest's folders are root's alone.
    place = TemporaryDirectory(prefix="sipwatch-")
    os.chmod(place.name, 0o711)
    records = Path(place.name) / "records"
    with running(cable, tmp_path, "", "--user", "nobody", records=records) as daemon:
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert set(fields["Uid"].split()) == {str(account.pw_uid)}
        assert set(fields["Gid"].split()) == {str(account.pw_gid)}
        assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
        assert fields["NoNewPrivs"] == "1"
        assert "all capabilities are given up" in daemon.log
        # The capture goes on, and so do the records, in a folder made for that user.
        with cable.sender("one") as sender:
            play(sender, frames_of([busy()], gap=0.01))
        daemon.wait_for(lambda found: total(found, "sipwatch_attempts_total") == 1)
        daemon.wait_settled()
        assert daemon.stop() == 0
    assert (records / "records.sqlite").owner() == "nobody"
    assert (records / "state.json").exists()
    place.cleanup()


def test_a_place_without_records_is_said_and_survived(cable: Namespace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with running(cable, tmp_path, "", records=tmp_path / "file" / "below") as daemon:
        found = daemon.wait_for(lambda found: found['sipwatch_records_errors_total{sink="sqlite"}'])
        assert found['sipwatch_records_writable{sink="sqlite"}'] == 0
        assert daemon.get("/-/ready").status == 200
        assert "records cannot be written" in daemon.log
        assert daemon.stop() == 0


def test_without_records_nothing_is_written(cable: Namespace, tmp_path: Path) -> None:
    with running(cable, tmp_path, "", "--no-records") as daemon:
        assert "sipwatch_records_written_total{" not in daemon.get().text
        assert daemon.stop() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "sipwatch.toml"]
