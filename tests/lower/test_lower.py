"""Lowering: states, knowns and unknowns told apart; families; the equations themselves."""

from __future__ import annotations

import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.ir.interpret import simulate
from netc.ir.nodes import postorder
from netc.ir.program import Program
from netc.lower import lower
from netc.optimise import solve_algebraic

from .circuits import Build, neuron


def run(program: Program, steps: int, dt: float, *nodes: str, inputs=None) -> np.ndarray:
    solved = solve_algebraic.run(program)
    return simulate(solved, steps, dt, inputs, observe=nodes)[0]


def test_rc_charges_as_the_euler_formula_says():
    build = Build().add("V", "v1", "in", "0", 2.0).add("R", "r1", "in", "out", 1e3).add("C", "c1", "out", "0", 1e-6)
    program = lower(build.circuit)
    assert [s.lanes for s in program.states] == [("out",)]
    assert not program.algebraic
    wave = run(program, 50, 1e-5, "out", "in")[:, 0]
    assert np.allclose(wave[:, 0], 2 * (1 - (1 - 0.01) ** np.arange(51)), rtol=1e-12)
    assert (wave[:, 1] == 2.0).all()


def test_a_capacitor_on_a_driven_node_is_no_trouble_and_a_floating_one_keeps_its_voltage_as_state():
    build = Build().add("SIN", "v1", "in", "0", 1e3).add("C", "c0", "in", "0", 1e-6)
    build.add("C", "c1", "out", "in", 1e-6).add("R", "r1", "out", "0", 1e3)
    program = lower(build.circuit)
    assert [s.lanes for s in program.states] == [("c1",)]
    dt, steps = 1e-6, 4000
    wave = run(program, steps, dt, "out")[:, 0, 0]
    t = np.arange(steps + 1) * dt
    exact = 0.5 * (np.cos(1e3 * t) + np.sin(1e3 * t)) - 0.5 * np.exp(-1e3 * t)  # high pass with RC w = 1
    assert np.abs(wave - exact).max() < 1e-3


def test_divider_is_algebraic():
    build = Build().add("V", "v1", "in", "0", 3.0).add("R", "r1", "in", "mid", 1e3).add("R", "r2", "mid", "0", 2e3)
    program = lower(build.circuit)
    assert [b.lanes for b in program.algebraic] == [(("mid",),)]
    assert run(program, 1, 1e-5, "mid")[0, 0, 0] == pytest.approx(2.0)


def test_capacitor_loop_shares_charge():
    """Three capacitors in a triangle: two states, their capacitance matrix solved."""
    build = Build().add("I", "i1", "0", "a", 1e-3)
    build.add("C", "c1", "a", "0", 1e-6).add("C", "c2", "b", "0", 2e-6).add("C", "c3", "a", "b", 3e-6)
    wave = run(lower(build.circuit), 10, 1e-5, "a", "b")[-1, 0]
    c = np.array([[4e-6, -3e-6], [-3e-6, 5e-6]])
    assert np.allclose(wave, np.linalg.solve(c, [1e-3, 0]) * 1e-4, rtol=1e-12)


def test_capacitor_from_a_driven_node_to_a_state_feels_the_source_move():
    """v' of the source enters through the loop source - c2 - c1."""
    build = Build().add("SIN", "v1", "in", "0", 1e3).add("C", "c1", "out", "0", 1e-6).add("C", "c2", "in", "out", 1e-6)
    wave = run(lower(build.circuit), 1000, 1e-6, "out")[:, 0, 0]
    assert wave[-1] == pytest.approx(0.5 * np.sin(1.0), abs=1e-3)


def test_rlc_rings():
    build = Build().add("L", "l1", "a", "0", 1e-3).add("C", "c1", "a", "0", 1e-6, ic=1.0)
    program = lower(build.circuit)
    assert sorted(s.unit for s in program.states) == ["A", "V"]
    steps, dt = 20000, 1e-8
    wave = run(program, steps, dt, "a")[:, 0, 0]
    omega = 1 / np.sqrt(1e-9)
    assert np.abs(wave - np.cos(omega * np.arange(steps + 1) * dt)).max() < 2e-3


