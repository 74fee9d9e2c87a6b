"""Every name that people use reaches its outcome, in both languages."""

import pytest

from sipwatch.outcomes.guide import Guide, Texts
from sipwatch.outcomes.guide.filters import (
    OutcomeFilter,
    UnknownFilterError,
    find_key,
    folded,
    parse_filter,
)

#: The names of the agent view and of the missed-call filter, then those of the taxonomy.
REPORT_NAMES = {
    "Agent Busy": "agent_busy",
    "Device Not Responding": "device_not_responding",
    "No Answer": "no_answer",
    "Call Declined": "declined",
    "Call Redirected By System": "redirected",
    "Connection Timeout": "connection_timeout",
    "Outside working hours": "outside_hours",
    "Briefly abandoned": "briefly_abandoned",
    "Abandoned": "abandoned",
    "Call back": "callback",
    "Rejection list": "rejection_list",
}
GUIDE_NAMES = {
    "Answered": "answered",
    "Device not registered": "unavailable",
    "Handled by the system": "handled_by_system",
    "Number not found": "not_found",
    "Not authorised": "unauthorized",
    "Media not acceptable": "not_acceptable",
    "Server failure": "server_failure",
    "Other failure": "other_failure",
    "In progress": "in_progress",
    "Incomplete capture": "incomplete",
}
NAMES = REPORT_NAMES | GUIDE_NAMES

TURKISH_NAMES = {
    "Yanıtlandı": "answered",
    "Temsilci meşgul": "agent_busy",
    "Yanıt yok": "no_answer",
    "Çağrı reddedildi": "declined",
    "Cihaz yanıt vermiyor": "device_not_responding",
    "Bağlantı zaman aşımı": "connection_timeout",
    "Cihaz kayıtlı değil": "unavailable",
    "Sistem çağrıyı yönlendirdi": "redirected",
    "Arayan vazgeçti": "abandoned",
    "Kaçan çağrı": "abandoned",
    "Kısa sürede vazgeçti": "briefly_abandoned",
    "Ret listesi": "rejection_list",
    "Kara liste": "rejection_list",
    "Mesai dışı": "outside_hours",
    "Geri arama": "callback",
    "Sistem karşıladı": "handled_by_system",
    "Numara bulunamadı": "not_found",
    "Yetki yok": "unauthorized",
    "Medya uyuşmadı": "not_acceptable",
    "Sunucu hatası": "server_failure",
    "Diğer hata": "other_failure",
    "Devam ediyor": "in_progress",
    "Eksik yakalama": "incomplete",
}

DETAILS = {
    "answered_elsewhere": "redirected",
    "declined_elsewhere": "redirected",
    "forwarded": "redirected",
    "picked_up": "redirected",
    "rerouted": "redirected",
    "manual": "declined",
    "automatic": "declined",
    "after_trying": "connection_timeout",
    "after_ringing": "connection_timeout",
    "no_ack": "connection_timeout",
    "server_timeout": "connection_timeout",
}


@pytest.mark.parametrize(("name", "outcome"), [*NAMES.items(), *TURKISH_NAMES.items()])
def test_names_of_the_reports_select_their_outcome(name: str, outcome: str) -> None:
    assert parse_filter(name) == OutcomeFilter(outcome)


@pytest.mark.parametrize("outcome", sorted(set(NAMES.values())))
def test_keys_select_themselves(outcome: str) -> None:
    assert parse_filter(outcome) == OutcomeFilter(outcome)


def test_these_are_all_outcomes() -> None:
    assert len(set(NAMES.values())) == 21
    assert set(NAMES.values()) == set(TURKISH_NAMES.values())


@pytest.mark.parametrize(("detail", "outcome"), DETAILS.items())
def test_details_alone_and_with_their_outcome(detail: str, outcome: str) -> None:
    selected = OutcomeFilter(outcome, detail)
    assert parse_filter(detail) == selected
    assert parse_filter(f"{outcome}/{detail}") == selected


@pytest.mark.parametrize(
    "name",
    [
        "CALL DECLINED",
        "call-declined",
        "call_declined",
        "  Call   Declined ",
        "Call-DECLINED",
        "ÇAĞRI REDDEDİLDİ",
        "çağrı_reddedildi",
        "cagri reddedildi",
        "CAGRI-REDDEDILDI",
    ],
)
def test_case_accents_and_separators_make_no_difference(name: str) -> None:
    assert parse_filter(name) == OutcomeFilter("declined")


@pytest.mark.parametrize(
    "name",
    [
        "redirected/forwarded",
        "Redirected / Forwarded",
        "Call Redirected By System/forwarded",
        "Sistem çağrıyı yönlendirdi/çağrı yönlendirme",
    ],
)
def test_outcome_and_detail_in_words(name: str) -> None:
    assert parse_filter(name) == OutcomeFilter("redirected", "forwarded")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("declned", "declined"),
        ("agent bussy", "Agent busy"),
        ("abandonned", "Abandoned"),
        ("redirected/forwardet", "redirected/forwarded"),
        ("cihaz yanit vermior", "Cihaz yanıt vermiyor"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UnknownFilterError) as caught:
        parse_filter(name)
    assert isinstance(caught.value, ValueError)
    assert folded(caught.value.nearest) == folded(nearest)
    assert repr(name) in str(caught.value)
    assert caught.value.nearest in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", " ", "/", "declined/", "declined/forwarded", "\x1b[31m", "a/b/c"]
)
def test_nonsense_is_an_error(name: str) -> None:
    with pytest.raises(UnknownFilterError) as caught:
        parse_filter(name)
    assert "\x1b" not in str(caught.value)


def test_a_very_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(UnknownFilterError) as caught:
        parse_filter("declined" * 100_000)
    assert len(str(caught.value)) < 200


def test_a_cause_hint_is_no_filter_but_has_an_entry() -> None:
    with pytest.raises(UnknownFilterError):
        parse_filter("registration_expired")
    assert find_key("Registration expired") == "registration_expired"
    assert find_key("NAT eşlemesi kaybolmuş") == "nat_binding_lost"


def test_no_name_stands_for_two_things() -> None:
    meanings: dict[str, set[str]] = {}
    for language in ("en", "tr"):
        texts = Texts.load(language)
        guide = Guide(texts)
        entries = [
            *((f"outcome.{entry.key}", entry.key) for entry in guide.outcomes()),
            *((f"detail.{entry.detail}", entry.key) for entry in guide.details()),
            *((f"cause_hint.{entry.key}", entry.key) for entry in guide.cause_hints()),
        ]
        for prefix, key in entries:
            written = [key, prefix.split(".")[1], texts.t(f"{prefix}.name")]
            for name in (*written, *texts.lines(f"{prefix}.aliases")):
                meanings.setdefault(folded(name), set()).add(key)
    assert {name: keys for name, keys in meanings.items() if len(keys) > 1} == {}


@pytest.mark.parametrize(
    ("selected", "verdict", "matches"),
    [
        (OutcomeFilter("redirected"), ("redirected", "forwarded"), True),
        (OutcomeFilter("redirected"), ("redirected", None), True),
        (OutcomeFilter("redirected"), ("declined", None), False),
        (OutcomeFilter("redirected", "forwarded"), ("redirected", "forwarded"), True),
        (OutcomeFilter("redirected", "forwarded"), ("redirected", "picked_up"), False),
        (OutcomeFilter("redirected", "forwarded"), ("redirected", None), False),
    ],
)
def test_a_filter_selects_verdicts(
    selected: OutcomeFilter, verdict: tuple[str, str | None], matches: bool
) -> None:
    assert selected.matches(*verdict) is matches
