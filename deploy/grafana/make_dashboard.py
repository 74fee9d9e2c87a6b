"""Writes sipwatch.json, the Grafana dashboard, with the grafana-foundation-sdk.

python deploy/grafana/make_dashboard.py           # write it
python deploy/grafana/make_dashboard.py --check   # exit 1 when the file is not what would be

Grafana 11 and newer take it, by provisioning or by Dashboards > New > Import.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from panels import agents, calls, delays, devices, health, measures, missed
from panels.kit import SOURCE

TARGET = Path(__file__).with_name("sipwatch.json")

ROWS = (
    calls.overview,
    calls.outcomes,
    measures.measures,
    measures.peers,
    missed.missed,
    agents.agents,
    delays.delays,
    devices.devices,
    devices.messages,
    health.capture,
    health.itself,
)


def build() -> model.Dashboard:
    """The whole dashboard."""
    made = (
        dashboard.Dashboard("sipwatch")
        .uid("sipwatch")
        .description("Why SIP calls fail: outcomes, people against technology, capture health.")
        .tags(["sip", "voip", "sipwatch"])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .editable()
        .variables(_variables())
        .annotation(_alerts())
    )
    for make in ROWS:
        heading, panels = make()
        made = made.with_row(heading)
        for panel in panels:
            made = made.with_panel(panel)
    done = made.build()
    for number, panel in enumerate(done.panels or (), 1):
        panel.id_val = number
    return done


def _variables() -> list[Any]:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    chosen = 'job=~"$job", instance=~"$instance"'
    return [
        source,
        _labels("job", "Job", "sipwatch_build_info", "job"),
        _labels("instance", "Host", 'sipwatch_build_info{job=~"$job"}', "instance"),
        _labels("direction", "Direction", f"sipwatch_attempts_total{{{chosen}}}", "direction"),
        _labels("peer", "Peer", f"sipwatch_attempts_total{{{chosen}}}", "peer"),
        _labels("agent", "Agent", f"sipwatch_agent_attempts_total{{{chosen}}}", "agent"),
    ]


def _labels(name: str, label: str, series: str, of: str) -> Any:
    """A variable with the values of a label; all of them at first."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({series}, {of})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _alerts() -> Any:
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .expr('ALERTS{alertname=~"Sipwatch.+", alertstate="firing", severity!="trend"}')
    )


def text() -> str:
    """The file's text."""
    return json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


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
