"""Writes the table of what is decoded into README.md, from the registries that decode.

python docs/make_decoders.py           # write it between its two marks
python docs/make_decoders.py --check   # exit 1 when the table is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sipwatch.capture.files import FORMATS
from sipwatch.net.dispatch import Dispatch
from sipwatch.net.frames import FrameDecoder
from sipwatch.net.linktypes import EXPORTED_PDU, LINKS, VLAN_TAGS, name
from sipwatch.net.packet import Layer

TARGET = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- decoders -->", "<!-- /decoders -->"


def main() -> int:
    """Write the table, or compare it."""
    page = TARGET.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        print(f"{TARGET.name}: the marks {BEGIN} and {END} are missing", file=sys.stderr)
        return 2
    text = f"{before}{BEGIN}\n{table(FrameDecoder())}{END}{after}"
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
    elif text != page:
        print(f"{TARGET.name} is not up to date: python docs/make_decoders.py", file=sys.stderr)
        return 1
    return 0


def table(dispatch: Dispatch) -> str:
    """Markdown: a row for each place in a packet where what follows is told by a number."""
    lines = ["| where | what is decoded |", "|---|---|"]
    lines += [f"| {where} | {', '.join(names)} |" for where, names in _rows(dispatch)]
    return "\n".join(lines) + "\n"


def _rows(dispatch: Dispatch) -> Iterator[tuple[str, list[str]]]:
    yield "files", [known.reader.__module__.rpartition(".")[2] for known in FORMATS]
    # The same name may stand for several numbers.
    yield "link layers", list(dict.fromkeys(name(number) for number in (*LINKS, EXPORTED_PDU)))
    tags = ", ".join(f"0x{number:04X}" for number in sorted(VLAN_TAGS))
    yield "VLAN tags, any number of them", [tags]
    yield "ethertypes", _layers(dispatch.ethertypes, "0x{:04X}")
    yield "IP protocols", _layers(dispatch.protocols, "{}")
    if dispatch.reassemble is not None:
        yield "in parts", [_doc(dispatch.reassemble)]
    yield "UDP ports", _layers(dispatch.udp_ports, "{}")
    inspected = [said[:1].lower() + said[1:] for said in map(_doc, dispatch.inspections)]
    yield "by content, on any UDP port", ["SIP", *inspected]
    blind = [layer for registry in (dispatch.ethertypes, dispatch.protocols, dispatch.udp_ports)
             for layer in registry.values() if layer.decode is None]  # fmt: skip
    if blind:
        yield "counted by name, not decoded", [layer.name for layer in blind]


def _layers(registry: dict[int, Layer], form: str) -> list[str]:
    """Names with their numbers, and what a decoder says of itself where it is of another class."""
    numbers: dict[str, list[str]] = {}
    for number, layer in sorted(registry.items()):
        if layer.decode is not None:
            said = _doc(layer.decode)
            title = f"{layer.name}: {said}" if said else layer.name
            numbers.setdefault(title, []).append(form.format(number))
    return [f"{title} ({', '.join(found)})" for title, found in numbers.items()]


def _doc(decode: object) -> str:
    """The first line of the class that a decoder is a method of; "" for the common way."""
    owner = getattr(decode, "__self__", None)
    if owner is None or isinstance(owner, Dispatch):
        return ""
    return (type(owner).__doc__ or "").splitlines()[0].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
