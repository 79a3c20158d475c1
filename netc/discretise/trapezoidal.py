"""The trapezoidal rule, ``x[n+1] = x[n] + dt (f(x[n], t) + f(x[n+1], t + dt)) / 2``.

Order 2.  Stable for every decay and every step (A-stable), an undamped oscillation keeps its size; but what is
much faster than the step is not damped and rings from step to step (not L-stable).  One evaluation and one system of
equations a step (Hairer, Wanner II, IV.3).
"""

from __future__ import annotations

import math

from netc.discretise import implicit
from netc.discretise.strategy import Integrator
from netc.ir import build
from netc.ir.nodes import TimeStep
from netc.ir.program import Program


def run(program: Program) -> Program:
    """Return the system that takes trapezoidal steps."""
    half = build.mul(0.5, TimeStep())
    return implicit.solved_for(
        program, 0.5, lambda block, slope: build.add(implicit.value(block), build.mul(half, slope))
    )


TRAPEZOIDAL = Integrator(
    "trapezoidal", 2, True, "every step, what is fast rings", "one evaluation, one system", math.inf, run
)
