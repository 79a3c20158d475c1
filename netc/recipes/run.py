"""Run a recipe with one seed into a run folder, or take what an earlier run left there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from netc.bench.machine import machine
from netc.cache import DeckCache
from netc.compiler import compile_deck
from netc.data import load as load_data
from netc.data import names as data_names
from netc.data.dataset import Dataset
from netc.diagnostics import Diagnostic, NetcError, Severity
from netc.generate import generate, write
from netc.recipes.recipe import Recipe
from netc.report import draw_run
from netc.training import checkpoint as checkpoints
from netc.training import train
from netc.training.run_folder import DECK, RESULT, RunFolder

ABOUT = "recipe.json"
_NETWORK = "network.cir"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run.

    Attributes:
        seed: of the initial conductances and of the training.
        directory: the run folder.
        result: what ``netc train`` prints.
    """

    seed: int
    directory: Path
    result: Mapping[str, Any]


def read_data(
    recipe: Recipe, directory: Path | None = None, limit_train: int | None = None, limit_test: int | None = None
) -> Dataset:
    """Return the recipe's data set.

    Raises:
        NetcError: netc has no such data set, located in the recipe; or it cannot be read.
    """
    if recipe.data not in data_names():
        problem = Diagnostic(
            Severity.ERROR,
            f"the recipe {recipe.name} needs the data set {recipe.data!r}, which this netc does not have",
            recipe.span("data"),
            f"data sets are {', '.join(data_names())}",
        )
        raise NetcError([problem], {recipe.source: recipe.text.splitlines()})
    return load_data(
        recipe.data, directory=directory, limit_train=limit_train, limit_test=limit_test, presented=recipe.presented
    )


def run(
    recipe: Recipe,
    seed: int,
    directory: Path,
    dataset: Dataset,
    *,
    changed: Mapping[str, Any] | None = None,
    cache: DeckCache | None = None,
    console: Console | None = None,
) -> Outcome:
    """Generate the recipe's network, train it and test it once; go on where an earlier run stopped.

    Args:
        recipe: the recipe.
        seed: of the initial conductances, the validation samples and the training.
        directory: the run folder.
        dataset: of the recipe.
        changed: training options other than the recipe's; those that are ``None`` are the recipe's.
        cache: of compiled decks.
        console: where progress goes.

    Raises:
        NetcError: recipe, data or folder do not fit.
        TrainingInterrupted: stopped by a signal, after saving.
    """
    other = {name: value for name, value in (changed or {}).items() if value is not None}
    options = recipe.options(seed, **other)
    folder = RunFolder(directory)
    about = {
        "recipe": recipe.name,
        "description": recipe.description,
        "seed": seed,
        "data": {"name": dataset.name, "train": len(dataset.train_y), "test": len(dataset.test_y)},
        "changed": {name: value for name, value in other.items() if name != "threads"},
        "file": recipe.text,
    }
    begun = (directory / ABOUT).exists()
    if begun:
        _check_same(folder.read_json(ABOUT), about, directory)
    if begun and (directory / RESULT).exists() and folder.read_json(RESULT)["epochs"] >= 1:
        return Outcome(seed, directory, folder.read_json(RESULT))
    folder.create()
    deck = write(directory / DECK / _NETWORK, generate(**recipe.network, seed=seed))
    if not begun:
        folder.write_json(ABOUT, {**about, "machine": machine()})
    compilation = compile_deck(
        deck, cache=cache, disable=options.program_passes, integrator=options.integrator, step=options.dt
    )
    result = train(
        compilation, dataset, options, directory=directory, resume=checkpoints.exists(directory), console=console
    )
    draw_run(directory, compilation, dataset)
    return Outcome(seed, directory, result.to_json())


def _check_same(stored: Mapping[str, Any], wanted: Mapping[str, Any], directory: Path) -> None:
    different = [name for name in ("recipe", "seed", "data", "changed", "file") if stored.get(name) != wanted[name]]
    if different:
        raise NetcError(
            f"{directory} holds a run with another {' and '.join(different)}",
            hint="pass another folder with --out, or the same options to go on",
        )
