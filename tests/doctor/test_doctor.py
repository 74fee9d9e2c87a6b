"""Each thing that may be wrong on a host is made wrong, found, and mended as the doctor says."""

from __future__ import annotations

import ctypes
import os
import pwd
import shlex
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from live_frames import THERE, ethernet, ipv4, message, sip_frame, udp
from network_namespace import Namespace
from web_client import certificates

from sipwatch.capture.live import LiveCapture
from sipwatch.cli import main
from sipwatch.doctor import host, service
from sipwatch.doctor.ethtool import Ethtool
from sipwatch.doctor.findings import Level

_SO_GET_FILTER = 26


def test_all_is_well(cable: Namespace, examined, tmp_path: Path) -> None:
    file = tmp_path / "sipwatch.toml"
    file.write_text(
        f'interfaces = ["two"]\nports = [5060]\n[records]\ndirectory = "{tmp_path}"\n'
        '[web]\nlisten = "127.0.0.1:9742"\n'
    )
    found = examined(cable, "--config", str(file))
    assert found.status == 0
    assert found.findings["configuration"]["text"] == f"{file}: can be used"
    assert found.findings["interface two"] == {
        "check": "interface two",
        "level": "OK",
        "text": "up (Ethernet, MTU 1500, veth)",
        "remedy": None,
        "details": [],
    }
    assert found.findings["ring two"]["text"] == "16 MiB of memory, 64 blocks of 256 KiB"
    for check in ("capabilities", "kernel", "listen 127.0.0.1:9742", f"records {tmp_path}"):
        assert found.level(check) == "OK"


def test_interface_that_is_down_is_brought_up(cable: Namespace, examined) -> None:
    cable.ip("link", "set", "two", "down")
    found = examined(cable, "-i", "two")
    assert (found.status, found.level("interface two")) == (1, "FAIL")
    assert found.findings["interface two"]["text"].startswith("is down")
    cable.run(*shlex.split(found.findings["interface two"]["remedy"]))
    assert examined(cable, "-i", "two").level("interface two") == "OK"


def test_interface_without_carrier(cable: Namespace, examined) -> None:
    cable.ip("link", "set", "one", "down")
    found = examined(cable, "-i", "two")
    assert (found.status, found.level("interface two")) == (0, "WARN")
    assert "no carrier" in found.findings["interface two"]["text"]


def test_interface_that_does_not_exist(cable: Namespace, examined) -> None:
    found = examined(cable, "-i", "eth9", "--trial", "0.1")
    assert (found.status, found.level("interface eth9")) == (1, "FAIL")
    text = found.findings["interface eth9"]["text"]
    assert text.startswith("does not exist; there are: lo, ")
    assert {"one", "two"} <= set(text.partition("there are: ")[2].split(", "))
    assert "ring eth9" not in found.findings


def test_datagrams_joined_by_an_offload(cable: Namespace, examined) -> None:
    cable.run("ethtool", "-K", "two", "rx-udp-gro-forwarding", "on", "rx-gro-list", "on")
    found = examined(cable, "-i", "two")
    assert found.level("offloads two") == "WARN"
    cable.run(*shlex.split(found.findings["offloads two"]["remedy"]))
    assert examined(cable, "-i", "two").level("offloads two") == "OK"


def test_features_are_those_that_ethtool_sets(cable: Namespace) -> None:
    with cable.entered():
        ethtool = Ethtool()
    features = {"gro": "rx-gro", "tso": "tx-tcp-segmentation", "gso": "tx-generic-segmentation"}
    for option, name in features.items():
        for state in ("off", "on"):
            cable.run("ethtool", "-K", "two", option, state)
            assert (name in ethtool.active_features("two")) is (state == "on")
    assert ethtool.driver("two") == "veth"
    assert ethtool.driver("eth9") == ""
    with pytest.raises(OSError, match="No such device"):
        ethtool.active_features("eth9")
    ethtool.close()


def test_any_names_what_is_up(cable: Namespace, examined) -> None:
    found = examined(cable, "-i", "any")
    assert found.level("interface any") == "OK"
    assert {"offloads one", "offloads two", "ring any"} <= set(found.findings)


def test_any_with_nothing_but_a_loopback(namespace: Namespace, examined) -> None:
    found = examined(namespace)
    assert found.level("interface any") == "WARN"
    assert found.findings["interface any"]["text"] == "all of them, but only this is up: lo"


