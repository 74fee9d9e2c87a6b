"""Follows every INVITE transaction from the first INVITE to the end of its dialog.

Sans-I/O: `receive` takes one message with the packet that brought it, `advance` takes a time;
both leave events in `events`. Time comes only from the packets and from `advance`, so a capture
gives the same answer replayed and live.

The states of an attempt, and what moves it on:

    calling --1xx--> proceeding --final--> completed --ACK or timer--> terminal --> settled
       |                 |                                                ^
       +-- 64*T1 --------+-- Timer C, CANCEL + 64*T1 ---------------------+

An answered attempt lives on after it was settled, until BYE or its session timer ends the dialog.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from sipwatch.calls.correlate import Correlator
from sipwatch.calls.quoting import quoted
from sipwatch.calls.recent import Recent
from sipwatch.calls.settings import TrackerSettings
from sipwatch.calls.types import (
    TIMEOUT_SECONDS,
    TIMER_C_SECONDS,
    TIMER_D_SECONDS,
    Attempt,
    AttemptEnded,
    AttemptOver,
    ClosedBy,
    DialogEnded,
    Endpoint,
    Event,
    Packet,
    Report,
    Side,
)
from sipwatch.calls.wheel import Wheel
from sipwatch.sip.message import Message

#: Two sightings of one message closer than this are copies: a sender waits T1 (17.1.1.2).
COPY_SECONDS = 0.02
#: An answer that is never acknowledged is retransmitted for 64*T1; the last comes at 31.5 s.
NO_ACK_SECONDS = TIMEOUT_SECONDS + 1.0
#: How long simultaneous ends of other legs are waited for before a verdict is final.
GRACE_SECONDS = 1.2
#: A caller's leg waits a little longer, so that its agents' legs are settled first.
CALLER_GRACE_SECONDS = 1.6
#: How long a retry may take: a person may have to type the password for a challenge.
CHALLENGE_SECONDS = 32.0
RETRY_SECONDS = 5.0
#: A dialog whose session timer passed is given this much more (RFC 4028 section 10).
SESSION_GRACE_SECONDS = 60.0
#: Legs that live at once under one Call-ID; the oldest goes first beyond it. No proxy forks so
#: wide, and each message is compared with them all.
MOST_LEGS = 128
#: A response may be seen this long before its INVITE.
OVERTAKEN_SECONDS = 0.1
#: How often what has ended is looked through.
PRUNE_SECONDS = 5.0

#: Finals after which the same sender tries again by itself (8.1.3.4, 8.1.3.5, RFC 4028 6).
_CHALLENGES = frozenset((401, 407))
_RETRIED = frozenset((401, 407, 420, 421, 422, 491, 494)) | frozenset(range(300, 400))
#: Session-Expires of a 2xx, in its long and its compact form (RFC 4028 section 4).
_SESSION_EXPIRES = re.compile(rb"(?i)\n(?:session-expires|x)[ \t]*:[ \t]*([0-9]{1,9})")
_REPLACES_PARAM = re.compile(rb"(?i)[?&]replaces=([^&>]*)")


class Tracker:
    """Messages in, attempts and calls out.

    `events` collects `AttemptEnded`, `DialogEnded` and `CallEnded` in their order; the caller
    takes and clears it. `counts` has what an operator wants to know of the tracker itself.
    """

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings if settings is not None else TrackerSettings()
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self.now = 0.0
        self.dialogs_active = 0
        self._serial = 0
        self._prune_at = 0.0
        self.wheel = Wheel()
        self._by_call_id: dict[bytes, list[Attempt]] = {}
        self._open: dict[int, Attempt] = {}
        self._reinvites: dict[bytes, list[bytes]] = {}
        self._recent = Recent(self.settings.max_recent)
        self._flows: dict[tuple[Endpoint, Endpoint], Attempt] = {}
        self._deaf: dict[tuple[bytes, bytes], bool] = {}
        self.correlator = Correlator(self.settings, self.wheel, self.events)
        self._requests: dict[str, Callable[[Packet, Message], object]] = {
            "INVITE": self._invite,
            "ACK": self._ack,
            "CANCEL": self._cancel,
            "BYE": self._bye,
            "PRACK": self._in_dialog,
            "UPDATE": self._in_dialog,
            "INFO": self._in_dialog,
            "REFER": self._refer,
        }
        self._responses: dict[str, Callable[[Packet, Message], object]] = {
            "INVITE": self._invite_response,
            "CANCEL": self._cancel_response,
            "BYE": self._bye_response,
            "REFER": self._refer_response,
        }

    def reconfigure(self, settings: TrackerSettings) -> None:
        """Go on with other settings; what was decided of calls in progress stays."""
        self.settings = settings
        self.correlator.reconfigure(settings)

    # --- input ------------------------------------------------------------------------------

    @property
    def in_progress(self) -> int:
        """Attempts that are not settled yet."""
        return sum(not attempt.settled for attempt in self._open.values())

    @property
    def open_attempts(self) -> int:
        """Attempts that are followed, settled ones included whose conversation goes on."""
        return len(self._open)

    def entries(self) -> dict[str, int]:
        """How much is held, by kind."""
        return {
            "attempts": len(self._open),
            "recent": len(self._recent),
            "timers": len(self.wheel),
            **self.correlator.entries(),
        }

    def receive(self, packet: Packet, message: Message) -> None:
        """Take one message, in order of time."""
        now = packet.time
        if now > self.now:
            self.now = now
            if now >= self.wheel.next_due:
                self.advance(now)
        handlers = self._responses if message.status else self._requests
        handler = handlers.get(message.method)
        if handler is not None:
            handler(packet, message)

    def unreachable(self, report: Report) -> None:
        """Take an ICMP unreachable: it belongs to the INVITE it quotes (outcomes.md 4)."""
        if report.time > self.now:
            self.advance(report.time)
        attempt = self._quoted(report)
        if attempt is not None and not attempt.settled and attempt.icmp_at is None:
            attempt.icmp_at = report.time
            attempt.icmp_packet = report.number
            attempt.icmp_code = report.code
            attempt.last_packet = report.number

    def lost(self, now: float) -> None:
        """The capture dropped packets: what rests on an absence cannot be vouched for."""
        for attempt in self._open.values():
            if not attempt.settled:
                attempt.losses = True

    def advance(self, now: float) -> None:
        """Let the timers up to `now` (epoch seconds) run out."""
        if now > self.now:
            self.now = now
        wheel = self.wheel
        while wheel.next_due <= now and (due := wheel.pop(now)) is not None:
            self._fire(due, now)
        if now >= self._prune_at:
            self._prune(now)

    def finish(self, now: float, closed_by: ClosedBy) -> None:
        """Nothing more will come: settle all, agents' legs before their callers'."""
        self.advance(now)
        self.correlator.finish(now)
        remaining = list(self._open.values())
        for attempt in remaining:
            if attempt.terminal_at is None:
                attempt.terminal_at = now
                attempt.closed_by = closed_by
        for attempt in sorted(remaining, key=_depth, reverse=True):
            if not attempt.settled:
                self._say(attempt, now)
        for attempt in remaining:
            if not attempt.dialog_over:
                self._end_dialog(attempt, now, closed_by)
        self.correlator.close(now)

    # --- INVITE -----------------------------------------------------------------------------

    def _invite(self, packet: Packet, message: Message) -> None:
        if message.to_tag:
            self._reinvite(packet, message)
            return
        attempts = self._by_call_id.get(message.call_id)
        if attempts is None:
            if self._is_late(message):
                self.counts["late"] += 1
                return
            self._begin(packet, message, message)
            return
        branch = message.branch
        for attempt in attempts:
            if (
                attempt.leg_branch == branch
                and attempt.leg_cseq == message.cseq
                and attempt.from_tag == message.from_tag
                and (branch.startswith(b"z9hG4bK") or _same_request(attempt, packet, message))
            ):
                if attempt.invite is None and packet.time - attempt.started_at < OVERTAKEN_SECONDS:
                    self._overtaken(attempt, packet, message)
                else:
                    self._again(attempt, packet)
                return
            if attempt.branch == branch and message.cseq == attempt.cseq < attempt.leg_cseq:
                self.counts["late"] += 1  # of the leg that began the chain
                return
        for attempt in reversed(attempts):
            if _is_retry(attempt, packet, message):
                self._retry(attempt, packet, message)
                return
        if self._recent.has(message.call_id, message.branch):
            self.counts["late"] += 1
            return
        self._begin(packet, message, message)

    def _is_late(self, message: Message) -> bool:
        """Whether this INVITE is of a leg that has ended; a new branch is a new leg (17.1.3)."""
        last = self._recent.cseq(message.call_id)
        if last is None or message.cseq > last:
            return False
        if message.cseq < last or not message.branch.startswith(b"z9hG4bK"):
            return True
        return self._recent.has(message.call_id, message.branch)

    def _begin(self, packet: Packet, message: Message, invite: Message | None) -> Attempt:
        if len(self._open) >= self.settings.max_attempts:
            self._evict(next(iter(self._open.values())))
        known = self._by_call_id.get(message.call_id)
        if known is not None and len(known) >= MOST_LEGS:
            self._evict(known[0])
        self._serial += 1
        attempt = Attempt(self._serial, packet, message, invite)
        self._open[attempt.serial] = attempt
        known = self._by_call_id.get(message.call_id)
        if known is None:
            self._by_call_id[message.call_id] = [attempt]
        else:
            known.append(attempt)
        now = packet.time
        self.wheel.set(attempt, now + TIMEOUT_SECONDS)
        self._flows[(attempt.source, attempt.destination)] = attempt
        if invite is not None:
            self._opened(attempt, packet, invite, known)
        else:
            self.correlator.adopt(attempt)
        return attempt

    def _opened(
        self, attempt: Attempt, packet: Packet, invite: Message, known: list[Attempt] | None
    ) -> None:
        """What its first INVITE says of an attempt, and to which call it leads."""
        attempt.credentials = _has_credentials(invite)
        replaces = invite.few.get(b"replaces")
        target = self._replaced(replaces[0]) if replaces else None
        if (packet.source[0], packet.destination[0]) in self._deaf:
            attempt.one_way = True
        self.correlator.begin(attempt, known, target)
        attempt.keeps(invite, sheds=self.settings.sheds)

    def _overtaken(self, attempt: Attempt, packet: Packet, message: Message) -> None:
        """An INVITE that the capture shows after its first response: several queues, or merged."""
        attempt.invite = message
        self._leave_flow(attempt)
        attempt.source, attempt.destination = packet.source, packet.destination
        attempt.transmissions = [attempt.started_at]
        attempt.ip_ids = [(packet.ip_id, packet.udp_check)]
        attempt.last_packet = packet.number
        self._flows[(attempt.source, attempt.destination)] = attempt
        others = [other for other in self._by_call_id[attempt.call_id] if other is not attempt]
        self._opened(attempt, packet, message, [*others, attempt] if others else None)

    def _again(self, attempt: Attempt, packet: Packet) -> None:
        """The same INVITE once more: a copy on this host or a retransmission."""
        now = packet.time
        attempt.last_packet = packet.number
        if now - attempt.transmissions[-1] < COPY_SECONDS:
            attempt.copies += 1
            self.counts["duplicates"] += 1
            return
        attempt.retransmissions += 1
        attempt.last_at = now
        if len(attempt.transmissions) < 32:
            attempt.transmissions.append(now)
            attempt.ip_ids.append((packet.ip_id, packet.udp_check))
        self.counts["retransmissions_INVITE"] += 1

    def _retry(self, attempt: Attempt, packet: Packet, message: Message) -> None:
        """The next leg of the chain takes over; the refusal that led to it is no outcome."""
        if attempt.final_status in _CHALLENGES or attempt.final is None:
            attempt.challenged = True
        if _has_credentials(message):
            attempt.credentials = True
        attempt.legs += 1
        attempt.leg_branch = message.branch
        attempt.leg_cseq = message.cseq
        attempt.transmissions = [packet.time]
        attempt.ip_ids = [(packet.ip_id, packet.udp_check)]
        self._leave_flow(attempt)
        attempt.destination = packet.destination
        attempt.last_at = packet.time
        attempt.last_packet = packet.number
        attempt.final = attempt.ringing = attempt.provisional = None
        attempt.final_status = 0
        attempt.final_at = attempt.trying_at = attempt.last_provisional_at = None
        attempt.first_180_at = attempt.first_18x_at = attempt.early_media_at = None
        attempt.final_reasons = ()
        attempt.acked = False
        attempt.terminal_at = None
        self._flows[(attempt.source, attempt.destination)] = attempt
        self.wheel.set(attempt, packet.time + TIMEOUT_SECONDS)
        self.correlator.retried(attempt, packet.time)

    def _reinvite(self, packet: Packet, message: Message) -> None:
        attempt = self._in_dialog(packet, message)
        branches = self._reinvites.setdefault(message.call_id, [])
        if message.branch not in branches:
            if len(branches) >= 16:
                del branches[0]
            branches.append(message.branch)
            if attempt is not None and attempt.reinvite_at is None:
                attempt.reinvite_at = packet.time
        else:
            self.counts["retransmissions_INVITE"] += 1
        if len(self._reinvites) > self.settings.max_attempts:
            del self._reinvites[next(iter(self._reinvites))]

    # --- responses to INVITE ------------------------------------------------------------------

    def _invite_response(self, packet: Packet, message: Message) -> None:
        attempt = self._leg_of(packet, message)
        if attempt is None:
            return
        now = packet.time
        attempt.last_packet = packet.number
        if attempt.first_response_at is None:
            attempt.first_response_at = now
            attempt.first_response_packet = packet.number
            if self._deaf:
                self._deaf.pop((attempt.source[0], attempt.destination[0]), None)
            attempt.one_way = False
        status = message.status
        if status < 200:
            if attempt.final_at is None and attempt.answered_at is None:
                self._provisional(attempt, message, now)
        elif status < 300:
            self._answer(attempt, message, now)
        elif attempt.final_at is not None:
            if now - attempt.last_at >= COPY_SECONDS:
                attempt.final_count += 1
                self.counts["retransmissions_final"] += 1
            else:
                self.counts["duplicates"] += 1
        elif attempt.answered_at is None:
            self._refusal(attempt, message, now)
        attempt.last_at = now

    def _leg_of(self, packet: Packet, message: Message) -> Attempt | None:
        """The attempt whose leg this response answers; a new incomplete one if none was seen."""
        attempts = self._by_call_id.get(message.call_id)
        if attempts is None:
            if message.call_id in self._recent:
                self.counts["late"] += 1
                return None
            if message.branch in self._reinvites.get(message.call_id, ()):
                return None  # its dialog began before the capture
            return self._headless(packet, message)
        branch = message.branch
        for attempt in attempts:
            if attempt.leg_branch == branch and attempt.leg_cseq == message.cseq:
                return attempt
        if branch in self._reinvites.get(message.call_id, ()):
            return None
        if self._recent.has(message.call_id, message.branch):
            self.counts["late"] += 1
            return None
        for attempt in attempts:
            if message.cseq < attempt.leg_cseq:
                return None  # a retransmitted challenge of an earlier leg
            if attempt.answered_at is not None and attempt.has_tag(message.to_tag):
                return None  # answers a re-INVITE that was not captured
        for attempt in attempts:
            if _unseen_retry(attempt, packet, message):
                attempt.leg_branch = branch
                attempt.leg_cseq = message.cseq
                attempt.legs += 1
                attempt.challenged = True
                attempt.final = None
                attempt.final_at = None
                attempt.final_status = 0
                attempt.terminal_at = None
                return attempt
        return self._headless(packet, message)

    def _headless(self, packet: Packet, message: Message) -> Attempt:
        """An attempt whose INVITE was not captured (outcomes.md 1): said, not guessed."""
        attempt = self._begin(packet, message, None)
        if message.status:
            attempt.source, attempt.destination = packet.destination, packet.source
        return attempt

    def _provisional(self, attempt: Attempt, message: Message, now: float) -> None:
        status = message.status
        attempt.last_provisional_at = now
        if status == 100:
            if attempt.trying_at is None:
                attempt.trying_at = now
        else:
            if status in (180, 183):
                if attempt.first_18x_at is None:
                    attempt.first_18x_at = now
                    attempt.ringing = message
                if status == 180 and attempt.first_180_at is None:
                    attempt.first_180_at = now
                if attempt.early_media_at is None and message.has_sdp:
                    attempt.early_media_at = now
            attempt.provisional = attempt.keeps(message, sheds=self.settings.sheds)
            reasons = message.reasons()
            if reasons:
                attempt.provisional_reasons = reasons
        if attempt.cancel_at is None:
            deadline = now + TIMER_C_SECONDS
            if deadline < attempt.due:
                self.wheel.set(attempt, deadline)
            else:
                attempt.deadline = deadline

    def _answer(self, attempt: Attempt, message: Message, now: float) -> None:
        if attempt.answered_at is None:
            attempt.answered_at = attempt.answer_last_at = now
            attempt.answer = message
            attempt.answer_count = 1
            self.dialogs_active += 1
            expires = _SESSION_EXPIRES.search(message.raw, 0, message.head_end)
            if expires is not None:
                attempt.session_expires = int(expires[1])
            attempt.keeps(message, sheds=self.settings.sheds)
            if attempt.ack_at is not None:
                self._terminal(attempt, now)
            else:
                self.wheel.set(attempt, now + NO_ACK_SECONDS)
            self.correlator.answered(attempt, now)
        elif attempt.answer is not None and message.to_tag == attempt.answer.to_tag:
            if now - (attempt.answer_last_at or 0.0) >= COPY_SECONDS:
                attempt.answer_count += 1
                attempt.answer_last_at = now
                self.counts["retransmissions_final"] += 1
            else:
                attempt.copies += 1
                self.counts["duplicates"] += 1
        elif len(attempt.forks) < MOST_LEGS:
            attempt.forks |= {message.to_tag}

    def _refusal(self, attempt: Attempt, message: Message, now: float) -> None:
        attempt.final = attempt.keeps(message)
        attempt.final_status = message.status
        attempt.final_at = now
        attempt.final_count = 1
        attempt.final_reasons = message.reasons()
        if message.status in _CHALLENGES:
            self.wheel.set(attempt, now + CHALLENGE_SECONDS)
        elif message.status in _RETRIED:
            self.wheel.set(attempt, now + RETRY_SECONDS)
            self.correlator.ended(attempt, now)
        else:
            self.wheel.set(attempt, now + TIMER_D_SECONDS)
            self.correlator.ended(attempt, now)
            if attempt.acked:
                self._terminal(attempt, now)

    # --- ACK ----------------------------------------------------------------------------------

    def _ack(self, packet: Packet, message: Message) -> None:
        attempts = self._by_call_id.get(message.call_id)
        if attempts is None:
            return
        now = packet.time
        branch = message.branch
        for attempt in attempts:
            if attempt.leg_branch == branch and attempt.leg_cseq == message.cseq:
                # Same branch: to a refusal (17.1.1.3), or an old stack's ACK to a 2xx.
                attempt.last_packet = packet.number
                attempt.last_at = now
                if attempt.answered_at is not None:
                    self._ack_answer(attempt, now)
                elif attempt.final is not None:
                    self._ack_refusal(attempt, now)
                else:
                    attempt.acked = True
                    self._one_way(attempt)
                return
        # With one leg under this Call-ID its CSeq number is enough (13.2.2.4).
        for attempt in attempts if len(attempts) == 1 else _hop(attempts, packet, message):
            if attempt.leg_cseq == message.cseq:
                attempt.last_packet = packet.number
                attempt.last_at = now
                if attempt.answered_at is None:
                    if attempt.final_at is not None:
                        if len(attempts) == 1:
                            # Some stacks give it a branch of its own, against 17.1.1.3.
                            self._ack_refusal(attempt, now)
                        continue
                    self._one_way(attempt)
                self._ack_answer(attempt, now)

    def _ack_refusal(self, attempt: Attempt, now: float) -> None:
        if not attempt.acked:
            attempt.acked = True
            if attempt.final_status not in _RETRIED:
                self._terminal(attempt, now)

    def _ack_answer(self, attempt: Attempt, now: float) -> None:
        if attempt.ack_at is None:
            attempt.ack_at = now
            if attempt.answered_at is not None:
                self._terminal(attempt, now)

    def _one_way(self, attempt: Attempt) -> None:
        """Its ACK proves a final that was not seen.

        Where no other response was seen either, only one direction of this flow is in view.
        """
        attempt.one_way = True
        if attempt.first_response_at is not None:
            return
        if len(self._deaf) > 4096:
            self._deaf.clear()
        self._deaf[(attempt.source[0], attempt.destination[0])] = True

    # --- CANCEL -------------------------------------------------------------------------------

    def _cancel(self, packet: Packet, message: Message) -> None:
        attempts = self._by_call_id.get(message.call_id)
        now = packet.time
        if attempts is None:
            if message.call_id in self._recent:
                self.counts["late"] += 1
                return
            if message.to_tag:
                return  # of a re-INVITE whose dialog began before the capture
            found: Attempt | None = self._begin(packet, message, None)
        else:
            found = _cancelled(attempts, packet, message)
        if found is None:
            return
        attempt = found
        attempt.last_packet = packet.number
        if attempt.cancel is None:
            attempt.cancel = attempt.keeps(message)
            attempt.cancel_reasons = message.reasons()
            if attempt.cancel_at is None:
                self._given_up(attempt, now)
        elif now - (attempt.cancel_last_at or 0.0) >= COPY_SECONDS:
            attempt.cancel_count += 1
            attempt.cancel_last_at = now
            self.counts["retransmissions_CANCEL"] += 1
        else:
            attempt.copies += 1
            self.counts["duplicates"] += 1
        attempt.last_at = now

    def _cancel_response(self, packet: Packet, message: Message) -> None:
        for attempt in self._by_call_id.get(message.call_id, ()):
            if attempt.leg_branch == message.branch:
                attempt.last_packet = packet.number
                attempt.last_at = packet.time
                if attempt.cancel_answered_at is None:
                    attempt.cancel_answered_at = packet.time
                if attempt.cancel_at is None and 200 <= message.status < 300:
                    self._given_up(attempt, packet.time)  # the CANCEL itself was not captured
                return

    def _given_up(self, attempt: Attempt, now: float) -> None:
        """Its CANCEL was sent at `now`, or shortly before."""
        attempt.cancel_at = attempt.cancel_last_at = now
        attempt.cancel_count = 1
        if attempt.final_at is None and attempt.answered_at is None:
            self.wheel.set(attempt, now + TIMEOUT_SECONDS)
            self.correlator.ended(attempt, now)

    # --- in the dialog ------------------------------------------------------------------------

    def _in_dialog(self, packet: Packet, message: Message) -> Attempt | None:
        attempts = self._by_call_id.get(message.call_id)
        if attempts is None:
            return None
        found = None
        for attempt in _hop(attempts, packet, message):
            side = _side(attempt, message)
            attempt.last_packet = packet.number
            attempt.last_at = packet.time
            if side == "caller" and message.method != "PRACK":
                if attempt.answered_at is not None:
                    if attempt.caller_request_at is None:
                        attempt.caller_request_at = packet.time
                        self._terminal(attempt, packet.time)
                elif attempt.first_response_at is None and message.method == "INVITE":
                    attempt.caller_request_at = packet.time
                    self._one_way(attempt)
            elif side == "caller" and attempt.first_response_at is None:
                self._one_way(attempt)
            found = found or attempt
        return found

    def _refer(self, packet: Packet, message: Message) -> None:
        attempt = self._in_dialog(packet, message)
        if attempt is None:
            return
        if attempt.refer_at is None:
            attempt.refer_by = _side(attempt, message)
        consulted = self._consulted(message)
        if consulted is not None:
            self.correlator.consulted(attempt, consulted)

    def _consulted(self, message: Message) -> Attempt | None:
        """The attempt that Refer-To names in an escaped Replaces header (RFC 3891 section 4)."""
        value = message.header("refer-to")
        match = _REPLACES_PARAM.search(value) if value else None
        return self._replaced(unquote_to_bytes(match[1])) if match else None

    def _refer_response(self, packet: Packet, message: Message) -> None:
        if not 200 <= message.status < 300:
            return
        for attempt in self._by_call_id.get(message.call_id, ()):
            if attempt.refer_by is not None and attempt.refer_at is None:
                attempt.refer_at = packet.time
                self.correlator.referred(attempt, packet.time)

    def _bye(self, packet: Packet, message: Message) -> None:
        attempts = self._by_call_id.get(message.call_id)
        if attempts is None:
            return
        now = packet.time
        for attempt in _hop(attempts, packet, message):
            attempt.last_packet = packet.number
            attempt.last_at = now
            side = _side(attempt, message)
            if attempt.answered_at is None:
                self._bye_unanswered(attempt, now, side)
                continue
            if attempt.bye_at is not None or _of_other_fork(attempt, message, side):
                continue
            attempt.bye_at = now
            attempt.bye_packet = packet.number
            attempt.bye_by = side
            attempt.bye_reasons = message.reasons()
            if side == "caller" and attempt.caller_request_at is None:
                attempt.caller_request_at = now
            if attempt.terminal_at is None:
                self._terminal(attempt, now)
            else:
                self.wheel.set(attempt, now + _grace(attempt))
            self.correlator.ended(attempt, now)

    def _bye_unanswered(self, attempt: Attempt, now: float, side: Side | None) -> None:
        if attempt.early_bye_at is None:
            attempt.early_bye_at = now
        if attempt.final_at is None and attempt.cancel_at is None and attempt.first_18x_at is None:
            # No response seen and yet a dialog: its 2xx went past us (outcomes.md rule 0).
            self._one_way(attempt)
            attempt.bye_at = now
            attempt.bye_by = side
            self._terminal(attempt, now)

    def _bye_response(self, packet: Packet, message: Message) -> None:
        if message.status < 200 or message.status in _CHALLENGES:
            return
        for attempt in self._by_call_id.get(message.call_id, ()):
            if attempt.bye_at is not None and attempt.bye_ok_at is None:
                attempt.bye_ok_at = packet.time
                attempt.last_packet = packet.number

    def _replaced(self, value: bytes) -> Attempt | None:
        """The attempt whose dialog a Replaces header names (RFC 3891 section 3)."""
        call_id = value.partition(b";")[0].strip()
        attempts = self._by_call_id.get(call_id)
        return attempts[0] if attempts else None

    def _quoted(self, report: Report) -> Attempt | None:
        newest_first = reversed(self._open.values())
        last = self._flows.get((report.source, report.destination))
        return quoted(report, self._by_call_id, newest_first, last)

    # --- life and death -----------------------------------------------------------------------

    def _terminal(self, attempt: Attempt, now: float) -> None:
        if attempt.terminal_at is None:
            attempt.terminal_at = now
            self.wheel.set(attempt, now + _grace(attempt))
            if self.settings.provisional:
                self.events.append(AttemptOver(attempt, now))

    def _fire(self, attempt: Attempt, now: float) -> None:
        """A deadline passed: of the transaction, of the settlement, or of the dialog."""
        at = min(now, attempt.deadline)
        if attempt.terminal_at is None:
            attempt.terminal_at = at
            attempt.closed_by = "timer"
        if not attempt.settled:
            again = self.correlator.wait_until(attempt, at)
            if again is not None:
                self.wheel.set(attempt, again)
                return
            self._say(attempt, at)
            if attempt.dialog_over:
                return
        if attempt.bye_at is not None and at >= attempt.bye_at + GRACE_SECONDS:
            self._end_dialog(attempt, at, "packet")
        elif attempt.bye_at is not None:
            self.wheel.set(attempt, attempt.bye_at + _grace(attempt))
        elif at >= (expiry := self._expiry(attempt)):
            self._end_dialog(attempt, at, "timer")
        else:
            self.wheel.set(attempt, expiry)

    def _expiry(self, attempt: Attempt) -> float:
        """When an answered call without a BYE is given up."""
        confirmed = attempt.ack_at is not None or attempt.caller_request_at is not None
        if attempt.answered_at is not None and not confirmed:
            return attempt.answered_at + NO_ACK_SECONDS
        if attempt.session_expires:
            return attempt.last_at + attempt.session_expires + SESSION_GRACE_SECONDS
        return (attempt.answered_at or attempt.started_at) + self.settings.max_call_seconds

    def _say(self, attempt: Attempt, now: float) -> None:
        """Settle: from here on nothing changes the outcome."""
        attempt.settled = True
        if attempt.closed_by is None:
            attempt.closed_by = "packet"
        attempt.ended_at = _ended_at(attempt, now)
        self.events.append(AttemptEnded(attempt, now))
        if attempt.answered_at is None:
            attempt.dialog_over = True
            attempt.call_root = self.correlator.root_of(attempt)
            self._forget(attempt, now)
        self.correlator.settled(attempt, now)

    def _end_dialog(self, attempt: Attempt, now: float, closed_by: ClosedBy) -> None:
        attempt.dialog_over = True
        if closed_by != "packet":
            attempt.closed_by = closed_by
        if attempt.bye_at is not None:
            attempt.ended_at = attempt.bye_at
        elif attempt.answered_at is not None:
            attempt.ended_at = now
        self.events.append(DialogEnded(attempt, now))
        self._forget(attempt, now)
        self.correlator.over(attempt, now)
        attempt.call_root = self.correlator.root_of(attempt)

    def _leave_flow(self, attempt: Attempt) -> None:
        flow = (attempt.source, attempt.destination)
        if self._flows.get(flow) is attempt:
            del self._flows[flow]

    def _forget(self, attempt: Attempt, now: float) -> None:
        self.wheel.clear(attempt)
        if self._open.pop(attempt.serial, None) is None:
            return
        if attempt.answered_at is not None:
            self.dialogs_active -= 1
        self._leave_flow(attempt)
        call_id = attempt.call_id
        attempts = self._by_call_id.get(call_id)
        is_last = attempts is None or len(attempts) == 1
        if attempts is not None and not is_last:
            attempts.remove(attempt)
        else:
            self._by_call_id.pop(call_id, None)
            self._reinvites.pop(call_id, None)
        self._recent.add(call_id, attempt.leg_branch, attempt.leg_cseq, now, is_last=is_last)

    def _prune(self, now: float) -> None:
        self._prune_at = now + PRUNE_SECONDS
        self._recent.prune(now)

    def _evict(self, attempt: Attempt) -> None:
        """Make room: this attempt, the oldest, is settled with what is known of it."""
        self.counts["evictions"] += 1
        self.correlator.release(attempt)
        if attempt.terminal_at is None:
            attempt.terminal_at = self.now
        if not attempt.settled:
            attempt.closed_by = "eviction"
            self._say(attempt, self.now)
        if not attempt.dialog_over:
            self._end_dialog(attempt, self.now, "eviction")


def _depth(attempt: Attempt) -> int:
    """How many legs stand between this one and its caller's."""
    depth = 0
    parent = attempt.parent
    while parent is not None and depth < 8:
        depth += 1
        parent = parent.parent
    return depth


