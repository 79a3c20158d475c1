"""``netc validate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import FILE, OUTPUT, Quantity, deck_options, read_deck, say, step_options, write_json
from .integrators import NAMES, limits

if TYPE_CHECKING:
    from netc.compiler import Compilation
    from netc.ngspice.grid import ModelError
    from netc.ngspice.task import TaskAgreement

_LOGIT_SCALE, _SPIKE = 100.0, 0.1  # as netc train: 1/V, V
_CHECKED = 500  # most states of a circuit whose explicit Euler is checked by variable steps


@click.command("validate")
@deck_options
@step_options
@click.option(
    "--integrator",
    type=click.Choice([*NAMES, "auto"]),
    help="How a step is taken; auto chooses steps by their error.  [euler; auto where that is not right]",
)
@click.option("--data", "data_name", metavar="NAME", help="Data set whose samples go through the network in both, too.")
@click.option("--data-dir", type=FILE, metavar="DIR", help="Where the data are, or go.")
@click.option("--samples", type=click.IntRange(min=1), default=3, show_default=True, help="Samples of --data.")
@click.option(
    "--tol",
    type=Quantity("ratio"),
    default=0.01,
    show_default=True,
    help="Largest NRMSE that passes.",
)
@click.option("--json", "json_file", type=OUTPUT, metavar="FILE", help="Write the figures as JSON.")
@click.option(
    "--plot", type=OUTPUT, metavar="FILE.png", help="Draw netc, ngspice and their difference: outputs, then the worst."
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "pyspice", "batch"]),
    default="auto",
    show_default=True,
    help="How ngspice is run: PySpice in a worker process, or ngspice -b.",
)
def command(
    deck: Path,
    include_directories: tuple[Path, ...],
    lenient: bool,
    dt: float | None,
    tstop: float | None,
    integrator: str | None,
    data_name: str | None,
    data_dir: Path | None,
    samples: int,
    tol: float,
    json_file: Path | None,
    plot: Path | None,
    engine: str,
) -> None:
    """Run DECK in netc and in ngspice and compare every node.

    NRMSE is the root mean square of the difference over the node's range in ngspice.  Three errors are told apart:
    the model's (both by backward Euler on ngspice's own points in time), the time step's (its order is the slope of
    the error over dt, dt/2 and dt/4: that of the integrator, 1 for Euler, where nothing else is left), and with
    --data the task's (class and spikes of samples through the whole network).  Exits 1 when the worst NRMSE is above
    the tolerance.

    As in netc simulate, explicit Euler gives way to steps chosen by their error where it is off by more than 0.5 % of
    a signal's range, unless --integrator or --dt says how to step.

    \b
    Examples:
      netc validate mif.cir
      netc validate mif.cir --dt 1u --json mif.json --plot mif.png --tol 0.005
      netc validate mif.cir --integrator trapezoidal
      netc validate network.cir --data digits --samples 5
    """
    import numpy as np

    from netc.diagnostics import CheckFailed, NetcError
    from netc.ngspice.compare import is_constant
    from netc.ngspice.validate import validate
    from netc.report import waveforms
    from netc.runtime import transient
    from netc.runtime.simulate import Trajectory, simulate, step_from_timing
    from netc.runtime.stability import engineering, report

    adaptive = integrator == "auto"
    compilation = read_deck(
        deck,
        include_directories,
        lenient,
        integrator="euler" if adaptive or integrator is None else integrator,
        stage="undriven",
    )
    timing = compilation.circuit.timing
    if timing is None:
        raise NetcError(
            f"{deck} has no .tran, so there is nothing to compare", hint="add a card such as: .tran 10u 10m uic"
        )
    step, end = step_from_timing(timing, dt, tstop)
    if integrator is None and dt is None and data_name is None:
        reason = _why_not_euler(compilation, step, end)
        adaptive = bool(reason)
        if reason:
            say(f"note: {reason}, so --integrator auto takes the steps; --integrator euler keeps to Euler")
    program = compilation.system if adaptive else compilation.undriven
    stability = limits(compilation, "auto" if adaptive else integrator or "euler")
    for line in report(stability, step):
        say(f"warning: {line}")

    def run(seconds: float, steps: int) -> tuple[Any, Sequence[str], Any]:
        if adaptive:
            times = np.arange(steps + 1) * seconds
            return times, compilation.signals, transient.solve(program, times, compilation.signals).values
        found: Trajectory = simulate(program, dt=seconds, steps=steps, observe=compilation.signals)
        return found.times, found.names, found.values[:, 0].numpy()

    def on_grid(times: Any, names: Sequence[str]) -> Any:
        return transient.on_grid(compilation.system, times, names)

    if stability.broken(step):
        try:
            run(step, min(round(end / step), 1000))
        except NetcError as diverged:
            if json_file is not None:
                write_json(json_file, {"nodes": {}, "worst_nrmse": None, "order": None, "dt": step})
            remedy = engineering(stability.limit / 2, "s").replace(" ", "")
            raise CheckFailed(f"{diverged.diagnostics[0].message}; try --dt {remedy}") from None
    found = validate(
        compilation.deck,
        run,
        timing,
        dt=step,
        tstop=end,
        tolerance=tol,
        engine=engine,
        on_grid=on_grid,
        steps_by_error=adaptive,
    )
    for note in found.notes:
        say(f"note: {note}")
    click.echo(f"{'node':24s} {'NRMSE':>10s} {'max |error|':>12s} {'spikes':>9s} {'shift':>10s}")
    ranked = sorted(found.nodes.items(), key=lambda entry: -entry[1].nrmse)
    for name, node in ranked:
        spikes = f"{node.spikes[0]}/{node.spikes[1]}"
        shift = "" if node.spike_shift_s is None else engineering(node.spike_shift_s, "s")
        click.echo(f"{name[:24]:24s} {node.nrmse:10.3%} {node.max_abs:12.3g} {spikes:>9s} {shift:>10s}")
    order = f"{found.order:.3f}" if found.order is not None else f"not measured ({found.order_reason})"
    click.echo(f"worst NRMSE {found.worst_nrmse:.3%} at dt = {engineering(found.dt, 's')}; order in dt {order}")
    if found.model is not None:
        click.echo(_model_line(found.model))
    figures = found.to_json()
    if data_name is not None:
        task = _task(compilation, data_name, data_dir, samples, step, engine, adaptive)
        for line in _task_lines(task):
            click.echo(line)
        figures["task"] = {
            "samples": len(task.samples),
            "same_class": task.same_class,
            "spike_difference": task.spike_difference,
        }
    if json_file is not None:
        write_json(json_file, figures)
    if plot is not None:
        ngspice = found.waveforms
        outputs = [compilation.circuit.nets[net] for net in compilation.circuit.outputs]
        changing = [name for name, _ in ranked if not is_constant(ngspice.values[name])]
        shown = dict.fromkeys([name for name in outputs if name in changing] + changing) or found.values
        waveforms(
            found.times,
            {name: found.values[name] for name in shown},
            plot,
            reference_times=ngspice.times,
            reference=ngspice.values,
            title=compilation.circuit.title,
        )
        say(f"wrote {plot}")
    if not found.passed:
        raise CheckFailed(f"worst NRMSE {found.worst_nrmse:.3%} (node {found.worst_node}) is above {tol:.3%}")


def _why_not_euler(compilation: Compilation, step: float, end: float) -> str:
    """Return what is wrong with explicit Euler at this step; empty where nothing is, or nothing better is to be had."""
    import numpy as np

    from netc.diagnostics import NetcError
    from netc.runtime import transient
    from netc.runtime.automatic import PATIENCE, RIGHT
    from netc.runtime.simulate import simulate, steps_for
    from netc.runtime.stability import engineering

    program = compilation.undriven
    if sum(block.size for block in program.states) > _CHECKED:
        return ""
    steps = steps_for(end, step)
    try:
        better = transient.solve(
            compilation.system, np.arange(steps + 1) * step, compilation.signals, seconds=PATIENCE
        ).values
    except NetcError:
        return ""
    try:
        found = simulate(program, dt=step, steps=steps, observe=compilation.signals).values[:, 0].numpy()
    except NetcError as error:
        return f"explicit Euler fails ({error.diagnostics[0].message})"
    off = transient.difference(found, better)
    if off <= RIGHT:
        return ""
    return f"explicit Euler with steps of {engineering(step, 's')} is off by {100 * off:.2g} % of a signal's range"


def _model_line(model: ModelError) -> str:
    if model.nrmse is None:
        return f"error of the model alone not measured ({model.reason})"
    return (
        f"error of the model alone {model.nrmse:.2e} (node {model.node}; backward Euler in both, "
        f"on {model.points:,} points of ngspice's)"
    )


def _task(
    compilation: Compilation,
    data_name: str,
    data_dir: Path | None,
    samples: int,
    step: float,
    engine: str,
    adaptive: bool,
) -> TaskAgreement:
    """Run samples of a data set through the network in netc and in ngspice."""
    import numpy as np
    import torch

    from netc.data import load
    from netc.diagnostics import NetcError
    from netc.ngspice.task import compare_task
    from netc.runtime import transient
    from netc.runtime.simulate import simulate, steps_for
    from netc.training.contract import check_runnable, membranes

    circuit, timing = compilation.circuit, compilation.circuit.timing
    assert timing is not None  # a deck without .tran has been refused
    if any(d.mode != "amplitude" for d in circuit.driven):
        raise NetcError(
            "the inputs of this deck are whole waveforms, not one number a feature: there is no task to run"
        )
    dataset = load(data_name, directory=data_dir, limit_train=1, limit_test=samples)
    module: Any = compilation.module(torch.float64)
    check_runnable(module, dataset)
    count = steps_for(timing.tstop, step)

    def forward(amplitudes: Any, names: Sequence[str]) -> tuple[Any, Any]:
        times = np.arange(count + 1) * step
        if adaptive:
            rows = [transient.solve(compilation.system, times, names, inputs=row).values for row in amplitudes]
            return times, np.stack(rows, axis=1)
        found = simulate(module, dt=step, steps=count, inputs=torch.as_tensor(amplitudes), observe=names)
        return found.times, found.values.numpy()

    kinds = {circuit.branches[d.branch].name: circuit.branches[d.branch].law.kind for d in circuit.driven}
    return compare_task(
        compilation.deck,
        forward,
        timing,
        kinds,
        [circuit.nets[net] for net in circuit.outputs],
        membranes(module),
        np.asarray(dataset.test_x[:samples], dtype=np.float64),
        dataset.test_y[:samples].tolist(),
        dt=step,
        logit_scale=_LOGIT_SCALE,
        threshold=_SPIKE,
        engine=engine,
    )


def _task_lines(task: TaskAgreement) -> list[str]:
    lines = [f"{'sample':>6s} {'label':>6s} {'class':>9s} {'spikes':>13s}   (netc/ngspice)"]
    for number, sample in enumerate(task.samples):
        classes = "/".join(map(str, sample.classes))
        spikes = "/".join(map(str, sample.spikes))
        lines.append(f"{number:6d} {sample.label:6d} {classes:>9s} {spikes:>13s}")
    return [
        *lines,
        f"error of the task: same class for {task.same_class} of {len(task.samples)} samples, "
        f"{task.spike_difference:.3g} spikes apart on average",
    ]
