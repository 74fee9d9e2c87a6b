"""OPTIONS pings: answered, unanswered, how long they take, told apart by user."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from device_play import EPOCH, play
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.devices import pings as module
from sipwatch.devices.pings import Pings
from sipwatch.devices.types import Reach
from sipwatch.net.types import Datagram
from sipwatch.sip.message import parse

PHONE = (ip_address("10.9.1.101").packed, 5060)


def pinged(text: str) -> Pings:
    found = Pings()
    for item in play(text):
        assert isinstance(item, Datagram)
        message = parse(item.payload)
        if message.status:
            found.response(item, message.status)
        else:
            found.request(item)
    return found


def reach_of(text: str, user: bytes = b"101") -> Reach:
    reach = pinged(text).reach(PHONE, user)
    assert reach is not None
    return reach


def test_an_answered_ping() -> None:
    reach = reach_of("0.0 pbx>101 OPTIONS o\n0.02 101>pbx 200 o")
    assert (reach.sent, reach.answered, reach.unanswered) == (1, 1, 0)
    assert reach.round_trip == pytest.approx(0.02)
    assert reach.last_answer == (pytest.approx(EPOCH + 0.02), 2)
    assert reach.reachable(EPOCH + 100, 3.0) is True


@pytest.mark.parametrize("status", [200, 401, 404, 405, 481, 486, 501, 603])
def test_any_answer_of_the_device_is_one(status: int) -> None:
    reach = reach_of(f"0.0 pbx>101 OPTIONS o\n0.02 101>pbx {status} o")
    assert reach.answered == 1


@pytest.mark.parametrize("status", [408, 503, 504])
def test_what_a_proxy_says_for_a_dead_device_is_none(status: int) -> None:
    reach = reach_of(f"0.0 pbx>101 OPTIONS o\n0.02 101>pbx {status} o")
    assert reach.answered == 0
    assert reach.reachable(EPOCH + 4, 3.0) is False


@pytest.mark.parametrize(
    ("second", "missed", "reachable"),
    [(12.9, None, True), (13.0, 3, False), (60.0, 3, False)],
)
def test_a_ping_in_vain(second: float, missed: int | None, reachable: bool) -> None:
    """After three seconds it can be said, and it is the first ping since the last answer."""
    reach = reach_of(
        """
        0.0 pbx>101 OPTIONS a
        0.1 101>pbx 200 a
        10.0 pbx>101 OPTIONS b
        10.5 pbx>101 OPTIONS b
        11.5 pbx>101 OPTIONS c
        """
    )
    seen = reach.in_vain(EPOCH + second, 3.0)
    assert (seen and seen.packet) == missed
    assert reach.reachable(EPOCH + second, 3.0) is reachable
    assert reach.unanswered == 2


def test_an_answer_ends_the_silence() -> None:
    reach = reach_of(
        """
        0.0 pbx>101 OPTIONS a
        10.0 pbx>101 OPTIONS b
        10.1 101>pbx 200 b
        """
    )
    assert reach.in_vain(EPOCH + 60, 3.0) is None
    assert (reach.sent, reach.answered) == (2, 1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0.0 pbx>101 OPTIONS a\n0.49 101>pbx 200 a", None),
        ("0.0 pbx>101 OPTIONS a\n0.7 101>pbx 200 a", 0.7),
        # Sent again after T1, the answer may be to the second one.
        ("0.0 pbx>101 OPTIONS a\n0.5 pbx>101 OPTIONS a\n0.7 101>pbx 200 a", None),
        ("0.0 pbx>101 OPTIONS a\n0.5 pbx>101 OPTIONS a\n1.2 101>pbx 200 a", 0.7),
    ],
)
def test_only_what_is_certain_is_slow(text: str, seconds: float | None) -> None:
    reach = reach_of(text)
    assert (reach.slow is None) == (seconds is None)
    if seconds is not None:
        assert reach.slow_seconds == pytest.approx(seconds)


def test_devices_behind_one_proxy() -> None:
    """Pings of 101 and 102 go to the same place; one answers."""
    found = pinged(
        """
        0.0 pbx>101 OPTIONS a uri=sip:101@10.9.1.101:5060
        0.0 pbx>101 OPTIONS b uri=sip:102@10.9.1.101:5060;x
        0.1 101>pbx 200 a
        """
    )
    one, two = found.reach(PHONE, b"101"), found.reach(PHONE, b"102")
    assert one is not None
    assert two is not None
    assert one.reachable(EPOCH + 5, 3.0) is True
    assert two.reachable(EPOCH + 5, 3.0) is False


def test_pings_of_the_host_stand_for_all_its_users() -> None:
    found = pinged("0.0 pbx>101 OPTIONS a uri=sip:10.9.1.101\n0.1 101>pbx 200 a")
    reach = found.reach(PHONE, b"4930111")
    assert reach is not None
    assert reach.answered == 1
    assert found.reach((PHONE[0], 5061), b"") is None


def test_one_branch_for_all_pings() -> None:
    """Some proxies ping with `branch=0`: Call-ID and CSeq tell the pings apart."""
    found = pinged(
        """
        0.0 pbx>101 OPTIONS a branch=0
        0.0 pbx>102 OPTIONS b branch=0
        0.1 102>pbx 200 b
        """
    )
    assert found.sent == 2
    assert found.answered == 1
    first = found.reach(PHONE, b"101")
    assert first is not None
    assert first.answered == 0


def test_copies_count_once() -> None:
    reach = reach_of(
        """
        0.0 pbx>101 OPTIONS a
        0.001 pbx>101 OPTIONS a
        0.02 101>pbx 200 a
        0.021 101>pbx 200 a
        """
    )
    assert (reach.sent, reach.answered) == (1, 1)


def test_who_pings_from_where() -> None:
    """From the device to the PBX: its port may change."""
    found = pinged(
        """
        0.0 101>pbx OPTIONS a
        9.0 101:5072>pbx OPTIONS b
        """
    )
    asker = found.asker(PHONE[0], "101")
    assert asker is not None
    assert asker[0] == (PHONE[0], 5072)
    assert asker[1].packet == 2
    assert found.asker(PHONE[0], "102") is None


PINGS = st.lists(
    st.tuples(
        st.integers(101, 120), st.integers(1, 30), st.booleans(), st.floats(0.0, 40.0, width=32)
    ),
    max_size=100,
)


@settings(deadline=None)
@given(PINGS)
def test_any_sequence_keeps_memory_bounded(steps: list[tuple[int, int, bool, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_PINGED", 4)
        patch.setattr(module, "MOST_UNDER_WAY", 6)
        time, lines, known = 0.0, [], set()
        for user, label, answer, gap in steps:
            time += gap
            if answer and label in known:
                lines.append(f"{time} 101>pbx 200 p{label}")
            else:
                lines.append(f"{time} pbx>{user} OPTIONS p{label}")
                known.add(label)
        found = pinged("\n".join(lines))
    entries = found.entries()
    assert entries["pinged"] <= 4
    assert entries["pinging"] <= 4
    assert entries["pings"] <= 6
    assert found.answered <= found.sent
