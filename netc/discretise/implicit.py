"""What implicit methods share: ``x[n+1]`` as algebraic unknowns beside those of the circuit.

    0 = y - x - dt * (a f(y, z', t + dt) + known),      0 = g(y, z', t + dt)

``y`` and ``z'`` are solved for together where they read each other; the solver of algebraic blocks does the rest:
small systems lane by lane, others as one; Newton's method where they are not linear, with the implicit function's
derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netc.discretise import stage
from netc.ir import build
from netc.ir.nodes import Expr, State, TimeStep, Unknown
from netc.ir.program import AlgebraicBlock, Program, StateBlock

Known = Callable[[StateBlock, Expr], Expr]
"""What a method adds to ``a dt f(y)``: an expression of the block and its slope now, in units of the state."""


def solved_for(program: Program, weight: float, known: Known, name: str = "next") -> Program:
    """Return the system whose next states solve ``y = weight dt f(y, t + dt) + known(block, f(x, t))``."""
    taken = {u.name for block in program.algebraic for u in block.unknowns if isinstance(u, Unknown)}
    after = {}
    for block in program.states:
        label = f"{block.name}_{name}"
        while label in taken:
            label += "_"
        after[block.name] = Unknown(label, block.size)
    states: dict[Expr, Expr] = {State(block.name, block.size): after[block.name] for block in program.states}
    found = stage.at(program, states, stage.later(), name)
    step = build.mul(weight, TimeStep())
    blocks = list(found.blocks)
    for block, slope in zip(program.states, found.derivatives, strict=True):
        y = after[block.name]
        residual = build.sub(y, build.add(known(block, block.derivative), build.mul(step, slope)))
        blocks.append(AlgebraicBlock((y,), (build.widen(residual, block.size),), None, (block.lanes,), (block.spans,)))
    return replace(
        program,
        algebraic=(*program.algebraic, *stage.ordered(blocks)),
        states=tuple(replace(block, derivative=stage.increment(after[block.name], block)) for block in program.states),
    )


def value(block: StateBlock) -> Expr:
    """Return ``x[n]``."""
    return State(block.name, block.size)
