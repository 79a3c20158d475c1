"""What expressions, tables, polynomials and multiplicities become."""

from __future__ import annotations

import pytest

from netc.ir.interpret import simulate
from netc.lower import lower
from netc.optimise import optimise
from tests.elaborate.helpers import branch_of, circuit_of, errors_of, law_of, messages_of, number_of

IN = "V1 a 0 1\nR9 a 0 1\n"


def values(body: str, nodes: list[str], steps: int = 200, dt: float = 1e-5) -> list[float]:
    """Return the last row of a simulation that starts from given values."""
    program = optimise(lower(circuit_of(body + f".tran {dt} {dt * steps} uic\n")))
    rows, _ = simulate(program, steps, dt, observe=nodes)
    return [float(x) for x in rows[-1, 0]]


def test_polynomial_of_two_voltages_is_in_the_order_of_spice_2() -> None:
    circuit = circuit_of(IN + "V2 b 0 1\nE1 c 0 POLY(2) a 0 b 0 1 2 3 4 5 6 7 8 9\nR2 c 0 1\n")
    a, b = 2.0, 3.0
    wanted = 1 + 2 * a + 3 * b + 4 * a * a + 5 * a * b + 6 * b * b + 7 * a**3 + 8 * a * a * b + 9 * a * b * b
    assert law_of(circuit, "e1", {"a": a, "b": b}) == pytest.approx(wanted)


def test_a_lone_coefficient_is_the_constant() -> None:
    circuit = circuit_of(IN + "E1 c 0 POLY(1) a 0 5\nR2 c 0 1\n")
    assert law_of(circuit, "e1", {"a": 2.0}) == 5


def test_polynomial_of_currents() -> None:
    circuit = circuit_of(IN + "F1 0 c POLY(1) V1 0 2 1\nR2 c 0 1\n")
    assert law_of(circuit, "f1", {}, {"v1": 3.0}) == 15


@pytest.mark.parametrize(
    ("volts", "wanted"),
    [(0.98, 1.012), (4.98, 4.0), (-3.02, 0.0), (0.9, 0.9), (0.5, 0.5), (1.5, 2.5), (0.0, 0.025), (2.0, 3.925)],
)
def test_table_has_the_rounded_corners_of_ngspice(volts: float, wanted: float) -> None:
    circuit = circuit_of(IN + "E1 c 0 TABLE {v(a)} = (0,0) (1,1) (2,4)\nR2 c 0 1\n")
    assert law_of(circuit, "e1", {"a": volts}) == pytest.approx(wanted)


@pytest.mark.parametrize(("volts", "wanted"), [(-1, -1), (0.5, 0.5), (1.5, 2.5), (3, 7)])
def test_pwl_goes_on_at_its_ends(volts: float, wanted: float) -> None:
    circuit = circuit_of(IN + "B1 c 0 v=pwl(v(a),0,0,1,1,2,4)\nR2 c 0 1\n")
    assert law_of(circuit, "b1", {"a": volts}) == pytest.approx(wanted)


def test_table_function_holds_its_ends() -> None:
    circuit = circuit_of(IN + "B1 c 0 v=table(v(a),0,0,1,1,2,4)\nR2 c 0 1\n")
    assert [law_of(circuit, "b1", {"a": x}) for x in (-1.0, 3.0)] == [0, 4]
    assert any("ngspice does not know table()" in m for m in messages_of(circuit, "warning"))


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        ("atan2(1,-2)", 2.677945044588987),
        ("atan2(-1,2)", -0.4636476090008061),
        ("atan2(0,-1)", 3.141592653589793),
        ("atan2(0,1)", 0.0),
        ("hypot(3,4)", 5.0),
        ("hypot(0,0)", 0.0),
        ("mod(-5,3)", -2.0),
        ("round(-2.5)", -3.0),
        ("int(-2.7)", -2.0),
        ("buf(0.7)", 1.0),
        ("inv(0.7)", 0.0),
        ("hertz", 0.0),
    ],
)
def test_functions_of_other_simulators(call: str, wanted: float) -> None:
    circuit = circuit_of(IN + f"B1 c 0 v={call}+0*v(a)\nR2 c 0 1\n")
    assert law_of(circuit, "b1", {"a": 1.0}) == pytest.approx(wanted, abs=1e-12)


