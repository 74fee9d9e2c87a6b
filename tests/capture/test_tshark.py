"""Wireshark's decoder as a source: the same answer as ours, and what only it can read.

tshark takes a third of a second to start, so by default both decoders are compared on a part of
the captures: the smallest ones that together have every feature, link type and file format of the
index, and every sixteenth of the PBXs' captures. With SIPWATCH_ALL_CAPTURES=1 in the environment
they are compared on all of them, some two minutes more; CI may set it where its time allows. What
the index lists of every capture is held against our own decoder in any case
(test_capture_shared).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from network_namespace import Namespace
from tls_talk import (
    SIPS_PORT,
    TALK,
    VERSIONS,
    WEBSOCKET_TALK,
    WSS_PORT,
    TlsTalk,
    recorded,
)

from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.stats import CaptureError
from sipwatch.capture.tshark import TsharkFile, TsharkFiles
from sipwatch.capture.tshark_live import TsharkLive
from sipwatch.capture.tshark_output import BAD_LINE, parse_packet
from sipwatch.net.types import Batch, Datagram

SHARED = Path(__file__).parents[3] / "shared" / "captures"
INDEX = SHARED / "INDEX.jsonl"

ENTRIES: list[dict[str, Any]] = (
    [json.loads(line) for line in INDEX.read_text().splitlines()] if INDEX.exists() else []
)
BY_FILE = {entry["file"]: entry for entry in ENTRIES}
PBX_CAPTURES = [
    path
    for folder in ("asterisk", "freeswitch")
    for path in sorted(SHARED.glob(f"{folder}/*.pcap"))
]

#: Where packets were damaged at random: tshark wants more of a message to be whole than we do.
FUZZED = {"nDPI-fuzz-2006-06-26-2594.pcap"}


def traits(entry: dict[str, Any]) -> set[str]:
    """What a capture has that another may not have."""
    return {*entry["features"], entry["linktype"], entry["format"]}


def captures() -> list[Path]:
    """Those that are compared; see the module's docstring."""
    if os.environ.get("SIPWATCH_ALL_CAPTURES"):
        return [SHARED / entry["file"] for entry in ENTRIES] + PBX_CAPTURES
    covered: set[str] = set()
    chosen = []
    for entry in sorted(ENTRIES, key=lambda one: (one["size"], one["file"])):
        if entry["file"] in FUZZED or traits(entry) - covered:
            covered |= traits(entry)
            chosen.append(SHARED / entry["file"])
    return chosen + PBX_CAPTURES[::16]


CAPTURES = captures()


def test_the_captures_have_every_feature() -> None:
    names = {path.name for path in CAPTURES}
    compared = [entry for entry in ENTRIES if Path(entry["file"]).name in names]
    assert set().union(*map(traits, compared)) == set().union(*map(traits, ENTRIES))


def read(source: TsharkFile | TsharkFiles | CaptureFiles) -> Batch:
    return [one for batch in source.batches() for one in batch]


def by_content(batch: Batch) -> Counter[tuple[object, ...]]:
    """All but the times, which are rounded in other places; bodies to their Content-Length."""
    return Counter(
        (
            type(one).__name__,
            one.number,
            one.source,
            one.destination,
            one.transport if isinstance(one, Datagram) else one.reporter,
            one.ip_id,
            one.udp_check,
            head_of(one.payload),
        )
        for one in batch
    )


def head_of(payload: bytes) -> bytes:
    return payload.split(b"\r\n\r\n")[0]


@pytest.mark.skipif(not CAPTURES, reason="the shared captures are not here")
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_both_decoders_give_the_same(path: Path) -> None:
    by_tshark, by_us = read(TsharkFile(str(path))), read(CaptureFiles([str(path)]))
    if path.name in BY_FILE:
        assert counted(by_tshark) == (
            BY_FILE[path.name]["requests"],
            BY_FILE[path.name]["responses"],
        )
    if path.name in FUZZED:
        assert not by_content(by_tshark) - by_content(by_us)
        return
    assert by_content(by_tshark) == by_content(by_us)
    bodies = sorted((one.number, one.payload) for one in by_tshark)
    for (_, theirs), (_, ours) in zip(
        bodies, sorted((one.number, one.payload) for one in by_us), strict=True
    ):
        # tshark leaves out what follows the Content-Length in a datagram (RFC 3261 18.3).
        assert ours.startswith(theirs)
    times = [sorted(one.time for one in batch) for batch in (by_tshark, by_us)]
    assert times[0] == pytest.approx(times[1], abs=1e-5)


