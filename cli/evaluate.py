"""``netc evaluate``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import FILE


@click.command("evaluate")
@click.argument("directory", type=FILE, metavar="DIR")
@click.option("--data", "data_name", required=True, metavar="NAME", help="Data set whose test samples are used.")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--limit-test", type=int, help="Use only the first N test samples.")
@click.option("--batch", type=int, help="Samples at once.  [as in training]")
@click.option("--threads", type=int, help="CPU threads.  [all]")
def command(
    directory: Path,
    data_name: str,
    data_dir: Path | None,
    limit_test: int | None,
    batch: int | None,
    threads: int | None,
) -> None:
    """Test the trained run in the folder DIR.

    The last line of stdout is the same JSON object as that of netc train.

    \b
    Example:
      netc evaluate runs/mnist --data mnist
    """
    from netc.data import load
    from netc.training import evaluate

    dataset = load(data_name, directory=data_dir, limit_test=limit_test)
    click.echo(evaluate(directory, dataset, batch=batch, threads=threads).line())
