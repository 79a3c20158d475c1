"""Derivatives against central differences of the interpreter."""

import numpy as np
import pytest

from netc.ir import derivative
from netc.ir.build import ONE, ZERO, add, binary, div, mul, neg, scatter_add, select, sub, unary
from netc.ir.interpret import evaluate
from netc.ir.nodes import (
    Assemble,
    Columns,
    Concat,
    Const,
    Gather,
    Index,
    Interpolate,
    MatVec,
    Parameter,
    ScatterAdd,
    Solve,
    State,
    Time,
    Unknown,
)

X = State("x", 3)
P = Parameter("p", 3)
FULL = Assemble(
    Concat(mul(P, P), unary("cosh", X), add(X, 4.0)), Index(np.repeat(range(3), 3)), Index(np.tile(range(3), 3)), (3, 3)
)
ENVIRONMENT = {X: np.array([[0.31, 0.62, 0.47]]), P: np.array([1.3, 0.7, 2.1]), Time(): np.array([0.4])}
POINTS = Columns(Const(0.0), Const(0.4), add(mul(P, 0.1), 0.6)), Columns(P, Const(2.0), mul(P, P))

SMOOTH = [
    "neg",
    "exp",
    "log",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "atanh",
]
EXPRESSIONS = {
    **{op: unary(op, X) for op in SMOOTH},
    "acosh": unary("acosh", add(X, 1.5)),
    "abs": unary("abs", sub(X, 0.5)),
    "sigmoid": unary("sigmoid", div(sub(X, 0.5), 0.1)),
    "flat": mul(X, add(unary("floor", mul(X, 5.0)), unary("sign", sub(X, 0.4)))),
    "add": add(X, mul(P, X)),
    "sub": sub(unary("exp", X), mul(X, P)),
    "div": div(add(X, 1.0), add(mul(X, X), P)),
    "pow": binary("pow", X, P),
    "square": binary("pow", sub(X, 1.0), 2.0),
    "min": binary("min", X, sub(1.0, X)),
    "max": binary("max", mul(X, P), 0.5),
    "select": select(binary("lt", X, 0.5), mul(X, X), unary("exp", X)),
    "gather": Gather(mul(X, X), Index([2, 2, 0, 1])),
    "scatter": ScatterAdd(Gather(mul(X, P), Index([0, 1, 1, 2])), Index([1, 0, 1, 2]), 3),
    "concat": Concat(X, P, mul(X, Gather(X, Index([1, 0, 2])))),
    "matvec": MatVec(mul(X, X), FULL),
    "solve": Solve(FULL, mul(X, P)),
    "scaled solve": Solve(sub(mul(2.0, FULL), neg(FULL)), X),
    "interpolate": Interpolate(X, *POINTS),
    "columns": MatVec(Gather(X, Index([0, 1, 2])), Columns(X, ONE, mul(X, P))),
}


def numeric(expr, leaf):
    """Central differences ``(lanes of expr, lanes of leaf)``."""
    columns = []
    for k in range(leaf.size):
        step = np.zeros(leaf.size)
        step[k] = 1e-6
        high, low = (evaluate([expr], ENVIRONMENT | {leaf: ENVIRONMENT[leaf] + s * step})[0] for s in (1, -1))
        columns.append((np.broadcast_to(high - low, (1, *expr.shape) if high.ndim > 1 else expr.shape) / 2e-6).ravel())
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", EXPRESSIONS)
@pytest.mark.parametrize("leaf", [X, P], ids=["state", "parameter"])
def test_tangent_and_entries_match_central_differences(name, leaf):
    expr = EXPRESSIONS[name]
    expected = numeric(expr, leaf)
    seed = Unknown("seed", leaf.size)
    moved = derivative.tangent(expr, {leaf: seed})
    directions = np.array([[1.0, -0.3, 0.7]])
    found = np.broadcast_to(evaluate([moved], ENVIRONMENT | {seed: directions})[0], (1, expr.size))
    np.testing.assert_allclose(found[0], expected @ directions[0], rtol=2e-7, atol=2e-7)

    dense = np.zeros_like(expected)
    for rows, columns, values in derivative.jacobian_entries(expr, leaf):
        assert values.shape == (len(rows),)
        np.add.at(dense, (rows.array, columns.array), evaluate([values], ENVIRONMENT)[0].ravel())
    np.testing.assert_allclose(dense, expected, rtol=2e-7, atol=2e-7)
    if expr.shape == leaf.shape:
        found = evaluate([derivative.diagonal(expr, leaf)], ENVIRONMENT)[0]
        np.testing.assert_allclose(np.broadcast_to(found, (1, 3))[0], np.diag(expected), rtol=2e-7, atol=2e-7)


