"""Bounds are sound (no sample ever lies outside) and boxes are proved only where they hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.ir.build import ONE, add, binary, div, mul, select, sub, unary
from netc.ir.interpret import evaluate, simulate
from netc.ir.interval import bounds, environment_of
from netc.ir.invariant import state_box
from netc.ir.nodes import (
    BINARY,
    UNARY,
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
)
from netc.ir.program import Bounds, Coordinate, ParameterBlock, Program, StateBlock, Timing

X, Y = State("x", 3), State("y", 3)
CORNERS = Index(np.repeat(range(3), 3)), Index(np.tile(range(3), 3))
# a conductance matrix: diagonally dominant, negative off the diagonal
G = unary("abs", Y)
LAPLACIAN = Assemble(
    Concat(add(add(G, Gather(G, Index([1, 2, 0]))), 0.1), sub(0.0, G), sub(0.0, G)),
    Index([0, 1, 2, 0, 1, 2, 1, 2, 0]),
    Index([0, 1, 2, 1, 2, 0, 0, 1, 2]),
    (3, 3),
)
EXPRESSIONS = [
    *(unary(op, X) for op in UNARY),
    *(binary(op, X, Y) for op in BINARY),
    *(binary("pow", X, n) for n in (-3.0, -2.0, -1.0, 2.0, 3.0, 2.5, 0.5)),
    mul(X, X),
    mul(X, sub(1.0, X)),
    add(mul(unary("sigmoid", X), Y), div(sub(1.0, unary("sigmoid", X)), add(2.0, mul(Y, Y)))),
    add(mul(sub(1.0, X), Y), mul(X, 3.0)),
    div(unary("exp", X), add(unary("exp", X), mul(Y, Y))),
    select(binary("lt", X, Y), mul(X, Y), unary("sin", mul(5.0, X))),
    ScatterAdd(mul(X, Y), Index([0, 0, 1]), 2),
    MatVec(X, Columns(Y, mul(X, Y), ONE)),
    MatVec(Y, Assemble(mul(X, X), Index([0, 1, 2]), Index([1, 0, 0]), (3, 2))),
    Solve(LAPLACIAN, X),
    Interpolate(X, Columns(Const(-1.0), Const(0.5), Const(2.0)), Columns(Const(3.0), Const(-1.0), Const(0.5))),
]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_sample_lies_outside(data):
    numbers = st.floats(-4, 4).map(lambda x: round(x, 3))
    ends = {
        leaf: np.sort(np.array(data.draw(st.lists(numbers, min_size=6, max_size=6))).reshape(2, 3), axis=0)
        for leaf in (X, Y)
    }
    weights = np.random.default_rng(1).random((40, 3))
    weights[0], weights[1], weights[2] = 0.0, 1.0, 0.5
    samples = {
        leaf: np.clip(end[0] + weights[:: (1 if leaf is X else -1)] * (end[1] - end[0]), *end)
        for leaf, end in ends.items()
    }
    for expr in EXPRESSIONS:
        low, high = bounds(expr, {leaf: (end[0], end[1]) for leaf, end in ends.items()})
        assert low.shape == high.shape == expr.shape
        with np.errstate(all="ignore"):
            found = evaluate([expr], samples)[0]
        real = np.isfinite(found)
        slack = 1e-9 * (1 + np.abs(np.where(real, found, 0.0)))
        assert np.all((found >= low - slack) | ~real), expr
        assert np.all((found <= high + slack) | ~real), expr


def test_bounds_are_tight_where_it_matters():
    unbounded = {}
    assert [b.tolist() for b in bounds(unary("sigmoid", State("v")), unbounded)] == [[0.0], [1.0]]
    e = unary("exp", State("v"))
    assert [b.tolist() for b in bounds(div(1.0, add(1.0, e)), unbounded)] == [[0.0], [1.0]]
    assert [b.tolist() for b in bounds(div(e, add(2.0, e)), unbounded)] == [[0.0], [1.0]]
    assert [b.tolist() for b in bounds(mul(X, X), {X: (-1.0, 2.0)})] == [[0.0] * 3, [4.0] * 3]
    assert [b.tolist() for b in bounds(div(1.0, X), {X: (-1.0, 2.0)})] == [[-np.inf] * 3, [np.inf] * 3]
    mixed = add(mul(100.0, X), mul(16e3, sub(1.0, X)))
    assert [b.tolist() for b in bounds(mixed, {X: (0.0, 1.0)})] == [[100.0] * 3, [16e3] * 3]
    assert bounds(unary("exp", Const(1e4)), unbounded)[1] == np.inf
    low, high = bounds(Solve(LAPLACIAN, Concat(Const(1.0), Const(0.0), Const(0.0))), {Y: (1.0, 1.01)})
    assert np.all(low > 0)
    assert np.all(high < 20)
    # with the entries anywhere in wider bounds the matrix might be singular
    assert bounds(Solve(LAPLACIAN, Y), {Y: (1.0, 2.0)})[1].tolist() == [np.inf] * 3
    assert bounds(Time(), {})[1] == np.inf
    with pytest.raises(ValueError, match="'p'"):
        bounds(Parameter("p"), {})


def program(*states, parameters=(), timing=None):
    return Program("t", tuple(parameters), (), tuple(states), (), (), (), (), timing)


def block(name, lanes, derivative, initial=0.0):
    return StateBlock(name, "1", tuple(f"{name}{k}" for k in range(lanes)), Const(initial), derivative, ())


def switch(x, v, k):
    on, off = unary("sigmoid", v), unary("sigmoid", mul(-1.0, v))
    return sub(mul(sub(1.0, x), on), mul(x, sub(1.0, mul(k, off))))


def test_switches_stay_in_their_box_and_membranes_in_a_wider_one():
    v, x = State("v", 2), State("x", 2)
    membrane = block("v", 2, add(1.0, mul(add(x, 0.1), sub(3.0, v))))  # rests between 3.9 and 13, starts at 0
    found = state_box(program(membrane, block("x", 2, switch(x, v, Const(0.6)))))
    assert [b.tolist() for b in found["x"]] == [[0.0, 0.0], [1.0, 1.0]]
    assert [b.tolist() for b in found["v"]] == [[0.0] * 2, [20.0] * 2]


def test_a_box_is_widened_by_lane_and_with_what_rests_on_it():
    x, y, p = State("x", 2), State("y", 2), Parameter("p", 2)
    wrong = ParameterBlock("p", "model", "", np.array([0.6, 1.2]), ("a", "b"), ())
    states = block("x", 2, switch(x, State("v"), p)), block("y", 2, sub(x, y)), block("v", 1, ONE)
    # y is pulled to x: its box holds only where that of x does
    found = state_box(program(*states, parameters=[wrong]))
    for name in "xy":
        assert [b.tolist() for b in found[name]] == [[0.0, 0.0], [1.0, np.inf]]
    assert [b.tolist() for b in found["v"]] == [[-np.inf], [np.inf]]


def test_a_box_holds_the_start_and_sees_coupled_lanes():
    x = State("x", 2)
    assert state_box(program(block("x", 2, sub(0.5, x), initial=2.0)))["x"][1].tolist() == [2.0] * 2
    other = Gather(x, Index([1, 0]))
    # each lane is pushed down by the other even at 0; with both on one face at once that would go unseen
    assert state_box(program(block("x", 2, mul(-1.0, other))))["x"][0].tolist() == [-np.inf] * 2
    assert state_box(program(block("x", 2, sub(other, x))))["x"][0].tolist() == [0.0] * 2


@pytest.mark.parametrize("seed", range(5))
def test_runs_stay_in_their_boxes(seed):
    rng = np.random.default_rng(seed)
    x, v = State("x", 3), State("v", 3)
    leak = sub(mul(rng.uniform(0, 8), Gather(x, Index([2, 0, 1]))), mul(add(0.2, x), unary("sinh", v)))
    here = program(block("x", 3, switch(x, mul(4.0, v), Const(0.6)), 0.4), block("v", 3, leak, rng.uniform(-3, 3)))
    box = state_box(here)
    _, last = simulate(here, 0, 1e-3)
    assert np.isfinite(box["v"][1]).all()
    for _ in range(40):
        _, last = simulate(here, 50, 1e-3, state=last)
        for values, (low, high) in zip(last, (box["x"], box["v"]), strict=True):
            assert np.all((values >= low) & (values <= high))


def test_environment_of_spans_trained_bounds_and_time():
    trained = ParameterBlock("r", "R", "Ohm", np.array([2e3]), ("r1",), (), Bounds(1e3, 1e5, Coordinate.RECIPROCAL))
    here = program(parameters=[trained], timing=Timing(1e-5, 1e-2))
    leaf = Parameter("r")
    assert [float(b[0]) for b in environment_of(here)[leaf]] == [2e3, 2e3]
    assert [float(b[0]) for b in environment_of(here, over_bounds=True)[leaf]] == [1e3, 1e5]
    assert environment_of(here)[Time()][1] == 1e-2
