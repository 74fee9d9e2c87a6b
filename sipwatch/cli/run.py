"""`sipwatch run`: the daemon, from live interfaces to metrics and records."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from sipwatch.capture.filters import TUNNELS
from sipwatch.cli.failure import UsageFailure
from sipwatch.cli.options import config_option
from sipwatch.config import Flag, load


@click.command()
@click.option(
    "-i",
    "--interface",
    multiple=True,
    metavar="IFACE",
    help="Where to listen; any is all of them, the default. Repeatable.",
)
@config_option
@click.option(
    "--listen", metavar="ADDR:PORT", help="Where to be scraped.  [default: 127.0.0.1:9742]"
)
@click.option(
    "--web-config",
    metavar="FILE",
    help="TLS and passwords, in the format of the Prometheus exporters.",
)
@click.option(
    "--tunnel",
    multiple=True,
    metavar="NAME[:PORT]",
    help=f"Look inside: {', '.join(TUNNELS)}. Repeatable.",
)
@click.option(
    "--hep",
    multiple=True,
    metavar="[udp:|tcp:|tls:]ADDR[:PORT]",
    help="Listen for HEP there, over UDP and TCP without a scheme; without --interface, for "
    "nothing else. Repeatable.",
)
@click.option(
    "--hep-auth-key",
    metavar="KEY",
    help="What agents must present, and the mirror's collector gets. Others on this host can see "
    "it here: better SIPWATCH_HEP_AUTH_KEY.",
)
@click.option(
    "--mirror",
    metavar="[udp:|tcp:]HOST[:PORT]",
    help="Send messages as they are, and outcome records, to this HEP collector.",
)
@click.option(
    "--keylog",
    metavar="FILE",
    help="TLS key log (SSLKEYLOGFILE), as it grows: what it decrypts is read through tshark.",
)
@click.option("--promiscuous", is_flag=True, help="Also packets to others, as on a mirror port.")
@click.option("--ring", type=click.IntRange(1, 4096), metavar="MIB", help="Memory of one ring.")
@click.option("--user", metavar="NAME", help="Started as root, become this user.")
@click.option("--records/--no-records", default=True, help="Keep a record of each call.")
@click.option(
    "--agents-unprotected",
    is_flag=True,
    help="Show agents' series on a public address without asking who reads.",
)
@click.option(
    "--log-format",
    type=click.Choice(["logfmt", "json"]),
    default="logfmt",
    show_default=True,
    help="Lines on standard error.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least that is worth a line.",
)
def run(
    interface: tuple[str, ...],
    config_file: str | None,
    listen: str | None,
    web_config: str | None,
    tunnel: tuple[str, ...],
    hep: tuple[str, ...],
    hep_auth_key: str | None,
    mirror: str | None,
    keylog: str | None,
    promiscuous: bool,
    ring: int | None,
    user: str | None,
    records: bool,
    agents_unprotected: bool,
    log_format: Any,
    log_level: str,
) -> None:
    """Watch live interfaces; serve metrics and keep records.

    Needs CAP_NET_RAW to begin and nothing afterwards. SIGHUP reads the configuration again.
    """
    from sipwatch.daemon.errors import StartError
    from sipwatch.daemon.logs import set_up
    from sipwatch.daemon.service import Orders
    from sipwatch.daemon.service import run as run_daemon

    flags: dict[str, Flag] = {}
    if interface:
        flags["interfaces"] = Flag("--interface", list(interface))
    if listen is not None:
        flags["web.listen"] = Flag("--listen", listen)
    if hep:
        flags["hep.listen"] = Flag("--hep", list(hep))
    if hep_auth_key is not None:
        flags["hep.auth_key"] = Flag("--hep-auth-key", hep_auth_key)
    if mirror is not None:
        flags["hep.mirror"] = Flag("--mirror", mirror)
    environment = dict(os.environ)
    _load_all()
    orders = Orders(
        load=lambda: load(config_file, environment, flags),
        tunnels=tunnel,
        promiscuous=promiscuous,
        ring_mebibytes=ring,
        web_config=web_config,
        user=user,
        keeps_records=records,
        agents_unprotected=agents_unprotected,
        keylog=keylog,
    )
    try:
        run_daemon(orders, set_up(log_format, log_level))
    except StartError as error:
        raise UsageFailure(str(error)) from None
    _leave()


def _load_all() -> None:
    """Load what only some packets need: the files may be others once an upgrade has begun."""
    from sipwatch.net import fragments, hep, sctp, tcp  # noqa: F401


def _leave() -> NoReturn:
    """Ends at once: all is written, and to free every object one by one takes seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
