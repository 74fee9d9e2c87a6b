"""One typed, validated, frozen configuration: TOML file < environment < flags."""

from sipwatch.config.errors import ConfigError
from sipwatch.config.hep import Hep
from sipwatch.config.hours import Hours, HoursRule, Span, Week
from sipwatch.config.kinds import Address, HeaderRule, Network
from sipwatch.config.loading import FILE_VARIABLE, SETTINGS, Flag, load, parse_toml
from sipwatch.config.model import (
    CORRELATION_RULES,
    Agents,
    Callback,
    Config,
    Correlation,
    Privacy,
    Records,
    Rejection,
    Timers,
    Tracker,
    Web,
)
from sipwatch.config.showing import show

__all__ = [
    "CORRELATION_RULES",
    "FILE_VARIABLE",
    "SETTINGS",
    "Address",
    "Agents",
    "Callback",
    "Config",
    "ConfigError",
    "Correlation",
    "Flag",
    "HeaderRule",
    "Hep",
    "Hours",
    "HoursRule",
    "Network",
    "Privacy",
    "Records",
    "Rejection",
    "Span",
    "Timers",
    "Tracker",
    "Web",
    "Week",
    "load",
    "parse_toml",
    "show",
]
