"""The network interfaces that are to be captured: there, up, readable, and what offloads do."""

from __future__ import annotations

from collections.abc import Iterator

from sipwatch.capture.interfaces import ANY, Interfaces, Link, LinkType
from sipwatch.doctor.ethtool import Ethtool
from sipwatch.doctor.findings import Finding, fail, ok, warn

#: Interfaces whose offloads are shown when all of them are captured.
_MOST_SHOWN = 8

#: Features that join datagrams: two SIP messages become one, and the second is not seen.
_JOINS_DATAGRAMS = ("rx-gro-list", "rx-udp-gro-forwarding")
#: Features that join segments in the card, for good.
_JOINS_IN_THE_CARD = ("rx-lro",)
#: Features worth a word: the ring takes what they do as it is.
_HARMLESS = {
    "rx-gro": "GRO",
    "rx-gro-hw": "hardware GRO",
    "tx-tcp-segmentation": "TSO",
    "rx-vlan-hw-parse": "VLAN tags apart, which are put back",
}


def examine(names: tuple[str, ...], interfaces: Interfaces, ethtool: Ethtool) -> Iterator[Finding]:
    """Looks at each of the named interfaces, or at all that are up for ``any``."""
    links = interfaces.all()
    for name in names:
        if name == ANY:
            yield from _all(links, ethtool)
            continue
        link = next((link for link in links if link.name == name), None)
        if link is None:
            there = ", ".join(link.name for link in links)
            yield fail(
                f"interface {name}",
                f"does not exist; there are: {there}",
                "correct interfaces in the configuration, or bring it up first",
            )
        else:
            yield interface(link, ethtool.driver(name))
            yield offloads(link, ethtool)


def _all(links: list[Link], ethtool: Ethtool) -> Iterator[Finding]:
    up = [link for link in links if link.is_up]
    outside = [link for link in up if not link.is_loopback]
    shown = ", ".join(link.name for link in up) or "none"
    if outside:
        yield ok(f"interface {ANY}", f"all of them; up now: {shown}")
    else:
        yield warn(
            f"interface {ANY}",
            f"all of them, but only this is up: {shown}",
            "bring an interface up, or use the host's network in a container (--network host)",
        )
    for link in outside[:_MOST_SHOWN]:
        yield offloads(link, ethtool)


def interface(link: Link, driver: str) -> Finding:
    """Whether packets can come from it."""
    check = f"interface {link.name}"
    kind = ", ".join(part for part in (link.kind, driver if driver != link.kind else "") if part)
    what = f"{link.link_type.value}, MTU {link.mtu}" + (f", {kind}" if kind else "")
    if link.link_type is LinkType.OTHER:
        return fail(
            check,
            f"its packets (hardware type {link.hardware}) cannot hold SIP that we could read",
            "capture on the wired or tunnel interface that the PBX uses",
        )
    if not link.is_up:
        return fail(check, f"is down ({what})", f"ip link set {link.name} up")
    if not link.is_running:
        return warn(check, f"has no carrier ({what})", "check cable, switch port or peer")
    return ok(check, f"up ({what})")


def offloads(link: Link, ethtool: Ethtool) -> Finding:
    """Whether the interface changes packets before a capture sees them."""
    check = f"offloads {link.name}"
    try:
        active = ethtool.active_features(link.name)
    except OSError as error:
        return warn(
            check,
            f"the driver does not tell ({error.strerror})",
            f"look with ethtool -k {link.name}",
        )
    joining = [name for name in _JOINS_DATAGRAMS if name in active]
    in_card = [name for name in _JOINS_IN_THE_CARD if name in active]
    if joining:
        return warn(
            check,
            f"{', '.join(joining)}: datagrams may be joined, and messages be missed",
            f"ethtool -K {link.name} " + " ".join(f"{name} off" for name in joining),
        )
    if in_card:
        return warn(
            check,
            "LRO: the card joins TCP segments, and where one ended cannot be told",
            f"ethtool -K {link.name} lro off",
        )
    harmless = [text for name, text in _HARMLESS.items() if name in active]
    return ok(check, f"nothing that harms ({', '.join(harmless) or 'none on'})")
