"""Plain text tables of costs for a terminal or a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from captures import Capture
from growth import fit
from measure import Cost, median

#: Costs of one capture by the name of the program.
Costs = Mapping[str, Sequence[Cost]]

#: How many times as fast as a peer the replay is meant to be, by kind of capture.
AIMS = {"mixed": {"sngrep": 3.0, "tshark": 2.0}, "rtp": {"sngrep": 6.0, "tshark": 3.0}}
#: Bytes that a replay may hold at its peak, however long the capture.
MEMORY_AIM = 150e6


def costs_table(capture: Capture, costs: Costs, baseline: str | None) -> str:
    """Medians of one capture; ``baseline`` is compared with each of the others."""
    size = capture.path.stat().st_size / 1e6
    rounds = len(next(iter(costs.values())))
    title = (
        f"{capture.kind}: {capture.packets:,} packets, {size:,.0f} MB, "
        f"{capture.truth['sip_messages']:,} SIP messages, {capture.truth['attempts']:,} attempts; "
        f"medians of {rounds}"
    )
    rows = [("program", "wall s", "CPU s", "spread", "packets/s", "peak MB", f"{baseline} is")]
    for name, measured in costs.items():
        middle = median(measured)
        seconds = [cost.cpu for cost in measured]
        rows.append(
            (
                name,
                f"{middle.wall:.2f}",
                f"{middle.cpu:.2f}",
                f"{min(seconds):.2f}-{max(seconds):.2f}",
                f"{capture.packets / middle.cpu:,.0f}",
                f"{middle.peak / 1e6:.0f}",
                _comparison(capture.kind, name, ratios(costs, baseline).get(name)),
            )
        )
    if baseline is None:
        rows = [row[:-1] for row in rows]
    return f"{title}\n{_align(rows)}"


def ratios(costs: Costs, baseline: str | None) -> dict[str, float]:
    """CPU time of every other program over that of ``baseline``."""
    if baseline is None or baseline not in costs:
        return {}
    own = median(costs[baseline]).cpu
    return {name: median(costs[name]).cpu / own for name in costs if name != baseline}


def memory_line(measured: Sequence[tuple[Capture, Costs]], baseline: str) -> str:
    """The largest peak of ``baseline`` beside the aim."""
    peaks = [(median(costs[baseline]).peak, capture) for capture, costs in measured]
    peak, capture = max(peaks, key=lambda pair: pair[0])
    verdict = "met" if peak <= MEMORY_AIM else "MISSED"
    return (
        f"largest peak of {baseline}: {peak / 1e6:.0f} MB ({capture.kind} {capture.packets:,}; "
        f"aim {MEMORY_AIM / 1e6:.0f}: {verdict})"
    )


def growth_table(kind: str, measured: Sequence[tuple[Capture, Costs]]) -> str:
    """How time and memory of each program grow over captures of one kind."""
    packets = [capture.packets for capture, _ in measured]
    span = f"{min(packets):,} to {max(packets):,}"
    rows = [("program", "us/packet", "start s", "time ~ n^", "MB first", "MB last", "MB/million")]
    for name in measured[0][1]:
        middles = [median(costs[name]) for _, costs in measured]
        time = fit(packets, [middle.cpu for middle in middles])
        memory = fit(packets, [middle.peak for middle in middles])
        rows.append(
            (
                name,
                f"{time.each * 1e6:.2f}",
                f"{time.start:.2f}",
                f"{time.exponent:.2f}",
                f"{middles[0].peak / 1e6:.0f}",
                f"{middles[-1].peak / 1e6:.0f}",
                f"{memory.each:+.0f}",
            )
        )
    return f"{kind}: growth from {span} packets (CPU time, peak memory)\n{_align(rows)}"


def _comparison(kind: str, name: str, ratio: float | None) -> str:
    if ratio is None:
        return ""
    aim = AIMS.get(kind, {}).get(name)
    if aim is None:
        return f"{ratio:.2f} x"
    return f"{ratio:.2f} x (aim {aim:.0f}: {'met' if ratio >= aim else 'MISSED'})"


def _align(rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *rest = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(["", first, *rest]).rstrip())
    return "\n".join(lines)
