"""Errors for people: one line on standard error, exit status 2, never a traceback."""

from __future__ import annotations

from typing import IO, Any

import click

from sipwatch.sinks.printable import printable


class UsageFailure(click.ClickException):
    """Something was asked for that cannot be done; the message is one line that says why."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the line."""
        warn(self.message)


def warn(message: str) -> None:
    """A line on standard error, safe for a terminal whatever names it holds."""
    click.echo(f"sipwatch: {printable(message)}", err=True)
