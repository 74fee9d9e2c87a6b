"""The unit as it stands in its file, and what deploy/install says when it cannot go on."""

from __future__ import annotations

import subprocess

from places import DEPLOY, program, run

UNIT = DEPLOY / "systemd" / "sipwatch.service"


def test_exposure_is_no_more_than_asked_for() -> None:
    """`systemd-analyze security`: 1.5 of 10 or better."""
    said = run(
        "systemd-analyze",
        *("security", "--offline=true", "--threshold=15", "--no-pager", str(UNIT)),
    )
    assert "Overall exposure level" in said


def test_allows_just_the_sockets_that_it_needs() -> None:
    families = [
        line.partition("=")[2].split()
        for line in UNIT.read_text().splitlines()
        if line.startswith("RestrictAddressFamilies=")
    ]
    assert families == [["AF_PACKET", "AF_NETLINK", "AF_INET", "AF_INET6", "AF_UNIX"]]


def test_install_says_what_is_missing() -> None:
    """Without a Python that will do, and without root."""
    script = str(DEPLOY / "install")
    old = subprocess.run(
        [script], capture_output=True, text=True, env={"PYTHON": "/usr/bin/false"}, check=False
    )
    assert old.returncode == 1
    assert "missing or older than 3.11" in old.stderr
    nobody = subprocess.run(
        [program("setpriv"), "--reuid=65534", "--clear-groups", "/bin/sh", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert nobody.returncode == 1
    assert "run as root" in nobody.stderr
