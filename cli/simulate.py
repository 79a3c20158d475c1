"""``netc simulate``."""

from __future__ import annotations

import csv
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from netc.diagnostics import NetcError

if TYPE_CHECKING:
    from netc.ir.program import Program
    from netc.runtime.simulate import Trajectory

from .common import (
    BACKENDS,
    OUTPUT,
    cache_option,
    cannot_write,
    deck_options,
    pass_option,
    read_deck,
    say,
    step_options,
    write_json,
)
from .integrators import NAMES, limits

_NO_KERNEL = "use --backend auto or torch, or another --integrator"
_ROWS = 1000  # internal steps whose signals are held at once, before those between two rows are dropped
_OPERATIONS = 2_000_000  # of PyTorch, about ten seconds: then a kernel is worth compiling
_ITERATIONS = 30  # of the operations of a step, what Newton's method in it takes
_MOST_STEPS = 10**9  # of a fixed length, sub-steps included: days
_STILL = 1e-6  # of a signal, at least a nanovolt: less is no movement
_CHECKED = 500  # most states of a circuit that is solved a second time to check the first
_BYTES_PER_VALUE = 64  # the tensor, its copy when chunks are joined, and Python's number when it is written


@click.command("simulate")
@deck_options
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="CSV file.  [stdout, unless --plot is given]")
@step_options
@click.option(
    "--integrator",
    type=click.Choice([*NAMES, "auto"]),
    help="How a step is taken; auto chooses steps by their error.  [euler, checked by auto]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float64",
    show_default=True,
    help="Floating type of the states.",
)
@click.option(
    "--backend",
    type=BACKENDS,
    default="auto",
    show_default=True,
    help="PyTorch, or a fused C++ kernel; auto takes the kernel for runs long enough to make up for compiling it.",
)
@pass_option
@cache_option
@click.option("--plot", type=OUTPUT, metavar="FILE.png", help="Draw the waveforms.")
@click.option("--json", "json_file", type=OUTPUT, metavar="FILE", help="Write the results of .measure as JSON.")
def command(
    deck: Path,
    include_directories: tuple[Path, ...],
    lenient: bool,
    output: Path | None,
    dt: float | None,
    tstop: float | None,
    integrator: str | None,
    dtype: str,
    backend: str,
    disable: tuple[str, ...],
    no_cache: bool,
    plot: Path | None,
    json_file: Path | None,
) -> None:
    """Run DECK's transient; write time and node voltages as CSV, one row a step.

    All nodes are written unless .save or .print names some, and all steps from the third number of .tran on.
    Where the step is too long for an explicit integrator to be stable, each step is cut into equal sub-steps, and a
    line says so.  With --integrator auto the steps between the rows are chosen by their error, which is estimated.
    Without --integrator and --backend, explicit Euler is compared with that in circuits of up to 500 states.  Where
    they differ by more than 0.5 % of a signal's range a line says so, and, unless --dt chose the step, the latter is
    written.  Where explicit Euler would take long, only the latter is run, and a line says so.

    Results of .measure follow on stdout, or on stderr where the CSV is on stdout.

    \b
    Examples:
      netc simulate rc.cir -o rc.csv
      netc simulate mif.cir --dt 1u --plot mif.png
      netc simulate mif_table3.cir --integrator auto -o mif.csv
    """
    import torch

    from netc.measure import evaluate, observed
    from netc.runtime import automatic
    from netc.runtime.simulate import simulate, step_from_timing, steps_for
    from netc.runtime.stability import engineering, remedy, report, substeps

    if integrator == "auto" and backend == "cpp":
        raise NetcError("there is no fused kernel for steps that are chosen by their error", hint=_NO_KERNEL)
    stage = "system" if integrator == "auto" else "undriven"
    compilation = read_deck(
        deck,
        include_directories,
        lenient,
        disable=disable,
        cached=not no_cache,
        integrator="euler" if integrator in (None, "auto") else integrator,
        stage=stage,
    )
    program: Program = getattr(compilation, stage)
    timing = program.timing
    step, end = step_from_timing(timing, dt, tstop)
    if timing is not None and timing.tstart >= end:
        raise NetcError(f"the deck's .tran starts to save at {timing.tstart:g} s, and --tstop is {end:g} s")
    measures = compilation.measures
    signals = tuple(dict.fromkeys((*compilation.signals, *observed(measures))))
    _check_size(steps_for(end, step) + 1, len(signals))
    if integrator == "auto":
        result, lines = automatic.run(
            program,
            lambda: compilation.continuous,
            dt=step,
            tstop=end,
            observe=signals,
            dtype=getattr(torch, dtype),
            tell=_note,
        )
        _tell(lines)
    else:
        checks = integrator is None and backend == "auto" and sum(b.size for b in program.states) <= _CHECKED

        @cache
        def stability() -> Any:
            return limits(compilation, integrator or "euler")

        def parts() -> int:
            return substeps(stability(), step)

        def fixed() -> Trajectory:
            for line in report(stability(), step):
                say(f"note: {line}")
            steps = steps_for(end, step) * parts()
            if 1 < parts() <= _MOST_STEPS:
                say(f"note: each step of {engineering(step, 's')} is taken in {parts()} sub-steps")
            if steps > _MOST_STEPS:
                message = f"{steps:.2g} steps of explicit Euler are too many"
                raise automatic.TooManySteps(message, hint="use --integrator auto")
            return simulate(
                _circuit(program, backend, getattr(torch, dtype), steps, disable),
                dt=step,
                tstop=end,
                observe=signals,
                substeps=parts(),
                chunk=max(1, _ROWS // parts()),
                advice=remedy(stability(), step / parts()),
            )

        if checks:
            result, lines = automatic.checked(
                fixed,
                lambda: compilation.system,
                dt=step,
                tstop=end,
                observe=signals,
                dtype=getattr(torch, dtype),
                keep=dt is not None,
                parts=parts,
                operations=_operations(program),
                tell=_note,
            )
            _tell(lines)
        else:
            result = fixed()
    if timing is not None and not timing.uic and _is_still(result, sum(block.size for block in program.states)):
        say("note: nothing that is written moves; a circuit at rest, such as an oscillator, needs a push: .ic, or uic")
    result = result.since(timing.tstart if timing else 0.0)
    measured = evaluate(measures, result.times, {name: result.signal(name) for name in observed(measures)})
    result = result.only(compilation.signals)
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
        from netc.report import waveforms

        waveforms(result.times, {name: result.signal(name) for name in result.names}, plot, title=program.title)
        say(f"wrote {plot}")
    for found in measured:
        click.echo(found.line(), err=output is None and plot is None)
    if json_file is not None:
        write_json(json_file, {"measures": {found.name: found.to_json() for found in measured}})


def _note(line: str) -> None:
    say(f"note: {line}")


def _tell(lines: tuple[str, ...]) -> None:
    """Print what there is to say of a run."""
    from netc.runtime.automatic import WARNING

    for line in lines:
        say(line if line.startswith(WARNING) else f"note: {line}")


def _is_still(result: Trajectory, states: int) -> bool:
    """Whether two or more states, enough for an oscillator, stay where they are."""
    values = result.values
    if states < 2 or values.numel() == 0:
        return False
    low, high = values.amin(0), values.amax(0)
    return bool((high - low <= _STILL * high.abs().clamp(min=1e-3)).all())


def _operations(program: Program) -> int:
    """Return how many operations of PyTorch a step takes; Newton's method takes those inside it again and again."""
    from netc.ir.nodes import postorder
    from netc.runtime.operating_point import iterates

    count = sum(1 for _ in postorder(*(state.derivative for state in program.states)))
    return count * (_ITERATIONS if iterates(program) else 1)


def _circuit(program: Program, backend: str, dtype: Any, steps: int, disable: tuple[str, ...]) -> Any:
    """Return what runs the program: the emitted module, or a kernel with its values."""
    from netc.kernels import PASSES
    from netc.kernels.circuit import KernelCircuit, kernel_for
    from netc.runtime.load import instantiate

    module = instantiate(program, dtype)
    if backend == "auto" and _operations(program) * steps < _OPERATIONS:
        return module
    left_out = [name for name in disable if name in dict(PASSES)]
    kernel = kernel_for(backend, program, dtype, notify=lambda line: say(f"note: {line}"), disable=left_out)
    return module if kernel is None else KernelCircuit(module, kernel)


def _check_size(rows: int, signals: int) -> None:
    """Refuse a table that does not fit into memory."""
    import torch

    from netc.training.memory import available_bytes

    needed, available = rows * signals * _BYTES_PER_VALUE, available_bytes(torch.device("cpu"))
    if available is not None and needed > available:
        raise NetcError(
            f"{rows:,} rows of {signals} signals need about {needed / 1e9:,.0f} GB of memory, "
            f"and {available / 1e9:,.0f} GB are free",
            hint="use a longer --dt, a shorter --tstop, or .save of fewer nodes",
        )


def _write(file: TextIO, times: list[float], names: tuple[str, ...], values: object) -> None:
    """Write the CSV; digits enough to read every number back exactly."""
    import torch

    assert isinstance(values, torch.Tensor)
    digits = ".17g" if values.dtype == torch.float64 else ".9g"
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["time", *names])
    for time, row in zip(times, values.tolist(), strict=True):
        writer.writerow([f"{time:.12g}", *(format(v, digits) for v in row)])
