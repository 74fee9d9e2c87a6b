"""The capture loop: packets in, calls followed, and everything else in between.

One thread. Batches are taken in small pieces, so that a scrape, a signal or a sign of life to
systemd never waits for long; nothing here waits for a disk, a lock or the network.
"""

from __future__ import annotations

import gc
import logging
import select
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from prometheus_client import CollectorRegistry, ProcessCollector

from sipwatch.calls.types import ClosedBy, Event
from sipwatch.capture.live import CaptureEvent, LiveCaptureError, LiveStats
from sipwatch.capture.live_sources import LiveSource
from sipwatch.config import Config, ConfigError
from sipwatch.daemon.addresses import host_addresses
from sipwatch.daemon.desk import Desk
from sipwatch.daemon.mirror import Mirror
from sipwatch.daemon.notify import Systemd
from sipwatch.daemon.pages import Condition
from sipwatch.daemon.recorder import Recorder
from sipwatch.daemon.reload import waits_for_restart, with_addresses
from sipwatch.daemon.self_metrics import SelfReport
from sipwatch.daemon.signals import Wakeup
from sipwatch.daemon.snapshot import Sources, snapshot
from sipwatch.daemon.state import State, StateKeeper
from sipwatch.daemon.watch import HARMLESS, PROBLEMS, Seen, Watch
from sipwatch.net.types import Batch, Datagram
from sipwatch.pipeline import Pipeline
from sipwatch.sinks.metrics import CallMetrics, Reading, SnapshotCollector, exposition
from sipwatch.sinks.metrics.messages import bound_messages
from sipwatch.sinks.privacy import Numbers

_log = logging.getLogger(__name__)

#: Messages that are followed in one go.
_PIECE = 64
#: Longest wait for a packet: timers of calls are looked at that often.
_TICK_SECONDS = 0.1
_LOOK_EVERY = 0.25
_STATE_EVERY = 10.0
#: Seconds between two collections of garbage, when few calls are open and at the latest.
_SWEEP_QUIET, _SWEEP_ANYHOW = 60.0, 600.0
#: Open attempts that are few: a collection looks at each, and nobody is served meanwhile. It takes
#: 10 ms for these and 100 ms for 10,000.
_FEW_ATTEMPTS = 1_000
#: Datagrams of a batch that are asked whether they are this host's.
_SAMPLE = 16
#: Seconds for the last packets to come, longer than a block of the ring may be held back.
_LAST_SECONDS = 0.1
#: Seconds for the last records to be written.
_FLUSH_SECONDS = 1.2
#: Interface events that are bad news.
_BAD_EVENTS = frozenset(("down", "gone", "failed", "smaller-ring"))


