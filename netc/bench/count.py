"""What a training step costs in arithmetic, counted on the expressions of the program and of its adjoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netc.emit.schedule import schedule
from netc.ir.nodes import (
    Binary,
    Expr,
    Interpolate,
    MatVec,
    Outer,
    Parameter,
    ScatterAdd,
    Select,
    Solve,
    Unary,
    postorder,
)
from netc.ir.program import Program
from netc.kernels.loops import Loop, backward, loops

_EXPONENTIALS = frozenset({"exp", "sigmoid", "tanh", "sinh", "cosh"})
_FREE = frozenset({"neg"})


@dataclass(frozen=True, slots=True)
class Cost:
    """Arithmetic of one step of one sample.

    Attributes:
        flops: additions, multiplications, comparisons and divisions; a multiply-add is two.
        exponentials: values of exp, logistic and hyperbolic functions, those that share one counted once.
    """

    flops: float = 0.0
    exponentials: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.exponentials + other.exponentials)


def training_cost(program: Program) -> Cost:
    """Return forward and backward of one step of one sample, without running anything twice.

    What is common to all samples, and what happens once, such as a hoisted product, is left out; the softmax is in.
    """
    _, loop = loops(schedule(program))
    if loop is None:
        return Cost()
    trained: set[Expr] = {Parameter(b.name, len(b.values)) for b in program.parameters if b.trained}
    wanted = [e for e in loop.reads if any(x in trained for x in postorder(e))]
    adjoint = backward(loop, wanted)
    forward = set(_moving(loop, loop.updates))
    # what the backward pass reads of the forward one is not counted again
    behind = [e for e in _moving(loop, (*adjoint.state_adjoints, *adjoint.gradients.values())) if e not in forward]
    cost = Cost()
    for node in (*forward, *behind):
        cost += of_node(node)
    saved = sum(sum(m.node.size for m in group.members) - group.exponentials for group in loop.groups)
    classes = loop.outputs.size if loop.outputs is not None else 0
    accumulated = sum(float(g.size) for g in adjoint.gradients.values())
    return cost + Cost(6.0 * classes + accumulated, classes - saved)


def of_node(node: Expr) -> Cost:
    """Return the arithmetic of one node, operands not included."""
    if isinstance(node, Unary):
        if node.op in _EXPONENTIALS:
            return Cost(2.0 * node.size if node.op == "sigmoid" else 0.0, node.size)
        return Cost(0.0 if node.op in _FREE else node.size)
    if isinstance(node, Binary | Select):
        return Cost(node.size)
    if isinstance(node, MatVec):
        rows, columns = node.matrix.shape
        return Cost(2.0 * rows * columns)
    if isinstance(node, Outer):
        return Cost(node.a.size * node.b.size)
    if isinstance(node, ScatterAdd):
        return Cost(node.x.size)
    if isinstance(node, Solve):
        return Cost(2.0 * node.size**2)
    if isinstance(node, Interpolate):
        return Cost(3.0 * node.size * node.xs.shape[-1])
    return Cost()


def _moving(loop: Loop, roots: Iterable[Expr]) -> list[Expr]:
    return [e for e in postorder(*roots) if loop.rates.moves(e)]
