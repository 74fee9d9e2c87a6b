"""What REGISTERs and their responses tell: grants, renewals, moves, RFC 6076 counts."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from device_play import EPOCH, play
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.devices import registrations as module
from sipwatch.devices.counts import DELAY_EDGES
from sipwatch.devices.registrations import Registrations
from sipwatch.devices.types import Binding
from sipwatch.net.types import Datagram
from sipwatch.sip.message import parse

PBX = ip_address("10.9.0.1").packed
CHALLENGED = """
0.000 101>pbx REGISTER r expires=120
0.010 pbx>101 401 r
0.020 101>pbx REGISTER r2 like=r auth expires=120
0.030 pbx>101 200 r2 expires=60
"""


def both(seconds: int) -> str:
    """A list of both contacts of 101: the first for so many seconds more, the second for 60."""
    places = (("10.9.1.101:5060", seconds), ("10.9.1.101:5072", 60))
    return ",".join(f"<sip:101@{place}>;expires={number}" for place, number in places)


def registered(text: str, transport: str = "UDP", local: bool = False) -> Registrations:
    found = Registrations(frozenset((PBX,)) if local else frozenset())
    for item in play(text, transport):
        assert isinstance(item, Datagram)
        message = parse(item.payload)
        if message.method != "REGISTER":
            continue
        if message.status:
            found.response(item, message.status)
        else:
            found.request(item)
    return found


def of_101(found: Registrations) -> list[Binding]:
    return found.of_user(PBX, "101")


def only(found: Registrations) -> Binding:
    (binding,) = of_101(found)
    return binding


# --- grants ---------------------------------------------------------------------------------------


def test_a_granted_registration() -> None:
    binding = only(registered(CHALLENGED))
    assert binding.aor == "101@10.9.0.1"
    assert binding.contact == b"101@10.9.1.101:5060"
    assert binding.source == (ip_address("10.9.1.101").packed, 5060)
    assert binding.user_agent == b"Phone 1.0"
    assert binding.transport == "UDP"
    grant = binding.grant
    assert (grant.registered.packet, grant.granted.packet) == (3, 4)
    assert grant.registered.time == pytest.approx(EPOCH + 0.02)
    assert grant.seconds == 60
    assert grant.expires_at == pytest.approx(EPOCH + 60.03)
    assert grant.alone


@pytest.mark.parametrize(
    ("asks", "grants", "seconds"),
    [
        ("expires=120", "expires=60", 60),
        ("expires=120", "header-expires=90", 90),
        ("expires=120", "expires=60 header-expires=90", 60),
        ("expires=120", "", None),
        ("", "expires=3600", 3600),
        ("expires=120", "contact=<sip:101@10.9.1.101:5060>;expires=oops", None),
        ("expires=120", "contact=<sip:101@10.9.1.101:5060>;q=0.5;expires=7;x", 7),
        ('contact="<sip:101@10.9.1.101:5060;line=4>;q=1"', "expires=30", 30),
    ],
)
def test_granted_seconds(asks: str, grants: str, seconds: int | None) -> None:
    text = f"0.0 101>pbx REGISTER r {asks}\n0.01 pbx>101 200 r '{grants}'"
    text = text.replace("'", "") if " " in grants else text.replace("''", "")
    assert only(registered(text)).grant.seconds == seconds


@pytest.mark.parametrize(
    ("second", "valid"),
    [(59.0, True), (60.02, True), (60.03, False), (61.0, False)],
)
def test_valid_until_the_granted_expiry(second: float, valid: bool) -> None:
    assert only(registered(CHALLENGED)).grant.valid_at(EPOCH + second) is valid


def test_the_response_alone_grants() -> None:
    """Only what the registrar sends is in view."""
    found = Registrations()
    for item in play(CHALLENGED):
        if item.payload.startswith(b"SIP/2.0 200"):
            assert isinstance(item, Datagram)
            found.response(item, 200)
    binding = only(found)
    assert binding.grant.seconds == 60
    assert binding.grant.registered == binding.grant.granted
    assert binding.source == (ip_address("10.9.1.101").packed, 5060)


def test_requests_alone_grant_nothing() -> None:
    found = Registrations()
    for item in play(CHALLENGED):
        if item.payload.startswith(b"REGISTER"):
            assert isinstance(item, Datagram)
            found.request(item)
    assert of_101(found) == []
    assert found.registers(ip_address("10.9.1.101").packed)
    assert found.active(EPOCH + 1) == 0


@pytest.mark.parametrize("status", [403, 404, 423, 500, 503, 603])
def test_a_refusal_grants_nothing(status: int) -> None:
    found = registered(f"0.0 101>pbx REGISTER r expires=60\n0.1 pbx>101 {status} r")
    assert of_101(found) == []
    assert not found.registrar_of(PBX, "101")


def test_who_registers_and_with_whom() -> None:
    found = registered(CHALLENGED)
    assert found.registers(ip_address("10.9.1.101").packed)
    assert not found.registers(PBX)
    assert found.registrar_of(PBX, "101")
    assert not found.registrar_of(PBX, "102")
    assert not found.registrar_of(ip_address("10.9.1.101").packed, "101")


def test_a_contact_given_up() -> None:
    found = registered(
        CHALLENGED
        + """
        5.0 101>pbx REGISTER u like=r2 expires=0
        5.1 pbx>101 200 u expires=0
        """
    )
    grant = only(found).grant
    assert grant.seconds == 0
    assert grant.gone is not None
    assert grant.gone.packet == 6
    assert found.registrar_of(PBX, "101")
    assert found.active(EPOCH + 6) == 0


def test_all_contacts_given_up() -> None:
    found = registered(
        f"""
        0.0 101>pbx REGISTER a expires=60
        0.1 pbx>101 200 a expires=60
        0.2 101:5072>pbx REGISTER b expires=60
        0.3 pbx>101:5072 200 b contact={both(59)}
        5.0 101>pbx REGISTER u expires=0 contact=*
        5.1 pbx>101 200 u expires=0
        """
    )
    assert [binding.grant.valid_at(EPOCH + 6) for binding in of_101(found)] == [False, False]
    assert found.active(EPOCH + 6) == 0


def test_a_query_of_contacts_registers_none() -> None:
    found = registered(
        """
        0.0 101>pbx REGISTER q contact=
        0.1 pbx>101 200 q contact="<sip:101@10.9.1.9:5060>;expires=50"
        """
    )
    assert of_101(found) == []


def test_the_registrar_drops_another_contact() -> None:
    """One contact an address-of-record: the second takes the first one's place."""
    found = registered(
        """
        0.0 101>pbx REGISTER a expires=60
        0.1 pbx>101 200 a expires=60
        9.0 101:5072>pbx REGISTER b expires=60
        9.1 pbx>101:5072 200 b expires=60
        """
    )
    first, second = of_101(found)
    assert first.grant.gone == second.grant.granted
    assert first.grant.valid_at(EPOCH + 9.2) is False
    assert second.grant.valid_at(EPOCH + 9.2) is True
    assert second.grant.alone
    assert found.active(EPOCH + 10) == 1


