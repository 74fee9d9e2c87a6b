"""Record the captures again: ``python3 pcaps/record/record.py [NAME ...]``.

Plays the scenarios with real programs in network namespaces of their own (root is needed), several
at a time, writes each capture and its truth file to ``pcaps/``, and leaves nothing behind. Names
may be shell patterns; ``--list`` prints them.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import os
import shutil
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import scenarios
import truth
from lab import Lab, Scenario

TARGET = Path(__file__).resolve().parent.parent
VERSIONS = {
    "SIPp": ["dpkg-query", "-W", "-f", "${Version}", "sip-tester"],
    "Kamailio": ["dpkg-query", "-W", "-f", "${Version}", "kamailio"],
    "baresip": ["dpkg-query", "-W", "-f", "${Version}", "baresip-core"],
    "tcpdump": ["dpkg-query", "-W", "-f", "${Version}", "tcpdump"],
    "dumpcap": ["dpkg-query", "-W", "-f", "${Version}", "wireshark-common"],
}


def main() -> int:
    """Parse the command line, record, report; 1 when a scenario did not come out as defined."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="scenarios or patterns; all when none is given")
    parser.add_argument("-j", "--jobs", type=int, default=10, help="scenarios at a time")
    parser.add_argument("-l", "--list", action="store_true", help="print the names and end")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    options = parser.parse_args()
    chosen = [s for s in scenarios.ALL if _wanted(s.name, options.names)]
    if options.list:
        print("\n".join(s.name for s in chosen))
        return 0
    if not chosen:
        parser.error(f"no scenario is called {' '.join(options.names)}")
    if os.geteuid() != 0:
        parser.error("namespaces and captures need root")
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda s: _record(s, options.verbose), chosen))
    failed = results.count(False)
    print(f"{len(results) - failed} recorded, {failed} failed")
    return 1 if failed else 0


def _wanted(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _record(scenario: Scenario, verbose: bool) -> bool:
    began = time.monotonic()
    try:
        with Lab(scenario, scenarios.NETWORKS[scenario.name]) as lab:
            scenario.play(lab)
            lab.stop_capture()
            capture = lab.scratch / f"{scenario.name}.{scenario.view.suffix}"
            _pack(lab.capture_file, capture)
            tools = {name: _version(name) for name in _tools(scenario)}
            written = truth.write(scenario, lab, capture, tools)
            for path in (capture, written):
                shutil.move(path, TARGET / path.name)
    except Exception as error:
        print(f"FAILED {scenario.name}: {error}", file=sys.stderr)
        if verbose:
            traceback.print_exc()
        return False
    print(f"{scenario.name}: {time.monotonic() - began:.1f} s", flush=True)
    return True


def _pack(source: Path, target: Path) -> None:
    if target.suffix == ".gz":
        with gzip.open(target, "wb") as packed:
            packed.write(source.read_bytes())
    else:
        shutil.copyfile(source, target)


def _tools(scenario: Scenario) -> list[str]:
    recorder = "dumpcap" if scenario.view.suffix == "pcapng" else "tcpdump"
    return [*scenario.tools.split("+"), recorder]


def _version(name: str) -> str:
    return subprocess.run(VERSIONS[name], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
