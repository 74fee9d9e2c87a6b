"""What could not be read is named in the report, in the reader's language and in the right unit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from sipwatch.net import carriers
from sipwatch.outcomes.guide.texts import Texts, languages

ROOT = Path(__file__).resolve().parents[2]
ENDS = {"src": "192.0.2.1", "dst": "192.0.2.2"}


def invite(number: int) -> bytes:
    return (
        f"INVITE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK{number}\r\n"
        f"From: <sip:a@192.0.2.1>;tag=f\r\nTo: <sip:b@192.0.2.2>\r\nCall-ID: call-{number}\r\n"
        f"CSeq: 1 INVITE\r\nContent-Length: 1800\r\n\r\n"
    ).encode() + b"a=x\r\n" * 360


def segments(*, without: range) -> list[Packet]:
    stream = invite(1) + invite(2)
    return [
        IP(**ENDS) / TCP(sport=40_000, dport=5060, seq=1 + at, flags="PA") / Raw(stream[at:][:500])
        for at in range(0, len(stream), 500)
        if at not in without
    ]


def first_fragment() -> list[Packet]:
    whole = IP(**ENDS, id=7) / UDP(sport=5060, dport=5060) / Raw(invite(1))
    return [fragment(whole, fragsize=800)[0]]


@pytest.mark.parametrize(
    ("packets", "lines"),
    [
        (
            segments(without=range(500, 1000)),
            {
                "en": "Not decoded: SIP over TCP: gaps in streams: 1",
                "tr": "Çözülmeyenler: TCP üzerinden SIP: akışlardaki boşluklar: 1",
            },
        ),
        (
            first_fragment(),
            {
                "en": "Not decoded: IP fragments: datagrams of which only the first fragment was"
                " captured: 1",
                "tr": "Çözülmeyenler: IP parçaları: yalnızca ilk parçası yakalanan datagramlar: 1",
            },
        ),
    ],
    ids=["a gap", "a fragment"],
)
@pytest.mark.parametrize("language", ["en", "tr"])
def test_the_report_names_it(
    tmp_path: Path, packets: list[Packet], lines: dict[str, str], language: str
) -> None:
    path = tmp_path / "lost.pcap"
    macs = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
    wrpcap(str(path), [Ether(**macs) / packet for packet in packets])
    command = [sys.executable, "-m", "sipwatch", "replay", str(path), "--lang", language]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert lines[language] in " ".join(done.stdout.split())


def test_there_are_words_for_every_reason() -> None:
    reasons = [
        reason
        for carrier in (carriers.Fragments, carriers.Tcp, carriers.Sctp)
        for reason in carrier._LOST.values()
    ]
    assert len(reasons) > 15
    for language in languages():
        known = list(Texts.load(language).keys())
        keys = {key for key in known if "not_decoded_why" in key}
        slugs = {
            "".join(sign if sign.isalnum() else " " for sign in reason).lower()
            for reason in reasons
        }
        wanted = {f"report.not_decoded_why.{'_'.join(slug.split())}" for slug in slugs}
        assert keys == wanted
