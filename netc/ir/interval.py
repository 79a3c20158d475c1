"""Interval arithmetic over expressions.

A bound is never too narrow but for rounding; it may be infinite.  Real numbers are meant: what overflows is
bounded by infinity, and ``0`` times anything is ``0``.  Functions are bounded over the part of the interval
on which they are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from netc.ir.build import ONE
from netc.ir.implicit import Newton
from netc.ir.network import Response, response
from netc.ir.nodes import (
    BINARY,
    UNARY,
    Assemble,
    Binary,
    Columns,
    Concat,
    Const,
    Expr,
    Gather,
    Input,
    Interpolate,
    MatVec,
    Parameter,
    ScatterAdd,
    Select,
    Solve,
    State,
    Time,
    TimeStep,
    Unary,
    Unknown,
    postorder,
)
from netc.ir.program import Program

Array = np.ndarray[Any, np.dtype[Any]]  # float64
Interval = tuple[Array, Array]
"""Lower and upper bound of every lane."""

Lookup = Callable[[Expr], Interval]
"""Gives the bounds of anything below a node."""

_LARGEST = np.finfo(np.float64).max


def bounds(expr: Expr, environment: Mapping[Expr, Any]) -> Interval:
    """Return lower and upper bounds of ``expr``, of its shape, see :func:`bounds_of`."""
    return bounds_of((expr,), environment)[0]


def bounds_of(expressions: Sequence[Expr], environment: Mapping[Expr, Any]) -> list[Interval]:
    """Return bounds of each of ``expressions``, visiting what they share once.

    Args:
        expressions: roots.
        environment: ``(lower, upper)`` of leaves, arrays or numbers that broadcast to the leaf's lanes, and of
            other expressions whose bounds are known already.  A state or unknown that is missing is unbounded, an
            input is within 0..1, time is 0 or more.

    Raises:
        ValueError: for a parameter without bounds.
        TypeError: for a node without a rule.
    """
    known: dict[int, Interval] = {}

    def tidied(node: Expr, found: tuple[Any, Any]) -> Interval:
        lower, upper = (np.broadcast_to(np.asarray(x, dtype=np.float64), node.shape) for x in found)
        known[id(node)] = _tidy(lower, upper)
        return known[id(node)]

    def of(node: Expr) -> Interval:
        found = known.get(id(node))
        if found is None and node not in environment:
            visit(node)  # a part of something whose bounds were given
            return known[id(node)]
        return tidied(node, environment[node]) if found is None else found

    def visit(*roots: Expr) -> None:
        for node in postorder(*roots, known=environment):
            if id(node) not in known:
                found = _leaf(node)
                tidied(node, _rule(node, of) if found is None else found)

    with np.errstate(all="ignore"):
        visit(*expressions)
        return [of(e) for e in expressions]


def unmoved(
    expressions: Sequence[Expr], environment: Mapping[Expr, Any], moving: Container[Expr]
) -> dict[Expr, Interval]:
    """Return bounds of the largest parts of ``expressions`` that read none of the leaves ``moving``.

    Added to the environment, they need not be found again each time that ``moving`` have other bounds.
    """
    moved: set[Expr] = set()
    parts: dict[Expr, None] = {}
    for node in postorder(*expressions):
        if node in moving or not moved.isdisjoint(node.children):
            moved.add(node)
    for node in [*moved]:
        parts.update(dict.fromkeys(c for c in node.children if c not in moved and c.children))
    return dict(zip(parts, bounds_of([*parts], environment), strict=True))


def environment_of(
    program: Program,
    *,
    values: Mapping[str, Any] | None = None,
    over_bounds: bool = False,
    inputs: tuple[Any, Any] = (0.0, 1.0),
) -> dict[Expr, Interval]:
    """Return bounds of all leaves of ``program`` but its states.

    Args:
        program: where parameters, inputs and the stop time come from.
        values: physical values by parameter block that replace the program's own.
        over_bounds: let every trained parameter be anywhere within its bounds.
        inputs: bounds of every input.
    """
    result: dict[Expr, Interval] = {}
    for block in program.parameters:
        value = np.asarray((values or {}).get(block.name, block.values), dtype=np.float64)
        lower = upper = value
        if over_bounds and block.trained is not None:
            lower = np.minimum(value, block.trained.minimum)
            upper = np.maximum(value, block.trained.maximum)
        result[Parameter(block.name, len(value))] = (lower, upper)
    for driven in program.inputs:
        low, high = (np.broadcast_to(np.asarray(x, dtype=np.float64), (driven.size,)) for x in inputs)
        result[Input(driven.name, driven.size)] = (low, high)
    stop = program.timing.tstop if program.timing else np.inf
    result[Time()] = (np.zeros(1), np.array([stop]))
    return result


def _leaf(node: Expr) -> tuple[Any, Any] | None:
    match node:
        case Const():
            return node.value, node.value
        case State() | Unknown():
            return -np.inf, np.inf
        case Input():
            return 0.0, 1.0
        case Time() | TimeStep():
            return 0.0, np.inf
        case Newton():
            return -np.inf, np.inf
        case Parameter():
            raise ValueError(f"no bounds for parameter {node.name!r}")
    return None


def _tidy(lower: Array, upper: Array) -> Interval:
    """Undefined bounds become infinite; a lower bound is never +infinity (overflow is meant), nor an upper -."""
    lower = np.where(np.isnan(lower), -np.inf, np.minimum(lower, _LARGEST))
    upper = np.where(np.isnan(upper), np.inf, np.maximum(upper, -_LARGEST))
    return lower, upper


def _hull(*candidates: Array) -> Interval:
    stacked = np.stack(np.broadcast_arrays(*candidates))
    return stacked.min(axis=0), stacked.max(axis=0)


def _times(a: Array, b: Array) -> Array:
    product = a * b
    return np.where((a == 0) | (b == 0), 0.0, product)


def _multiply(a: Interval, b: Interval) -> Interval:
    return _hull(*(_times(x, y) for x in a for y in b))


@singledispatch
def _rule(node: Expr, of: Lookup) -> Interval:
    raise TypeError(f"no bounds of {type(node).__name__}")


_INCREASING = frozenset(
    {"exp", "log", "sqrt", "asin", "atan", "sinh", "tanh", "asinh", "acosh", "atanh", "floor", "ceil", "round", "sign"}
    | {"sigmoid", "detach"}
)
_DOMAIN = {
    "log": (0.0, np.inf),
    "sqrt": (0.0, np.inf),
    "asin": (-1.0, 1.0),
    "acos": (-1.0, 1.0),
    "acosh": (1.0, np.inf),
    "atanh": (-1.0, 1.0),
}


@_rule.register
def _(node: Unary, of: Lookup) -> Interval:
    low, high = of(node.x)
    function = UNARY[node.op]
    if node.op in _DOMAIN:
        # where nothing of the interval is in the domain the clipped ends are both its border
        low, high = np.clip(low, *_DOMAIN[node.op]), np.clip(high, *_DOMAIN[node.op])
    if node.op in _INCREASING:
        return function(low), function(high)
    match node.op:
        case "neg":
            return -high, -low
        case "acos":
            return function(high), function(low)
        case "abs" | "cosh":
            a, b = function(low), function(high)
            return np.where((low <= 0) & (high >= 0), function(0.0), np.minimum(a, b)), np.maximum(a, b)
        case "sin":
            return _cosine(low - np.pi / 2, high - np.pi / 2)
        case "cos":
            return _cosine(low, high)
        case "tan":
            whole = ~(np.floor(low / np.pi - 0.5) == np.floor(high / np.pi - 0.5)) | ~(high - low < np.pi)
            return np.where(whole, -np.inf, np.tan(low)), np.where(whole, np.inf, np.tan(high))
        case "not":
            return _truth((low == 0) & (high == 0), (low > 0) | (high < 0))
    raise TypeError(f"no bounds of the operator {node.op!r}")


def _cosine(low: Array, high: Array) -> Interval:
    ends = _hull(np.cos(low), np.cos(high))
    turn = 2 * np.pi
    unbounded = ~np.isfinite(high - low)
    crest = unbounded | (np.floor(high / turn) >= np.ceil(low / turn))
    trough = unbounded | (np.floor((high - np.pi) / turn) >= np.ceil((low - np.pi) / turn))
    return np.where(trough, -1.0, ends[0]), np.where(crest, 1.0, ends[1])


def _truth(surely: Array, never: Array) -> Interval:
    """Bounds of a value that is 1 where ``surely`` and 0 where ``never``."""
    return np.where(surely, 1.0, 0.0), np.where(never, 0.0, 1.0)


@_rule.register
def _(node: Binary, of: Lookup) -> Interval:
    a, b = of(node.a), of(node.b)
    if node.op == "mul" and node.a is node.b:
        return _square(a)
    if node.op == "mul" and (_is_complement(node.b, node.a) or _is_complement(node.a, node.b)):
        low, high = a
        crest = np.where((low <= 0.5) & (high >= 0.5), 0.25, -np.inf)
        ends = _hull(_times(low, 1 - low), _times(high, 1 - high))
        return ends[0], np.maximum(ends[1], crest)
    if node.op == "div" and isinstance(node.b, Binary) and node.b.op == "add" and node.a in (node.b.a, node.b.b):
        share = _share(a, of(node.b.b if node.b.a is node.a else node.b.a))
        if share is not None:
            return share
    low, high = _BINARY_RULES[node.op](a, b)
    if node.op == "add":
        for first, second in ((node.a, node.b), (node.b, node.a)):
            blend = _blend(first, second, of)
            if blend is not None:
                return np.maximum(low, blend[0]), np.minimum(high, blend[1])
    return low, high


def _blend(first: Expr, second: Expr, of: Lookup) -> Interval | None:
    """``p * t + q * (1 - t)`` with ``t`` within 0..1 lies between ``p`` and ``q``: what mixes Ron and Roff."""
    for t, p in _weights(first, of):
        for rest, q in _weights(second, of):
            if not _is_complement(rest, t):
                continue
            weight = of(t)
            if (weight[0] < 0).any() or (weight[1] > 1).any():
                return None
            low, high = ([_times(p[k], w) + _times(q[k], 1 - w) for w in weight] for k in (0, 1))
            return np.minimum(*low), np.maximum(*high)
    return None


def _weights(product: Expr, of: Lookup) -> list[tuple[Expr, Interval]]:
    """Factors of a product or numerator of a quotient, each with the bounds of the rest; a bare term has 1."""
    one = (np.ones(1), np.ones(1))
    match product:
        case Binary(op="mul"):
            return [(product.a, of(product.b)), (product.b, of(product.a)), (product, one)]
        case Binary(op="div"):
            return [(product.a, _divide(one, of(product.b))), (product, one)]
    return [(product, one)]


def _is_complement(x: Expr, of: Expr) -> bool:
    """Whether ``x`` is ``1 - of``."""
    return isinstance(x, Binary) and x.op == "sub" and x.a is ONE and x.b is of


def _square(a: Interval) -> Interval:
    low, high = a
    ends = _hull(low * low, high * high)
    return np.where((low <= 0) & (high >= 0), 0.0, ends[0]), ends[1]


def _share(a: Interval, other: Interval) -> Interval | None:
    """``a / (a + other)`` with neither negative is within 0..1, which forgetting that ``a`` recurs would lose."""
    if (a[0] < 0).any() or (other[0] < 0).any() or ((a[0] == 0) & (other[0] == 0)).any():
        return None
    low, high = 1 / (1 + other[1] / a[0]), 1 / (1 + other[0] / a[1])
    return np.where(np.isnan(low), 0.0, low), np.where(np.isnan(high), 1.0, high)


def _divide(a: Interval, b: Interval) -> Interval:
    finite = np.isfinite(a[0]) & np.isfinite(a[1]) & np.isfinite(b[0]) & np.isfinite(b[1])
    direct = _hull(*(x / y for x in a for y in b))
    through_reciprocal = _multiply(a, (1 / b[1], 1 / b[0]))
    low, high = (np.where(finite, x, y) for x, y in zip(direct, through_reciprocal, strict=True))
    through = (b[0] <= 0) & (b[1] >= 0)
    return np.where(through, -np.inf, low), np.where(through, np.inf, high)


def _power(a: Interval, b: Interval) -> Interval:
    a = a[0] + 0.0, a[1] + 0.0  # no negative zeros, whose odd powers have the wrong sign of infinity
    corners = _hull(*(np.power(x, y) for x in a for y in b))
    whole = (b[0] == b[1]) & (b[0] == np.rint(b[0]))
    even = whole & (np.mod(b[0], 2) == 0)
    negative, around = a[0] < 0, (a[0] < 0) & (a[1] >= 0)
    low = np.where(around & even, np.minimum(corners[0], 0.0), corners[0])
    lost = (negative & ~whole) | (around & whole & (b[0] < 0))
    return np.where(lost, -np.inf, low), np.where(lost, np.inf, corners[1])


def _compare(op: str) -> Callable[[Interval, Interval], Interval]:
    def rule(a: Interval, b: Interval) -> Interval:
        if op in ("gt", "ge"):
            a, b = b, a
        surely, never = (a[1] < b[0], a[0] >= b[1]) if op in ("lt", "gt") else (a[1] <= b[0], a[0] > b[1])
        return _truth(surely, never)

    return rule


def _equal(a: Interval, b: Interval) -> Interval:
    return _truth((a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0]), (a[1] < b[0]) | (b[1] < a[0]))


def _different(a: Interval, b: Interval) -> Interval:
    low, high = _equal(a, b)
    return 1 - high, 1 - low


def _logical(op: str) -> Callable[[Interval, Interval], Interval]:
    def rule(a: Interval, b: Interval) -> Interval:
        truths = [_truth((x[0] > 0) | (x[1] < 0), (x[0] == 0) & (x[1] == 0)) for x in (a, b)]
        return BINARY[op](truths[0][0], truths[1][0]), BINARY[op](truths[0][1], truths[1][1])

    return rule


_BINARY_RULES: dict[str, Callable[[Interval, Interval], Interval]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "mul": _multiply,
    "div": _divide,
    "pow": _power,
    "min": lambda a, b: (np.minimum(a[0], b[0]), np.minimum(a[1], b[1])),
    "max": lambda a, b: (np.maximum(a[0], b[0]), np.maximum(a[1], b[1])),
    **{op: _compare(op) for op in ("lt", "le", "gt", "ge")},
    "eq": _equal,
    "ne": _different,
    "and": _logical("and"),
    "or": _logical("or"),
}


@_rule.register
def _(node: Select, of: Lookup) -> Interval:
    condition, then, otherwise = of(node.condition), of(node.then), of(node.otherwise)
    taken = (condition[0] > 0) | (condition[1] < 0)
    skipped = (condition[0] == 0) & (condition[1] == 0)
    low = np.where(taken, then[0], np.where(skipped, otherwise[0], np.minimum(then[0], otherwise[0])))
    high = np.where(taken, then[1], np.where(skipped, otherwise[1], np.maximum(then[1], otherwise[1])))
    return low, high


@_rule.register
def _(node: Gather, of: Lookup) -> Interval:
    low, high = of(node.x)
    return low[..., node.index.array], high[..., node.index.array]


@_rule.register
def _(node: ScatterAdd, of: Lookup) -> Interval:
    where: Any = (..., node.index.array)
    return _accumulate(of(node.x), node.shape, where, (*node.x.shape[:-1], len(node.index)))


@_rule.register
def _(node: Assemble, of: Lookup) -> Interval:
    return _accumulate(of(node.values), node.shape, (node.rows.array, node.columns.array), (len(node.rows),))


def _accumulate(x: Interval, shape: tuple[int, ...], where: Any, terms: tuple[int, ...]) -> Interval:
    sums = np.zeros(shape), np.zeros(shape)
    for total, part in zip(sums, x, strict=True):
        np.add.at(total, where, np.broadcast_to(part, terms))
    return sums


@_rule.register
def _(node: Concat, of: Lookup) -> Interval:
    parts = [of(p) for p in node.parts]
    return np.concatenate([p[0] for p in parts], axis=-1), np.concatenate([p[1] for p in parts], axis=-1)


@_rule.register
def _(node: Columns, of: Lookup) -> Interval:
    low, high = ([np.broadcast_to(of(p)[k], node.shape[:1]) for p in node.parts] for k in (0, 1))
    return np.stack(low, axis=-1), np.stack(high, axis=-1)


@_rule.register
def _(node: MatVec, of: Lookup) -> Interval:
    return _product_sum(of(node.x), of(node.matrix))


def _product_sum(x: Interval, matrix: Interval) -> Interval:
    """Bounds of ``sum_i x[i] * matrix[i, j]``: two products by sign where one factor is a number, else by terms."""
    finite = all(np.isfinite(part).all() for part in (*x, *matrix))
    if finite and np.array_equal(matrix[0], matrix[1]):
        positive, negative = np.maximum(matrix[0], 0), np.minimum(matrix[0], 0)
        return x[0] @ positive + x[1] @ negative, x[1] @ positive + x[0] @ negative
    if finite and np.array_equal(x[0], x[1]):
        positive, negative = np.maximum(x[0], 0), np.minimum(x[0], 0)
        return positive @ matrix[0] + negative @ matrix[1], positive @ matrix[1] + negative @ matrix[0]
    low, high = _multiply((x[0][:, None], x[1][:, None]), matrix)
    return low.sum(axis=0), high.sum(axis=0)


@_rule.register
def _(node: Solve, of: Lookup) -> Interval:
    (low, high), b = of(node.matrix), of(node.b)
    unknown = np.full(node.shape, -np.inf), np.full(node.shape, np.inf)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return unknown
    try:
        ends = np.linalg.inv(high), np.linalg.inv(low)
    except np.linalg.LinAlgError:
        return unknown
    if np.array_equal(low, high):
        inverse = ends[0], ends[0]
    elif (ends[0] >= 0).all() and (ends[1] >= 0).all():
        # Kuttler (1971): between two matrices with non-negative inverses, inverses lie between those two;
        # conductance matrices are of this kind
        inverse = ends
    else:
        return unknown
    return _product_sum(b, (inverse[0].T, inverse[1].T))


@_rule.register
def _(node: Interpolate, of: Lookup) -> Interval:
    (low, high), xs, ys = of(node.x), of(node.xs), of(node.ys)
    n = node.shape[0]
    lower, upper = np.empty(n), np.empty(n)
    if not np.array_equal(xs[0], xs[1]):
        lower[:], upper[:] = ys[0].min(axis=-1), ys[1].max(axis=-1)
        return lower, upper
    low, high = np.broadcast_to(low, (n,)), np.broadcast_to(high, (n,))
    for lane in range(n):
        points, below_y, above_y = (m[min(lane, len(m) - 1)] for m in (xs[0], *ys))
        inside = (points >= low[lane]) & (points <= high[lane])
        ends = [low[lane], high[lane]]
        lower[lane] = min(*np.interp(ends, points, below_y), below_y[inside].min(initial=np.inf))
        upper[lane] = max(*np.interp(ends, points, above_y), above_y[inside].max(initial=-np.inf))
    return lower, upper


@_rule.register
def _(node: Response, of: Lookup) -> Interval:
    """Exact for numbers; what lies between two networks is not bounded."""
    (low, high), (weak, strong) = of(node.values), of(node.feeds)
    if np.array_equal(low, high) and np.array_equal(weak, strong):
        found = response(node, low, weak)
        return found, found
    return np.full(node.shape, -np.inf), np.full(node.shape, np.inf)