def test_another_contact_stays_on_the_list() -> None:
    found = registered(
        f"""
        0.0 101>pbx REGISTER a expires=60
        0.1 pbx>101 200 a expires=60
        9.0 101:5072>pbx REGISTER b expires=60
        9.1 pbx>101:5072 200 b contact={both(11)}
        """
    )
    first, second = of_101(found)
    assert first.grant.gone is None
    assert first.grant.expires_at == pytest.approx(EPOCH + 20.1)
    assert not second.grant.alone
    assert found.active(EPOCH + 10) == 2


def test_a_grant_is_remembered_while_the_next_one_stands() -> None:
    """An INVITE is judged by what held when it was sent."""
    found = registered(
        """
        0.0 101>pbx REGISTER a expires=10
        0.1 pbx>101 200 a expires=10
        20.0 101>pbx REGISTER b like=a expires=10
        20.1 pbx>101 200 b expires=10
        """
    )
    binding = only(found)
    before, after = binding.grant_at(EPOCH + 15), binding.grant_at(EPOCH + 21)
    assert before is not None
    assert after is not None
    assert before.valid_at(EPOCH + 15) is False
    assert after.valid_at(EPOCH + 21) is True
    assert binding.grant_at(EPOCH - 1) is None


# --- renewals, moves --------------------------------------------------------------------------


