"""Euler limits of circuits whose limits are known."""

import math

import numpy as np
import pytest

from netc.ir.build import ONE, add, binary, div, mul, neg, sub, unary
from netc.ir.interpret import simulate
from netc.ir.nodes import Assemble, Concat, Const, Gather, Index, Input, MatVec, Parameter, State
from netc.ir.program import (
    Bounds,
    Coordinate,
    InputBlock,
    Observable,
    ParameterBlock,
    Program,
    StateBlock,
    Timing,
)
from netc.runtime.stability import analyse, engineering, report, substeps


def parameter(name, values, role="C", trained=None):
    values = np.atleast_1d(np.asarray(values, dtype=float))
    return ParameterBlock(name, role, "", values, tuple(f"{name}{k}" for k in range(len(values))), (), trained)


def state(name, lanes, derivative, initial=0.0, unit="V"):
    return StateBlock(name, unit, tuple(lanes), Const(initial), derivative, ())


def program(states, parameters=(), inputs=(), timing=None):
    seen = tuple(Observable(s.name, s.unit, s.lanes, State(s.name, s.size)) for s in states if s.unit == "V")
    return Program("t", tuple(parameters), tuple(inputs), tuple(states), (), seen, (), (), timing)


RON, ROFF = 1e3, 1e5


def memristor(x, v, tau=1e-3, k=0.6):
    on = unary("sigmoid", div(sub(v, 0.11), 0.025))
    off = unary("sigmoid", div(sub(v, 0.005), 0.025))
    return div(sub(mul(sub(1.0, x), on), mul(x, sub(1.0, mul(k, off)))), tau)


def mif(capacitance, cells=1, current=None, current_parameters=(), inputs=()):
    """The MIF cell of Table I: membrane v, devices x1 (to E1 = 0) and x2 (to E2 = 50 mV)."""
    v, x1, x2 = State("v", cells), State("x1", cells), State("x2", cells)

    def conductance(x):
        return add(div(x, RON), div(sub(1.0, x), ROFF))

    leak = add(mul(conductance(x1), v), mul(conductance(x2), sub(v, 0.05)))
    membrane = div(sub(current or Const(1e-6), leak), Parameter("c", 1))
    names = ["mem"] if cells == 1 else [f"n{k}" for k in range(cells)]
    states = [
        state("v", names, membrane),
        state("x1", [f"{n}.x1" for n in names], memristor(x1, v), unit="1"),
        state("x2", [f"{n}.x2" for n in names], memristor(x2, sub(0.05, v)), unit="1"),
    ]
    return program(states, [parameter("c", capacitance), *current_parameters], inputs, Timing(1e-5, 1e-2, uic=True))


def test_the_shipped_mif_cell_is_stable_at_10_us():
    found = analyse(mif(100e-9))
    by_name = {s.name: s for s in found.states}
    worst = 2 * 100e-9 / (2 / RON)
    assert by_name["v(mem)"].euler_limit == pytest.approx(worst, rel=1e-9)
    assert not any(s.estimate for s in found.states)
    # d f / d x is between those of s = 0 and s = 1: (1 - k) / tau .. 2 / tau
    assert 1e3 < by_name["mem.x1"].fastest_rate <= 2e3
    assert substeps(found, 1e-5) == 1
    assert report(found, 1e-5) == []


def test_the_cell_to_the_letter_of_the_table_is_reported():
    found = analyse(mif(100e-12))
    assert found.limit == pytest.approx(0.1e-6)
    (line,) = report(found, 1e-5)
    assert line == "dt = 10 us breaks the Euler limit of 1 state: v(mem) needs dt <= 100 ns (100 x smaller, at worst)"
    assert found.worst(1)[0].name == "v(mem)"
    assert substeps(found, 1e-5) == 200


def test_trained_resistors_count_at_their_worst():
    bounds = Bounds(1e3, 1e5, Coordinate.RECIPROCAL)
    rc = program(
        [state("v", ["a", "b"], neg(div(State("v", 2), mul(Parameter("r", 2), 1e-6))))],
        [parameter("r", [1e4, 5e4], "R", bounds)],
    )
    assert [s.euler_limit for s in analyse(rc).states] == pytest.approx([0.02, 0.1])
    assert [s.euler_limit for s in analyse(rc, over_bounds=True).states] == pytest.approx([2e-3, 2e-3])
    assert analyse(rc, {"r": [1e3, 1e3]}).limit == pytest.approx(2e-3)


