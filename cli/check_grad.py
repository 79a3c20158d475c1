"""``netc check-grad``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import Quantity, deck_options, read_deck, say
from .integrators import integrator_option, limits

_STEPS = 200
_MOST_KINKS = 6


@click.command("check-grad")
@deck_options
@integrator_option
@click.option("--dt", type=Quantity("s"), help="Time step.  [the deck's, cut where the integrator needs it]")
@click.option("--steps", type=click.IntRange(min=1), help=f"Steps to go through.  [the deck's, at most {_STEPS}]")
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Values checked in each array, picked at random.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the picks and of the weights of the signals.")
@click.option(
    "--tol",
    type=Quantity("ratio"),
    default=1e-6,
    show_default=True,
    help="Largest relative error that passes.",
)
def command(
    deck: Path,
    include_directories: tuple[Path, ...],
    lenient: bool,
    integrator: str,
    dt: float | None,
    steps: int | None,
    per_class: int,
    seed: int,
    tol: float,
) -> None:
    """Compare autograd with central differences in float64, for each class of values in DECK.

    Classes: R, C, L, gain, source, model (named parameters) and initial (initial conditions).  Without uic the
    operating point is held fixed.  Exits 1 when the worst relative error is above the tolerance.

    \b
    Examples:
      netc check-grad mif.cir --tol 1e-6
      netc check-grad mif.cir --integrator bdf2
    """
    from netc.diagnostics import CheckFailed, NetcError
    from netc.runtime.gradients import check_gradients
    from netc.runtime.simulate import step_from_timing, steps_for
    from netc.runtime.stability import engineering, substeps

    compilation = read_deck(deck, include_directories, lenient, integrator=integrator, step=dt)
    timing = compilation.circuit.timing
    if timing is None and (dt is None or steps is None):
        raise NetcError(f"{deck} has no .tran, so there is no time step", hint="add .tran, or pass --dt and --steps")
    step, end = step_from_timing(timing, dt, None if timing else dt)
    program = compilation.every_lane
    for line in compilation.integration:
        say(f"note: {line}")
    step /= substeps(limits(compilation, integrator), step)
    count = steps or min(steps_for(end, step), _STEPS)
    found = check_gradients(program, steps=count, dt=step, seed=seed, per_class=per_class)
    say(f"{len(found.rows)} values, {count} steps of {engineering(step, 's')}")
    click.echo(f"{'class':10s} {'values':>7s} {'worst relative error':>21s}   at")
    for role, error in sorted(found.by_role().items()):
        rows = [row for row in found.rows if row.role == role]
        lane = max(rows, key=lambda row: row.error).lane
        click.echo(f"{role:10s} {len(rows):7d} {error:21.2e}   {lane}")
    if found.kinks:
        names = ", ".join(row.lane for row in found.kinks[:_MOST_KINKS])
        more = f" and {len(found.kinks) - _MOST_KINKS} more" if len(found.kinks) > _MOST_KINKS else ""
        say(f"note: no derivative to compare with, the edge of a waveform falls on a step: {names}{more}")
    worst = found.worst
    if worst is not None and not worst.error <= tol:
        raise CheckFailed(
            f"{worst.lane}: autograd {worst.autograd:.9g}, difference {worst.difference:.9g}, "
            f"relative error {worst.error:.2e} above {tol:g}"
        )
