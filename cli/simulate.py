"""``netc simulate``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TextIO

import click

from .common import FILE, cannot_write, deck_options, read_deck, say, step_options


@click.command("simulate")
@deck_options
@click.option("-o", "--output", type=FILE, metavar="FILE", help="CSV file.  [stdout, unless --plot is given]")
@step_options
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float64", show_default=True)
@click.option("--plot", type=FILE, metavar="FILE.png", help="Draw the waveforms.")
def command(
    deck: Path,
    include_directories: tuple[Path, ...],
    lenient: bool,
    output: Path | None,
    dt: float | None,
    tstop: float | None,
    dtype: str,
    plot: Path | None,
) -> None:
    """Run DECK's transient by explicit Euler; write time and node voltages as CSV, one row a step.

    All nodes are written unless .save or .print names some.  Where the step is too long for explicit Euler to be
    stable, each step is cut into equal sub-steps, and a line says so.

    \b
    Examples:
      netc simulate rc.cir -o rc.csv
      netc simulate mif.cir --dt 1u --plot mif.png
    """
    import torch

    from netc.report import waveforms
    from netc.runtime.simulate import simulate, step_from_timing
    from netc.runtime.stability import analyse, engineering, report, substeps

    compilation = read_deck(deck, include_directories, lenient)
    step, end = step_from_timing(compilation.circuit.timing, dt, tstop)
    program = compilation.undriven
    stability = analyse(program)
    parts = substeps(stability, step)
    for line in report(stability, step):
        say(f"note: {line}")
    if parts > 1:
        say(f"note: each step of {engineering(step, 's')} is taken in {parts} sub-steps")
    result = simulate(
        program,
        dt=step,
        tstop=end,
        dtype=getattr(torch, dtype),
        observe=compilation.signals,
        substeps=parts,
    )
    if output is not None:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with output.open("w", newline="", encoding="utf-8") as file:
                _write(file, result.times.tolist(), result.names, result.values[:, 0])
        except OSError as error:
            raise cannot_write(output, error) from None
        say(f"wrote {output}: {len(result.times):,} rows of {len(result.names)} signals")
    elif plot is None:
        _write(sys.stdout, result.times.tolist(), result.names, result.values[:, 0])
    if plot is not None:
        signals = {name: result.signal(name) for name in result.names}
        waveforms(result.times, signals, plot, title=compilation.circuit.title)
        say(f"wrote {plot}")


def _write(file: TextIO, times: list[float], names: tuple[str, ...], values: object) -> None:
    """Write the CSV; digits enough to read every number back exactly."""
    import torch

    assert isinstance(values, torch.Tensor)
    digits = ".17g" if values.dtype == torch.float64 else ".9g"
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", *names])
    for time, row in zip(times, values.tolist(), strict=True):
        writer.writerow([f"{time:.12g}", *(format(v, digits) for v in row)])
