"""``netc export``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .common import BACKENDS, FILE, OUTPUT, cache_option, say
from .devices import device_option, nominal_option

_F = TypeVar("_F", bound=Callable[..., Any])


def device_options(command: _F) -> _F:
    """Add the options that say how programmed devices differ from what was learnt."""
    for add in (
        click.option("--seed", type=int, default=0, show_default=True, help="Of the draws of noise and stuck devices."),
        click.option(
            "--stuck-at",
            type=float,
            default=0.0,
            metavar="P",
            help="Probability that a device is stuck at one of its bounds.  [0]",
        ),
        click.option(
            "--noise-law",
            type=click.Choice(["normal", "lognormal", "uniform"]),
            default="normal",
            show_default=True,
            help="Of all noise: G times a factor of mean 1 and deviation s.",
        ),
        click.option(
            "--program-noise",
            type=float,
            default=0.0,
            metavar="SHARE",
            help="Relative standard deviation of programmed conductances, within the bounds.  [0]",
        ),
        click.option(
            "--levels", type=int, metavar="N", help="Levels of a device, equally spaced in conductance.  [any value]"
        ),
    ):
        command = add(command)
    return command


@click.command("export")
@click.argument("run", type=FILE, metavar="RUN")
@click.option("-o", "--output", required=True, type=OUTPUT, metavar="DECK", help="The deck to write.")
@click.option("--last", is_flag=True, help="Values of the last epoch, not of the one best on validation samples.")
@device_options
@device_option("spread")
@device_option("read-noise")
@nominal_option
@click.option(
    "--draw",
    type=click.IntRange(min=0),
    metavar="K",
    help="Which chip of this seed; the deck's own spread is drawn as well.  [0, of the options alone]",
)
@click.option("--sample", type=click.IntRange(min=0), default=0, metavar="N", help="Which sample it runs.  [0]")
@click.option("--data", "data_name", metavar="NAME", help="Also test what was written on this set.  [no test]")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--limit-test", type=int, help="Use only the first N test samples.")
@click.option("--backend", type=BACKENDS, help="PyTorch, or a fused C++ kernel.  [as in training]")
@cache_option
def command(
    run: Path,
    output: Path,
    last: bool,
    levels: int | None,
    program_noise: float,
    noise_law: str,
    stuck_at: float,
    seed: int,
    spread: float,
    read_noise: float,
    nominal: bool,
    draw: int | None,
    sample: int,
    data_name: str | None,
    data_dir: Path | None,
    limit_test: int | None,
    backend: str | None,
    no_cache: bool,
) -> None:
    """Write the deck of the run in the folder RUN with its trained values.

    Only numbers change: comments, order, spelling and line ends stay, and netc reads the very float64 values back.
    Files that the deck includes are copied beside it, into trained.files for trained.cir.  Instances of one subcircuit
    that have been trained apart get a definition each.  The last line of stdout is a JSON object.

    \b
    Examples:
      netc export runs/mnist -o trained.cir
      netc export runs/mnist -o chip.cir --levels 32 --program-noise 0.05 --stuck-at 0.001 --data mnist
      netc export runs/mnist -o chip-7.cir --spread 10% --draw 7
    """
    from netc.cache import DeckCache
    from netc.data import load
    from netc.diagnostics import NetcError
    from netc.export import Devices, export, set_values, trained_values
    from netc.training.saved import accuracy, open_run

    declared = draw is not None and not nominal
    devices = Devices(levels, program_noise, noise_law, stuck_at, seed, spread, read_noise, declared)
    devices.check()
    saved = open_run(run, last=last, cache=None if no_cache else DeckCache())
    program = saved.compilation.program
    if draw is not None and not devices.differs(program):
        raise NetcError("--draw has nothing to draw", hint="add --spread, or declare *.netc spread in the deck")
    if devices.acts(program):
        learnt = trained_values(saved.module, program)
        set_values(saved.module, devices.programmed(program, learnt, draw or 0, sample))
    written = export(saved.compilation, trained_values(saved.module, program), output)
    for path in (written.path, *written.files):
        say(f"wrote {path}")
    if written.unrolled:
        say(f"note: added {len(written.unrolled)} definitions, such as {written.unrolled[0]}: instances trained apart")
    figures: dict[str, Any] = {
        "deck": str(written.path),
        "files": [str(path) for path in written.files],
        "values": written.values,
        "definitions_added": len(written.unrolled),
        "levels": levels,
        "program_noise": program_noise,
        "noise_law": noise_law,
        "stuck_at": stuck_at,
        "spread": spread,
        "read_noise": read_noise,
        "draw": draw,
        "sample": sample,
        "seed": seed,
    }
    if data_name is not None:
        presented = saved.presented if data_name == saved.data else None
        dataset = load(data_name, directory=data_dir, limit_test=limit_test, presented=presented)
        figures["test_accuracy"] = accuracy(saved, dataset, saved.simulator(say, backend))
        figures["test_samples"] = len(dataset.test_y)
        figures["data"] = dataset.name
    click.echo(json.dumps(figures))
