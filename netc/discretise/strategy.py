"""What an integrator is: a name, what is known of it, and a rewriting of the differential-algebraic system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netc.ir.program import Program


@dataclass(frozen=True, slots=True)
class Integrator:
    """One way to take a step.

    ``run`` turns ``x' = f(x, z, u, t)``, ``0 = g(x, z, u, t)`` into a system of the same form whose "derivative" of
    a state is ``(x[n+1] - x[n]) / dt``, an expression of the states, the time ``t_n`` and the step
    (:class:`~netc.ir.nodes.TimeStep`).  So the one loop ``x += dt * derivative`` that all back ends have takes every
    kind of step, and gradients follow as they do for explicit Euler.  Signals stay functions of ``x[n]`` at ``t_n``.
    Inputs that are whole waveforms are held over a step.

    Attributes:
        name: as on the command line.
        order: of the global error in ``dt``.
        implicit: whether a step solves equations for ``x[n+1]``.
        stability: where a decay at rate ``l`` stays one, in words.
        cost: of a step, in words.
        reach: longest stable step of a decay over that of explicit Euler; infinite where every step is stable.
    """

    name: str
    order: int
    implicit: bool
    stability: str
    cost: str
    reach: float
    run: Callable[[Program], Program]
