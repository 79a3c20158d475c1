"""``--integrator auto`` for a run without gradients: variable steps to an error, and what the circuit is like."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from netc.diagnostics import NetcError
from netc.ir.program import Program
from netc.runtime import transient
from netc.runtime.simulate import Trajectory, steps_for
from netc.runtime.stability import analyse, engineering

_COUNTABLE = 1_000_000_000
"""Steps beyond which their number says nothing more."""

PATIENCE = 60.0  # s
"""Most processor time for a solution that only checks another."""

DEAR = 500_000
"""Operations of explicit Euler, about two seconds in PyTorch, from which variable steps alone are taken."""

HOPELESS = 3_000_000_000
"""Operations of explicit Euler, minutes where Newton's method solves each step: not begun where others have failed."""

RIGHT = 5e-3
"""Error of explicit Euler up to which it stands: half of what a result may be off, for the other has an error too."""

WARNING = "warning: "
"""What a line begins with that is more than a note."""

_ANALYSED = 2000  # most states whose time constants are bounded for the sake of a remark
_SOLVED = 200  # most algebraic unknowns, for the same
_NAMED = 3


class TooManySteps(NetcError):
    """Explicit Euler is not even tried."""


def run(
    system: Program,
    continuous: Callable[[], Program],
    *,
    dt: float,
    tstop: float,
    observe: tuple[str, ...],
    dtype: torch.dtype,
    tell: Callable[[str], None] | None = None,
) -> tuple[Trajectory, tuple[str, ...]]:
    """Return the signals every ``dt`` seconds up to ``tstop``, and what there is to say of how they were found.

    Args:
        system: the circuit at its start, algebraic blocks and all.
        continuous: gives the same circuit solved for its derivatives, for a remark on its time constants.
        dt: time between rows; the steps inside are chosen by their error and by the edges of sources.
        tstop: end, seconds.
        observe: names of signals.
        dtype: of the result.
        tell: takes a line on how far a long run is.

    Raises:
        NetcError: where the solution cannot be followed to within the error that is accepted.
    """
    times = np.arange(steps_for(tstop, dt) + 1, dtype=np.float64) * dt
    found = transient.solve(system, times, observe, tell=tell)
    values = torch.as_tensor(found.values[:, None, :]).to(dtype)
    lines = [
        f"auto: {found.steps:,} implicit steps of variable length (Radau IIA, order 5), none across the "
        f"{max(0, found.edges - 2):,} edges of sources; estimated error {found.error:.1g} of a signal's range"
    ]
    fast = _fast(system, continuous, dt)
    if fast:
        lines.append(fast)
    return Trajectory(times, observe, values), (*lines, *_warned(found))


def checked(
    euler: Callable[[], Trajectory],
    system: Callable[[], Program],
    *,
    dt: float,
    tstop: float,
    observe: tuple[str, ...],
    dtype: torch.dtype,
    keep: bool,
    parts: Callable[[], int],
    operations: int,
    tell: Callable[[str], None] | None = None,
) -> tuple[Trajectory, tuple[str, ...]]:
    """Return the result of explicit Euler where it is right, else that of variable steps, and what to say of it.

    Right is a root mean square difference from the solution with variable steps of at most :data:`RIGHT` of a
    signal's range.  Where that solution is not to be had in :data:`PATIENCE` seconds, the result of Euler stands with
    a remark.  Where Euler would take more than :data:`DEAR` operations, it is not even tried if there is that solution.

    Args:
        euler: runs explicit Euler.
        system: gives the circuit at its start, algebraic blocks and all.
        dt: time between rows, seconds.
        tstop: end, seconds.
        observe: names of signals.
        dtype: of the result.
        keep: whether the result of Euler stands, with a remark, however far it is off.
        parts: gives the number of sub-steps that Euler takes for a row.
        operations: of a step of Euler.
        tell: takes a line on how far a long run is.

    Raises:
        NetcError: where Euler diverges, and variable steps do not do it either.
    """
    rows = steps_for(tstop, dt)
    times = np.arange(rows + 1, dtype=np.float64) * dt

    def variable(seconds: float = PATIENCE) -> transient.Solution:
        return transient.solve(system(), times, observe, seconds=seconds, tell=tell)

    def dear(steps: int) -> bool:
        return operations * steps >= DEAR

    def trajectory(solved: transient.Solution) -> Trajectory:
        return Trajectory(times, observe, torch.as_tensor(solved.values[:, None, :]).to(dtype))

    solved: transient.Solution | None = None
    unsolved: NetcError | None = None
    if not keep:
        try:
            try:
                solved = variable()
                steps = rows * max(1, math.ceil(dt * solved.fastest / 2))
            except transient.OutOfTime:
                steps = rows * parts()
                if not dear(steps):
                    raise
                solved = variable(math.inf)
            if not dear(steps):  # along the way; what is known beforehand may ask for more
                steps = rows * parts()
            if dear(steps):
                many = f"{steps:,}" if steps < _COUNTABLE else f"more than {_COUNTABLE:,}"
                line = f"explicit Euler would need {many} steps, so --integrator auto takes them"
                return trajectory(solved), (f"{line}; --integrator euler keeps to Euler", *_warned(solved))
        except NetcError as error:
            unsolved = error
            if operations * rows * parts() >= HOPELESS:
                raise
    failure: NetcError | None = None
    try:
        result = euler()
    except NetcError as error:
        if keep:
            raise
        failure = error
    try:
        if unsolved is not None:
            raise unsolved
        solved = solved or variable()
        better = trajectory(solved)
    except NetcError as error:
        if failure is not None:
            raise (error if isinstance(failure, TooManySteps) else failure) from None
        return result, (f"the error of explicit Euler is not known: {error.diagnostics[0].message}",)
    if failure is not None:
        why = failure.diagnostics[0].message
        return better, (f"explicit Euler fails ({why}), so --integrator auto takes the steps", *_warned(solved))
    error_of_euler = transient.difference(*(found.values[:, 0].double().numpy() for found in (result, better)))
    if error_of_euler <= RIGHT:
        return result, _warned(solved)
    share = f"{100 * error_of_euler:.2g} % of a signal's range"
    off = f"explicit Euler with steps of {engineering(dt, 's')} is off by {share}"
    if keep:
        return result, (f"{off}; --integrator auto is not", *_warned(solved))
    line = f"{off}, so --integrator auto takes the steps; --integrator euler keeps to Euler"
    return better, (line, *_warned(solved))


def _warned(solved: transient.Solution) -> tuple[str, ...]:
    return tuple(f"{WARNING}{line}" for line in solved.warnings)


def _fast(system: Program, continuous: Callable[[], Program], dt: float) -> str:
    """Return which states an explicit step of ``dt`` could not follow; empty if none."""
    solved = sum(u.size for block in system.algebraic if block.explicit is None for u in block.unknowns)
    if sum(block.size for block in system.states) > _ANALYSED or solved > _SOLVED:
        return ""
    try:
        broken = analyse(continuous()).broken(dt)
    except (NetcError, ValueError, TypeError):  # only a remark depends on it
        return ""
    if not broken:
        return ""
    shown = ", ".join(f"{s.name} ({engineering(s.time_constant, 's')})" for s in broken[:_NAMED])
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return f"auto: faster than a step of {engineering(dt, 's')}, so solved for: {shown}{more}"