def test_interfaces_that_do_not_go_together(cable: Namespace, examined) -> None:
    found = examined(cable, "-i", "two", "-i", "any", "--trial", "0.1")
    assert (found.status, found.level("trial")) == (1, "FAIL")
    assert found.findings["trial"]["text"] == "interface any means all of them"
    assert found.findings["trial"]["remedy"] == "name no other beside it"


def test_without_privileges(cable: Namespace, without_privileges) -> None:
    found = without_privileges(cable, "-i", "two", "--trial", "0.1")
    assert found.status == 1
    for check in ("capabilities", "ring two", "trial"):
        assert found.level(check) == "FAIL"
        assert "CAP_NET_RAW" in found.findings[check]["remedy"]
    # What needs no privilege is answered all the same.
    assert found.level("interface two") == "OK"
    assert found.level("offloads two") == "OK"
    assert found.level("filter two") == "OK"


def filter_of(descriptor: int) -> list[tuple[int, int, int, int]]:
    """What the kernel runs on a socket; it counts in instructions, not in bytes."""
    buffer = ctypes.create_string_buffer(8 * 4096)
    count = ctypes.c_uint(4096)
    done = ctypes.CDLL(None).getsockopt(
        descriptor, socket.SOL_SOCKET, _SO_GET_FILTER, buffer, ctypes.byref(count)
    )
    assert done == 0
    return list(struct.iter_unpack("=HBBI", buffer.raw[: 8 * count.value]))


def test_filter_that_is_shown_is_the_one_that_the_kernel_runs(cable: Namespace, examined) -> None:
    options = ["--port", "5060", "--port", "7000-7010", "--tunnel", "vxlan", "--tunnel", "gre"]
    found = examined(cable, "-i", "two", "-i", "lo", *options)
    shown = found.findings["filter two, lo"]["details"]
    capture = LiveCapture(["two"], [5060, (7000, 7010)], tunnels=["vxlan", "gre"])
    with cable.entered():
        capture.open()
    running = filter_of(capture._taps[0].ring.fileno())
    capture.close()
    assert len(running) == len(shown)
    # Where a jump goes and what is compared can be read from the line itself.
    for index, ((number, if_true, if_false, k), line) in enumerate(
        zip(running, shown, strict=True)
    ):
        assert line.startswith(f"({index:03d}) ")
        if number == 0x15:
            assert line.split()[1:3] == ["jeq", f"#{k:#x}"]
            assert line.split()[3:] == [
                "jt",
                str(index + 1 + if_true),
                "jf",
                str(index + 1 + if_false),
            ]
    assert capture.filter_text().splitlines()[1:] == shown


def test_filter_that_is_too_long(cable: Namespace, examined) -> None:
    ports = [option for port in range(1000, 6000, 2) for option in ("--port", str(port))]
    found = examined(cable, "-i", "two", *ports)
    assert (found.status, found.level("filter two"), found.level("ring two")) == (
        1,
        "FAIL",
        "FAIL",
    )


def test_ring_of_another_size(cable: Namespace, examined) -> None:
    found = examined(cable, "-i", "two", "--ring", "2")
    assert found.findings["ring two"]["text"] == "2 MiB of memory, 8 blocks of 256 KiB"


def test_ports_that_are_open_here(namespace: Namespace, examined) -> None:
    assert examined(namespace).level("ports") == "WARN"
    with namespace.entered():
        tls = socket.create_server(("127.0.0.1", 5061))
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sip = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with tls, other, sip:
        found = examined(namespace)
        assert found.level("ports") == "WARN"
        assert "SIP over TLS and cannot be read" in found.findings["ports"]["text"]
        other.bind(("127.0.0.1", 5059))
        assert examined(namespace).findings["ports"]["text"] == found.findings["ports"]["text"]
        sip.bind(("::1", 5060))
        found = examined(namespace)
    assert found.level("ports") == "OK"
    assert found.findings["ports"]["text"].endswith("in use here: 5060/udp, 5061/tcp")


def test_where_to_listen(namespace: Namespace, examined, tmp_path: Path) -> None:
    with namespace.entered():
        busy = socket.create_server(("127.0.0.1", 9742))
    with busy:
        assert examined(namespace).level("listen 127.0.0.1:9742") == "WARN"
    assert examined(namespace).level("listen 127.0.0.1:9742") == "OK"
    file = tmp_path / "sipwatch.toml"
    file.write_text('[web]\nlisten = "192.0.2.1:9742"\n')
    found = examined(namespace, "--config", str(file))
    assert (found.status, found.level("listen 192.0.2.1:9742")) == (1, "FAIL")


