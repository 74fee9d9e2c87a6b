"""The benchmarks' captures hold what their truth says; tshark counts it independently."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PACKETS = 8000
KINDS = ("mixed", "rtp")


class Made(NamedTuple):
    path: Path
    truth: dict[str, Any]


class Seen(NamedTuple):
    """A SIP message as tshark dissects it."""

    time: float
    source: str
    destination: str
    method: str
    status: str
    sequence_method: str
    call_id: str
    from_tag: str
    to_tag: str
    media: str


def make(kind: str, packets: int, directory: Path) -> Made:
    command = [sys.executable, BENCHMARKS / "captures.py", "--kind", kind]
    command += ["--packets", str(packets), "--directory", directory]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = directory.glob(f"{kind}-{packets}-*.pcap")
    return Made(path, json.loads(path.with_suffix(".json").read_text()))


def tshark(path: Path, *arguments: str) -> list[str]:
    command = ["tshark", "-n", "-r", str(path), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def messages(path: Path) -> list[Seen]:
    fields = ("frame.time_epoch", "ip.src", "ip.dst", "sip.Method", "sip.Status-Code")
    fields += ("sip.CSeq.method", "sip.Call-ID", "sip.from.tag", "sip.to.tag", "sdp.media.port")
    wanted = [part for name in fields for part in ("-e", name)]
    lines = tshark(path, "-Y", "sip", "-T", "fields", "-E", "occurrence=f", *wanted)
    return [Seen(float(time), *rest) for time, *rest in (line.split("\t") for line in lines)]


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(request.param, PACKETS, tmp_path_factory.mktemp("captures"))


@pytest.fixture(scope="module")
def seen(made: Made) -> list[Seen]:
    return messages(made.path)


def test_methods_and_statuses_are_as_many_as_tshark_counts(made: Made) -> None:
    statistics = "\n".join(tshark(made.path, "-q", "-z", "sip,stat"))
    statuses = re.findall(r"SIP (\d{3}) .*?:\s*(\d+) Packets", statistics)
    requests = re.findall(r"^  ([A-Z]+)\s+:\s*(\d+) Packets", statistics, re.MULTILINE)
    assert {code: int(count) for code, count in statuses} == made.truth["responses"]
    assert {method: int(count) for method, count in requests} == made.truth["requests"]
    total = re.search(r"Number of SIP messages: (\d+)", statistics)
    again = re.search(r"Number of resent SIP messages: (\d+)", statistics)
    assert total is not None
    assert again is not None
    assert int(total[1]) == made.truth["sip_messages"]
    assert int(again[1]) == sum(made.truth["resent"].values())


def test_every_packet_is_whole_and_its_checksums_hold(made: Made) -> None:
    checked = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    lines = tshark(made.path, *checked, "-T", "fields", "-e", "frame.number", "-e", "frame.len",
                   "-e", "ip.len", "-e", "ip.checksum.status", "-e", "udp.checksum.status",
                   "-e", "_ws.malformed")  # fmt: skip
    assert len(lines) == PACKETS
    for line in lines:
        number, length, ip_length, ip_checksum, udp_checksum, malformed = line.split("\t")
        assert (ip_checksum, udp_checksum, malformed) == ("1", "1", ""), number
        assert int(length) == int(ip_length) + 14, number


def test_times_never_go_back(made: Made) -> None:
    times = [float(line) for line in tshark(made.path, "-T", "fields", "-e", "frame.time_epoch")]
    assert times == sorted(times)


def test_shares_are_those_of_the_kind(made: Made) -> None:
    share = {"mixed": 0.45, "rtp": 0.048}[made.truth["kind"]]
    assert made.truth["dialog_messages"] / PACKETS == pytest.approx(share, abs=0.01)
    if made.truth["kind"] == "rtp":
        assert made.truth["rtp"] / PACKETS == pytest.approx(0.93, abs=0.005)
    assert made.truth["rtp"] + made.truth["sip_messages"] == PACKETS


def test_rtp_is_what_is_no_sip(made: Made) -> None:
    lines = tshark(made.path, "-Y", "not sip", "-T", "fields", "-e", "udp.length", "-e", "data")
    assert len(lines) == made.truth["rtp"]
    # A header of 12 bytes and 20 ms of G.711, whether tshark saw the offer or not.
    assert {line.split("\t")[0] for line in lines} == {str(8 + 12 + 160)}


class Attempts(NamedTuple):
    """What the messages alone say: a try is one caller's end to one target (RFC 3261 12.1)."""

    invited: set[tuple[str, str, str, str]]
    unseen: set[tuple[str, str, str, str]]
    finals: dict[tuple[str, str, str, str], list[str]]
    cancelled: set[tuple[str, str, str, str]]


