"""States at a bound where their rate vanishes: what is left of the distance decides, or a warning says that it is lost.

With the window 1 - (2 x - 1)^2 = 4 x (1 - x) the state is a logistic function of the charge, known exactly.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from netc.diagnostics import NetcError
from netc.ir.program import Program
from netc.runtime import automatic, transient
from netc.runtime.system import System
from tests.runtime.test_transient import compiled

TIMES = np.linspace(0.0, 2.0, 401)


def drifting(law: str, peak: float, folder: Path) -> Program:
    """A state whose logit swings from 0 to ``peak`` and back, twice, by ``dx/dt = k v`` times ``law``."""
    body = f"V1 a 0 sin(0 1 1)\nB1 0 x i={peak * math.pi!r}*v(a)*{law}\nC1 x 0 1 ic=0.5\n"
    return compiled(body, folder, tran="5m 2 uic").system


def exact(peak: float) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-0.5 * peak * (1.0 - np.cos(2 * np.pi * TIMES))))


WINDOW = "0.25*(1-(2*v(x)-1)*(2*v(x)-1))"


@pytest.mark.parametrize("in_python", [False, True])
@pytest.mark.parametrize("peak", [15.0, 26.0])
def test_a_state_leaves_its_bound_when_the_distance_left_says_so(
    peak: float, in_python: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_python:
        monkeypatch.setattr(System, "native", None)
    found = transient.solve(drifting(WINDOW, peak, tmp_path), TIMES, ["x"])
    assert np.abs(found.values[:, 0] - exact(peak)).max() < 5e-3
    assert not found.warnings


def test_where_rounding_takes_the_distance_a_warning_names_the_state(tmp_path: Path) -> None:
    program = drifting(WINDOW, 80.0, tmp_path)
    try:
        lines = transient.solve(program, TIMES, ["x"]).warnings
    except NetcError as error:
        lines = (error.diagnostics[0].message,)
    assert any("x comes so close to 1" in line and "rounding" in line for line in lines)


def test_a_bound_at_zero_is_as_close_as_a_number_can_be(tmp_path: Path) -> None:
    found = transient.solve(drifting("v(x)*(1-v(x))", -80.0, tmp_path), TIMES, ["x"])
    assert np.abs(found.values[:, 0] - exact(-80.0)).max() < 5e-3
    assert not found.warnings


RING = "".join(f"B{k} o{k} 0 v=-tanh(4*v(n{k}))\nR{k} o{k} n{k % 3 + 1} 1k\nC{k} n{k} 0 1u\n" for k in (1, 2, 3))


def test_a_start_at_a_point_that_is_not_stable_is_told(tmp_path: Path) -> None:
    times = np.linspace(0.0, 50e-3, 501)
    still = transient.solve(compiled(RING, tmp_path, tran="0.1m 50m uic").system, times, ["n1"])
    assert len(still.warnings) == 1
    assert "not stable" in still.warnings[0]
    assert "n1 at 0 V" in still.warnings[0]
    pushed = transient.solve(compiled(f".ic v(n1)=0.1\n{RING}", tmp_path, tran="0.1m 50m uic").system, times, ["n1"])
    assert np.ptp(pushed.values) > 0.5
    assert not pushed.warnings


def test_a_warning_comes_with_the_result(tmp_path: Path) -> None:
    whole = compiled(RING, tmp_path, tran="0.1m 50m uic")
    _, lines = automatic.run(
        whole.system,
        lambda: whole.continuous,
        dt=1e-4,
        tstop=50e-3,
        observe=("n1",),
        dtype=torch.float64,
    )
    assert any(line.startswith(automatic.WARNING) and "not stable" in line for line in lines)
