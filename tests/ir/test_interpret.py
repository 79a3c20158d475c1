import numpy as np
import pytest

from netc.ir import build
from netc.ir.interpret import evaluate, simulate
from netc.ir.nodes import (
    Assemble,
    Columns,
    Concat,
    Const,
    Expr,
    Gather,
    Index,
    Input,
    Interpolate,
    MatVec,
    Parameter,
    Rate,
    ScatterAdd,
    Solve,
    State,
    Time,
    Unary,
)
from netc.ir.program import InputBlock, Observable, ParameterBlock, Program, StateBlock
from netc.ir.rates import Rates, state_rates


def rc_program(mode: str = "amplitude") -> Program:
    """Two RC low-passes driven by features times sin(t), a third by time alone."""
    r, c = Parameter("r_1", 2), Parameter("c_1", 2)
    v, w = State("v_1", 2), State("v_2", 1)
    drive = build.mul(Input("in", 2), Unary("sin", Time())) if mode == "amplitude" else Input("in", 2)
    return Program(
        title="rc",
        parameters=(
            ParameterBlock("r_1", "R", "ohm", np.array([1e3, 2e3]), ("r1", "r2"), ()),
            ParameterBlock("c_1", "C", "F", np.array([1e-3, 1e-3]), ("c1", "c2"), ()),
        ),
        inputs=(InputBlock("in", mode, ("vin1", "vin2")),),
        states=(
            StateBlock("v_1", "V", ("a", "b"), Const(0.5), build.div(build.sub(drive, v), build.mul(r, c)), ()),
            StateBlock("v_2", "V", ("c",), Const(0.0), build.sub(Unary("cos", Time()), w), ()),
        ),
        algebraic=(),
        observables=(Observable("v", "V", ("a", "b"), v), Observable("w", "V", ("c", "t"), Concat(w, Time()))),
        outputs=("a",),
        selected=(),
        timing=None,
    )


def test_euler_follows_a_hand_written_loop():
    amplitudes = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 0.5]])
    rows, state = simulate(rc_program(), 20, 0.05, amplitudes)
    v, w = np.full((3, 2), 0.5), 0.0
    for n in range(20):
        np.testing.assert_allclose(rows[n, :, :2], v, rtol=1e-13)
        np.testing.assert_allclose(rows[n, :, 2], w, rtol=1e-13)
        np.testing.assert_allclose(rows[n, :, 3], n * 0.05)
        v, w = (
            v + 0.05 * (amplitudes * np.sin(n * 0.05) - v) / np.array([1.0, 2.0]),
            w + 0.05 * (np.cos(n * 0.05) - w),
        )
    np.testing.assert_allclose(state[0], v, rtol=1e-13)
    assert rows.shape == (21, 3, 4)


def test_going_on_from_a_state_is_the_same_as_one_run():
    whole, end = simulate(rc_program(), 30, 0.05)
    first, state = simulate(rc_program(), 12, 0.05)
    second, again = simulate(rc_program(), 18, 0.05, state=state, first_step=12)
    np.testing.assert_allclose(np.concatenate([first[:-1], second]), whole, rtol=1e-12)
    np.testing.assert_allclose(again[0], end[0], rtol=1e-12)


def test_waveforms_equal_amplitudes_times_the_common_waveform():
    amplitudes = np.array([[1.0, 2.0], [3.0, -1.0]])
    waveform = amplitudes * np.sin(np.arange(10) * 0.05)[:, None, None]
    by_amplitude, _ = simulate(rc_program(), 10, 0.05, amplitudes)
    by_waveform, _ = simulate(rc_program("waveform"), 10, 0.05, waveform)
    np.testing.assert_allclose(by_waveform, by_amplitude, rtol=1e-12)
    with pytest.raises(ValueError, match="whole waveforms"):
        simulate(rc_program("waveform"), 10, 0.05)


