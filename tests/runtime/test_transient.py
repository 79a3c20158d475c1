"""Variable steps: edges found, errors estimated, agreement with fixed small steps and with ngspice's kind of step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler import Compilation, compile_deck
from netc.diagnostics import NetcError
from netc.ir.interpret import simulate
from netc.runtime import transient
from netc.runtime.breakpoints import breakpoints
from netc.runtime.system import System

NETLISTS = Path(__file__).parents[2] / "netlists"


def compiled(body: str, folder: Path, tran: str = "10u 2m uic") -> Compilation:
    path = folder / "deck.cir"
    path.write_text(f"* deck\n{body}.tran {tran}\n.end\n")
    return compile_deck(path)


def edges(body: str, folder: Path, tstop: float) -> np.ndarray:
    system = System(compiled(body, folder).dae)
    watched = [block.value for block in system.program.observables]
    return breakpoints(system, [*system.functions, *system.rewritten(watched)], tstop)


def test_every_edge_of_a_pulse_is_found(tmp_path: Path) -> None:
    body = "V1 in 0 PULSE(0 1 0.4m 1n 2n 3n 0.5m)\nR1 in a 1k\nC1 a 0 1n\n"
    found = edges(body, tmp_path, 2e-3)
    starts = 0.4e-3 + 0.5e-3 * np.arange(4)
    wanted = (starts[:, None] + np.array([0, 1e-9, 4e-9, 6e-9])).ravel()
    assert all(np.abs(found - t).min() < 1e-15 for t in wanted)
    assert len(found) <= 2 + 16 + 8  # the period's start, and the middle, where the rising line meets the falling one


def test_points_of_tables_and_conditions_on_time_are_found(tmp_path: Path) -> None:
    body = (
        "V1 in 0 PWL(0 0 0.1m 1 0.100001m 0 1m 0)\nR1 in a 1k\nC1 a 0 1n\n"
        "B1 b 0 v=(time > 0.7m && time < 0.70000001m) ? 1 : 0\nR2 b 0 1\n"
        "B2 c 0 v=abs(sin(6283.185307179586*time)-0.5)\nR3 c 0 1\n"
    )
    found = edges(body, tmp_path, 1e-3)
    for t in (0.1e-3, 0.100001e-3, 0.7e-3, 0.70000001e-3, 1e-3 / 12, 5e-3 / 12):
        assert np.abs(found - t).min() < 1e-14, t


def test_too_many_edges_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match="edges"):
        edges("V1 in 0 PULSE(0 1 0 1p 1p 1p 4p)\nR1 in a 1k\nC1 a 0 1n\n", tmp_path, 1e-3)


def test_a_pulse_far_shorter_than_a_row_is_not_stepped_over(tmp_path: Path) -> None:
    body = "V1 in 0 PULSE(0 5 1.0005m 1n 1n 10n 3m)\nG1 0 q in 0 1m\nCq q 0 1p IC=0\n"
    program = compiled(body, tmp_path).dae
    found = transient.solve(program, np.linspace(0, 2e-3, 21), ["q"])
    # 5 V times 11 ns (width and half of each edge) times 1 mS, in 1 pF
    assert found.values[-1, 0] == pytest.approx(55.0, rel=1e-6)
    assert found.values[10, 0] == 0.0


def test_a_solution_is_as_good_as_it_says(tmp_path: Path) -> None:
    body = "L1 a 0 1m IC=0\nC1 a 0 1u IC=1\n"
    times = np.linspace(0, 2e-3, 401)
    found = transient.solve(compiled(body, tmp_path).dae, times, ["a"])
    exact = np.cos(times / np.sqrt(1e-9))
    error = float(np.sqrt(np.mean((found.values[:, 0] - exact) ** 2))) / 2
    assert error < 2 * found.error + 1e-6 and error < 1e-3


def test_a_node_without_capacitance_is_held_to_its_equation(tmp_path: Path) -> None:
    body = "V1 in 0 SIN(0 5 1k)\nR1 in a 1k\nB1 a 0 i=1e-14*(exp(V(a)/0.02585)-1)\nR2 a b 1k\nC1 b 0 10n\n"
    found = transient.solve(compiled(body, tmp_path).dae, np.linspace(0, 2e-3, 101), ["in", "a", "b"])
    v, a, b = found.values.T
    current = 1e-14 * (np.exp(a / 0.02585) - 1)
    assert np.abs((v - a) / 1e3 - current - (a - b) / 1e3).max() < 3e-5  # of 5 mA
    assert a.max() == pytest.approx(0.69, abs=0.03)


def test_table_three_to_the_letter() -> None:
    """100 pF and rows 10 us apart, against explicit Euler at 50 ns over the first spikes."""
    compilation = compile_deck(NETLISTS / "mif_table3.cir")
    step, rows, parts = 10e-6, 50, 200
    found = transient.solve(compilation.dae, np.arange(rows + 1) * step, ["m", "xn.xm1.x", "xn.xm2.x"])
    small, _ = simulate(compilation.program, rows * parts, step / parts, observe=found.names)
    assert found.error < 1e-3
    assert transient.difference(small[::parts, 0], found.values) < 5e-3


def test_backward_euler_on_any_grid_is_backward_euler(tmp_path: Path) -> None:
    times = np.array([0.0, 1e-5, 3e-5, 3.1e-5, 2e-4])
    rows = transient.on_grid(compiled("R1 a 0 1k\nC1 a 0 1u IC=1\n", tmp_path).dae, times, ["a"])
    expected = np.cumprod([1.0, *(1 / (1 + np.diff(times) / 1e-3))])
    np.testing.assert_allclose(rows[:, 0], expected, rtol=1e-12)


def test_what_grows_without_bound_stops_with_place_and_time(tmp_path: Path) -> None:
    with pytest.raises(NetcError, match=r"no step is short enough at t = .* near a"):
        program = compiled("B1 0 a i=1m*V(a)**2\nC1 a 0 1u IC=1\n", tmp_path).dae
        transient.solve(program, np.linspace(0, 2e-3, 11), ["a"])


def test_equations_without_a_solution_are_named(tmp_path: Path) -> None:
    body = "V1 in 0 1\nR1 in a 1k\nB1 a 0 i=exp(V(a))+1\nR2 a b 1k\nC1 b 0 1u\nB2 c 0 i=V(c)**2+1\nR3 c 0 1g\n"
    with pytest.raises(NetcError, match=r"equations at t = 0 s near .*c"):
        transient.solve(compiled(body, tmp_path).dae, np.linspace(0, 1e-3, 3), ["b"])


def test_chaos_is_not_passed_off_as_a_result(tmp_path: Path) -> None:
    """The Lorenz system, for longer than double precision can follow it."""
    body = (
        "Cx x 0 1 IC=1\nCy y 0 1 IC=1\nCz z 0 1 IC=20\nBx 0 x i=10*(V(y)-V(x))\n"
        "By 0 y i=V(x)*(28-V(z))-V(y)\nBz 0 z i=V(x)*V(y)-8/3*V(z)\n"
    )
    program = compiled(body, tmp_path, "0.1 32 uic").dae
    short = transient.solve(program, np.linspace(0, 5, 51), ["x"])
    assert short.error < 1e-3
    with pytest.raises(NetcError, match="too sensitive"):
        transient.solve(program, np.linspace(0, 32, 321), ["x"])


def test_a_junction_that_turns_off_within_a_step_does_not_pass_for_solved(tmp_path: Path) -> None:
    """Corrections by the Jacobian of a diode that conducts are small even where it does not any more."""
    buck = """S1 in sw g 0 s
