"""One examination: all checks in the order in which a user would mend what they find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from sipwatch.capture.errors import LiveCaptureError
from sipwatch.capture.interfaces import Interfaces
from sipwatch.doctor import capturing, host, network, service
from sipwatch.doctor.ethtool import Ethtool
from sipwatch.doctor.findings import Finding, Plan, fail


def examine(plan: Plan, trial_seconds: float = 0.0) -> Iterator[Finding]:
    """Yields what it finds as it goes; a trial capture comes last if it has any time."""
    yield from host.examine()
    try:
        interfaces = Interfaces()
    except LiveCaptureError as error:
        what, _, remedy = str(error).partition(": ")
        yield fail("interfaces", what, remedy)
        return
    with closing(interfaces), closing(Ethtool()) as ethtool:
        yield from network.examine(plan.interfaces, interfaces, ethtool)
        layers = capturing.link_layers(plan.interfaces, interfaces)
    yield from capturing.rings(plan, layers)
    yield from capturing.filters(plan, layers)
    yield from service.examine(plan)
    there = tuple(name for names in layers.values() for name in names)
    if trial_seconds > 0 and there:
        yield from capturing.trial(replace(plan, interfaces=there), trial_seconds)
