"""``netc recipe``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click

from .common import EXIT_INTERRUPTED, FILE, OUTPUT, cache_option, say, write_text


@click.command("recipe")
@click.argument("name", required=False)
@click.option("--list", "list_them", is_flag=True, help="Print the recipes.")
@click.option("--show", is_flag=True, help="Print the recipe's file instead of running it.")
@click.option("--seed", type=click.IntRange(0), help="Of initial conductances, validation samples and training.  [0]")
@click.option("--seeds", type=click.IntRange(1), metavar="K", help="Run seeds 0 to K - 1, one after the other.")
@click.option("--out", type=FILE, metavar="DIR", help="Where run folders go, seed-0 and so on.  [runs/recipes/NAME]")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--epochs", type=int, help="Instead of the recipe's.")
@click.option("--limit-train", type=int, help="Use only the first N training samples.")
@click.option("--limit-test", type=int, help="Use only the first N test samples.")
@click.option("--threads", type=int, help="CPU threads.  [all]")
@click.option(
    "--results", type=FILE, metavar="RUNS", help="Write a page about all runs below a folder, and run nothing."
)
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Where that page goes.  [stdout]")
@cache_option
def command(
    name: str | None,
    list_them: bool,
    show: bool,
    seed: int | None,
    seeds: int | None,
    out: Path | None,
    data_dir: Path | None,
    epochs: int | None,
    limit_train: int | None,
    limit_test: int | None,
    threads: int | None,
    results: Path | None,
    output: Path | None,
    no_cache: bool,
) -> None:
    """Train and test the network of a recipe: deck, data set and options under one NAME.

    A run that was stopped goes on with the same command; one that is finished is not run again.  The last line of
    stdout is the JSON object of netc train; with --seeds one with mean and standard deviation ("test_accuracy",
    "test_accuracy_std") and those objects in "runs".

    \b
    Examples:
      netc recipe --list
      netc recipe mnist --seed 3
      netc recipe mnist --seeds 5 --out runs/recipes/mnist
      netc recipe --results runs/recipes -o docs/results.md
    """
    from netc.recipes import load, names

    if list_them:
        for known in names():
            click.echo(f"{known:22} {load(known).description}")
        return
    if results is not None:
        from netc.recipes import results as page

        text = page(results, None if output is None else output.with_suffix(""))
        if output is None:
            click.echo(text, nl=False)
        else:
            write_text(output, text)
            say(f"wrote {output}")
        return
    if name is None:
        raise click.UsageError("name a recipe; netc recipe --list prints them")
    if seed is not None and seeds is not None:
        raise click.UsageError("--seed names one run, --seeds several: give one of them")
    if output is not None:
        raise click.UsageError("--output is where --results goes; run folders go to --out")
    recipe = load(name)
    if show:
        click.echo(recipe.text, nl=False)
        return

    from netc.cache import DeckCache
    from netc.recipes.run import read_data, run
    from netc.training import TrainingInterrupted

    dataset = read_data(recipe, data_dir, limit_train, limit_test)
    chosen = range(seeds) if seeds is not None else [seed or 0]
    folder = out or Path("runs") / "recipes" / name
    cache = None if no_cache else DeckCache()
    done: list[dict[str, Any]] = []
    for number in chosen:
        where = folder / f"seed-{number}"
        say(f"{name}, seed {number}: {where}")
        try:
            found = run(recipe, number, where, dataset, changed={"epochs": epochs, "threads": threads}, cache=cache)
        except TrainingInterrupted as stopped:
            say(f"stopped; the same command goes on with it (run folder {stopped.directory})")
            sys.exit(EXIT_INTERRUPTED)
        done.append(dict(found.result))
        say(f"{name}, seed {number}: test accuracy {100 * found.result['test_accuracy']:.2f} %")
    click.echo(json.dumps(done[-1] if seeds is None else _together(name, done), allow_nan=False))


def _together(name: str, done: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [run["test_accuracy"] for run in done]
    return {
        "recipe": name,
        "seeds": len(done),
        "test_accuracy": fmean(accuracies),
        "test_accuracy_std": stdev(accuracies) if len(done) > 1 else 0.0,
        "hidden_activity": fmean(run["hidden_activity"] for run in done),
        "train_seconds": sum(run["train_seconds"] for run in done),
        "epochs": sum(run["epochs"] for run in done),
        "samples": done[0]["samples"],
        "runs": done,
    }
