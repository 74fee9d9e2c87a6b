"""The command line: one command, a verb a module, each imported only when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from sipwatch import __version__

#: Verbs in the order of the help: name to module (which has a command of that name).
VERBS: Mapping[str, str] = {
    "replay": "sipwatch.cli.replay",
    "explain": "sipwatch.cli.explain",
    "report": "sipwatch.cli.report",
    "guide": "sipwatch.cli.guide",
    "run": "sipwatch.cli.run",
    "top": "sipwatch.cli.top",
    "archive": "sipwatch.cli.archive",
    "config": "sipwatch.cli.config",
    "doctor": "sipwatch.cli.doctor",
}

#: What a shell reports for a program that SIGINT or SIGPIPE ended.
_INTERRUPTED = 130
_PIPE_CLOSED = 141


class Verbs(click.Group):
    """Loads a verb's module when it is used, and ends quietly when nobody wants more output."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs there are, in the order in which people need them."""
        return [name for name, module in VERBS.items() if find_spec(module) is not None]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The verb of that name; None when there is none."""
        module = VERBS.get(name)
        if module is None or find_spec(module) is None:
            return None
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that was typed, or an error that names the nearest one."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            ctx.fail(f"no such command {name!r}; the nearest is {self._nearest(ctx, name)!r}")
        return super().resolve_command(ctx, args)

    def _nearest(self, ctx: click.Context, name: str) -> str:
        from difflib import get_close_matches

        return get_close_matches(name, self.list_commands(ctx), n=1, cutoff=0.0)[0]

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb; a closed pipe and Ctrl-C end it without a traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _abandon_output()
            ctx.exit(_PIPE_CLOSED)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(_INTERRUPTED)


def _abandon_output() -> None:
    """Leaves nothing that the interpreter would try to write at its end."""
    import io

    sys.stdout = io.TextIOWrapper(io.BytesIO())


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sipwatch")
def main() -> None:
    """Says why SIP calls fail: from captures, live interfaces and records."""
