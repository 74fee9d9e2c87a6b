"""Dialects as data: every file is whole, and the right one is found for a sender."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from sipwatch.outcomes.dialect import UNKNOWN, Dialects, load_dialects
from sipwatch.outcomes.taxonomy import CATEGORY, DETAILS
from sipwatch.sip.message import SPENT_NAMES, Message, parse, render

PBX = bytes([10, 9, 0, 1])
FREESWITCH = "FreeSWITCH-mod_sofia/1.10.12-release~64bit"


def message(**headers: str) -> Message:
    lines = [
        (b"Via", b"SIP/2.0/UDP h;branch=z9hG4bK1"),
        (b"From", b"<sip:a@b>;tag=1"),
        (b"To", b"<sip:c@d>;tag=2"),
        (b"Call-ID", b"x"),
        (b"CSeq", b"1 INVITE"),
        *((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()),
    ]
    return parse(render(b"SIP/2.0 480 Temporarily Unavailable", lines))


@pytest.mark.parametrize("name", sorted(load_dialects()))
def test_a_file_says_only_what_the_taxonomy_knows(name: str) -> None:
    dialect = load_dialects()[name]
    assert dialect.name == name
    assert dialect.user_agents or dialect.headers
    for final in dialect.finals:
        assert final.outcome in CATEGORY
        assert final.detail in (None, "by_ringing", *DETAILS.get(final.outcome, ()))
        assert final.confidence in ("explicit", "inferred", "correlated")
        assert final.status or final.q850 or final.sip
        assert all(100 <= status <= 699 for status in final.status)
        assert final.from_seconds < final.to_seconds
    for cancel in dialect.cancels:
        assert cancel.meaning in ("caller", "ring_timer", "no_progress", "rerouted")
        assert cancel.q850 or cancel.sip
    texts = [line.line for line in (*dialect.finals, *dialect.cancels)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Asterisk PBX 22.4.1", "asterisk"),
        ("Asterisk PBX certified/20.7-cert4", "asterisk"),
        ("FPBX-16.0.40(18.20.0)", "asterisk"),
        (FREESWITCH, "freeswitch"),
        ("Sippy B2BUA (RADIUS)", "sippy"),
        ("kamailio (5.6.3 (x86_64/linux))", ""),
        ("Yealink SIP-T46S 66.86.0.15", ""),
        ("Linphone/5.2.5 for Asterisk", ""),
        ("", ""),
    ],
)
def test_found_by_name(agent: str, name: str) -> None:
    dialects = Dialects()
    assert dialects.of_agent(agent.encode()).name == name
    assert dialects.is_pbx(agent.encode()) is (name != "")


def test_server_and_user_agent_and_header() -> None:
    dialects = Dialects()
    assert dialects.of(PBX, message(Server="Asterisk PBX 22")).name == "asterisk"
    assert Dialects().of(PBX, message(User_Agent=FREESWITCH)).name == "freeswitch"
    assert Dialects().of(PBX, message(User_Agent="Acme", X_FS_Support="x")).name == "freeswitch"
    assert Dialects().of(PBX, message(User_Agent="Acme")) is UNKNOWN
    assert Dialects().of(PBX, None) is UNKNOWN


def test_who_names_nothing_is_who_was_heard_before() -> None:
    dialects = Dialects()
    dialects.of(PBX, message(User_Agent=FREESWITCH))
    assert dialects.of(PBX, message()).name == "freeswitch"
    assert dialects.of(bytes([10, 9, 0, 2]), message()) is UNKNOWN
    assert dialects.of(PBX, message(User_Agent="Acme")) is UNKNOWN


UUID = "962330ea-4fa1-417d-b353-9b01b601fdb6"


def refusal(to_tag: str, **headers: str) -> Message:
    made = message(**headers)
    return parse(made.raw.replace(b"tag=2", f"tag={to_tag}".encode()))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        # What each of the two writes on a refusal, with its name hidden.
        (refusal(UUID, Reason="Q.850;cause=16"), "asterisk"),
        (refusal("a1", Reason='Q.850;cause=16;text="NORMAL_CLEARING"'), "freeswitch"),
        (refusal("a1", Allow_Events="talk, hold, conference, refer"), "freeswitch"),
        (refusal("a1", Allow_Events="talk, hold, conference, presence, dialog"), "freeswitch"),
        # A gateway's bare cause, a phone's UUID, words of others, a phone's own events.
        (refusal("D7D0-1A2B", Reason="Q.850;cause=16"), ""),
        (refusal(UUID), ""),
        (refusal(UUID, Reason='Q.850;cause=16;text="Normal call clearing"'), ""),
        (refusal("a1", Allow_Events="talk,hold,conference,refer,check-sync"), ""),
        (refusal("a1", Allow_Events="talk, hold, conference, refer, check-sync"), ""),
        (refusal("a1", Allow_Events="conference, talk, hold"), ""),
    ],
)
def test_known_by_its_hand_where_the_name_is_hidden_or_changed(said: Message, name: str) -> None:
    renamed = parse(said.raw.replace(b"\r\n\r\n", b"\r\nServer: Acme\r\n\r\n"))
    dialects = Dialects()
    assert Dialects().of(PBX, said).name == name
    assert dialects.of(PBX, renamed).name == name
    # What else it says under that name, and only it.
    assert dialects.of(PBX, message(Server="Acme")).name == name
    assert dialects.of(PBX, message(Server="Other")) is UNKNOWN
    assert dialects.of(bytes([10, 9, 0, 2]), message(Server="Acme")) is UNKNOWN


def test_a_daemon_keeps_what_dialects_are_known_by() -> None:
    assert not {name.lower().encode() for name in Dialects().headers} & SPENT_NAMES


def test_configured_networks_come_first_and_the_narrowest_wins() -> None:
    dialects = Dialects(
        {
            ip_network("10.9.0.0/16"): "freeswitch",
            ip_network("10.9.0.1/32"): "asterisk",
            ip_network("2001:db8::/32"): "freeswitch",
        }
    )
    assert dialects.of(PBX, message(User_Agent=FREESWITCH)).name == "asterisk"
    assert dialects.of(bytes([10, 9, 7, 7]), message()).name == "freeswitch"
    assert dialects.of(b"\x20\x01\x0d\xb8" + bytes(12), None).name == "freeswitch"
    assert dialects.of(bytes([10, 8, 0, 1]), message()) is UNKNOWN


def test_an_unknown_name_in_the_configuration_is_said() -> None:
    with pytest.raises(ValueError, match=r"no dialect 'cisco'; known: asterisk, freeswitch, sippy"):
        Dialects({ip_network("10.0.0.0/8"): "cisco"})


def test_any_number_of_names_and_addresses_is_bounded() -> None:
    dialects = Dialects({ip_network("10.9.0.0/16"): "freeswitch"})
    for number in range(10_000):
        dialects.of(number.to_bytes(4, "big"), message(Server=f"Asterisk {number}"))
    held = [len(value) for value in vars(dialects).values() if isinstance(value, dict)]
    assert max(held) <= 5000