def attempts_in(seen: list[Seen]) -> Attempts:
    invited, unseen, cancelled = set(), set(), set()
    finals: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    # A re-INVITE of the called side swaps the tags and the ends.
    inside = {
        (one.call_id, one.from_tag, one.source, one.destination)
        for one in seen
        if one.method == "INVITE" and one.to_tag
    }
    for one in seen:
        forth = (one.call_id, one.from_tag, one.source, one.destination)
        back = (one.call_id, one.from_tag, one.destination, one.source)
        if one.method == "INVITE" and not one.to_tag:
            invited.add(forth)
        elif one.method == "CANCEL":
            cancelled.add(forth)
        elif one.status and one.sequence_method == "INVITE" and back not in inside:
            if back not in invited:
                unseen.add(back)
            if int(one.status) >= 200:
                finals[back].append(one.status)
    return Attempts(invited, unseen, finals, cancelled)


def test_attempts_are_as_many_as_the_messages_show(made: Made, seen: list[Seen]) -> None:
    attempts = attempts_in(seen)
    outcomes = made.truth["outcomes"]
    assert len(attempts.unseen) == outcomes["incomplete"]
    assert len(attempts.invited | attempts.unseen) == made.truth["attempts"]
    assert sum(outcomes.values()) == made.truth["attempts"]


def test_outcomes_that_one_status_shows_are_as_many_as_their_statuses(
    made: Made, seen: list[Seen]
) -> None:
    attempts = attempts_in(seen)
    last = Counter(attempts.finals[one][-1] for one in attempts.invited if attempts.finals[one])
    outcomes = Counter(made.truth["outcomes"])
    assert outcomes["answered"] == last["200"]
    assert outcomes["agent_busy"] == last["486"]
    assert outcomes["not_found"] == last["404"]
    assert outcomes["not_acceptable"] == last["488"]
    assert outcomes["rejection_list"] == last["607"]
    assert outcomes["server_failure"] == last["503"]
    assert outcomes["unauthorized"] == last["401"] + last["407"]
    silent = {one for one in attempts.invited if not attempts.finals[one]}
    # The phone's leg of each, and both legs of the calls that still ring at the end.
    assert len(silent) == outcomes["device_not_responding"] / 2 + outcomes["in_progress"]
    # Both legs of an abandoned call, the losers of a fork, one leg of a ring timer's.
    left = outcomes["abandoned"] + outcomes["briefly_abandoned"]
    elsewhere = outcomes["redirected"] - last["302"]
    unanswered = len(attempts.cancelled) - left - elsewhere
    told = outcomes["no_answer"] - unanswered
    assert 0 < told <= unanswered
    assert len(attempts.cancelled) == last["487"]


def test_call_ids_and_media_ports_belong_to_one_call(seen: list[Seen]) -> None:
    offers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in seen:
        if one.method == "INVITE" and not one.to_tag:
            offers[one.source, one.media].add(one.call_id)
    assert len(offers) > 20
    assert [ids for ids in offers.values() if len(ids) > 1] == []


def test_the_same_capture_is_made_again(made: Made, tmp_path: Path) -> None:
    again = make(made.truth["kind"], PACKETS, tmp_path)
    first, second = (hashlib.sha256(one.path.read_bytes()).digest() for one in (made, again))
    assert first == second
    assert again.truth == made.truth


def test_a_larger_capture_holds_no_more_calls_at_a_time(tmp_path: Path) -> None:
    def most_at_a_time(packets: int) -> int:
        begun: dict[str, float] = {}
        ended: dict[str, float] = {}
        for one in messages(make("mixed", packets, tmp_path).path):
            if one.sequence_method in ("INVITE", "ACK", "BYE", "CANCEL"):
                begun.setdefault(one.call_id, one.time)
                ended[one.call_id] = one.time
        edges = sorted([(at, 1) for at in begun.values()] + [(at, -1) for at in ended.values()])
        open_, most = 0, 0
        for _, change in edges:
            open_ += change
            most = max(most, open_)
        return most

    # Long enough for the longest call, so that both reach their full number of calls.
    small, large = most_at_a_time(16_000), most_at_a_time(48_000)
    assert small > 100
    assert large < 1.25 * small


