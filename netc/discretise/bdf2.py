"""The backward differentiation formula of two steps.

    x[n+1] = (4 x[n] - x[n-1]) / 3 + (2/3) dt f(x[n+1], t + dt)

Order 2.  Stable for every decay and every step, and damps what is fast (A- and L-stable), oscillations less than
backward Euler does.  One system of equations a step, and a copy of the states one step back.  The first step has no
such copy: ``x[n-1] = x[n] - dt f(x[n], t)`` makes it the theta method with theta = 2/3, whose one step leaves the
order (C. F. Curtiss, J. O. Hirschfelder 1952; Hairer, Wanner II, V.1).
"""

from __future__ import annotations

import math
from dataclasses import replace

from netc.discretise import implicit
from netc.discretise.strategy import Integrator
from netc.ir import build
from netc.ir.nodes import Expr, State, Time, TimeStep
from netc.ir.program import Program, StateBlock


def run(program: Program) -> Program:
    """Return the system that takes steps of the second-order formula."""
    taken = {block.name for block in program.states}
    names: dict[str, str] = {}
    for block in program.states:
        name = f"{block.name}_before"
        while name in taken:
            name += "_"
        taken.add(name)
        names[block.name] = name
    first = build.binary("lt", Time(), build.mul(0.5, TimeStep()))

    def known(block: StateBlock, slope: Expr) -> Expr:
        here = implicit.value(block)
        extrapolated = build.sub(here, build.mul(TimeStep(), slope))
        before = build.select(first, extrapolated, State(names[block.name], block.size))
        return build.div(build.sub(build.mul(4.0, here), before), 3.0)

    stepped = implicit.solved_for(program, 2.0 / 3.0, known)
    carried = tuple(
        replace(
            block,
            name=names[block.name],
            lanes=tuple(f"{lane} one step back" for lane in block.lanes),
            derivative=build.div(build.sub(implicit.value(block), State(names[block.name], block.size)), TimeStep()),
        )
        for block in program.states
    )
    return replace(stepped, states=(*stepped.states, *carried))


BDF2 = Integrator("bdf2", 2, True, "every step, damps what is fast", "one system, states twice", math.inf, run)
