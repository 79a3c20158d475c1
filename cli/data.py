"""``netc data``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import FILE, say


@click.group("data")
def command() -> None:
    """Data sets: see which there are, and get them.

    \b
    Example:
      netc data fetch mnist
    """


@command.command("fetch")
@click.argument("name")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where they are, or go.  [NETC_DATA_DIR, netc's cache]")
def fetch(name: str, data_dir: Path | None) -> None:
    """Make sure the data set NAME is on this machine and whole; print where.

    \b
    Example:
      netc data fetch mnist
    """
    from netc.data import fetch as fetch_data
    from netc.data import names

    if name in names():  # else the next line says which there are
        say(f"{name}: looking on this machine, then at its mirrors and registries")
    click.echo(fetch_data(name, data_dir))


@command.command("list")
def list_names() -> None:
    """Print the names netc knows.

    \b
    Example:
      netc data list
    """
    from netc.data import names

    for name in names():
        click.echo(name)
