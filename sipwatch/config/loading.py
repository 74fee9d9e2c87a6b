"""From a TOML file, environment and flags to a `Config`; later ones win, key by key."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from typing import Any, NamedTuple

from sipwatch.config.errors import ConfigError, UnknownKey, WrongValue, dotted
from sipwatch.config.model import Config
from sipwatch.config.setting import Setting, settings_of
from sipwatch.config.toml_lines import Path, key_lines, line_of

_PREFIX = "SIPWATCH_"
#: The file itself.
FILE_VARIABLE = "SIPWATCH_CONFIG"
#: What container engines set for a service that is called sipwatch: not meant for us.
_SERVICE_LINKS = re.compile(r"SIPWATCH_(SERVICE_(HOST|PORT)\w*|PORT|PORT_\d+_(TCP|UDP)\w*)")

#: Every key by its dotted name, in the order of the model.
SETTINGS: Mapping[str, Setting] = {each.key: each for each in settings_of(Config())}


class Flag(NamedTuple):
    """A value given on the command line, as TOML would give it, and the flag's name."""

    name: str
    value: Any


def load(
    path: str | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Flag] | None = None,
) -> Config:
    """The configuration from all places. Raises ConfigError.

    `path` is the TOML file (without one, the environment's SIPWATCH_CONFIG names it), `flags`
    maps dotted keys to what the command line said.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    path = path or environ.get(FILE_VARIABLE) or None
    if path is not None:
        _take_file(path, values, origins)
    _take_environment(environ, values, origins)
    for key, flag in (flags or {}).items():
        origins[key] = f"flag {flag.name}"
        values[key] = _parsed(SETTINGS[key], flag.value, flag.name)
    return _assembled(values, origins)


def parse_toml(text: str, name: str = "configuration") -> Config:
    """The configuration that this TOML text says, and nothing else. Raises ConfigError."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    _take_text(text, name, values, origins)
    return _assembled(values, origins)


def _take_file(path: str, values: dict[str, Any], origins: dict[str, str]) -> None:
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    _take_text(text.replace("\r\n", "\n"), path, values, origins)


def _take_text(text: str, name: str, values: dict[str, Any], origins: dict[str, str]) -> None:
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(_syntax_error(name, str(error))) from None
    lines = key_lines(text)
    for path, value in _leaves(tables, name, lines):
        key = dotted(path)
        line = line_of(path, lines)
        origins[key] = name if line is None else f"{name}:{line}"
        values[key] = _parsed(SETTINGS[key], value, name, lines)


def _syntax_error(name: str, message: str) -> str:
    """`FILE:LINE: what`, with the line that tomllib puts at the end of its message."""
    place = re.search(r"\s*\(at line (\d+), column (\d+)\)$", message)
    what = message[: place.start()] if place else message.replace("\n", " ")
    what = what[:1].lower() + what[1:]
    return f"{name}:{place[1]}: not TOML: {what}" if place else f"{name}: not TOML: {what}"


def _leaves(
    tables: dict[str, Any], name: str, lines: dict[Path, int], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The known keys in a file with their raw values; an unknown one is an error."""
    for step, value in tables.items():
        here = (*path, step)
        key = dotted(here)
        if key in SETTINGS:
            yield here, value
        elif not any(known.startswith(f"{key}.") for known in SETTINGS):
            unknown = UnknownKey(here, _neighbours(path))
            raise ConfigError(_placed(name, line_of(here, lines), str(unknown)))
        elif isinstance(value, dict):
            yield from _leaves(value, name, lines, here)
        else:
            wrong = WrongValue(f"a table [{key}]", value)
            raise ConfigError(_placed(name, line_of(here, lines), f"{key}: {wrong}"))


def _neighbours(path: tuple[str, ...]) -> Iterator[str]:
    """What could have been meant: every key and section, for a name may be in the wrong section."""
    seen = set()
    for key in SETTINGS:
        section = key.rpartition(".")[0]
        if section and section not in seen:
            seen.add(section)
            yield section
        yield key


def _take_environment(
    environ: Mapping[str, str], values: dict[str, Any], origins: dict[str, str]
) -> None:
    variables = {each.variable: each for each in SETTINGS.values()}
    for variable in sorted(name for name in environ if name.startswith(_PREFIX)):
        if variable == FILE_VARIABLE or _SERVICE_LINKS.fullmatch(variable):
            continue
        setting = variables.get(variable)
        if setting is None:
            unknown = UnknownKey((variable,), variables)
            raise ConfigError(f"environment: {unknown}")
        text = environ[variable]
        try:
            raw = setting.kind.from_text(text)
        except ValueError:
            raw = text
        origins[setting.key] = f"environment {variable}"
        values[setting.key] = _parsed(setting, raw, f"environment {variable}")


def _parsed(setting: Setting, raw: Any, place: str, lines: dict[Path, int] | None = None) -> Any:
    """The typed value, or a ConfigError that names place, line and key."""
    steps = tuple(setting.key.split("."))
    try:
        return setting.kind.parse(raw)
    except WrongValue as error:
        path = (*steps, *error.path)
        # Nobody should find what was meant as a secret in a log.
        what = f"expected {setting.kind.expected}" if setting.secret else str(error)
        raise ConfigError(_placed(place, _line(path, lines), f"{dotted(path)}: {what}")) from None
    except UnknownKey as error:
        for step in reversed(steps):
            error = error.under(step)
        raise ConfigError(_placed(place, _line(error.path, lines), str(error))) from None


def _line(path: Path, lines: dict[Path, int] | None) -> int | None:
    return None if lines is None else line_of(path, lines)


def _placed(place: str, line: int | None, what: str) -> str:
    return f"{place}: {what}" if line is None else f"{place}:{line}: {what}"


def _assembled(values: Mapping[str, Any], origins: dict[str, str]) -> Config:
    config: Config = _filled(Config(), values, "")
    return replace(config, origins=origins)


def _filled(section: Any, values: Mapping[str, Any], prefix: str) -> Any:
    """The section with the given values in place of its defaults."""
    changes = {}
    for name in section.__dataclass_fields__:
        key = prefix + name
        value = getattr(section, name)
        if key in values:
            changes[name] = values[key]
        elif is_dataclass(value):
            changes[name] = _filled(value, values, f"{key}.")
    return replace(section, **changes)
