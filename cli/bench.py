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

from .common import EXIT_CHECK_FAILED, OUTPUT, say, write_json


class _Names(click.ParamType[tuple[str, ...]]):
    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        return tuple(name.strip() for name in value.split(",") if name.strip())


class _Layers(click.ParamType[tuple[int, ...]]):
    name = "layers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 784,100,10", param, ctx)


_COUNT = click.IntRange(min=1)


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


_CIRCUITS = click.Choice(["network", "fig3-passive", "rlc-ladder", "mss-crossbar"])


@click.command("bench")
@click.option("--circuit", type=_CIRCUITS, default="network", show_default=True, help="What to train.")
@click.option("--layers", type=_Layers(), help="Layer sizes, inputs first.  [default: 784,100,10]")
@click.option("--batch", type=_COUNT, help="Samples a step.  [default: 128; mss-crossbar 16]")
@click.option("--steps", type=_COUNT, help="Time steps.  [default: 1000; mss-crossbar 500]")
@click.option("--threads", type=_COUNT, default=1, show_default=True, help="CPU threads.")
@click.option(
    "--variants", type=_Names(), default="", metavar="A,B,..", help="Which ones; else all but ngspice-forward."
)
@click.option("--repeat", type=_COUNT, default=3, show_default=True, help="How often each is timed, in turn.")
@click.option("--json", "json_file", type=OUTPUT, metavar="FILE", help="Write the figures there.")
@click.option("--no-memory", is_flag=True, help="Leave out extra memory, which needs a process for each variant.")
def command(
    circuit: str,
    layers: tuple[int, ...] | None,
    batch: int | None,
    steps: int | None,
    threads: int,
    variants: tuple[str, ...],
    repeat: int,
    json_file: Path | None,
    no_memory: bool,
) -> None:
    """Time one training step of one network, done by netc and in every other way there is, in one run.

    Exits 1 when the variants do not find the same loss and gradients.

    \b
    Examples:
      netc bench
      netc bench --variants netc-cpp,torch-eager-hoisted --steps 100 --json bench.json
    """
    with tempfile.TemporaryDirectory() as folder, _environment(folder, threads):
        from netc.bench.circuits import LAYERED, make_task
        from netc.bench.machine import machine
        from netc.bench.measure import check_names, on_processors, run
        from netc.bench.problem import Task, make_problem
        from netc.bench.registry import Unavailable, default_variants
        from netc.bench.report import as_json, as_markdown
        from netc.bench.roofline import roofline

        names = variants or default_variants(layered=circuit == LAYERED)
        check_names(names)
        about = machine()
        say("generating and compiling the deck")
        with on_processors(threads):
            if circuit == LAYERED:
                task = make_problem(
                    Path(folder),
                    layers=layers or (784, 100, 10),
                    batch=batch or 128,
                    steps=steps or 1000,
                    threads=threads,
                )
            else:
                task = make_task(circuit, Path(folder), layers=layers, batch=batch, steps=steps, threads=threads)
            done = run(task, names, repeat=repeat, memory=not no_memory, notify=say)
            try:
                line = roofline(task)
            except Unavailable as reason:
                say(f"no roofline: {reason}")
                line = None
    click.echo(as_markdown(done, line, about), nl=False)
    if json_file is not None:
        write_json(json_file, as_json(done, line, about))
    if done.disagreements:
        sys.exit(EXIT_CHECK_FAILED)
