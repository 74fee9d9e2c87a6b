"""`sipwatch config check` and `config show`."""

from __future__ import annotations

import click

from sipwatch.cli.failure import UsageFailure
from sipwatch.config import Config, ConfigError, load, show


@click.group()
def config() -> None:
    """Check a configuration, or show what holds and where each value came from."""


@config.command()
@click.argument("file", required=False, metavar="[FILE]")
def check(file: str | None) -> None:
    """Say whether FILE (or what SIPWATCH_CONFIG names) can be used, environment included."""
    _load(file)
    click.echo(f"{file or 'configuration'}: ok")


@config.command("show")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--config", "option", metavar="FILE", help="The same as FILE.")
def show_(file: str | None, option: str | None) -> None:
    """Print the configuration that holds, as TOML, with the place each value came from."""
    click.echo(show(_load(file or option)), nl=False)


def _load(file: str | None) -> Config:
    try:
        return load(file)
    except ConfigError as error:
        raise UsageFailure(str(error)) from None
