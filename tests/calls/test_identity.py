"""Who calls, made comparable across a PBX that rewrites numbers (outcomes.md 6)."""

from __future__ import annotations

import pytest

from sipwatch.calls.identity import display_of, key_of, keys_of, target_of
from sipwatch.sip.message import Message, parse, render

CALLER = "+905321112233"
SAME = [
    "+905321112233", "00905321112233", "905321112233", "05321112233", "5321112233",
    "0532 111 22 33", "(0532) 111-22-33", "+90.532.111.22.33",
]  # fmt: skip
HIDDEN = ["", "anonymous", "Anonymous", "restricted", "unknown", "private", "unavailable"]


def invite(from_: str, uri: str = "sip:101@10.9.0.1", **more: str) -> Message:
    headers = [
        (b"Via", b"SIP/2.0/UDP h;branch=z9hG4bK1"),
        (b"From", from_.encode()),
        (b"To", b"<sip:101@h>"),
        (b"Call-ID", b"x"),
        (b"CSeq", b"1 INVITE"),
        *((name.replace("_", "-").encode(), value.encode()) for name, value in more.items()),
    ]
    return parse(render(f"INVITE {uri} SIP/2.0".encode(), headers))


@pytest.mark.parametrize("number", SAME)
def test_formats_of_one_number(number: str) -> None:
    assert key_of(number) == key_of(CALLER) != ""
    assert keys_of(invite(f"<sip:{number.replace(' ', '%20')}@h>;tag=1")) == {key_of(CALLER)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+905321112233", "+905321112234"),
        ("+905321112233", "+902121112234"),
        ("101", "1011"),
        ("101", "201"),
        ("anna", "annabel"),
        ("2233", "5321112233"),
    ],
)
def test_different_callers(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize("user", HIDDEN)
def test_hidden_callers_have_no_key(user: str) -> None:
    assert key_of(user) == ""
    assert keys_of(invite(f'"Anonymous" <sip:{user}@anonymous.invalid>;tag=1')) == frozenset()


def test_names_in_any_case() -> None:
    assert key_of("Anna.Berg") == key_of("anna.berg") != ""


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("P_Asserted_Identity", '"A" <sip:+905321112233@c>'),
        ("P_Asserted_Identity", "<tel:+90-532-111-22-33>"),
        ("Remote_Party_ID", '"A" <sip:05321112233@c>;party=calling;privacy=full'),
        ("P_Preferred_Identity", "sip:905321112233@c"),
    ],
)
def test_the_network_knows_what_from_hides(header: str, value: str) -> None:
    message = invite("<sip:anonymous@anonymous.invalid>;tag=1", **{header: value})
    assert key_of(CALLER) in keys_of(message)


@pytest.mark.parametrize(
    ("from_", "name"),
    [
        ('"Doctor Who" <sip:anonymous@h>;tag=1', "doctor who"),
        ("Doctor Who <sip:anonymous@h>;tag=1", "doctor who"),
        ('"Doctor \\"Who\\"" <sip:anonymous@h>;tag=1', 'doctor "who"'),
    ],
)
def test_display_names(from_: str, name: str) -> None:
    assert display_of(invite(from_)) == name


def test_two_who_hide_everything_look_alike() -> None:
    one = display_of(invite('"Anonymous" <sip:anonymous@h>;tag=1'))
    assert one == display_of(invite("<sip:anonymous@h>;tag=2"))
    assert one != "doctor who"


@pytest.mark.parametrize(
    ("uri", "user"),
    [
        ("sip:101@10.9.0.1", "101"),
        ("sip:101;x=y@10.9.0.1:5060;transport=udp", "101"),
        ("sips:anna@h", "anna"),
        ("tel:+90-532", "+90532"),
        ("sip:10.9.0.1", ""),
    ],
)
def test_who_is_tried(uri: str, user: str) -> None:
    assert target_of(invite("<sip:a@h>;tag=1", uri)) == user


def test_a_name_of_64_kilobytes_is_cut() -> None:
    (key,) = keys_of(invite(f'"x" <sips:{"a" * 60_000}@h>;tag=1'))
    assert len(key) <= 100
