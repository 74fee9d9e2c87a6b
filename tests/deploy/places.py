"""Where things are, and programs that must be there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
CAPTURES = REPOSITORY / "pcaps"


def program(name: str) -> str:
    """The path of a program; a test that needs it fails where it is not."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is not installed: deploy/test-packages installs what tests need")
    return found


def run(name: str, *arguments: str, seconds: float = 120) -> str:
    """What a program says; the test fails with it when the program does."""
    done = subprocess.run(
        [program(name), *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        pytest.fail(f"{name} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr
