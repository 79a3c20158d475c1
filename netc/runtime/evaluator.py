"""Expressions evaluated again and again in float64: what stands still is computed once, the rest is a flat list.

The meaning is that of :mod:`netc.ir.interpret`; only the bookkeeping differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netc.ir.implicit import Hole, Newton, iterate
from netc.ir.interpret import Array, rule_of
from netc.ir.nodes import BINARY, UNARY, Binary, Expr, Gather, Select, Unary, postorder

_Operation = tuple[Callable[..., Any], int, tuple[int, ...]]


class Evaluator:
    """Values of ``roots`` as a function of some leaves, all else held at ``fixed``.

    Args:
        roots: expressions.
        fixed: values of leaves that never change, ``(lanes,)`` each.
        moving: leaves given at each call, with a batch axis: ``(batch, lanes)``, ``(batch, 1)`` for the time.

    Raises:
        ValueError: for a leaf that is neither fixed nor moving.
    """

    def __init__(self, roots: Sequence[Expr], fixed: Mapping[Expr, Array], moving: Sequence[Expr]) -> None:
        place: dict[Expr, int] = {leaf: k for k, leaf in enumerate(moving)}
        self._values: list[Any] = [None] * len(moving)
        self._operations: list[_Operation] = []
        steady: dict[Expr, Array] = {}
        for node in postorder(*roots):
            if node in place:
                continue
            if node in fixed:
                steady[node] = fixed[node]
            elif all(child in steady for child in node.children):
                with np.errstate(all="ignore"):
                    steady[node] = rule_of(node)(*(steady[child] for child in node.children))
            else:
                for child in node.children:
                    if child not in place:
                        place[child] = len(self._values)
                        self._values.append(steady[child])
                place[node] = len(self._values)
                self._values.append(None)
                children = tuple(place[child] for child in node.children)
                self._operations.append((_operation(node), place[node], children))
        for root in roots:
            if root not in place:
                place[root] = len(self._values)
                self._values.append(steady[root])
        self._roots = [place[root] for root in roots]

    def __call__(self, *given: Array) -> list[Array]:
        """Return the values of the roots for the moving leaves in order; what overflows is infinite or not a number."""
        values = self._values.copy()
        values[: len(given)] = given
        with np.errstate(all="ignore"):
            for operation, target, operands in self._operations:
                if len(operands) == 2:
                    values[target] = operation(values[operands[0]], values[operands[1]])
                else:
                    values[target] = operation(*[values[k] for k in operands])
        return [values[k] for k in self._roots]


def _operation(node: Expr) -> Callable[..., Any]:
    """Return what computes ``node`` from its operands; the common ones without the interpreter's care for matrices."""
    flat = len(node.shape) == 1 and all(len(child.shape) == 1 for child in node.children)
    if isinstance(node, Unary):
        return UNARY[node.op]
    if isinstance(node, Binary) and flat:
        return BINARY[node.op]
    if isinstance(node, Select) and flat:
        return lambda condition, then, otherwise: np.where(condition != 0, then, otherwise)
    if isinstance(node, Gather):
        index = node.index.array
        return lambda x: x[..., index]
    if isinstance(node, Newton):
        return _newton(node)
    return rule_of(node)


def _newton(node: Newton) -> Callable[..., Any]:
    holes = sorted((inner for inner in postorder(node.step) if isinstance(inner, Hole)), key=lambda hole: hole.number)
    inside = Evaluator([node.step], {}, holes)

    def solved(guess: Array, *operands: Array) -> Array:
        def step(z: Array, point: Array) -> Array:
            around = (z, point, *operands)
            return np.asarray(inside(*(around[hole.number] for hole in holes))[0])

        with np.errstate(all="ignore"):
            return iterate(step, np.broadcast_to(guess, (*guess.shape[:-1], node.size)), node.systems)

    return solved
