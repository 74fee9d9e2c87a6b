"""How names, labels and numbers are written in the exposition formats."""

from __future__ import annotations

import math
from typing import TypeAlias

#: The values of a family's labels, in their order.
Labels: TypeAlias = tuple[str, ...]

#: Label values never change and come again with every scrape: their text is kept.
_MOST_TEXTS = 100_000
_texts: dict[tuple[str, tuple[str, ...], Labels], str] = {}


def number(value: float) -> str:
    """A number, as short as it can be."""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)


def labelled(name: str, names: tuple[str, ...], labels: Labels) -> str:
    """`name{label="value"}`."""
    if not names:
        return name
    key = (name, names, labels)
    text = _texts.get(key)
    if text is None:
        pairs = ",".join(f'{n}="{escaped(v)}"' for n, v in zip(names, labels, strict=True))
        if len(_texts) >= _MOST_TEXTS:
            _texts.clear()
        text = _texts[key] = f"{name}{{{pairs}}}"
    return text


def escaped(value: str) -> str:
    """A label value as it stands between quotation marks."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