class Loop:
    """Follows the calls of one capture until it is told to stop."""

    def __init__(
        self,
        config: Config,
        capture: LiveSource,
        recorder: Recorder,
        keeper: StateKeeper | None,
        wakeup: Wakeup,
        *,
        report: SelfReport,
        reread: Callable[[], Config],
        tunnels: tuple[str, ...] = (),
        mirror: Mirror | None = None,
    ) -> None:
        """`reread` gives the configuration anew, or raises ConfigError."""
        self._config = config
        #: Some of it holds until the end, whatever is read later.
        self._begun_with = config
        self._capture = capture
        self._recorder = recorder
        self._keeper = keeper
        self._wakeup = wakeup
        self._report = report
        self._reread = reread
        self._tunnels = tunnels
        self._mirror = mirror
        self.pipeline = Pipeline(config, sheds=True)
        self._metrics = CallMetrics(config, Numbers(config.privacy).user)
        self._systemd = Systemd()
        self._watch = Watch(time.monotonic())
        self.desk = Desk(wakeup.wake)
        self.condition = Condition()
        self._registry = CollectorRegistry()
        self._registry.register(SnapshotCollector(self._readings))
        ProcessCollector(registry=self._registry)
        #: Addresses that the host has, until it is known that the traffic is its own.
        self._own = frozenset() if config.local_addresses else host_addresses()
        self._events: Counter[str] = Counter()
        self._stats: LiveStats = capture.stats()
        self._lag = 0.0
        self._look_at = self._state_at = 0.0
        self._sweep_at = time.monotonic()
        self._epoll = select.epoll()
        self._epoll.register(capture.fileno(), select.EPOLLIN)
        self._epoll.register(wakeup.fileno(), select.EPOLLIN)

    def remember(self, previous: State) -> None:
        """Takes up what the run before has learned."""
        self._report.previous = previous
        self.pipeline.classifier.timers.restore(previous.ring_timers)

    def run(self) -> None:
        """Runs until SIGTERM or SIGINT, then settles and writes what is open."""
        self._look(time.monotonic())
        self._systemd.ready(self._status())
        _log.info("watching %s", ", ".join(i.name for i in self._stats.interfaces))
        while not self._wakeup.stop:
            batch = self._next()
            if batch:
                self._take(batch)
            else:
                self._lag = 0.0
            self._done(self.pipeline.advance(self._capture.now()))
            self._attend(time.monotonic())
        self._finish()

    # --- packets --------------------------------------------------------------------------------

    def _next(self) -> Batch:
        """What has come; an empty batch when nothing did for a moment, or somebody asks."""
        batch = self._capture.poll(0.0)
        if batch or self.desk.wanted:
            return batch
        for descriptor, _ in self._epoll.poll(_TICK_SECONDS):
            if descriptor == self._wakeup.fileno():
                self._wakeup.clear()
        return self._capture.poll(0.0)

    def _take(self, batch: Batch) -> None:
        if self._own and _is_of(batch, self._own):
            self._settle_in()
        for start in range(0, len(batch), _PIECE):
            self._follow(batch[start : start + _PIECE])
            if self.desk.wanted:
                self.desk.serve(self._page)
        self._lag = max(0.0, time.time() + self._stats.clock_shift - batch[0].time)

    def _follow(self, piece: Batch) -> None:
        """Feeds some messages. A fault of ours must cost a few messages, not the whole watch."""
        if self._mirror is not None:
            self._mirror.follow(piece)
        try:
            self._done(self.pipeline.feed(piece))
        except Exception:
            self._report.faults += 1
            _log.exception("a fault of sipwatch: %d messages are left out", len(piece))

    def _done(self, events: list[Event]) -> None:
        if events:
            self._metrics.take(events)
            self._recorder.take(events)
            if self._mirror is not None:
                self._mirror.take(events)

    def _settle_in(self) -> None:
        """The traffic is that of this host: its addresses say which side of it a call is on."""
        config = with_addresses(self._config, self._own)
        self._own = frozenset()
        self.pipeline.reconfigure(config)
        addresses = ", ".join(map(str, config.local_addresses))
        _log.info("the traffic is of this host (%s)", addresses)

    # --- in between -----------------------------------------------------------------------------

    def _attend(self, now: float) -> None:
        """Whatever is not a packet; `now` is of the monotonic clock."""
        self._systemd.alive(now)
        if self.desk.wanted:
            self.desk.serve(self._page)
        if self._wakeup.reload:
            self._wakeup.reload = False
            self._reload()
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            self._look(now)

    def _look(self, now: float) -> None:
        if self._mirror is not None:
            self._mirror.flush()
        stats, before = self._capture.stats(), self._stats
        self._stats = stats
        if stats.drops > before.drops:
            self.pipeline.lost(self._capture.now())
        for event in self._capture.events():
            self._tell(event)
        if stats.clock_shift and not self.pipeline.tracker.entries()["attempts"]:
            self._capture.settle_clock()
        if self._watch.is_due(now):
            bound_messages(self.pipeline)
            self._watch_over(now)
            self.condition = self._condition(now)
        self._sweep(now)
        if now >= self._state_at and self._keeper is not None:
            self._state_at = now + _STATE_EVERY
            self._keeper.keep(self._state(finished=False))

    def _sweep(self, now: float) -> None:
        """Frees what only points to itself: in a quiet moment, or when there was none for long.

        Nearly all is freed without it, see `Pipeline`; a busy host does not wait for the rest.
        """
        quiet = not self._lag and self.pipeline.tracker.open_attempts < _FEW_ATTEMPTS
        if now >= self._sweep_at + (_SWEEP_QUIET if quiet else _SWEEP_ANYHOW):
            self._sweep_at = now
            gc.collect()

    def _tell(self, event: CaptureEvent) -> None:
        self._events[event.kind] += 1
        level = logging.WARNING if event.kind in _BAD_EVENTS else logging.INFO
        where = f"{event.interface}: " if event.interface else ""
        _log.log(level, "%s%s", where, event.text)

    def _watch_over(self, now: float) -> None:
        seen = Seen.of(
            self._stats,
            messages=self._messages(),
            tls_packets=sum(self._capture.decoder.counts.tls.values()),
            records_lost=sum(outlet.lost for outlet in self._recorder.outlets),
            lag=self._lag,
            faults=self._report.faults,
        )
        changes = self._watch.look(now, seen)
        for kind, began in changes:
            if not began:
                _log.info("over: %s", kind.replace("_", " "))
            elif kind in HARMLESS:
                _log.info("%s", PROBLEMS[kind])
            else:
                _log.warning("%s", PROBLEMS[kind])
        if changes:
            self._systemd.status(self._status())

    def _messages(self) -> int:
        sip = self.pipeline.sip
        return sip.requests.total() + sip.responses.total()

    def _condition(self, now: float) -> Condition:
        active = self._watch.active
        return Condition(
            not_ready="",
            alive_at=now,
            interfaces={each.name: each.state for each in self._stats.interfaces},
            in_progress=self.pipeline.tracker.in_progress,
            dialogs=self.pipeline.tracker.dialogs_active,
            problems={kind: PROBLEMS[kind] for kind, holds in active.items() if holds},
        )

    def _status(self) -> str:
        problems = [kind.replace("_", " ") for kind, holds in self._watch.active.items() if holds]
        names = ", ".join(each.name for each in self._stats.interfaces)
        return f"watching {names}" + (f"; {', '.join(problems)}" if problems else "")

    def _state(self, *, finished: bool) -> State:
        tracker = self.pipeline.tracker
        return State(
            time.time(),
            tracker.in_progress,
            tracker.dialogs_active,
            finished,
            self.pipeline.classifier.timers.state(),
        )

    # --- the configuration ------------------------------------------------------------------------

    def _reload(self) -> None:
        self._systemd.reloading()
        try:
            config = self._reread()
            if (config.ports, self._tunnels) != (self._config.ports, self._tunnels):
                self._capture.set_filter(config.ports, self._tunnels)
        except (ConfigError, LiveCaptureError) as error:
            self._report.reloaded = False
            _log.error("the configuration stays as it was: %s", error)
        else:
            self._adopt(config)
        self._systemd.ready(self._status())

    def _adopt(self, config: Config) -> None:
        waiting = waits_for_restart(self._begun_with, config)
        self._config = config
        self._own = frozenset() if config.local_addresses else host_addresses()
        was = self.pipeline.config.local_addresses
        if not config.local_addresses and self._own.issuperset(a.packed for a in was) and was:
            config = with_addresses(config, self._own)
            self._own = frozenset()
        self.pipeline.reconfigure(config)
        self._metrics.reconfigure(config, Numbers(config.privacy).user)
        self._recorder.reconfigure(config)
        if self._mirror is not None:
            self._mirror.reconfigure(config)
        self._report.reloaded = True
        self._report.reloaded_at = time.time()
        _log.info("the configuration was read again")
        if waiting:
            _log.warning("takes effect with a restart only: %s", ", ".join(waiting))

    # --- what is shown ----------------------------------------------------------------------------

    def _page(self, accept: str) -> tuple[str, bytes]:
        return exposition(self._registry.collect(), accept)

    def _readings(self) -> list[Reading]:
        """All metrics at this moment."""
        return snapshot(
            Sources(
                calls=self._metrics,
                pipeline=self.pipeline,
                stats=self._capture.stats(),
                net=self._capture.decoder.counts,
                events=self._events,
                now=self._capture.now(),
                lag=self._lag,
                problems=self._watch.active,
                report=self._report,
                outlets=self._recorder.outlets,
                mirror=None if self._mirror is None else self._mirror.stats,
            )
        )

    # --- the end ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        """What is ready in the rings is still followed; what is open then is settled and kept."""
        self._systemd.stopping()
        self.desk.close()
        with suppress(OSError, LiveCaptureError):
            # What was heard lately is handed over by the kernel a moment later.
            until = time.monotonic() + _LAST_SECONDS
            while (left := until - time.monotonic()) > 0:
                self._follow(self._capture.poll(left))
            self._follow(self._capture.drain())
            self._follow(self._capture.decoder.finish())
        state = self._state(finished=True)
        closed_by: ClosedBy = "shutdown"
        now = max(self._capture.now(), self.pipeline.tracker.now)
        self._done(self.pipeline.finish(now, closed_by))
        if self._mirror is not None:
            self._mirror.close()
        if self._keeper is not None:
            self._keeper.keep(state)
            self._keeper.stop(_FLUSH_SECONDS / 2)
        left = self._recorder.stop(_FLUSH_SECONDS)
        if left:
            _log.error("%d records could not be written before the end", left)
        _log.info("stopped; %d attempts were in progress", state.attempts)


def _is_of(batch: Batch, addresses: frozenset[bytes]) -> bool:
    """Whether one of the first datagrams comes from or goes to one of the addresses."""
    return any(
        item.source[0] in addresses or item.destination[0] in addresses
        for item in batch[:_SAMPLE]
        if isinstance(item, Datagram)
    )