def test_how_regularly_it_renews() -> None:
    found = registered(
        """
        0.0 101>pbx REGISTER a expires=60
        0.1 pbx>101 200 a expires=60
        50.0 101>pbx REGISTER b like=a expires=60
        50.1 pbx>101 200 b expires=60
        120.0 101>pbx REGISTER c like=b expires=60
        120.1 pbx>101 200 c expires=60
        """
    )
    binding = only(found)
    assert binding.refreshes == 2
    assert binding.mean_gap == pytest.approx(60.0)
    assert binding.longest_gap == pytest.approx(70.0)
    assert binding.late == 1


def test_a_retransmission_is_no_renewal() -> None:
    found = registered(
        """
        0.0 101>pbx REGISTER a expires=60
        0.1 pbx>101 200 a expires=60
        0.5 101>pbx REGISTER a
        0.6 pbx>101 200 a expires=60
        """
    )
    assert only(found).refreshes == 0
    assert only(found).heard is False
    assert found.counts.attempts == found.counts.successful == 1


def test_nat_gives_another_port() -> None:
    """The contact stays, for the device does not know; the source changes."""
    found = registered(
        """
        0.0 101@203.0.113.9:40001>pbx REGISTER a contact=<sip:101@192.168.1.5:5060>
        0.1 pbx>101@203.0.113.9:40001 200 a expires=60 rport=203.0.113.9:40001
        50.0 101@203.0.113.9:40055>pbx REGISTER b like=a contact=<sip:101@192.168.1.5:5060>
        50.1 pbx>101@203.0.113.9:40055 200 b expires=60 rport=203.0.113.9:40055
        """
    )
    binding = only(found)
    old = (ip_address("203.0.113.9").packed, 40001)
    assert binding.moves == found.counts.moves == 1
    assert binding.source == binding.public == (old[0], 40055)
    seen = binding.moved_from(old)
    assert seen is not None
    assert seen.packet == 1
    assert binding.moved_from(binding.source) is None


def test_a_binding_that_only_the_registrar_sees_move() -> None:
    """Captured beside the phone, its address is always the same; rport tells."""
    found = registered(
        """
        0.0 101>pbx REGISTER a
        0.1 pbx>101 200 a expires=60 rport=203.0.113.9:40001
        50.0 101>pbx REGISTER b like=a
        50.1 pbx>101 200 b expires=60 rport=203.0.113.9:40001
        99.0 101>pbx REGISTER c like=b
        99.1 pbx>101 200 c expires=60 rport=203.0.113.9:40055
        """
    )
    assert only(found).public == (ip_address("203.0.113.9").packed, 40055)
    assert only(found).refreshes == 2


def test_a_renewal_like_the_first_drops_what_came_between() -> None:
    found = registered(
        f"""
        0.0 101>pbx REGISTER a
        0.1 pbx>101 200 a expires=60
        9.0 101:5072>pbx REGISTER b
        9.1 pbx>101:5072 200 b contact={both(50)}
        50.0 101>pbx REGISTER c like=a
        50.1 pbx>101 200 c expires=60
        """
    )
    first, second = of_101(found)
    assert first.grant.valid_at(EPOCH + 51) is True
    assert second.grant.valid_at(EPOCH + 51) is False


def test_a_renewal_after_the_contact_was_given_up() -> None:
    found = registered(
        """
        0.0 101>pbx REGISTER a
        0.1 pbx>101 200 a expires=60
        9.0 101>pbx REGISTER u like=a expires=0
        9.1 pbx>101 200 u expires=0
        50.0 101>pbx REGISTER c like=a
        50.1 pbx>101 200 c expires=60
        """
    )
    assert only(found).grant.valid_at(EPOCH + 51) is True
    assert only(found).refreshes == 0


