"""Where a run starts on circuits with non-linear nodes that have no capacitance, and what it says where it cannot."""

from pathlib import Path

import numpy as np
import pytest

from netc.compiler import compile_deck
from netc.diagnostics import NetcError
from netc.ir.interpret import simulate as interpret
from netc.runtime.linearise import Linearisation
from netc.runtime.operating_point import at_the_start, operating_point
from netc.runtime.simulate import simulate
from netc.runtime.stability import analyse

THERMAL = 0.02585
DIODE = "I=1e-14*(exp(V({0},{1})/0.02585)-1)"


def compiled(tmp_path: Path, *cards: str):
    path = tmp_path / "deck.cir"
    path.write_text("\n".join(["a title", *cards, ".end", ""]))
    return compile_deck(path)


def first_row(compilation, *names: str) -> list[float]:
    program = compilation.program
    values = interpret(program, 0, 1e-6, observe=names)[0][0, 0]
    again = simulate(program, dt=1e-6, steps=1, observe=names).values[0, 0].numpy()
    np.testing.assert_allclose(again, values, rtol=1e-12, atol=1e-12)
    return values.tolist()


def test_a_diode_bridge_without_a_capacitor_starts_at_its_operating_point(tmp_path):
    bridge = [f"B{k} {a} {b} {DIODE.format(a, b)}" for k, (a, b) in enumerate(["ap", "bp", "0a", "0b"])]
    deck = compiled(tmp_path, "V1 a b SIN(3 5 1k)", *bridge, "R1 p 0 1k", ".tran 1u 1m")
    a, b, p = first_row(deck, "a", "b", "p")
    assert a - b == pytest.approx(3.0)
    assert p / 1e3 == pytest.approx(1e-14 * np.expm1((a - p) / THERMAL), rel=1e-6)
    assert p / 1e3 == pytest.approx(1e-14 * np.expm1(-b / THERMAL), rel=1e-6)


def test_states_and_nodes_come_to_rest_together(tmp_path):
    deck = compiled(
        tmp_path,
        "V1 in 0 5",
        "R1 in a 1k",
        "C1 a 0 1n",
        "R2 a d 100",
        f"B1 d 0 {DIODE.format('d', '0')}",
        ".tran 1u 1m",
    )
    a, d = first_row(deck, "a", "d")
    assert (5 - a) / 1e3 == pytest.approx((a - d) / 100, rel=1e-6)
    assert (a - d) / 100 == pytest.approx(1e-14 * np.expm1(d / THERMAL), rel=1e-6)
    found = simulate(deck.program, dt=1e-9, steps=50, observe=["a"]).values
    np.testing.assert_allclose(found.numpy(), a, rtol=1e-9)


RING = (
    "B1 q 0 V=0.5*(1-tanh(4*(V(b)-0.5)))",
    "B2 qb 0 V=0.5*(1-tanh(4*(V(a)-0.5)))",
    *("R1 q a 1k", "R2 qb b 1k", "R3 a 0 1meg"),
)


@pytest.mark.parametrize("timing", [".tran 1u 10u", ".tran 1u 10u uic"])
@pytest.mark.parametrize("load", ["R4 b 0 1meg", "R4 b 0 1meg\nI1 0 b SIN(0 1u 10k)"])
@pytest.mark.parametrize(("node", "high", "low"), [("a", "q", "qb"), ("b", "qb", "q")])
def test_nodeset_chooses_the_side_of_a_bistable_ring(tmp_path, timing, load, node, high, low):
    deck = compiled(tmp_path, *RING, load, f".nodeset V({node})=1", timing)
    found = simulate(deck.program, dt=1e-6, steps=10, observe=[high, low]).values[:, 0].numpy()
    assert (found[:, 0] > 0.9).all() and (found[:, 1] < 0.1).all()


def test_the_start_of_a_run_from_given_states_is_consistent(tmp_path):
    deck = compiled(tmp_path, "C1 x 0 1u IC=2", "R1 x d 1k", f"B1 d 0 {DIODE.format('d', '0')}", ".tran 10u 1m uic")
    x, d = first_row(deck, "x", "d")
    assert x == 2.0
    assert (x - d) / 1e3 == pytest.approx(1e-14 * np.expm1(d / THERMAL), rel=1e-9)


def test_sources_are_raised_where_newton_fails_from_a_cold_start(tmp_path):
    """tan pulls Newton into other branches; the one that goes through 0 is the circuit's."""
    deck = compiled(
        tmp_path, "V1 in 0 1.5", "R1 in d 1", "B1 d 0 I=tan(V(d)*1.5)", "C1 x 0 1n", "R2 d x 1k", ".tran 1u 1m"
    )
    (d,) = first_row(deck, "d")
    assert 0 < d < np.pi / 3
    assert 1.5 - d == pytest.approx(np.tan(1.5 * d), rel=1e-6)


def test_without_an_operating_point_the_nodes_are_named(tmp_path):
    deck = compiled(
        tmp_path,
        "V1 in 0 SIN(-1 0.1 1k)",
        "B1 q 0 V=V(q)*V(q)+V(q)-V(in)",
        "R1 q 0 1k",
        "C1 x 0 1u",
        "R2 q x 1k",
        ".tran 1u 1m",
    )
    with pytest.raises(
        NetcError, match=r"deck.cir:3.*no operating point was found: the equations of q have no solution"
    ):
        _ = deck.program


def test_a_solution_that_is_lost_on_the_way_is_named_with_the_step(tmp_path):
    deck = compiled(
        tmp_path, "V1 in 0 PWL(0 1 2m -1)", "B1 q 0 V=V(q)*V(q)+V(q)-V(in)", "R1 q 0 1k", ".tran 10u 2m uic"
    )
    with pytest.raises(NetcError, match=r"Newton's method does not converge at step 101 \(t = 0.00101 s\) for q"):
        simulate(deck.program, dt=1e-5, steps=200)


def test_carried_values_are_no_states_of_the_analysis(tmp_path):
    deck = compiled(
        tmp_path,
        "V1 in 0 5",
        "R1 in a 1k",
        "C1 a 0 1n",
        "R2 a d 100",
        f"B1 d 0 {DIODE.format('d', '0')}",
        ".tran 1u 1m uic",
    )
    program = deck.program
    assert [b.carried for b in program.states] == [False, True]
    assert Linearisation(program).names == ("a",)
    (state,) = analyse(program).states
    # at the start the diode is off: 1 nF behind 1 kOhm; at worst it conducts, and 100 Ohm more are beside it
    assert state.euler_limit == pytest.approx(2e-9 / (1 / 1e3 + 1 / 100), rel=1e-3)
    assert state.bound
    settled = operating_point(program)
    assert set(settled) == {b.name for b in program.states}
    assert at_the_start(program) is program
