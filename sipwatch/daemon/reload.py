"""What another configuration changes while calls go on, and what only the next start does."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from sipwatch.config import Config

#: Keys that hold what was opened or built at the start.
AT_START = (
    "interfaces",
    "web.listen",
    "records.directory",
    "records.json_lines",
    "correlation.disabled",
    "hep.listen",
    "hep.auth_key",
    "hep.certificate",
    "hep.private_key",
    "hep.client_authority",
    "hep.max_skew_seconds",
    "hep.mirror",
    "hep.node_id",
)


def waits_for_restart(old: Config, new: Config) -> list[str]:
    """The keys that have changed and take effect with the next start only."""
    return [key for key in AT_START if _value(old, key) != _value(new, key)]


def _value(config: Config, key: str) -> object:
    value: object = config
    for step in key.split("."):
        value = getattr(value, step)
    return value


def with_addresses(config: Config, addresses: frozenset[bytes]) -> Config:
    """The configuration with these addresses of the host, where it names none."""
    if config.local_addresses:
        return config
    found = tuple(ip_address(address) for address in sorted(addresses))
    return replace(config, local_addresses=found)