def test_inductors_that_alone_lead_to_a_node_share_one_current():
    build = Build()
    build.add("V", "v1", "a", "0", 6.0)
    build.add("L", "l1", "a", "m", 1e-3)
    build.add("L", "l2", "m", "b", 2e-3)
    build.add("R", "r1", "b", "0", 100.0)
    program = lower(build.circuit)
    assert [lane for state in program.states for lane in state.lanes] == ["l2"]
    wave = run(program, 100, 1e-7, "m", "b")[:, 0]
    decay = (1 - 1e-7 * 100.0 / 3e-3) ** np.arange(101)
    assert np.allclose(wave[:, 1], 6.0 * (1 - decay), rtol=1e-12)
    assert np.allclose(wave[:, 0], 6.0 - 2.0 * decay, rtol=1e-12)  # a third of the voltage across both is at l1


def test_an_inductor_behind_a_current_source_has_the_voltage_of_its_slope():
    build = Build()
    build.add("SIN", "vs", "c", "0", 1e4)
    build.add("G", "g1", "0", "m", 1e-3, voltages=[("c", "0")])
    build.add("L", "l1", "m", "0", 1e-3)
    wave = run(lower(build.circuit), 50, 1e-6, "m")[:, 0, 0]
    assert np.allclose(wave, 1e-6 * 1e4 * np.cos(1e4 * 1e-6 * np.arange(51)), rtol=1e-9)


def test_a_source_of_its_own_current_is_a_resistor_beside_a_capacitor_and_beside_a_source():
    build = Build()
    build.add("V", "v1", "in", "0", 1.0)
    build.add("R", "r1", "in", "a", 1e3)
    build.add("V", "sense", "a", "p", 0.0)
    build.add("H", "h1", "p", "0", 1e3, currents=["sense"])
    build.add("C", "c1", "a", "0", 1e-6)
    build.add("V", "meter", "in", "q", 0.0)
    build.add("H", "h2", "q", "0", 200.0, currents=["meter"])
    program = lower(build.circuit)
    assert [lane for state in program.states for lane in state.lanes] == ["a"]
    wave = run(program, 100, 1e-5, "a")[:, 0, 0]
    assert np.allclose(wave, 0.5 * (1 - (1 - 1e-5 / 0.5e-3) ** np.arange(101)), rtol=1e-9)


def test_sensed_current_mirror():
    """A 0 V source senses a crossbar column; an F source mirrors it into a capacitor."""
    build = Build().add("V", "v1", "w1", "0", 0.2).add("V", "v2", "w2", "0", -0.1)
    build.add("R", "r1", "w1", "bit", 1e3).add("R", "r2", "w2", "bit", 5e3).add("V", "vs", "bit", "0", 0.0)
    build.add("F", "f1", "0", "mem", 0.5, currents=("vs",)).add("C", "c1", "mem", "0", 1e-6)
    wave = run(lower(build.circuit), 1, 1e-3, "mem")[-1, 0, 0]
    assert wave == pytest.approx(0.5 * (0.2 / 1e3 - 0.1 / 5e3) / 1e-6 * 1e-3)


def test_op_amp_integrator_solves_its_loop_of_sources():
    build = Build().add("V", "v1", "in", "0", 1.0).add("R", "r1", "in", "n", 1e3).add("C", "c1", "n", "out", 1e-6)
    build.add("E", "e1", "out", "0", -1e6, voltages=(("n", "0"),))
    wave = run(lower(build.circuit), 100, 1e-5, "out", "n")[-1, 0]
    assert wave[0] == pytest.approx(-1.0, rel=1e-5)
    assert abs(wave[1]) < 1e-5


def test_current_sources_that_mirror_each_other_are_solved():
    """f1 = 1 mA/V... i(f1) = 0.5 i(f2) + i(vin) branch, i(f2) = 0.5 i(f1): a loop of currents."""
    build = Build().add("V", "v1", "a", "0", 1.0).add("R", "r1", "a", "b", 1e3).add("V", "vs", "b", "0", 0.0)
    build.add("R", "r2", "c", "0", 1e3).add("R", "r3", "d", "0", 1e3)
    build.add("V", "va", "c", "ca", 0.0).add("V", "vb", "d", "db", 0.0)
    build.add("F", "f1", "0", "ca", 0.5, currents=("vb",)).add("F", "f3", "0", "ca", 1.0, currents=("vs",))
    build.add("F", "f2", "0", "db", 0.5, currents=("va",))
    c, d = run(lower(build.circuit), 1, 1e-3, "c", "d")[0, 0]
    # injected into ca: 0.5 i(vb) + 1 mA = -i(va); into db: 0.5 i(va) = -i(vb)
    ia, ib = np.linalg.solve([[1, 0.5], [0.5, 1]], [-1e-3, 0])
    assert c == pytest.approx(-ia * 1e3)
    assert d == pytest.approx(-ib * 1e3)


def test_hundred_neurons_are_a_handful_of_arrays():
    build = Build()
    for k in range(100):
        build.add("I", f"i{k}", "0", f"mem{k}", 2e-6 + 1e-8 * k)
        neuron(build, f"x{k}", f"mem{k}")
    program = lower(build.circuit)
    assert sorted(s.size for s in program.states) == [100, 100, 100]
    alone = Build().add("I", "i0", "0", "mem0", 2e-6 + 1e-8 * 70)
    neuron(alone, "x0", "mem0")
    single = lower(alone.circuit)
    assert len({id(n) for s in program.states for n in postorder(s.derivative)}) <= 40 + len(
        {id(n) for s in single.states for n in postorder(s.derivative)}
    )
    assert np.allclose(run(program, 300, 1e-5, "mem70"), run(single, 300, 1e-5, "mem0"), rtol=1e-12)


def test_a_long_ladder_is_three_families():
    build = Build().add("SIN", "v1", "n0", "0", 1e4)
    for k in range(200):
        build.add("R", f"r{k}", f"n{k}", f"m{k}", 1.0).add("L", f"l{k}", f"m{k}", f"n{k + 1}", 1e-6)
        build.add("C", f"c{k}", f"n{k + 1}", "0", 1e-9)
    program = lower(build.circuit)
    assert sorted(s.size for s in program.states) == [200, 200]


def network(inputs: int = 5, hidden: int = 4, outputs: int = 3) -> Build:
    """The buffered form of a generated network, device pairs and all."""
    from netc.elaborate.circuit import Driven

    rng = np.random.default_rng(0)
    build = Build().add("SIN", "va", "alpha", "0", 300.0)
    for i in range(inputs):
        build.add("E", f"ein{i}", f"w1_{i}", "0", 0.05, voltages=(("alpha", "0"),))
        build.circuit.driven.append(Driven(build.number(f"ein{i}"), "amplitude"))
    for layer, (before, after) in enumerate(((inputs, hidden), (hidden, outputs)), 1):
        for j in range(after):
            for side in "pm":
                build.add("V", f"v{layer}_{j}{side}", f"b{layer}_{j}{side}", "0", 0.0)
                for i in range(before):
                    build.add(
                        "R",
                        f"r{layer}_{i}_{j}{side}",
                        f"w{layer}_{i}",
                        f"b{layer}_{j}{side}",
                        float(rng.uniform(1e3, 1e5)),
                    )
            mem = f"h{layer}_{j}"
            neuron(build, f"x{layer}_{j}", mem)
            build.add("F", f"fp{layer}_{j}", "0", mem, 1.0, currents=(f"v{layer}_{j}p",))
            build.add("F", f"fm{layer}_{j}", "0", mem, -1.0, currents=(f"v{layer}_{j}m",))
            if layer == 1:
                build.add("E", f"eb{j}", f"w2_{j}", "0", 1.0, voltages=((mem, "0"),))
    build.circuit.outputs = [build.net(f"h2_{j}") for j in range(outputs)]
    return build


