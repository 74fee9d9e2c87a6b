"""What can go wrong with a live capture, told in one line that says what to do."""

from __future__ import annotations


class LiveCaptureError(Exception):
    """The capture cannot be opened or has ended; the message is one line for the user."""