def _grace(attempt: Attempt) -> float:
    return GRACE_SECONDS if attempt.role == "agent" else CALLER_GRACE_SECONDS


def _has_credentials(invite: Message) -> bool:
    few = invite.few
    return b"authorization" in few or b"proxy-authorization" in few


def _same_request(attempt: Attempt, packet: Packet, message: Message) -> bool:
    """The matching of peers without the branch cookie (section 17.2.3)."""
    invite = attempt.invite
    return (
        invite is not None
        and invite.request_uri == message.request_uri
        and attempt.source == packet.source
    )


def _is_retry(attempt: Attempt, packet: Packet, message: Message) -> bool:
    """Whether this INVITE is the sender's own next try of the same attempt."""
    if (
        attempt.settled
        or attempt.from_tag != message.from_tag
        or attempt.source[0] != packet.source[0]
        or message.cseq < attempt.leg_cseq
        or attempt.answered_at is not None
    ):
        return False
    if attempt.final_status in _RETRIED:
        if message.cseq > attempt.leg_cseq or attempt.final_status in _CHALLENGES:
            return True
        # A proxy that follows a 3xx by itself (16.7 step 4) keeps the CSeq.
        return _redirected_to(attempt.final, message)
    if attempt.final is None and message.cseq > attempt.leg_cseq:
        # The challenge went past us: its ACK, or the credentials, show that there was one.
        return attempt.acked or _has_credentials(message)
    return False


