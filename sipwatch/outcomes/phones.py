"""Which User-Agents name a phone or softphone (rule 11c), from the patterns in phones.toml."""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path


@cache
def _pattern() -> re.Pattern[str]:
    file = Path(__file__).with_name("phones.toml")
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return re.compile("|".join(f"(?:{p})" for group in data.values() for p in group), re.IGNORECASE)


@lru_cache(maxsize=4096)
def is_phone(agent: str) -> bool:
    """Whether this Server or User-Agent value is a phone's."""
    return _pattern().search(agent) is not None
