"""What a container's health check says of daemons that are well, ill, guarded, or not there."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_web import USERS, serving
from web_client import certificates

from sipwatch.daemon import probe
from sipwatch.daemon.guard import Guard
from sipwatch.daemon.pages import Condition

TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
CERTIFIED = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"


def test_well() -> None:
    with serving() as port:
        assert probe.ailment("127.0.0.1", port) == ""


def test_ill() -> None:
    with serving(condition=Condition(alive_at=time.monotonic() - 60)) as port:
        assert probe.ailment("127.0.0.1", port).startswith("The capture stands still for 6")


@pytest.mark.parametrize(
    "web_config",
    [USERS, TLS, CERTIFIED, TLS + USERS],
    ids=["passwords", "tls", "certificates", "tls-passwords"],
)
def test_asks_who_reads(tmp_path: Path, web_config: str) -> None:
    certificates(tmp_path, "server")
    (tmp_path / "web.yml").write_text(web_config)
    with serving(Guard(str(tmp_path / "web.yml"))) as port:
        assert probe.ailment("127.0.0.1", port) == ""


def test_ill_behind_tls(tmp_path: Path) -> None:
    certificates(tmp_path, "server")
    (tmp_path / "web.yml").write_text(TLS)
    stuck = Condition(alive_at=time.monotonic() - 60)
    with serving(Guard(str(tmp_path / "web.yml")), condition=stuck) as port:
        assert probe.ailment("127.0.0.1", port).startswith("The capture stands still for 6")


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_not_there(nobody: int) -> None:
    assert probe.ailment("127.0.0.1", nobody).endswith("Connection refused")


def test_somebody_else_is_there_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_SECONDS", 0.1)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        assert "timed out" in probe.ailment("127.0.0.1", sock.getsockname()[1])


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])
def test_the_configuration_says_where_and_the_exit_status_how(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    listen: str,
    nobody: int,
) -> None:
    file = tmp_path / "sipwatch.toml"
    monkeypatch.setenv("SIPWATCH_CONFIG", str(file))
    with serving() as port:
        file.write_text(f'[web]\nlisten = "{listen}:{port}"\n')
        assert (probe.main(), capsys.readouterr().err) == (0, "")
    file.write_text(f'[web]\nlisten = "{listen}:{nobody}"\n')
    assert probe.main() == 1
    assert capsys.readouterr().err == f"127.0.0.1 port {nobody}: Connection refused\n"
    file.write_text("[web]\nlisten = 3\n")
    assert probe.main() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "web.listen" in line
