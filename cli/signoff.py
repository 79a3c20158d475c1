"""``netc signoff``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from .common import FILE, Quantity, cache_option, say
from .devices import device_option, nominal_option
from .export import device_options


@click.command("signoff")
@click.argument("run", type=FILE, metavar="RUN")
@click.option("--samples", type=click.IntRange(min=1), default=100, show_default=True, help="The first K test samples.")
@click.option("--monte-carlo", type=click.IntRange(min=1), metavar="M", help="Chips, each drawn for both alike.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="J", help="Processes of ngspice at once.  [all CPUs]")
@click.option("--last", is_flag=True, help="Values of the last epoch, not of the one best on validation samples.")
@device_options
@device_option("spread")
@device_option("read-noise")
@nominal_option
@click.option("--data", "data_name", metavar="NAME", help="Data set.  [that of the training]")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--reltol", type=Quantity("ratio"), default=1e-3, show_default=True, help="ngspice's tolerance.")
@click.option(
    "--max-step",
    type=Quantity("ratio"),
    default=8.0,
    show_default=True,
    help="ngspice's largest step, in netc's steps.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "pyspice", "batch"]),
    default="auto",
    show_default=True,
    help="How ngspice is run: ngspice -b, or PySpice in a worker process.",
)
@click.option("--klu", is_flag=True, help="Have ngspice solve by KLU.")
@click.option(
    "--merge-rows",
    is_flag=True,
    help="Merge resistors that driven ideal sources feed into one node: an exact equivalent, many times faster, but "
    "not the whole circuit; the result says so.",
)
@click.option("--timeout", type=Quantity("s"), default=3600.0, show_default=True, help="Seconds for a sample.")
@click.option(
    "--resume/--no-resume", default=True, show_default=True, help="Take over samples that are done with these values."
)
@click.option(
    "--min-agreement",
    type=float,
    default=0.99,
    show_default=True,
    help="Exit 1 where fewer samples, as a share, get the same class.",
)
@cache_option
def command(
    run: Path,
    samples: int,
    monte_carlo: int | None,
    jobs: int | None,
    last: bool,
    levels: int | None,
    program_noise: float,
    noise_law: str,
    stuck_at: float,
    seed: int,
    spread: float,
    read_noise: float,
    nominal: bool,
    data_name: str | None,
    data_dir: Path | None,
    reltol: float,
    max_step: float,
    engine: str,
    klu: bool,
    merge_rows: bool,
    timeout: float,
    resume: bool,
    min_agreement: float,
    no_cache: bool,
) -> None:
    """Classify test samples with the trained network of the run in the folder RUN, in netc and in ngspice.

    The trained values are written into the deck, and ngspice runs the whole of it for every sample.  Samples, deck and
    a picture of the worst sample are kept in RUN/signoff; a sign-off that was stopped goes on there.  The last line of
    stdout is a JSON object.  Exits 1 where ngspice fails for a sample or the classes differ too often.

    \b
    Examples:
      netc signoff runs/mnist --samples 100
      netc signoff runs/mnist --samples 20 --spread 10% --monte-carlo 10
    """
    from netc.cache import DeckCache
    from netc.data import load
    from netc.diagnostics import CheckFailed, NetcError
    from netc.export import Devices
    from netc.signoff import Settings, signoff
    from netc.signoff.progress import Bar
    from netc.signoff.run import FOLDER, Stopped
    from netc.training.interruption import StopRequest
    from netc.training.saved import open_run

    declared = monte_carlo is not None and not nominal
    devices = Devices(levels, program_noise, noise_law, stuck_at, seed, spread, read_noise, declared)
    devices.check()
    saved = open_run(run, last=last, cache=None if no_cache else DeckCache())
    if monte_carlo is not None and not devices.differs(saved.compilation.program):
        raise NetcError(
            "--monte-carlo has nothing to draw",
            hint="add --spread, --read-noise, --program-noise or --stuck-at, or *.netc spread to the deck",
        )
    name = data_name or saved.data
    presented = saved.presented if name == saved.data else None
    dataset = load(name, directory=data_dir, limit_train=1, limit_test=samples, presented=presented)
    settings = Settings(
        samples=samples,
        devices=devices,
        draws=monte_carlo or 1,
        jobs=jobs or len(os.sched_getaffinity(0)),
        reltol=reltol,
        max_step=max_step,
        engine=engine,
        timeout=timeout,
        options="klu" if klu else "",
        merge_rows=merge_rows,
        resume=resume,
    )
    with StopRequest() as stop, Bar(lambda: stop.wanted) as bar:
        try:
            found = signoff(saved, dataset, settings, bar.progress)
        except Stopped as stopped:
            say(f"netc: {stopped}; the same command goes on")
            raise
    figures = {**found.to_json(), "data": name, "directory": str(saved.directory / FOLDER)}
    for draw in found.draws:
        for number, reason in draw.failed.items():
            say(f"warning: sample {number} of draw {draw.number} failed: {reason}")
    if found.worst is not None:
        say(f"wrote {saved.directory / FOLDER / 'worst.png'}: sample {found.worst[1]}, which differs most")
    (saved.directory / FOLDER / "result.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(figures))
    if found.failures:
        raise CheckFailed(f"ngspice gave nothing for {found.failures} samples")
    if found.class_agreement < min_agreement:
        raise CheckFailed(f"both find the same class for {found.class_agreement:.1%}, below {min_agreement:.1%}")
