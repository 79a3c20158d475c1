"""Blocks that are not linear in their unknowns: solved, differentiated, warm from step to step, in every back end."""

import numpy as np
import pytest
import torch
from scipy.optimize import fsolve

from netc.diagnostics import NetcError
from netc.ir import build
from netc.ir.implicit import Newton
from netc.ir.interpret import evaluate, simulate
from netc.ir.nodes import (
    Const,
    Expr,
    Gather,
    Index,
    ScatterAdd,
    Select,
    State,
    Time,
    TimeStep,
    Unknown,
    postorder,
)
from netc.ir.program import Program
from netc.ir.verify import verify
from netc.optimise import optimise, solve_algebraic
from netc.runtime.gradients import check_gradients
from netc.runtime.load import instantiate
from tests.optimise.circuits import Builder, wave

THERMAL = 0.02585


def diode(v: Expr) -> Expr:
    """A junction with a leak of 1 nS, without which nodes between blocking ones float."""
    return build.add(build.mul(1e-14, build.sub(build.unary("exp", build.div(v, THERMAL)), 1.0)), build.mul(1e-9, v))


def values_of(program: Program) -> np.ndarray:
    """Signals of every block at every step, after the whole line of passes, in both back ends."""
    rows, _ = simulate(solve_algebraic.run(program), 50, 1e-2)
    optimised = optimise(program)
    again, _ = simulate(optimised, 50, 1e-2)
    np.testing.assert_allclose(again, rows, rtol=1e-9, atol=1e-12)
    found, _ = instantiate(optimised, torch.float64)(50, 1e-2)
    np.testing.assert_allclose(found.numpy(), again, rtol=1e-10, atol=1e-13)
    return rows


def ladder(stages: int, copies: int = 1) -> Program:
    """Diodes in series behind a resistor, ``copies`` times: ``stages`` unknowns that hang together."""
    b = Builder("diodes in series")
    r = b.parameter("r", np.linspace(10.0, 1e3, copies))
    u = Unknown("v", stages * copies)
    pick = [Index(np.arange(copies) * stages + k) for k in range(stages)]
    nodes = [Gather(u, p) for p in pick]
    drive = build.mul(4.0, wave())
    currents = [build.div(build.sub(drive, nodes[0]), r)]
    currents += [diode(build.sub(a, c)) for a, c in zip(nodes, [*nodes[1:], Const(0.0)], strict=True)]
    residual: Expr = build.ZERO
    for k, p in enumerate(pick):
        residual = build.add(residual, ScatterAdd(build.sub(currents[k], currents[k + 1]), p, stages * copies))
    b.solve([u], [residual])
    return b.program()


@pytest.mark.parametrize(("stages", "copies"), [(1, 1), (1, 5), (2, 3), (4, 2), (5, 1), (6, 2), (9, 1)])
def test_diodes_in_series_share_the_voltage_evenly(stages: int, copies: int):
    program = ladder(stages, copies)
    rows = values_of(program)[:, 0].reshape(51, copies, stages)
    t = np.arange(51) * 1e-2
    (drive,) = evaluate([build.mul(4.0, wave())], {Time(): t[:, None]})
    resistances = np.linspace(10.0, 1e3, copies)
    for copy in range(copies):
        top = rows[:, copy, 0]
        current = (np.broadcast_to(drive, (51, 1))[:, 0] - top) / resistances[copy]
        np.testing.assert_allclose(current, 1e-14 * np.expm1(top / stages / THERMAL) + 1e-9 * top / stages, rtol=1e-6)
        np.testing.assert_allclose(rows[:, copy], top[:, None] * (1 - np.arange(stages) / stages), atol=1e-6)
    solved = solve_algebraic.run(program)
    assert all(block.carried for block in solved.states) and solved.states
    verify(solved)


