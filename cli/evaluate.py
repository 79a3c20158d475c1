"""``netc evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import BACKENDS, FILE, cache_option, pass_option
from .presentation import chosen, presentation_options


@click.command("evaluate")
@click.argument("directory", type=FILE, metavar="DIR")
@click.option("--data", "data_name", required=True, metavar="NAME", help="Data set whose test samples are used.")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--limit-test", type=int, help="Use only the first N test samples.")
@click.option("--batch", type=int, help="Samples at once.  [as in training]")
@click.option("--threads", type=int, help="CPU threads.  [all]")
@click.option("--backend", type=BACKENDS, help="PyTorch, or a fused C++ kernel.  [as in training]")
@presentation_options
@pass_option
@cache_option
def command(
    directory: Path,
    data_name: str,
    data_dir: Path | None,
    limit_test: int | None,
    batch: int | None,
    threads: int | None,
    backend: str | None,
    disable: tuple[str, ...],
    no_cache: bool,
    **presentation: Any,
) -> None:
    """Test the trained run in the folder DIR.

    The last line of stdout is the same JSON object as that of netc train.

    \b
    Example:
      netc evaluate runs/mnist --data mnist
    """
    from netc.cache import DeckCache
    from netc.data import load
    from netc.training import evaluate, presented_in

    given = {**presented_in(directory, data_name), **chosen(presentation)}
    dataset = load(data_name, directory=data_dir, limit_test=limit_test, presented=given)
    result = evaluate(
        directory,
        dataset,
        cache=None if no_cache else DeckCache(),
        batch=batch,
        threads=threads,
        backend=backend,
        disable_passes=disable,
    )
    click.echo(result.line())
