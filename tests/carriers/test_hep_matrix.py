"""Every scenario as a HEP agent would send it, over UDP and TCP sockets, hours in a second.

Packets have the time of the play in their chunks, and the listener is told to believe them
however far they are from this host's clock. What is said must be, to the last microsecond, what
is said of the same datagrams as a file.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from functools import cache

import pytest
from play_runner import Outcome, fingerprint, run
from scenario_table import Scenario, scenarios

from sipwatch.capture.hep import HepListener, Listen
from sipwatch.net.types import Datagram
from sipwatch.pipeline import Pipeline

NODE = 2002
_NUMBERS = {"UDP": 17, "TCP": 6, "TLS": 22}


def _microseconds(one: Datagram) -> tuple[int, int]:
    return divmod(round(one.time * 1e6), 1_000_000)


def packet(one: Datagram) -> bytes:
    """HEP version 3 by nothing but its specification (hep3.pdf, chunk types of vendor 0)."""
    seconds, micro = _microseconds(one)
    chunks = [
        (1, b"\x02"),
        (2, bytes((_NUMBERS[one.transport],))),
        (3, one.source[0]),
        (4, one.destination[0]),
        (7, struct.pack("!H", one.source[1])),
        (8, struct.pack("!H", one.destination[1])),
        (9, struct.pack("!I", seconds)),
        (10, struct.pack("!I", micro)),
        (11, b"\x01"),
        (12, struct.pack("!I", NODE)),
        (15, one.payload),
    ]
    body = b"".join(struct.pack("!HHH", 0, kind, 6 + len(d)) + d for kind, d in chunks)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body


@cache
def plays() -> list[tuple[Scenario, list[Datagram]]]:
    """Scenarios of datagrams alone, with what a HEP packet keeps of each of them."""
    found = []
    for scenario in scenarios():
        items = [one.item for one in scenario.seen()]
        datagrams = [one for one in items if isinstance(one, Datagram)]
        if datagrams and len(datagrams) == len(items):
            found.append((scenario, [_kept(n, one) for n, one in enumerate(datagrams, 1)]))
    return found


def _kept(number: int, one: Datagram) -> Datagram:
    seconds, micro = _microseconds(one)
    return one._replace(
        time=seconds + micro / 1e6, number=number, interface=f"hep:{NODE}", ip_id=-1, udp_check=-1
    )


def through_udp(listener: HepListener, datagrams: list[Datagram]) -> list[Datagram]:
    (address,) = listener.addresses
    found: list[Datagram] = []
    with socket.socket(type=socket.SOCK_DGRAM) as agent:
        agent.connect((address.host, address.port))
        for start in range(0, len(datagrams), 50):
            for one in datagrams[start : start + 50]:
                agent.send(packet(one))
            wanted = min(start + 50, len(datagrams))
            found = collected(listener, found, wanted)
    return found


def through_tcp(listener: HepListener, datagrams: list[Datagram]) -> list[Datagram]:
    """In pieces that end anywhere."""
    (address,) = listener.addresses
    found: list[Datagram] = []
    data = b"".join(packet(one) for one in datagrams)
    with socket.create_connection((address.host, address.port), timeout=10) as agent:
        for start in range(0, len(data), 10_007):
            agent.sendall(data[start : start + 10_007])
            found += listener.poll(0.0)  # type: ignore[arg-type]
        return collected(listener, found, len(datagrams))


def collected(listener: HepListener, found: list[Datagram], wanted: int) -> list[Datagram]:
    deadline = time.monotonic() + 20
    while len(found) < wanted and time.monotonic() < deadline:
        found += listener.poll(0.2)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("transport", "send"), [("udp", through_udp), ("tcp", through_tcp)], ids=["UDP", "TCP"]
)
def test_every_scenario_over_hep(
    transport: str, send: Callable[[HepListener, list[Datagram]], list[Datagram]]
) -> None:
    listener = HepListener([Listen(transport, "127.0.0.1", 0)], max_skew_seconds=1e10)
    listener.open()
    listener.start()
    wrong: list[str] = []
    try:
        for scenario, datagrams in plays():
            found = send(listener, datagrams)
            assert [one._replace(number=0) for one in found] == [
                one._replace(number=0) for one in datagrams
            ], scenario.id
            # Numbers of a node go on from scenario to scenario; evidence names them.
            found = [one._replace(number=n) for n, one in enumerate(found, 1)]
            file = run(datagrams, scenario.config, scenario.quiet)
            if fingerprint(followed(scenario, found)) != fingerprint(file):
                wrong.append(scenario.id)
    finally:
        listener.close()
    assert not wrong
    assert listener.stats().kernel_drops == 0
    assert listener.stats().counts.wrong_time == 0
    assert listener.stats().counts.sip == sum(len(datagrams) for _, datagrams in plays())


def followed(scenario: Scenario, found: list[Datagram]) -> Outcome:
    """Fed in portions as polls would give them."""
    pipeline = Pipeline(scenario.config)
    outcome = Outcome(pipeline)
    for start in range(0, len(found), 5):
        outcome.take(pipeline.feed(found[start : start + 5]))
    outcome.take(pipeline.finish(found[-1].time + scenario.quiet, "end_of_capture"))
    return outcome


def test_the_plays_last_for_hours_in_all() -> None:
    spans = [datagrams[-1].time - datagrams[0].time for _, datagrams in plays()]
    assert len(spans) > 300
    assert sum(spans) > 3600