def counted(batch: Batch) -> tuple[Counter[str], Counter[str]]:
    """Requests by method, responses by status, as the index counts them."""
    requests: Counter[str] = Counter()
    responses: Counter[str] = Counter()
    for one in batch:
        if isinstance(one, Datagram):
            words = one.payload.split(b"\n")[0].split()
            if words[0].upper().startswith(b"SIP/"):
                responses[words[1].decode()] += 1
            else:
                requests[short(words[0].decode())] += 1
    return requests, responses


def short(method: str) -> str:
    """How the index writes methods that no one would."""
    return method if len(method) <= 40 else f"{method[:24]}...({len(method)})"


def test_the_stats_say_what_the_file_holds() -> None:
    path = SHARED / "heplify-sip_ipv4_tcp.pcap"
    if not path.exists():
        pytest.skip("the shared captures are not here")
    source = TsharkFile(str(path))
    assert len(read(source)) == 7
    stats = source.stats()
    ours = CaptureFiles([str(path)])
    read(ours)
    assert stats.packets == ours.stats().packets == 84
    assert stats.bytes == ours.stats().bytes
    assert stats.sip_datagrams == 7
    assert stats.first_time == pytest.approx(ours.stats().first_time, abs=1e-5)
    assert stats.last_time == pytest.approx(ours.stats().last_time, abs=1e-5)
    assert stats.damage == []


# What is wrong with an input ---------------------------------------------------------------------


def test_a_file_that_is_cut_short(tmp_path: Path, tls: TlsTalk, tls_capture: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(tls_capture.read_bytes()[:-7])
    source = TsharkFile(str(path), str(tls.keylog))
    assert [one.payload for one in read(source)] == [text for _, text in TALK] * 4
    (damage,) = source.stats().damage
    assert "cut short" in damage.what


@pytest.mark.parametrize("content", [b"", b"this is no capture\n" * 20])
def test_a_file_that_is_no_capture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=r"notes\.txt: "):
        read(TsharkFile(str(path)))


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="gone"):
        read(TsharkFiles([str(tmp_path / "gone.pcap")]))


def test_a_key_log_that_does_not_exist(tmp_path: Path, tls_capture: Path) -> None:
    with pytest.raises(CaptureError, match="the key log cannot be read"):
        read(TsharkFile(str(tls_capture), str(tmp_path / "no.log")))


def test_without_tshark_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CaptureError, match="apt install tshark"):
        TsharkFiles(["x.pcap"])
    with pytest.raises(CaptureError, match="apt install tshark"):
        read(TsharkFile("x.pcap"))


@pytest.mark.parametrize(
    "line",
    [
        b'{"timestamp":"1","layers":{}}',
        b'{"timestamp":"1"',
        b'{"timestamp":"1","layers":{"frame":{"frame_frame_number":"x"}}}',
        b'{"timestamp":"1","layers":{"frame":{"frame_frame_number":"1",'
        b'"frame_frame_time_epoch":"1.5","frame_frame_protocols":"eth:ip:udp:sip"},'
        b'"ip_raw":"4500","udp_raw":"13","sip_raw":"zz"}}',
    ],
)
def test_lines_that_are_not_as_they_should_be(line: bytes) -> None:
    with pytest.raises(BAD_LINE):
        parse_packet(line, "x")


def test_other_lines_are_passed_over() -> None:
    assert parse_packet(b"", "x") == []
    assert parse_packet(b'{"index":{"_index":"packets-2018-11-12","_type":"doc"}}', "x") == []


