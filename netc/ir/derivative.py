"""Symbolic derivatives of expressions: tangents (forward mode), the diagonal and the entries of a Jacobian.

At a kink the derivative of one side is taken: ``abs`` and ``sign`` have 0 at 0, ``min``/``max`` follow their
first operand in a tie, a ``Select`` follows the branch it takes, ``Interpolate`` the segment to the right of a
point (0 outside the points), and everything piecewise constant (comparisons, ``floor``, ``not``, ...) has 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch

import numpy as np

from netc.ir.build import ONE, ZERO, add, binary, div, gather, mul, neg, scatter_add, select, sub, total, unary
from netc.ir.implicit import Hole, Newton
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
from netc.ir.sparsity import column_groups, dependence, diagonal_groups

Tangents = tuple[Expr | None, ...]
"""Tangents of the operands of a node in order; ``None`` where there is none.  A tangent may have fewer lanes
than its operand where it broadcasts to the same shape."""


def tangent(expr: Expr, seeds: Mapping[Expr, Expr]) -> Expr:
    """Return the derivative of ``expr`` in the direction in which each seeded expression moves by its seed.

    Args:
        expr: any expression without holes.
        seeds: a tangent for each leaf (``State``, ``Unknown``, ``Parameter``, ``Input``, ``Time``) that moves,
            of the leaf's shape or one lane; all other leaves stand still.

    Returns:
        An expression of the shape of ``expr`` or one that broadcasts to it; ``0`` where nothing moves.

    Raises:
        TypeError: for a node without a rule.
    """
    return tangents((expr,), seeds)[0]


def tangents(exprs: tuple[Expr, ...], seeds: Mapping[Expr, Expr]) -> tuple[Expr, ...]:
    """Return :func:`tangent` of each of ``exprs``, visiting what they share once."""
    done: dict[int, Expr | None] = {}
    for node in postorder(*exprs):
        if node in seeds:
            found: Expr | None = seeds[node]
        else:
            moves = tuple(done[id(c)] for c in node.children)
            found = None if node.children and all(m is None for m in moves) else _rule(node, moves)
        done[id(node)] = None if found is ZERO else found
    return tuple(done[id(e)] or ZERO for e in exprs)


def moved(node: Expr, moves: Tangents) -> Expr | None:
    """Return how ``node`` moves when its operands move by ``moves``; ``None`` where it stands still."""
    return _rule(node, moves)


def time_derivative(expr: Expr) -> Expr:
    """Return d ``expr`` / dt with everything but :class:`Time` held still, in units of ``expr`` per second."""
    return tangent(expr, {Time(): ONE})


def diagonal(expr: Expr, leaf: Leaf) -> Expr:
    """Return d ``expr[k]`` / d ``leaf[k]`` for every lane ``k``, exactly.

    Lanes that do not read each other are seeded together, so the diagonal of a lane-by-lane expression costs
    one tangent and that of a dense coupling one a lane.

    Raises:
        ValueError: if ``expr`` has neither one lane nor as many as ``leaf``.
    """
    if expr.shape not in (leaf.shape, (1,)):
        raise ValueError(f"diagonal of {expr.shape} by {leaf.shape}")
    expr = expanded(expr, leaf.shape)
    pattern = dependence(expr, leaf)
    if pattern is None:
        return ZERO
    groups = diagonal_groups(pattern)
    if len(groups) == 1 and len(groups[0]) == leaf.size:
        return tangent(expr, {leaf: ONE})
    masks = [ScatterAdd(ONE, Index(lanes), leaf.size) for lanes in groups]
    return total([mul(mask, tangent(expr, {leaf: mask})) for mask in masks])


def jacobian_entries(expr: Expr, leaf: Leaf) -> list[tuple[Index, Index, Expr]]:
    """Return d ``expr`` / d ``leaf`` as lists of (rows, columns, coefficients); absent entries are 0.

    Columns that share no row are seeded together; every (row, column) occurs once.  ``expr`` has one axis.
    """
    pattern = dependence(expr, leaf)
    if pattern is None:
        return []
    entries = []
    by_column = pattern.tocsc()
    for columns in column_groups(pattern):
        seed = ONE if len(columns) == leaf.size else ScatterAdd(ONE, Index(columns), leaf.size)
        rows = [by_column.indices[by_column.indptr[c] : by_column.indptr[c + 1]] for c in columns]
        moved = tangent(expr, {leaf: seed})
        row_index = Index(np.concatenate(rows))
        column_index = Index(np.repeat(columns, [len(r) for r in rows]))
        if moved is not ZERO and len(row_index):
            entries.append((row_index, column_index, _lanes(expanded(moved, expr.shape), row_index)))
    return entries


def expanded(x: Expr, shape: Shape) -> Expr:
    """Return ``x`` with exactly ``shape``, its lanes repeated by broadcasting.

    Raises:
        TypeError: for a matrix of one row that would have to be repeated downwards.
    """
    if x.shape == shape:
        return x
    if len(shape) == 1:
        return Gather(x, Index(np.zeros(shape[0], dtype=np.int64)))
    rows, columns = shape
    if len(x.shape) == 1:
        lane = np.broadcast_to(np.arange(x.size), shape).ravel()
        row, column = np.divmod(np.arange(rows * columns), columns)
        return Assemble(_lanes(x, Index(lane)), Index(row), Index(column), (rows, columns))
    if x.shape == (rows, 1):
        return Gather(x, Index(np.zeros(columns, dtype=np.int64)))
    raise TypeError(f"cannot repeat a matrix of shape {x.shape} to {shape}")


def _lanes(x: Expr, index: Index) -> Expr:
    """``x[index]`` with one lane for every index, constants too."""
    return x if index.is_identity(x.shape[-1]) else Gather(x, index)


def _sum(*terms: Expr | None) -> Expr | None:
    present = [t for t in terms if t is not None]
    return total(present) if present else None


def _times(factor: Expr, move: Expr | None) -> Expr | None:
    return None if move is None else mul(factor, move)


@singledispatch
def _rule(node: Expr, moves: Tangents) -> Expr | None:
    raise TypeError(f"no derivative of {type(node).__name__}")


@_rule.register(Const)
@_rule.register(Leaf)
@_rule.register(Time)
@_rule.register(TimeStep)
@_rule.register(Slot)
@_rule.register(Hole)
@_rule.register(Newton)  # what the solution depends on is in the step that polishes it
def _(node: Expr, moves: Tangents) -> Expr | None:
    return None


_SLOPE: dict[str, Callable[[Expr, Expr], Expr] | None] = {
    "neg": lambda x, y: Const(-1.0),
    "exp": lambda x, y: y,
    "log": lambda x, y: div(ONE, x),
    "sqrt": lambda x, y: div(0.5, y),
    "abs": lambda x, y: unary("sign", x),
    "sin": lambda x, y: unary("cos", x),
    "cos": lambda x, y: neg(unary("sin", x)),
    "tan": lambda x, y: add(1.0, mul(y, y)),
    "asin": lambda x, y: div(ONE, unary("sqrt", sub(1.0, mul(x, x)))),
    "acos": lambda x, y: div(-1.0, unary("sqrt", sub(1.0, mul(x, x)))),
    "atan": lambda x, y: div(ONE, add(1.0, mul(x, x))),
    "sinh": lambda x, y: unary("cosh", x),
    "cosh": lambda x, y: unary("sinh", x),
    "tanh": lambda x, y: sub(1.0, mul(y, y)),
    "asinh": lambda x, y: div(ONE, unary("sqrt", add(mul(x, x), 1.0))),
    "acosh": lambda x, y: div(ONE, unary("sqrt", sub(mul(x, x), 1.0))),
    "atanh": lambda x, y: div(ONE, sub(1.0, mul(x, x))),
    "sigmoid": lambda x, y: mul(y, sub(1.0, y)),
    "floor": None,
    "ceil": None,
    "round": None,
    "sign": None,
    "not": None,
    "detach": None,
}
"""Slope of each unary operator from its operand and its value; ``None`` where it is 0 almost everywhere."""


@_rule.register
def _(node: Unary, moves: Tangents) -> Expr | None:
    slope = _SLOPE[node.op]
    return None if slope is None else _times(slope(node.x, node), moves[0])


@_rule.register
def _(node: Binary, moves: Tangents) -> Expr | None:
    rule = _BINARY_RULES[node.op]
    return None if rule is None else rule(node, moves[0], moves[1])


def _linear(op: str) -> Callable[[Binary, Expr | None, Expr | None], Expr | None]:
    return lambda node, da, db: binary(op, da or ZERO, db or ZERO)


def _product(node: Binary, da: Expr | None, db: Expr | None) -> Expr | None:
    return _sum(_times(node.b, da), _times(node.a, db))


def _quotient(node: Binary, da: Expr | None, db: Expr | None) -> Expr | None:
    return div(sub(da or ZERO, mul(node, db or ZERO)), node.b)


def _power(node: Binary, da: Expr | None, db: Expr | None) -> Expr | None:
    a, b = node.a, node.b
    by_base = None
    if da is not None:
        if isinstance(b, Const):
            slope = mul(b, _integer_power(a, b.value - 1.0))
        else:
            slope = select(binary("eq", b, ZERO), ZERO, mul(b, binary("pow", a, sub(b, 1.0))))
        by_base = mul(slope, da)
    # a ** b moves with b only where the base is positive: elsewhere it is 0, or defined at integers alone
    growth = select(binary("gt", a, ZERO), mul(node, unary("log", a)), ZERO)
    return _sum(by_base, _times(growth, db))


def _integer_power(a: Expr, exponent: float) -> Expr:
    if exponent == 0.0:
        return ONE
    return a if exponent == 1.0 else binary("pow", a, exponent)


def _extremum(comparison: str) -> Callable[[Binary, Expr | None, Expr | None], Expr | None]:
    return lambda node, da, db: select(binary(comparison, node.a, node.b), da or ZERO, db or ZERO)


_BINARY_RULES: dict[str, Callable[[Binary, Expr | None, Expr | None], Expr | None] | None] = {
    "add": _linear("add"),
    "sub": _linear("sub"),
    "mul": _product,
    "div": _quotient,
    "pow": _power,
    "min": _extremum("le"),
    "max": _extremum("ge"),
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne", "and", "or")),
}


@_rule.register
def _(node: Select, moves: Tangents) -> Expr | None:
    if moves[1] is None and moves[2] is None:
        return None
    return select(node.condition, moves[1] or ZERO, moves[2] or ZERO)


@_rule.register
def _(node: Gather, moves: Tangents) -> Expr | None:
    move = moves[0]
    if move is None or move.shape == (1,):
        return move  # the same in all lanes, wherever they are picked from
    return gather(expanded(move, node.x.shape), node.index)


@_rule.register
def _(node: ScatterAdd, moves: Tangents) -> Expr | None:
    return None if moves[0] is None else scatter_add(expanded(moves[0], node.x.shape), node.index, node.lanes)


@_rule.register
def _(node: Concat, moves: Tangents) -> Expr | None:
    return Concat(*(expanded(m or ZERO, p.shape) for m, p in zip(moves, node.parts, strict=True)))


@_rule.register
def _(node: Columns, moves: Tangents) -> Expr | None:
    return Columns(*(m or ZERO for m in moves))


@_rule.register
def _(node: Assemble, moves: Tangents) -> Expr | None:
    if moves[0] is None:
        return None
    values = expanded(moves[0], (len(node.rows),))
    return Assemble(values, node.rows, node.columns, (node.shape[0], node.shape[1]))


@_rule.register
def _(node: MatVec, moves: Tangents) -> Expr | None:
    dx, dmatrix = moves
    by_x = None if dx is None else MatVec(expanded(dx, node.x.shape), node.matrix)
    by_matrix = None if dmatrix is None else MatVec(node.x, expanded(dmatrix, node.matrix.shape))
    return _sum(by_x, by_matrix)


@_rule.register
def _(node: Solve, moves: Tangents) -> Expr | None:
    dmatrix, db = moves
    right = db or ZERO
    if dmatrix is not None:
        right = sub(right, _matrix_times(expanded(dmatrix, node.matrix.shape), node))
    return Solve(node.matrix, expanded(right, node.b.shape))


def _matrix_times(matrix: Expr, y: Expr) -> Expr:
    """``sum_j matrix[i, j] * y[j]`` for the sums and multiples of assembled matrices that tangents consist of."""
    rows, columns = matrix.shape
    match matrix:
        case Assemble():
            values = expanded(matrix.values, (len(matrix.rows),))
            return scatter_add(mul(values, gather(y, matrix.columns)), matrix.rows, rows)
        case Unary(op="neg"):
            return neg(_matrix_times(matrix.x, y))
        case Binary(op="add" | "sub"):
            parts = (_matrix_times(expanded(p, matrix.shape), y) for p in (matrix.a, matrix.b))
            return binary(matrix.op, *parts)
        case Binary(op="mul" | "div") if matrix.b.shape in ((1,), (columns,)) and matrix.a.shape == matrix.shape:
            return _matrix_times(matrix.a, binary(matrix.op, y, matrix.b))
        case Binary(op="mul") if matrix.a.shape in ((1,), (columns,)):
            return _matrix_times(matrix.b, mul(y, matrix.a))
        case Select() if matrix.condition.shape == (1,):
            parts = (_matrix_times(expanded(p, matrix.shape), y) for p in (matrix.then, matrix.otherwise))
            return select(matrix.condition, *parts)
    raise TypeError(f"no product of a {type(matrix).__name__} matrix with a vector")


@_rule.register
def _(node: Interpolate, moves: Tangents) -> Expr | None:
    dx, dxs, dys = moves
    xs, ys = columns_of(node.xs), columns_of(node.ys)
    dxs_parts = columns_of(dxs) if dxs is not None else [ZERO] * len(xs)
    dys_parts = columns_of(dys) if dys is not None else [ZERO] * len(ys)
    result = dys_parts[-1]
    for k in reversed(range(len(xs) - 1)):
        width = sub(xs[k + 1], xs[k])
        slope = div(sub(ys[k + 1], ys[k]), width)
        steeper = sub(sub(dys_parts[k + 1], dys_parts[k]), mul(slope, sub(dxs_parts[k + 1], dxs_parts[k])))
        moved = add(dys_parts[k], mul(slope, sub(dx or ZERO, dxs_parts[k])))
        if steeper is not ZERO:
            moved = add(moved, mul(div(steeper, width), sub(node.x, xs[k])))
        result = select(binary("lt", node.x, xs[k + 1]), moved, result)
    return select(binary("lt", node.x, xs[0]), dys_parts[0], result)


def columns_of(matrix: Expr) -> list[Expr]:
    """Return the columns of a matrix ``(n, k)`` as ``k`` expressions of ``n`` lanes (or 1).

    Raises:
        TypeError: for a matrix whose columns cannot be told apart symbolically.
    """
    rows, count = matrix.shape
    match matrix:
        case Columns():
            return list(matrix.parts)
        case Assemble():
            values = expanded(matrix.values, (len(matrix.rows),))
            places = [np.flatnonzero(matrix.columns.array == k) for k in range(count)]
            return [
                scatter_add(_lanes(values, Index(p)), Index(matrix.rows.array[p]), rows) if len(p) else ZERO
                for p in places
            ]
        case Gather():
            parts = columns_of(matrix.x)
            return [parts[k] for k in matrix.index.array]
        case Unary():
            return [unary(matrix.op, part) for part in columns_of(matrix.x)]
        case Binary():
            pairs = zip(_column_parts(matrix.a, count), _column_parts(matrix.b, count), strict=True)
            return [binary(matrix.op, a, b) for a, b in pairs]
        case Select():
            parts3 = (_column_parts(x, count) for x in (matrix.condition, matrix.then, matrix.otherwise))
            return [select(c, a, b) for c, a, b in zip(*parts3, strict=True)]
    raise TypeError(f"no columns of a {type(matrix).__name__} matrix")


def _column_parts(x: Expr, count: int) -> list[Expr]:
    """Columns of an operand that broadcasts to ``count`` columns."""
    if len(x.shape) == 1:
        return [x] * count if x.size == 1 else [_lanes(x, Index([k])) for k in range(count)]
    parts = columns_of(x)
    return parts * count if len(parts) == 1 else parts
