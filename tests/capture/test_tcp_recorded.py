"""SIP over TCP between two SIPp, in small segments, recorded by tcpdump: every message is found."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from network_namespace import Namespace
from tls_talk import recorded

from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.tshark import TsharkFile
from sipwatch.net.types import Batch, Datagram

CALLS = 40


def talk(namespace: Namespace, folder: Path, transport: str) -> None:
    """Calls that are answered and hung up, at once one after the other."""
    common = ["-t", transport, "-i", "127.0.0.1", "-nostdin", "-max_socket", "500"]
    common += ["-m", str(CALLS)]
    with namespace.entered():
        server = subprocess.Popen(
            ["sipp", "-sn", "uas", "-p", "5060", *common],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while ":5060" not in namespace.run("ss", "-ltn"):
                assert server.poll() is None, "sipp does not run"
                time.sleep(0.05)
            subprocess.run(
                [
                    "sipp",
                    "-sn",
                    "uac",
                    "-p",
                    "5070",
                    "-r",
                    "40",
                    "-d",
                    "50",
                    *common,
                    "127.0.0.1:5060",
                ],
                cwd=folder,
                capture_output=True,
                timeout=60,
                check=True,
            )
            server.wait(20)
        finally:
            server.kill()
            server.wait()


def read(source: CaptureFiles | TsharkFile) -> Batch:
    return [one for batch in source.batches() for one in batch]


@pytest.mark.parametrize("transport", ["t1", "tn"], ids=["one connection", "one for each call"])
def test_every_message_of_sipp_is_found(tmp_path: Path, transport: str) -> None:
    namespace = Namespace()
    namespace.ip("link", "set", "lo", "mtu", "400")
    namespace.run("ethtool", "-K", "lo", "tso", "off", "gso", "off", "gro", "off")
    path = tmp_path / "sipp.pcap"
    with recorded(namespace, path):
        talk(namespace, tmp_path, transport)
    source = CaptureFiles([str(path)])
    found = read(source)
    assert {one.transport for one in found if isinstance(one, Datagram)} == {"TCP"}
    assert Counter(one.payload.split(b" sip:")[0].split(b"\r\n")[0] for one in found) == {
        b"INVITE": CALLS,
        b"SIP/2.0 180 Ringing": CALLS,
        b"SIP/2.0 200 OK": 2 * CALLS,
        b"ACK": CALLS,
        b"BYE": CALLS,
    }
    # The messages did not fit into segments.
    assert source.stats().packets > 2 * len(found)
    by_tshark = read(TsharkFile(str(path)))
    assert [(one.number, one.payload) for one in found] == [
        (one.number, one.payload) for one in by_tshark
    ]
