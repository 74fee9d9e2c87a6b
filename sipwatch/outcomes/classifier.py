"""Puts verdicts on attempts and calls; keeps what is learned of ring timers and names."""

from __future__ import annotations

from sipwatch.calls.types import Attempt, Call, Verdict
from sipwatch.outcomes.calls import CallScene, judge_call
from sipwatch.outcomes.cancel import judge_cancel
from sipwatch.outcomes.dialect import Dialects
from sipwatch.outcomes.ends import end_of
from sipwatch.outcomes.hints import Devices, Hints
from sipwatch.outcomes.missed import MissedCalls
from sipwatch.outcomes.ring_timers import LEAST_SECONDS, RingTimers
from sipwatch.outcomes.rules import judge
from sipwatch.outcomes.scene import Finding, Host, Registrations, Scene
from sipwatch.outcomes.settings import RuleSettings
from sipwatch.outcomes.taxonomy import CATEGORY


class Classifier:
    """Judges in the order in which attempts settle: agents' legs before their callers'."""

    def __init__(
        self,
        settings: RuleSettings,
        dialects: Dialects,
        registrations: Registrations,
        host: Host,
        devices: Devices | None = None,
        missed: MissedCalls | None = None,
    ) -> None:
        self.settings = settings
        self.dialects = dialects
        self.timers = RingTimers()
        self.registrations = registrations
        self.host = host
        self.hints = None if devices is None else Hints(devices)
        self.missed = missed

    def attempt(self, attempt: Attempt, now: float) -> Verdict:
        """Judge a settled attempt, once; the verdict is put on it and returned."""
        scene = self._scene(attempt, now)
        self._learn(scene)
        number, finding = judge(scene)
        verdict = _verdict(scene, number, finding)
        attempt.verdict = verdict
        if attempt.answered_at is not None and attempt.cancel_at is not None:
            crossed = judge_cancel(scene)
            if crossed is not None:
                attempt.crossed_verdict = _verdict(scene, crossed.rule, crossed)
        if self.hints is not None:
            self.hints.attempt(attempt, now)
        if self.missed is not None:
            self.missed.attempt(attempt)
        return attempt.verdict

    def preview(self, attempt: Attempt, now: float) -> Verdict:
        """What would be said of the attempt now; nothing is learned and nothing kept."""
        scene = self._scene(attempt, now)
        number, finding = judge(scene)
        return _verdict(scene, number, finding)

    def _scene(self, attempt: Attempt, now: float) -> Scene:
        return Scene(
            attempt,
            now,
            self.settings,
            self.dialects,
            self.timers,
            self.registrations,
            self.host,
        )

    def dialog(self, attempt: Attempt) -> None:
        """Say how an answered attempt ended (section 9)."""
        attempt.end = end_of(attempt)
        if self.hints is not None:
            self.hints.dialog(attempt)

    def call(self, call: Call, now: float) -> Verdict:
        """Judge a call whose attempts are all settled."""
        if self.missed is not None:
            self.missed.hint(call)
        alone = not self.host.without_agents
        verdict = judge_call(
            CallScene(
                call,
                self.host.sees_agents,
                self.settings.places_configured and alone,
                self.host.is_device(call.root.source[0])
                or self.registrations.registers(call.root.source[0])
                or call.root.challenged
                or call.root.credentials,
                self.settings.brief_abandon_seconds,
            )
        )
        call.verdict = verdict
        if self.missed is not None:
            self.missed.call(call, now)
        return verdict

    def _learn(self, scene: Scene) -> None:
        """Remember ends that nothing explains; this one counts, so it is learned first."""
        a = scene.attempt
        if a.cancel_at is not None and a.role != "caller":
            if a.parent is None and a.answered_at is None and not _explained(scene):
                address = a.source[0]
                if scene.rang and scene.ring_seconds >= 1.0:
                    self.timers.add(("sent", address), scene.ring_seconds)
                self.timers.add(("sent-invite", address), scene.cancel_seconds)
        elif a.final_status in (486, 600, 603) and a.first_180_at is not None:
            seconds = scene.ring_180_seconds
            if seconds >= LEAST_SECONDS:
                self.timers.add(("refusal", a.destination[0]), seconds)
                agent = scene.responder_agent
                if agent:
                    self.timers.add(("refusal", agent), seconds)


def _explained(scene: Scene) -> bool:
    """Whether a Reason, another leg or silence explains this CANCEL without its timing."""
    found = judge_cancel(scene)
    return found is not None and found.rule in ("5.1/0", "5.1/1", "5.1/2", "5.1/3", "5.1/4")


def _verdict(scene: Scene, number: str, finding: Finding) -> Verdict:
    return Verdict(
        finding.outcome,
        CATEGORY[finding.outcome],
        finding.detail,
        finding.confidence,
        tuple(_evidence(scene)) + finding.notes,
        number,
    )


def _evidence(scene: Scene) -> list[str]:
    """The bare facts in their order, with the times that a person can check."""
    a = scene.attempt
    start = a.started_at
    facts: list[str] = []
    if a.challenged:
        facts.append(f"challenged, tried again with credentials ({a.legs} legs)")
    if a.retransmissions:
        last = a.transmissions[-1] - start
        facts.append(f"INVITE sent {len(a.transmissions)} times, last at +{last:.1f} s")
    if a.first_response_at is None and a.invite is not None:
        facts.append("no response")
    if a.first_18x_at is not None and a.ringing is not None:
        early = ", with early media" if a.early_media_at == a.first_18x_at else ""
        facts.append(f"{a.ringing.status} at +{a.first_18x_at - start:.2f} s{early}")
    elif (at := scene.handed_on_at) is not None:
        facts.append(f"its 180 was not captured; the caller was told at +{at - start:.2f} s")
    elif a.trying_at is not None and a.answered_at is None:
        facts.append(f"only 100 at +{a.trying_at - start:.3f} s, no ringing")
    if a.cancel_at is not None:
        reasons = ", ".join(
            f"{r.protocol};cause={r.cause}" for r in a.cancel_reasons if r.cause is not None
        )
        who = {"agent": " from the PBX", "caller": " from the caller"}.get(a.role, "")
        facts.append(f"CANCEL{who} at +{a.cancel_at - start:.2f} s, {reasons or 'no Reason'}")
    if a.answered_at is not None:
        facts.append(f"2xx at +{a.answered_at - start:.2f} s")
        if a.ack_at is None:
            facts.append(f"no ACK, 2xx sent {a.answer_count} times")
    elif a.final is not None and a.final_status != 487:
        reasons = ", ".join(
            f"{r.protocol};cause={r.cause}" for r in a.final_reasons if r.cause is not None
        )
        facts.append(
            f"{a.final_status} {a.final.reason_phrase} at +{(a.final_at or start) - start:.2f} s"
            + (f", {reasons}" if reasons else "")
        )
    ring = a.ring_duration
    if ring is not None and a.answered_at is None:
        facts.append(f"rang {ring:.1f} s")
    facts.extend(a.correlation)
    return facts
