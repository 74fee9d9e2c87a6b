"""The effective configuration as TOML, each value with the place where it came from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sipwatch.config.hours import DAYS, HoursRule, Span
from sipwatch.config.kinds import HeaderRule
from sipwatch.config.loading import SETTINGS
from sipwatch.config.model import Config

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def show(config: Config) -> str:
    """TOML that gives this configuration again, secrets left out, origins as comments."""
    return "\n".join(_lines(config)) + "\n"


def value_at(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    found: Any = config
    for step in key.split("."):
        found = getattr(found, step)
    return found


def _lines(config: Config) -> Iterator[str]:
    section = ""
    for setting in SETTINGS.values():
        table, _, name = setting.key.rpartition(".")
        if table != section:
            section = table
            yield ""
            yield f"[{section}]"
        value = value_at(config, setting.key)
        origin = config.origin(setting.key)
        if setting.secret:
            yield f"# {name} is {'set' if value else 'not set'}  # {origin}"
        elif value is None:
            yield f"# {name} is not set  # {origin}"
        else:
            yield f"{name} = {_toml(_plain(value, setting.key))}  # {origin}"


def _plain(value: Any, key: str) -> Any:
    """A typed value as the strings, numbers, lists and tables of a file."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, ZoneInfo):
        return value.key
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, HeaderRule):
        return value.name if value.pattern is None else f"{value.name}: {value.pattern.pattern}"
    if isinstance(value, HoursRule):
        return {"called": value.called.pattern, "weekly": _week(value.weekly)}
    if key == "hours.weekly":
        return _week(value)
    if key == "web.listen":
        host, port = value
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(value, Mapping):
        return {str(name): _plain(item, key) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item, key) for item in value]
    return str(value)


def _week(week: Mapping[int, tuple[Span, ...]]) -> dict[str, str]:
    return {DAYS[day]: ",".join(map(_span, spans)) for day, spans in week.items()}


def _span(span: Span) -> str:
    start_hour, start = divmod(span.start, 60)
    # 24:00 is a legal end; later ones are on the next day.
    end_hour, end = divmod(span.end if span.end <= 24 * 60 else span.end - 24 * 60, 60)
    return f"{start_hour:02}:{start:02}-{end_hour:02}:{end:02}"


def _toml(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        items = (f"{_name(name)} = {_toml(item)}" for name, item in value.items())
        return "{ " + ", ".join(items) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's strings, numbers and booleans are TOML's too.
    return json.dumps(value, ensure_ascii=False)


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