def test_multiplicity_of_sources_and_passives() -> None:
    circuit = circuit_of(
        IN + "G1 0 b a 0 2 m=3\nI1 0 b 2 m=4\nF1 0 b V1 2 m=5\nB1 0 b i=v(a) m=6\nG2 0 b value={v(a)} m=7\n"
        "R1 b 0 R={6*(1+v(a))} m=2\nC1 b 0 C={2*v(a)} m=3\nR2 b 0 6 m=2\n"
    )
    at = {"a": 1.0, "b": 12.0}
    assert [law_of(circuit, name, at, {"v1": 1.0}) for name in ("g1", "i1", "f1", "b1", "g2")] == [6, 8, 10, 6, 7]
    assert law_of(circuit, "r1", at) == 2
    assert law_of(circuit, "c1", at) == 6
    assert number_of(circuit, branch_of(circuit, "r2").values[0]) == 3


def test_multiplicity_of_an_instance() -> None:
    circuit = circuit_of(
        IN
        + ".subckt s p\nR1 p q 6\nC1 q 0 2\nL1 q 0 6\nG1 q 0 q 0 2\nI1 q 0 2\nV1 q r 1\nR2 r 0 6\n.ends\nX1 a s m={n}\n"
        ".param n=3\n"
    )
    names = ("x1.r1", "x1.c1", "x1.l1", "x1.i1", "x1.v1")
    assert [law_of(circuit, name) for name in names] == [2, 6, 2, 6, 1]
    assert law_of(circuit, "x1.g1", {"x1.q": 1.0}) == 6


def test_an_own_parameter_m_is_no_multiplicity() -> None:
    circuit = circuit_of(IN + ".subckt s p m=1\nR1 p 0 {6*m}\n.ends\nX1 a s m=3\n")
    assert law_of(circuit, "x1.r1") == 18


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("B1 p 0 i=v(p)", "which ngspice does not multiply"),
        ("V1 p q 0\nR1 q 0 1\nF1 p 0 V1 1", "which reads a current"),
        ("R1 p 0 1 m=2\nG1 p 0 p 0 1 m=2", "of which ngspice forgets its own m="),
        ("X2 p t m=2\n.subckt t p\nR1 p 0 1\n.ends", "ngspice forgets one of the two"),
    ],
)
def test_what_ngspice_does_not_multiply_is_refused(inner: str, message: str) -> None:
    found = errors_of(IN + f".subckt s p\n{inner}\n.ends\nX1 a s m=3\n")
    assert any(message in text for _, text, _ in found), found


def test_current_proportional_to_the_slope_of_its_own_voltage_is_a_capacitance() -> None:
    body = "I1 0 a 1m\n{}\nR1 a 0 1k\n"
    for cap in ("B1 a 0 i=1u*ddt(v(a))", "B1 0 a i=1u*ddt(v(0,a))", "C1 a 0 Q={1u*v(a)}", "C1 a 0 C={1u+0*v(a)}"):
        found = values(body.format(cap), ["a"])
        assert found == pytest.approx(values(body.format("C1 a 0 1u"), ["a"]), rel=1e-12), cap


def test_charge_of_two_voltages() -> None:
    body = "V2 b 0 SIN(1 0.5 100)\nI1 0 a 1m\n{}\nR1 a 0 1k\n"
    wanted = values(body.format("C1 a 0 C={1u*v(b)}\nB1 a 0 i=1u*v(a)*ddt(v(b))"), ["a"])
    assert values(body.format("C1 a 0 Q={1u*v(a)*v(b)}"), ["a"]) == pytest.approx(wanted, rel=1e-12)


