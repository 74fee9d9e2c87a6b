"""The guide is complete: an entry for all that the taxonomy can say, in every language."""

import pytest

from sipwatch.outcomes.guide import Entry, Guide, Texts, UnknownEntryError, advice

#: Written out from the specification's table of outcomes: key, category, English name.
OUTCOMES = [
    ("answered", "success", "Answered"),
    ("agent_busy", "user", "Agent busy"),
    ("no_answer", "user", "No answer"),
    ("declined", "user", "Call declined"),
    ("device_not_responding", "technical", "Device not responding"),
    ("connection_timeout", "technical", "Connection timeout"),
    ("unavailable", "technical", "Device not registered"),
    ("redirected", "system", "Call redirected by system"),
    ("abandoned", "caller", "Abandoned"),
    ("briefly_abandoned", "caller", "Briefly abandoned"),
    ("rejection_list", "policy", "Rejection list"),
    ("outside_hours", "policy", "Outside working hours"),
    ("callback", "policy", "Call back"),
    ("handled_by_system", "system", "Handled by the system"),
    ("not_found", "routing", "Number not found"),
    ("unauthorized", "routing", "Not authorised"),
    ("not_acceptable", "routing", "Media not acceptable"),
    ("server_failure", "technical", "Server failure"),
    ("other_failure", "other", "Other failure"),
    ("in_progress", None, "In progress"),
    ("incomplete", None, "Incomplete capture"),
]

DETAILS = [
    ("redirected", "answered_elsewhere"),
    ("redirected", "declined_elsewhere"),
    ("redirected", "forwarded"),
    ("redirected", "picked_up"),
    ("redirected", "rerouted"),
    ("declined", "manual"),
    ("declined", "automatic"),
    ("connection_timeout", "after_trying"),
    ("connection_timeout", "after_ringing"),
    ("connection_timeout", "no_ack"),
    ("connection_timeout", "server_timeout"),
]

CAUSE_HINTS = [
    "registration_expired",
    "registered_but_silent",
    "nat_binding_lost",
    "device_went_away",
    "never_seen",
    "port_closed",
    "slow_network",
    "media_lost",
]

#: Q.850 causes that lead to an outcome, from the specification's two tables.
Q850 = {
    "answered": {16},
    "agent_busy": {17},
    "no_answer": {19},
    "declined": {21},
    "device_not_responding": {18},
    "connection_timeout": {102},
    "unavailable": {20, 27},
    "redirected": {23, 26, 31},
    "rejection_list": {21},
    "not_found": {1, 2, 3, 22, 28},
    "unauthorized": {50, 55, 57},
    "not_acceptable": {58, 65, 79, 88},
    "server_failure": {34, 38, 41, 42, 44, 47},
    "other_failure": {127},
}

KEYS = [
    *(key for key, _, _ in OUTCOMES),
    *(f"{outcome}/{detail}" for outcome, detail in DETAILS),
    *CAUSE_HINTS,
]


def guide(language: str) -> Guide:
    return Guide(Texts.load(language))


def test_the_guide_has_these_entries_and_no_others() -> None:
    english = guide("en")
    assert [entry.key for entry in english.outcomes()] == [key for key, _, _ in OUTCOMES]
    assert [(entry.outcome, entry.detail) for entry in english.details()] == DETAILS
    assert [entry.cause_hint for entry in english.cause_hints()] == CAUSE_HINTS


@pytest.mark.parametrize(("key", "category", "name"), OUTCOMES)
def test_outcomes_have_the_category_and_name_of_the_taxonomy(
    key: str, category: str | None, name: str
) -> None:
    entry = guide("en").outcome(key)
    assert (entry.category, entry.name) == (category, name)
    assert set(entry.q850) == Q850.get(key, set())


@pytest.mark.parametrize("language", ["en", "tr"])
@pytest.mark.parametrize("key", KEYS)
def test_every_entry_is_complete_and_short(key: str, language: str) -> None:
    entry = guide(language).entry(key)
    assert entry.key == key
    assert entry.urgency in ("none", "trend", "investigate_now")
    assert 0 < len(entry.name) <= 70
    assert 20 <= len(entry.summary) <= 75
    assert entry.summary.endswith(".")
    assert 10 <= len(entry.saw) <= 130
    assert 40 <= len(entry.means) <= 190
    assert 15 <= len(entry.understand) <= 140
    assert 2 <= len(entry.steps) <= 5
    assert 2 <= len(entry.situations) <= 4
    assert 1 <= len(entry.traps) <= 4
    assert all(10 <= len(line) <= 230 for line in (*entry.steps, *entry.situations, *entry.traps))


@pytest.mark.parametrize("language", ["en", "tr"])
def test_no_two_entries_share_a_name_or_a_summary(language: str) -> None:
    book = guide(language)
    entries = [*book.outcomes(), *book.details(), *book.cause_hints()]
    assert len({entry.name for entry in entries}) == len(KEYS)
    assert len({entry.summary for entry in entries}) == len(KEYS)


@pytest.mark.parametrize("key", [key for key, category, _ in OUTCOMES if category == "technical"])
def test_technology_is_investigated_at_once(key: str) -> None:
    assert guide("en").outcome(key).urgency == "investigate_now"


@pytest.mark.parametrize("key", [key for key, category, _ in OUTCOMES if category == "user"])
def test_people_are_only_a_trend(key: str) -> None:
    assert guide("en").outcome(key).urgency == "trend"