@pytest.mark.parametrize(
    "how",
    [
        "like=a",
        "contact='<sip:101@192.168.1.5:5060>'",
        "contact='<sip:101@10.9.1.101:5072>;+sip.instance=\"<urn:uuid:1>\"'",
    ],
    ids=["Call-ID", "Contact asked for", "instance"],
)
def test_one_device_with_another_contact(how: str) -> None:
    """A registrar that writes contacts anew (rewrite_contact), or a device that knows its port."""
    asked = how if "192.168" in how or "instance" in how else ""
    found = registered(
        f"""
        0.0 101>pbx REGISTER a {asked}
        0.1 pbx>101 200 a contact=<sip:101@10.9.1.101:5060>;expires=60{_instance(how)}
        50.0 101:5072>pbx REGISTER b {how}
        50.1 pbx>101:5072 200 b contact=<sip:101@10.9.1.101:5072>;expires=60{_instance(how)}
        """
    )
    _, moved = of_101(found)
    assert moved.moves == 1
    seen = moved.moved_from((ip_address("10.9.1.101").packed, 5060))
    assert seen is not None
    assert seen.packet == 1


def _instance(how: str) -> str:
    return ";+sip.instance='\"<urn:uuid:1>\"'" if "instance" in how else ""


def test_two_devices_of_one_user_do_not_move() -> None:
    found = registered(
        f"""
        0.0 101>pbx REGISTER a
        0.1 pbx>101 200 a expires=60
        50.0 101:5072>pbx REGISTER b
        50.1 pbx>101:5072 200 b contact={both(9)}
        """
    )
    assert [binding.moves for binding in of_101(found)] == [0, 0]


# --- lookups ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "place", "found"),
    [
        (b"sip:x7f3@10.9.1.101:5060", "10.9.1.101", True),
        (b"sip:x7f3@10.9.1.101:5060;transport=udp", "10.9.1.101", True),
        (b"sip:101@10.9.0.1", "10.9.1.101", True),
        (b"sip:101@10.9.0.1", "10.9.1.102", False),
        (b"sip:102@10.9.0.1", "10.9.1.101", False),
        (b"sip:%31%30%31@10.9.0.1", "10.9.1.101", True),
    ],
)
def test_the_contact_that_a_request_is_for(uri: bytes, place: str, found: bool) -> None:
    known = registered(
        "0.0 101>pbx REGISTER r contact=<sip:x7f3@10.9.1.101:5060>\n0.1 pbx>101 200 r expires=60"
    )
    binding = known.binding(PBX, uri, (ip_address(place).packed, 5060))
    assert (binding is not None) is found
    if binding is not None:
        assert binding.user == "101"


def test_the_addresses_of_the_host_are_one_registrar() -> None:
    known = registered(CHALLENGED, local=True)
    other = Registrations(frozenset((PBX, b"\x0a\x09\x00\x02")))
    for item in play(CHALLENGED):
        assert isinstance(item, Datagram)
        other.response(item, 200) if item.payload.startswith(b"SIP/2.0 200") else None
    assert known.registrar_of(PBX, "101")
    assert other.registrar_of(b"\x0a\x09\x00\x02", "101")


def test_one_user_name_in_two_domains() -> None:
    known = registered(
        """
        0.0 101>pbx REGISTER a domain=one.example
        0.1 pbx>101 200 a expires=60
        1.0 101@10.9.2.2:5060>pbx REGISTER b domain=two.example
        1.1 pbx>101@10.9.2.2:5060 200 b expires=60
        """
    )
    (one,) = known.contacts(PBX, b"sip:101@one.example")
    (two,) = known.contacts(PBX, b"sip:101@two.example")
    assert (one.aor, two.aor) == ("101@one.example", "101@two.example")
    assert known.active(EPOCH + 2) == 2


def test_one_contact_of_two_users_is_nobodys() -> None:
    known = registered(
        """
        0.0 101>pbx REGISTER a contact=<sip:10.9.1.101:5060>
        0.1 pbx>101 200 a expires=60
        1.0 101>pbx REGISTER b user=102 contact=<sip:10.9.1.101:5060>
        1.1 pbx>101 200 b expires=60
        """
    )
    place = (ip_address("10.9.1.101").packed, 5060)
    assert known.binding(PBX, b"sip:10.9.1.101:5060", place) is None
    assert known.active(EPOCH + 2) == 2


# --- RFC 6076 -----------------------------------------------------------------------------------


