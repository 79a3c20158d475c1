"""Rewrites of expressions that only matter to a back end with automatic differentiation.

Select(c, sqrt(x), 0)   ->  Select(c, sqrt(Select(c, x, 1)), 0)      no NaN from the branch not taken
Solve(m, b)             ->  MatVec(b, TransposedInverse(m))          one factorisation a parameter set
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

import numpy as np

from netc.ir.build import select
from netc.ir.nodes import (
    BINARY,
    UNARY,
    Binary,
    Const,
    Expr,
    Gather,
    MatVec,
    Rate,
    Select,
    Solve,
    TimeStep,
    Unary,
    postorder,
    rebuild,
)

RateOf = Callable[[Expr], Rate]

_SAFE = {"log": 1.0, "sqrt": 1.0, "asin": 0.0, "acos": 0.0, "acosh": 2.0, "atanh": 0.0, "tan": 0.0, "sinh": 0.0}
_SAFE["cosh"] = 0.0


class TransposedInverse(Expr):
    """The transposed inverse of a matrix; ``MatVec(b, TransposedInverse(m))`` is ``Solve(m, b)``.

    A matrix of rate PARAMETER is factored once, in float64; what is left in the time loop is a product, and
    so is its gradient.  Only :class:`Rewriter` makes these.
    """

    __slots__ = ("matrix",)
    fields = ("matrix",)
    matrix: Expr

    def __new__(cls, matrix: Expr) -> TransposedInverse:  # not interned: the rewriter makes one a matrix
        """Return the node for a square ``matrix``."""
        node = object.__new__(cls)
        node.shape = matrix.shape
        object.__setattr__(node, "matrix", matrix)
        return node


class Rewriter:
    """Applies the rewrites of this module; equal expressions stay one object.

    ``roots`` are all that will be rewritten.  What the stages of an integrator have in common is guarded once: a
    slope that counts whatever a later stage selects needs no copy of its own in each of that stage's branches.
    """

    def __init__(self, rates: RateOf, roots: Sequence[Expr] = ()) -> None:
        self._rates = rates
        self._inverses: dict[Expr, TransposedInverse] = {}
        self._done: dict[Expr, Expr] = {}
        self._live = _unconditional(roots)
        self._settled: set[Expr] = set()  # those, rewritten

    def __call__(self, root: Expr) -> Expr:
        """Return ``root`` rewritten."""
        done = self._done
        for node in postorder(root, known=done):
            new = rebuild(node, tuple(done[child] for child in node.children))
            done[node] = self._rewrite(new) or new
            if node in self._live:
                self._settled.add(done[node])
        return done[root]

    def _rewrite(self, node: Expr) -> Expr | None:
        folded = _fold(node)
        if folded is not None:
            return folded
        if isinstance(node, Solve) and self._rates(node.matrix) is Rate.PARAMETER:
            if self._rates(node.b) is Rate.PARAMETER:
                return None
            if node.matrix not in self._inverses:
                self._inverses[node.matrix] = TransposedInverse(node.matrix)
            return MatVec(node.b, self._inverses[node.matrix])
        if isinstance(node, Select):
            then = self._guard(node.then, node.condition, True)
            otherwise = self._guard(node.otherwise, node.condition, False)
            if then is not node.then or otherwise is not node.otherwise:
                return Select(node.condition, then, otherwise)
        return None

    def _guard(self, branch: Expr, condition: Expr, taken: bool) -> Expr:
        """Feed a harmless operand to what could be singular where this branch is not taken."""

        def shield(x: Expr, safe: float) -> Expr:
            # A parameter is the same whichever branch is taken: no guard, and no work in the time loop.
            if isinstance(x, Const) or (self._rates(x) is Rate.PARAMETER and self._rates(condition) != Rate.PARAMETER):
                return x
            return Select(condition, x, Const(safe)) if taken else Select(condition, Const(safe), x)

        done: dict[Expr, Expr] = {}
        for node in _elementwise(branch, self._settled):
            new = rebuild(node, tuple(done.get(c, c) for c in node.children))
            if isinstance(new, Unary) and new.op in _SAFE:
                new = Unary(new.op, shield(new.x, _SAFE[new.op]))
            elif isinstance(new, Binary) and new.op == "div":
                new = Binary("div", new.a, shield(new.b, 1.0))
            elif isinstance(new, Binary) and new.op == "pow" and not _whole_power(new.b):
                new = Binary("pow", shield(new.a, 1.0), new.b)
            done[node] = new
        return done.get(branch, branch)


def _whole_power(exponent: Expr) -> bool:
    return isinstance(exponent, Const) and exponent.value >= 1.0 and exponent.value == int(exponent.value)


def _unconditional(roots: Sequence[Expr]) -> set[Expr]:
    """Return what an integrator's step adds below ``roots`` that counts whatever is selected."""
    stepped: set[Expr] = set()
    for node in postorder(*roots):
        if isinstance(node, TimeStep) or any(child in stepped for child in node.children):
            stepped.add(node)
    # the slopes of a first stage do not read the step; they are what a later stage adds to the states
    found: set[Expr] = set()
    stack = [root for root in roots if root in stepped]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(() if isinstance(node, Select) else node.children)
    return found


def _elementwise(root: Expr, known: Container[Expr] = ()) -> Iterator[Expr]:
    """Yield, operands first, what is below ``root`` through lane-by-lane operators only, but for what is ``known``."""
    seen: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            yield node
        elif node not in seen and node not in known and isinstance(node, Unary | Binary | Select):
            seen.add(node)
            stack.append((node, True))
            stack.extend((c, False) for c in reversed(node.children))


def _fold(node: Expr) -> Expr | None:
    """Fold what is constant even where the result is not finite: Python would raise on ``1.0 / 0.0``."""
    with np.errstate(all="ignore"):
        if isinstance(node, Unary) and isinstance(node.x, Const):
            return Const(float(UNARY[node.op](np.float64(node.x.value))))
        if isinstance(node, Binary) and isinstance(node.a, Const) and isinstance(node.b, Const):
            return Const(float(BINARY[node.op](np.float64(node.a.value), np.float64(node.b.value))))
    if isinstance(node, Gather) and isinstance(node.x, Const) and len(node.index) == 1:  # the shape has to stay
        return node.x
    if isinstance(node, Select) and isinstance(node.condition, Const):
        return select(node.condition, node.then, node.otherwise)
    return None
