"""Why the daemon cannot start: always one line that says what to do."""

from __future__ import annotations


class StartError(Exception):
    """The daemon cannot run like this; the message is one line for a person."""
