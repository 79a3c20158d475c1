"""Time step and number of steps of a run: the user's, else the deck's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netc.diagnostics import NetcError
from netc.ir.program import Program, Timing
from netc.runtime import stability
from netc.training.options import TrainingOptions

_DEFAULT_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Steps:
    """``count`` explicit Euler steps of ``dt`` seconds."""

    count: int
    dt: float


def resolve(timing: Timing | None, options: TrainingOptions) -> Steps:
    """Return the steps to simulate.

    dt is the option's, else the deck's maximum step, else its ``tstep``.  The number is the option's, else what
    covers ``tstop``.

    Raises:
        NetcError: the deck has no ``.tran`` and the options do not make up for it.
    """
    dt = options.dt
    if dt is None:
        if timing is None:
            raise NetcError("the deck has no .tran, so there is no time step", hint="add .tran, or pass --dt")
        dt = timing.tmax or timing.tstep or timing.tstop / _DEFAULT_STEPS
    count = options.steps
    if count is None:
        if timing is None:
            raise NetcError("the deck has no .tran, so there is no duration", hint="add .tran, or pass --steps")
        # the small share forgives the rounding of tstop / dt
        count = max(1, math.ceil(timing.tstop / dt * (1 - 1e-9)))
    return Steps(count, dt)


def check_stable(program: Program, dt: float, reach: float = 1.0) -> list[str]:
    """Refuse a step that an explicit integrator cannot take with the values as they stand.

    ``reach`` is the longest step it can take over that of explicit Euler.

    Returns:
        warnings: states that training could make unstable by moving values within their bounds.

    Raises:
        NetcError: with the worst states by name and the dt they need.
    """
    if not program.states:
        return []
    now = stability.analyse(program).reaching(reach)
    if now.broken(dt):
        raise NetcError(
            "; ".join(stability.report(now, dt)),
            hint=f"pass --dt {stability.engineering(now.limit / 2, 's').replace(' ', '')} or less, "
            "and as many more --steps",
        )
    anywhere = stability.analyse(program, over_bounds=True).reaching(reach)
    return [f"with trained values at their bounds, {line}" for line in stability.report(anywhere, dt)]
