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


@click.command("bench")
@click.option("--layers", type=_Layers(), default="784,100,10", show_default=True, help="Layer sizes, inputs first.")
@click.option("--batch", type=_COUNT, default=128, show_default=True, help="Samples a step.")
@click.option("--steps", type=_COUNT, default=1000, show_default=True, help="Time steps.")
@click.option("--threads", type=_COUNT, default=1, show_default=True, help="CPU threads.")
@click.option(
    "--variants", type=_Names(), default="", metavar="A,B,..", help="Which ones; else all but ngspice-forward."
)
@click.option("--repeat", type=_COUNT, default=3, show_default=True, help="How often each is timed, in turn.")
@click.option("--json", "json_file", type=OUTPUT, metavar="FILE", help="Write the figures there.")
@click.option("--no-memory", is_flag=True, help="Leave out extra memory, which needs a process for each variant.")
def command(
    layers: tuple[int, ...],
    batch: int,
    steps: int,
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
        from netc.bench.machine import machine
        from netc.bench.measure import check_names, on_processors, run
        from netc.bench.problem import make_problem
        from netc.bench.registry import VARIANTS, Unavailable
        from netc.bench.report import as_json, as_markdown
        from netc.bench.roofline import roofline

        names = variants or tuple(name for name, v in VARIANTS.items() if not v.slow)
        check_names(names)
        about = machine()
        say("generating and compiling the deck")
        with on_processors(threads):
            problem = make_problem(Path(folder), layers=layers, batch=batch, steps=steps, threads=threads)
            done = run(problem, names, repeat=repeat, memory=not no_memory, notify=say)
            try:
                line = roofline(problem)
            except Unavailable as reason:
                say(f"no roofline: {reason}")
                line = None
    click.echo(as_markdown(done, line, about), nl=False)
    if json_file is not None:
        write_json(json_file, as_json(done, line, about))
    if done.disagreements:
        sys.exit(EXIT_CHECK_FAILED)
