"""Which lanes of an expression can depend on which lanes of a leaf, and which lanes may be seeded together.

The pattern never misses a dependence; it may name one that happens to be zero.  Piecewise constant operators
(comparisons, ``floor``, ...) have no derivative and count as no dependence.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from netc.ir.implicit import Hole, Newton
from netc.ir.nodes import (
    Assemble,
    Binary,
    Columns,
    Concat,
    Const,
    Expr,
    Gather,
    Interpolate,
    Leaf,
    MatVec,
    ScatterAdd,
    Select,
    Shape,
    Slot,
    Solve,
    Time,
    TimeStep,
    Unary,
    postorder,
)

Pattern: TypeAlias = Any
"""A ``scipy.sparse.csr_matrix`` of bool, ``(lanes of the expression, lanes of the leaf)``: true where there may
be a dependence.  A matrix expression has its lanes in row-major order."""

FLAT_UNARY = frozenset({"floor", "ceil", "round", "sign", "not", "detach"})
FLAT_BINARY = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "and", "or"})
"""Operators whose derivative is 0 wherever it exists."""


def dependence(expr: Expr, leaf: Expr) -> Pattern | None:
    """Return the pattern of d ``expr`` / d ``leaf``, or ``None`` where there is no dependence at all.

    Raises:
        TypeError: for a node without a rule.
    """
    done: dict[int, Pattern | None] = {}
    for node in postorder(expr):
        if node is leaf:
            done[id(node)] = sparse.identity(leaf.size, dtype=bool, format="csr")
            continue
        below = [done[id(c)] for c in node.children]
        done[id(node)] = None if all(p is None for p in below) and node.children else _rule(node, below)
    return done[id(expr)]


def diagonal_groups(pattern: Pattern) -> list[np.ndarray]:
    """Split the lanes that depend on themselves so that no lane of a group depends on another of its group."""
    coupled = (pattern + pattern.T).tocsr()
    own = np.flatnonzero(pattern.diagonal())
    colour = np.full(pattern.shape[0], -1)
    for lane in own:
        neighbours = colour[coupled.indices[coupled.indptr[lane] : coupled.indptr[lane + 1]]]
        colour[lane] = _first_free(neighbours)
    return [np.flatnonzero(colour == c) for c in range(colour.max(initial=-1) + 1)]


def column_groups(pattern: Pattern) -> list[np.ndarray]:
    """Split the non-empty columns so that no two of a group have an entry in the same row."""
    by_column = pattern.tocsc()
    used: list[np.ndarray] = []
    groups: list[list[int]] = []
    for column in range(pattern.shape[1]):
        rows = by_column.indices[by_column.indptr[column] : by_column.indptr[column + 1]]
        if not len(rows):
            continue
        place = next((k for k, taken in enumerate(used) if not taken[rows].any()), len(used))
        if place == len(used):
            used.append(np.zeros(pattern.shape[0], dtype=bool))
            groups.append([])
        used[place][rows] = True
        groups[place].append(column)
    return [np.asarray(g) for g in groups]


def jacobian_structure(functions: Sequence[Expr], leaves: Sequence[Expr]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows and columns of what may differ from 0 in a Jacobian, and the group of each of its columns.

    The Jacobian is that of ``functions`` by ``leaves``: rows count the lanes of ``functions``, columns those of
    ``leaves``, in order; function ``k`` has as many rows as leaf ``k`` has lanes.  The group of an empty column
    is -1; see :func:`column_groups`.
    """
    blocks = []
    for function, target in zip(functions, leaves, strict=True):
        row = []
        for leaf in leaves:
            found = dependence(function, leaf)
            if found is None:
                found = sparse.csr_matrix((target.size, leaf.size), dtype=bool)
            row.append(found if found.shape[0] == target.size else found[np.zeros(target.size, dtype=int)])
        blocks.append(row)
    pattern = sparse.bmat(blocks, format="csr") if blocks else sparse.csr_matrix((0, 0), dtype=bool)
    group_of = np.full(pattern.shape[1], -1)
    for number, members in enumerate(column_groups(pattern)):
        group_of[members] = number
    rows, columns = pattern.nonzero()
    return rows, columns, group_of


def _first_free(colours: np.ndarray) -> int:
    taken = set(colours.tolist())
    return next(c for c in range(len(taken) + 1) if c not in taken)


def _union(*patterns: Pattern | None) -> Pattern | None:
    present = [p for p in patterns if p is not None]
    if not present:
        return None
    result = present[0]
    for pattern in present[1:]:
        result = result + pattern
    return result.astype(bool).tocsr()


def _flat(shape: Shape) -> np.ndarray:
    return np.arange(int(np.prod(shape))).reshape(shape)


def _repeat(pattern: Pattern | None, shape: Shape, to: Shape) -> Pattern | None:
    if pattern is None or shape == to:
        return pattern
    return pattern[np.broadcast_to(_flat(shape), to).ravel()]


