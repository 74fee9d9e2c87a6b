"""``sipwatch doctor``: what would not work on this host, and how to mend it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import click

from sipwatch.capture.filters import TUNNELS, FilterSettingError, settings
from sipwatch.capture.interfaces import ANY
from sipwatch.capture.ring import Geometry
from sipwatch.cli.failure import UsageFailure
from sipwatch.cli.options import config_option
from sipwatch.config import FILE_VARIABLE, Config, ConfigError, load
from sipwatch.daemon.errors import StartError
from sipwatch.daemon.privileges import Account, find_user
from sipwatch.doctor.configuration import usable, web
from sipwatch.doctor.examination import examine
from sipwatch.doctor.findings import Finding, Level, Plan, fail
from sipwatch.sinks.printable import printable

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
_CHECK_WIDTH = 22
_INDENT = 6


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What the command line says instead of the configuration; empty where it says nothing."""

    interfaces: tuple[str, ...]
    ports: tuple[str, ...]
    tunnels: tuple[str, ...]
    ring_mebibytes: int | None


@dataclass(frozen=True, slots=True)
class _Files:
    """What the daemon is going to read, and as whom."""

    config: str | None
    web_config: str | None
    account: Account | None


@click.command()
@click.option("-i", "--interface", multiple=True, metavar="IFACE", help="As for run. Repeatable.")
@click.option("--port", multiple=True, metavar="PORT[-PORT]", help="Instead of ports. Repeatable.")
@click.option(
    "--tunnel",
    multiple=True,
    metavar="NAME[:PORT]",
    help=f"Let through as well: {', '.join(TUNNELS)}. Repeatable.",
)
@click.option("--ring", type=click.IntRange(1, 4096), metavar="MIB", help="Memory of one ring.")
@config_option
@click.option("--web-config", metavar="FILE", help="Look at this one too; as for run.")
@click.option(
    "--user", metavar="NAME", help="Whom the daemon is going to be: what he may read and write."
)
@click.option(
    "--trial",
    type=click.FloatRange(0, 3600),
    default=0.0,
    metavar="SECONDS",
    help="Capture for so long and say what was heard.",
)
@click.option("--filter", "with_filter", is_flag=True, help="Print the filter's instructions.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)
def doctor(
    interface: tuple[str, ...],
    port: tuple[str, ...],
    tunnel: tuple[str, ...],
    ring: int | None,
    config_file: str | None,
    web_config: str | None,
    user: str | None,
    trial: float,
    with_filter: bool,
    form: str,
) -> None:
    """What would not work on this host, and how to mend it.

    Looks at privileges, interfaces, offloads, the capture ring and filter, the clock, tshark, and
    at what the daemon needs. The exit status is 1 when something does not work, else 0.
    """
    files = _Files(config_file, web_config, _account(user))
    findings = _findings(files, _Wishes(interface, port, tunnel, ring), trial)
    show = _show_json if form == "json" else _show_table
    taken = show(findings, with_filter)
    raise SystemExit(1 if any(finding.level is Level.FAIL for finding in taken) else 0)


def _account(name: str | None) -> Account | None:
    """The account of that name. Raises UsageFailure."""
    if name is None:
        return None
    try:
        account = find_user(name)
    except StartError as error:
        raise UsageFailure(str(error)) from None
    if os.geteuid() not in (0, account.pw_uid):
        raise UsageFailure(f"--user {name}: only root, or {name}, can tell what {name} may do")
    return account


def _findings(files: _Files, wishes: _Wishes, trial: float) -> Iterator[Finding]:
    """All findings, each as soon as it is there. Raises UsageFailure before the first."""
    config, path = Config(), files.config or os.environ.get(FILE_VARIABLE)
    try:
        config = load(path)
        first = [usable("configuration", (path,) if path else (), files.account)]
    except ConfigError as error:
        remedy = "correct it; what follows is about the defaults"
        first = [fail("configuration", str(error), remedy)]
    if files.web_config is not None:
        first.append(web(files.web_config, files.account))
    return chain(first, examine(replace(_plan(config, wishes), account=files.account), trial))


def _plan(config: Config, wishes: _Wishes) -> Plan:
    """What is going to be captured. Raises UsageFailure."""
    ports: Iterable[int | tuple[int, int]] = config.ports
    if wishes.ports:
        ports = [_port_range(text) for text in wishes.ports]
    try:
        wanted = settings(ports, wishes.tunnels)
    except FilterSettingError as error:
        raise UsageFailure(str(error)) from None
    blocks = Geometry()
    if wishes.ring_mebibytes is not None:
        count = max(2, (wishes.ring_mebibytes << 20) // blocks.block_bytes)
        blocks = Geometry(blocks.block_bytes, count, blocks.retire_milliseconds)
    return Plan(
        interfaces=wishes.interfaces or config.interfaces or (ANY,),
        filter=wanted,
        geometry=blocks,
        listen=config.web.listen,
        records=config.records.directory,
    )


def _port_range(text: str) -> tuple[int, int]:
    """``5060`` or ``5060-5090``. Raises UsageFailure."""
    low, dash, high = text.partition("-")
    if not (low.isdecimal() and (high.isdecimal() if dash else not high) and len(text) < 12):
        raise UsageFailure(f"--port: expected a port or a range such as 5060-5090, got {text!r}")
    return int(low), int(high if dash else low)


def _show_json(findings: Iterable[Finding], with_filter: bool) -> list[Finding]:
    taken = list(findings)
    click.echo(json.dumps([_record(finding) for finding in taken], indent=2))
    return taken


def _record(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "text": finding.text,
        "remedy": finding.remedy or None,
        "details": list(finding.details),
    }


def _show_table(findings: Iterable[Finding], with_filter: bool) -> list[Finding]:
    """Prints each finding as soon as it is there: a trial takes its time."""
    taken = []
    for finding in findings:
        taken.append(finding)
        level = click.style(f"{finding.level.value:4}", fg=_COLOURS[finding.level])
        click.echo(f"{level}  {printable(finding.check):{_CHECK_WIDTH}} {printable(finding.text)}")
        if finding.remedy:
            click.echo(f"{'':{_INDENT}}{'':{_CHECK_WIDTH}} mend: {printable(finding.remedy)}")
        if with_filter:
            for line in finding.details:
                click.echo(f"{'':{_INDENT}}{printable(line.expandtabs(4))}")
    if not with_filter and any(finding.details for finding in taken):
        click.echo("The instructions of the filter: sipwatch doctor --filter")
    return taken