def test_the_delay_includes_the_challenge() -> None:
    counts = registered(CHALLENGED).counts
    assert (counts.attempts, counts.successful, counts.ineffective) == (1, 1, 0)
    assert counts.delay_seconds == pytest.approx(0.03)
    assert counts.delay_buckets[DELAY_EDGES.index(0.05)] == 1
    assert sum(counts.delay_buckets) == 1


@pytest.mark.parametrize("status", [403, 404, 423, 480, 500, 503, 603])
def test_refusals_are_ineffective(status: int) -> None:
    counts = registered(f"0.0 101>pbx REGISTER r expires=60\n0.1 pbx>101 {status} r").counts
    assert (counts.attempts, counts.successful, counts.ineffective) == (1, 0, 1)


@pytest.mark.parametrize("status", [100, 301, 401, 407])
def test_challenges_and_redirections_are_not(status: int) -> None:
    counts = registered(f"0.0 101>pbx REGISTER r expires=60\n0.1 pbx>101 {status} r").counts
    assert (counts.attempts, counts.successful, counts.ineffective) == (1, 0, 0)


RETRANSMITTED = """
0.0 101>pbx REGISTER r
0.5 101>pbx REGISTER r
1.5 101>pbx REGISTER r
"""


@pytest.mark.parametrize(
    ("text", "transport", "timeouts"),
    [
        (RETRANSMITTED, "UDP", 1),
        ("0.0 101>pbx REGISTER r", "UDP", 0),  # nobody asks but once: its answer is out of view
        ("0.0 101>pbx REGISTER r\n0.001 101>pbx REGISTER r", "UDP", 0),  # a copy
        ("0.0 101>pbx REGISTER r", "TCP", 1),
    ],
)
def test_timer_f(text: str, transport: str, timeouts: int) -> None:
    found = registered(text, transport)
    found.sweep(EPOCH + 31.9)
    assert found.counts.timeouts == 0
    found.sweep(EPOCH + 32.1)
    assert found.counts.timeouts == found.counts.ineffective == timeouts
    assert found.entries()["pending"] == 0


# --- bounds -------------------------------------------------------------------------------------


def test_the_least_recently_renewed_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AORS", 2)
    found = registered(
        """
        0.0 101>pbx REGISTER a
        0.1 pbx>101 200 a expires=600
        1.0 102>pbx REGISTER b
        1.1 pbx>102 200 b expires=600
        2.0 101>pbx REGISTER c like=a
        2.1 pbx>101 200 c expires=600
        3.0 103>pbx REGISTER d
        3.1 pbx>103 200 d expires=600
        """
    )
    known = [user for user in ("101", "102", "103") if found.registrar_of(PBX, user)]
    assert known == ["101", "103"]
    assert found.active(EPOCH + 4) == 2


REGISTERS = st.lists(
    st.tuples(
        st.integers(101, 112),
        st.integers(5060, 5080),
        st.sampled_from(["", "like", "expires=0", "contact=*", "contact=", "branch=0"]),
        st.sampled_from([0, 100, 200, 401, 403, 500]),
        st.sampled_from(["", "expires=60", "expires=0", "contact=", "header-expires=5"]),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(REGISTERS)
def test_any_sequence_keeps_memory_bounded(
    steps: list[tuple[int, int, str, int, str]],
) -> None:
    bounds = {"MOST_AORS": 3, "MOST_ADDRESSES": 4, "MOST_PENDING": 5, "MOST_CONTACTS": 2}
    with pytest.MonkeyPatch.context() as patch:
        for name, most in bounds.items():
            patch.setattr(module, name, most)
        lines = []
        for number, (user, port, how, status, grant) in enumerate(steps):
            how = how.replace("like", f"like=r{number - 1}" if number else "")
            lines.append(f"{number}.0 {user}:{port}>pbx REGISTER r{number} {how}")
            if status:
                lines.append(f"{number}.1 pbx>{user}:{port} {status} r{number} {grant}")
        entries = registered("\n".join(lines)).entries()
    assert entries["registering"] <= 4
    assert entries["aors"] <= 3
    assert entries["contacts"] <= 3 * 2
    assert entries["contact_index"] <= entries["contacts"]
    assert entries["pending"] <= 3 * 5