def test_small_systems_are_lanes_and_what_is_fixed_leaves_the_iteration():
    solved = optimise(ladder(2, 3))
    nodes = {n for n in postorder(*(s.derivative for s in solved.states)) if isinstance(n, Newton)}
    (node,) = nodes
    assert node.systems == 3 and node.size == 6
    assert not any(
        n.op == "div" and isinstance(n.a, Const) for n in postorder(node.step) if type(n).__name__ == "Binary"
    )


def bistable() -> Program:
    """Two inverting stages in a ring, kicked to one side and then to the other."""
    b = Builder("bistable")
    t = Time()

    def pulse(at: float) -> Expr:
        return Select(build.binary("lt", build.unary("abs", build.sub(t, at)), 0.03), Const(2.0), build.ZERO)

    p, q = Unknown("p", 1), Unknown("q", 1)
    first = build.unary("tanh", build.mul(-3.0, build.add(q, pulse(0.15))))
    second = build.unary("tanh", build.mul(-3.0, build.add(p, pulse(0.35))))
    b.solve([p, q], [build.sub(p, first), build.sub(q, second)])
    return b.program()


def test_a_bistable_ring_stays_where_it_was_put():
    rows = values_of(bistable())[:, 0]
    np.testing.assert_allclose(rows[:10], 0.0, atol=1e-9)  # the balance it starts from
    np.testing.assert_allclose(rows[20:30], [[-0.9949, 0.9949]] * 10, atol=1e-3)
    np.testing.assert_allclose(rows[40:], [[0.9949, -0.9949]] * 11, atol=1e-3)


def test_runs_in_parts_are_the_same_as_in_one():
    program = optimise(bistable())
    whole, _ = simulate(program, 50, 1e-2)
    first, state = simulate(program, 25, 1e-2)
    second, _ = simulate(program, 25, 1e-2, state=state, first_step=25)
    np.testing.assert_array_equal(np.concatenate([first, second[1:]]), whole)
    module = instantiate(program, torch.float64)
    part, state = module(25, 1e-2)
    rest, _ = module(25, 1e-2, state=state, first_step=25)
    np.testing.assert_allclose(torch.cat([part, rest[1:]]).numpy(), whole, rtol=1e-12, atol=1e-14)


def test_conditions_without_a_slope_hold_equations_together():
    """A comparator in a ring with a divider: the pattern of derivatives alone would miss the ring."""
    b = Builder("comparator")
    u, w = Unknown("u", 1), Unknown("w", 1)
    high = Select(build.binary("gt", w, Const(0.2)), Const(1.0), Const(-1.0))
    b.solve([u, w], [build.sub(u, high), build.sub(w, build.mul(0.5, build.add(u, build.mul(3.0, wave()))))])
    rows = values_of(b.program())[:, 0]
    np.testing.assert_allclose(rows[:, 0], np.where(rows[:, 1] > 0.2, 1.0, -1.0))


def test_linear_equations_beside_non_linear_ones_stay_linear():
    b = Builder("mixed")
    r = b.parameter("r", [1e3])
    u = Unknown("u", 3)  # lane 0 a diode; 1 and 2 a divider
    at = [Gather(u, Index([k])) for k in range(3)]
    parts = [
        build.sub(build.div(build.sub(wave(), at[0]), r), diode(at[0])),
        build.sub(build.sub(wave(), at[1]), build.sub(at[1], at[2])),
        build.sub(build.sub(at[1], at[2]), build.div(at[2], r)),
    ]
    b.solve([u], [build.concat(parts)])
    program = b.program()
    rows = values_of(program)[:, 0]
    np.testing.assert_allclose(rows[:, 1] - rows[:, 2], rows[:, 2] / 1e3, atol=1e-14)
    (node,) = {n for o in solve_algebraic.run(program).observables for n in postorder(o.value) if isinstance(n, Newton)}
    assert node.names == ("u0",)


