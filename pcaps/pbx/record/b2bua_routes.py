"""What stands in for the RADIUS client of Sippy's B2BUA: its dial plan and its accounting.

The B2BUA starts this program, writes a request to it (AUTH or ACCT, then a line for each
attribute, then an empty line) and reads the answer in the same form, its last line the result: 0
accepted, 1 rejected. `-f FILE` names the file that takes the accounting records, one JSON object
a line.

What numbers do: 3TTAA rings agent 1AA for TT seconds; 4TTAA gives up when nothing has rung after
TT seconds, 5TTAA when nothing at all was said; 6TTAA allows TT seconds of talking; 2201 to 2203
hunt; 0… goes out by the second carrier; 29… has no route. Callers from +49900 on are rejected.
"""

from __future__ import annotations

import json
import re
import sys

NETWORK = "10.30.0."
RING = 30  # seconds, where a number names none
HUNTING = {
    "2201": (("101", 6), ("102", 7), ("103", 8)),
    "2202": (("104", 5), ("105", 6)),
    "2203": (("106", 4), ("107", 4), ("106", 6)),
}
LIMITS = {"3": "expires", "4": "np_expires", "5": "nr_expires", "6": "credit-time"}
LINE = re.compile(r'^([\w-]+)="(.*)"$')


def phone(agent: str) -> str:
    return f"{agent}@{NETWORK}{int(agent) - 90}:5060"


def routes(called: str) -> list[str] | None:
    """The targets that are tried one after the other, None where there are none."""
    if called in HUNTING:
        return [f"{phone(agent)};expires={limit}" for agent, limit in HUNTING[called]]
    found = re.fullmatch(r"([3-6])(\d\d)(0[1-9]|1\d|20)", called)
    if found:
        kind, limit, agent = found.groups()
        more = "" if kind == "3" else f";expires={RING}"
        return [f"{phone('1' + agent)};{LIMITS[kind]}={int(limit)}{more}"]
    if called.startswith("0"):
        return [f"{called}@{NETWORK}51:5060;expires={RING}"]
    return [] if called.startswith("29") else None


def authorize(request: dict[str, str]) -> list[str]:
    """The answer to AUTH: the routes of the number called."""
    wanted = routes(request.get("Called-Station-Id", ""))
    if wanted is None or request.get("Calling-Station-Id", "").startswith("+49900"):
        return ["1"]
    return [*(f"h323-ivr-in = 'Routing:{route}'" for route in wanted), "0"]


def read_attributes(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        match = LINE.match(line)
        if match:
            name, value = match.groups()
            if name == "Cisco-AVPair":
                name, _, value = value.partition("=")
            found[name] = value.removeprefix(f"{name}=")
    return found


def main(log: str) -> None:
    lines: list[str] = []
    for line in sys.stdin:
        if line.strip():
            lines.append(line.strip())
            continue
        kind, attributes = lines[0], read_attributes(lines[1:])
        if kind == "AUTH":
            answer = authorize(attributes)
        else:
            with open(log, "a", encoding="utf-8") as file:
                file.write(json.dumps(attributes) + "\n")
            answer = ["0"]
        print(*answer, "", sep="\n", flush=True)
        lines.clear()


if __name__ == "__main__":
    main(sys.argv[sys.argv.index("-f") + 1])
