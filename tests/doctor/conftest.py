"""Namespaces, as the capture tests make them, and the command line inside of one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

sys.path += [str(Path(__file__).parents[1] / part) for part in ("capture", "daemon")]

from network_namespace import Namespace, cable, namespace, other

from sipwatch.cli.doctor import doctor

__all__ = ["cable", "examined", "namespace", "other"]


class Examined(NamedTuple):
    """What the command found, by what was looked at, and its exit status."""

    findings: dict[str, dict[str, Any]]
    status: int

    def level(self, check: str) -> str:
        return self.findings[check]["level"]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Examined]:
    """Runs ``sipwatch doctor`` in a namespace and reads its JSON."""
    monkeypatch.delenv("SIPWATCH_CONFIG", raising=False)

    def run(inside: Namespace, *arguments: str) -> Examined:
        with inside.entered():
            result = CliRunner().invoke(doctor, [*arguments, "--format", "json"])
        assert result.exit_code in (0, 1), result.output
        findings = json.loads(result.stdout)
        return Examined({finding["check"]: finding for finding in findings}, result.exit_code)

    return run


@pytest.fixture
def without_privileges() -> Callable[..., Examined]:
    """The same by a process without any capability."""

    def run(inside: Namespace, *arguments: str) -> Examined:
        with inside.entered():
            done = subprocess.run(
                [
                    *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
                    *(sys.executable, "-m", "sipwatch", "doctor"),
                    *(*arguments, "--format", "json"),
                ],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                cwd=Path(__file__).parents[2],
            )
        assert done.returncode in (0, 1), done.stderr
        assert done.stdout, done.stderr
        findings = json.loads(done.stdout)
        return Examined({finding["check"]: finding for finding in findings}, done.returncode)

    return run