@pytest.mark.parametrize(
    ("key", "causes"),
    [
        ("agent_busy", {("USER_BUSY", 17)}),
        ("device_not_responding", {("NO_USER_RESPONSE", 18), ("NO_ANSWER", 19)}),
        ("no_answer", {("NO_ANSWER", 19), ("ALLOTTED_TIMEOUT", 802)}),
        ("declined", {("CALL_REJECTED", 21), ("USER_BUSY", 17), ("NO_USER_RESPONSE", 18)}),
        ("redirected", {("NORMAL_UNSPECIFIED", 31), ("PICKED_OFF", 805), ("LOSE_RACE", 702)}),
        ("connection_timeout", {("RECOVERY_ON_TIMER_EXPIRE", 102), ("PROGRESS_TIMEOUT", 807)}),
        ("unavailable", {("SUBSCRIBER_ABSENT", 20), ("USER_NOT_REGISTERED", 806)}),
        ("abandoned", {("ORIGINATOR_CANCEL", 487)}),
        ("server_failure", {("NORMAL_TEMPORARY_FAILURE", 41), ("INVALID_GATEWAY", 808)}),
        ("rejection_list", {("CALL_REJECTED", 21), ("UNWANTED", 819)}),
    ],
)
def test_freeswitch_names_stand_with_their_numbers(key: str, causes: set[tuple[str, int]]) -> None:
    assert causes <= set(guide("en").outcome(key).hangup_causes)


@pytest.mark.parametrize("language", ["en", "tr"])
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("no_answer", ["FreeSWITCH", "NO_ANSWER", "32"]),
        ("no_answer", ["Asterisk", "603", "16"]),
        ("device_not_responding", ["FreeSWITCH", "NO_ANSWER", "32"]),
        ("device_not_responding", ["FreeSWITCH", "NO_USER_RESPONSE", "480"]),
        ("agent_busy", ["FreeSWITCH", "USER_BUSY"]),
        ("declined", ["FreeSWITCH", "USER_BUSY", "486"]),
        ("declined", ["Asterisk", "603"]),
        ("declined", ["Asterisk", "403"]),
        ("declined/automatic", ["FreeSWITCH", "NO_USER_RESPONSE", "480"]),
        ("connection_timeout", ["Asterisk", "603", "102", "504"]),
        ("redirected/answered_elsewhere", ["Asterisk", "CANCEL"]),
        ("abandoned", ["FreeSWITCH", "ORIGINATOR_CANCEL"]),
        ("not_found", ["Asterisk", "404"]),
    ],
)
def test_traps_say_what_a_pbx_hides(key: str, words: list[str], language: str) -> None:
    traps = guide(language).entry(key).traps
    assert any(all(word in trap for word in words) for trap in traps)


def test_a_verdict_of_an_outcome_alone() -> None:
    entry = advice("no_answer")
    assert (entry.key, entry.detail, entry.cause_hint) == ("no_answer", None, None)
    assert entry.name == "No answer"


def test_a_detail_speaks_instead_of_its_outcome() -> None:
    book = guide("en")
    entry = book.advice("connection_timeout", "no_ack")
    assert entry.name == "Connection timeout: Answer not confirmed"
    assert entry.steps == book.detail("no_ack").steps
    assert entry.means == book.detail("no_ack").means
    assert entry.category == "technical"


def test_a_cause_hint_puts_its_steps_first() -> None:
    book = guide("en")
    outcome, hint = book.outcome("device_not_responding"), book.cause_hint("nat_binding_lost")
    entry = book.advice("device_not_responding", cause_hint="nat_binding_lost")
    assert entry.name == "Device not responding (NAT binding lost)"
    assert entry.steps == hint.steps + outcome.steps
    assert entry.means == f"{outcome.means} {hint.means}"
    assert len(entry.situations) == 4
    assert entry.situations[: len(hint.situations)] == hint.situations
    assert entry.sip == outcome.sip


def test_a_step_that_both_give_is_said_once() -> None:
    book = guide("en")
    hint = book.cause_hint("registration_expired")
    outcome = book.outcome("unavailable")
    assert hint.steps[0] == outcome.steps[0]
    entry = book.advice("unavailable", cause_hint="registration_expired")
    assert entry.steps == hint.steps + outcome.steps[1:]


@pytest.mark.parametrize(
    ("outcome", "detail", "hint", "urgency"),
    [
        ("answered", None, None, "none"),
        ("answered", None, "media_lost", "investigate_now"),
        ("unavailable", None, "never_seen", "investigate_now"),
        ("answered", None, "never_seen", "trend"),
        ("redirected", "forwarded", None, "trend"),
    ],
)
def test_the_loudest_urgency_wins(
    outcome: str, detail: str | None, hint: str | None, urgency: str
) -> None:
    assert advice(outcome, detail, hint).urgency == urgency


def test_advice_in_turkish() -> None:
    entry = advice("declined", "manual", lang="tr_TR.UTF-8")
    assert entry.name == "Çağrı reddedildi: Elle reddedildi"
    assert "wrapuptime" in " ".join(entry.steps)


@pytest.mark.parametrize(
    ("outcome", "detail", "hint"),
    [
        ("busy", None, None),
        ("declined", "no_such", None),
        ("declined", "no_ack", None),
        ("declined", None, "no_such"),
        ("", None, None),
    ],
)
def test_what_the_guide_does_not_know_is_an_error(
    outcome: str, detail: str | None, hint: str | None
) -> None:
    with pytest.raises(UnknownEntryError):
        advice(outcome, detail, hint)


def test_entries_cannot_be_changed() -> None:
    entry: Entry = advice("declined")
    with pytest.raises(AttributeError):
        entry.name = "x"  # type: ignore[misc]
