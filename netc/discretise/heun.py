"""Heun's method: the mean of the slopes at both ends of an Euler step.

    k1 = f(x, t),   k2 = f(x + dt k1, t + dt),   x[n+1] = x + dt (k1 + k2) / 2

Order 2.  Stable for ``|1 + z + z^2/2| < 1`` with ``z = dt l``: ``dt < 2 / |l|`` for a decay, hardly any of the
imaginary axis.  Two evaluations of ``f`` a step (K. Heun 1900; Hairer, Norsett, Wanner I, II.1).
"""

from __future__ import annotations

from dataclasses import replace

from netc.discretise import stage
from netc.discretise.strategy import Integrator
from netc.ir import build
from netc.ir.nodes import Expr, TimeStep
from netc.ir.program import Program


def run(program: Program) -> Program:
    """Return the system that takes Heun's steps."""
    first = stage.now(program).derivatives
    ahead: dict[Expr, Expr] = {
        x: build.add(x, build.mul(TimeStep(), k)) for x, k in zip(stage.leaves(program), first, strict=True)
    }
    second = stage.at(program, ahead, stage.later(), "end")
    return replace(
        program,
        algebraic=(*program.algebraic, *second.blocks),
        states=tuple(
            replace(block, derivative=build.mul(0.5, build.add(k1, k2)))
            for block, k1, k2 in zip(program.states, first, second.derivatives, strict=True)
        ),
    )


HEUN = Integrator("heun", 2, False, "dt < 2 / |l|", "two evaluations", 1.0, run)