def test_too_small_a_capture_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "captures.py", "--packets", "10"]
    done = subprocess.run([*command, "--directory", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--packets: at least 1000" in done.stderr
    assert list(tmp_path.iterdir()) == []


# The runner


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Modules of the benchmarks, which import each other as scripts of one folder do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_the_gate_names_each_outcome_whose_count_differs(
    bench: Callable[[str], Any], tmp_path: Path
) -> None:
    truth = {"outcomes": {"answered": 2, "declined": 1, "agent_busy": 1}}
    capture = bench("captures").Capture("mixed", 60000, tmp_path / "no.pcap", truth)
    records = tmp_path / "records.jsonl"

    def differences(*outcomes: str) -> list[str]:
        lines = [json.dumps({"kind": "attempt", "outcome": one}) for one in outcomes]
        records.write_text("".join(line + "\n" for line in lines))
        found: list[str] = bench("gate").differences(capture, records)
        return found

    assert differences("declined", "answered", "agent_busy", "answered") == []
    assert differences("answered", "answered", "declined", "declined") == [
        "mixed 60,000: agent_busy: 0 records, 1 expected",
        "mixed 60,000: declined: 2 records, 1 expected",
    ]
    assert differences("answered", "declined", "agent_busy") == [
        "mixed 60,000: answered: 1 records, 2 expected",
        "mixed 60,000: 3 records, 4 expected",
    ]


def test_growth_tells_linear_from_quadratic_and_constant(bench: Callable[[str], Any]) -> None:
    fit = bench("growth").fit
    sizes = [10, 100, 1000]
    line = fit(sizes, [5 + 3 * size for size in sizes])
    assert (line.start, line.each) == pytest.approx((5, 3))
    assert fit(sizes, [7 * size for size in sizes]).exponent == pytest.approx(1)
    assert fit(sizes, [2 * size**2 for size in sizes]).exponent == pytest.approx(2)
    assert fit(sizes, [4, 4, 4]).exponent == pytest.approx(0)
    with pytest.raises(ValueError, match="two sizes"):
        fit([10, 10], [1, 2])


def test_the_peak_is_that_of_the_command(bench: Callable[[str], Any]) -> None:
    measure = bench("measure")
    held = 80_000_000
    big = measure.run([sys.executable, "-c", f"kept = b'x' * {held}"])
    small = measure.run([sys.executable, "-c", "pass"])
    assert small.peak < held < big.peak < 2 * held
    assert 0 < small.cpu <= 2 * small.wall


def test_a_command_that_fails_is_no_measurement(bench: Callable[[str], Any]) -> None:
    measure = bench("measure")
    script = "import sys; sys.exit('out of tune')"
    with pytest.raises(measure.CommandFailedError, match="exit status 1: out of tune"):
        measure.run([sys.executable, "-c", script])


# Calls for the live benchmark


@pytest.mark.parametrize("name", ["full_call", "busy", "not_found", "left_soon"])
def test_marked_frames_are_whole_calls_of_their_own(
    name: str, bench: Callable[[str], Any], tmp_path: Path
) -> None:
    templates, frames = bench("templates"), bench("traffic.frames")
    flow = getattr(templates, name)()
    path = tmp_path / "marked.pcap"
    with frames.PcapWriter(path) as pcap:
        for call in range(3):
            for stage in flow.stages:
                rest = stage.frames.replace(templates.MARK, b"%08x" % call)
                for length in stage.lengths:
                    pcap.write(call + stage.delay, rest[:length])
                    rest = rest[length:]
                assert rest == b""
    checked = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    bad = "_ws.malformed || ip.checksum.status != 1 || udp.checksum != 0 || !sip"
    assert tshark(path, *checked, "-Y", bad) == []
    seen = messages(path)
    labels = Counter(one.method or one.status for one in seen)
    assert labels == Counter({label: 3 * count for label, count in flow.messages.items()})
    attempts = attempts_in(seen)
    assert len(attempts.invited) == len({call_id for call_id, *_ in attempts.invited}) == 3
    final = {"answered": "200", "agent_busy": "486", "not_found": "404"}.get(flow.outcome, "487")
    assert [codes for codes in attempts.finals.values() if codes != [final]] == []
    # No branch of one call comes in another.
    wanted = ("-Y", "sip.Request-Line", "-T", "fields", "-E", "occurrence=f")
    calls_of = defaultdict(set)
    for line in tshark(path, *wanted, "-e", "sip.Via.branch", "-e", "sip.Call-ID"):
        branch, call_id = line.split("\t")
        calls_of[branch].add(call_id)
    assert {len(calls) for calls in calls_of.values()} == {1}
