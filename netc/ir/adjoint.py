"""Reverse mode on the expression DAG: vector-Jacobian products as expressions.

y = matvec(x, m), seed s of y   ->   x: matvec(s, transpose(m))      m: outer(x, s)
y = solve(m, b),  seed s of y   ->   b: l = solve(transpose(m), s)   m: -outer(l, y)
y = a * sigmoid(x), a one lane  ->   a: sum over lanes of s * sigmoid(x)

At a kink the same side is taken as in :mod:`netc.ir.derivative`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import singledispatch

import numpy as np

from netc.ir.build import ONE, ZERO, add, binary, gather, matvec, mul, neg, scatter_add
from netc.ir.derivative import expanded, moved
from netc.ir.implicit import Newton, Share, Solution
from netc.ir.nodes import (
    Assemble,
    Binary,
    Columns,
    Concat,
    Entries,
    Expr,
    Gather,
    Index,
    Interpolate,
    MatVec,
    Outer,
    ScatterAdd,
    Select,
    Shape,
    Solve,
    Transpose,
    Unary,
    postorder,
)

Give = Callable[[Expr, Expr | None], None]
"""Takes an operand and what it gets of the seed, which may have fewer lanes where it broadcasts."""


def adjoints(seeds: Mapping[Expr, Expr], wanted: Collection[Expr]) -> dict[Expr, Expr]:
    """Return the derivative of ``sum over roots and lanes of seed * root`` by every expression of ``wanted``.

    Args:
        seeds: the seed of each root, of its shape or one lane.
        wanted: leaves or inner expressions; each is held independent of what it is made of, so one that lies
            below another wanted one only counts where it is read besides.

    Returns:
        For each of ``wanted`` an expression of its shape, or one lane that broadcasts to it; 0 where no root
        depends on it.

    Raises:
        TypeError: for a node without a rule.
    """
    stops = set(wanted)
    reach = _reaching(seeds, stops)
    found: dict[Expr, Expr] = {}

    def give(operand: Expr, share: Expr | None) -> None:
        if share is not None and share is not ZERO and operand in reach:
            share = summed(share, operand.shape)
            found[operand] = add(found[operand], share) if operand in found else share

    for root, seed in seeds.items():
        give(root, seed)
    for node in reversed(list(postorder(*seeds))):
        if node in found and node not in stops and node.children:
            _rule(node, found[node], give)
    return {target: found.get(target, ZERO) for target in wanted}


def _reaching(roots: Collection[Expr], stops: set[Expr]) -> set[Expr]:
    """Return the expressions below ``roots`` that read one of ``stops``, and those."""
    reach: set[Expr] = set()
    for node in postorder(*roots):
        if node in stops or any(child in reach for child in node.children):
            reach.add(node)
    return reach


def summed(x: Expr, shape: Shape) -> Expr:
    """Return ``x`` summed over the lanes in which an operand of ``shape`` was repeated to the shape of ``x``."""
    if x.shape == shape or x.shape == (1,):
        return x
    if len(x.shape) == 2:
        rows, columns = x.shape
        if shape == (rows, 1):
            return scatter_add(x, Index(np.zeros(columns, dtype=np.int64)), 1)
        if isinstance(x, Outer):
            return summed(mul(summed(x.a, (1,)), x.b), shape)
        return summed(matvec(ONE, x), shape)
    return scatter_add(x, Index(np.zeros(x.size, dtype=np.int64)), 1)


def transposed(matrix: Expr) -> Expr:
    """Return the transpose; that of a transpose is the matrix itself."""
    return matrix.matrix if isinstance(matrix, Transpose) else Transpose(matrix)


def entries(matrix: Expr, rows: Index, columns: Index) -> Expr:
    """Return ``matrix[rows[k], columns[k]]``; of an outer product only these are computed."""
    if isinstance(matrix, Outer):
        return mul(gather(matrix.a, rows), gather(matrix.b, columns))
    if isinstance(matrix, Unary) and matrix.op == "neg":
        return neg(entries(matrix.x, rows, columns))
    if isinstance(matrix, Binary) and matrix.op in ("add", "sub") and matrix.a.shape == matrix.b.shape:
        return binary(matrix.op, entries(matrix.a, rows, columns), entries(matrix.b, rows, columns))
    return Entries(matrix, rows, columns)


@singledispatch
def _rule(node: Expr, seed: Expr, give: Give) -> None:
    raise TypeError(f"no adjoint of {type(node).__name__}")


@_rule.register(Unary)
@_rule.register(Binary)
@_rule.register(Select)
def _(node: Expr, seed: Expr, give: Give) -> None:
    # lane by lane the Jacobian is diagonal, so it is its own transpose
    for k, child in enumerate(node.children):
        share = moved(node, tuple(seed if j == k else None for j in range(len(node.children))))
        give(child, _repeated(share, node, child))


def _repeated(share: Expr | None, node: Expr, operand: Expr) -> Expr | None:
    """``share`` with every lane of ``node`` if the operand has not got them all, so that they can be summed."""
    if share is None or share is ZERO or operand.shape == node.shape:
        return share
    return expanded(share, node.shape)


@_rule.register
def _(node: Newton, seed: Expr, give: Give) -> None:
    """Give nothing: the step that polishes the solution carries its derivative."""


@_rule.register
def _(node: Solution, seed: Expr, give: Give) -> None:
    seed = expanded(seed, node.shape)
    for k, operand in enumerate(node.operands):
        give(operand, Share(node.step, node.systems, k, node, seed, node.operands))


@_rule.register
def _(node: Gather, seed: Expr, give: Give) -> None:
    give(node.x, scatter_add(expanded(seed, node.shape), node.index, node.x.shape[-1]))


@_rule.register
def _(node: ScatterAdd, seed: Expr, give: Give) -> None:
    give(node.x, gather(expanded(seed, node.shape), node.index))


@_rule.register
def _(node: Concat, seed: Expr, give: Give) -> None:
    start = 0
    seed = expanded(seed, node.shape)
    for part in node.parts:
        stop = start + part.shape[-1]
        give(part, gather(seed, Index(np.arange(start, stop))))
        start = stop


@_rule.register
def _(node: Columns, seed: Expr, give: Give) -> None:
    rows, count = node.shape
    seed = transposed(expanded(seed, node.shape))
    for k, part in enumerate(node.parts):
        give(part, expanded(matvec(ScatterAdd(ONE, Index([k]), count), seed), (rows,)))


@_rule.register
def _(node: Assemble, seed: Expr, give: Give) -> None:
    give(node.values, entries(expanded(seed, node.shape), node.rows, node.columns))


@_rule.register
def _(node: Entries, seed: Expr, give: Give) -> None:
    n, m = node.matrix.shape
    give(node.matrix, Assemble(expanded(seed, node.shape), node.rows, node.columns, (n, m)))


@_rule.register
def _(node: MatVec, seed: Expr, give: Give) -> None:
    seed = expanded(seed, node.shape)
    give(node.x, matvec(seed, transposed(node.matrix)))
    give(node.matrix, Outer(node.x, seed))


@_rule.register
def _(node: Transpose, seed: Expr, give: Give) -> None:
    give(node.matrix, transposed(expanded(seed, node.shape)))


@_rule.register
def _(node: Outer, seed: Expr, give: Give) -> None:
    seed = expanded(seed, node.shape)
    give(node.a, matvec(node.b, transposed(seed)))
    give(node.b, matvec(node.a, seed))


@_rule.register
def _(node: Solve, seed: Expr, give: Give) -> None:
    multiplier = Solve(transposed(node.matrix), expanded(seed, node.shape))
    give(node.b, multiplier)
    give(node.matrix, neg(Outer(multiplier, node)))


@_rule.register
def _(node: Interpolate, seed: Expr, give: Give) -> None:
    give(node.x, _repeated(moved(node, (seed, None, None)), node, node.x))
    for place, points in ((1, node.xs), (2, node.ys)):
        shares = []
        for k in range(points.shape[1]):
            only = Columns(*(seed if j == k else ZERO for j in range(points.shape[1])))
            moves = (None, only, None) if place == 1 else (None, None, only)
            share = moved(node, moves) or ZERO
            shares.append(share if share is ZERO else expanded(share, node.shape))
        total = Columns(*shares)
        give(points, total if total.shape[0] == points.shape[0] else _row_sum(total))


def _row_sum(matrix: Expr) -> Expr:
    """Sum over rows, as a matrix of one row."""
    count = matrix.shape[1]
    return Assemble(matvec(ONE, matrix), Index(np.zeros(count, dtype=np.int64)), Index(np.arange(count)), (1, count))
