"""What makes each alert fire and what only just does not: series, and the minute to look at.

Counters stand at zero for six minutes and then jump to their number, so that what a window of
Prometheus counts is exactly that number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

HOST = 'job="sipwatch",instance="pbx:9742"'
#: Minutes that a case lasts, and those before the jump.
LONG, QUIET = 120, 6


@dataclass(frozen=True, slots=True)
class Case:
    """One situation and whether one alert fires in it."""

    alert: str
    fires: bool
    why: str
    series: dict[str, str]
    #: Minutes after the beginning.
    at: int = 20
    #: `share` or `rate` where a name has two rules.
    measure: str = ""
    #: Minutes between two samples.
    interval: int = 1
    #: How many series of the alert fire.
    count: int = field(default=1)


def jump(number: float, *, after: int = QUIET, start: float = 0) -> str:
    """Values of a counter or gauge: `start`, and `number` from that minute on."""
    return f"{start}x{after - 1} {number}x{LONG - after}"


def attempts(
    outcome: str,
    number: float,
    *,
    direction: str = "outbound",
    peer: str = "carrier",
    code: str = "none",
    values: str = "",
) -> dict[str, str]:
    """Attempts of one kind."""
    labels = f'{HOST},direction="{direction}",peer="{peer}",outcome="{outcome}",code="{code}"'
    return {f"sipwatch_attempts_total{{{labels}}}": values or jump(number)}


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    """A metric of the host."""
    more = "".join(f',{key}="{value}"' for key, value in labels.items())
    return {f"{name}{{{HOST}{more}}}": values}


def all_cases() -> Iterator[Case]:
    """Every case of every alert."""
    yield from _technology()
    yield from _trends()
    yield from _missed()
    yield from _devices()
    yield from _trunks()
    yield from _hearing()
    yield from _losses()
    yield from _daemon()


#: Outcomes that page or become a ticket, and the names of their alerts.
TECHNOLOGY = {
    "device_not_responding": "SipwatchDeviceNotResponding",
    "connection_timeout": "SipwatchConnectionTimeout",
    "unavailable": "SipwatchUnavailable",
    "server_failure": "SipwatchServerFailure",
    "unauthorized": "SipwatchUnauthorized",
    "not_acceptable": "SipwatchNotAcceptable",
}


def _technology() -> Iterator[Case]:
    for outcome, alert in TECHNOLOGY.items():
        two, good = attempts(outcome, 2), "answered"
        share: dict[str, str] = {"measure": "share"}
        yield Case(alert, True, "2 of 40 are 5%", two | attempts(good, 38), **share)
        yield Case(alert, False, "2 of 41 are less", two | attempts(good, 39), **share)
        yield Case(alert, False, "39 are too few", two | attempts(good, 37), **share)
        yield Case(alert, False, "one minute is short", two | attempts(good, 38), at=7, **share)
        yield Case(
            alert,
            True,
            "what cannot be judged makes no share smaller",
            two | attempts(good, 38) | attempts("incomplete", 500) | attempts("in_progress", 500),
            **share,
        )
        yield Case(
            alert,
            False,
            "two peers are not added up",
            attempts(outcome, 2, peer="one")
            | attempts(good, 18, peer="one")
            | attempts(outcome, 2, peer="two")
            | attempts(good, 18, peer="two"),
            **share,
        )
        yield Case(
            alert,
            True,
            "each direction for itself",
            attempts(outcome, 4)
            | attempts(good, 36)
            | attempts(outcome, 5, direction="inbound")
            | attempts(good, 45, direction="inbound"),
            count=2,
            **share,
        )
        yield Case(
            alert,
            False,
            "over since 15 minutes, and five more",
            two | attempts(good, 38),
            at=27,
            **share,
        )
        rate: dict[str, str] = {"measure": "rate"}
        yield Case(alert, True, "30 at once", attempts(outcome, 30), at=7, **rate)
        yield Case(alert, False, "29 are not enough", attempts(outcome, 29), at=7, **rate)
        yield Case(
            alert,
            True,
            "spread over peers and codes",
            attempts(outcome, 10)
            | attempts(outcome, 10, peer="other")
            | attempts(outcome, 10, code="500"),
            **rate,
        )
        slow = attempts(outcome, 0, values=f"0+2.9x{LONG}")
        yield Case(alert, False, "29 in each ten minutes", slow, at=60, **rate)


#: Outcomes of people and of routing that are only ever a trend.
TRENDS = {
    "agent_busy": "SipwatchAgentBusyTrend",
    "no_answer": "SipwatchNoAnswerTrend",
    "declined": "SipwatchDeclinedTrend",
    "abandoned": "SipwatchAbandonedTrend",
    "rejection_list": "SipwatchRejectionListTrend",
    "not_found": "SipwatchNotFoundTrend",
    "other_failure": "SipwatchOtherFailureTrend",
}
#: Samples of a day when one is taken each half hour.
_DAY = 48
#: Minutes after which a week and a day are over, and the hour that an alert waits.
_NINTH_DAY = 8 * 24 * 60 + 90


def _daily(before: float, then: float) -> str:
    """A counter of an ordinary week and of the day after it; both numbers are per day."""
    first = before / _DAY
    return f"0+{first}x{7 * _DAY} {7 * before + then / _DAY}+{then / _DAY}x{_DAY + _DAY // 2}"


def _trends() -> Iterator[Case]:
    def week_and_day(
        outcome: str, weekly: float, daily: float, *, calls_weekly: float, calls_daily: float
    ) -> dict[str, str]:
        """Counts of an ordinary week and of the day after it; both numbers are per day."""

        return attempts(outcome, 0, direction="inbound", values=_daily(weekly, daily)) | attempts(
            "answered",
            0,
            direction="inbound",
            values=_daily(calls_weekly - weekly, calls_daily - daily),
        )

    for outcome, alert in TRENDS.items():
        for fires, why, numbers in (
            (True, "10% became 18%", (40, 73, 400, 400)),
            (False, "10% became 14%: less than half as much again", (40, 56, 400, 400)),
            (False, "2% became 6%: less than five points", (8, 24, 400, 400)),
            (False, "180 calls a day are too few", (18, 40, 180, 180)),
            (False, "fewer than a thousand calls in the week before", (14, 80, 140, 400)),
        ):
            weekly, daily, calls_weekly, calls_daily = numbers
            made = week_and_day(
                outcome, weekly, daily, calls_weekly=calls_weekly, calls_daily=calls_daily
            )
            yield Case(alert, fires, why, made, at=_NINTH_DAY, interval=30)


def _missed() -> Iterator[Case]:
    """Numbers are per day, of the week and of the day after it."""

    def calls(outcome: str, numbers: tuple[float, float], direction: str) -> dict[str, str]:
        labels = {"direction": direction, "peer": "carrier", "outcome": outcome}
        return series("sipwatch_calls_total", _daily(*numbers), **labels)

    alert = "SipwatchMissedCallsTrend"
    for fires, why, missed, inbound in (
        (True, "20% became 31%", (40, 62), (200, 200)),
        (False, "20% became 29%: less than half as much again", (40, 58), (200, 200)),
        (False, "4% became 8%: less than five points", (8, 16), (200, 200)),
        (False, "95 calls a day are too few", (19, 60), (95, 95)),
        (False, "fewer than 500 calls in the week before", (14, 60), (70, 200)),
    ):
        made = (
            series("sipwatch_missed_calls_total", _daily(*missed))
            | calls("answered", inbound, "inbound")
            # They are no calls from outside, or nothing is known of them.
            | calls("answered", (900, 900), "outbound")
            | calls("incomplete", (900, 900), "inbound")
        )
        yield Case(alert, fires, why, made, at=_NINTH_DAY, interval=30)

    alert = "SipwatchNeverCalledBackTrend"
    for fires, why, never, returned in (
        (True, "20% became 40%", (8, 16), (32, 24)),
        (False, "20% became 28%: less than half as much again", (8, 11.2), (32, 28.8)),
        (False, "2.5% became 5%: less than five points", (1, 2), (39, 38)),
        (False, "19 in a day are too few", (8, 15), (32, 4)),
        (False, "fewer than 100 in the week before", (2, 20), (12, 20)),
    ):
        made = series("sipwatch_missed_calls_never_returned_total", _daily(*never)) | series(
            "sipwatch_missed_calls_returned_total", _daily(*returned)
        )
        yield Case(alert, fires, why, made, at=_NINTH_DAY, interval=30)


def _devices() -> Iterator[Case]:
    def agent(outcome: str, values: str, name: str = "101") -> dict[str, str]:
        return series("sipwatch_agent_attempts_total", values, agent=name, outcome=outcome)

    failing = "SipwatchAgentDeviceFailing"
    dead, away = "device_not_responding", "unavailable"
    yield Case(failing, True, "three failures", agent(dead, jump(3)), at=7)
    yield Case(failing, False, "two failures", agent(dead, jump(2)), at=7)
    yield Case(failing, True, "of two kinds", agent(dead, jump(2)) | agent(away, jump(1)), at=7)
    yield Case(
        failing,
        True,
        "series that begin with their first call",
        agent(dead, f"_x{QUIET} 1 2 3x60"),
        at=QUIET + 4,
    )
    yield Case(
        failing, False, "one call was answered", agent(dead, jump(3)) | agent("answered", jump(1))
    )
    yield Case(
        failing, True, "one of five was", agent(dead, jump(4)) | agent("answered", jump(1)), at=7
    )
    yield Case(
        failing,
        True,
        "the last answer is long ago",
        agent(dead, jump(3, after=40)) | agent("answered", jump(9)),
        at=42,
    )
    yield Case(
        failing, False, "people's outcomes are nobody's fault", agent("no_answer", jump(30)), at=7
    )
    yield Case(failing, False, "all the others together", agent(dead, jump(9), "other"), at=7)
    yield Case(
        failing,
        True,
        "two agents",
        agent(dead, jump(3)) | agent(dead, jump(5), "102") | agent(dead, jump(2), "103"),
        at=7,
        count=2,
    )
    yield Case(failing, False, "the daemon has restarted", agent(dead, "9x30 0x60"), at=40)

    hint = "sipwatch_attempt_cause_hints_total"
    for name in ("nat_binding_lost", "registration_expired"):
        yield Case("SipwatchCauseSeen", True, "ten", series(hint, jump(10), cause_hint=name), at=7)
        yield Case("SipwatchCauseSeen", False, "nine", series(hint, jump(9), cause_hint=name), at=7)

    def dialogs(lost: int, well: int) -> dict[str, str]:
        name = "sipwatch_dialogs_ended_total"
        return series(name, jump(lost), end="media_timeout") | series(
            name, jump(well), end="caller_hangup"
        )

    yield Case("SipwatchMediaLost", True, "2 of 40", dialogs(2, 38))
    yield Case("SipwatchMediaLost", False, "2 of 41", dialogs(2, 39))
    yield Case("SipwatchMediaLost", False, "2 of 39 say little", dialogs(2, 37))


def _trunks() -> Iterator[Case]:
    def registered(values: str, *, started: str = "0x120") -> dict[str, str]:
        return series("sipwatch_registrations_active", values) | series(
            "process_start_time_seconds", started
        )

    gone = "SipwatchDevicesGone"
    yield Case(gone, True, "13 of 20 are left", registered("20x69 13x40"), at=75)
    yield Case(gone, False, "14 of 20 are left", registered("20x69 14x40"), at=75)
    yield Case(gone, False, "19 were too few", registered("19x69 5x40"), at=75)
    yield Case(gone, False, "for a minute only", registered("20x69 0x1 20x40"), at=76)
    # Started at minute 40: contacts are not known yet.
    restarted = registered("20x39 0x60", started="0x39 2400x60")
    yield Case(gone, False, "the daemon has just begun to learn them", restarted, at=60)

    def registers(refused: int, timeout: int, well: int) -> dict[str, str]:
        name = "sipwatch_registration_attempts_total"
        return (
            series(name, jump(refused), result="refused")
            | series(name, jump(timeout), result="timeout")
            | series(name, jump(well), result="success")
        )

    failing = "SipwatchRegistrationsFailing"
    yield Case(failing, True, "10 of 50", registers(6, 4, 40))
    yield Case(failing, False, "10 of 51", registers(6, 4, 41))
    yield Case(failing, False, "49 say little", registers(10, 4, 35))

    asr, seizures = "job_direction_peer:sipwatch_asr:ratio_rate1h", "sipwatch_seizures:rate5m"
    hour, week = 60 // 30, 7 * _DAY

    def answers(then: float, now: float, hourly: float, direction: str = "outbound") -> Case:
        place = f'job="sipwatch",direction="{direction}",peer="carrier"'
        return Case(
            "SipwatchAnswersFewer",
            False,
            "",
            {
                f"{asr}{{{place}}}": f"{then}x{week - 1} {now}x{2 * hour}",
                f"job_direction_peer:{seizures}{{{place}}}": f"{hourly / 3600}x{week + 2 * hour}",
            },
            at=7 * 24 * 60 + 60,
            interval=30,
        )

    for fires, why, case in (
        (True, "50% became 29%", answers(0.5, 0.29, 101)),
        (False, "50% became 31%", answers(0.5, 0.31, 101)),
        (False, "99 seizures an hour", answers(0.5, 0.1, 99)),
        (False, "callers are no trunk", answers(0.5, 0.1, 500, "inbound")),
    ):
        yield Case(case.alert, fires, why, case.series, at=case.at, interval=case.interval)

    def delays(number: int, slow: int) -> dict[str, str]:
        name = "sipwatch_post_dial_delay_seconds"
        return (
            series(f"{name}_bucket", jump(number - slow), le="8.0")
            | series(f"{name}_bucket", jump(number), le="16.0")
            | series(f"{name}_bucket", jump(number), le="+Inf")
            | series(f"{name}_count", jump(number))
        )

    late = "SipwatchRingbackLate"
    yield Case(late, True, "2 of 20 take more than 8 s", delays(20, 2))
    yield Case(late, False, "one of 20 does", delays(20, 1))
    yield Case(late, False, "19 calls say little", delays(19, 9))


def _hearing() -> Iterator[Case]:
    """What the daemon notices by itself: once it holds long enough."""
    for alert, kind, wait in (
        ("SipwatchNoSip", "no_sip", 10),
        ("SipwatchOneDirection", "one_direction", 5),
        ("SipwatchEncryptedOnly", "encrypted_only", 10),
        ("SipwatchInterfaceDown", "interface_down", 2),
        ("SipwatchSnapped", "snapped", 10),
    ):
        made = series("sipwatch_problem", jump(1), kind=kind)
        yield Case(alert, True, "long enough", made, at=QUIET + wait)
        yield Case(alert, False, "not yet", made, at=QUIET + wait - 1)
        yield Case(alert, False, "all is well", series("sipwatch_problem", jump(0), kind=kind))
        other = series("sipwatch_problem", jump(1), kind="inflated")
        yield Case(alert, False, "joined packets are harmless", other)

    silent = series("sipwatch_problem", jump(1), kind="no_traffic")

    def packets(values: str) -> dict[str, str]:
        return series("sipwatch_capture_packets_total", values, interface="eth0")

    yield Case("SipwatchNoTraffic", True, "it was heard before", silent | packets("9x120"), at=11)
    yield Case("SipwatchNoTraffic", False, "not yet", silent | packets("9x120"), at=10)
    yield Case("SipwatchNoTraffic", True, "an hour later", silent | packets("9x120"), at=100)
    yield Case("SipwatchNoTraffic", False, "never heard", silent | packets("0x120"), at=60)
    yield Case("SipwatchNeverTraffic", True, "never heard", silent | packets("0x120"), at=21)
    yield Case("SipwatchNeverTraffic", False, "not yet", silent | packets("0x120"), at=20)
    yield Case("SipwatchNeverTraffic", False, "heard before", silent | packets("9x120"), at=60)

    yield Case("SipwatchDown", True, "two minutes", series("up", jump(0, start=1)), at=8)
    yield Case("SipwatchDown", False, "one minute", series("up", jump(0, start=1)), at=7)
    yield Case("SipwatchDown", False, "it answers", series("up", "1x120"), at=60)
    other_job = {'up{job="node",instance="pbx:9100"}': "0x120"}
    yield Case("SipwatchDown", False, "another job", other_job, at=60)
    yield Case("SipwatchAbsent", True, "only another job", other_job, at=10)
    yield Case("SipwatchAbsent", False, "not yet", other_job, at=9)
    yield Case("SipwatchAbsent", False, "there, but down", series("up", "0x120"), at=60)


def _losses() -> Iterator[Case]:
    def traffic(read: int, lost: int) -> dict[str, str]:
        """Packets a minute."""
        return (
            series("sipwatch_capture_packets_total", f"0+{read}x{LONG}", interface="eth0")
            | series(
                "sipwatch_capture_drops_total", f"0+{lost}x{LONG}", interface="eth0", where="ring"
            )
            | series(
                "sipwatch_capture_drops_total", f"0x{LONG}", interface="eth0", where="interface"
            )
        )

    yield Case("SipwatchDrops", True, "11 of 10,000", traffic(9_989, 11))
    yield Case("SipwatchDrops", False, "9 of 10,000", traffic(9_991, 9))
    yield Case("SipwatchDrops", False, "no packets at all", traffic(0, 0))
    yield Case("SipwatchDrops", False, "not yet", traffic(9_000, 1_000), at=5)
    yield Case("SipwatchDropsMany", True, "6%", traffic(9_400, 600))
    yield Case("SipwatchDropsMany", True, "everything", traffic(0, 600))
    yield Case("SipwatchDropsMany", False, "4%", traffic(9_600, 400))

    lag = "sipwatch_processing_lag_seconds"
    yield Case("SipwatchLag", True, "2.1 s for five minutes", series(lag, jump(2.1)), at=11)
    yield Case("SipwatchLag", False, "1.9 s", series(lag, jump(1.9)), at=30)
    yield Case("SipwatchLag", False, "not yet", series(lag, jump(2.1)), at=10)

    good, unknown = "answered", "incomplete"
    two = attempts(unknown, 2)
    yield Case("SipwatchIncomplete", True, "2 of 40", two | attempts(good, 38))
    yield Case("SipwatchIncomplete", False, "2 of 41", two | attempts(good, 39))
    yield Case("SipwatchIncomplete", False, "2 of 39 say little", two | attempts(good, 37))


def _daemon() -> Iterator[Case]:
    for alert, metric in (
        ("SipwatchConfigNotTakenUp", "sipwatch_config_reload_success"),
        ("SipwatchWebConfigNotTakenUp", "sipwatch_web_config_reload_success"),
    ):
        made = series(metric, jump(0, start=1))
        yield Case(alert, True, "five minutes", made, at=11)
        yield Case(alert, False, "not yet", made, at=10)
        yield Case(alert, False, "taken up", series(metric, "1x120"))
    written = "sipwatch_records_writable"
    failing = series(written, jump(0, start=1), sink="sqlite")
    yield Case("SipwatchRecordsNotWritten", True, "five minutes", failing, at=11)
    yield Case("SipwatchRecordsNotWritten", False, "not yet", failing, at=10)
    for alert, metric, label in (
        ("SipwatchRecordsLost", "sipwatch_records_dropped_total", {"sink": "sqlite"}),
        ("SipwatchEvictions", "sipwatch_tracker_evictions_total", {"kind": "attempts"}),
        ("SipwatchSeriesLimit", "sipwatch_metric_overflow_total", {"metric": "m"}),
        ("SipwatchFault", "sipwatch_internal_errors_total", {}),
    ):
        yield Case(alert, True, "one", series(metric, jump(1), **label), at=7)
        yield Case(alert, False, "none", series(metric, "0x120", **label), at=7)
        yield Case(alert, False, "none since the start", series(metric, "5x120", **label), at=7)

    start = "process_start_time_seconds"
    yield Case("SipwatchRestarts", True, "four", series(start, "0x5 1x5 2x5 3x5 4x60"), at=30)
    yield Case("SipwatchRestarts", False, "three", series(start, "0x5 1x5 2x5 3x60"), at=30)
    other = {f'{start}{{job="node",instance="pbx:9100"}}': "0x5 1x5 2x5 3x5 4x60"}
    yield Case("SipwatchRestarts", False, "another program", other, at=30)