def _elementwise(node: Expr, below: list[Pattern | None]) -> Pattern | None:
    return _union(*(_repeat(p, c.shape, node.shape) for p, c in zip(below, node.children, strict=True)))


def _map(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Pattern:
    """A sparse 0/1 matrix with ones at ``(rows, columns)``."""
    return sparse.csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape)


@singledispatch
def _rule(node: Expr, below: list[Pattern | None]) -> Pattern | None:
    raise TypeError(f"no dependence rule for {type(node).__name__}")


@_rule.register(Const)
@_rule.register(Leaf)
@_rule.register(Time)
@_rule.register(TimeStep)
@_rule.register(Slot)
@_rule.register(Hole)
@_rule.register(Newton)
def _(node: Expr, below: list[Pattern | None]) -> Pattern | None:
    return None


@_rule.register
def _(node: Unary, below: list[Pattern | None]) -> Pattern | None:
    return None if node.op in FLAT_UNARY else below[0]


@_rule.register
def _(node: Binary, below: list[Pattern | None]) -> Pattern | None:
    return None if node.op in FLAT_BINARY else _elementwise(node, below)


@_rule.register
def _(node: Select, below: list[Pattern | None]) -> Pattern | None:
    return _elementwise(node, [None, *below[1:]])


@_rule.register
def _(node: Gather, below: list[Pattern | None]) -> Pattern | None:
    return None if below[0] is None else below[0][_flat(node.x.shape)[..., node.index.array].ravel()]


@_rule.register
def _(node: ScatterAdd, below: list[Pattern | None]) -> Pattern | None:
    spread = _repeat(below[0], node.x.shape, (*node.x.shape[:-1], len(node.index)))
    if spread is None:
        return None
    target = _flat(node.shape)[..., node.index.array].ravel()
    return (_map(target, np.arange(len(target)), (node.size, len(target))) @ spread).tocsr()


@_rule.register
def _(node: Concat, below: list[Pattern | None]) -> Pattern | None:
    lanes, offset, parts = _flat(node.shape), 0, []
    for pattern, part in zip(below, node.parts, strict=True):
        width = part.shape[-1]
        if pattern is not None:
            target = lanes[..., offset : offset + width].ravel()
            parts.append(_map(target, np.arange(part.size), (node.size, part.size)) @ pattern)
        offset += width
    return _union(*parts)


@_rule.register
def _(node: Columns, below: list[Pattern | None]) -> Pattern | None:
    rows, lanes, parts = node.shape[0], _flat(node.shape), []
    for k, (pattern, part) in enumerate(zip(below, node.parts, strict=True)):
        spread = _repeat(pattern, part.shape, (rows,))
        if spread is not None:
            parts.append(_map(lanes[:, k], np.arange(rows), (node.size, rows)) @ spread)
    return _union(*parts)


@_rule.register
def _(node: Assemble, below: list[Pattern | None]) -> Pattern | None:
    spread = _repeat(below[0], node.values.shape, (len(node.rows),))
    if spread is None:
        return None
    target = node.rows.array * node.shape[1] + node.columns.array
    return (_map(target, np.arange(len(target)), (node.size, len(target))) @ spread).tocsr()


def structure(matrix: Expr) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of what may differ from 0 in a matrix expression."""
    if isinstance(matrix, Assemble):
        return matrix.rows.array, matrix.columns.array
    rows, columns = np.divmod(np.arange(matrix.size), matrix.shape[1])
    return rows, columns


@_rule.register
def _(node: MatVec, below: list[Pattern | None]) -> Pattern | None:
    n, m = node.matrix.shape
    by_x = by_matrix = None
    if below[0] is not None:
        rows, columns = structure(node.matrix)
        by_x = _map(columns, rows, (m, n)) @ below[0]
    if below[1] is not None:
        by_matrix = _map(np.arange(n * m) % m, np.arange(n * m), (m, n * m)) @ below[1]
    return _union(by_x, by_matrix)


@_rule.register
def _(node: Solve, below: list[Pattern | None]) -> Pattern | None:
    n = node.size
    rows, columns = structure(node.matrix)
    count, part = connected_components(_map(rows, columns, (n, n)), directed=False)
    by_row = None
    if below[0] is not None:
        by_row = _map(np.arange(n * n) // n, np.arange(n * n), (n, n * n)) @ below[0]
    equation = _union(by_row, below[1])
    member = _map(part, np.arange(n), (count, n))
    return None if equation is None else (member.T @ (member @ equation)).tocsr()


@_rule.register
def _(node: Interpolate, below: list[Pattern | None]) -> Pattern | None:
    parts = [_repeat(below[0], node.x.shape, node.shape)]
    for pattern, points in ((below[1], node.xs), (below[2], node.ys)):
        if pattern is not None:
            n, k = points.shape
            by_lane = _map(np.arange(n * k) // k, np.arange(n * k), (n, n * k)) @ pattern
            parts.append(_repeat(by_lane.tocsr(), (n,), node.shape))
    return _union(*parts)
