"""INVITEs that a capture shows after their first response, as several queues of a card do it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sipwatch.calls.types import Attempt, CallEnded
from sipwatch.capture.files import CaptureFiles
from sipwatch.config import Config
from sipwatch.net.types import Datagram, Unreachable
from sipwatch.pipeline import Pipeline

_CAPTURES = Path(__file__).parents[2] / "pcaps" / "pbx" / "kamailio"
#: How many packets come before an INVITE that is late.
_LATE = (1, 2, 3, 5)

_Packets = list[Datagram | Unreachable]


def _late_invites(packets: _Packets, by: int) -> list[_Packets]:
    """The packets once for each INVITE, with that one late, and once with all of them late."""
    found: list[_Packets] = []
    places = [n for n, one in enumerate(packets) if _is_invite(one) and n + by < len(packets)]
    all_late = list(packets)
    for place in places:
        late = list(packets)
        _put_off(late, place, by)
        found.append(late)
    for place in reversed(places):
        _put_off(all_late, place, by)
    return [*found, all_late]


def _is_invite(packet: Datagram | Unreachable) -> bool:
    return isinstance(packet, Datagram) and packet.payload.startswith(b"INVITE ")


def _put_off(packets: _Packets, place: int, by: int) -> None:
    """Times stay in order: what is late bears the time of the place that it comes to."""
    time = packets[place + by].time
    packets.insert(place + by, packets.pop(place)._replace(time=time))


def _is_its_own_cause(attempt: Attempt) -> bool:
    step = attempt.parent
    for _ in range(100):
        if step is None:
            return False
        if step is attempt:
            return True
        step = step.parent
    return True


_NAMES = ["behind-queue-left", "behind-group", "behind-fork-left", "fork-left", "serial-nobody"]


def _packets(name: str) -> _Packets:
    [path] = _CAPTURES.glob(f"{name}.pcap*")
    return [one for batch in CaptureFiles([str(path)]).batches() for one in batch]


def _check(packets: _Packets) -> None:
    """Nobody is his own cause at any time, and in the end all are judged."""
    pipeline = Pipeline(Config())
    events = []
    for packet in packets:
        events += pipeline.feed([packet])
        for attempt in pipeline.tracker._open.values():
            assert not _is_its_own_cause(attempt)
    events += pipeline.finish(pipeline.tracker.now, "end_of_capture")
    calls = [event.call for event in events if isinstance(event, CallEnded)]
    assert calls
    assert all(one.verdict is not None for call in calls for one in call.attempts)


@pytest.mark.parametrize("by", _LATE)
@pytest.mark.parametrize("name", _NAMES)
def test_no_leg_is_its_own_cause(name: str, by: int) -> None:
    for packets in _late_invites(_packets(name), by):
        _check(packets)


def _branches(packet: Datagram | Unreachable) -> list[bytes]:
    return re.findall(rb"\r\nVia: [^\r]*;branch=([^;\r]+)", getattr(packet, "payload", b""))


@pytest.mark.parametrize("name", _NAMES)
def test_an_invite_without_its_own_via(name: str) -> None:
    """It then looks like the late INVITE of the leg before, which had led to others by now."""
    whole = _packets(name)
    tried = 0
    for place, packet in enumerate(whole):
        branches = _branches(packet)
        if not _is_invite(packet) or len(branches) < 2 or not isinstance(packet, Datagram):
            continue
        packets = list(whole)
        stripped = re.sub(rb"\r\nVia: [^\r]*", b"", packet.payload, count=1)
        packets[place] = packet._replace(payload=stripped)
        first = [
            n
            for n, one in enumerate(whole)
            if _is_invite(one) and _branches(one)[:1] == branches[1:2]
        ]
        _check([one for n, one in enumerate(packets) if n not in first])
        tried += 1
    assert tried