def test_integral_starts_at_its_second_argument() -> None:
    circuit_messages = messages_of(circuit_of(IN + "B1 c 0 v=idt(v(a),2)\nR2 c 0 1\n"), "warning")
    assert any("ngspice does not know idt()" in m for m in circuit_messages)
    found = values(IN + "B1 c 0 v=idt(2*v(a),3)\nR2 c 0 1\nB2 d 0 v=sdt(time)\nR3 d 0 1\n", ["c", "d"], 1000, 1e-3)
    assert found == pytest.approx([5.0, 0.5], rel=2e-3)


def test_derivative_of_a_node_without_capacitance() -> None:
    body = "V1 a 0 SIN(0 1 10)\nR1 a b 1k\nR2 b 0 1k\nR3 b c 1k\nC1 c 0 1u\nB1 d 0 v=ddt(v(b))\nR4 d 0 1\n"
    program = optimise(lower(circuit_of(body + ".tran 1u 10m uic\n")))
    rows, _ = simulate(program, 2000, 1e-5, observe=["b", "d"])
    slope = (rows[2:, 0, 0] - rows[:-2, 0, 0]) / 2e-5
    assert rows[1:-1, 0, 1] == pytest.approx(slope, abs=0.05)


def test_random_parameters_are_nominal_unless_there_is_a_seed() -> None:
    body = IN + "R1 a 0 {agauss(1k,100,3)}\nR2 a 0 {gauss(1k,0.1,3)}\nR3 a 0 {aunif(1k,10)}\nR4 a 0 {unif(1k,0.1)}\n"
    nominal = circuit_of(body)
    assert [law_of(nominal, f"r{k}") for k in range(1, 5)] == [1000.0] * 4
    assert any("stands for its nominal value" in m for m in messages_of(nominal, "note"))
    drawn = [[law_of(circuit_of(body + f".options seed={n}\n"), f"r{k}") for k in range(1, 5)] for n in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(value != 1000 for value in drawn[0])
    assert abs(drawn[0][2] - 1000) <= 10


def test_temperature_of_a_behavioural_source() -> None:
    circuit = circuit_of(IN + "B1 0 b i=v(a) tc1=0.01 tc2=1m temp=37\nR1 b 0 1k tc=1m,2m temp=37\n")
    assert law_of(circuit, "b1", {"a": 1.0}) == pytest.approx(1.2)
    assert number_of(circuit, branch_of(circuit, "r1").values[0]) == pytest.approx(1210)


def test_coupled_inductors_reach_the_circuit() -> None:
    circuit = circuit_of("V1 a 0 1\nL1 a b 1m\nL2 c 0 4m\nL3 d 0 1m\nR1 b 0 1\nR2 c 0 1\nR3 d 0 1\nK1 L1 L2 L3 0.5\n")
    assert [(c.name, c.coefficient) for c in circuit.couplings] == [("k1", 0.5)] * 3
    assert len(lower(circuit).states) >= 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("B1 b 0 v=pwl(v(a),0,0,1)", "two or more pairs"),
        ("B1 b 0 v=pwl(v(a),1,0,0,1)", "must ascend"),
        ("B1 b 0 v=pwl(v(a),0,0,v(a),1)", "must be plain numbers"),
        ("B1 b 0 v=delay(v(a),1m)", "delay() is not supported yet"),
        ("R2 b 0 {ddt(1)}", "ddt() is not supported yet"),
        ("C1 b 0 C={ddt(v(a))}", "depends on a rate of change or an integral"),
        ("C1 b 0 C={1u*v(a)} tc1=1", "has no meaning for a capacitor given by an expression"),
        ("B1 b 0 i=ddt(v(b))^2", "in a way that is not linear"),
    ],
)
def test_located_errors(line: str, message: str) -> None:
    found = errors_of(IN + "R1 b 0 1\n" + line + "\n")
    assert [(number, message in text) for number, text, _ in found] == [(4, True)], found