# Encrypted ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsTalk:
    return TlsTalk(Namespace(), tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_capture(tls: TlsTalk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SIP over TLS and over WSS, each in TLS 1.2 and 1.3, one connection after the other."""
    path = tmp_path_factory.mktemp("recorded") / "tls.pcap"
    with recorded(tls.namespace, path):
        for version in VERSIONS.values():
            tls.run(SIPS_PORT, version, TALK)
            tls.run(WSS_PORT, version, WEBSOCKET_TALK)
    return path


def test_sip_over_tls_and_wss_with_the_keys(tls: TlsTalk, tls_capture: Path) -> None:
    found = read(TsharkFile(str(tls_capture), str(tls.keylog)))
    datagrams = [one for one in found if isinstance(one, Datagram)]
    assert [one.payload for one in datagrams] == [text for _, text in TALK] * 4
    assert [one.transport for one in datagrams] == (["TLS"] * 4 + ["WSS"] * 4) * 2
    client_sends = [who == 0 for who, _ in TALK] * 4
    assert [one.destination[1] in (SIPS_PORT, WSS_PORT) for one in datagrams] == client_sends
    numbers = [one.number for one in datagrams]
    assert numbers == sorted(numbers)
    assert all(one.ip_id == one.udp_check == -1 for one in datagrams)


def test_without_keys_the_connections_are_counted(tls_capture: Path) -> None:
    assert read(TsharkFile(str(tls_capture))) == []
    ours = CaptureFiles([str(tls_capture)])
    assert read(ours) == []
    assert ours.stats().net.tls_connections == {SIPS_PORT: 2, WSS_PORT: 2}


def test_another_port_by_a_rule(tls: TlsTalk, tmp_path: Path) -> None:
    path = tmp_path / "other.pcap"
    with recorded(tls.namespace, path):
        tls.run(5671, VERSIONS["TLS 1.3"], TALK)
    rule = ["tls.port==5671,sip"]
    found = read(TsharkFile(str(path), str(tls.keylog), decode_as=rule))
    assert [one.payload for one in found] == [text for _, text in TALK]


def test_files_that_overlap_come_in_order_of_time(
    tls: TlsTalk, tls_capture: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.pcap"
    copy.write_bytes(tls_capture.read_bytes())
    source = TsharkFiles([str(tls_capture), str(copy)], str(tls.keylog))
    times = [one.time for one in read(source)]
    assert times == sorted(times)
    assert len(times) == 8 * len(TALK)
    assert source.bytes_read == source.bytes_total == 2 * tls_capture.stat().st_size
    limited = TsharkFiles([str(tls_capture)], str(tls.keylog), since=times[8], until=times[8])
    assert 0 < len(read(limited)) < len(times) // 2


def test_connections_cross_the_edges_of_a_rotating_set(
    tls: TlsTalk, tls_capture: Path, tmp_path: Path
) -> None:
    """Packets 12 and 45 lie within connections: only who saw the handshake can read on."""
    whole = read(TsharkFile(str(tls_capture), str(tls.keylog)))
    paths = [str(tmp_path / name) for name in ("2-first", "1-second", "0-third")]
    for path, packets in zip(paths, ("1-12", "13-45", "46-99999"), strict=True):
        command = ["editcap", "-r", str(tls_capture), path, packets]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    source = TsharkFiles(paths[::-1], str(tls.keylog))
    found = read(source)
    assert [one.payload for one in found] == [one.payload for one in whole]
    begins = dict(zip(paths, (0, 12, 45), strict=True))
    assert [begins[one.interface] + one.number for one in found] == [one.number for one in whole]
    stats = source.stats()
    assert stats.sip_datagrams == len(whole)
    assert [file.packets for file in stats.files][:2] == [12, 33]
    assert stats.damage == []
    assert source.bytes_read == source.bytes_total


def test_live_with_a_key_log_that_grows(tls: TlsTalk) -> None:
    capture = TsharkLive(["lo"], str(tls.keylog), ports=[SIPS_PORT, WSS_PORT])
    with tls.namespace.entered():
        capture.open()
    try:
        capture.start()
        # tshark says nothing when it is ready: the talk is repeated until it is heard.
        found: Batch = []
        deadline = time.monotonic() + 60
        while not found and time.monotonic() < deadline:
            tls.run(SIPS_PORT, VERSIONS["TLS 1.3"], TALK)
            found = capture.poll(2.0)
        last = TALK[-1][1]
        while found and found[-1].payload != last and time.monotonic() < deadline:
            found = found + capture.poll(2.0)
        datagrams = [one for one in found if isinstance(one, Datagram)]
        assert {one.transport for one in datagrams} == {"TLS"}
        assert datagrams[-1].payload == last
        assert {one.payload for one in datagrams} <= {text for _, text in TALK}
        assert capture.now() >= datagrams[-1].time
        assert capture.stats().packets == len(datagrams)
        assert capture.poll(0.1) == []
    finally:
        capture.close()


def test_live_on_an_interface_that_does_not_exist() -> None:
    capture = TsharkLive(["nosuch0"])
    capture.open()
    try:
        with pytest.raises(LiveCaptureError, match="nosuch0"):
            capture.poll(30.0)
    finally:
        capture.close()