def test_observe_and_values():
    rows, _ = simulate(rc_program(), 5, 0.05, observe=["t", "b"])
    everything, _ = simulate(rc_program(), 5, 0.05)
    np.testing.assert_array_equal(rows, everything[:, :, [3, 1]])
    changed, _ = simulate(rc_program(), 5, 0.05, values={"r_1": [1e3, 1e3]})
    assert not np.allclose(changed[:, :, 1], everything[:, :, 1])
    with pytest.raises(ValueError, match="no signal 'nope'"):
        simulate(rc_program(), 5, 0.05, observe=["nope"])
    with pytest.raises(ValueError, match="no parameter block"):
        simulate(rc_program(), 5, 0.05, values={"nope": [1.0]})
    with pytest.raises(ValueError, match="inputs of shape"):
        simulate(rc_program(), 5, 0.05, np.ones((1, 3)))


def test_rates():
    program = rc_program()
    rates = Rates(program)
    assert state_rates(program) == {"v_1": Rate.STEP, "v_2": Rate.TIME}
    assert rates(Input("in", 2)) is Rate.SAMPLE
    assert rates(build.mul(Parameter("r_1", 2), Const(2.0))) is Rate.PARAMETER
    assert rates(build.mul(Input("in", 2), Time())) == Rate.STEP
    with pytest.raises(ValueError, match="no state 'nope'"):
        rates(State("nope", 2))


def _close(expr: Expr, environment: dict[Expr, np.ndarray], expected: object) -> None:
    np.testing.assert_allclose(evaluate([expr], environment)[0], expected, rtol=1e-13)


def test_lane_operators():
    x, p = State("x", 3), Parameter("p", 3)
    values = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    weights = np.array([2.0, 3.0, 4.0])
    here = {x: values, p: weights, Time(): np.array([0.25])}
    _close(Gather(x, Index([2, 0, 0])), here, values[:, [2, 0, 0]])
    _close(ScatterAdd(x, Index([1, 0, 1]), 2), here, np.stack([values[:, 1], values[:, 0] + values[:, 2]], 1))
    _close(ScatterAdd(Time(), Index([1, 0, 1]), 2), here, [0.25, 0.5])
    _close(Concat(x, p), here, np.concatenate([values, np.tile(weights, (2, 1))], 1))
    matrix = Assemble(p, Index([0, 1, 0]), Index([0, 1, 0]), (2, 2))
    _close(matrix, here, [[6, 0], [0, 3]])
    _close(build.mul(matrix, Time()), here, [[1.5, 0], [0, 0.75]])
    pair = Gather(x, Index([0, 1]))
    _close(MatVec(pair, matrix), here, values[:, :2] * [6, 3])
    _close(Solve(matrix, pair), here, values[:, :2] / [6, 3])
    stepped = Assemble(x, Index([0, 1, 0]), Index([0, 1, 1]), (2, 2))
    _close(
        MatVec(pair, stepped),
        here,
        np.stack([values[:, 0] ** 2, values[:, 0] * values[:, 2] + values[:, 1] ** 2], 1),
    )
    expected = [np.linalg.solve([[a, c], [0, b]], [a, b]) for a, b, c in values]
    _close(Solve(stepped, pair), here, expected)
    scaled = build.mul(Gather(x, Index([0])), stepped)
    _close(MatVec(Gather(p, Index([0, 1])), scaled), here, [[2, 12], [32, 108]])


def test_interpolate_holds_its_ends():
    xs = Assemble(Const(1.0), Index([0]), Index([1]), (1, 2))
    ys = Assemble(Const(4.0), Index([0]), Index([1]), (1, 2))
    _close(Interpolate(State("x", 4), xs, ys), {State("x", 4): np.array([[-1.0, 0.25, 0.5, 9.0]])}, [[0, 1, 2, 4]])


def test_interpolation_of_several_lanes_at_points_they_share() -> None:
    ys = Columns(Const(0.0), Parameter("p", 2))
    node = Interpolate(Time(), Columns(Const(0.0), Const(1.0)), ys)
    _close(node, {Time(): np.array([0.5]), Parameter("p", 2): np.array([1.0, 3.0])}, [0.5, 1.5])


def test_a_leaf_without_a_value_is_named():
    with pytest.raises(ValueError, match="no value for State 'x'"):
        evaluate([State("x", 2)], {})
