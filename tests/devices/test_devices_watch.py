"""The one answer for all who ask: what was heard of whom, and who answers."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from device_play import EPOCH, play
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.devices import watch as module
from sipwatch.devices.watch import Devices
from sipwatch.net.types import Datagram
from sipwatch.sip.message import parse

PHONE = (ip_address("10.9.1.101").packed, 5060)
PBX = (ip_address("10.9.0.1").packed, 5060)


def watched(text: str) -> Devices:
    devices = Devices()
    for item in devices.begin(play(text)):
        assert isinstance(item, Datagram)
        devices.heard[item.source] = item.time
        message = parse(item.payload)
        devices.receive(item, message.method, message.status)
    return devices


def test_since_when_and_who_was_heard() -> None:
    devices = watched("1.0 pbx>101 OPTIONS a\n1.1 101>pbx 200 a")
    assert devices.since == EPOCH + 1.0
    assert devices.quiet_since(PHONE, EPOCH + 1.2)
    assert not devices.quiet_since(PHONE, EPOCH + 1.05)
    assert devices.quiet_since((PHONE[0], 5072), EPOCH)
    assert devices.ever_heard(PHONE[0]) is True
    assert devices.ever_heard(b"\x0a\x09\x01\x66") is False


def test_an_empty_batch_begins_nothing() -> None:
    devices = Devices()
    assert list(devices.begin([])) == []
    assert devices.since is None


def test_other_methods_say_nothing() -> None:
    devices = watched("0.0 101>pbx SUBSCRIBE s Event=presence")
    assert sum(devices.entries().values()) == devices.entries()["heard"] == 1


def test_who_is_reachable() -> None:
    """Named by the registered user where the contact is one, else as in the Request-URI."""
    devices = watched(
        """
        0.0 101>pbx REGISTER r contact=<sip:x7@10.9.1.101:5060>
        0.1 pbx>101 200 r expires=60
        1.0 pbx>101 OPTIONS a uri=sip:x7@10.9.1.101:5060
        1.25 101>pbx 200 a
        2.0 pbx>trunk OPTIONS b uri=sip:203.0.113.5
        """
    )
    found = {known.device: known for known in devices.reachability(EPOCH + 6)}
    assert set(found) == {"101", ""}
    assert found["101"].reachable is True
    assert found["101"].round_trip == pytest.approx(0.25)
    assert found[""].reachable is False
    assert found[""].round_trip is None


def test_what_was_forgotten_is_not_vouched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HEARD", 3)
    monkeypatch.setattr(module, "MOST_ADDRESSES", 4)
    devices = Devices()
    for number in range(8):
        devices.heard[bytes((10, 0, 0, number)), 5060] = EPOCH + number
    devices.begin([])
    last = EPOCH + 3
    assert not devices.quiet_since((b"\x0a\x00\x00\x01", 5060), last)
    assert devices.quiet_since((b"\x0a\x00\x00\x01", 5060), last + 1)
    assert not devices.quiet_since((b"\x0a\x00\x00\x07", 5060), last + 1)
    assert devices.ever_heard(b"\x0a\x00\x00\x07") is True
    for number in range(20, 24):
        devices.heard[bytes((10, 0, 0, number)), 5060] = EPOCH + number
    devices.begin([])
    assert devices.ever_heard(b"\x0a\x00\x00\x63") is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 3)), max_size=200))
def test_what_is_heard_keeps_memory_bounded(packets: list[tuple[int, int]]) -> None:
    """Whatever comes, what is said of the silence of a place is true."""
    last: dict[tuple[bytes, int], float] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_HEARD", 10)
        patch.setattr(module, "MOST_ADDRESSES", 20)
        devices = Devices()
        for number, (host, port) in enumerate(packets):
            devices.begin([])
            place = (bytes((10, 0, 0, host)), port)
            devices.heard[place] = last[place] = float(number)
            if number % 7 == 0:
                assert devices.ever_heard(place[0]) is not False
            assert len(devices.heard) <= 11
        for place, at in last.items():
            assert not devices.quiet_since(place, at)
        for host in range(256):
            if devices.ever_heard(bytes((10, 0, 0, host))) is False:
                assert not any(address[3] == host for address, _ in last)
