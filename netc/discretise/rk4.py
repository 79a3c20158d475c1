"""The classical Runge-Kutta method.

    k1 = f(x, t),  k2 = f(x + dt k1/2, t + dt/2),  k3 = f(x + dt k2/2, t + dt/2),  k4 = f(x + dt k3, t + dt)
    x[n+1] = x + dt (k1 + 2 k2 + 2 k3 + k4) / 6

Order 4 where ``f`` is smooth; the edge of a pulse inside a step leaves order 1 or 2.  Stable for a decay up to
``dt < 2.78 / |l|`` and on the imaginary axis up to ``dt < 2.82 / |l|``.  Four evaluations of ``f`` a step
(W. Kutta 1901; Hairer, Norsett, Wanner I, II.1).
"""

from __future__ import annotations

from dataclasses import replace

from netc.discretise import stage
from netc.discretise.strategy import Integrator
from netc.ir import build
from netc.ir.nodes import Expr, TimeStep
from netc.ir.program import Program


def run(program: Program) -> Program:
    """Return the system that takes Runge-Kutta steps."""
    leaves = stage.leaves(program)
    slopes = [stage.now(program).derivatives]
    blocks = list(program.algebraic)
    for fraction, name in ((0.5, "middle"), (0.5, "middle_again"), (1.0, "end")):
        step = build.mul(fraction, TimeStep())
        ahead: dict[Expr, Expr] = {x: build.add(x, build.mul(step, k)) for x, k in zip(leaves, slopes[-1], strict=True)}
        found = stage.at(program, ahead, stage.later(fraction), name)
        blocks += found.blocks
        slopes.append(found.derivatives)
    return replace(
        program,
        algebraic=tuple(blocks),
        states=tuple(
            replace(
                block,
                derivative=build.div(build.add(build.add(k1, k4), build.mul(2.0, build.add(k2, k3))), 6.0),
            )
            for block, k1, k2, k3, k4 in zip(program.states, *slopes, strict=True)
        ),
    )


RK4 = Integrator("rk4", 4, False, "dt < 2.78 / |l|", "four evaluations", 1.39, run)
