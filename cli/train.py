"""``netc train``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .common import (
    BACKENDS,
    EXIT_INTERRUPTED,
    FILE,
    Quantity,
    cache_option,
    deck_options,
    pass_option,
    read_deck,
    say,
)
from .devices import device_option, noise_law_option, nominal_option
from .integrators import integrator_option
from .presentation import chosen as chosen_presentation
from .presentation import presentation_options


def _band(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...]:
    try:
        return () if value is None else tuple(float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not two shares of time such as 0.01,0.05") from None


@click.command("train")
@deck_options
@click.option("--data", "data_name", required=True, metavar="NAME", help="Data set, such as mnist; netc data list.")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--epochs", type=int, default=10, show_default=True, help="Times through the training samples.")
@click.option("--batch", type=int, default=128, show_default=True, help="Samples per update.")
@click.option(
    "--lr", type=float, default=0.02, show_default=True, help="Adam's rate; values move in units of their bounds."
)
@click.option(
    "--schedule",
    type=click.Choice(["cosine", "exponential", "constant"]),
    default="cosine",
    show_default=True,
    help="How the rate falls over the epochs.",
)
@click.option(
    "--lr-final",
    "learning_rate_final",
    type=float,
    help="Rate at the end.  [cosine 0, exponential a hundredth of --lr]",
)
@click.option("--warmup", type=float, default=0.0, show_default=True, help="Epochs in which the rate rises from 0.")
@click.option("--steps", type=int, help="Time steps per sample.  [the deck's]")
@click.option("--dt", type=Quantity("s"), help="Time step.  [the deck's]")
@click.option("--limit-train", type=int, help="Use only the first N training samples.")
@click.option("--limit-test", type=int, help="Use only the first N test samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order of samples and of dropout.")
@click.option("--threads", type=int, help="CPU threads.  [all]")
@click.option(
    "--logit-scale", type=float, default=100.0, show_default=True, help="The loss multiplies outputs by it, 1/V."
)
@click.option("--clip-gradient", type=float, help="Largest norm of a gradient.  [no limit]")
@click.option("--clip-layer", type=float, help="Largest norm of the gradient of each block of values.  [no limit]")
@click.option(
    "--clip-sample",
    type=float,
    help="Largest norm of one sample's part in the gradient of what inputs drive, in medians of its batch.  [no limit]",
)
@click.option("--input-dropout", type=float, default=0.0, show_default=True, help="Share of inputs set to 0.")
@click.option(
    "--augment",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Warp training images: shift=2, rotate=10, scale=0.1, shear=0.1, elastic=2, mirror=0.5 (repeatable).",
)
@click.option(
    "--label-smoothing", type=float, default=0.0, show_default=True, help="Share of a label spread over all classes."
)
@click.option(
    "--validation",
    type=float,
    default=0.0,
    metavar="N|SHARE",
    help="Training samples held out, to choose the best epoch by.  [none]",
)
@click.option("--patience", type=int, default=0, help="Stop after so many epochs that were no better.  [never]")
@click.option(
    "--spike-target",
    callback=_band,
    metavar="LOW,HIGH",
    help="Band to pull hidden activity into, shares of time above threshold: 0.01,0.05.",
)
@click.option("--spike-weight", type=float, default=100.0, show_default=True, help="Strength of that pull.")
@click.option(
    "--energy-weight", type=float, default=0.0, show_default=True, help="Loss per joule in trained conductances, 1/J."
)
@click.option(
    "--lower-pairs",
    is_flag=True,
    help="Take away what conductances that count against each other have in common: less energy, less noise.",
)
@device_option("spread")
@device_option("read-noise")
@device_option("stuck-at")
@device_option("levels")
@noise_law_option
@nominal_option
@click.option(
    "--draws-per-batch",
    type=int,
    help="Chips with devices of their own that share the samples of a batch; as many as samples: one each.  "
    "[8 for spread alone, else 4]",
)
@click.option(
    "--spike-threshold", type=Quantity("V"), default="110m", show_default=True, help="Where a spike is counted."
)
@click.option("--chunk", type=int, help="Time steps kept at once, the rest recomputed; 0 keeps all.  [by memory]")
@click.option(
    "--test-every",
    type=int,
    default=0,
    show_default=True,
    help="Epochs between looks at the test set, which nothing is chosen by; 0: the end.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Floating type of the states.",
)
@click.option(
    "--backend",
    type=BACKENDS,
    default="auto",
    show_default=True,
    help="PyTorch, or a fused C++ kernel (where a C++ compiler is present).",
)
@presentation_options
@integrator_option
@pass_option
@cache_option
@click.option("--device", default="cpu", show_default=True, help="A torch device.")
@click.option("--out", type=FILE, metavar="DIR", help="Run folder.  [runs/DECK-DATA]")
@click.option("--resume", is_flag=True, help="Go on with the run in the run folder.")
def command(
    deck: Path,
    include_directories: tuple[Path, ...],
    lenient: bool,
    data_name: str,
    data_dir: Path | None,
    limit_train: int | None,
    limit_test: int | None,
    lr: float,
    out: Path | None,
    resume: bool,
    disable: tuple[str, ...],
    no_cache: bool,
    **options: object,
) -> None:
    """Train DECK's conductances on a data set, by backpropagation through the device physics.

    What the data drive, what the loss reads and what is learnt stand in the deck as *.netc directives.
    The last line of stdout is a JSON object with "test_accuracy", "train_seconds", "epochs" and "samples", and with
    "spikes_per_neuron" and "activity" (share of time above --spike-threshold) of each layer.

    \b
    Examples:
      netc train network.cir --data mnist --limit-train 10000 --epochs 3 --out runs/mnist
      netc train network.cir --data mnist --out runs/mnist --resume
    """
    from netc.data import load
    from netc.training import TrainingInterrupted, TrainingOptions, train
    from netc.training.parallel import first

    presented = chosen_presentation(options)
    chosen = TrainingOptions(learning_rate=lr, disable_passes=disable, **options)  # type: ignore[arg-type]  # click has checked the types
    chosen.check()
    directory = out or Path("runs") / f"{deck.stem}-{data_name}"
    compilation = read_deck(
        deck,
        include_directories,
        lenient,
        disable=disable,
        cached=not no_cache,
        integrator=chosen.integrator,
        step=chosen.dt,
        stage="program",
    )
    say("compiled deck from cache" if compilation.from_cache else "deck compiled")
    if chosen.integrator == "auto":
        _ = compilation.program
        for line in compilation.integration:
            say(f"note: {line}")
    dataset = load(data_name, directory=data_dir, limit_train=limit_train, limit_test=limit_test, presented=presented)
    try:
        result = train(compilation, dataset, chosen, directory=directory, resume=resume)
    except TrainingInterrupted as stopped:
        say(str(stopped))
        sys.exit(EXIT_INTERRUPTED)
    if not first():  # of several workers one speaks
        return
    from netc.report import draw_run  # when there is something to draw: importing it takes half a second

    pictures = draw_run(directory, compilation, dataset)
    say(f"{directory}: run folder; pictures {', '.join(p.name for p in pictures)}")
    click.echo(result.line())
