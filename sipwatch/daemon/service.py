"""Puts the daemon together: opens what needs privileges, gives them up, and runs the loop.

Order matters: sockets first, then another user and no capabilities, then threads (which would keep
the capabilities they began with), then packets.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address

from sipwatch.capture.hep import HepListener, listen_addresses
from sipwatch.capture.interfaces import ANY
from sipwatch.capture.live import LiveCapture, LiveCaptureError
from sipwatch.capture.live_sources import Beside, LiveSource, LiveSources
from sipwatch.capture.ring import Geometry
from sipwatch.capture.tshark_live import TsharkLive
from sipwatch.config import Config, ConfigError
from sipwatch.daemon import privileges
from sipwatch.daemon.errors import StartError
from sipwatch.daemon.guard import Guard
from sipwatch.daemon.logs import RateLimit
from sipwatch.daemon.loop import Loop
from sipwatch.daemon.mirror import mirror_of
from sipwatch.daemon.recorder import Recorder, outlets_of
from sipwatch.daemon.self_metrics import SelfReport
from sipwatch.daemon.signals import Wakeup
from sipwatch.daemon.state import State, StateKeeper, load_state
from sipwatch.daemon.web import WebServer, shown
from sipwatch.daemon.web_config import WebConfig, WebConfigError
from sipwatch.sinks.record import RecordStyle

_log = logging.getLogger(__name__)

#: The interpreter's turn of one thread, in seconds: a scrape must not wait for many long ones.
_SWITCH_SECONDS = 0.001
#: Young objects between two collections; attempts are many and mostly live on for a while.
_COLLECT_EVERY = 50_000


@dataclass(frozen=True, slots=True)
class Orders:
    """What the command line says beside the configuration."""

    #: Reads the configuration, at the start and for each reload. Raises ConfigError.
    load: Callable[[], Config]
    tunnels: tuple[str, ...] = ()
    promiscuous: bool = False
    ring_mebibytes: int | None = None
    web_config: str | None = None
    user: str | None = None
    keeps_records: bool = True
    #: Agents' series may be read by anybody who reaches the port.
    agents_unprotected: bool = False
    #: TLS key log, for tshark beside our own capture.
    keylog: str | None = None


def run(orders: Orders, limit: RateLimit) -> None:
    """Runs the daemon to its end. Raises StartError when it cannot begin."""
    with ExitStack() as stack:
        try:
            loop = _prepared(orders, limit, stack)
        except (ConfigError, WebConfigError, LiveCaptureError) as error:
            raise StartError(str(error)) from None
        loop.run()


def _prepared(orders: Orders, limit: RateLimit, stack: ExitStack) -> Loop:
    """A loop whose sockets are open and whose privileges are gone."""
    config = orders.load()
    account = None if orders.user is None else privileges.find_user(orders.user)
    exposure = _Exposure(config, orders.agents_unprotected)
    guard = Guard(orders.web_config, refuses=exposure.refusal)
    capture = _capture(config, orders)
    mirror = mirror_of(config)
    capture.open()
    stack.callback(capture.close)
    web = WebServer(
        config.web.listen, guard, lambda accept: loop.desk.ask(accept), lambda: loop.condition
    )
    stack.callback(web.server_close)
    wakeup = Wakeup()
    directory = config.records.directory
    keeper = StateKeeper(directory) if orders.keeps_records else None

    def reread() -> Config:
        again = orders.load()
        exposure.check(again, guard.access().config)
        return again

    recorder = Recorder(
        outlets_of(config.records) if orders.keeps_records else (), RecordStyle.of(config)
    )
    loop = Loop(
        config,
        capture,
        recorder,
        keeper,
        wakeup,
        report=SelfReport(
            reloaded_at=time.time(),
            web_is_current=lambda: guard.is_current,
            suppressed=lambda: limit.suppressed,
        ),
        reread=reread,
        tunnels=orders.tunnels,
        mirror=mirror,
    )
    _give_up_privileges(config, orders, account)
    _tune()
    if keeper is not None:
        loop.remember(_previous(directory))
        keeper.start()
    recorder.start()
    web.serve()
    stack.callback(web.shutdown)
    capture.start()
    _log.info("metrics at http%s://%s/metrics", "s" * guard.is_encrypted, shown(config.web.listen))
    return loop


def _capture(config: Config, orders: Orders) -> LiveSource:
    """The interfaces, and what is configured beside them; HEP alone needs no interface."""
    beside = _beside(config, orders)
    if config.hep.listen and not config.interfaces:
        return LiveSources(None, beside)
    capture = _interfaces(config, orders)
    return LiveSources(capture, beside) if beside else capture


def _beside(config: Config, orders: Orders) -> list[Beside]:
    """Raises StartError for what cannot be together."""
    beside: list[Beside] = []
    hep = config.hep
    if hep.listen:
        beside.append(
            HepListener(
                dict.fromkeys(one for text in hep.listen for one in listen_addresses(text)),
                auth_key=hep.auth_key.encode() or None,
                certificate=hep.certificate or None,
                private_key=hep.private_key or None,
                client_authority=hep.client_authority or None,
                max_skew_seconds=hep.max_skew_seconds,
            )
        )
    if orders.keylog is not None:
        if hep.listen and not config.interfaces:
            raise StartError("--keylog decrypts what interfaces hear: name one with --interface")
        if orders.user is not None:
            raise StartError(
                "--keylog and --user exclude each other: tshark would go on as root; start "
                "sipwatch as that user, with CAP_NET_RAW and CAP_NET_ADMIN as ambient capabilities"
            )
        interfaces = config.interfaces or (ANY,)
        beside.append(
            TsharkLive(interfaces, orders.keylog, ports=config.ports, encrypted_only=True)
        )
    return beside


def _interfaces(config: Config, orders: Orders) -> LiveCapture:
    geometry = Geometry()
    if orders.ring_mebibytes is not None:
        count = max(2, (orders.ring_mebibytes << 20) // geometry.block_bytes)
        geometry = Geometry(geometry.block_bytes, count, geometry.retire_milliseconds)
    return LiveCapture(
        config.interfaces or (ANY,),
        config.ports,
        tunnels=orders.tunnels,
        promiscuous=orders.promiscuous,
        geometry=geometry,
    )


class _Exposure:
    """Keeps what agents did from being shown to everybody, unless that is wanted."""

    def __init__(self, config: Config, is_wanted: bool) -> None:
        self._config = config
        self._is_wanted = is_wanted

    def refusal(self, web: WebConfig) -> str | None:
        """Why this web configuration must not be used; None when it may."""
        host = self._config.web.listen[0]
        if self._is_wanted or not self._config.agents.metrics or web.asks_who:
            return None
        if ip_address(host).is_loopback:
            return None
        return (
            f"agents.metrics would show what each agent did to everybody who reaches "
            f"{shown(self._config.web.listen)}: ask for passwords with --web-config, listen on "
            "127.0.0.1, or say --agents-unprotected"
        )

    def check(self, config: Config, web: WebConfig) -> None:
        """Takes another configuration into account. Raises ConfigError."""
        before, self._config = self._config, config
        refusal = self.refusal(web)
        if refusal is not None:
            self._config = before
            raise ConfigError(refusal)


def _give_up_privileges(config: Config, orders: Orders, account: privileges.Account | None) -> None:
    """What was built until now needs no file and no socket any more that only root may open."""
    if account is not None:
        if orders.keeps_records:
            privileges.give_directory(config.records.directory, account)
        privileges.become(account)
    if privileges.drop_capabilities():
        _log.info("all capabilities are given up: the sockets are open")
    else:
        _log.info("CAP_NET_RAW is kept: this unit's filter of system calls forbids capset(2)")
    if os.geteuid() == 0:
        _log.warning("runs as root, without capabilities; give an own user with --user")


def _previous(directory: str) -> State:
    """What the run before this one left, said where it matters."""
    previous = load_state(directory)
    if previous.saved_at and not previous.finished:
        _log.warning(
            "the run before this one ended without finishing: %d attempts and %d conversations "
            "were in progress, their outcomes are not known",
            previous.attempts,
            previous.dialogs,
        )
    return previous


def _tune() -> None:
    """What is loaded now stays, and threads take short turns."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    # Only young objects are looked through while packets come; the loop sees to the others.
    gc.set_threshold(_COLLECT_EVERY, 1_000_000, 1_000_000)
