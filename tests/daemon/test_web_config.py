"""The web configuration: a folder of good files and bad ones, each with the line it must give."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from sipwatch.daemon.web_config import WebConfigError, load_web_config

FOLDER = Path(__file__).parent / "web-config"
INVALID = sorted(FOLDER.glob("invalid-*.yml"))


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid(path: Path) -> None:
    expected = path.with_suffix(".txt").read_text().strip()
    with pytest.raises(WebConfigError) as caught:
        load_web_config(str(path))
    assert str(caught.value).startswith(f"{path}{expected}")
    assert "\n" not in str(caught.value)


def test_there_are_invalid_ones() -> None:
    assert len(INVALID) > 15


def test_everything_that_the_toolkit_knows() -> None:
    config = load_web_config(str(FOLDER / "valid-everything.yml"))
    tls = config.tls
    assert tls is not None
    assert tls.files == tuple(str(FOLDER / name) for name in ("server.crt", "server.key", "ca.crt"))
    assert tls.client_auth is ssl.CERT_REQUIRED
    assert tls.client_allowed_sans == ("prometheus.example",)
    assert (tls.min_version, tls.max_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert tls.cipher_suites == ("ECDHE-RSA-AES128-GCM-SHA256",)
    assert tls.curve == "prime256v1"
    assert config.headers == {"Strict-Transport-Security": "max-age=31536000"}
    assert list(config.users) == ["prometheus"]
    assert config.asks_who


def test_an_empty_file_asks_nobody() -> None:
    config = load_web_config(str(FOLDER / "valid-empty.yml"))
    assert config.tls is None
    assert not config.asks_who


def test_users_alone() -> None:
    assert load_web_config(str(FOLDER / "valid-users-only.yml")).asks_who


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WebConfigError, match="No such file"):
        load_web_config(str(tmp_path / "absent.yml"))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_bytes(b"basic_auth_users:\n  \xff: x\n")
    with pytest.raises(WebConfigError, match="not UTF-8 at byte 20"):
        load_web_config(str(path))