D1 0 sw d
L1 sw out 100u ic=0
R1 out c 20m
C1 c 0 100u ic=0
RL out 0 6
Vi in 0 24
Vg g 0 pulse(0 5 0 50n 50n 4.95u 10u)
.model s sw(vt=2.5 vh=0.5 ron=50m roff=1meg)
.model d d(is=1n rs=10m cjo=100p)
"""
    system = compiled(buck, tmp_path, "0.5u 30u uic").system
    found = transient.solve(system, np.linspace(0.0, 30e-6, 61), ("sw", "out"))
    assert found.values[:, 0].min() > -2.0  # the diode clamps it
    assert found.values[:, 0].max() < 26.0
    assert found.values[-1, 1] == pytest.approx(0.66, abs=0.05)  # 63 uC in 100 uF, and 20 mOhm


def test_conductances_that_change_by_decades_within_a_step_take_few_steps(tmp_path: Path) -> None:
    rectifier = "V1 a 0 SIN(0 10 1k)\nD1 a b d\nC1 b 0 10u ic=0\nR1 b 0 1k\n.model d d(is=1e-14 cjo=10p)\n"
    system = compiled(rectifier, tmp_path, "10u 2m uic").system
    found = transient.solve(system, np.linspace(0.0, 2e-3, 201), ("b",))
    assert found.error < transient.WANTED
    assert found.steps < 200
