"""Explicit (forward) Euler, ``x[n+1] = x[n] + dt f(x[n], t_n)``: what every program means as it stands.

Order 1.  Stable for ``|1 + dt l| < 1``, so ``dt < 2 / |l|`` for a decay; an undamped oscillation grows at any step
(L. Euler 1768; E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, II.1).
"""

from __future__ import annotations

from netc.discretise.strategy import Integrator
from netc.ir.program import Program


def run(program: Program) -> Program:
    """Return ``program`` itself."""
    return program


EULER = Integrator("euler", 1, False, "dt < 2 / |l|", "one evaluation", 1.0, run)
