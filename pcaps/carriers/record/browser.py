"""A telephone in a real browser: JsSIP in headless Chromium, in the namespace of its party."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from urllib.parse import urlencode

from table import Party, Process

HERE = Path(__file__).resolve().parent
READY_SECONDS = 40.0

#: Nothing but what the page asks for may be on the wire.
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--disable-extensions", "--no-default-browser-check",
)  # fmt: skip

_PAGE = '<!doctype html><meta charset="utf-8"><title>phone</title><script src="phone.js"></script>'


def bundle(folder: Path) -> None:
    """Install JsSIP and a bundler from the npm registry and make a page of them in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "phone.js").exists():
        return
    (folder / "package.json").write_text('{"private": true}\n')
    packages = ["jssip@3", "esbuild@0"]
    _run(["npm", "install", "--no-audit", "--no-fund", *packages], folder)
    (folder / "browser.js").write_text((HERE / "browser.js").read_text())
    bundler = str(folder / "node_modules" / ".bin" / "esbuild")
    _run([bundler, "browser.js", "--bundle", "--format=iife", "--outfile=phone.js"], folder)
    (folder / "phone.html").write_text(_PAGE)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)


class BrowserPhone:
    """Chromium with the page, until `stop`."""

    def __init__(
        self, party: Party, scratch: Path, page: Path, order: dict[str, str], keylog: Path | None
    ) -> None:
        profile = scratch / "profile"
        command = ["chromium", *_QUIET, f"--user-data-dir={profile}", "--enable-logging=stderr"]
        command += ["--ignore-certificate-errors"]
        command.append(f"file://{page / 'phone.html'}#{urlencode(order)}")
        if keylog is not None:
            command = ["env", f"SSLKEYLOGFILE={keylog}", *command]
        self._process = Process(party, command, scratch, "chromium")

    def says(self, what: str, seconds: float = READY_SECONDS) -> None:
        """Wait until the page has said so on the console."""
        deadline = time.monotonic() + seconds
        needle = f"PHONE {what}"
        while needle not in self._process.log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the browser does not say {what!r}: {self._process.tail()}")
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.stop()
