"""Ties the stages together: datagrams to messages, attempts, verdicts. Nobody else does.

`Pipeline` takes batches from any source and gives events whose attempts and calls carry their
verdicts. `Replay` is a pipeline over capture files.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from sipwatch.calls.settings import TrackerSettings
from sipwatch.calls.tracker import Tracker
from sipwatch.calls.types import (
    Attempt,
    AttemptEnded,
    AttemptOver,
    Call,
    ClosedBy,
    DialogEnded,
    Event,
)
from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.stats import CaptureStats
from sipwatch.config import CORRELATION_RULES, Config
from sipwatch.devices.watch import Devices
from sipwatch.net.types import Batch, Datagram, Unreachable
from sipwatch.outcomes.classifier import Classifier
from sipwatch.outcomes.dialect import Dialects
from sipwatch.outcomes.missed import MissedCalls
from sipwatch.outcomes.settings import RuleSettings
from sipwatch.sip.message import SPENT_NAMES, SipError, parse, parse_unless, status_of

#: Legs of an ended call are kept this long (seconds), for the pairing of others.
KEPT_SECONDS = 5.0
#: And not more of them than this.
KEPT_MOST = 15_000
#: Methods whose messages belong to INVITE dialogs; the others are only counted.
_DIALOG = frozenset(("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER"))
#: Those of the others that are met, which need not be parsed.
_OTHERS = frozenset(("OPTIONS", "REGISTER", "NOTIFY", "SUBSCRIBE", "PUBLISH", "MESSAGE"))


class Source(Protocol):
    """Where batches come from."""

    def batches(self) -> Iterator[Batch]:
        """Lists of datagrams, in order of time."""


class SipCounts:
    """What was seen of SIP, whatever became of it."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        #: (method, status) to number.
        self.responses: Counter[tuple[str, int]] = Counter()
        self.malformed: Counter[str] = Counter()

    @property
    def methods(self) -> Counter[str]:
        """Messages by method, requests and responses together."""
        found = Counter(self.requests)
        for (method, _), number in self.responses.items():
            found[method] += number
        return found