def _redirected_to(final: Message | None, message: Message) -> bool:
    """Whether this INVITE goes to a Contact of that 3xx."""
    if final is None or not 300 <= final.status < 400:
        return False
    target = message.request_uri.partition(b";")[0]
    return any(target in contact for contact in final.headers("contact"))


def _unseen_retry(attempt: Attempt, packet: Packet, message: Message) -> bool:
    return (
        not attempt.settled
        and attempt.from_tag == message.from_tag
        and message.cseq > attempt.leg_cseq
        and attempt.destination[0] == packet.source[0]
        and attempt.answered_at is None
        and (attempt.final_status in _RETRIED or attempt.final is None)
    )


def _cancelled(attempts: list[Attempt], packet: Packet, message: Message) -> Attempt | None:
    for attempt in attempts:
        if attempt.leg_branch == message.branch and attempt.leg_cseq == message.cseq:
            return attempt
    for attempt in attempts:
        # Some stacks give the CANCEL a branch of its own, against section 9.1.
        if (
            attempt.from_tag == message.from_tag
            and attempt.leg_cseq == message.cseq
            and attempt.source[0] == packet.source[0]
            and attempt.destination[0] == packet.destination[0]
        ):
            return attempt
    return None


def _side(attempt: Attempt, message: Message) -> Side | None:
    """Who of the dialog sent this request; None when it is of another dialog."""
    if message.from_tag == attempt.from_tag:
        return "caller"
    if message.to_tag == attempt.from_tag:
        return "callee"
    return None


