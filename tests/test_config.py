"""Reading, checking and showing the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import sipwatch.calls.settings as calls_settings
from sipwatch.capture.hep import listen_addresses
from sipwatch.config import (
    CORRELATION_RULES,
    SETTINGS,
    Config,
    ConfigError,
    Flag,
    HeaderRule,
    Span,
    load,
    parse_toml,
    show,
)
from sipwatch.config.model import DIALECTS
from sipwatch.outcomes import dialect
from sipwatch.sinks.hep import Collector
from sipwatch.sinks.sink import SinkError

FOLDER = Path(__file__).parent / "config"
INVALID = sorted(FOLDER.glob("invalid-*.toml"))
VALID = sorted((FOLDER / "valid").glob("*.toml"))


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_file_prints_the_line_it_says(path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# ")
    with pytest.raises(ConfigError) as caught:
        load(str(path), environ={})
    assert str(caught.value).replace(str(path), "FILE") == expected


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_file_survives_being_shown(path: Path) -> None:
    config = load(str(path), environ={})
    shown = show(config)
    key = f'\nkey = "{config.privacy.key}"' if config.privacy.key else ""
    shown = shown.replace("[privacy]", f"[privacy]{key}")
    hep_key = f'\nauth_key = "{config.hep.auth_key}"' if config.hep.auth_key else ""
    again = parse_toml(shown.replace("[hep]", f"[hep]{hep_key}"))
    assert again == config


def test_every_key_of_the_full_file_is_typed() -> None:
    config = load(str(FOLDER / "valid" / "full.toml"), environ={})
    assert config.local_addresses == (ip_address("10.9.0.1"), ip_address("2001:db8::1"))
    assert config.local_networks == (ip_network("10.9.0.0/24"), ip_network("2001:db8::/64"))
    assert config.interfaces == ("eth0",)
    assert config.ports == (5060, 5061, 5080)
    assert config.peers == {
        "carrier": (ip_network("203.0.113.0/24"), ip_network("198.51.100.7/32")),
        "backup": (ip_network("2001:db8:ffff::/48"),),
    }
    assert config.timers.brief_abandon_seconds == 5
    assert config.timers.ring_timeouts_seconds == (20, 25.5)
    assert config.timers.max_call_seconds == 7200
    assert config.hours.timezone == ZoneInfo("Europe/Istanbul")
    assert config.hours.holidays == (date(2026, 4, 23), date(2026, 10, 29))
    assert config.hours.weekly == {
        0: (Span(540, 1080),),
        1: (Span(540, 720), Span(780, 1080)),
        4: (Span(1320, 1800),),
    }
    assert config.hours.rule[0].called.search("08501234567")
    assert config.hours.rule[0].weekly == {5: (Span(600, 840),)}
    assert config.callback.feature_codes == ("*66",)
    assert config.callback.headers == (
        HeaderRule("x-callback", None),
        HeaderRule("x-service", re.compile("^call-?back$", re.IGNORECASE)),
    )
    assert config.rejection.codes == (603,)
    assert config.correlation.disabled == ("sdp_origin",)
    assert config.agents.include("142")
    assert config.agents.include("reception")
    assert not config.agents.include("2142")
    assert config.records.max_megabytes == 2048
    assert config.privacy.numbers == "hash"
    assert config.web.listen == ("::1", 9742)
    assert config.hep.listen == ("0.0.0.0:9060", "udp:[::1]:9061", "tls:9062")
    assert config.hep.auth_key == "myHep"
    assert config.hep.certificate == "/etc/sipwatch/hep.pem"
    assert config.hep.max_skew_seconds == 30
    assert config.hep.mirror == "tcp:homer.example:9060"
    assert config.hep.node_id == 2002
    assert config.dialects == {
        ip_network("10.9.0.1/32"): "asterisk",
        ip_network("10.9.0.128/25"): "freeswitch",
    }
    assert config.tracker.max_entries == 10_000


def test_spellings_that_toml_allows() -> None:
    config = load(str(FOLDER / "valid" / "spellings.toml"), environ={})
    assert config.timers.no_answer_seconds == 12
    assert config.ports == (5060, 5070)
    assert config.peers == {"carrier": (ip_network("203.0.113.0/24"),)}
    assert config.hours.weekly == {0: (Span(540, 1080),)}
    assert config.origin("timers.no_answer_seconds").endswith("spellings.toml:2")
    assert config.origin("peers").endswith("spellings.toml:7")
    assert config.origin("rejection.reason_texts").endswith("spellings.toml:11")


def test_the_full_file_knows_every_key() -> None:
    config = load(str(FOLDER / "valid" / "full.toml"), environ={})
    assert set(config.origins) == set(SETTINGS)


def test_nothing_said_is_the_default_of_the_design() -> None:
    config = load(environ={})
    assert config == Config()
    assert config.ports == (5060, 5061, 5080)
    assert config.timers.brief_abandon_seconds == 5
    assert config.timers.no_answer_seconds == 10
    assert config.callback.return_window_seconds == 86_400
    assert config.correlation.headers == ("X-CID", "X-Call-ID", "X-Asterisk-Call-ID")
    assert config.agents.metrics is False
    assert config.agents.limit == 500
    assert config.records.directory == "/var/lib/sipwatch"
    assert config.records.retention_days == 30
    assert config.privacy.numbers == "full"
    assert config.web.listen == ("127.0.0.1", 9742)
    assert config.origin("web.listen") == "default"


def test_environment_wins_over_the_file_and_flags_over_both(tmp_path: Path) -> None:
    file = tmp_path / "sipwatch.toml"
    file.write_text("ports = [1]\n[timers]\nno_answer_seconds = 11\nbrief_abandon_seconds = 1\n")
    config = load(
        str(file),
        environ={
            "SIPWATCH_TIMERS_NO_ANSWER_SECONDS": "12.5",
            "SIPWATCH_PORTS": "5060, 5062",
            "SIPWATCH_AGENTS_METRICS": "yes",
            "SIPWATCH_PEERS": '{ carrier = ["203.0.113.0/24"] }',
            "SIPWATCH_HOURS_WEEKLY": '{ mon = "09:00-18:00" }',
            "SIPWATCH_WEB_LISTEN": "10.0.0.1:80",
            "HOME": "/root",
        },
        flags={"web.listen": Flag("--listen", "127.0.0.1:81")},
    )
    assert config.timers.no_answer_seconds == 12.5
    assert config.timers.brief_abandon_seconds == 1
    assert config.ports == (5060, 5062)
    assert config.agents.metrics is True
    assert config.peers == {"carrier": (ip_network("203.0.113.0/24"),)}
    assert config.hours.weekly == {0: (Span(540, 1080),)}
    assert config.web.listen == ("127.0.0.1", 81)
    assert config.origin("timers.brief_abandon_seconds") == f"{file}:4"
    assert config.origin("ports") == "environment SIPWATCH_PORTS"
    assert config.origin("web.listen") == "flag --listen"


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "sipwatch.toml"
    file.write_text("ports = [5099]\n")
    assert load(environ={"SIPWATCH_CONFIG": str(file)}).ports == (5099,)


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        (
            "SIPWATCH_TIMERS_NO_ANSWER_SECONDS",
            "ten",
            "environment SIPWATCH_TIMERS_NO_ANSWER_SECONDS: timers.no_answer_seconds: "
            'expected a number of seconds above 0, got "ten"',
        ),
        (
            "SIPWATCH_LOCAL_NETWORK",
            "10.0.0.0/8",
            "environment: unknown key 'SIPWATCH_LOCAL_NETWORK'; "
            "the nearest key is 'SIPWATCH_LOCAL_NETWORKS'",
        ),
        (
            "SIPWATCH_PEERS",
            "carrier=203.0.113.0/24",
            "environment SIPWATCH_PEERS: peers: expected a table from a name of up to 64 "
            "letters, digits and -_. signs to a list, each item a network such as "
            '"10.9.0.0/24", without host bits, got "carrier=203.0.113.0/24"',
        ),
        (
            "SIPWATCH_AGENTS_METRICS",
            "perhaps",
            "environment SIPWATCH_AGENTS_METRICS: agents.metrics: "
            'expected true or false, got "perhaps"',
        ),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={variable: text})
    assert str(caught.value) == line


def test_what_a_container_engine_sets_for_a_service_is_none_of_ours() -> None:
    links = {
        "SIPWATCH_SERVICE_HOST": "10.0.0.1",
        "SIPWATCH_SERVICE_PORT": "9742",
        "SIPWATCH_PORT": "tcp://10.0.0.1:9742",
        "SIPWATCH_PORT_9742_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ=links) == Config()


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--listen: web.listen: expected an address and a port"):
        load(environ={}, flags={"web.listen": Flag("--listen", "nowhere")})


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/absent\.toml: No such file or directory$"):
        load(str(tmp_path / "absent.toml"), environ={})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"ports = [5060]\n\xff")
    with pytest.raises(ConfigError, match=r"not UTF-8 at byte 15$"):
        load(str(binary), environ={})


def test_a_deeply_nested_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    deep = tmp_path / "deep.toml"
    deep.write_text("ports = " + "[" * 100_000)
    with pytest.raises(ConfigError) as caught:
        load(str(deep), environ={})
    assert "\n" not in str(caught.value)


def test_the_secret_is_never_shown() -> None:
    config = load(str(FOLDER / "valid" / "full.toml"), environ={})
    shown = show(config)
    assert config.privacy.key not in shown
    assert config.hep.auth_key not in shown
    assert "# auth_key is set  #" in shown
    assert "# key is set  #" in shown


@pytest.mark.parametrize(
    "text",
    ["", "x", "host:9060x", "1.2.3.4:70000", "[::1", "1.2.3.4:-1", "sctp:1.2.3.4:1", "0.0.0.0:9060",
     "127.0.0.1", "9061", ":9061", "udp:10.0.0.1:1", "TLS:[::1]:9061", "[::]", "[::1]9060"],
)  # fmt: skip
def test_hep_addresses_are_those_that_the_listener_takes(text: str) -> None:
    def is_valid(read: Callable[[], object], *errors: type[Exception]) -> bool:
        try:
            read()
        except errors:
            return False
        return True

    valid = is_valid(lambda: parse_toml(f'hep.listen = ["{text}"]'), ConfigError)
    # The listener alone takes nothing for all of the defaults; a configuration says what it wants.
    assert valid == (bool(text) and is_valid(lambda: listen_addresses(text), ValueError))


@pytest.mark.parametrize(
    "text", ["udp:", "udp::9060", "x:port", "x:0", "x:70000", "[::1", "192.0.2.7", "[::1]",
             "TCP:homer.example:9060", "tcp:[2001:db8::1]:1"],
)  # fmt: skip
def test_hep_collectors_are_those_that_the_mirror_takes(text: str) -> None:
    try:
        Collector.parse(text)
    except SinkError:
        with pytest.raises(ConfigError, match=r"hep\.mirror: expected a HEP collector"):
            parse_toml(f'hep.mirror = "{text}"')
    else:
        assert parse_toml(f'hep.mirror = "{text}"').hep.mirror == text


def test_shown_values_say_where_they_come_from() -> None:
    shown = show(load(environ={"SIPWATCH_PORTS": "5060"}))
    assert "ports = [5060]  # environment SIPWATCH_PORTS\n" in shown
    assert 'listen = "127.0.0.1:9742"  # default\n' in shown
    assert "# pattern is not set  # default\n" in shown


def _at(text: str, zone: str = "Europe/Istanbul") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


HOURS = parse_toml(
    """
    [hours]
    timezone = "Europe/Istanbul"
    holidays = ["2026-04-23"]
    [hours.weekly]
    mon = "09:00-18:00"
    tue = "09:00-12:00,13:00-18:00"
    wed = "22:00-06:00"
    thu = "22:00-06:00"
    sun = "00:00-24:00"
    [[hours.rule]]
    called = "^0850"
    weekly = { sat = "10:00-14:00" }
    [[hours.rule]]
    called = "^0900"
    weekly = {}
    """
).hours


@pytest.mark.parametrize(
    ("time", "called", "is_open"),
    [
        ("2026-04-20T08:59:59", "100", False),
        ("2026-04-20T09:00:00", "100", True),
        ("2026-04-20T17:59:59", "100", True),
        ("2026-04-20T18:00:00", "100", False),
        ("2026-04-21T12:00:00", "100", False),
        ("2026-04-21T12:59:59", "100", False),
        ("2026-04-21T13:00:00", "100", True),
        # Over midnight, and into a holiday whose own shift does not begin.
        ("2026-04-22T21:59:59", "100", False),
        ("2026-04-22T22:00:00", "100", True),
        ("2026-04-23T05:59:59", "100", True),
        ("2026-04-23T06:00:00", "100", False),
        ("2026-04-23T22:30:00", "100", False),
        ("2026-04-24T03:00:00", "100", False),
        ("2026-04-30T22:30:00", "100", True),
        ("2026-05-01T03:00:00", "100", True),
        # A day that is absent is closed; a whole day is open.
        ("2026-04-24T10:00:00", "100", False),
        ("2026-04-26T00:00:00", "100", True),
        ("2026-04-26T23:59:59", "100", True),
        # The first rule that finds the called number replaces the table.
        ("2026-04-25T10:00:00", "08501234567", True),
        ("2026-04-25T10:00:00", "100", False),
        ("2026-04-20T10:00:00", "08501234567", False),
        ("2026-04-20T10:00:00", "09001234567", False),
    ],
)
def test_opening_hours(time: str, called: str, is_open: bool) -> None:
    assert HOURS.is_open(_at(time), called) is is_open


def test_without_hours_it_is_always_open() -> None:
    assert Config().hours.is_open(0.0)
    assert not Config().hours.configured


@pytest.mark.parametrize(
    ("utc", "is_open"),
    [
        # Berlin 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00 again.
        ("2026-03-28T06:59:59", False),  # 07:59:59 in winter
        ("2026-03-28T07:00:00", True),
        ("2026-03-29T05:59:59", False),  # 07:59:59 in summer
        ("2026-03-29T06:00:00", True),
        ("2026-10-25T06:59:59", False),
        ("2026-10-25T07:00:00", True),
        # The hour that comes twice is the night shift's both times.
        ("2026-10-25T00:30:00", True),
        ("2026-10-25T01:30:00", True),
        ("2026-10-25T02:30:00", False),
    ],
)
def test_hours_follow_the_clock_when_it_changes(utc: str, is_open: bool) -> None:
    hours = parse_toml(
        """
        [hours]
        timezone = "Europe/Berlin"
        [hours.weekly]
        sat = "08:00-18:00,22:00-03:00"
        sun = "08:00-18:00"
        """
    ).hours
    assert hours.is_open(_at(utc, "UTC")) is is_open


def test_every_way_to_correlate_can_be_switched_off() -> None:
    assert CORRELATION_RULES == calls_settings.CORRELATION_RULES


def test_every_dialect_file_can_be_chosen() -> None:
    folder = Path(dialect.__file__).parent / "dialects"
    assert {file.stem for file in folder.glob("*.toml")} == set(DIALECTS)
