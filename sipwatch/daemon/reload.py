"""Takes up another configuration while calls go on."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from sipwatch.calls.settings import Places
from sipwatch.config import Config
from sipwatch.outcomes.dialect import Dialects
from sipwatch.pipeline import Pipeline, rule_settings, tracker_settings

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


def take_up(pipeline: Pipeline, config: Config) -> None:
    """From now on the pipeline judges by this configuration; what is in progress stays."""
    if config.dialects != pipeline.config.dialects:
        pipeline.dialects = pipeline.classifier.dialects = Dialects(config.dialects)
    pipeline.config = config
    settings = tracker_settings(config, pipeline.dialects)
    correlator = pipeline.tracker.correlator
    pipeline.tracker.settings = correlator.settings = settings
    correlator.places = Places(settings)
    pipeline.classifier.settings = rule_settings(config)


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
