from dataclasses import replace

import numpy as np
import pytest

from netc.ir import build
from netc.ir.interpret import evaluate
from netc.ir.linear import Nonlinear, linear_form
from netc.ir.nodes import (
    Assemble,
    Concat,
    Const,
    Expr,
    Gather,
    Index,
    MatVec,
    Parameter,
    ScatterAdd,
    Slot,
    State,
    Unary,
    Unknown,
)
from netc.ir.printer import format_expr, format_program
from netc.ir.program import Observable, Program
from netc.ir.verify import verify
from tests.ir.test_interpret import rc_program
from tests.optimise.circuits import sensed_network

EXPECTED = """\
program "rc"
parameter r_1 (2) R ohm: r1, r2
  values = 1000, 2000
parameter c_1 (2) C F: c1, c2
  values = 0.001, 0.001
input in (2) amplitude: vin1, vin2
state v_1 (2) V: a, b
  initial = 0.5
  derivative = (in * sin(time) - v_1) / (r_1 * c_1)
state v_2 (1) V: c
  initial = 0
  derivative = cos(time) - v_2
observable v (2) V: a, b
  value = v_1
observable w (2) V: c, t
  value = concat(v_2, time)
outputs a
"""


def test_a_program_as_text():
    assert format_program(rc_program()) == EXPECTED


def test_shared_expressions_places_and_algebraic_blocks():
    text = format_program(sensed_network(30, 8))
    assert "unknown isense (16): isense0, isense1, isense2, ..., isense15  # deck.cir:50 and 15 more" in text
    assert "each of [0..29] 16 times" in text
    assert format_program(sensed_network(30, 8)) == text


def test_precedence_patterns_and_depth():
    a, b = State("a", 1), State("b", 1)
    assert format_expr(build.sub(a, build.sub(b, build.mul(a, build.add(a, b))))) == "a - (b - a * (a + b))"
    assert format_expr(build.div(build.neg(a), build.mul(a, build.neg(b)))) == "-a / (a * -b)"
    assert format_expr(build.neg(build.add(a, b))) == "-(a + b)"
    x = State("x", 100)
    assert format_expr(Gather(x, Index(np.arange(0, 100, 2)))) == "gather(x, [0..98 by 2])"
    irregular = Index(np.random.default_rng(0).permutation(100))
    assert format_expr(Gather(x, irregular)).endswith("(100))")
    deep: Expr = a
    for _ in range(5000):
        deep = Unary("tanh", deep)
    assert format_expr(deep).count("tanh") == 5000


def test_titles_cannot_drive_a_terminal():
    assert "\x1b" not in format_program(replace(rc_program(), title="a\x1b[2J\nb"))


def test_verify_accepts_what_is_sound():
    verify(rc_program())
    verify(sensed_network())


def with_derivative(expr: Expr) -> Program:
    program = rc_program()
    return replace(program, states=(replace(program.states[0], derivative=expr), *program.states[1:]))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (with_derivative(State("nope", 2)), "State 'nope'.*declared as None"),
        (with_derivative(Parameter("r_1", 3)), "shape"),
        (with_derivative(Gather(Parameter("r_1", 2), Index([0, 2]))), "index from 0 to 2 into 2"),
        (with_derivative(ScatterAdd(Parameter("r_1", 2), Index([0, 1, 1]), 2)), "2 lanes where 3"),
        (with_derivative(Slot("value", 0)), "slot value 0"),
        (with_derivative(Unknown("u", 2)), "Unknown 'u'"),
        (with_derivative(Concat(Const(1.0), Const(2.0), Const(3.0))), "shape"),
        (
            with_derivative(
                MatVec(Parameter("r_1", 2), Assemble(Parameter("c_1", 2), Index([0, 5]), Index([0, 1]), (2, 2)))
            ),
            "index from 0 to 5",
        ),
        (replace(rc_program(), outputs=("nope",)), "output 'nope'"),
        (
            replace(rc_program(), observables=(Observable("o", "V", ("a", "a"), State("v_1", 2)),)),
            "signal 'a' occurs twice",
        ),
    ],
)
def test_verify_refuses(program: Program, message: str):
    with pytest.raises(ValueError, match=message):
        verify(program)


def affine_cases() -> list[Expr]:
    u, w = Unknown("u", 3), Unknown("w", 1)
    p, s = Parameter("p", 3), State("s", 3)
    i, j = Index([2, 0, 0, 1]), Index([1, 1, 0, 2])
    spread = ScatterAdd(build.mul(Gather(p, j), build.sub(Gather(u, i), Gather(s, j))), j, 3)
    return [
        u,
        build.sub(build.mul(p, build.sub(s, u)), build.div(u, build.add(s, 4.0))),
        build.add(spread, w),
        build.neg(build.mul(build.sub(w, s), p)),
        Concat(w, build.add(u, w), Const(2.0)),
        build.select(build.binary("gt", s, 0.0), build.mul(2.0, u), build.sub(1.0, w)),
        Gather(Gather(build.add(build.add(u, u), w), i), Index([3, 3, 1])),
        ScatterAdd(w, j, 3),
        build.mul(p, s),
    ]


@pytest.mark.parametrize("case", range(len(affine_cases())))
def test_linear_forms_evaluate_to_the_expression(case: int):
    expr = affine_cases()[case]
    random = np.random.default_rng(case)
    here = {leaf: random.normal(size=leaf.shape) for leaf in (Unknown("u", 3), Unknown("w", 1), State("s", 3))}
    here[Parameter("p", 3)] = random.normal(size=3)
    form = linear_form(expr, {"u", "w"})
    result = np.broadcast_to(evaluate([form.remainder], here)[0], (form.lanes,)).copy()
    values = {"u": here[Unknown("u", 3)], "w": here[Unknown("w", 1)]}
    for e in form.entries:
        coefficient = np.broadcast_to(evaluate([e.coefficient], here)[0], len(e.rows))
        np.add.at(result, e.rows.array, coefficient * values[e.unknown][e.columns.array])
    np.testing.assert_allclose(result, evaluate([expr], here)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", ["exp", "abs", "mul", "div", "select"])
def test_what_is_not_affine_is_refused(op: str):
    u = Unknown("u", 2)
    bad = {
        "exp": Unary("exp", u),
        "abs": Unary("abs", u),
        "mul": build.mul(u, u),
        "div": build.div(1.0, u),
        "select": build.select(u, 1.0, 2.0),
    }[op]
    with pytest.raises(Nonlinear) as error:
        linear_form(build.add(u, bad), {"u"})
    assert error.value.expr is bad
