"""The texts mechanism: languages by scanning, fallback key by key, bad files."""

import re
from pathlib import Path

import pytest

from sipwatch.outcomes.guide.texts import (
    LanguageFileError,
    MissingTextError,
    Texts,
    UnknownLanguageError,
    default_language,
    languages,
)

LANGUAGES = Path(__file__).parents[2] / "sipwatch" / "outcomes" / "guide" / "languages"

#: Something for every ``{name}`` that a text may hold.
PLACEHOLDERS = dict.fromkeys(
    re.findall(r"{([a-z_]+)}", (LANGUAGES / "en.toml").read_text(encoding="utf-8")), "0"
)

#: What reads the same in Turkish: names of headers and of the protocol.
SAME_IN_TURKISH = {"report.call_id", "report.user_agent", "guide.sip"}


def flat(texts: Texts) -> dict[str, str | tuple[str, ...]]:
    found: dict[str, str | tuple[str, ...]] = {}
    for key in texts.keys():  # noqa: SIM118 (a method of Texts, not of a mapping)
        try:
            found[key] = texts.lines(key)
        except MissingTextError:
            found[key] = texts.t(key, **PLACEHOLDERS)
    return found


def own_keys(language: str) -> set[str]:
    """Keys read with a few lines of our own, so that fallback cannot hide a missing one."""
    keys, table = set(), ""
    in_list = False
    for line in (LANGUAGES / f"{language}.toml").read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[([a-z_.]+)\]", line):
            table = header[1]
        elif in_list:
            in_list = line != "]"
        elif assignment := re.match(r"([a-z_]+) = (.*)", line):
            keys.add(f"{table}.{assignment[1]}")
            in_list = assignment[2] == "["
    return keys


def write(folder: Path, name: str, text: str) -> Path:
    folder.joinpath(name).write_text(text, encoding="utf-8")
    return folder


def test_english_and_turkish_are_there() -> None:
    assert languages() == {"en": "English", "tr": "Türkçe"}


def test_both_languages_have_the_same_keys() -> None:
    english, turkish = own_keys("en"), own_keys("tr")
    assert len(english) > 400
    assert english - turkish == set()
    assert turkish - english == set()


def test_nothing_is_left_untranslated() -> None:
    english, turkish = flat(Texts.load("en")), flat(Texts.load("tr"))
    assert {key for key in english if english[key] == turkish[key]} == SAME_IN_TURKISH


def test_commands_are_the_same_in_both_languages() -> None:
    english, turkish = flat(Texts.load("en")), flat(Texts.load("tr"))
    typed = re.compile(r"`[^`]+`")
    for key, value in english.items():
        pairs = [(value, turkish[key])]
        if isinstance(value, tuple) and not key.endswith(".aliases"):
            assert len(value) == len(turkish[key]), key
            pairs = list(zip(value, turkish[key], strict=True))
        for one, other in pairs:
            if isinstance(one, str) and isinstance(other, str) and key != "guide.hint":
                assert sorted(typed.findall(one)) == sorted(typed.findall(other)), key


@pytest.mark.parametrize("language", ["en", "tr"])
def test_texts_are_clean(language: str) -> None:
    for key, value in flat(Texts.load(language)).items():
        for text in (value,) if isinstance(value, str) else value:
            assert text == text.strip(), key
            assert "  " not in text, key
            assert text.isprintable(), key
            assert text.count("`") % 2 == 0, key
            assert len(text) <= 230, key


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("en", "en"),
        ("tr", "tr"),
        ("TR", "tr"),
        ("tr_TR", "tr"),
        ("tr-TR", "tr"),
        ("tr_TR.UTF-8", "tr"),
        ("en_GB.UTF-8@euro", "en"),
    ],
)
def test_language_tags(tag: str, language: str) -> None:
    assert Texts.load(tag).language == language


@pytest.mark.parametrize("tag", ["xx", "", "structure", "../tr", "tr/../tr"])
def test_an_unknown_language_names_those_there_are(tag: str) -> None:
    with pytest.raises(UnknownLanguageError, match="available: en, tr") as caught:
        Texts.load(tag)
    assert caught.value.available == ("en", "tr")


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "tr_TR.UTF-8"}, "tr"),
        ({"LC_MESSAGES": "tr_TR", "LANG": "en_US"}, "tr"),
        ({"LC_ALL": "C", "LC_MESSAGES": "tr_TR", "LANG": "tr_TR"}, "en"),
        ({"LC_ALL": "", "LANG": "tr_TR"}, "tr"),
        ({"LC_ALL": "tr_TR.UTF-8", "LANG": "en_US"}, "tr"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANGUAGE": "tr"}, "en"),
    ],
)
def test_the_locale_decides_when_nothing_is_asked(environ: dict[str, str], language: str) -> None:
    assert default_language(environ) == language


def test_a_language_is_one_file_more(tmp_path: Path) -> None:
    write(tmp_path, "de.toml", '[language]\nname = "Deutsch"\n[outcome.declined]\nname = "Nein"\n')
    assert languages(tmp_path) == {"de": "Deutsch", "en": "English", "tr": "Türkçe"}
    german = Texts.load("de_AT.UTF-8", tmp_path)
    assert german.t("outcome.declined.name") == "Nein"
    assert german.t("outcome.no_answer.name") == "No answer"
    assert german.lines("outcome.declined.steps") == Texts.load().lines("outcome.declined.steps")