def test_where_to_keep_records(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert service.records(tmp_path).level is Level.OK
    assert "to be made" in service.records(tmp_path / "new" / "place").text
    assert service.records(file).level is Level.FAIL
    assert service.records(file / "below").level is Level.FAIL
    assert service.records(tmp_path / ("x" * 300)).level is Level.FAIL
    secret = tmp_path / "secret"
    (secret / "inside").mkdir(parents=True)
    secret.chmod(0o700)
    os.seteuid(65534)
    try:
        found = [service.records(path) for path in (tmp_path, secret, secret / "inside")]
    finally:
        os.seteuid(0)
    for finding in found:
        assert finding.level is Level.FAIL
        assert "by user 65534" in finding.text
        assert "install -d -o sipwatch" in finding.remedy


def test_configuration_that_cannot_be_used(cable: Namespace, examined, tmp_path: Path) -> None:
    file = tmp_path / "sipwatch.toml"
    file.write_text("ports = [5060]\nport = 1\n")
    found = examined(cable, "--config", str(file), "-i", "two")
    assert (found.status, found.level("configuration")) == (1, "FAIL")
    assert f"{file}:2" in found.findings["configuration"]["text"]
    assert found.level("ring two") == "OK"


@pytest.fixture
def for_nobody() -> Iterator[Path]:
    """A folder that every user reaches; pytest's own are for root alone."""
    with tempfile.TemporaryDirectory(prefix="sipwatch-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_files_that_the_daemons_user_may_not_use(
    cable: Namespace, examined, for_nobody: Path
) -> None:
    """Root may read and write them all; each is mended as the doctor says."""
    file, web, kept = (for_nobody / name for name in ("sipwatch.toml", "web.yml", "records"))
    kept.mkdir(0o755)
    file.write_text(f'interfaces = ["two"]\n[records]\ndirectory = "{kept}"\n')
    web.write_text("")
    for path in (file, web):
        path.chmod(0o600)
    asked = ("--config", str(file), "--web-config", str(web))
    own = examined(cable, *asked)
    checks = ("configuration", "web configuration", f"records {kept}")
    assert [own.level(check) for check in checks] == ["OK", "OK", "OK"]
    his = examined(cable, *asked, "--user", "nobody")
    assert his.status == 1
    assert [his.findings[check]["text"] for check in checks] == [
        f"{file} cannot be read by user nobody",
        f"{web} cannot be read by user nobody",
        f"{kept} cannot be written by user nobody",
    ]
    for path in (file, web):
        path.chmod(0o644)
    os.chown(kept, *pwd.getpwnam("nobody")[2:4])
    mended = examined(cable, *asked, "--user", "nobody")
    assert [mended.level(check) for check in checks] == ["OK", "OK", "OK"]


def test_records_whose_directory_is_made_by_root_for_the_user(
    cable: Namespace, examined, for_nobody: Path
) -> None:
    file = for_nobody / "sipwatch.toml"
    file.write_text(f'interfaces = ["two"]\n[records]\ndirectory = "{for_nobody}/new"\n')
    found = examined(cable, "--config", str(file), "--user", "nobody")
    assert found.findings[f"records {for_nobody}/new"]["text"].startswith("writable, to be made")


def test_web_configuration_that_cannot_be_used(
    cable: Namespace, examined, for_nobody: Path
) -> None:
    web = for_nobody / "web.yml"
    web.write_text("tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n")
    found = examined(cable, "-i", "two", "--web-config", str(web))
    assert (found.status, found.level("web configuration")) == (1, "FAIL")
    assert f"{for_nobody}/tls.crt" in found.findings["web configuration"]["text"]
    certificates(for_nobody, "tls")
    assert examined(cable, "-i", "two", "--web-config", str(web)).level("web configuration") == "OK"
    # openssl gives the key to its owner alone.
    his = examined(cable, "-i", "two", "--web-config", str(web), "--user", "nobody")
    assert his.findings["web configuration"]["text"] == (
        f"{for_nobody}/tls.key cannot be read by user nobody"
    )


def test_configuration_that_the_environment_names(
    cable: Namespace, examined, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "sipwatch.toml"
    file.write_text('interfaces = ["two"]\n')
    monkeypatch.setenv("SIPWATCH_CONFIG", str(file))
    assert examined(cable).findings["configuration"]["text"] == f"{file}: can be used"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--port", "sip"], "sipwatch: --port: expected a port or a range such as 5060-5090"),
        (["--port", "5060-"], "sipwatch: --port: expected a port or a range"),
        (["--port", "0"], "sipwatch: port 0: must be from 1 to 65535, ranges in order"),
        (["--tunnel", "worm"], "sipwatch: tunnel 'worm' is not known: use one of ipip, gre"),
        (["--user", "nobody9"], "sipwatch: --user nobody9: no such user; make one: useradd"),
    ],
)
def test_options_that_make_no_sense(options: list[str], line: str) -> None:
    result = CliRunner().invoke(main, ["doctor", *options])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def sending(inside: Namespace, name: str, frames: list[bytes]) -> threading.Event:
    """Sends frames again and again until the event is set."""
    enough = threading.Event()

    def send() -> None:
        with inside.sender(name) as sender:
            until = time.monotonic() + 30
            while not enough.is_set() and time.monotonic() < until:
                for frame in frames:
                    sender.send(frame)
                time.sleep(0.01)

    inside.in_thread(send)
    return enough


