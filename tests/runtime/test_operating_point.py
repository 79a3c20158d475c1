"""Operating points against hand calculation and against ngspice."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest

from netc.diagnostics import NetcError, Span
from netc.ir.build import ONE, add, binary, div, mul, neg, select, sub, unary
from netc.ir.interpret import simulate
from netc.ir.nodes import Const, Gather, Index, Input, Parameter, State, Time
from netc.ir.program import InputBlock, Observable, ParameterBlock, Program, StateBlock, Timing
from netc.runtime.linearise import Linearisation
from netc.runtime.operating_point import operating_point, with_initial


def state(name, lanes, derivative, initial=0.0, unit="V"):
    spans = tuple(Span("d.cir", 2 + k) for k in range(len(lanes)))
    return StateBlock(name, unit, tuple(lanes), Const(initial), derivative, spans)


def program(*states, parameters=()):
    seen = tuple(Observable(s.name, s.unit, s.lanes, State(s.name, s.size)) for s in states)
    return Program("t", tuple(parameters), (), tuple(states), (), seen, (), (), Timing(1e-5, 1e-2))


def divider():
    """2 V through 1 kOhm onto a node with 3 kOhm and 1 uF to ground."""
    v = State("v")
    return program(state("v", ["out"], div(sub(div(sub(2.0, v), 1e3), div(v, 3e3)), 1e-6)))


def switch(x, v):
    on, off = (unary("sigmoid", div(sub(v, threshold), 0.025)) for threshold in (0.11, 0.005))
    return div(sub(mul(sub(1.0, x), on), mul(x, sub(1.0, mul(0.6, off)))), 1e-3)


def mif(start=0.0):
    v, x1, x2 = State("v"), State("x1"), State("x2")
    g1, g2 = (add(div(x, 1e3), div(sub(1.0, x), 1e5)) for x in (x1, x2))
    current = sub(sub(2e-6, mul(g1, v)), mul(g2, sub(v, 0.05)))
    return program(
        state("v", ["mem"], div(current, 100e-9), start),
        state("x1", ["x1"], switch(x1, v), unit="1"),
        state("x2", ["x2"], switch(x2, sub(0.05, v)), unit="1"),
    )


MIF_DECK = """mif at rest
.param vt=25m von=110m voff=5m tau=1m k=0.6
I1 0 mem 2u
C1 mem 0 100n
E2 e2 0 vol='0.05'
B1 mem 0 i=v(mem)*(v(x1)/1k+(1-v(x1))/100k)
B2 mem e2 i=v(mem,e2)*(v(x2)/1k+(1-v(x2))/100k)
Cx1 x1 0 1
Cx2 x2 0 1
Bx1 0 x1 i=((1-v(x1))/(1+exp(-(v(mem)-{von})/{vt}))-v(x1)*(1-{k}/(1+exp(-(v(mem)-{voff})/{vt}))))/{tau}
Bx2 0 x2 i=((1-v(x2))/(1+exp(-(v(e2,mem)-{von})/{vt}))-v(x2)*(1-{k}/(1+exp(-(v(e2,mem)-{voff})/{vt}))))/{tau}
"""

DIVIDER_DECK = """divider
V1 in 0 2
R1 in out 1k
R2 out 0 3k
C1 out 0 1u
"""

# dx/dt = sin(v) - x - x**3 with v = 0.7 held by a source
STATE_NODE_DECK = """state node
V1 v 0 0.7
C1 x 0 1
B1 0 x i=sin(v(v))-v(x)-v(x)*v(x)*v(x)
"""


def state_node():
    x = State("x")
    return program(state("x", ["x"], sub(sub(unary("sin", Const(0.7)), x), mul(x, mul(x, x)))))


def ngspice(deck, nodes, tmp_path):
    path = tmp_path / "deck.cir"
    show = "\n".join(f"print v({n})" for n in nodes)
    tight = ".options reltol=1e-9 abstol=1e-18 vntol=1e-12 gmin=1e-18 numdgt=12"
    path.write_text(f"{deck}{tight}\n.op\n.control\nset numdgt=12\nop\n{show}\n.endc\n.end\n")
    out = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, timeout=30, check=False).stdout
    lines = dict(line.split(" = ") for line in out.splitlines() if line.startswith("v(") and " = " in line)
    return [float(lines[f"v({n})"]) for n in nodes]


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("deck", "circuit", "nodes"),
    [
        (DIVIDER_DECK, divider(), ["out"]),
        (MIF_DECK, mif(), ["mem", "x1", "x2"]),
        (STATE_NODE_DECK, state_node(), ["x"]),
    ],
    ids=["divider", "mif", "state node"],
)
def test_agrees_with_ngspice(deck, circuit, nodes, tmp_path):
    found = np.concatenate(list(operating_point(circuit).values()))
    np.testing.assert_allclose(found, ngspice(deck, nodes, tmp_path), rtol=1e-6, atol=1e-9)


def test_jacobian_matches_central_differences():
    linear = Linearisation(mif())
    x = np.array([0.07, 0.3, 0.6])
    steps = 1e-6 * np.eye(3)
    expected = np.stack([(linear.rate_of_change(x + s) - linear.rate_of_change(x - s)) / 2e-6 for s in steps], axis=1)
    np.testing.assert_allclose(linear.jacobian(x), expected, rtol=1e-6, atol=1e-3)


def test_divider_by_hand():
    assert operating_point(divider())["v"] == pytest.approx([1.5], abs=1e-12)


@pytest.mark.parametrize("start", [0.0, 5.0, -20.0])
def test_the_mif_cell_comes_to_rest_from_anywhere(start):
    linear = Linearisation(mif(start))
    found = np.concatenate(list(operating_point(mif(start)).values()))
    assert np.abs(linear.rate_of_change(found)).max() < 1e-6
    assert np.all((found[1:] > 0) & (found[1:] < 1))


def test_newton_alone_would_cycle_but_the_circuit_comes_to_rest():
    """atan diverges under plain Newton from 20; the kinked diode has no slope where it starts."""
    v, w = State("v"), State("w")
    hard = program(
        state("v", ["a"], mul(-1e6, unary("atan", mul(30.0, sub(v, 1.0)))), initial=20.0),
        state("w", ["b"], sub(select(binary("gt", w, 0.5), mul(-1e4, sub(w, 0.5)), Const(0.0)), sub(Const(0.0), v))),
    )
    found = operating_point(hard)
    assert found["v"] == pytest.approx([1.0])
    assert found["w"] == pytest.approx([0.5 + 1e-4])


def test_memory_without_a_direct_path_keeps_its_initial_value():
    """An ideal drift device at rest: nothing moves its state, and the state does not move the node."""
    v, x = State("v"), State("x")
    ideal = program(
        state("v", ["n"], neg(div(v, mul(1e-6, add(100.0, mul(x, 1e3)))))), state("x", ["m.x"], mul(1e4, v), 0.3, "1")
    )
    found = operating_point(ideal)
    assert found["v"] == pytest.approx([0.0], abs=1e-12)
    assert found["x"] == pytest.approx([0.3])


def test_held_states_stay_and_move_the_others():
    v, w = State("v"), State("w")
    pair = program(state("v", ["a"], sub(5.0, v)), state("w", ["b"], sub(v, mul(2.0, w))))
    assert operating_point(pair, held={"a": 1.0}) == {"v": pytest.approx([1.0]), "w": pytest.approx([0.5])}
    with pytest.raises(NetcError, match="'c' is held"):
        operating_point(pair, held={"c": 1.0})


def test_a_source_into_a_capacitor_has_no_operating_point():
    charging = program(
        state("v", ["a", "b"], sub(Parameter("i", 2), mul(Parameter("g", 2), State("v", 2)))),
        parameters=[
            ParameterBlock("i", "source", "A", np.array([1.0, 2.0]), ("i0", "i1"), ()),
            ParameterBlock("g", "R", "S", np.array([1.0, 0.0]), ("g0", "g1"), ()),
        ],
    )
    with pytest.raises(NetcError, match=r"d.cir:3.*b still moves at 2 V/s") as caught:
        operating_point(charging)
    assert "add uic" in str(caught.value)


def test_time_is_zero_and_inputs_are_given():
    v = State("v")
    assert operating_point(program(state("v", ["a"], sub(unary("cos", Time()), v))))["v"] == pytest.approx([1.0])
    driven = replace(
        program(state("v", ["a"], sub(Gather(Input("u", 2), Index([1])), v))),
        inputs=(InputBlock("u", "amplitude", ("s1", "s2")),),
    )
    assert operating_point(driven)["v"] == pytest.approx([1.0])
    assert operating_point(driven, inputs=[0.2, 0.7])["v"] == pytest.approx([0.7])


def test_a_circuit_without_states_is_at_rest():
    assert operating_point(program()) == {}


def test_with_initial_starts_a_run_at_rest():
    circuit = mif()
    found = with_initial(circuit, operating_point(circuit))
    assert [b.name for b in found.parameters] == ["initial_v", "initial_x1", "initial_x2"]
    assert {b.role for b in found.parameters} == {"initial"}
    assert all(b.trained is None for b in found.parameters)
    rows, _ = simulate(found, 50, 1e-5)
    np.testing.assert_allclose(rows[-1], rows[0], atol=1e-12)
    twice = with_initial(found, {"v": np.array([1.0])})
    assert twice.parameters[-1].name == "initial_v_"
    with pytest.raises(ValueError, match="no state block 'z'"):
        with_initial(circuit, {"z": ONE})


def test_a_guess_picks_one_of_two_operating_points():
    v = State("v")
    latch = program(state("v", ["q"], mul(1e3, sub(v, mul(v, mul(v, v))))))
    assert operating_point(latch)["v"] == pytest.approx([0.0])
    assert operating_point(latch, guess={"q": 0.8, "elsewhere": 5.0})["v"] == pytest.approx([1.0])
    assert operating_point(latch, guess={"q": -0.8})["v"] == pytest.approx([-1.0])
    assert operating_point(latch, guess={"q": -0.8}, held={"q": 0.5})["v"] == pytest.approx([0.5])