class Pipeline:
    """Batches in, events out. One for each host that is watched."""

    def __init__(self, config: Config, *, provisional: bool = False, sheds: bool = False) -> None:
        """With `sheds` attempts and calls are let go of as soon as the next batch comes.

        Who takes events must be done with them by then. Answers are the same either way.
        """
        self.config = config
        self._sheds = sheds
        self.sip = SipCounts()
        self.dialects = Dialects(config.dialects)
        self._provisional = provisional
        self.tracker = Tracker(self._tracker_settings())
        self.devices = Devices(frozenset(a.packed for a in config.local_addresses))
        self.registrations = self.devices.registrations
        #: Legs of ended calls whose events are being taken.
        self._taken: list[Attempt] = []
        #: Those whose events were taken, with the time of that end.
        self._ended: deque[tuple[float, Attempt]] = deque()
        #: A call that is over, for legs of which nothing but that is to be known.
        self._past: Call | None = None
        self.missed = MissedCalls(
            config.hours, config.callback, bool(config.local_networks), self._is_device
        )
        self.classifier = Classifier(
            rule_settings(config),
            self.dialects,
            self.devices,
            self.tracker.correlator,
            self.devices,
            self.missed,
        )

    def reconfigure(self, config: Config) -> None:
        """Judge by this configuration from now on; what is in progress stays."""
        if config.dialects != self.config.dialects:
            self.dialects = self.classifier.dialects = Dialects(config.dialects)
        self.config = config
        self.tracker.reconfigure(self._tracker_settings())
        self.devices.reconfigure(frozenset(a.packed for a in config.local_addresses))
        self.classifier.settings = rule_settings(config)
        self.missed.reconfigure(config.hours, config.callback, bool(config.local_networks))

    def _tracker_settings(self) -> TrackerSettings:
        config = self.config
        # What these headers say is asked of messages that are kept.
        asked = {rule.name.lower().encode() for rule in config.callback.headers}
        asked |= {name.lower().encode() for name in self.dialects.headers}
        return tracker_settings(config, self.dialects)._replace(
            provisional=self._provisional,
            sheds=self._sheds and asked.isdisjoint(SPENT_NAMES),
        )

    def feed(self, batch: Iterable[Datagram | Unreachable]) -> list[Event]:
        """Take one batch; what ended by it comes back judged."""
        tracker = self.tracker
        receive, wheel, pending = tracker.receive, tracker.wheel, tracker.events
        requests, responses = self.sip.requests, self.sip.responses
        batch = self.devices.begin(batch)
        heard, other = self.devices.heard, self.devices.receive
        done: list[Event] = []
        self._let_go()
        for item in batch:
            now = item.time
            if now >= wheel.next_due:
                self._pass(now, done)
            if isinstance(item, Unreachable):
                tracker.unreachable(item)
                continue
            heard[item.source] = now
            try:
                message = parse_unless(item.payload, _OTHERS)
            except SipError as error:
                self.sip.malformed[error.reason] += 1
                continue
            if isinstance(message, str):
                method, status = message, status_of(item.payload)
            else:
                method, status = message.method, message.status
            if status:
                responses[method, status] += 1
            else:
                requests[method] += 1
            if isinstance(message, str) or method not in _DIALOG:
                other(item, method, status)
                if method == "SUBSCRIBE" and not status:
                    self._subscribe(item)
                continue
            receive(item, message)
            if pending:
                self._judge(done)
        return done

    def advance(self, now: float) -> list[Event]:
        """Let time pass without traffic."""
        done: list[Event] = []
        self._pass(now, done)
        return done

    def lost(self, now: float) -> None:
        """The capture dropped packets: what rests on an absence cannot be vouched for."""
        self.tracker.lost(now)
        self.devices.lost(now)

    def finish(self, now: float, closed_by: ClosedBy) -> list[Event]:
        """Settle everything that is still open."""
        done: list[Event] = []
        self._pass(now, done)
        self.tracker.finish(now, closed_by)
        self._judge(done)
        return done

    def _pass(self, now: float, done: list[Event]) -> None:
        """Let time pass deadline by deadline, so that each verdict is made at its own time.

        Whether a quiet minute comes as one step or as many must not change an answer.
        """
        tracker = self.tracker
        while tracker.wheel.next_due <= now:
            tracker.advance(tracker.wheel.next_due)
            if tracker.events:
                self._judge(done)
        tracker.advance(now)

    def _judge(self, done: list[Event]) -> None:
        pending = self.tracker.events
        classifier = self.classifier
        for place, event in enumerate(pending):
            if isinstance(event, AttemptEnded):
                classifier.attempt(event.attempt, event.time)
            elif isinstance(event, DialogEnded):
                classifier.dialog(event.attempt)
            elif isinstance(event, AttemptOver):
                verdict = classifier.preview(event.attempt, event.time)
                pending[place] = event._replace(verdict=verdict)
                continue
            else:
                classifier.call(event.call, event.time)
                self._taken.extend(a for a in event.call.attempts if a.dialog_over)
                continue
            call = event.attempt.call
            # Its call was judged before it: a dead device's leg.
            if call is not None and call.verdict is not None and event.attempt.dialog_over:
                self._taken.append(event.attempt)
        done.extend(pending)
        pending.clear()

    def _subscribe(self, datagram: Datagram) -> None:
        """A SUBSCRIBE: whether its sender asks for the completion of a call."""
        if b"completion" in datagram.payload.lower():
            try:
                self.missed.subscribe(parse(datagram.payload), datagram.time)
            except SipError as error:
                self.sip.malformed[error.reason] += 1

    def _is_device(self, address: bytes) -> bool:
        """Whether an agent's device is at this address, as far as was seen."""
        return self.tracker.correlator.is_device(address) or self.devices.registers(address)

    def _let_go(self) -> None:
        """Untie the legs of ended calls, whose events have been taken.

        Attempts of one call point at each other; without this only the cycle collector could
        free them, and a replay would grow with the capture between its runs. Not before their
        time is over: until then other legs are compared with them.
        """
        now, ended = self.tracker.now, self._ended
        for attempt in self._taken:
            if self._sheds:
                attempt.shed()
                if attempt.is_alone and attempt.call is not None:
                    self._past = self._past or attempt.call
                    attempt.part(self._past)
                    continue
            ended.append((now, attempt))
        self._taken.clear()
        while ended and (ended[0][0] < now - KEPT_SECONDS or len(ended) > KEPT_MOST):
            ended.popleft()[1].untie()


