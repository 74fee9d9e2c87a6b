"""Writes rules/sipwatch-alerts.yml: thresholds from alerts/, runbooks from the guide of outcomes.

python deploy/prometheus/make_alerts.py           # write it
python deploy/prometheus/make_alerts.py --check   # exit 1 when the file is not what would be

Three severities, as alertmanager.yml routes them: `page` wakes somebody, `ticket` waits for
working hours, `trend` is for a weekly look. Technology pages; what people do is only ever a trend.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import yaml
from alerts.calls import people, technology
from alerts.capture import capture
from alerts.daemon import daemon
from alerts.devices import devices
from alerts.missed import missed
from alerts.model import Group, Text

from sipwatch.outcomes.guide import Guide, Texts

TARGET = Path(__file__).parent / "rules" / "sipwatch-alerts.yml"

HEADER = """\
# Written by make_alerts.py from alerts/ and the guide of outcomes; change those instead.
# Every alert is tested with promtool, just below and just above its threshold: tests/deploy.
"""


def groups(guide: Guide) -> Iterator[Group]:
    """All of them."""
    yield Group(
        "sipwatch-technology",
        "Technical outcomes page: by their share of enough attempts, or by their number.",
        tuple(technology(guide)),
    )
    yield Group(
        "sipwatch-devices",
        "Single devices, many devices, and what happens after the answer.",
        tuple(devices(guide)),
    )
    yield Group(
        "sipwatch-people",
        "People's outcomes: a day against the week before it. Nobody is woken for these.",
        (*people(guide), *missed()),
        interval="10m",
    )
    yield Group(
        "sipwatch-capture",
        "Whether the numbers can be trusted: an empty dashboard must say why it is empty.",
        tuple(capture()),
    )
    yield Group("sipwatch-itself", "The daemon and what it keeps.", tuple(daemon()))


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists are indented below their key."""
        super().increase_indent(flow, False)


_Dumper.add_representer(
    Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def text() -> str:
    """The whole file."""
    parts = [HEADER, "groups:"]
    for group in groups(Guide(Texts.load("en"))):
        data: dict[str, object] = {"name": group.name}
        if group.interval:
            data["interval"] = group.interval
        data["rules"] = [alert.rule() for alert in group.alerts]
        dumped = yaml.dump(
            [data], Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True
        )
        parts.append(indent(f"# {group.comment}\n{dumped}", "  "))
    return "\n".join(parts)


def main() -> int:
    """Writes the file, or compares it."""
    written = text()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == written:
            return 0
        print(f"{TARGET.name} is not up to date: python {Path(__file__).name}", file=sys.stderr)
        return 1
    TARGET.write_text(written, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
