"""All scenarios, and the network that each is played on."""

from __future__ import annotations

import scenarios_caller
import scenarios_device
import scenarios_proxy
import scenarios_softphone
import scenarios_view
import scenarios_written
from lab import Scenario

GROUPS: tuple[tuple[int, list[Scenario]], ...] = (
    (20, scenarios_device.SCENARIOS),
    (21, scenarios_caller.SCENARIOS),
    (22, scenarios_view.SCENARIOS),
    (23, scenarios_proxy.SCENARIOS),
    (24, scenarios_softphone.SCENARIOS),
    (25, scenarios_written.SCENARIOS),
)

ALL = [scenario for _, group in GROUPS for scenario in group]

# The second octet is the group's, the third the place in the group: new ones go to its end.
NETWORKS = {
    scenario.name: (second, third)
    for second, group in GROUPS
    for third, scenario in enumerate(group)
}
