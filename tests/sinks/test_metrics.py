"""Metrics: what is counted under which labels, and how it is written for scrapers."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable

import pytest
from call_flows import Leg, abandoned, answered, busy, in_order, silent
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families

from sipwatch.config import Config, parse_toml
from sipwatch.outcomes.taxonomy import OUTCOMES
from sipwatch.pipeline import Pipeline
from sipwatch.sinks.metrics import CallMetrics, Reading, SnapshotCollector, exposition
from sipwatch.sinks.metrics import families as f
from sipwatch.sinks.metrics.families import FAMILIES, Family
from sipwatch.sinks.metrics.labels import USUAL_CODE, agent_label, code_label, method_label
from sipwatch.sinks.metrics.messages import bound_messages, sip_readings
from sipwatch.sinks.metrics.readings import Witness
from sipwatch.sinks.metrics.tables import CounterTable, Histogram
from sipwatch.sinks.metrics.texts import number

PBX = 'local_addresses = ["10.9.0.1"]\n'
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Counted = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def counted(legs: list[Leg], config: Config | None = None) -> tuple[CallMetrics, Pipeline]:
    config = config or parse_toml(PBX)
    pipeline, metrics = Pipeline(config), CallMetrics(config)
    packets = in_order(legs)
    metrics.take(pipeline.feed(packets))
    metrics.take(pipeline.finish(packets[-1].time + 600, "end_of_capture"))
    return metrics, pipeline


def series(readings: list[Reading]) -> Counted:
    """What a scraper understands of the text format."""
    _, body = exposition(readings)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_families(body.decode())
        for sample in family.samples
    }


def nonzero(found: Counted, name: str) -> dict[str, float]:
    return {
        " ".join(value for _, value in labels): value_
        for (each, labels), value_ in found.items()
        if each == name and value_
    }


# --- what is counted --------------------------------------------------------------------------


def test_attempts_by_direction_peer_outcome_and_code() -> None:
    config = parse_toml(PBX + '[peers]\ncarrier = ["10.9.0.50/32"]\n')
    legs = [
        busy(),
        answered(10, call_id="b"),
        silent(100, call_id="c"),
        abandoned(200, call_id="d"),
    ]
    metrics, _ = counted(legs, config)
    found = series(metrics.readings())
    # code, direction, outcome, peer
    assert nonzero(found, "sipwatch_attempts_total") == {
        "486 inbound agent_busy carrier": 1,
        "200 inbound answered carrier": 1,
        "none inbound device_not_responding carrier": 1,
        "487 inbound abandoned carrier": 1,
    }
    assert nonzero(found, "sipwatch_attempt_confidence_total") == {
        "explicit agent_busy": 1,
        "explicit answered": 1,
        "inferred device_not_responding": 1,
        "explicit abandoned": 1,
    }
    assert nonzero(found, "sipwatch_calls_total") == {
        "inbound agent_busy carrier": 1,
        "inbound answered carrier": 1,
        "inbound device_not_responding carrier": 1,
        "inbound abandoned carrier": 1,
    }
    assert nonzero(found, "sipwatch_dialogs_ended_total") == {"caller_hangup": 1}


def test_durations_fall_into_their_buckets() -> None:
    """Times of the script: 180 after 0.1 s, 2xx after 2.1 s, BYE 30 s later, its 200 after 0.05."""
    metrics, _ = counted([answered(), abandoned(100, after=9, call_id="b")])
    found = series(metrics.readings())

    def buckets(name: str, **labels: str) -> dict[float, float]:
        wanted = set(labels.items())
        return {
            float(dict(each)["le"]): value
            for (series_name, each), value in found.items()
            if series_name == f"sipwatch_{name}_bucket" and wanted <= set(each)
        }

    def first(name: str, **labels: str) -> float:
        return min(bound for bound, count in buckets(name, **labels).items() if count)

    assert first("ring_duration_seconds", outcome="answered") == 2
    assert first("ring_duration_seconds", outcome="abandoned") == 10
    assert first("session_setup_seconds", outcome="answered") == 4
    assert first("session_setup_seconds", outcome="abandoned") == 12
    assert first("session_request_delay_seconds", result="success") in (0.1, 0.2)
    assert first("session_request_delay_seconds", result="failure") == 0.5
    assert first("session_duration_seconds") == 30 or first("session_duration_seconds") == 60
    assert first("session_disconnect_delay_seconds") in (0.05, 0.1)
    assert buckets("post_dial_delay_seconds")[math.inf] == 2
    total = found["sipwatch_ring_duration_seconds_sum", (("outcome", "abandoned"),)]
    assert total == pytest.approx(9.0, abs=1e-5)


def test_a_challenge_is_no_failed_request() -> None:
    """RFC 6076 4.3.2 leaves 401, 402 and 407 out of the session request delay."""
    leg = Leg().request(0, "INVITE").reply(0.02, "407 Proxy Authentication Required")
    leg.request(0.03, "ACK")
    metrics, _ = counted([leg])
    found = series(metrics.readings())
    assert nonzero(found, "sipwatch_attempts_total") == {"407 inbound unauthorized other": 1}
    assert nonzero(found, "sipwatch_session_request_delay_seconds_count") == {}


def test_all_outcomes_are_there_from_the_start() -> None:
    config = parse_toml(PBX + '[peers]\ncarrier = ["10.9.0.50/32"]\n')
    found = series(CallMetrics(config).readings())
    attempts = {
        dict(labels)["outcome"] for name, labels in found if name == "sipwatch_attempts_total"
    }
    calls = {dict(labels)["outcome"] for name, labels in found if name == "sipwatch_calls_total"}
    assert attempts == {o.name for o in OUTCOMES if o.level != "call"} == set(USUAL_CODE)
    assert calls == {o.name for o in OUTCOMES}
    peers = {dict(labels)["peer"] for name, labels in found if name == "sipwatch_calls_total"}
    assert peers == {"carrier", "other"}
    assert set(found.values()) == {0}


def test_agents_only_when_asked_for_and_never_more_than_the_limit() -> None:
    legs = [
        busy(n, call_id=f"c{n}", uri=f"sip:{100 + n % 4}@10.9.0.1", branch=f"z9hG4bK-{n}")
        for n in range(8)
    ]
    metrics, _ = counted(legs)
    assert nonzero(series(metrics.readings()), "sipwatch_agent_attempts_total") == {}
    agents = "[agents]\nmetrics = true\npattern = '^1'\nlimit = 2\n"
    metrics, _ = counted(legs, parse_toml(PBX + agents))
    assert nonzero(series(metrics.readings()), "sipwatch_agent_attempts_total") == {
        "100 agent_busy": 2,
        "101 agent_busy": 2,
        "other agent_busy": 4,
    }
    assert metrics.agents.overflow == 4


def test_a_failed_attempt_names_its_call_in_openmetrics() -> None:
    metrics, _ = counted([busy(call_id='odd"id"\\@10.9.0.50'), answered(10, call_id="b")])
    kind, body = exposition(metrics.readings(), OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    attempts = next(
        family
        for family in openmetrics_families(body.decode())
        if family.name == "sipwatch_attempts"
    )
    exemplars = {s.labels["outcome"]: s.exemplar for s in attempts.samples if s.exemplar}
    assert {outcome: e.labels for outcome, e in exemplars.items()} == {
        "agent_busy": {"call_id": 'odd"id"\\@10.9.0.50'}
    }
    assert exemplars["agent_busy"].value == 1
    _, plain = exposition(metrics.readings())
    assert b"odd" not in plain


def test_messages_and_retransmissions() -> None:
    _, pipeline = counted([silent(), busy(100, call_id="b")])
    found = series(list(sip_readings(pipeline)))
    assert nonzero(found, "sipwatch_sip_requests_total") == {"INVITE": 8, "ACK": 1}
    assert nonzero(found, "sipwatch_sip_responses_total") == {"100 INVITE": 1, "486 INVITE": 1}
    assert nonzero(found, "sipwatch_sip_retransmissions_total") == {"request INVITE": 6}


# --- bounds -----------------------------------------------------------------------------------


def test_what_strangers_send_never_becomes_a_label() -> None:
    assert method_label("INVITE") == "INVITE"
    assert method_label("HACK") == "other"
    assert [code_label(status) for status in (0, 99, 100, 699, 700)] == [
        "none",
        "other",
        "100",
        "699",
        "other",
    ]
    assert agent_label("+49-30~1") == "+49-30~1"
    assert agent_label('1"} 1\n') == agent_label("") == agent_label("x" * 65) == "other"


def test_invented_methods_take_no_memory() -> None:
    _, pipeline = counted([busy()])
    for n in range(5000):
        pipeline.sip.requests[f"M{n}"] += 1
        pipeline.sip.responses[f"M{n}", 200 + n % 400] += 1
    bound_messages(pipeline)
    assert len(pipeline.sip.requests) < 64
    assert len(pipeline.sip.responses) < 1000
    found = series(list(sip_readings(pipeline)))
    assert nonzero(found, "sipwatch_sip_requests_total") == {"INVITE": 1, "ACK": 1, "other": 5000}
    answers = nonzero(found, "sipwatch_sip_responses_total")
    assert sum(value for labels, value in answers.items() if "other" in labels) == 5000


def test_a_full_table_counts_on_under_other() -> None:
    family = Family("sipwatch_x_total", "counter", "X.", ("a", "b"))
    table = CounterTable(family, [("one", "1")], limit=3)
    for n in range(10):
        table.add(("one", str(n)))
        table.add(("two", str(n)))
    assert sum(table.values.values()) == 20
    assert table.values["one", "1"] == 1
    assert set(table.values) - {("one", "other"), ("two", "other")} < {
        (a, str(n)) for a in ("one", "two") for n in range(10)
    }
    assert len(table.values) <= 5
    assert table.overflow > 0


@pytest.mark.parametrize(
    ("seconds", "place"), [(0.0, 0), (1.0, 0), (1.001, 1), (2.0, 1), (2.5, 2), (9e9, 2)]
)
def test_a_bound_belongs_to_its_bucket(seconds: float, place: int) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(seconds)
    assert histogram.counts.index(1) == place


def test_a_copy_does_not_grow() -> None:
    metrics, _ = counted([busy()])
    before = metrics.readings()
    body = exposition(before)
    more, _ = counted([busy(), busy(5, call_id="x"), answered(9, call_id="y")])
    del more
    packets = in_order([busy(50, call_id="z")])
    pipeline = Pipeline(parse_toml(PBX))
    metrics.take(pipeline.feed(packets) + pipeline.finish(packets[-1].time + 60, "shutdown"))
    assert exposition(before) == body
    assert exposition(metrics.readings()) != body


# --- formats ----------------------------------------------------------------------------------


@pytest.fixture
def readings() -> list[Reading]:
    """A reading of every family, with odd values, and real counts."""
    metrics, pipeline = counted([busy(), answered(10, call_id="b"), silent(100, call_id="c")])
    found = metrics.readings() + list(sip_readings(pipeline))
    shown = {reading.family for reading in found}
    for place, family in enumerate(each for each in FAMILIES if each not in shown):
        labels = tuple(f'v"\\{name}' for name in family.labels)
        found.append(Reading(family, {labels: place / 7 if family.kind == "gauge" else place}))
    return found


@pytest.mark.parametrize(
    ("accept", "parse"), [("", text_families), (OPENMETRICS, openmetrics_families)]
)
def test_the_reference_parser_reads_what_the_collector_gives(
    readings: list[Reading], accept: str, parse: Callable
) -> None:
    """prometheus-client reads our text as the samples that our collector hands to it."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(lambda: readings))
    _, body = exposition(readings, accept)
    understood = {family.name: family for family in parse(body.decode())}
    assert len(understood) == len(FAMILIES)
    for metric in registry.collect():
        family = understood[metric.name]
        assert (family.documentation, family.type) == (metric.documentation, metric.type)
        read = {(s.name, tuple(sorted(s.labels.items()))): s.value for s in family.samples}
        given = {(s.name, tuple(sorted(s.labels.items()))): s.value for s in metric.samples}
        assert read == pytest.approx(given)


def test_promtool_has_nothing_to_say(readings: list[Reading]) -> None:
    _, body = exposition(readings)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_metrics_of_others_go_between_ours(readings: list[Reading]) -> None:
    from prometheus_client import Counter

    registry = CollectorRegistry()
    Counter("foreign", "Not ours.", registry=registry).inc(3)
    for accept in ("", OPENMETRICS):
        kind, body = exposition([*registry.collect(), *readings], accept)
        assert b"foreign_total 3.0" in body
        assert body.count(b"# EOF") == (1 if "openmetrics" in kind else 0)


def test_an_exemplar_is_never_too_long() -> None:
    """OpenMetrics 1.0: the label names and values of an exemplar have 128 characters at most."""
    labels = ("inbound", "other", "agent_busy", "486")
    reading = Reading(f.ATTEMPTS, {labels: 1}, {labels: Witness("x" * 500, 1.0)})
    _, body = exposition([reading], OPENMETRICS)
    [family] = openmetrics_families(body.decode())
    exemplar = family.samples[0].exemplar
    assert sum(len(name) + len(value) for name, value in exemplar.labels.items()) == 128


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3, "3"),
        (3.0, "3"),
        (0.5, "0.5"),
        (1_776_934_800.25, "1776934800.25"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
