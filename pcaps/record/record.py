"""Record the captures again: ``python3 pcaps/record/record.py [NAME ...]``.

Plays the scenarios with real programs in network namespaces of their own (root is needed), several
at a time, writes each capture and its truth file to ``pcaps/``, and leaves nothing behind. Names
may be shell patterns; ``--list`` prints them. After a verdict was changed in a definition,
``--truth`` is enough; ``--check`` and ``--index`` need no root either.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import generate
import index
import scenarios
import scenarios_written
import truth
from lab import HOSTS, Lab, Scenario
from network import address

TARGET = Path(__file__).resolve().parent.parent
VERSIONS = {
    "SIPp": ["dpkg-query", "-W", "-f", "${Version}", "sip-tester"],
    "Kamailio": ["dpkg-query", "-W", "-f", "${Version}", "kamailio"],
    "baresip": ["dpkg-query", "-W", "-f", "${Version}", "baresip-core"],
    "tcpdump": ["dpkg-query", "-W", "-f", "${Version}", "tcpdump"],
    "dumpcap": ["dpkg-query", "-W", "-f", "${Version}", "wireshark-common"],
}


def main() -> int:
    """Parse the command line, do the work; 1 when a scenario is not as defined."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="scenarios or patterns; all when none is given")
    parser.add_argument("-j", "--jobs", type=int, default=10, help="scenarios at a time")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="only print the names")
    instead.add_argument(
        "--truth", action="store_true", help="only write the truth files, from the old captures"
    )
    instead.add_argument(
        "--check", action="store_true", help="only compare the truth files with the definitions"
    )
    instead.add_argument("--index", action="store_true", help="only write the table of README.md")
    options = parser.parse_args()
    chosen = [s for s in scenarios.ALL if _wanted(s.name, options.names)]
    if not chosen:
        parser.error(f"no scenario is called {' '.join(options.names)}")
    if options.list:
        print("\n".join(s.name for s in chosen))
        return 0
    if options.index:
        index.write(TARGET)
        return 0
    if options.truth:
        return _all_of(chosen, options, _retell, "written")
    if options.check:
        return _all_of(chosen, options, _compare, "compared")
    if os.geteuid() != 0:
        parser.error("namespaces and captures need root")
    return _all_of(chosen, options, _record, "recorded")


def _all_of(
    chosen: list[Scenario],
    options: argparse.Namespace,
    work: Callable[[Scenario], None],
    done: str,
) -> int:
    def guarded(scenario: Scenario) -> bool:
        try:
            work(scenario)
        except Exception as error:
            print(f"FAILED {scenario.name}: {error}", file=sys.stderr)
            if options.verbose:
                traceback.print_exc()
            return False
        return True

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(guarded, chosen))
    failed = results.count(False)
    print(f"{len(results) - failed} {done}, {failed} failed")
    return 1 if failed else 0


def _wanted(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _record(scenario: Scenario) -> None:
    began = time.monotonic()
    if scenario.play is None:
        _write(scenario)
        return
    with Lab(scenario, scenarios.NETWORKS[scenario.name]) as lab:
        scenario.play(lab)
        lab.stop_capture()
        capture = lab.scratch / f"{scenario.name}.{scenario.view.suffix}"
        _pack(lab.capture_file, capture)
        tools = {name: _version(name) for name in _tools(scenario)}
        text = truth.content(scenario, _addresses(scenario), capture, tools)
        shutil.move(capture, TARGET / capture.name)
        _truth_file(scenario).write_text(text)
    print(f"{scenario.name}: {time.monotonic() - began:.1f} s", flush=True)


def _write(scenario: Scenario) -> None:
    """A capture of packets that the definition spells out."""
    assert scenario.packets is not None
    capture, addresses = TARGET / f"{scenario.name}.pcap", _addresses(scenario)
    generate.write(capture, scenario.packets(addresses))
    text = truth.content(scenario, addresses, capture, {"generate.py": "this repository"})
    _truth_file(scenario).write_text(text)


def _retell(scenario: Scenario) -> None:
    """Write the truth of a capture that is there."""
    file = _truth_file(scenario)
    tools = json.loads(file.read_text())["recorded_with"]
    capture = TARGET / f"{scenario.name}.{scenario.view.suffix}"
    file.write_text(truth.content(scenario, _addresses(scenario), capture, tools))


def _compare(scenario: Scenario) -> None:
    """Raise RuntimeError when the truth file says other than the definition."""
    file = _truth_file(scenario)
    known = truth.only_defined(json.loads(file.read_text()))
    told = truth.defined(scenario, _addresses(scenario))
    if known != json.loads(json.dumps(told)):
        raise RuntimeError(f"{file.name} is not what the definition says")


def _addresses(scenario: Scenario) -> dict[str, str]:
    network = scenarios.NETWORKS[scenario.name]
    known = {name: address(network, host, scenario.ipv6) for name, host in HOSTS.items()}
    return {**known, "outside": scenarios_written.OUTSIDE}


def _truth_file(scenario: Scenario) -> Path:
    return TARGET / f"{scenario.name}.truth.json"


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