def test_a_product_with_a_matrix_is_differentiated():
    b = Builder("network of tanh")
    weights = np.random.default_rng(3).normal(0, 0.4, (6, 6))
    w = b.parameter("w", weights.ravel())
    rows, columns = np.divmod(np.arange(36), 6)
    matrix = build.assemble(w, Index(rows), Index(columns), (6, 6))
    z = Unknown("z", 6)
    b.solve([z], [build.sub(z, build.unary("tanh", build.add(build.matvec(z, matrix), wave())))])
    found = values_of(b.program())[0, 0]
    (drive,) = evaluate([wave()], {Time(): np.zeros(1)})
    expected = fsolve(lambda x: x - np.tanh(x @ weights + drive), np.zeros(6), xtol=1e-14)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_gradients_are_those_of_the_implicit_function():
    b = Builder("loaded diode")
    r = b.parameter("r", [200.0, 3e3])
    isat = b.parameter("i0", [1e-12, 3e-10], "model")
    start = b.parameter("x0", [0.3, -0.2], "initial")
    u, x = Unknown("u", 2), State("x", 2)
    current = build.mul(isat, build.sub(build.unary("exp", build.div(u, THERMAL)), 1.0))
    b.solve([u], [build.sub(build.div(build.sub(build.add(x, wave()), u), r), current)])
    b.state("x", 2, build.mul(5.0, build.sub(u, x)), start)
    report = check_gradients(optimise(b.program(), disable=("uniform_parameters",)), steps=40, dt=1e-2)
    assert report.worst is not None and report.worst.error < 1e-6
    assert {row.role for row in report.rows} == {"R", "model", "initial"}
    assert all(row.autograd != 0.0 for row in report.rows)


@pytest.mark.parametrize("stages", [3, 6])
def test_gradients_through_a_system_of_several_unknowns(stages: int):
    program = optimise(ladder(stages, 2), disable=("uniform_parameters",))
    report = check_gradients(program, steps=20, dt=1e-2)
    assert report.worst is not None and report.worst.error < 1e-6


def test_a_given_guess_needs_no_carried_state():
    """A step of backward Euler on a non-linear decay starts from the state itself."""
    b = Builder("implicit")
    x, y = State("x", 3), Unknown("y", 3)
    b.solve([y], [build.sub(y, build.sub(x, build.mul(TimeStep(), build.mul(y, build.mul(y, y)))))])
    b.algebraic[-1] = type(b.algebraic[-1])(
        b.algebraic[-1].unknowns, b.algebraic[-1].residuals, None, b.algebraic[-1].lanes, b.algebraic[-1].spans, (x,)
    )
    b.state("x", 3, build.div(build.sub(y, x), TimeStep()), build.concat([Const(0.1), Const(1.0), Const(9.0)]))
    program = b.program()
    solved = solve_algebraic.run(program)
    assert [block.name for block in solved.states] == ["x"]
    rows = values_of(program)
    place = next(k for k, o in enumerate(solved.observables) if o.name == "o_x")
    x_rows = rows[:, 0, 3 * place : 3 * place + 3]
    np.testing.assert_allclose(x_rows[1:] + 1e-2 * x_rows[1:] ** 3, x_rows[:-1], rtol=1e-13)


def test_what_has_no_solution_is_not_a_number_and_spares_the_rest():
    b = Builder("impossible")
    level = b.parameter("level", [1.0, -1.0])
    u = Unknown("u", 2)
    b.solve([u], [build.sub(build.mul(u, u), level)])
    rows, _ = simulate(solve_algebraic.run(b.program()), 2, 1e-2)
    assert np.isnan(rows[..., 1]).all()
    np.testing.assert_allclose(np.abs(rows[..., 0]), 1.0)


def test_a_structurally_singular_block_is_refused_where_it_stands():
    b = Builder("singular")
    u = Unknown("a", 2)
    product = build.unary("exp", Gather(u, Index([0])))
    b.solve([u], [build.concat([product, build.mul(2.0, product)])], line=17)
    with pytest.raises(NetcError, match=r"deck.cir:18:1: error: the equations of a1 have no unique solution"):
        solve_algebraic.run(b.program())
