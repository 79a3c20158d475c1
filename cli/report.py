"""``netc report``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import FILE, OUTPUT, cache_option, say


@click.command("report")
@click.argument("directory", type=FILE, metavar="RUN")
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="The page.  [RUN/report.html]")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--limit-test", type=int, help="Use only the first N test samples.")
@click.option(
    "--energy-samples",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Test samples whose energy is integrated, in float64 element by element; 0 for none.",
)
@cache_option
def command(
    directory: Path,
    output: Path | None,
    data_dir: Path | None,
    limit_test: int | None,
    energy_samples: int,
    no_cache: bool,
) -> None:
    """Write what there is to say about the run in the folder RUN as one HTML page, and as JSON beside it.

    \b
    Example:
      netc report runs/mnist
    """
    from netc.cache import DeckCache
    from netc.data import load
    from netc.report.page import write
    from netc.training.saved import open_run

    saved = open_run(directory, cache=None if no_cache else DeckCache())
    dataset = load(saved.data, directory=data_dir, limit_test=limit_test, presented=saved.presented)
    page = write(saved, dataset, output, energy_samples)
    say(f"wrote {page} and {page.with_suffix('.json').name}")
    click.echo(str(page))
