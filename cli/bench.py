"""``netc bench``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .common import EXIT_CHECK_FAILED, OUTPUT, pass_option, say, write_json, write_text


class _Names(click.ParamType[tuple[str, ...]]):
    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        for name in names:
            if names.count(name) > 1:
                self.fail(f"{name!r} is named twice", param, ctx)
        return names


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers from 1, separated by commas."""

    name = "numbers"

    def __init__(self, example: str) -> None:
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) < 1:
            self.fail(f"{value!r} is not a list of whole numbers from 1 such as {self._example}", param, ctx)
        return numbers


_COUNT = click.IntRange(min=1)
_CIRCUITS = click.Choice(["network", "fig3-passive", "rlc-ladder", "mss-crossbar", "1t1r"])
_AXES = click.Choice(["T", "B", "N", "synapses", "all"], case_sensitive=False)


@contextmanager
def _environment(folder: str, threads: int) -> Iterator[None]:
    """Give compilers empty caches, so that what they take is measured; set before their packages are imported."""
    before = dict(os.environ)
    os.environ["XDG_CACHE_HOME"] = folder
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "inductor")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@click.command("bench")
@click.option("--circuit", type=_CIRCUITS, default="network", show_default=True, help="What is trained.")
@click.option("--layers", type=_Numbers("784,100,10"), metavar="N,N,..", help="Layer sizes.  [default: 784,100,10]")
@click.option("--batch", type=_COUNT, help="Samples a step.  [default: 128; mss-crossbar and 1t1r 16]")
@click.option("--steps", type=_COUNT, help="Time steps.  [default: 1000; mss-crossbar 500, 1t1r 200]")
@click.option(
    "--threads",
    type=_Numbers("1,2"),
    default="1",
    metavar="N[,N..]",
    show_default=True,
    help="CPU threads; with several numbers, as in 1,2, also how netc gains from more of them.",
)
@click.option(
    "--variants", type=_Names(), default="", metavar="A,B,..", help="Which ones; else all but ngspice-forward."
)
@click.option("--repeat", type=_COUNT, default=3, show_default=True, help="How often each is timed, in turn.")
@click.option("--sweep", type=_AXES, help="Change one size instead: steps T, batch B, hidden neurons N, synapses.")
@click.option("--json", "json_file", type=OUTPUT, metavar="FILE", help="Write the figures there.")
@click.option("--markdown", "markdown_file", type=OUTPUT, metavar="FILE", help="Write the tables there.")
@click.option("--plot", "plot_file", type=OUTPUT, metavar="PNG", help="Draw a sweep there.")
@pass_option
@click.option("--no-memory", is_flag=True, help="Leave out extra memory, which needs a process for each variant.")
def command(
    circuit: str,
    layers: tuple[int, ...] | None,
    batch: int | None,
    steps: int | None,
    threads: tuple[int, ...],
    variants: tuple[str, ...],
    repeat: int,
    sweep: str | None,
    json_file: Path | None,
    markdown_file: Path | None,
    plot_file: Path | None,
    disable: tuple[str, ...],
    no_memory: bool,
) -> None:
    """Time one training step of a circuit, done by netc and in every other way there is, in one run.

    Exits 1 when the variants do not find the same loss and gradients.

    \b
    Circuits:
      network       layers of MIF neurons between crossbars (--layers)
      fig3-passive  the same without buffers: layers load each other (--layers)
      rlc-ladder    a line of 200 RLC sections
      mss-crossbar  64 x 64 Knowm memristors whose states move
      1t1r          synapses in series with transistors, whose nodes Newton's method finds (--layers)

    \b
    Examples:
      netc bench
      netc bench --circuit rlc-ladder --threads 1,2
      netc bench --variants netc-cpp,torch-eager-hoisted --steps 100 --json bench.json
      netc bench --sweep all --plot sweep.png
    """
    if plot_file is not None and sweep is None:
        raise click.UsageError("--plot draws a sweep: add --sweep T, B, N, synapses or all")
    if len(set(threads)) < len(threads):
        raise click.UsageError("--threads names a number twice")
    if sweep is not None and len(threads) > 1:
        raise click.UsageError("a sweep takes one number of --threads")
    with tempfile.TemporaryDirectory() as folder, _environment(folder, max(threads)):
        from netc.bench.machine import machine
        from netc.bench.measure import check_names, run
        from netc.bench.plan import Plan
        from netc.bench.registry import default_variants
        from netc.bench.report import as_json, as_markdown

        plan = Plan(circuit, Path(folder), layers=layers, batch=batch, steps=steps, threads=threads[0], disable=disable)
        check_names(variants)
        about = machine()
        if sweep is not None:
            from netc.bench.plot import draw_sweeps
            from netc.bench.sweep import sweep_axes, sweeps_as_json, sweeps_as_markdown

            swept = sweep_axes(plan, sweep, variants, repeat=repeat, notify=say)
            text, figures = sweeps_as_markdown(swept, about), sweeps_as_json(swept, about)
            disagreements = [line for one in swept for line in one.disagreements]
            if plot_file is not None:
                draw_sweeps(swept, plot_file)
        else:
            say("generating and compiling the deck")
            names = variants or default_variants(layered=plan.layered)
            done = run(plan.task(), names, repeat=repeat, more_threads=threads[1:], memory=not no_memory, notify=say)
            text, figures, disagreements = as_markdown(done, about), as_json(done, about), done.disagreements
    click.echo(text, nl=False)
    if markdown_file is not None:
        write_text(markdown_file, text)
    if json_file is not None:
        write_json(json_file, figures)
    if disagreements:
        sys.exit(EXIT_CHECK_FAILED)