def test_a_region_wins_over_its_language(tmp_path: Path) -> None:
    write(tmp_path, "pt.toml", '[language]\nname = "Português"\n')
    write(tmp_path, "pt_BR.toml", '[language]\nname = "Português do Brasil"\n')
    assert Texts.load("pt_BR.UTF-8", tmp_path).t("language.name") == "Português do Brasil"
    assert Texts.load("pt_PT.UTF-8", tmp_path).t("language.name") == "Português"


def test_an_empty_text_is_not_a_translation(tmp_path: Path) -> None:
    write(tmp_path, "de.toml", '[outcome.declined]\nname = ""\nsteps = []\n')
    german = Texts.load("de", tmp_path)
    assert german.t("outcome.declined.name") == "Call declined"
    assert german.lines("outcome.declined.steps") != ()


def test_a_folder_may_change_single_english_texts(tmp_path: Path) -> None:
    write(tmp_path, "en.toml", '[outcome.declined]\nname = "Refused"\n')
    texts = Texts.load("en", tmp_path)
    assert texts.t("outcome.declined.name") == "Refused"
    assert texts.t("outcome.no_answer.name") == "No answer"


def test_other_files_in_the_folder_are_no_languages(tmp_path: Path) -> None:
    for name in ("README.md", "de.toml~", "deutsch.toml", "DE.toml"):
        write(tmp_path, name, "not [ toml")
    assert set(languages(tmp_path)) == {"en", "tr"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("not [ toml", "line 1"),
        ("[outcome.declined]\nname = 3\n", "outcome.declined.name must be a text or a list"),
        ("[outcome.declined]\nname = ['a']\n", "outcome.declined.name must be a text"),
        ("[outcome.declined]\nsteps = 'a'\n", "outcome.declined.steps must be a list of texts"),
        ("[outcome.declined]\nsteps = ['a', 1]\n", "outcome.declined.steps must be"),
        (
            "[report]\ncall_not_found = 'Kein {anruf}'\n",
            "report.call_not_found uses unknown {anruf",
        ),
        ("[report]\ncall_not_found = 'Kein {call_id:>9}'\n", "only plain {names}"),
        ("[report]\ncall_not_found = 'Kein {call_id.x}'\n", "uses unknown {call_id.x"),
        ("[report]\ncall_not_found = 'Kein {'\n", "report.call_not_found: "),
        ("[report]\ncall_not_found = 'Kein {}'\n", "uses unknown {"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path, "de.toml", text)
    with pytest.raises(LanguageFileError) as caught:
        Texts.load("de", tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "de.toml"))
    assert problem in str(caught.value)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "de.toml").write_bytes(b'[language]\nname = "Fran\xe7ais"\n')
    with pytest.raises(LanguageFileError, match=r"de\.toml"):
        Texts.load("de", tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LanguageFileError, match="nowhere"):
        Texts.load("en", tmp_path / "nowhere")


def test_a_key_without_text_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(MissingTextError):
        Texts.load().t("report.no_such_word")
    with pytest.raises(MissingTextError):
        Texts.load().lines("outcome.declined.name")
    with pytest.raises(MissingTextError):
        Texts.load().t("outcome.declined.steps")


def test_values_are_filled_in() -> None:
    assert Texts.load().t("report.call_not_found", call_id="a{b}") == "No call with Call-ID a{b}."
    assert Texts.load("tr").t("report.seconds", value="20,0") == "20,0 sn"


@pytest.mark.parametrize(
    ("language", "count", "text"),
    [
        ("en", 0, "0 packets"),
        ("en", 1, "1 packet"),
        ("en", 2, "2 packets"),
        ("en", 12041, "12,041 packets"),
        ("tr", 1, "1 paket"),
        ("tr", 12041, "12.041 paket"),
    ],
)
def test_forms_of_numbers(language: str, count: int, text: str) -> None:
    assert Texts.load(language).n("report.n_packets", count) == text


def test_numbers_as_the_language_writes_them() -> None:
    english, turkish = Texts.load("en"), Texts.load("tr")
    assert english.number(1234567.25, 1) == "1,234,567.2"
    assert turkish.number(1234567.25, 1) == "1.234.567,2"
    assert english.percent(0.4237, 1) == "42.4%"
    assert turkish.percent(0.4237, 1) == "%42,4"


@pytest.mark.parametrize(
    "word",
    [
        *("Attempts", "Answered", "Failed", "People", "Technology", "System", "Caller", "Policy"),
        *("Routing", "Outcome", "Share", "Agent", "Peer", "What to do first", "Not decoded"),
        *("Confidence", "Evidence", "Ring time", "Post-dial delay", "From", "To", "Verdict"),
        *("Messages", "packets"),
    ],
)
def test_the_words_of_the_report_are_there(word: str) -> None:
    english = flat(Texts.load())
    assert word in {value for key, value in english.items() if key.startswith("report.")}
