"""What a report must say besides its numbers: what was not read, not seen, or not certain."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sipwatch.outcomes.guide.texts import MissingTextError, Texts
from sipwatch.report.reading import Reading
from sipwatch.report.summary import Summary

#: Reasons that are shown one by one.
_MAX_LINES = 8

_NO_WORD = re.compile(r"\W+")


def notes(reading: Reading, summary: Summary, texts: Texts) -> Iterator[str]:
    """One sentence for each thing that a reader must know, the gravest first."""
    yield from _emptiness(reading, summary, texts)
    yield from _unread(reading, texts)
    yield from _uncertain(reading, summary, texts)


def _emptiness(reading: Reading, summary: Summary, texts: Texts) -> Iterator[str]:
    stats = reading.stats
    packets = texts.number(stats.packets)
    if not stats.sip_datagrams:
        if stats.tls:
            port, encrypted = stats.tls.most_common(1)[0]
            yield texts.t(
                "report.no_sip_encrypted",
                packets=packets,
                encrypted=texts.number(encrypted),
                port=port,
            )
        else:
            yield texts.t("report.no_sip", packets=packets)
    elif not summary.total:
        yield texts.t("report.no_attempts")


def _unread(reading: Reading, texts: Texts) -> Iterator[str]:
    stats = reading.stats
    for damage in stats.damage[:_MAX_LINES]:
        yield (
            texts.t("report.cut_short", file=damage.file, position=texts.number(damage.position))
            + f" ({damage.what})"
        )
    if reading.unread_connections:
        yield unread_connections(reading.unread_connections, stats.keylog_given, texts) + "."
    if stats.sip_datagrams:
        for port, count in stats.tls.most_common(_MAX_LINES):
            yield texts.n("view.encrypted", count, port=port)
    for (layer, reason), count in stats.not_decoded.most_common(_MAX_LINES):
        yield f"{texts.t('report.not_decoded')}: {_reason(layer, reason, count, texts)}"
    for (layer, reason), count in stats.malformed.most_common(_MAX_LINES):
        name = f"{texts.t('report.not_decoded_name.malformed')}: {layer} {reason}"
        yield texts.n("report.not_decoded_line", count, reason=name)
    for what, count in reading.malformed.most_common(_MAX_LINES):
        yield texts.n("view.sip_malformed", count, reason=what)
    if stats.snapped:
        yield texts.n("view.snapped", stats.snapped)


def unread_connections(count: int, keylog_given: bool, texts: Texts) -> str:
    """The line about SIP/TLS connections that stayed closed, without a full stop."""
    return texts.n("report.tls_no_keys" if keylog_given else "report.tls_unread", count)


def _uncertain(reading: Reading, summary: Summary, texts: Texts) -> Iterator[str]:
    for (source, destination), _ in summary.one_way.most_common(_MAX_LINES):
        yield texts.t("report.one_direction", a=source, b=destination)
    if summary.losses:
        yield texts.n("report.packets_dropped", summary.losses)
    if reading.evictions:
        yield texts.n("view.evictions", reading.evictions)
    if summary.ambiguous:
        yield texts.n("view.ambiguous", summary.ambiguous)


def _reason(layer: str, reason: str, count: int, texts: Texts) -> str:
    """What was lost in which layer, in the reader's language where there are words for it.

    Of streams, fragments and the like it is not packets that are counted: the words say what is.
    """
    why = _words(f"report.not_decoded_why.{_NO_WORD.sub('_', reason).strip('_').lower()}", texts)
    where = _words(f"report.not_decoded_name.{layer}", texts)
    if why is not None:
        return f"{where or layer}: {why}: {texts.number(count)}"
    name = _words(f"report.not_decoded_name.{reason}", texts) or where
    if name is None:
        name = reason if layer in reason else f"{reason} ({layer})"
    return texts.n("report.not_decoded_line", count, reason=name)


def _words(key: str, texts: Texts) -> str | None:
    try:
        return texts.t(key)
    except MissingTextError:
        return None
