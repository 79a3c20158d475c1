"""Backward Euler, ``x[n+1] = x[n] + dt f(x[n+1], t + dt)``.

Order 1.  Stable for every decay and every step, and damps what is fast (A- and L-stable); it also damps
oscillations that the circuit does not.  One system of equations a step (E. Hairer, G. Wanner, Solving Ordinary
Differential Equations II, IV.3).
"""

from __future__ import annotations

import math

from netc.discretise import implicit
from netc.discretise.strategy import Integrator
from netc.ir.program import Program


def run(program: Program) -> Program:
    """Return the system that takes backward Euler steps."""
    return implicit.solved_for(program, 1.0, lambda block, slope: implicit.value(block))


BACKWARD_EULER = Integrator("backward-euler", 1, True, "every step, damps what is fast", "one system", math.inf, run)
