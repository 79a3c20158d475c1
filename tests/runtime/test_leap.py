"""Circuits that jump, for nothing in them has a capacitance to slow them down."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from netc.diagnostics import NetcError
from netc.runtime import transient
from netc.runtime.leap import settled
from netc.runtime.system import System
from tests.runtime.test_transient import compiled

RELAXATION = """b1 out 0 v=5*tanh(1e4*(v(p)-v(n)))
r1 out p 10k
r2 p 0 10k
r3 out n 10k
c1 n 0 10n ic=0.5
"""

TRIGGER = """.model q npn(is=1e-15 bf=100)
vcc vcc 0 10
vin in 0 pwl(0 0 1m 6 2m 0)
rin in b1 1k
q1 c1 b1 e q
q2 out b2 e q
rc1 vcc c1 2.2k
rc2 vcc out 1k
ra c1 b2 10k
rb b2 0 22k
re e 0 470
"""


@pytest.fixture(params=[False, True], ids=["compiled", "python"])
def _solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(System, "native", None)


@pytest.mark.usefixtures("_solver")
def test_a_comparator_with_feedback_swings_with_the_period_that_its_thresholds_give(tmp_path: Path) -> None:
    circuit = compiled(RELAXATION, tmp_path, tran="1u 1m uic")
    times = np.linspace(0.0, 1e-3, 4001)
    solved = transient.solve(circuit.system, times, ("out",))
    out = solved.values[:, 0]
    flips = times[np.flatnonzero(np.diff(np.sign(out)))]
    assert np.abs(out).max() == pytest.approx(5.0, rel=1e-6)
    assert len(flips) > 7
    choice, told = solved.warnings  # 0.5 V lies between the thresholds
    assert "another solution" in choice
    assert "the circuit jumps at" in told and f"and {len(flips) - 1} more times" in told
    # half a period from one threshold, half the output, to the other: RC ln 3
    assert np.diff(flips) == pytest.approx(np.full(len(flips) - 1, 1e-4 * math.log(3)), abs=6e-7)


@pytest.mark.usefixtures("_solver")
def test_a_trigger_of_transistors_without_capacitance_switches_at_two_voltages(tmp_path: Path) -> None:
    circuit = compiled(TRIGGER, tmp_path, tran="2u 2m")
    times = np.linspace(0.0, 2e-3, 1001)
    found = transient.solve(circuit.system, times, ("in", "out"))
    at = found.values[np.flatnonzero(np.abs(np.diff(found.values[:, 1])) > 2.0), 0]
    # ngspice 39 follows the circuit up to 4.2567 V and stops there: "timestep too small"
    assert len(at) == 2
    assert at[0] == pytest.approx(4.2567, abs=0.013)
    assert 1.5 < at[1] < 3.5


def test_what_ends_without_another_branch_is_still_refused(tmp_path: Path) -> None:
    body = "c1 a 0 1 ic=1\nb1 0 a i=v(a)*v(a)\n"
    circuit = compiled(body, tmp_path, tran="10m 2 uic")
    with pytest.raises(NetcError, match=r"no step is short enough|grows|diverges|too sensitive"):
        transient.solve(circuit.system, np.linspace(0.0, 2.0, 201), ("a",))


def test_unknowns_move_to_rest_by_their_own_equations(tmp_path: Path) -> None:
    circuit = compiled(RELAXATION.replace("ic=0.5", "ic=3"), tmp_path)
    system = System(circuit.system)
    start = system.initial()
    start[0] = 3.0
    found = settled(system, start, 0.0)
    assert found is not None
    assert system.rates(np.zeros(1), found[None, :])[0, system.states :] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("start", "told"), [(0.1, True), (3.0, False)])
def test_a_choice_at_the_start_is_told(start: float, told: bool, tmp_path: Path) -> None:
    circuit = compiled(RELAXATION.replace("ic=0.5", f"ic={start}"), tmp_path, tran="1u 20u uic")
    solved = transient.solve(circuit.system, np.linspace(0.0, 2e-5, 21), ("out",))
    assert (
        any("another solution" in line and "-2.5 V here, and at 2.5 V there" in line for line in solved.warnings)
        is told
    )
