"""The capture itself: filter, ring, and what a short trial hears."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sipwatch.capture import bpf
from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.filters import LinkLayer, compile_filter, describe
from sipwatch.capture.interfaces import ANY, Interfaces, LinkType
from sipwatch.capture.live import LiveCapture, LiveStats
from sipwatch.capture.ring import Ring
from sipwatch.doctor.findings import Finding, Plan, fail, ok, warn


def link_layers(names: tuple[str, ...], interfaces: Interfaces) -> dict[LinkLayer, list[str]]:
    """The link layers that filters are made for, with the interfaces that need them."""
    found: dict[LinkLayer, list[str]] = {}
    for name in names:
        link = None if name == ANY else interfaces.named(name)
        if name != ANY and link is None:
            continue
        plain = link is not None and link.link_type is LinkType.ETHERNET
        found.setdefault(LinkLayer.ETHERNET if plain else LinkLayer.COOKED, []).append(name)
    return found


def filters(plan: Plan, layers: dict[LinkLayer, list[str]]) -> Iterator[Finding]:
    """The programs that the kernel would run, each with its instructions."""
    for layer, names in (layers or {LinkLayer.ETHERNET: ["Ethernet"]}).items():
        check = f"filter {', '.join(names)}"
        try:
            program = compile_filter(plan.filter, layer, drop_outgoing_on_loopback=True)
        except bpf.FilterTooLong as error:
            yield fail(check, str(error), "name ranges of ports, such as 5060-5090")
            continue
        yield ok(
            check,
            f"{describe(plan.filter)} ({len(program)} instructions)",
            tuple(bpf.disassemble(program).splitlines()),
        )


def rings(plan: Plan, layers: dict[LinkLayer, list[str]]) -> Iterator[Finding]:
    """Whether the rings can be had, and how much memory they take."""
    for layer, names in layers.items():
        for name in names:
            yield _ring(plan, layer, name)


def _ring(plan: Plan, layer: LinkLayer, name: str) -> Finding:
    check = f"ring {name}"
    try:
        program = compile_filter(plan.filter, layer, drop_outgoing_on_loopback=True)
        ring = Ring(plan.geometry, program, cooked=layer is LinkLayer.COOKED)
    except (LiveCaptureError, bpf.FilterTooLong) as error:
        what, _, remedy = str(error).partition(": ")
        return fail(check, what, remedy or "make it possible to open a packet socket")
    has, wanted = ring.geometry, plan.geometry
    ring.close()
    blocks = f"{has.block_count} blocks of {has.block_bytes >> 10} KiB"
    if has.bytes < wanted.bytes:
        return warn(
            check,
            f"memory for {has.bytes >> 20} MiB only, of {wanted.bytes >> 20} MiB ({blocks})",
            "free memory, or raise the memory limit of the service or container",
        )
    return ok(check, f"{has.bytes >> 20} MiB of memory, {blocks}")


def trial(plan: Plan, seconds: float) -> Iterator[Finding]:
    """Captures for some seconds and says what was heard."""
    messages = 0
    try:
        with _capture(plan) as capture:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                messages += len(capture.poll(left))
            capture.refresh()
    except LiveCaptureError as error:
        what, _, remedy = str(error).partition(": ")
        yield fail("trial", what, remedy)
        return
    yield _heard(capture.stats(), messages, seconds)
    yield from _complaints(capture, messages)


def _capture(plan: Plan) -> LiveCapture:
    return LiveCapture(
        plan.interfaces,
        plan.filter.ports,
        tunnels=[name for name, _ in plan.filter.carriers],
        promiscuous=plan.promiscuous,
        geometry=plan.geometry,
    )


def _heard(stats: LiveStats, messages: int, seconds: float) -> Finding:
    heard = f"{stats.packets} packets and {messages} SIP messages in {seconds:g} s"
    if not stats.packets:
        return warn(
            "trial",
            f"{heard}: nothing passed the filter",
            "is this the interface, are these the ports that the PBX uses? sipwatch doctor -i any",
        )
    if not messages:
        return warn(
            "trial",
            f"{heard}: traffic on these ports, but no SIP that could be read",
            "it may be encrypted (SIP over TLS), or the ports belong to another protocol",
        )
    return ok("trial", heard)


def _complaints(capture: LiveCapture, messages: int) -> Iterator[Finding]:
    """What a trial has shown to be wrong."""
    stats = capture.stats()
    if stats.drops:
        yield warn("drops", f"{stats.drops} packets were lost", "make the ring larger")
    if messages and stats.only_one_direction:
        yield warn(
            "directions",
            "only one direction of the traffic is seen",
            "mirror both directions of the port (both, or rx and tx, in the switch)",
        )
    inflated = sum(interface.inflated for interface in stats.interfaces)
    if inflated:
        yield ok(
            "packets", f"{inflated} packets longer than the MTU, joined by offloads; read whole"
        )
    encrypted = capture.decoder.counts.tls
    if encrypted:
        ports = ", ".join(str(port) for port in sorted(encrypted)[:8])
        yield warn(
            "encryption",
            f"SIP over TLS on port {ports} cannot be read",
            "let the PBX send HEP (sipwatch run --hep), or give its TLS key log",
        )
