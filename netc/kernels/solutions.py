"""Solutions of Newton's method as single nodes: the iteration and the step that polishes it.

z = found + step(found), step an ordinary expression   ->   z = solution: one function of a kernel, one of its adjoint

Passes may have rewritten the step since it was added, so that it is told by its value: it is compared with the step of
the node itself at values drawn by chance.  Where they differ, or a node has no such step, expressions stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netc.ir import interpret
from netc.ir.build import ZERO
from netc.ir.implicit import Hole, Newton, Solution
from netc.ir.nodes import Binary, Expr, Input, Parameter, State, Time, TimeStep, Unary, Unknown, postorder, substitute
from netc.ir.program import Program, StateBlock

_CLOSE = 1e-6  # of two values that are the same but for rounding, relative to the largest


def with_solutions(program: Program) -> Program:
    """Return ``program`` with a :class:`~netc.ir.implicit.Solution` for each polished solution of Newton's method.

    What else reads the solution, a start for the next step, reads it without a derivative.
    """
    roots = [e for s in program.states for e in (s.initial, s.derivative)] + [o.value for o in program.observables]
    order = list(postorder(*roots))
    polished = {node: found for node in order if (found := _found_in(node, program)) is not None}
    if not polished:
        return program
    kept = set(polished.values())
    solutions: dict[Expr, Expr] = {}
    done: dict[Expr, Expr] = {}
    for node in order:
        if node in polished:
            done[node] = solutions[polished[node]]
            continue
        children = tuple(done[child] for child in node.children)
        new = node if children == node.children else node.with_children(children)
        if node in kept and isinstance(new, Newton):
            solutions[node] = Solution(new.step, new.systems, new.names, new.guess, new.operands)
            new = Unary("detach", solutions[node])
        done[node] = new
    return replace(
        program,
        states=tuple(
            replace(s, initial=_start(s, done[s.initial]), derivative=done[s.derivative]) for s in program.states
        ),
        observables=tuple(replace(o, value=done[o.value]) for o in program.observables),
    )


def _start(block: StateBlock, initial: Expr) -> Expr:
    """Return where a state starts: the search of the first step starts where that for its start would."""
    searched = block.carried and any(isinstance(node, Newton) for node in postorder(initial))
    return ZERO if searched else initial


def _found_in(node: Expr, program: Program) -> Newton | None:
    """Return what ``node`` polishes; ``None`` where it is something else."""
    if not isinstance(node, Binary) or node.op != "add":
        return None
    for found, step in ((node.a, node.b), (node.b, node.a)):
        if type(found) is Newton and _is_step(step, found, program):
            return found
    return None


def _is_step(step: Expr, found: Newton, program: Program) -> bool:
    """Whether ``step`` is that of ``found`` at its value."""
    z = Unknown("z", found.size)
    holes: dict[Expr, Expr] = {}
    for x in postorder(found.step):
        if isinstance(x, Hole):
            holes[x] = z if x.number < 2 else found.operands[x.number - 2]
    at: dict[Expr, Expr] = {found: z}
    given = substitute(step, at.get)
    own = substitute(found.step, holes.get)
    if given is own:
        return True
    random = np.random.default_rng(0)
    values = {block.name: block.values for block in program.parameters}
    here: dict[Expr, interpret.Array] = {}
    for node in postorder(given, own):
        if isinstance(node, Parameter):
            here[node] = values[node.name]
        elif isinstance(node, Time | TimeStep):
            here[node] = random.uniform(1e-6, 1e-5, 1)
        elif isinstance(node, Unknown | State | Input | Newton):
            here[node] = random.uniform(0.1, 0.9, (3, node.size))
    a, b = interpret.evaluate([given, own], here)
    same = np.isclose(a, b, rtol=_CLOSE, atol=_CLOSE * float(np.nanmax(np.abs(b), initial=0.0)), equal_nan=True)
    return bool(same.all()) and bool(np.isfinite(b).any())