def _of_other_fork(attempt: Attempt, message: Message, side: Side | None) -> bool:
    """Whether this request ends the dialog of another 2xx to the same INVITE (13.2.2.4)."""
    tag = message.to_tag if side == "caller" else message.from_tag
    return tag in attempt.forks


def _hop(attempts: list[Attempt], packet: Packet, message: Message) -> list[Attempt]:
    """The attempts whose dialog this request belongs to, on the hop where it was seen.

    A proxy's legs share Call-ID and tags; the addresses tell them apart. When none fits (the
    request took another way than the INVITE) all of them are meant.
    """
    if len(attempts) == 1:
        return attempts[:] if _side(attempts[0], message) is not None else []
    mine = [attempt for attempt in attempts if _side(attempt, message) is not None]
    if len(mine) < 2:
        return mine
    ends = {packet.source[0], packet.destination[0]}
    here = [a for a in mine if {a.source[0], a.destination[0]} == ends]
    tag = message.to_tag if mine[0].from_tag == message.from_tag else message.from_tag
    exact = [a for a in here or mine if a.has_tag(tag)]
    return exact or here or mine


def _ended_at(attempt: Attempt, now: float) -> float:
    if attempt.bye_at is not None:
        return attempt.bye_at
    if attempt.answered_at is not None:
        return attempt.answered_at
    if attempt.final_at is not None:
        return attempt.final_at
    return now