def test_coupling_lowers_the_limit_through_eigenvalues():
    """Two nodes joined by a small resistor: the diagonal says 2 / (g + G), the fast mode needs 1 / G."""
    v = State("v", 2)
    other = Gather(v, Index([1, 0]))
    found = analyse(program([state("v", ["a", "b"], add(neg(v), mul(100.0, sub(other, v))))]))
    assert found.limit == pytest.approx(2 / 201)
    assert found.worst(1)[0].eigenvalue
    assert max(s.euler_limit for s in found.states) == pytest.approx(2 / 101)


def test_an_undamped_oscillator_gets_a_note_that_holds():
    v, i = State("v"), State("i")
    tank = program(
        [state("v", ["a"], mul(-1e3, i), initial=1.0), state("i", ["l1"], mul(1e3, v), unit="A")],
        timing=Timing(1e-4, 0.01),
    )
    found = analyse(tank)
    assert found.limit == math.inf
    (note,) = found.notes
    assert "undamped at 159 Hz" in note
    dt = 2 * math.log1p(0.01) / (1e6 * 0.01)
    assert f"dt <= {engineering(dt, 's')}" in note
    steps = round(0.01 / dt)
    last = simulate(tank, steps, dt)[1]
    assert math.hypot(float(last[0][0, 0]), float(last[1][0, 0])) == pytest.approx(1.01, abs=1e-4)


def test_what_has_no_bound_is_an_estimate_at_the_start():
    v = State("v")
    runaway = sub(1.0, mul(unary("exp", State("w")), binary("pow", v, 3.0)))
    found = analyse(program([state("v", ["a"], runaway, initial=2.0), state("w", ["b"], ONE)]))
    assert found.states[0].estimate
    assert found.states[0].fastest_rate == pytest.approx(12.0)
    assert "estimated at the initial state" in report(found, 1.0)[0]


def test_a_diode_is_bounded_by_the_reach_of_its_node():
    v = State("v")
    diode = sub(div(sub(Const(0.8), v), 1e3), mul(1e-6, sub(unary("exp", mul(10.0, v)), 1.0)))
    found = analyse(program([state("v", ["a"], div(diode, 1e-6))]))
    assert not found.states[0].estimate
    assert found.states[0].fastest_rate == pytest.approx(1e3 + 10 * math.exp(10))


def test_growing_and_constant_states_have_no_limit():
    found = analyse(program([state("v", ["a"], mul(3.0, State("v"))), state("w", ["b"], ONE)]))
    assert found.limit == math.inf
    assert substeps(found, 1.0) == 1
    assert found.states[0].fastest_rate == 3.0


def test_a_circuit_without_states_has_no_limit():
    assert analyse(program([])).limit == math.inf


def test_the_limit_is_where_euler_breaks():
    rc = program([state("v", ["a"], neg(div(State("v"), 1e-3)), initial=1.0)])
    limit = analyse(rc).limit
    below, above = (float(np.abs(simulate(rc, 400, f * limit)[0][-1, 0, 0])) for f in (0.99, 1.01))
    assert below < 1e-3
    assert above > 1e3


def test_a_network_of_two_layers_takes_few_passes():
    """784-100-10 with a dense matrix a layer: 330 states, none of the 79,400 synapses gets a column of its own."""
    inputs = Input("u", 784)
    rows, columns = np.divmod(np.arange(78400), 100)
    first = Assemble(Parameter("g0", 78400), Index(rows), Index(columns), (784, 100))
    rows, columns = np.divmod(np.arange(1000), 10)
    second = Assemble(Parameter("g1", 1000), Index(rows), Index(columns), (100, 10))
    hidden = Gather(State("v", 110), Index(range(100)))
    current = mul(1e-3, Concat(MatVec(inputs, first), MatVec(hidden, second)))
    trained = Bounds(1e-5, 1e-3, Coordinate.LINEAR)
    blocks = [parameter("g0", np.full(78400, 1e-4), "R", trained), parameter("g1", np.full(1000, 1e-4), "R", trained)]
    network = mif(100e-9, 110, current, blocks, [InputBlock("u", "amplitude", tuple(f"u{k}" for k in range(784)))])
    found = analyse(network, over_bounds=True)
    assert len(found.states) == 330
    assert not any(s.estimate for s in found.states)
    assert found.limit == pytest.approx(100e-9 * RON)


@pytest.mark.parametrize(
    ("value", "text"), [(99.01e-6, "99 us"), (1e-5, "10 us"), (1e-7, "100 ns"), (2.34e-3, "2.3 ms"), (0.0, "0 s")]
)
def test_engineering(value, text):
    assert engineering(value, "s") == text