_REQUEST = sip_frame(1)
_RESPONSE = ethernet(ipv4(udp(message(1)), source=THERE))
_TLS = ethernet(
    ipv4(
        struct.pack(">HHIIHHHH", 40000, 5060, 1, 0, 0x5018, 1024, 0, 0)
        + b"\x16\x03\x03\x00\x20\x01\x00\x00\x1c\x03\x03"
        + bytes(26),
        protocol=6,
    )
)


@pytest.mark.parametrize(
    ("frames", "level", "text"),
    [
        ([_REQUEST, _RESPONSE], {"trial": "OK"}, "SIP messages in"),
        ([_REQUEST], {"trial": "OK", "directions": "WARN"}, "SIP messages in"),
        ([_TLS], {"trial": "WARN", "encryption": "WARN"}, "no SIP that could be read"),
        ([], {"trial": "WARN"}, "nothing passed the filter"),
        ([ethernet(ipv4(udp(b"\x80" * 20)))], {"trial": "WARN"}, "no SIP that could be read"),
    ],
    ids=["both ways", "one way", "TLS", "nothing", "media"],
)
def test_trial(
    cable: Namespace, examined, frames: list[bytes], level: dict[str, str], text: str
) -> None:
    enough = sending(cable, "one", frames)
    try:
        found = examined(cable, "-i", "two", "--trial", "1")
    finally:
        enough.set()
    said = {
        check: found.level(check)
        for check in ("trial", "drops", "directions", "encryption")
        if check in found.findings
    }
    assert said == level
    assert text in found.findings["trial"]["text"]


def test_table_for_people(cable: Namespace) -> None:
    with cable.entered():
        plain = CliRunner().invoke(main, ["doctor", "-i", "two", "-i", "eth9"])
        full = CliRunner().invoke(main, ["doctor", "-i", "two", "--filter"])
    assert plain.exit_code == 1
    lines = plain.stdout.splitlines()
    [bad] = [number for number, line in enumerate(lines) if line.startswith("FAIL")]
    assert "interface eth9" in lines[bad]
    assert lines[bad + 1].strip().startswith("mend: ")
    assert lines[-1] == "The instructions of the filter: sipwatch doctor --filter"
    assert full.exit_code == 0
    assert "(005) ldh      [12]" in full.stdout
    assert "ret      #262144" in full.stdout


def test_capabilities_are_read_from_the_effective_set(tmp_path: Path) -> None:
    status = tmp_path / "status"
    for bits, level in ((0x2000, Level.OK), (0x3000, Level.OK), (0x1000, Level.FAIL)):
        status.write_text(f"Name:\tx\nCapPrm:\t{2**40 - 1:016x}\nCapEff:\t{bits:016x}\n")
        assert host.capabilities(str(status)).level is level
    status.write_text("")
    assert host.capabilities(str(status)).level is Level.FAIL


def test_clock() -> None:
    assert host.clock().level in (Level.OK, Level.WARN)
    assert host.clock_finding(0, 0x2001, 0.0123).text == (
        "kept in step, wrong by 0.012 s at the most"
    )
    for state, status in ((5, 0x40), (5, 0), (0, 0x40)):
        assert host.clock_finding(state, status, 16.0).level is Level.WARN


def test_tshark(tmp_path: Path) -> None:
    assert host.tshark(str(tmp_path)).level is Level.WARN
    program = tmp_path / "tshark"
    program.write_text("#!/bin/sh\necho\necho 'TShark (Wireshark) 9.9.9.'\necho more\n")
    program.chmod(0o755)
    found = host.tshark(str(tmp_path))
    assert (found.level, found.text) == (Level.OK, f"TShark (Wireshark) 9.9.9 at {program}")
    program.write_bytes(b"\x7fELF")
    assert "does not run" in host.tshark(str(tmp_path)).text
