"""``netc validate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .common import OUTPUT, Quantity, deck_options, read_deck, say, step_options, write_json


@click.command("validate")
@deck_options
@step_options
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
    tol: float,
    json_file: Path | None,
    plot: Path | None,
    engine: str,
) -> None:
    """Run DECK in netc and in ngspice and compare every node.

    NRMSE is the root mean square of the difference over the node's range in ngspice.  The order is the slope of
    the error over dt, dt/2 and dt/4: 1 where all that is left is the error of explicit Euler.  Exits 1 when the
    worst NRMSE is above the tolerance.

    \b
    Examples:
      netc validate mif.cir
      netc validate mif.cir --dt 1u --json mif.json --plot mif.png --tol 0.005
    """
    from netc.diagnostics import CheckFailed, NetcError
    from netc.ngspice.compare import is_constant
    from netc.ngspice.validate import validate
    from netc.report import waveforms
    from netc.runtime.simulate import Trajectory, simulate, step_from_timing
    from netc.runtime.stability import analyse, engineering, report

    compilation = read_deck(deck, include_directories, lenient)
    timing = compilation.circuit.timing
    if timing is None:
        raise NetcError(
            f"{deck} has no .tran, so there is nothing to compare", hint="add a card such as: .tran 10u 10m uic"
        )
    step, end = step_from_timing(timing, dt, tstop)
    program = compilation.undriven
    stability = analyse(program)
    for line in report(stability, step):
        say(f"warning: {line}")

    def run(seconds: float, steps: int) -> tuple[Any, Sequence[str], Any]:
        found: Trajectory = simulate(program, dt=seconds, steps=steps, observe=compilation.signals)
        return found.times, found.names, found.values[:, 0].numpy()

    if stability.broken(step):
        try:
            run(step, min(round(end / step), 1000))
        except NetcError as diverged:
            if json_file is not None:
                write_json(json_file, {"nodes": {}, "worst_nrmse": None, "order": None, "dt": step})
            remedy = engineering(stability.limit / 2, "s").replace(" ", "")
            raise CheckFailed(f"{diverged.diagnostics[0].message}; try --dt {remedy}") from None
    found = validate(compilation.deck, run, timing, dt=step, tstop=end, tolerance=tol, engine=engine)
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
    if json_file is not None:
        write_json(json_file, found.to_json())
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
