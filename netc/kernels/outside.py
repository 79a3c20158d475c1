"""Expressions evaluated by torch: what a kernel is handed, and the signals computed from what it returns.

A value has the lane shape of its expression behind any leading axes (time, batch), which broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from netc.emit import support
from netc.emit.rewrite import Rewriter, TransposedInverse
from netc.ir.implicit import Hole, Newton, Solution
from netc.ir.network import Response
from netc.ir.nodes import (
    Assemble,
    Binary,
    Columns,
    Concat,
    Const,
    Expr,
    Gather,
    Index,
    Interpolate,
    MatVec,
    Rate,
    ScatterAdd,
    Select,
    Solve,
    Transpose,
    Unary,
    postorder,
)
from netc.kernels.loops import Unsupported

Operation = Callable[..., Tensor]

COVERED = (
    Unary,
    Binary,
    Select,
    Gather,
    ScatterAdd,
    Concat,
    Columns,
    Assemble,
    MatVec,
    Solve,
    Transpose,
    TransposedInverse,
    Interpolate,
    Response,
    Newton,
    Solution,
)
"""Kinds of inner nodes that are computed inside or outside the loops."""


class Evaluator:
    """Computes some expressions from given ones, in the type of the given values.

    A root that follows only from tensors that are the same as in the last call, unchanged and without a gradient,
    is not computed again: in training, that is all but what is trained or driven.
    """

    def __init__(self, roots: Sequence[Expr], given: Iterable[Expr]) -> None:
        """``given`` are leaves or inner expressions whose values each call brings."""
        self._roots = tuple(roots)
        self._given = frozenset(given)
        self._reads = {root: _needed([root], self._given) & self._given for root in self._roots}
        self._plans: dict[tuple[Expr, ...], _Plan] = {}
        self._last: dict[Expr, tuple[Tensor, int]] = {}
        self._results: dict[Expr, tuple[Tensor, torch.dtype]] = {}

    @property
    def reads(self) -> set[Expr]:
        """Those of the given expressions that are needed."""
        return set().union(*self._reads.values())

    def __call__(self, values: Mapping[Expr, Tensor], dtype: torch.dtype) -> list[Tensor]:
        """Return the values of the roots.

        Raises:
            KeyError: where a given value that is needed is missing.
        """
        changed = {e for e in set().union(*self._reads.values()) if not self._is_as_before(e, values[e])}
        results = {
            root: found
            for root, (found, kind) in self._results.items()
            if kind == dtype and changed.isdisjoint(self._reads[root])
        }
        asked = tuple(dict.fromkeys(root for root in self._roots if root not in results))
        if asked:
            if asked not in self._plans:
                self._plans[asked] = _Plan(asked, self._given)
            results |= self._plans[asked](values, dtype)
        if torch.is_inference_mode_enabled():  # such tensors cannot take part in a later graph
            self._results, self._last = {}, {}
        else:
            self._results = {root: (found, dtype) for root, found in results.items() if not found.requires_grad}
            self._last |= {e: (values[e], values[e]._version) for e in changed}
        return [results[root] for root in self._roots]

    def _is_as_before(self, expr: Expr, value: Tensor) -> bool:
        last, version = self._last.get(expr, (None, -1))
        return last is value and version == value._version and not value.requires_grad


class _Plan:
    """The operations that lead to some roots, in order."""

    def __init__(self, roots: Sequence[Expr], given: Collection[Expr]) -> None:
        self._roots = tuple(roots)
        needed = _needed(roots, given)
        inner = [n for n in postorder(*roots) if n in needed and n not in given and not isinstance(n, Const)]
        self._steps = [(node, _operation(node), node.children) for node in inner]

    def __call__(self, values: Mapping[Expr, Tensor], dtype: torch.dtype) -> dict[Expr, Tensor]:
        known = dict(values)

        def value(node: Expr) -> Tensor:
            if isinstance(node, Const) and node not in known:
                known[node] = torch.tensor([node.value], dtype=dtype)
            return known[node]

        for node, operation, children in self._steps:
            known[node] = operation(*(value(child) for child in children))
        return {root: value(root) for root in self._roots}


def _needed(roots: Sequence[Expr], known: Collection[Expr]) -> set[Expr]:
    """Return what is below ``roots`` down to what is known."""
    found: set[Expr] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            if node not in known:
                stack.extend(node.children)
    return found


_UNARY: dict[str, Operation] = {
    "exp": support.exp,
    "detach": torch.Tensor.detach,
    "not": lambda x: (x == 0.0).to(x.dtype),
    **{
        op: getattr(torch, op)
        for op in ("neg", "log", "sqrt", "abs", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
    },
    **{op: getattr(torch, op) for op in ("asinh", "acosh", "atanh", "floor", "ceil", "round", "sign", "sigmoid")},
}

_BINARY: dict[str, Operation] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "min": torch.minimum,
    "max": torch.maximum,
    **{
        op: partial(lambda f, a, b: f(a, b).to(a.dtype), getattr(torch, op))
        for op in ("lt", "le", "gt", "ge", "eq", "ne")
    },
    "and": lambda a, b: ((a != 0.0) & (b != 0.0)).to(a.dtype),
    "or": lambda a, b: ((a != 0.0) | (b != 0.0)).to(a.dtype),
}


def _operation(node: Expr) -> Operation:
    match node:
        case Unary():
            return _UNARY[node.op]
        case Binary(op="min" | "max") if isinstance(node.a, Const) or isinstance(node.b, Const):
            return _bounded(node)
        case Binary(op="div") if isinstance(node.a, Const) and node.a.value == 1.0:
            return lambda _, x: torch.reciprocal(x)
        case Binary():
            return _aligned(node, _BINARY[node.op])
        case Select():
            return _aligned(node, lambda condition, a, b: torch.where(condition != 0.0, a, b))
        case Gather():
            return _gather(node.index, node.x.shape[-1])
        case ScatterAdd():
            return _scatter(node)
        case Concat():
            return support.concat
        case Columns():
            return support.columns
        case Assemble():
            return _assemble(node)
        case MatVec():
            return _matvec
        case Solve():
            return support.solve
        case Transpose():
            return lambda matrix: matrix.mT
        case TransposedInverse():
            return lambda matrix: torch.linalg.inv(matrix).mT
        case Interpolate():
            return support.interpolate
        case Response():
            return _response(node)
        case Newton():
            return _newton(node)
    raise Unsupported(f"no value of a {type(node).__name__} {getattr(node, 'name', '')}".rstrip())


def _aligned(node: Expr, operation: Operation) -> Operation:
    """Give operands with one lane axis a second one where the result is a matrix."""
    missing = [len(node.shape) > 1 and len(child.shape) == 1 for child in node.children]
    if not any(missing):
        return operation

    def run(*operands: Tensor) -> Tensor:
        return operation(*(x.unsqueeze(-2) if add else x for x, add in zip(operands, missing, strict=True)))

    return run


def _bounded(node: Binary) -> Operation:
    """The least or largest of a value and a constant; in a tie the gradient is that of the value, as in the module."""
    bound = node.b if isinstance(node.b, Const) else node.a
    limit = bound.value if isinstance(bound, Const) else 0.0
    first = bound is node.b

    def run(a: Tensor, b: Tensor) -> Tensor:
        x = a if first else b
        return x.clamp(max=limit) if node.op == "min" else x.clamp(min=limit)

    return run


def _gather(index: Index, lanes: int) -> Operation:
    array = index.array
    if lanes == 1:
        return lambda x: x.expand(*x.shape[:-1], len(array))
    steps = np.diff(array)
    if len(array) > 1 and (steps == steps[0]).all() and steps[0] > 0:
        picked = slice(int(array[0]), int(array[-1]) + 1, int(steps[0]))
        return lambda x: x[..., picked]
    at = torch.tensor(array)
    return lambda x: x.index_select(-1, at)


def _scatter(node: ScatterAdd) -> Operation:
    if node.lanes == 1 and node.x.shape[-1] > 1:
        return lambda x: x.sum(-1, keepdim=True)
    at = torch.tensor(node.index.array)
    return lambda x: support.scatter_add(x, at, node.lanes)


def _assemble(node: Assemble) -> Operation:
    rows, columns = node.shape
    at = node.rows.array * columns + node.columns.array
    if len(at) == rows * columns and (at == np.arange(len(at))).all():
        return lambda x: x.expand(*x.shape[:-1], len(at)).unflatten(-1, (rows, columns))
    flat = torch.tensor(at)
    return lambda x: support.assemble(x, flat, rows, columns)


def _response(node: Response) -> Operation:
    ports, size = node.shape
    rows, columns, feed_rows, feed_ports = (
        torch.tensor(index.array) for index in (node.rows, node.columns, node.feed_rows, node.feed_ports)
    )

    def run(values: Tensor, feeds: Tensor) -> Tensor:
        found = support.response(values, rows, columns, feeds, feed_rows, feed_ports, ports, size)
        return found.to(values.dtype)

    return run


def _newton(node: Newton) -> Operation:
    """Return what finds ``node`` for all samples and times at once."""
    root = Rewriter(lambda _: Rate.STEP)(node.step)
    holes = [x for x in postorder(root) if isinstance(x, Hole)]
    plan = _Plan((root,), holes)

    def step(*given: Tensor) -> Tensor:
        return plan({hole: given[hole.number] for hole in holes}, given[0].dtype)[root]

    def run(guess: Tensor, *operands: Tensor) -> Tensor:
        found = support.newton(step, guess, node.systems, *operands)
        return found + step(found, found, *operands) if isinstance(node, Solution) else found

    return run


def _matvec(x: Tensor, matrix: Tensor) -> Tensor:
    return x @ matrix if matrix.ndim == 2 else support.vector_matrix(x, matrix)
