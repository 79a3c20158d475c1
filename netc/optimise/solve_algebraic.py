"""Solve the algebraic blocks: a DAE becomes a program.

unknown u:  0 = g * (v - u) - h * u       ->   u = (g * v) / (g + h), or a larger linear system (:mod:`systems`)
unknown u:  0 = g * (v - u) - f(u)        ->   u = Newton(...) and one step more (:mod:`nonlinear`)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netc.diagnostics import Diagnostics
from netc.ir import build
from netc.ir.interpret import Array, evaluate
from netc.ir.linear import Entry, Nonlinear, linear_form
from netc.ir.nodes import Expr, Input, Parameter, State, Time, TimeStep, Unknown, postorder
from netc.ir.program import AlgebraicBlock, Program
from netc.ir.rates import Rates
from netc.optimise.nonlinear import Curved
from netc.optimise.rewriting import Rewriter, mapped
from netc.optimise.systems import Piece, System, Wrong, numbered


def run(program: Program) -> Program:
    """Return ``program`` without algebraic blocks.

    What is not linear is found by Newton's method from its value at the step before, for which the program gets
    carried states.

    Raises :class:`~netc.diagnostics.NetcError` for singular or too large systems, all together.
    """
    problems = Diagnostics()
    solved: dict[Expr, Expr] = {}
    rates = Rates(program)
    nominal = _Nominal(program, solved)
    curved = Curved(program, solved, rates, nominal)
    for block in program.algebraic:
        rewrite = Rewriter(solved.get)
        if block.explicit is not None:
            (unknown,) = block.unknowns
            solved[unknown] = rewrite(block.explicit)
            continue
        residuals = tuple(build.widen(rewrite(r), u.size) for r, u in zip(block.residuals, block.unknowns, strict=True))
        block = replace(block, residuals=residuals, guesses=tuple(rewrite(g) for g in block.guesses))
        try:
            system, rests = _linear(block, rates, nominal)
        except Nonlinear:
            system, rests = curved.system(block)
        try:
            system.check()
            pieces: list[Piece] = []
            for group in system.groups():
                if group.curved:
                    pieces.append(curved.solved(block, system, group))
                else:
                    pieces += system.solved(group, rests)
            solved |= system.values(pieces)
        except Wrong as wrong:
            system.report(wrong, problems)
    problems.raise_if_failed()
    states = (*program.states, *curved.carried)
    return mapped(replace(program, algebraic=(), states=states), Rewriter(solved.get))


def _linear(block: AlgebraicBlock, rates: Rates, nominal: _Nominal) -> tuple[System, list[Expr]]:
    """Return the system of a block that is linear in its unknowns, and its residuals where they are 0.

    Raises :class:`~netc.ir.linear.Nonlinear` for any other.
    """
    starts = {u.name: start for u, start in numbered(block.unknowns) if isinstance(u, Unknown)}
    rests: list[Expr] = []
    entries: list[Entry] = []
    for residual, (_, first) in zip(block.residuals, numbered(block.unknowns), strict=True):
        form = linear_form(residual, starts)
        rests.append(form.remainder)
        entries += [e.placed(first, starts[e.unknown]) for e in form.entries]
    return System.of(block, entries, nominal, lambda x: bool(rates(x))), rests


class _Nominal:
    """Values at the start with the deck's own parameters and inputs of 1."""

    def __init__(self, program: Program, solved: dict[Expr, Expr]) -> None:
        here: dict[Expr, Array] = {Parameter(b.name, len(b.values)): b.values for b in program.parameters}
        here |= {Input(b.name, b.size): np.ones(b.size) for b in program.inputs}
        here[Time()] = np.zeros(1)
        timing = program.timing
        here[TimeStep()] = np.array([(timing.tmax or timing.tstep if timing else 0.0) or 1e-6])
        self._here = here
        self._program = program
        self._solved = solved
        self._random = np.random.default_rng(0)

    def __call__(self, expr: Expr) -> Array:
        here = dict(self._here)
        for node in postorder(expr):
            if isinstance(node, State) and node not in here:
                here[node] = self._start(node)
            elif isinstance(node, Unknown):  # anywhere: nowhere may a pivot vanish
                here[node] = np.stack([np.zeros(node.size), *self._random.uniform(-1.0, 1.0, (3, node.size))])
        return evaluate([expr], here)[0]

    def _start(self, leaf: State) -> Array:
        block = next((b for b in self._program.states if b.name == leaf.name), None)
        initial = build.ZERO if block is None else Rewriter(self._solved.get)(block.initial)
        open_end = any(isinstance(node, Unknown | State) for node in postorder(initial))
        start = np.zeros(1) if open_end else evaluate([initial], self._here)[0]
        return self._here.setdefault(leaf, np.broadcast_to(start, (leaf.size,)))