def test_network_families_do_not_grow_with_the_layers_and_agree_with_plain_numpy():
    small, large = lower(network().circuit), lower(network(9, 6, 4).circuit)
    assert len(small.states) == len(large.states)
    assert len(small.parameters) == len(large.parameters)
    assert sorted(s.size for s in small.states) == [3, 3, 3, 4, 4, 4]
    x = np.array([[1.0, 0.3, 0.0, 0.8, 0.5], [0.1, 0.9, 1.0, 0.0, 0.2]])
    got = run(small, 200, 1e-5, "h2_0", "h2_1", "h2_2", inputs=x)
    assert np.allclose(got, _reference(x, 200, 1e-5), rtol=1e-9, atol=1e-15)


def _reference(x: np.ndarray, steps: int, dt: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    weights = []
    for before, after in ((5, 4), (4, 3)):
        pairs = np.array([[1 / rng.uniform(1e3, 1e5, before) for _ in "pm"] for _ in range(after)])
        weights.append((pairs[:, 0] - pairs[:, 1]).T)

    def s(z):
        return 1 / (1 + np.exp(-z))

    def rates(v, x1, x2, current):
        def rate(u, y):
            return ((1 - y) * s((u - 0.11) / 0.025) - y * (1 - 0.6 * s((u - 0.005) / 0.025))) / 1e-3

        def conductance(y):
            return y / 1e3 + (1 - y) / 1e5

        dv = (current - conductance(x1) * v - conductance(x2) * (v - 0.05)) / 1e-7
        return dv, rate(v, x1), rate(0.05 - v, x2)

    states = [[np.zeros((2, n)) for _ in range(3)] for n in (4, 3)]
    rows = [states[1][0]]
    for n in range(steps):
        words = 0.05 * x * np.sin(300.0 * n * dt)
        currents = [words @ weights[0], states[0][0] @ weights[1]]
        states = [
            [a + dt * b for a, b in zip(layer, rates(*layer, current), strict=True)]
            for layer, current in zip(states, currents, strict=True)
        ]
        rows.append(states[1][0])
    return np.stack(rows)


def test_passive_crossbar_loads_both_sides():
    build = Build()
    for i in range(3):
        build.add("I", f"i{i}", "0", f"a{i}", 1e-6 * (i + 1)).add("C", f"ca{i}", f"a{i}", "0", 1e-9)
    for j in range(2):
        build.add("C", f"cb{j}", f"b{j}", "0", 1e-9)
        for i in range(3):
            build.add("R", f"r{i}{j}", f"a{i}", f"b{j}", 1e4 * (1 + i + j))
    wave = run(lower(build.circuit), 100, 1e-7, "a0", "a1", "a2", "b0", "b1")[-1, 0]
    g = np.array([[1 / (1e4 * (1 + i + j)) for j in range(2)] for i in range(3)])
    v = np.zeros(5)
    for _ in range(100):
        a, b = v[:3], v[3:]
        flow = g * (a[:, None] - b[None, :])
        v = v + 1e-7 * np.concatenate([[1e-6, 2e-6, 3e-6] - flow.sum(1), flow.sum(0)]) / 1e-9
    assert np.allclose(wave, v, rtol=1e-12)


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ([("V", "v1", "a", "0", 1.0), ("V", "v2", "a", "0", 2.0)], ["'v1'", "'v2'", "loop"]),
        ([("V", "v1", "a", "a", 1.0), ("R", "r1", "a", "0", 1.0)], ["'v1'", "both ends"]),
        ([("V", "v1", "a", "0", 1.0), ("R", "r1", "b", "c", 1.0)], ["'b', 'c'", "float"]),
        ([("I", "i1", "0", "m", 1.0), ("I", "i2", "m", "0", 1.0)], ["'m'", "only current sources", "'i2'"]),
        (
            [("I", "i1", "0", "m", 1.0), ("L", "l1", "m", "0", 1.0), ("L", "l2", "m", "0", 1.0)],
            ["'l1', 'i1', 'l2'", "do not add up"],
        ),
    ],
)
def test_impossible_circuits_are_named(elements, words):
    build = Build()
    for element in elements:
        build.add(*element)
    with pytest.raises(NetcError) as caught:
        lower(build.circuit)
    for word in words:
        assert word in str(caught.value)
    assert "test.cir:" in str(caught.value)


def test_same_circuit_gives_the_same_program():
    def text() -> str:
        from netc.ir.printer import format_program

        return format_program(lower(network().circuit))

    assert text() == text()
