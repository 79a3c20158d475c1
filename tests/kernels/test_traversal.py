"""Neighbouring lanes and grids: what moves where, and how loops over lanes are cut."""

from __future__ import annotations

import numpy as np
import pytest

from netc.ir.build import add, gather, mul, neg, scatter_add, sub, unary
from netc.ir.interpret import evaluate
from netc.ir.nodes import Expr, Gather, Index, Parameter, ScatterAdd, State, postorder
from netc.kernels.shifts import shifted
from netc.kernels.text import Tables
from netc.kernels.traversal import Walk, walks

X, Y, P = State("x", 5), State("y", 4), Parameter("p", 5)


def is_fixed(expr: Expr) -> bool:
    return not any(isinstance(node, State) for node in postorder(expr))


def below(expr: Expr) -> list[Expr]:
    """Return what is gathered or scattered besides fixed values."""
    return [n.x for n in postorder(expr) if isinstance(n, Gather | ScatterAdd) and not is_fixed(n)]


def test_neighbours_are_read_where_they_are_and_values_stay_the_same() -> None:
    ahead, behind = Index(np.arange(1, 5)), Index(np.arange(4))
    current = mul(gather(P, behind), sub(gather(X, behind), gather(X, ahead)))
    chains = [
        add(X, sub(scatter_add(current, ahead, 5), scatter_add(current, behind, 5))),
        gather(scatter_add(neg(Y), ahead, 5), Index(np.array([1, 2, 3]))),
        scatter_add(mul(gather(mul(P, X), ahead), Y), behind, 5),
    ]
    values = {X: np.arange(5.0) ** 2 + 1, Y: np.array([0.5, -2.0, 3.0, 1.0]), P: np.linspace(1, 3, 5)}
    for chain, moved in zip(chains, shifted(chains, is_fixed), strict=True):
        leaves = [x.x if isinstance(x, Gather) else x for x in below(moved)]
        assert moved is not chain and all(isinstance(x, State) for x in leaves)
        have, want = evaluate([moved, chain], values)
        np.testing.assert_allclose(have, want, rtol=1e-14)


def test_what_is_costly_or_scattered_wildly_stays() -> None:
    costly = gather(unary("exp", X), Index(np.array([1, 2, 3])))
    wild = gather(mul(P, X), Index(np.array([4, 1, 3, 0, 2])))
    several = scatter_add(mul(P, X), Index(np.array([0, 0, 1, 1, 2])), 3)
    assert shifted([costly, wild, several], is_fixed) == [costly, wild, several]


@pytest.mark.parametrize(
    ("maps", "parts"),
    [
        ([], [Walk(0, 6)]),
        ([[-1, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, -1]], [Walk(0, 1), Walk(1, 5), Walk(5, 6)]),
        ([[5, 0, 4, 1, 3, 2]], [Walk(0, 6)]),
        ([[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]], [Walk(0, 6, 3)]),
    ],
)
def test_a_loop_is_cut_where_that_saves_tables(maps: list[list[int]], parts: list[Walk]) -> None:
    places = [np.array(one) for one in maps]
    assert walks(6, places) == parts
    for part in parts:
        for one in places:
            lanes = range(part.start, part.stop)
            text, tables = part.at(one, Tables()), Tables()
            assert text == part.at(one, tables)
            given = dict(tables.arrays.values())
            for lane in lanes:
                at = {
                    "i": lane % part.columns if part.columns else lane,
                    "r": lane // part.columns if part.columns else 0,
                }
                found = eval(text, {}, {**given, **at}) if text else -1
                assert found == one[lane]