def test_diagonal_of_a_scatter_of_a_gather_sums_where_lanes_meet():
    index = Index([0, 0, 1, 2, 2, 2])
    g = Parameter("g", 6)
    found = derivative.diagonal(scatter_add(mul(g, Gather(X, index)), index, 3), X)
    assert evaluate([found], {g: np.arange(6.0)})[0].ravel().tolist() == [1.0, 2.0, 12.0]


def test_a_feed_forward_coupling_costs_one_tangent_a_layer():
    matrix = Parameter("g", 6)
    weights = Assemble(matrix, Index(np.repeat(range(3), 2)), Index(np.tile(range(2), 3)), (3, 2))
    v = State("v", 5)
    current = Concat(mul(-1.0, Gather(v, Index([0, 1, 2]))), MatVec(Gather(v, Index([0, 1, 2])), weights))
    expr = sub(current, mul(v, v))
    assert [g.tolist() for g in derivative.diagonal_groups(derivative.dependence(expr, v))] == [[0, 1, 2], [3, 4]]
    found = evaluate([derivative.diagonal(expr, v)], {matrix: np.ones(6), v: np.arange(5.0)[None]})[0]
    assert found.ravel().tolist() == [-1.0, -3.0, -5.0, -6.0, -8.0]


def test_time_derivative_and_what_does_not_move():
    sine = mul(2.0, unary("sin", mul(3.0, Time())))
    found = evaluate([derivative.time_derivative(sine)], ENVIRONMENT)[0]
    assert found == pytest.approx(6 * np.cos(1.2))
    ramp = Interpolate(Time(), Columns(Const(0.0), Const(0.3), Const(0.5)), Columns(Const(0.0), Const(1.0), Const(0.0)))
    slopes = [evaluate([derivative.time_derivative(ramp)], {Time(): np.array([t])})[0][0] for t in (-1, 0.1, 0.4, 2)]
    assert slopes == pytest.approx([0.0, 1 / 0.3, -5.0, 0.0])
    assert derivative.tangent(mul(P, P), {X: ONE}) is ZERO
    assert derivative.tangent(unary("floor", X), {X: ONE}) is ZERO
    assert derivative.diagonal(P, X) is ZERO


def test_kinks_take_the_side_documented():
    at_zero = {X: np.zeros((1, 3))}
    assert evaluate([derivative.tangent(unary("abs", X), {X: ONE})], at_zero)[0].tolist() == [[0.0] * 3]
    tie = binary("min", X, mul(3.0, X))
    assert np.all(evaluate([derivative.tangent(tie, {X: ONE})], at_zero)[0] == 1.0)
    assert np.all(evaluate([derivative.tangent(binary("pow", X, 2.0), {X: ONE})], at_zero)[0] == 0.0)


def test_an_unknown_node_raises():
    odd = object.__new__(type("Odd", (derivative.Expr,), {"__slots__": ()}))
    odd.shape = (1,)
    with pytest.raises(TypeError, match="no derivative of Odd"):
        derivative.tangent(odd, {X: ONE})
