#!/usr/bin/env python3
"""Records the carriers again: real programs in network namespaces, one capture a scenario.

    sudo python3 pcaps/carriers/record/record.py [PATTERN...] [--list | --truth | --check]

Needs root, and Debian's sip-tester, kamailio with kamailio-tls-modules and
kamailio-websocket-modules, baresip-core, chromium, tcpdump, tshark, ethtool, iproute2, openssl, and
Node.js with npm for JsSIP and its bundler. A recording that does not hold what its definition says
fails and replaces nothing. Nothing leaves the namespaces.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import browser
import truth
from recordings import RECORDINGS
from table import HOSTS, Recording, Table, address

FOLDER = Path(__file__).resolve().parents[1]
_SECOND_OCTET = 60
_PACKAGES = {
    "SIPp": "sip-tester", "Kamailio": "kamailio", "baresip": "baresip-core",
    "Chromium": "chromium", "tcpdump": "tcpdump",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--truth", action="store_true", help="write the truth files again")
    parser.add_argument("--check", action="store_true", help="truth files against definitions")
    parser.add_argument("--page", type=Path, help="where JsSIP is, or is to be, bundled")
    options = parser.parse_args()
    chosen = [
        (number, one)
        for number, one in enumerate(RECORDINGS, 1)
        if any(fnmatch.fnmatch(one.name, pattern) for pattern in options.patterns)
    ]
    if options.list:
        print("\n".join(one.name for _, one in chosen))
        return 0
    if options.check:
        wrong = [line for number, one in chosen for line in _differences(one, number)]
        print("\n".join(wrong), file=sys.stderr)
        return 1 if wrong else 0
    if options.truth:
        for number, one in chosen:
            path = FOLDER / f"{one.name}.truth.json"
            path.write_text(truth.renewed(json.loads(path.read_text()), _told(one, number)))
        return 0
    failures = 0
    with tempfile.TemporaryDirectory(prefix="sipw-page-") as made:
        page = options.page or Path(made)
        if any("JsSIP" in one.tools for _, one in chosen):
            browser.bundle(page)
        for number, one in chosen:
            try:
                _record(one, (_SECOND_OCTET, number), page)
            except Exception as error:
                failures += 1
                print(f"{one.name}: {type(error).__name__}: {error}", file=sys.stderr)
            else:
                print(one.name)
    return 1 if failures else 0


def _record(recording: Recording, network: tuple[int, int], page: Path) -> None:
    with Table(recording, network, page) as table:
        recording.play(table)
        table.stop_capture()
        name = recording.name
        keylog = f"{name}.keys.log" if recording.keylog else None
        text = truth.content(table, _versions(recording.tools), f"{name}.pcap.gz", keylog)
        if keylog:
            (FOLDER / keylog).write_text(_needed_keys(table.keylog.read_text()))
        with gzip.GzipFile(FOLDER / f"{name}.pcap.gz", "wb", mtime=0) as packed:
            packed.write(table.capture_file.read_bytes())
        (FOLDER / f"{name}.truth.json").write_text(text)


def _differences(recording: Recording, number: int) -> list[str]:
    """Where the truth file of a recording is not what its definition says."""
    path = FOLDER / f"{recording.name}.truth.json"
    if not path.exists():
        return [f"{recording.name}: no truth file"]
    known = json.loads(path.read_text())
    told = _told(recording, number)
    found = truth.only_defined(known)
    return [f"{recording.name}: {key}" for key in told if told[key] != found.get(key)]


def _told(recording: Recording, number: int) -> dict[str, Any]:
    """What the definition says, with the addresses of the recording's own network."""
    network = (_SECOND_OCTET, number)
    return truth.defined(recording, {name: address(network, host) for name, host in HOSTS.items()})


def _needed_keys(text: str) -> str:
    """The key log without remarks."""
    return "".join(line + "\n" for line in text.splitlines() if line and line[0] != "#")


def _versions(tools: str) -> dict[str, str]:
    found = {}
    for tool in (*tools.split(", "), "tcpdump"):
        package = _PACKAGES.get(tool)
        if package is None:
            found[tool] = "3"
            continue
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True
        )
        found[tool] = done.stdout.strip()
    return found


if __name__ == "__main__":
    sys.exit(main())
