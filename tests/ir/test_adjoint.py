"""Adjoints against central differences of the interpreter, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from netc.ir.adjoint import adjoints
from netc.ir.build import ONE, ZERO, add, div, mul, unary
from netc.ir.interpret import evaluate
from netc.ir.nodes import (
    Assemble,
    Columns,
    Const,
    Entries,
    Index,
    Interpolate,
    MatVec,
    Outer,
    Parameter,
    ScatterAdd,
    Solve,
    Transpose,
    Unknown,
    postorder,
)
from tests.ir.test_derivative import ENVIRONMENT, EXPRESSIONS, FULL, P, X, numeric

NOUGHT = Index([0, 0, 0])
MORE = {
    "transpose": MatVec(mul(X, P), Transpose(FULL)),
    "outer": MatVec(X, Outer(mul(X, P), unary("sin", X))),
    "entries": Entries(FULL, Index([0, 2, 1, 2]), Index([1, 2, 0, 2])),
    "matrix plus lanes": MatVec(X, add(FULL, P)),
    "matrix times lane": MatVec(X, mul(FULL, ScatterAdd(P, NOUGHT, 1))),
    "solve transposed": Solve(Transpose(FULL), mul(X, X)),
    "one row of points": Interpolate(X, Columns(ZERO, Const(0.5), ONE), Columns(ZERO, ScatterAdd(P, NOUGHT, 1), ONE)),
}


@pytest.mark.parametrize("name", [*EXPRESSIONS, *MORE])
@pytest.mark.parametrize("leaf", [X, P], ids=["state", "parameter"])
def test_adjoint_matches_central_differences(name: str, leaf: Parameter) -> None:
    expr = {**EXPRESSIONS, **MORE}[name]
    expected = numeric(expr, leaf)
    weights = np.cos(np.arange(expr.size) + 0.3)
    seed = Unknown("seed", expr.size)
    found = adjoints({expr: seed}, [leaf])[leaf]
    assert found.shape in (leaf.shape, (1,))
    value = evaluate([found], ENVIRONMENT | {seed: weights[None]})[0]
    np.testing.assert_allclose(np.broadcast_to(value, (1, 3))[0], weights @ expected, rtol=2e-7, atol=2e-7)


def test_several_roots_add_up_and_share_what_they_read() -> None:
    y = unary("exp", X)
    roots = {mul(y, P): Unknown("a", 3), add(y, X): Unknown("b", 3)}
    found = adjoints(roots, [X, P])
    around = ENVIRONMENT | {Unknown("a", 3): np.array([[1.0, -2.0, 0.5]]), Unknown("b", 3): np.array([[0.3, 0.1, 2.0]])}
    by_x, by_p = evaluate([found[X], found[P]], around)
    x, p = ENVIRONMENT[X], ENVIRONMENT[P]
    a, b = around[Unknown("a", 3)], around[Unknown("b", 3)]
    np.testing.assert_allclose(by_x, (a * p + b) * np.exp(x) + b)
    np.testing.assert_allclose(by_p, a * np.exp(x))


def test_an_inner_expression_is_held_independent() -> None:
    y = unary("exp", X)
    found = adjoints({add(mul(y, P), X): ONE}, [y, X])
    assert found[y] is P
    assert found[X] is ONE


def test_what_no_root_reads_is_zero() -> None:
    assert adjoints({unary("exp", X): ONE}, [P])[P] is ZERO


def test_the_entries_of_an_assembled_matrix_cost_no_outer_product() -> None:
    weights = Assemble(div(1.0, P), Index([0, 1, 2]), Index([1, 0, 1]), (3, 2))
    found = adjoints({MatVec(X, weights): Unknown("s", 2)}, [P])[P]
    assert not any(isinstance(node, Outer) for node in postorder(found))


def test_a_solve_and_its_gradient_share_one_transposed_solve() -> None:
    found = adjoints({Solve(FULL, mul(X, P)): Unknown("s", 3)}, [X, P])
    assert len({node for node in postorder(*found.values()) if isinstance(node, Solve)} - {Solve(FULL, mul(X, P))}) == 1