class Replay:
    """Capture files through the pipeline. Raises `CaptureError` when nothing can be read."""

    def __init__(
        self, paths: Sequence[str], config: Config, *, source: CaptureFiles | None = None
    ) -> None:
        self.files = source if source is not None else CaptureFiles(paths)
        self.pipeline = Pipeline(config)

    def events(self) -> Iterator[list[Event]]:
        """What ended, batch by batch, judged; at the end what was still open."""
        for batch in self.files.batches():
            events = self.pipeline.feed(batch)
            if events:
                yield events
        last = self.files.stats().last_time
        now = max(self.pipeline.tracker.now, last if last is not None else 0.0)
        yield self.pipeline.finish(now, "end_of_capture")

    @property
    def stats(self) -> CaptureStats:
        """What was read of the files and what was lost."""
        return self.files.stats()

    def progress(self) -> tuple[int, int | None]:
        """Bytes read, and bytes in all where that is known."""
        return self.files.bytes_read, self.files.bytes_total


class Follow:
    """A capture that is still being written through the pipeline, with provisional verdicts."""

    def __init__(self, path: str, config: Config) -> None:
        from sipwatch.capture.following import FollowedFile

        self.source = FollowedFile(path)
        self.pipeline = Pipeline(config, provisional=True)

    def events(self) -> Iterator[list[Event]]:
        """What was over and what ended, as it happens; at the end what was still open."""
        for batch in self.source.batches():
            events = self.pipeline.feed(batch) if batch else []
            if not batch:
                events = self.pipeline.advance(self.source.now())
            if events:
                yield events
        yield self.pipeline.finish(self.pipeline.tracker.now, "end_of_capture")


# --- configuration to settings ------------------------------------------------------------------


def tracker_settings(config: Config, dialects: Dialects) -> TrackerSettings:
    """What the tracker is told of the configuration."""
    return TrackerSettings(
        local_addresses=frozenset(address.packed for address in config.local_addresses),
        local_networks=tuple(config.local_networks),
        peers=tuple(
            (name, network) for name, networks in config.peers.items() for network in networks
        ),
        correlation_headers=config.correlation.headers,
        is_pbx=dialects.is_pbx,
        correlation_rules=frozenset(CORRELATION_RULES) - set(config.correlation.disabled),
        max_attempts=config.tracker.max_entries,
        max_call_seconds=config.timers.max_call_seconds,
    )


def rule_settings(config: Config) -> RuleSettings:
    """What the rules are told of the configuration."""
    return RuleSettings(
        brief_abandon_seconds=config.timers.brief_abandon_seconds,
        no_answer_seconds=config.timers.no_answer_seconds,
        ring_timeouts_seconds=config.timers.ring_timeouts_seconds,
        rejection_codes=frozenset(config.rejection.codes),
        rejection_reason_texts=config.rejection.reason_texts,
        rejection_headers=config.rejection.headers,
        places_configured=bool(config.local_addresses or config.local_networks),
        networks_configured=bool(config.local_networks),
    )
